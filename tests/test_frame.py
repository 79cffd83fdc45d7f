"""Long tables to panels and back, against small tables worked out by hand."""

import datetime
import warnings
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm import calendar
from explstm.errors import DataError, UsageError
from explstm.frame import (
    build_panel,
    drop_last,
    forecast_frame,
    future_ds,
    keep_steps,
    panel_frame,
    panel_series,
    take_series,
)

NAN = float("nan")


def table(**series):
    """A monthly table from January 2020; each series by its values."""
    parts = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2020-01-01", periods=len(values), freq="MS"),
                "y": np.array(values, dtype=float),
            }
        )
        for name, values in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


def found(panel):
    return [(finding.code, finding.unique_id, finding.count) for finding in panel.findings]


def assert_same(left, right):
    assert left.ids_N.tolist() == right.ids_N.tolist()
    assert left.starts_N1.tolist() == right.starts_N1.tolist()
    assert left.y_S.tolist() == right.y_S.tolist()
    assert (left.ds_S == right.ds_S).all()
    assert left.freq == right.freq


def test_a_clean_table_becomes_a_panel_and_is_not_changed():
    df = table(b=[1, 2, 3], a=[4, 5])
    before = df.copy(deep=True)
    panel = build_panel(df)
    assert panel.ids_N.tolist() == ["a", "b"]
    assert panel.starts_N1.tolist() == [0, 2, 5]
    assert panel.lengths_N.tolist() == [2, 3]
    assert panel.n_series == 2
    assert panel.y_S.tolist() == [4, 5, 1, 2, 3]
    assert panel.ds_S[2:].astype("M8[D]").astype(str).tolist() == [
        "2020-01-01",
        "2020-02-01",
        "2020-03-01",
    ]
    assert panel.freq == "MS"
    assert panel.findings == ()
    pd.testing.assert_frame_equal(df, before)


@given(st.permutations(range(12)))
def test_the_order_of_rows_does_not_matter(order):
    df = table(a=range(5), b=range(7))
    assert_same(build_panel(df.iloc[list(order)]), build_panel(df))


def test_rows_out_of_order_within_a_series_are_counted():
    df = table(a=[1, 2, 3], b=[4, 5, 6])
    assert found(build_panel(df.iloc[[3, 4, 5, 0, 1, 2]])) == []
    assert found(build_panel(df.iloc[[0, 2, 1, 3, 4, 5]])) == [("ROWS_SORTED", "a", 1)]


def test_one_series_needs_no_id():
    panel = build_panel(table(a=[1, 2, 3]).drop(columns="unique_id"))
    assert panel.ids_N.tolist() == ["series"]
    assert forecast_frame(panel, 1, {"m": np.ones((1, 1))})["unique_id"].tolist() == ["series"]


def test_a_misspelt_id_column_is_no_single_series():
    with pytest.raises(
        DataError, match=r"no column 'store', found 'stores', 'ds', 'y'; did you mean 'stores'\?"
    ):
        build_panel(table(a=[1, 2]).rename(columns={"unique_id": "stores"}), id_col="store")


def test_missing_ids_show_as_contradictory_dates():
    df = table(a=[1, 2], b=[3, 4]).rename(columns={"unique_id": "shop"})
    with pytest.raises(DataError, match="through id_col"):
        build_panel(df)


# Duplicates


def test_exact_duplicates_are_dropped_and_counted():
    df = table(a=[1, 2, 3])
    panel = build_panel(df.iloc[[0, 1, 1, 2, 1]])
    assert panel.y_S.tolist() == [1, 2, 3]
    assert ("DUPLICATES_DROPPED", "a", 2) in found(panel)


def test_contradictory_duplicates_are_refused_with_both_rows():
    df = pd.concat([table(a=[1, 2, 3]), table(a=[1, 7])], ignore_index=True)
    with pytest.raises(DataError, match=r"series 'a' .* ds=2020-02-01: 2 in row 1 and 7 in row 4"):
        build_panel(df)


def test_a_value_and_a_missing_value_contradict_each_other():
    with pytest.raises(DataError, match="DATA_DUPLICATE"):
        build_panel(pd.concat([table(a=[1, 2]), table(a=[1, NAN])]))


# Missing values and gaps


