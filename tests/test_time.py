"""Time as calendars have it, from a table or a file to the dates of its forecast."""

import datetime
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm import ExpLSTM, cli
from explstm.errors import DataError
from explstm.frame import build_panel
from explstm.reading import parse_table, read_table
from explstm.spreadsheets import write_csv

H = 3


@pytest.fixture(scope="module")
def model() -> ExpLSTM:
    return ExpLSTM()


def series(dates: Any) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "a", "ds": dates, "y": 100 * 1.02 ** np.arange(len(dates))})


def ahead(model: ExpLSTM, dates: Any, h: int = H) -> list[pd.Timestamp]:
    found = model.predict(series(dates), h=h)
    assert np.isfinite(found["ExpLSTM"]).all()
    return found["ds"].tolist()


def file_of(dates: Any) -> bytes:
    rows = [f"a,{date},{value + 1}" for value, date in enumerate(dates)]
    return "\n".join(["unique_id,ds,y", *rows]).encode()


# From nanoseconds to years, against what pandas makes of the same rule.

FREQS = [
    *("ns", "250ns", "us", "ms", "s", "min", "15min", "h", "6h", "D", "2D", "B", "W-WED", "2W-SUN"),
    *("MS", "ME", "2MS", "QS-FEB", "QE-JAN", "YS", "YE-JUN", "2YS"),
]


@pytest.mark.parametrize(
    ("freq", "unit"), [*((freq, "ns") for freq in FREQS), *((freq, "s") for freq in FREQS[4:])]
)
def test_the_next_dates_are_those_of_the_calendar(model: ExpLSTM, freq: str, unit: str):
    whole = pd.date_range("2020-01-29 00:00", periods=24 + H, freq=freq).as_unit(unit)
    assert ahead(model, whole[:24]) == list(whole[24:])
    found = model.predict(pl.from_pandas(series(whole[:24])), h=H)
    assert (
        found["ds"].cast(pl.Datetime("ns")).to_numpy().tolist()
        == whole[24:].as_unit("ns").asi8.tolist()
    )
    text = parse_table(file_of(date.isoformat() for date in whole[:24]), "a.csv")
    assert model.predict(text, h=H)["ds"].tolist() == list(whole[24:])


