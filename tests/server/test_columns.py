"""Which columns are proposed, and how tables are written."""

import numpy as np
import pytest

from explstm.server.answers import choose_format, show_dates
from explstm.server.data.columns import guess_columns, preview_csv


@pytest.mark.parametrize(
    ("text", "id_col", "time_col", "target_col"),
    [
        ("unique_id,ds,y\na,2024-01-01,1\n", "unique_id", "ds", "y"),
        ("ds,y\n2024-01-01,1\n2024-01-02,2\n", None, "ds", "y"),
        ("Date;Store;Sales\n2024-01-01;7;1,5\n2024-01-02;7;2,5\n", "Store", "Date", "Sales"),
        ("year,country,population\n1960,A,5\n1961,A,6\n", "country", "year", "population"),
        ("what,when,how much\nx,2024-01,3.5\nx,2024-02,4\n", "what", "when", "how much"),
        ("close,time,open\n1,2024-01-01T10:00,2\n", None, "time", "close"),
        ("a|b\n2024-Q1|3\n2024-Q2|4\n", None, "a", "b"),
        ("note,text\nhello,world\n", None, None, None),
        ("", None, None, None),
    ],
)
def test_columns_are_found_by_name_and_by_content(
    text: str, id_col: str | None, time_col: str | None, target_col: str | None
) -> None:
    found = guess_columns(preview_csv(text, None))
    assert found == {"id_col": id_col, "time_col": time_col, "target_col": target_col}


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("text/html, */*;q=0.8", "application/json"),
        ("text/csv", "text/csv"),
        ("Text/CSV; q=0.9, application/json", "text/csv"),
        ("text/csv;q=0, application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("nonsense", "application/json"),
    ],
)
def test_the_first_known_format_is_taken(accept: str, format: str) -> None:
    assert choose_format(accept) == format


def test_dates_are_as_short_as_they_can_be() -> None:
    days = np.array(["2024-01-01", "2024-01-02"], dtype="M8[ns]")
    assert show_dates(days, None) == ["2024-01-01", "2024-01-02"]
    assert show_dates(days + np.timedelta64(90, "m"), None)[0] == "2024-01-01T01:30:00"
    assert show_dates(np.array([3, 4]), None) == [3, 4]