@pytest.mark.parametrize("block", [1, 5])
def test_gaps_are_filled_alike_in_any_blocks(block, monkeypatch):
    zone = "Europe/Berlin"
    days = pd.date_range("2024-03-25", periods=14, tz=zone)
    df = pd.DataFrame({"unique_id": ["a"] * 14 + ["b"] * 13, "ds": [*days, *days[1:]], "y": 1.0})
    df = df.drop(index=[3, 6, 7, 20])
    whole = build_panel(df, fill="forward")
    monkeypatch.setattr(calendar, "BLOCK", block)
    assert_same(build_panel(df, fill="forward"), whole)
    assert whole.ds_S.tolist() == [day.value for day in [*days, *days[1:]]]
    df.loc[15, "ds"] += pd.Timedelta(1, "h")
    with pytest.raises(DataError, match="series 'b'"):
        build_panel(df, fill="forward")


def test_gaps_are_refused_by_name_unless_a_rule_fills_them():
    df = table(a=[1, 2, 4, 8, 16], b=[1, 2, 3, 4, 5]).drop(index=[2, 3])
    with pytest.raises(
        DataError, match=r"series 'a' has no 'y' for ds=2020-03-01 to 2020-04-01 .* 2 steps"
    ):
        build_panel(df)
    with pytest.raises(DataError, match=r"for ds=2020-02-01 \(freq='MS'; 1 step is"):
        build_panel(table(a=[1, NAN, 3]))


def test_interpolation_is_a_straight_line_of_logs_where_all_is_positive():
    panel = build_panel(table(a=[1, NAN, 4, 8, NAN, 32]), fill="interpolate")
    np.testing.assert_allclose(panel.y_S, [1, 2, 4, 8, 16, 32], rtol=1e-15)
    assert found(panel) == [("GAPS_FILLED", "a", 2)]


def test_interpolation_is_a_straight_line_otherwise_and_never_crosses_series():
    panel = build_panel(
        table(a=[-1, NAN, 3], b=[0, NAN, NAN, 9], c=[1, NAN, 4]), fill="interpolate"
    )
    np.testing.assert_allclose(panel.y_S, [-1, 1, 3, 0, 3, 6, 9, 1, 2, 4], rtol=1e-15)


def test_absent_rows_and_missing_values_are_filled_alike():
    full = table(a=[1, NAN, NAN, 8, 16])
    absent = table(a=[1, NAN, NAN, 8, 16]).drop(index=1)
    for fill in ("interpolate", "forward"):
        assert_same(build_panel(full, fill=fill), build_panel(absent, fill=fill, freq="MS"))


def test_forward_repeats_the_last_value():
    panel = build_panel(table(a=[1, NAN, NAN, 4], b=[7, NAN, 9]), fill="forward")
    assert panel.y_S.tolist() == [1, 1, 1, 4, 7, 7, 9]


def test_known_values_are_not_touched_by_filling():
    y = [0.1, NAN, 0.3, 1e-300, 1e300]
    panel = build_panel(table(a=y), fill="interpolate")
    assert panel.y_S[[0, 2, 3, 4]].tolist() == [0.1, 0.3, 1e-300, 1e300]


def test_leading_missing_values_are_cut_off_and_counted():
    panel = build_panel(table(a=[NAN, NAN, 3, 4], b=[1, 2]))
    assert panel.y_S.tolist() == [3, 4, 1, 2]
    assert panel.starts_N1.tolist() == [0, 2, 4]
    assert panel.ds_S[0] == np.datetime64("2020-03-01")
    assert found(panel) == [("LEADING_TRIMMED", "a", 2)]


def test_trailing_missing_values_are_refused():
    with pytest.raises(DataError, match=r"series 'a' ends in a missing value .* ds=2020-03-01"):
        build_panel(table(a=[1, 2, NAN]), fill="forward")


def test_a_series_without_values_is_refused():
    with pytest.raises(DataError, match="series 'b' has no value in column 'y'"):
        build_panel(table(a=[1, 2], b=[NAN, NAN]), fill="forward")


def test_short_series_are_refused():
    with pytest.raises(
        DataError, match=r"series 'a' has 2 values in column 'y', needs 3 \(and 1 more\)"
    ):
        build_panel(table(a=[1, 2], b=[1], c=[1, 2, 3]), min_length=3)