@given(
    first=st.dates(datetime.date(1700, 1, 1), datetime.date(2100, 1, 1)),
    freq=st.sampled_from(["D", "B", "W-TUE", "MS", "ME", "QS", "QE", "YS", "YE", "h", "90min"]),
    zone=st.sampled_from([None, "UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]),
)
def test_any_calendar_is_continued_as_pandas_does(
    first: datetime.date, freq: str, zone: str | None
):
    # Noon, which no zone skips or repeats.
    whole = pd.date_range(pd.Timestamp(first) + pd.Timedelta(12, "h"), periods=20, freq=freq)
    tick = freq in ("h", "90min")
    if zone:
        whole = whole.tz_localize("UTC").tz_convert(zone) if tick else whole.tz_localize(zone)
    panel = build_panel(series(whole[:15]))
    found = ExpLSTM().predict(panel, h=5)["ds"]
    assert found.tolist() == list(whole[15:])


# Month ends, leap days, weeks, business days.


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        ("2023-10-31 2023-11-30 2023-12-31", "2024-01-31 2024-02-29 2024-03-31"),
        ("2022-11-30 2022-12-30 2023-01-30", "2023-02-28 2023-03-30 2023-04-30"),
        ("2023-10-29 2023-11-29 2023-12-29", "2024-01-29 2024-02-29 2024-03-29"),
        ("1899-12-31 1900-01-31 1900-02-28", "1900-03-31 1900-04-30 1900-05-31"),
        ("2099-12-31 2100-01-31 2100-02-28", "2100-03-31 2100-04-30 2100-05-31"),
        ("2024-02-26 2024-02-27 2024-02-28", "2024-02-29 2024-03-01 2024-03-02"),
        ("2100-02-26 2100-02-27 2100-02-28", "2100-03-01 2100-03-02 2100-03-03"),
        ("2000-02-26 2000-02-27 2000-02-28", "2000-02-29 2000-03-01 2000-03-02"),
        ("2016-02-29 2020-02-29 2024-02-29", "2028-02-29 2032-02-29 2036-02-29"),
        ("2021-02-28 2022-02-28 2023-02-28", "2024-02-29 2025-02-28 2026-02-28"),
        ("2023-01-31 2023-04-30 2023-07-31", "2023-10-31 2024-01-31 2024-04-30"),
        ("2020-W50 2020-W51 2020-W52", "2020-12-28 2021-01-04 2021-01-11"),
        ("2024-W50 2024-W51 2024-W52", "2024-12-30 2025-01-06 2025-01-13"),
        ("2026-W51-7 2026-W52-7 2026-W53-7", "2027-01-10 2027-01-17 2027-01-24"),
        ("2023-Q2 2023-Q3 2023-Q4", "2024-01-01 2024-04-01 2024-07-01"),
        ("2023-12-27 2023-12-28 2023-12-29 2024-01-01", "2024-01-02 2024-01-03 2024-01-04"),
        ("2024-10-31T22:00 2024-10-31T23:00 2024-11-01T00:00",
         "2024-11-01T01 2024-11-01T02 2024-11-01T03"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*straight lines")
def test_dates_as_people_write_them_go_on(model: ExpLSTM, past: str, expected: str):
    found = model.predict(parse_table(file_of(past.split()), "a.csv"), h=H)
    assert found["ds"].tolist() == [pd.Timestamp(date) for date in expected.split()]


@pytest.mark.parametrize("week", ["2021-W53", "2024-W00", "2024-W54", "2025-W53"])
def test_a_week_that_the_year_has_not_is_refused_with_its_line(week: str):
    with pytest.raises(DataError, match=rf"DATA_BAD_DATE: .*line 4: '{week}'"):
        parse_table(file_of(["2020-W51", "2020-W52", week]), "a.csv")


def test_a_saturday_among_business_days_makes_them_days():
    days = pd.bdate_range("2024-01-01", periods=20)
    assert build_panel(series(days)).freq == "B"
    with pytest.raises(DataError, match="DATA_GAP"):
        build_panel(series(days.append(pd.DatetimeIndex(["2024-02-03"])).sort_values()))
    with pytest.raises(DataError, match=r"DATA_IRREGULAR: .*2024-02-03 is not on a calendar"):
        build_panel(series([*days, pd.Timestamp("2024-02-03")]), freq="B")


def test_a_holiday_is_a_gap_that_is_named():
    days = pd.bdate_range("2023-12-18", "2024-01-12").drop("2023-12-25")
    with pytest.raises(DataError, match=r"no 'y' for ds=2023-12-25 \(freq='B'; 1 step is missing"):
        build_panel(series(days))


# Daylight saving and time zones.

CHANGES = [
    ("Europe/Berlin", "2024-03-31"),
    ("Europe/Berlin", "2024-10-27"),
    ("America/New_York", "2024-03-10"),
    ("America/New_York", "2024-11-03"),
    ("America/Sao_Paulo", "2018-11-04"),  # at midnight
    ("Africa/Cairo", "2024-04-26"),  # at midnight
    ("Australia/Lord_Howe", "2024-04-07"),  # by half an hour
    ("Asia/Tehran", "2022-03-22"),
]


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@pytest.mark.filterwarnings("ignore:.*straight lines")
def test_days_keep_their_local_time_across_a_change(model: ExpLSTM, zone: str, day: str):
    for hour in (0, 8, 23):
        first = pd.Timestamp(day) - pd.Timedelta(20, "D") + pd.Timedelta(hour, "h")
        local = pd.date_range(first, periods=30, freq="D")
        earlier = np.ones(30, dtype=bool)
        dates = local.tz_localize(zone, nonexistent="shift_forward", ambiguous=earlier)
        for begin, known in ((0, 18), (0, 25), (20, 25)):  # it lies ahead, behind, at the start
            found = model.predict(series(dates[begin:known]), h=5)
            assert found["ds"].tolist() == list(dates[known : known + 5])


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@pytest.mark.parametrize("freq", ["h", "15min", "6h"])
def test_hours_run_through_a_change(model: ExpLSTM, zone: str, day: str, freq: str):
    utc = pd.date_range(
        pd.Timestamp(day) - 10 * pd.tseries.frequencies.to_offset(freq),
        periods=30,
        freq=freq,
        tz="UTC",
    )
    dates = utc.tz_convert(zone)
    for known in (10, 25):
        found = model.predict(series(dates[:known]), h=5)
        assert found["ds"].tolist() == list(dates[known : known + 5])
        same = model.predict(series(utc[:known]), h=5)
        pd.testing.assert_series_equal(found["ExpLSTM"], same["ExpLSTM"])
    assert found["ds"].dtype == dates.dtype


def test_the_day_that_a_zone_left_out_is_told_and_not_doubled(model: ExpLSTM):
    days = pd.date_range("2011-12-10", periods=19, freq="D", tz="Pacific/Apia")
    with pytest.raises(DataError, match=r"DATE_SKIPPED: in the time zone Pacific/Apia"):
        model.predict(series(days), h=4)
    assert len(model.predict(series(days), h=1)) == 1
    later = pd.date_range("2011-12-31", periods=19, freq="D", tz="Pacific/Apia")
    assert ahead(model, later) == list(pd.date_range(later[-1], periods=4, freq="D")[1:])


def test_offsets_that_change_with_daylight_saving_are_refused_with_two_lines():
    dates = pd.date_range("2024-03-30 12:00", periods=24, freq="h", tz="Europe/Berlin")
    with pytest.raises(DataError, match=r"line 2: .* than .* line 16: .*\+02:00'; write all"):
        parse_table(file_of(date.isoformat() for date in dates), "a.csv")
    utc = parse_table(file_of(date.isoformat() for date in dates.tz_convert("UTC")), "a.csv")
    assert build_panel(utc).freq == "h"


# Beyond what nanoseconds count.


YEARS = [
    *("0002-03-01", "0912-01-01", "1500-01-01", "1677-01-01", "2250-01-01", "2262-03-01"),
    *("3000-01-01", "9900-01-01"),
]


@pytest.mark.parametrize("first", YEARS)
@pytest.mark.parametrize("step", ["D", "M", "Y"])
def test_years_beyond_nanoseconds_are_years(
    model: ExpLSTM, first: str, step: str, tmp_path: Any, monkeypatch: Any
):
    whole = (np.datetime64(first, step) + np.arange(20)).astype("M8[D]")
    expected = [str(day) for day in whole[15:]]
    table = parse_table(file_of(whole[:15]), "a.csv")
    found = model.predict(table, h=5)
    assert found["ds"].to_numpy().astype("M8[D]").astype(str).tolist() == expected
    same = model.predict(series(whole[:15].astype("M8[s]")), h=5)
    assert same["ds"].to_numpy().astype("M8[D]").astype(str).tolist() == expected
    monkeypatch.chdir(tmp_path)
    write_csv(found, tmp_path / "made.csv")
    again = read_table("made.csv", target_col="ExpLSTM")  # written so that it can be read
    assert again["ds"].to_numpy().astype("M8[D]").astype(str).tolist() == expected


def test_a_stated_format_reads_years_beyond_nanoseconds(model: ExpLSTM):
    days = [f"{day:02d}.06.{2255 + day}" for day in range(1, 13)]
    table = parse_table(file_of(days), "a.csv", date_format="%d.%m.%Y")
    assert str(table["ds"].iloc[-1])[:10] == "2267-06-12"
    early = [f"01.06.{1490 + year}" for year in range(12)]
    found = model.predict(parse_table(file_of(early), "a.csv", date_format="%d.%m.%Y"), h=1)
    assert str(found["ds"][0])[:10] == "1502-06-01"
    with pytest.raises(DataError, match=r"line 13: '31\.02\.2300'"):
        parse_table(file_of([*days[:11], "31.02.2300"]), "a.csv", date_format="%d.%m.%Y")


def test_nanoseconds_of_a_table_that_would_end_are_told(model: ExpLSTM):
    years = pd.date_range("2241-01-01", periods=21, freq="YS")
    with pytest.raises(
        DataError, match=r"DATE_OUT_OF_RANGE: a date would be 2263.*shorter horizon"
    ):
        model.predict(series(years.as_unit("ns")), h=2)
    assert str(ahead(model, years.as_unit("us"), 2)[-1])[:10] == "2263-01-01"


@pytest.mark.parametrize("freq", ["ns", "us", "ms"])
def test_short_steps_are_shown_to_their_last_digit(
    freq: str, tmp_path: Any, capsys: Any, monkeypatch: Any
):
    monkeypatch.chdir(tmp_path)
    whole = pd.date_range("2024-05-05 05:05", periods=14, freq=freq)
    (tmp_path / "a.csv").write_bytes(file_of(date.isoformat() for date in whole[:12]))
    assert cli.run(["forecast", "a.csv", "--horizon", "2", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["forecast"]
    assert [pd.Timestamp(row["ds"]) for row in shown] == list(whole[12:])
    written = pd.read_csv(io.StringIO((tmp_path / "explstm-forecast" / "forecast.csv").read_text()))
    assert [pd.Timestamp(date) for date in written["ds"]] == list(whole[12:])
