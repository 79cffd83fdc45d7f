"""Dates by calendar rule, against a golden table worked out by hand."""

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from explstm import calendar
from explstm.calendar import (
    add_steps,
    count_steps,
    default_season_length,
    future_dates,
    infer_freq,
    parse_freq,
)
from explstm.errors import DataError, UsageError

GOLDEN = [
    # last date, frequency, the dates that follow
    ("2023-01-31", "ME", ["2023-02-28", "2023-03-31", "2023-04-30"]),
    ("2024-01-31", "ME", ["2024-02-29", "2024-03-31", "2024-04-30"]),
    ("2024-02-29", "ME", ["2024-03-31", "2024-04-30", "2024-05-31"]),
    ("2023-12-01", "MS", ["2024-01-01", "2024-02-01", "2024-03-01"]),
    ("2023-12-15", "MS", ["2024-01-15", "2024-02-15", "2024-03-15"]),
    ("2023-01-30", "MS", ["2023-02-28", "2023-03-30", "2023-04-30"]),
    ("2023-11-01", "2MS", ["2024-01-01", "2024-03-01", "2024-05-01"]),
    ("2023-12-31", "QE-DEC", ["2024-03-31", "2024-06-30", "2024-09-30"]),
    ("2023-11-30", "QE-NOV", ["2024-02-29", "2024-05-31", "2024-08-31"]),
    ("2023-10-01", "QS", ["2024-01-01", "2024-04-01", "2024-07-01"]),
    ("2023-12-31", "YE-DEC", ["2024-12-31", "2025-12-31", "2026-12-31"]),
    ("2024-02-29", "YE-FEB", ["2025-02-28", "2026-02-28", "2027-02-28"]),
    ("2023-02-28", "YE-FEB", ["2024-02-29", "2025-02-28", "2026-02-28"]),
    ("2024-02-29", "YS-FEB", ["2025-02-28", "2026-02-28", "2027-02-28"]),
    ("1999-01-01", "YS", ["2000-01-01", "2001-01-01", "2002-01-01"]),
    ("2024-02-28", "D", ["2024-02-29", "2024-03-01", "2024-03-02"]),
    ("2023-02-28", "D", ["2023-03-01", "2023-03-02", "2023-03-03"]),
    ("2024-02-29", "B", ["2024-03-01", "2024-03-04", "2024-03-05"]),
    ("2024-03-01", "2B", ["2024-03-05", "2024-03-07", "2024-03-11"]),
    # ISO week 52 of 2020 (Monday): 2020 has a week 53, 2021 starts with week 1 on 4 January.
    ("2020-12-21", "W-MON", ["2020-12-28", "2021-01-04", "2021-01-11"]),
    ("2023-12-31", "W-SUN", ["2024-01-07", "2024-01-14", "2024-01-21"]),
    ("2023-12-25", "2W-MON", ["2024-01-08", "2024-01-22", "2024-02-05"]),
    ("2023-12-31T22", "h", ["2023-12-31T23", "2024-01-01T00", "2024-01-01T01"]),
    ("1969-12-31T23:30", "15min", ["1969-12-31T23:45", "1970-01-01T00:00", "1970-01-01T00:15"]),
    ("2024-02-28T18", "6h", ["2024-02-29T00", "2024-02-29T06", "2024-02-29T12"]),
    # The time of day is kept.
    ("2024-01-31T06:30", "ME", ["2024-02-29T06:30", "2024-03-31T06:30", "2024-04-30T06:30"]),
]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize(("last", "freq", "expected"), GOLDEN)
def test_future_dates_follow_the_calendar(last, freq, expected, unit):
    last_N = np.array([last, last], dtype=f"M8[{unit}]")
    result = future_dates(last_N, freq, 3)
    assert result.dtype == last_N.dtype
    assert (result == np.array([expected, expected], dtype=f"M8[{unit}]")).all()


@pytest.mark.parametrize(("last", "freq", "expected"), GOLDEN)
def test_counting_steps_undoes_adding_them(last, freq, expected):
    rule = parse_freq(freq)
    start = np.array([last], dtype="M8[ns]")
    assert count_steps(start, np.array(expected, dtype="M8[ns]"), rule).tolist() == [1, 2, 3]


def test_integer_dates_step_by_integers():
    assert future_dates(np.array([7, 2020]), 5, 2).tolist() == [[12, 17], [2025, 2030]]


def test_daily_dates_keep_their_local_time_over_daylight_saving():
    berlin = ZoneInfo("Europe/Berlin")
    local = pd.DatetimeIndex(["2024-03-30 08:00"], tz=berlin)
    last_N = local.tz_convert("UTC").tz_localize(None).to_numpy()
    result = future_dates(last_N, "D", 2, time_zone=berlin)[0]
    # 8:00 is 7:00 UTC in winter and 6:00 UTC in summer.
    assert result.tolist() == np.array(["2024-03-31T06", "2024-04-01T06"], "M8[ns]").tolist()


def test_a_local_time_that_daylight_saving_skips_becomes_the_next_that_exists():
    berlin = ZoneInfo("Europe/Berlin")
    last_N = np.array(["2024-03-30T01:30"], "M8[ns]")  # 2:30 in Berlin
    result = future_dates(last_N, "D", 2, time_zone=berlin)[0]
    assert result.tolist() == np.array(["2024-03-31T01:00", "2024-04-01T00:30"], "M8[ns]").tolist()