def test_an_unknown_rule_is_refused():
    with pytest.raises(UsageError, match="fill='zero' is not a rule"):
        build_panel(table(a=[1]), fill="zero")


# Frequencies


def test_irregular_dates_are_refused_with_their_common_steps():
    df = table(a=[1, 2, 3, 4])
    df.loc[2, "ds"] = pd.Timestamp("2020-03-17")
    with pytest.raises(
        DataError, match=r"series 'a': ds=2020-03-17 is not on a calendar of freq='MS'"
    ):
        build_panel(df, freq="MS")


def test_two_dates_of_one_step_are_refused():
    df = pd.DataFrame({"ds": pd.to_datetime(["2020-01-31", "2020-02-27", "2020-02-29"]), "y": 1.0})
    with pytest.raises(DataError, match="DATA_IRREGULAR"):
        build_panel(df, freq="ME")


def test_a_series_of_another_frequency_is_refused():
    days = pd.DataFrame({"unique_id": "d", "ds": pd.date_range("2020-01-01", periods=40), "y": 1.0})
    weeks = pd.DataFrame(
        {"unique_id": "w", "ds": pd.date_range("2020-01-01", periods=9, freq="7D"), "y": 1.0}
    )
    with pytest.raises(DataError, match="series 'w' has 9 of 57 steps of freq='D'"):
        build_panel(pd.concat([days, weeks]), fill="interpolate")


def test_one_stray_date_makes_no_giant_panel():
    df = pd.DataFrame({"ds": [1, 2, 3, 10**12], "y": 1.0})
    with pytest.raises(DataError, match="DATA_MIXED_FREQ"):
        build_panel(df, fill="forward")


@pytest.mark.parametrize(("ds", "freq"), [([1, 2], "MS"), (["2020-01", "2020-02"], 1)])
def test_the_frequency_must_go_with_the_dates(ds, freq):
    with pytest.raises(UsageError, match="does not go with column 'ds'"):
        build_panel(pd.DataFrame({"ds": ds, "y": 1.0}), freq=freq)


def test_one_date_needs_a_stated_frequency():
    with pytest.raises(DataError, match="pass freq"):
        build_panel(table(a=[1]))
    assert build_panel(table(a=[1]), freq="MS").y_S.tolist() == [1]


def test_series_may_have_anchors_of_their_own():
    ends = [pd.date_range(start, periods=3, freq="7D") for start in ("2024-01-01", "2024-01-03")]
    df = pd.concat(
        [pd.DataFrame({"unique_id": str(i), "ds": ds, "y": 1.0}) for i, ds in enumerate(ends)]
    )
    result = future_ds(build_panel(df), 1)[:, 0]
    assert result.astype("M8[D]").astype(str).tolist() == ["2024-01-22", "2024-01-24"]


def test_a_thirtieth_stays_a_thirtieth_after_february():
    df = pd.DataFrame({"ds": ["2023-01-30", "2023-02-28"], "y": [1.0, 2.0]})
    result = future_ds(build_panel(df, freq="MS"), 2)
    assert result.astype("M8[D]").astype(str).tolist() == [["2023-03-30", "2023-04-30"]]


def test_observed_dates_stay_when_gaps_are_filled():
    local = pd.DatetimeIndex(["2024-10-26 02:30", "2024-10-27 02:30", "2024-10-29 02:30"])
    ds = local.tz_localize("Europe/Berlin", ambiguous=[False, False, False])  # the second 2:30
    panel = build_panel(pd.DataFrame({"ds": ds, "y": 1.0}), freq="D", fill="forward")
    assert panel_frame(panel)["ds"].tolist()[:2] == ds.tolist()[:2]
    assert panel.lengths_N.tolist() == [4]


# Kinds of table and types of columns


