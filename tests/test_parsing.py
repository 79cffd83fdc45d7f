"""Text to dates and numbers: read in one way or refused with its row."""

import re
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from explstm.errors import DataError, UsageError
from explstm.parsing import name_cells, parse_dates, parse_numbers, quote, read_days


def dates(*texts, date_format=None):
    index = pd.RangeIndex(2, 2 + len(texts), name="line")
    name_cell = name_cells("when", index, lambda row: f"id{row}")
    return parse_dates(np.array(texts, dtype=object), name_cell, date_format=date_format)


def numbers(*texts, **options):
    return parse_numbers(texts, name_cells("y", pd.RangeIndex(len(texts))), **options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-31", "2024-01-31"),
        ("2024/01/31", "2024-01-31"),
        ("2024-02", "2024-02-01"),
        ("2024-Q3", "2024-07-01"),
        ("2024Q1", "2024-01-01"),
        ("2020-W53", "2020-12-28"),
        ("2021-W01", "2021-01-04"),
        ("2021-W01-7", "2021-01-10"),
        ("2024-01-31 06:30", "2024-01-31T06:30"),
        ("2024-01-31T06:30:01.123456789", "2024-01-31T06:30:01.123456789"),
        ("1500-01-01", "1500-01-01"),
        ("9999-12-31", "9999-12-31"),
    ],
)
def test_iso_dates_are_read(text, expected):
    ds_S, zone = dates(text)
    assert zone is None
    assert ds_S[0] == np.datetime64(expected)


@pytest.mark.parametrize(
    "text",
    ["01/02/2024", "13/02/2024", "2024-1-31", "2024-02-30", "2023-02-29", "2021-W53", "2024-Q5",
     "24-01-31", "2024-01-31T25:00", "2024-01-31 ", "yesterday", "", "2024-01-31\n"],
)  # fmt: skip
def test_other_dates_are_refused_with_their_line(text):
    with pytest.raises(
        DataError, match=r"column 'when', series 'id1', line 3: .* is not written as ISO date"
    ):
        dates("2024-01-31", text)


def test_a_stated_format_is_followed_strictly():
    assert dates("01/02/2024", date_format="%d/%m/%Y")[0][0] == np.datetime64("2024-02-01")
    assert dates("20240131", date_format="%Y%m%d")[0][0] == np.datetime64("2024-01-31")
    with pytest.raises(DataError, match=r"line 2: '13/13/2024' is not written as %d/%m/%Y"):
        dates("13/13/2024", date_format="%d/%m/%Y")


def test_offsets_are_carried_to_utc():
    ds_S, zone = dates("2024-01-31T06:30+05:30", "2024-02-01T00:00+0530")
    assert ds_S.tolist() == np.array(["2024-01-31T01:00", "2024-01-31T18:30"], "M8[ns]").tolist()
    assert zone.utcoffset(None) == timedelta(hours=5.5)
    assert dates("2024-01-31T06:30Z")[1].utcoffset(None) == timedelta(0)


@pytest.mark.parametrize("other", ["2024-02-01T00:00+02:00", "2024-02-01T00:00"])
def test_mixed_offsets_are_refused_with_both_lines(other):
    with pytest.raises(DataError, match=r"line 2: .* than .* line 3: .*; write all dates in UTC"):
        dates("2024-01-31T06:30+01:00", other)


def test_integers_stay_integers():
    ds_S, _ = dates("1", "2", "-3")
    assert ds_S.dtype == np.int64 and ds_S.tolist() == [1, 2, -3]


@pytest.mark.parametrize(
    "texts",
    [
        ("20240131", "20240229"),
        [f"{year}{month:02d}" for year in (2023, 2024) for month in range(1, 13)],
        ("1704067200", "1704153600"),
        ("1704067200000", "1704153600000"),
        ("1704067200000000", "1704153600000000"),
    ],
)
def test_integers_that_are_evidently_dates_are_refused(texts):
    with pytest.raises(DataError, match="look like"):
        dates(*texts)


def test_years_are_good_integers():
    assert dates("1999", "2000")[0].tolist() == [1999, 2000]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5.0),
        ("-.5", -0.5),
        ("+1e3", 1000.0),
        (" 7. ", 7.0),
        ("16777217", 16777217.0),
        ("1e-400", 0.0),
    ],
)
def test_numbers_are_read(text, value):
    assert numbers(text).tolist() == [value]