def test_of_a_repeated_local_time_the_earlier_is_taken():
    last_N = np.array(["2024-10-26T00:30"], "M8[ns]")  # 2:30 in Berlin
    result = future_dates(last_N, "D", 2, time_zone=ZoneInfo("Europe/Berlin"))[0]
    assert result.tolist() == np.array(["2024-10-27T00:30", "2024-10-28T01:30"], "M8[ns]").tolist()


def test_hours_are_counted_in_utc():
    last_N = np.array(["2024-03-31T00:00"], "M8[ns]")
    result = future_dates(last_N, "h", 2, time_zone=ZoneInfo("Europe/Berlin"))[0]
    assert result.tolist() == np.array(["2024-03-31T01", "2024-03-31T02"], "M8[ns]").tolist()


def infer(*series, unit="ns", time_zone=None):
    starts = np.cumsum([0] + [len(dates) for dates in series])
    return infer_freq(np.concatenate(series).astype(f"M8[{unit}]"), starts, time_zone=time_zone)


MADE_BY_PANDAS = [
    "MS", "ME", "2MS", "QS-JAN", "QS-FEB", "QE-DEC", "QE-OCT", "YS-JAN", "YE-DEC", "YE-JUN",
    "2YE-DEC", "W-SUN", "W-MON", "2W-WED", "D", "2D", "B", "h", "2h", "15min", "30s",
]  # fmt: skip


@pytest.mark.parametrize("freq", MADE_BY_PANDAS)
@pytest.mark.parametrize(("unit", "block"), [("ns", calendar.BLOCK), ("s", 7)])
def test_infer_freq_finds_what_pandas_made(freq, unit, block, monkeypatch):
    monkeypatch.setattr(calendar, "BLOCK", block)
    dates = pd.date_range("2019-12-20", periods=40, freq=freq).to_numpy()
    assert infer(dates, dates[5:20], unit=unit) == freq


def test_infer_freq_survives_gaps():
    dates = pd.date_range("2020-01-31", periods=24, freq="ME").to_numpy()
    assert infer(np.delete(dates, [3, 4, 10])) == "ME"


def test_infer_freq_tells_four_weeks_from_a_month():
    assert infer(pd.date_range("2020-01-06", periods=30, freq="28D").to_numpy()) == "4W-MON"


def test_infer_freq_sees_days_that_daylight_saving_makes_shorter():
    days = pd.date_range("2024-03-31", periods=2, freq="D", tz="Europe/Berlin")
    utc = days.tz_convert("UTC").tz_localize(None).to_numpy()
    assert infer(utc, time_zone=days.tz) == "D"


def test_infer_freq_of_integers_is_their_most_common_step():
    assert infer_freq(np.array([0, 5, 10, 20, 25, 3, 8]), np.array([0, 5, 7])) == 5


def test_infer_freq_counts_steps_over_all_blocks(monkeypatch):
    monkeypatch.setattr(calendar, "BLOCK", 2)
    assert infer_freq(np.array([0, 3, 6, 7, 8, 11, 12, 13]), np.array([0, 8])) == 1
    assert infer_freq(np.array([0, 3, 6, 7, 8, 11, 0, 3]), np.array([0, 6, 8])) == 3


def test_infer_freq_needs_two_dates():
    with pytest.raises(DataError, match="pass freq"):
        infer(np.array(["2020-01-01"], "M8[ns]"), np.array(["2020-02-01"], "M8[ns]"))


@pytest.mark.parametrize(
    "old, new", [("M", "ME"), ("Q", "QE"), ("A", "YE"), ("H", "h"), ("T", "min")]
)
def test_older_spellings_mean_the_same(old, new):
    assert parse_freq(old) == parse_freq(new)


@pytest.mark.parametrize("freq", ["monthly", "", "BME", "-1D", "0h", 0, -3, True, 1.5, None])
def test_unknown_frequencies_are_refused(freq):
    with pytest.raises(UsageError, match="is not a frequency; use YS"):
        parse_freq(freq)


def test_dates_beyond_the_type_are_refused():
    with pytest.raises(DataError, match="DATE_OUT_OF_RANGE"):
        future_dates(np.array(["2261-01-01"], "M8[ns]"), "YS", 3)
    later = future_dates(np.array(["2261-01-01"], "M8[s]"), "YS", 3)
    assert later[0, -1] == np.datetime64("2264-01-01")
    with pytest.raises(DataError, match="beyond 9999-12-30"):
        future_dates(np.array(["9998-12-31"], "M8[s]"), "YE", 2)
    with pytest.raises(DataError, match="DATE_OUT_OF_RANGE"):
        future_dates(np.array([2**63 - 2]), 1, 3)


def test_a_weekend_is_no_business_day():
    saturday = np.array(["2024-03-02"], "M8[D]")
    assert add_steps(saturday, 0, parse_freq("B")) != saturday


@pytest.mark.parametrize(
    ("freq", "seasons"),
    [
        ("MS", (12,)), ("ME", (12,)), ("2MS", (6,)), ("QS", (4,)), ("QE-NOV", (4,)), ("YS", (1,)),
        ("5MS", (1,)), ("D", (7,)), ("2D", (1,)), ("B", (5,)), ("W-SUN", (52,)), ("2W", (26,)),
        ("h", (24, 168)), ("6h", (4, 28)), ("30min", (48, 336)), ("7h", (1,)), ("s", (1,)),
        (1, (1,)), (12, (1,)),
    ],
)  # fmt: skip
def test_default_season_length(freq, seasons):
    assert default_season_length(freq) == seasons


def test_a_step_too_far_is_refused_and_never_wraps():
    day_N = np.array(["2024-01-01"], dtype="M8[s]")
    with pytest.raises(DataError, match="DATE_OUT_OF_RANGE"):
        future_dates(day_N, "999999h", 4)