def test_forecasts_come_back_in_the_names_and_types_of_the_table():
    df = table(b=[1, 2], a=[3, 4]).rename(
        columns={"unique_id": "shop", "ds": "month", "y": "sales"}
    )
    df["shop"] = df["shop"].astype("category")
    df["month"] = df["month"].astype("datetime64[s]")
    panel = build_panel(df, id_col="shop", time_col="month", target_col="sales")
    out = forecast_frame(panel, 2, {"m": np.array([[1.0, 2.0], [3.0, 4.0]])})
    assert list(out) == ["shop", "month", "m"]
    assert out["shop"].dtype == df["shop"].dtype
    assert out["month"].dtype == df["month"].dtype
    assert out["shop"].tolist() == ["a", "a", "b", "b"]
    assert out["month"].tolist() == list(pd.to_datetime(["2020-03-01", "2020-04-01"])) * 2
    assert out["m"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_polars_in_polars_out(unit, zone):
    df = pl.from_pandas(table(b=[1, 2, 3], a=[4, 5, 6])).with_columns(
        pl.col("ds").cast(pl.Datetime(unit)).dt.replace_time_zone(zone)
    )
    panel = build_panel(df)
    assert panel.ids_N.tolist() == ["a", "b"]
    out = forecast_frame(panel, 1, {"m": np.ones((2, 1))})
    assert isinstance(out, pl.DataFrame)
    assert out.schema == {"unique_id": pl.String, "ds": pl.Datetime(unit, zone), "m": pl.Float64}
    assert out["ds"].dt.replace_time_zone(None).to_list() == [datetime.datetime(2020, 4, 1)] * 2


@pytest.mark.parametrize(
    ("dtype", "ids"),
    [
        (pl.Int32, [10, 10, 9, 9]),
        (pl.Categorical, ["b", "b", "a", "a"]),
        (pl.String, ["b", "b", "a", "a"]),
    ],
)
def test_polars_ids_keep_their_type(dtype, ids):
    df = pl.DataFrame(
        {
            "unique_id": pl.Series(ids, dtype=dtype),
            "ds": [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)] * 2,
            "y": [1, None, 3, 4],
        }
    )
    panel = build_panel(df.filter(pl.col("y").is_not_null()), freq="D")
    out = forecast_frame(panel, 1, {"m": np.ones((2, 1))})
    assert out.schema["unique_id"] == dtype
    assert out.schema["ds"] == pl.Date
    assert out["unique_id"].to_list() == sorted(set(ids))


def test_integer_ids_and_dates_stay_integers():
    df = pd.DataFrame(
        {"unique_id": [10, 10, 9, 9], "ds": np.array([1, 2, 1, 2], dtype="int32"), "y": 1.0}
    )
    out = forecast_frame(build_panel(df), 2, {"m": np.ones((2, 2))})
    assert out["unique_id"].tolist() == [9, 9, 10, 10] and out["unique_id"].dtype == np.int64
    assert out["ds"].tolist() == [3, 4, 3, 4] and out["ds"].dtype == np.int32


def test_time_zones_are_kept_on_the_calendar():
    ds = pd.date_range("2024-03-28 08:00", periods=3, freq="D", tz="Europe/Berlin")
    out = forecast_frame(build_panel(pd.DataFrame({"ds": ds, "y": 1.0})), 2, {"m": np.ones((1, 2))})
    assert out["ds"].dtype == ds.dtype
    assert out["ds"].dt.hour.tolist() == [8, 8]
    assert out["ds"].dt.day.tolist() == [31, 1]


def test_hourly_series_cross_daylight_saving_in_utc():
    ds = pd.date_range("2024-10-26 22:00", periods=8, freq="h", tz="UTC").tz_convert(
        "Europe/Berlin"
    )
    panel = build_panel(pd.DataFrame({"ds": ds, "y": 1.0}))
    assert panel.freq == "h" and panel.time_zone == ds.tz
    assert panel_frame(panel)["ds"].tolist() == ds.tolist()


def typed(**columns):
    base = table(a=[1, 2, 3, 4])
    return base.assign(**{name: make(base[name]) for name, make in columns.items()})


