"""Which columns are proposed, and how tables are written."""

from pathlib import Path

import numpy as np
import pytest

from explstm.errors import UsageError
from explstm.reading import read_table
from explstm.server.answers import choose_format, show_dates
from explstm.server.data.columns import guess_columns, preview_csv
from explstm.server.data.reading import Source, read_source
from explstm.server.errors import ApiError
from explstm.server.schemas import InspectRequest
from explstm.server.settings import Settings


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


@pytest.mark.parametrize("cell", ["31 Jan 2024", "2024-01-31 00:00:00"])
def test_dates_are_found_as_the_client_says_that_they_are_written(cell: str) -> None:
    found = guess_columns(preview_csv(f"day,y\n{cell},1\n", None), "%d %b %Y")
    assert (found["time_col"], found["target_col"]) == ("day", "y")


@pytest.mark.parametrize("named", [{}, {"time_col": "ds", "target_col": "y"}], ids=["", "named"])
def test_a_format_without_a_year_is_refused_in_the_words_of_the_command_line(
    named: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"ds,y\n01-31,1\n02-28,2\n03-31,3\n")
    with pytest.raises(UsageError) as local:
        read_table(path, date_format="%m-%d")
    request = InspectRequest(date_format="%m-%d", **named)
    with pytest.raises(ApiError) as remote:
        read_source(Source("file", str(path), "a.csv"), request, Settings())
    assert "'%m-%d' cannot be used: it names no year" in local.value.message
    assert (remote.value.code, remote.value.message) == (local.value.code, local.value.message)
    assert remote.value.status == 422


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
