"""Any table gives a finite forecast or one of our errors, and is left as it was."""

import datetime
import warnings
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from explstm import ExpLSTM
from explstm.errors import DataError, ExpLSTMError, UsageError
from explstm.frame import build_panel
from explstm.reading import parse_table
from frames import Asked, frames

TOLD_OF_THE_CALL = ("FREQ_TYPE",)
"""Faults of the table that are told as such of an argument."""


@lru_cache
def model_of(freq: str | int | None) -> ExpLSTM:
    return ExpLSTM(freq=freq)


@pytest.fixture(scope="module")
def model() -> ExpLSTM:
    return model_of(None)


def numbers_of(forecast: Any) -> np.ndarray:
    names = [name for name in forecast.columns if str(name).startswith("ExpLSTM")]
    return np.column_stack([np.asarray(forecast[name].to_numpy(), dtype=float) for name in names])


def picture_of(table: Any) -> Any:
    """Everything that a table says of itself."""
    if not isinstance(table, pd.DataFrame):
        plain = [column.to_physical() for column in table if column.dtype.is_temporal()]
        others = [column for column in table if not column.dtype.is_temporal()]
        return table.schema, [(column.name, repr(column.to_list())) for column in plain + others]
    columns = [table.iloc[:, place] for place in range(table.shape[1])]
    levels = [table.index.get_level_values(place) for place in range(table.index.nlevels)]
    cells = [cells_of(column.array) for column in (*columns, *levels)]
    names = repr(list(table.columns)), repr(table.index.names)
    return cells, names, repr(list(table.dtypes)), repr(table.attrs), table.index.is_unique


def cells_of(values: Any) -> list[Any]:
    # Dates that pandas holds and datetime does not would end the process on becoming objects.
    return values.asi8.tolist() if hasattr(values, "asi8") else [repr(cell) for cell in values]


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(asked=frames())
def test_any_table_gives_a_finite_forecast_or_one_of_our_errors(asked: Asked):
    before = picture_of(asked.table)
    n = len(asked.table)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*little more than straight lines.*")
        try:
            forecast = model_of(asked.freq).predict(asked.table, **asked.options)
        except ExpLSTMError as error:
            assert isinstance(error, ValueError), error  # of the data or an argument, not of ours
            assert not isinstance(error, UsageError) or error.code in TOLD_OF_THE_CALL, error
            assert error.message.isprintable() and len(error.message) < 1500
            assert error.message.endswith((".", "?"))
        else:
            assert type(forecast) is type(asked.table)
            assert np.isfinite(numbers_of(forecast)).all()
            assert len(forecast) % asked.options["h"] == 0 and n
            if isinstance(forecast, pd.DataFrame):
                assert not forecast.iloc[:, :2].isna().any(axis=None)
            else:
                assert not any(forecast[name].is_null().any() for name in forecast.columns)
            steps = numbers_of(forecast)
            if steps.shape[1] > 1:
                lows = [name for name in forecast.columns if "-lo-" in name]
                for low in lows:
                    high = low.replace("-lo-", "-hi-")
                    assert (forecast[low].to_numpy() <= forecast["ExpLSTM"].to_numpy()).all()
                    assert (forecast["ExpLSTM"].to_numpy() <= forecast[high].to_numpy()).all()
    assert picture_of(asked.table) == before


# What the search above has found.


def daily(n: int = 12, **columns: Any) -> pd.DataFrame:
    dates = pd.date_range("2024-01-01", periods=n)
    return pd.DataFrame({"unique_id": "a", "ds": dates, "y": np.arange(1.0, n + 1)} | columns)


def test_periods_that_nanoseconds_cannot_count_are_dates(model: ExpLSTM):
    months = pd.period_range("1499-03", periods=12, freq="M")
    forecast = model.predict(daily(ds=months), h=2)
    assert forecast["ds"].astype(str).tolist() == ["1500-03", "1500-04"]


@pytest.mark.parametrize(
    "ids",
    [
        [True, False],
        [datetime.date(2024, 1, 1), datetime.date(1500, 1, 2)],
        list(np.array(["2024-01-01", "2024-02-01"], "M8[ns]")),
        [pd.Timedelta(1, "D"), pd.Timedelta(2, "D")],
    ],
)
def test_ids_of_odd_types_stay_apart(model: ExpLSTM, ids: list[Any]):
    tables = [daily(unique_id=[name] * 12) for name in ids]
    expected = {str(name).removesuffix("T00:00:00.000000000") for name in ids}
    forecast = model.predict(pd.concat(tables), h=1)
    assert {str(name) for name in forecast["unique_id"]} == expected
    forecast = model.predict(pl.concat([pl.from_pandas(table) for table in tables]), h=1)
    assert len(set(forecast["unique_id"])) == 2
    if not isinstance(ids[0], pd.Timedelta):
        assert {str(name) for name in forecast["unique_id"]} == expected