@pytest.mark.parametrize(
    "df",
    [
        typed(y=lambda y: y.astype("Int64")),
        typed(y=lambda y: y.astype("float32")),
        typed(y=lambda y: y.astype(int).astype(object)),
        typed(y=lambda y: y.map(Decimal)),
        typed(y=lambda y: y.astype(str)),
        typed(y=lambda y: y.astype("category")),
        typed(y=lambda y: y.astype("double[pyarrow]")),
        typed(ds=lambda ds: ds.astype("datetime64[s]")),
        typed(ds=lambda ds: ds.dt.strftime("%Y-%m")),
        typed(ds=lambda ds: ds.dt.date),
        typed(ds=lambda ds: ds.astype(object)),
        typed(ds=lambda ds: ds.dt.to_period("M")),
        typed(ds=lambda ds: ds.astype("timestamp[us][pyarrow]")),
        typed(unique_id=lambda ids: ids.astype("category")),
        typed(unique_id=lambda ids: ids.astype("string")),
        typed().set_index("unique_id"),
        typed().set_index(["unique_id", "ds"]),
        typed().set_index(pd.Index([7, 7, 7, 7])),
    ],
)
def test_the_types_of_the_columns_do_not_matter(df):
    panel = build_panel(df)
    assert_same(panel, build_panel(table(a=[1, 2, 3, 4])))
    assert forecast_frame(panel, 1, {"m": np.ones((1, 1))})["ds"].astype(str).str[:7].tolist() == [
        "2020-05"
    ]


def test_periods_and_arrow_dates_come_back_as_they_were():
    for df in (
        typed(ds=lambda ds: ds.dt.to_period("M")),
        typed(ds=lambda ds: ds.astype("timestamp[us][pyarrow]")),
    ):
        assert (
            forecast_frame(build_panel(df), 1, {"m": np.ones((1, 1))})["ds"].dtype == df["ds"].dtype
        )


