"""What the package writes as CSV runs nothing in a spreadsheet, and comes back as it was."""

import csv
import io
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm import cli
from explstm.errors import DataError
from explstm.reading import parse_table, read_table
from explstm.runfolder import open_run
from explstm.spreadsheets import neutralise, restore, restore_all, write_csv

HOSTILE = ["=cmd|' /C calc'!A0", "+x", "-x", "@SUM(1)", "\tx", "\rx", "'=x", "''=x"]
SIGNS = "=+-@\t\r\n\0|%'"


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a", "\ta", "\ra", "\na", "\0", "|a", "%a"])
def test_what_begins_like_a_formula_is_marked_and_comes_back(text):
    assert neutralise(text) == f"'{text}"
    assert restore(neutralise(text)) == text


@pytest.mark.parametrize("text", ["a", "-5", "+5.25", "'quoted'", "a=b", "", "1e5"])
def test_other_text_stays(text):
    assert neutralise(text) == text
    assert restore(text) == text


@given(st.text(st.sampled_from(SIGNS + "a1."), max_size=5))
def test_every_text_comes_back_and_none_begins_as_a_formula(text):
    written = neutralise(text)
    assert restore(written) == text
    assert written[:1] not in tuple("=@\t\r\n\0|%") and (
        written[:1] not in ("+", "-") or float(written) is not None
    )


def test_texts_that_would_become_one_stay():
    assert restore_all(["'=x", "b"]) == ["=x", "b"]
    assert restore_all(["'=x", "=x"]) == ["'=x", "=x"]


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_ids_of_every_kind_are_marked_and_numbers_are_not(dtype):
    frame = pd.DataFrame({"=id": pd.Series(["=a", "b"], dtype=dtype), "y": [-1.5, 2.0]})
    before = frame.copy(deep=True)
    assert write_csv(frame, None) == "'=id,y\n'=a,-1.5\nb,2.0\n"
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("quoted", [False, True])
def test_the_reader_takes_the_marks_away(tmp_path, quoted):
    ids = [*HOSTILE, "plain", "007"]
    table = pd.DataFrame({"unique_id": ids, "ds": 1, "y": -1.5})
    if quoted:
        table.to_csv(tmp_path / "t.csv", index=False, quoting=csv.QUOTE_ALL)
        with pytest.raises(AssertionError):  # what pandas writes is what this is about
            assert_harmless((tmp_path / "t.csv").read_text())
    with open_run(tmp_path / "run") as run:
        run.write_table("t.csv", table)
    assert_harmless((tmp_path / "run" / "t.csv").read_text(encoding="utf-8"))
    back = read_table(tmp_path / "run" / "t.csv")
    assert back["unique_id"].tolist() == ids and (back["y"] == -1.5).all()


def test_columns_are_found_by_their_own_names_and_as_they_are_written():
    data = b"'=who,'@when,'+much\n'=a,1,2.0\n'=a,2,3.0\n"
    for mark in ("", "'"):
        named = {"id_col": mark + "=who", "time_col": mark + "@when", "target_col": mark + "+much"}
        table = parse_table(data, "t.csv", **named)
        assert list(table) == list(named.values())
        assert table[mark + "=who"].tolist() == ["=a", "=a"]
    with pytest.raises(DataError, match="no column '=who2'"):
        parse_table(data, "t.csv", **{**named, "id_col": "=who2"})


@pytest.mark.slow
def test_a_forecast_of_hostile_ids_is_harmless_and_can_be_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ids = [name for name in HOSTILE if "\r" not in name]
    rows = [(name, step, float(step)) for name in ids for step in range(1, 25)]
    pd.DataFrame(rows, columns=["unique_id", "ds", "y"]).to_csv("plain.csv", index=False)
    write_csv(pd.read_csv("plain.csv"), tmp_path / "data.csv")
    assert cli.run(["forecast", "data.csv", "--horizon", "9", "--level", "80", "--out", "f"]) == 0
    assert cli.run(["growth", "data.csv", "--horizon", "9", "--out", "g"]) == 0
    files = sorted(tmp_path.glob("[fg]/*.csv"))
    assert len(files) > 4
    for path in files:
        assert_harmless(path.read_text(encoding="utf-8"))
    back = read_table(tmp_path / "f" / "forecast.csv", target_col="ExpLSTM")
    assert set(back["unique_id"]) == set(ids)
    assert cli.run(["forecast", "f/forecast.csv", "--horizon", "1", "--target-col", "ExpLSTM"]) == 0
    assert cli.run(["report", "f", "g", "--out", "r"]) == 0
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "=cmd|" in page and "&#39;=cmd" not in page
    assert json.loads((tmp_path / "r" / "run.json").read_text())["command"] == "report"


def assert_harmless(text):
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            assert not cell.startswith(("=", "@", "\t", "\r")), cell
            if cell.startswith(("+", "-")):
                float(cell)