@pytest.mark.parametrize(
    "text",
    [
        "N/A",
        "NA",
        "-",
        "#REF!",
        "nan",
        "inf",
        "-Infinity",
        "1e400",
        "1,000",
        "1_000",
        "$5",
        "5%",
        "0x10",
        "١",
        "True",
    ],
)
def test_other_texts_are_refused_with_their_row(text):
    with pytest.raises(DataError, match=r"column 'y', row 1: .* is not a finite number"):
        numbers("1", text)


def test_only_listed_texts_are_missing():
    assert np.isnan(numbers("", None)).all()
    assert np.isnan(numbers("NA", missing=("NA",))).all()
    with pytest.raises(DataError):
        numbers("", missing=("NA",))


def test_decimal_comma():
    assert numbers("1,5", decimal=",").tolist() == [1.5]
    with pytest.raises(DataError):
        numbers("1.5", decimal=",")


@pytest.mark.parametrize("date_format", ["%Q", "", "mixed", "ISO8601", "%Y%Y"])
def test_a_format_that_is_none_is_refused(date_format):
    with pytest.raises(UsageError, match=f"date_format='{date_format}' cannot be used"):
        dates("01/02/2024", date_format=date_format)


@pytest.mark.parametrize(
    ("text", "date_format", "lack"),
    [
        ("01-02", "%m-%d", "no year"),
        ("100", "%j", "no year"),
        ("12", "%W", "no year"),
        ("%Y 01-02", "%%Y %m-%d", "no year"),
        ("2024-12", "%Y-%U", "a week (%U, %W) and no day of it"),
        ("2024 12", "%Y %d", "a day (%d) and no month"),
        ("2024-01-02 03", "%Y-%m-%d %I", "an hour of twelve (%I) and no half of the day"),
    ],
)
def test_a_format_that_leaves_dates_to_be_guessed_is_refused(text, date_format, lack):
    with pytest.raises(UsageError, match=f"it names {re.escape(lack)}") as refusal:
        dates(text, date_format=date_format)
    assert refusal.value.code == "CONFIG_VALUE"
    assert refusal.value.message.startswith(f"date_format={date_format!r} cannot be used: ")


@pytest.mark.parametrize(
    ("text", "date_format", "day"),
    [
        ("2024-100", "%Y-%j", "2024-04-09"),
        ("24 12 1", "%y %W %w", "2024-03-18"),
        ("2024-W12-1", "%G-W%V-%u", "2024-03-18"),
        ("Mar 2024", "%b %Y", "2024-03-01"),
        ("2024-01-02 03 PM", "%Y-%m-%d %I %p", "2024-01-02T15"),
        ("2024-01-01 EST", "%Y-%m-%d %Z", "2024-01-01T05"),
    ],
)
def test_a_format_that_names_all_that_it_needs_is_taken(text, date_format, day):
    found, zone = dates(text, date_format=date_format)
    assert found.dtype == "M8[ns]" and found.tolist() == np.array([day], "M8[ns]").tolist()
    assert (zone is not None) == ("%Z" in date_format)


def test_quoted_values_are_short_and_escaped():
    assert quote("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert len(quote("x" * 1000)) == 80


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-02-30"],
        ["2024-1-31"],
        ["2024/01/31"],
        ["2024-01-31", "2024-01"],
        ["2024-01-31 "],
        ["１０２４-01-31"],
        ["1677-12-31"],
        ["2262-01-01"],
        ["NaT"],
        [],
    ],
)
def test_what_is_no_plain_day_is_left_to_the_slow_way(texts):
    assert read_days(texts) is None


def test_plain_days_are_read_as_the_slow_way_reads_them():
    days = pd.date_range("1999-12-25", periods=800, freq="37D").strftime("%Y-%m-%d").tolist()
    slow, _ = parse_dates(
        np.array([f"{day}T00:00" for day in days], dtype=object),
        name_cells("ds", pd.RangeIndex(len(days))),
    )
    fast = read_days(days)
    assert fast.dtype == slow.dtype
    np.testing.assert_array_equal(fast, slow)