@pytest.mark.parametrize("first", ["2021-02-24", "1965-03-01", "2399-12-27"])
def test_periods_of_business_days_come_and_go_without_a_warning(first):
    """Pandas warns of them wherever it makes or converts them; warnings are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        periods = pd.Series(pd.period_range(first, periods=9, freq="B"))
    panel = build_panel(pd.DataFrame({"ds": periods[:6], "y": 1.0}))
    assert panel.freq == "B" and panel.ds_S[0] == np.datetime64(first)
    out = forecast_frame(panel, 3, {"m": np.ones((1, 3))})["ds"]
    pd.testing.assert_series_equal(out, periods[6:], check_index=False, check_names=False)


@pytest.mark.parametrize("missing", [None, pd.NA, np.nan])
def test_every_missing_value_is_missing(missing):
    df = table(a=[1, 2, 3]).astype({"y": object})
    df.loc[1, "y"] = missing
    assert build_panel(df, fill="forward").y_S.tolist() == [1, 1, 3]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("y", "N/A", "column 'y', series 'a', row 1: 'N/A' is not a finite number"),
        ("y", np.inf, "column 'y', series 'a', row 1: found inf"),
        ("y", -np.inf, "column 'y', series 'a', row 1: found -inf"),
        ("y", [1], "column 'y', series 'a', row 1: '[1]'"),
        ("ds", None, "column 'ds', series 'a', row 1: there is no date"),
        ("ds", "01/02/2024", "column 'ds'"),
        ("unique_id", None, "column 'unique_id', row 1: the id is empty"),
        ("unique_id", "  ", "column 'unique_id', row 1: the id is empty"),
        ("unique_id", "x" * 1001, "column 'unique_id', row 1: the id has 1,001 characters"),
    ],
)
def test_bad_cells_are_refused_with_column_and_row(column, value, message):
    df = table(a=[1, 2, 3]).astype(object)
    df.at[1, column] = value
    if column != "ds":
        df["ds"] = pd.to_datetime(df["ds"])
    if value in (np.inf, -np.inf):
        df["y"] = df["y"].astype(float)
    with pytest.raises(DataError) as caught:
        build_panel(df)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("y", [True, False]),
        ("y", [1j, 2j]),
        ("y", pd.to_datetime(["2020-01-01", "2020-01-02"])),
        ("ds", [0.5, 1.5]),
        ("ds", [True, False]),
        ("ds", pd.to_timedelta([1, 2], "D")),
        ("ds", [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-02", tz="UTC")]),
    ],
)
def test_columns_of_another_type_are_refused(column, values):
    df = pd.DataFrame({"ds": [1, 2], "y": [1.0, 2.0]})
    df[column] = values
    with pytest.raises(DataError, match=f"column '{column}', series 'series', row 0"):
        build_panel(df)


def test_an_id_in_two_types_is_refused():
    with pytest.raises(DataError, match="row 1: the id '1' stands elsewhere in another type"):
        build_panel(pd.DataFrame({"unique_id": [1, "1"], "ds": [1, 1], "y": 1.0}))


@pytest.mark.parametrize("bad", [[1, 2], {"a": 1}, b"a"])
def test_ids_that_are_neither_text_nor_numbers_are_refused(bad):
    with pytest.raises(DataError, match=r"column 'unique_id', row 0: .* ids must be text or"):
        build_panel(pd.DataFrame({"unique_id": [bad, bad], "ds": [1, 2], "y": 1.0}))


def test_one_column_cannot_play_two_roles():
    with pytest.raises(UsageError, match="target_col='ds' must be three columns"):
        build_panel(table(a=[1, 2]), target_col="ds")


def test_a_default_id_column_that_is_misspelt_is_no_single_series():
    with pytest.raises(DataError, match=r"no column 'unique_id', .* did you mean 'Unique ID'\?"):
        build_panel(table(a=[1, 2]).rename(columns={"unique_id": "Unique ID"}))


def test_empty_tables_and_foreign_types_are_refused():
    with pytest.raises(DataError, match="has no rows"):
        build_panel(table(a=[1]).iloc[:0])
    with pytest.raises(UsageError, match=r"collect\(\) it first"):
        build_panel(pl.LazyFrame({"ds": [1], "y": [1.0]}))
    with pytest.raises(UsageError, match=r"df is a builtins\.dict"):
        build_panel({"ds": [1], "y": [1.0]})


def test_a_column_that_is_twice_there_is_refused():
    df = table(a=[1, 2])
    df = pd.concat([df, df[["y"]]], axis=1)
    with pytest.raises(DataError, match="column 'y' twice, at positions 3 and 4"):
        build_panel(df)


# Things to notice


def test_ids_that_look_alike_are_kept_apart_and_named():
    panel = build_panel(
        table(**{"Paris": [1, 2], "paris ": [3, 4], "par\u200bis": [5, 6], "Rome": [7, 8]})
    )
    assert panel.n_series == 4
    assert sorted(found(panel)) == [("IDS_ALIKE", "paris ", 1), ("IDS_ALIKE", "par\u200bis", 1)]


def test_integers_that_float64_cannot_hold_are_noticed():
    assert found(build_panel(table(a=[2.0**53, 2.0**53 + 2]))) == [("VALUES_ROUNDED", "a", 1)]


# Slices


def test_slices_of_a_panel():
    panel = build_panel(table(a=[1, 2, 3], b=[4, 5], c=[6, 7, 8, 9]))
    cut = drop_last(panel, 1)
    assert cut.y_S.tolist() == [1, 2, 4, 6, 7, 8]
    assert cut.starts_N1.tolist() == [0, 2, 3, 6]
    assert keep_steps(panel, [1, 0, 2], [9, 1, 3]).y_S.tolist() == [2, 3, 4, 8]
    some = take_series(panel, [2, 0])
    assert some.ids_N.tolist() == ["c", "a"]
    assert some.y_S.tolist() == [6, 7, 8, 9, 1, 2, 3]
    assert panel_series(some, 1)[1].tolist() == [1, 2, 3]
    assert panel_series(some, 1)[0].astype("M8[M]").astype(str).tolist() == [
        "2020-01",
        "2020-02",
        "2020-03",
    ]
    with pytest.raises(DataError, match="series 'b' has 2 steps, of which none would be left"):
        drop_last(panel, 2)


def test_a_cut_panel_forecasts_the_dates_that_were_cut_off():
    panel = build_panel(table(a=[1, 2, 3], b=[4, 5]))
    assert future_ds(drop_last(panel, 1), 1)[:, 0].tolist() == panel.ds_S[[2, 4]].tolist()


def test_panel_frame_is_the_table_again():
    df = table(a=[1, 2], b=[3, 4])
    pd.testing.assert_frame_equal(panel_frame(build_panel(df)), df)


def test_zone_is_remembered():
    ds = pd.date_range("2024-01-01", periods=3, freq="D", tz=ZoneInfo("Asia/Tokyo"))
    assert str(build_panel(pd.DataFrame({"ds": ds, "y": 1.0})).time_zone) == "Asia/Tokyo"