def test_dates_with_an_offset_come_back_in_utc_from_polars(model: ExpLSTM):
    texts = [f"2024-01-{day:02d}T00:00+05:30" for day in range(1, 13)]
    forecast = model.predict(pl.from_pandas(daily(ds=texts)), h=1)
    assert forecast["ds"].to_list() == [datetime.datetime(2024, 1, 12, 18, 30, tzinfo=datetime.UTC)]


def test_dates_with_an_offset_may_lie_beyond_nanoseconds(model: ExpLSTM):
    rows = "".join(f"{2300 + year}-01-01T00:00+01:00,{year + 1}\n" for year in range(12))
    forecast = model.predict(parse_table(b"ds,y\n" + rows.encode(), "far.csv"), h=1)
    assert str(forecast["ds"][0]) == "2312-01-01 00:00:00+01:00"


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (np.arange(12) + 10**18, "column 'ds', series 'a', row 11: 1000000000000000011 is not"),
        (np.array([-(2**63), *range(11)]), "row 0: -9223372036854775808 is not within"),
        (np.array([2**63, *range(11)], dtype=np.uint64), "row 0: 9223372036854775808 is not"),
        (np.arange(12).astype("M8[s]") + np.timedelta64(10**12, "s"), "33658-09-27 is not within"),
        (np.arange(12).astype("M8[s]") - np.timedelta64(10**12, "s"), "row 0: -29719-04-05 is not"),
    ],
)  # fmt: skip
def test_dates_that_cannot_be_counted_on_are_refused(model: ExpLSTM, dates: Any, words: str):
    with pytest.raises(DataError, match="DATE_OUT_OF_RANGE") as refused:
        model.predict(daily(ds=dates), h=2)
    assert words in refused.value.message


def test_early_dates_of_a_zone_are_refused_and_those_of_utc_are_not(model: ExpLSTM):
    early = pd.Series(np.arange(12).astype("M8[D]").astype("M8[s]") - np.timedelta64(10**10, "s"))
    with pytest.raises(DataError, match=r"1653-02-10 is not within 1678.*give the dates in UTC"):
        model.predict(daily(ds=early.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")), h=2)
    assert len(model.predict(daily(ds=early.dt.tz_localize("UTC")), h=2)) == 2


def test_dates_too_far_apart_are_no_frequency():
    dates = np.datetime64("0001-01-03", "s") + np.arange(3) * np.timedelta64(1_500_000, "D")
    with pytest.raises(DataError, match=r"FREQ_UNKNOWN: most dates are 1,500,000 days apart"):
        build_panel(pd.DataFrame({"ds": dates, "y": [1.0, 2.0, 3.0]}))
    near = np.datetime64("1500-01-03", "ms") + np.arange(3) * np.timedelta64(110_000, "D")
    with pytest.raises(DataError, match="FREQ_UNKNOWN"):  # more nanoseconds than 64 bits hold
        build_panel(pd.DataFrame({"ds": near, "y": [1.0, 2.0, 3.0]}))


@pytest.mark.parametrize("value", [10**400, Decimal("sNaN"), Decimal("1e400")])
def test_numbers_that_are_none_are_refused_with_their_row(model: ExpLSTM, value: Any):
    y = pd.Series([1.0] * 11 + [value], dtype=object)
    with pytest.raises(DataError, match=r"row 11: .* is not a finite number"):
        model.predict(daily(y=y), h=2)


@pytest.mark.parametrize("unit", [1e-320, 1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.parametrize("shape", ["log", "any sign", "one peak"])
def test_the_ends_of_float64_are_forecast_without_a_warning(
    model: ExpLSTM, unit: float, shape: str
):
    y = np.random.default_rng(3).lognormal(size=30)
    y = {"log": y, "any sign": y - 1, "one peak": np.where(np.arange(30) == 20, 1e8, y)}[shape]
    try:
        forecast = model.predict(daily(30, y=y * unit), h=12, level=[95])
    except DataError as error:
        assert error.code in ("GROWTH_VALUE", "FORECAST_OVERFLOW") and unit > 1
    else:
        assert np.isfinite(numbers_of(forecast)).all()
