"""Nothing that is computed at a cutoff may know what comes after it."""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explstm import ExpLSTM, ModelSpec, UsageError
from explstm.alterations import ALTERATIONS
from explstm.frame import keep_steps
from explstm.growth import from_growth_space, to_growth_space
from explstm.leakage import audit_leakage, largest_change
from explstm.origins import OriginBatches, last_windows
from explstm.scaling import GROWTH_NAMES
from panels import grow, make_panel

ARRAYS = ("z_S", "anchor_S", "scale_S", "features_SF")
lengths = st.lists(st.integers(2, 40), min_size=1, max_size=5)
seeds = st.integers(0, 2**32 - 1)


def two_futures(lengths, seed, share):
    """Panels that agree up to a cutoff in every series and differ everywhere after it."""
    rng = np.random.default_rng(seed)
    pasts = [grow(rng, n) * np.resize([1.0, 1.4, 0.7], n) for n in lengths]
    cutoff_N = np.maximum(1, (share * np.array(lengths)).astype(int))
    futures = [y.copy() for y in pasts]
    for y, cutoff in zip(futures, cutoff_N, strict=True):
        y[cutoff:] *= np.exp(rng.normal(0, 3, len(y) - cutoff))
    return make_panel(*pasts), make_panel(*futures), cutoff_N


@pytest.mark.parametrize("growth", GROWTH_NAMES)
@given(lengths, seeds, st.floats(0.1, 1.0))
def test_a_cut_panel_knows_nothing_of_its_future(growth, lengths, seed, share):
    one, other, cutoff_N = two_futures(lengths, seed, share)
    spaces = [
        to_growth_space(keep_steps(panel, 0, cutoff_N), growth=growth, season_length=(3, 6))
        for panel in (one, other)
    ]
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(spaces[0], name), getattr(spaces[1], name))
    for one_NM, other_NM in zip(*(space.seasonality.indices for space in spaces), strict=True):
        np.testing.assert_array_equal(one_NM, other_NM)
    np.testing.assert_array_equal(*(last_windows(space, 10)[0] for space in spaces))


@pytest.mark.parametrize("growth", ["auto", "log", "linear"])
@given(lengths, seeds, st.floats(0.1, 1.0))
def test_without_season_no_step_knows_what_follows_it(growth, lengths, seed, share):
    """Even in a panel that is not cut, to the last bit."""
    one, other, cutoff_N = two_futures(lengths, seed, share)
    past_S = np.concatenate(
        [np.arange(n) < cutoff for n, cutoff in zip(lengths, cutoff_N, strict=True)]
    )
    whole, changed = (
        to_growth_space(panel, growth=growth, season_length=1) for panel in (one, other)
    )
    cut = to_growth_space(keep_steps(one, 0, cutoff_N), growth=growth, season_length=1)
    for name in ARRAYS:
        past = getattr(whole, name)[past_S]
        np.testing.assert_array_equal(past, getattr(changed, name)[past_S])
        np.testing.assert_array_equal(past, getattr(cut, name))


@given(seeds, st.integers(6, 29))
def test_an_origin_before_a_change_shows_the_network_the_same(seed, cutoff):
    y = grow(np.random.default_rng(seed), 30)
    changed = y.copy()
    changed[cutoff:] *= 5
    one, other = (
        OriginBatches(
            to_growth_space(make_panel(values), season_length=1),
            4,
            batch_size=1,
            window=30,
            warm_up=3,
            seed=1,
        ).batch(0)
        for values in (y, changed)
    )
    np.testing.assert_array_equal(one.features_BTF[:, :cutoff], other.features_BTF[:, :cutoff])
    unaffected = max(0, cutoff - 4 - 3)  # origins at steps 3.. whose four targets lie before it
    np.testing.assert_array_equal(one.targets_RH[:unaffected], other.targets_RH[:unaffected])
    assert not np.array_equal(one.targets_RH, other.targets_RH)


@pytest.mark.parametrize("growth", GROWTH_NAMES)
@given(lengths, seeds)
def test_every_way_into_growth_space_leads_back(growth, lengths, seed):
    """At every cutoff, the value that follows is carried in and comes back to 1e-9."""
    rng = np.random.default_rng(seed)
    series = [grow(rng, n + 1, noise=0.2) * np.resize([1.0, 1.4, 0.7], n + 1) for n in lengths]
    space = to_growth_space(
        make_panel(*(y[:-1] for y in series)), growth=growth, season_length=(3, 6)
    )
    for place, y in enumerate(series):
        last = space.starts_N1[place + 1] - 1
        if space.scale_S[last] == 0:
            continue  # nothing has moved: every output leads back to the last value
        centre, unit = space.transform.centre_N[place], space.transform.unit_N[place]
        curve = {"log": np.log, "asinh": np.arcsinh}.get(space.transform.names_N[place], np.array)
        season = sum(index_NM[place, 0] for index_NM in space.seasonality.indices)
        z = curve((y[-1] - centre) / unit) - season
        output_NHQ = np.zeros((len(series), 1, 1))
        output_NHQ[place] = (z - space.anchor_S[last]) / space.scale_S[last]
        found = from_growth_space(space, output_NHQ)[place, 0, 0]
        assert found == pytest.approx(y[-1], rel=1e-9)


# ---------------------------------------------------------------- the forecaster, from end to end

FITTED = {
    "backend": "torch",
    "init": "random",
    "max_steps": 3,
    "batch_size": 2,
    "season_length": [3, 6],
    "window": 16,
}


def make_tables(lengths, seed, held_out):
    """Tables that agree but for the last ``held_out`` values of every series, and the agreement."""
    one, other, _ = two_futures([n + held_out for n in lengths], seed, 0)
    tables = []
    for panel in (one, other):
        ids_S = np.repeat(panel.ids_N, panel.lengths_N)
        tables.append(pd.DataFrame({"unique_id": ids_S, "ds": panel.ds_S, "y": panel.y_S}))
    past_S = tables[0]["ds"] < tables[0].groupby("unique_id")["ds"].transform("max") - held_out + 1
    tables[1].loc[past_S, "y"] = tables[0].loc[past_S, "y"]
    assert not np.isin(tables[0]["y"][~past_S], tables[1]["y"]).any()
    return *tables, tables[0][past_S]


def facts(model):
    """Everything fitted that does not depend on which step validated best."""
    log = [(row.step, row.learning_rate, row.train_loss) for row in model.training_log_]
    return [row for row in log if row[2] is not None], model.preprocessing_, model.growth_.to_dict()


@pytest.mark.parametrize("growth", ["auto", "linear", "standard"])
@settings(max_examples=5)
@given(st.lists(st.integers(8, 40), min_size=1, max_size=4), seeds, st.integers(1, 5))
def test_training_knows_nothing_of_the_held_out_values(growth, lengths, seed, held_out):
    one, other, past = make_tables(lengths, seed, held_out)
    small = {"spec": ModelSpec(hidden_sizes=(4,)), "growth": growth, **FITTED}
    whole, changed = (
        ExpLSTM(val_size=held_out, val_check_steps=100, **small).fit(table, h=held_out)
        for table in (one, other)
    )
    cut = ExpLSTM(**small).fit(past, h=held_out)
    assert facts(whole) == facts(changed) == facts(cut)
    assert whole.training_log_[-1].valid_loss != changed.training_log_[-1].valid_loss
    if min(row.valid_loss for row in whole.training_log_ if row.valid_loss is not None) == (
        whole.training_log_[-1].valid_loss
    ):  # the last weights were kept, as they are where nothing is held out
        for name, array in cut.weights_.items():
            np.testing.assert_array_equal(array, whole.weights_[name])


@settings(max_examples=10)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), seeds, st.integers(1, 8))
def test_a_forecast_at_a_cutoff_knows_nothing_of_what_follows(lengths, seed, held_out):
    """Fitted once, asked with histories cut from tables with two futures."""
    one, other, past = make_tables(lengths, seed, held_out)
    model = fitted_model()
    forecasts = [
        model.predict(table.loc[past.index], h=7, level=[80, 95]) for table in (one, other)
    ]
    pd.testing.assert_frame_equal(*forecasts, check_exact=True)


@cache
def fitted_model():
    table, _, _ = make_tables([30, 40], 1, 1)
    return ExpLSTM(spec=ModelSpec(hidden_sizes=(4,)), **FITTED).fit(table, h=3)


# ------------------------------------------------------------------------ the audit of a forecaster


def repeat_last(df, h, n_windows, step_size, *, unit=None, rng=None):
    """A naive forecaster that is written as users write them, and may look where it should not."""
    rows = []
    for name, series in df.groupby("unique_id"):
        y, ds = series["y"].to_numpy(), series["ds"].to_numpy()
        for window in range(n_windows):
            cutoff = len(y) - h - (n_windows - 1 - window) * step_size
            scale = 1.0 if unit is None else unit(y)
            noise = 0.0 if rng is None else rng.normal()
            rows.append(
                pd.DataFrame(
                    {
                        "unique_id": name,
                        "ds": ds[cutoff : cutoff + h],
                        "cutoff": ds[cutoff - 1],
                        "last": y[cutoff - 1] / scale * scale + noise,
                        "scale": scale,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


@pytest.fixture
def sales():
    rng = np.random.default_rng(5)
    dates = {"a": pd.date_range("2020-01-31", periods=30, freq="ME")}
    dates["b"] = pd.date_range("2021-06-30", periods=20, freq="ME")
    tables = [
        pd.DataFrame({"unique_id": name, "ds": ds, "y": grow(rng, len(ds))})
        for name, ds in dates.items()
    ]
    return pd.concat(tables, ignore_index=True)


def test_a_forecaster_that_knows_its_past_alone_passes(sales):
    report = audit_leakage(sales, 3, forecast=repeat_last, n_windows=3, step_size=2)
    assert not report.leaks and report.checks == ("forecast",)
    rows = report.table
    assert (rows["change"] == 0).all() and set(rows["alteration"]) == set(ALTERATIONS)
    assert set(rows.loc[rows["unique_id"] == "a", "cutoff"]) == {
        *("2021-11-30", "2022-01-31", "2022-03-31"),
    }
    assert "No leak found" in report.sentence and "6 cutoffs" in report.sentence


def test_a_scale_of_the_whole_series_is_found_and_sized(sales):
    def scaled(*args):
        return repeat_last(*args, unit=np.max)

    line = sales.assign(y=sales.groupby("unique_id").cumcount() + 1.0)
    report = audit_leakage(line, 3, forecast=scaled, alterations=["times-ten", "shuffled"])
    rows = report.table.set_index(["alteration", "unique_id", "cutoff"])
    # the largest value lies after every cutoff: ten times it is a change of nine tenths
    assert rows.loc[("times-ten", "a", "2022-03-31"), "change"] == pytest.approx(0.9)
    assert not rows["leaks"].loc["shuffled"].any()  # which does not move a maximum
    assert report.leaks and report.leaking == ("forecast",)
    assert "Leak found, it begins in: forecast: series 'a'" in report.sentence
    assert "(times-ten)" in report.sentence


def test_a_curve_chosen_by_the_whole_series_is_found_by_negative_values(sales):
    def choosing(*args):
        return repeat_last(*args, unit=lambda y: 2.0 if (y > 0).all() else 1.0)

    found = audit_leakage(sales, 3, forecast=choosing).table
    assert set(found.loc[found["leaks"], "alteration"]) == {"negated"}


def test_a_length_of_the_whole_series_is_found_where_the_future_ends_elsewhere(sales):
    found = audit_leakage(sales, 3, forecast=lambda *a: repeat_last(*a, unit=len)).table
    assert set(found.loc[found["leaks"], "alteration"]) == {"cut", "continued"}


def test_what_is_random_is_told_from_what_leaks(sales):
    rng = np.random.default_rng(1)

    def random(*args):
        return repeat_last(*args, rng=rng)

    with pytest.raises(UsageError, match=r"differs by .* from one run to the next on the same"):
        audit_leakage(sales, 3, forecast=random)
    assert not audit_leakage(sales, 3, forecast=random, tolerance=0.5, n_windows=1).leaks


def test_our_forecaster_passes_in_either_kind_of_table_and_any_names(sales):
    report = audit_leakage(sales, 3, n_windows=2, step_size=3)
    assert not report.leaks
    other = pl.from_pandas(sales.rename(columns={"unique_id": "shop", "ds": "at", "y": "sold"}))
    names = {"id_col": "shop", "time_col": "at", "target_col": "sold"}

    def forecast(*args):
        return ExpLSTM().cross_validation(*args, level=[80], **names)

    again = audit_leakage(other, 3, forecast=forecast, n_windows=2, alterations=["noise"], **names)
    assert not again.leaks and len(again.table) == 4


def test_a_forecaster_that_fails_or_leaves_rows_out_is_told(sales):
    def fail(df, *args):
        if (df["y"] < 0).any():
            raise ValueError("log of a negative number")
        return repeat_last(df, *args)

    with pytest.raises(UsageError, match=r"failed .* \(negated: log of a negative number\)"):
        audit_leakage(sales, 3, forecast=fail)
    with pytest.raises(UsageError, match="no row for series 'a', date 2022-02-28"):
        audit_leakage(sales, 3, forecast=lambda *args: repeat_last(*args).iloc[3:])
    with pytest.raises(UsageError, match="no column 'cutoff'"):
        audit_leakage(sales, 3, forecast=lambda *args: repeat_last(*args).drop(columns="cutoff"))
    with pytest.raises(UsageError, match="alterations='twice'"):
        audit_leakage(sales, 3, alterations=["twice"])
    with pytest.raises(UsageError, match="seed=True is not a whole number from 0"):
        audit_leakage(sales, 3, seed=True)


def test_changes_are_relative_and_infinite_where_nothing_compares():
    one = np.array([1.0, -2.0, np.nan, 0.0])
    assert largest_change(one, one.copy()) == 0
    assert largest_change(one, np.array([1.0, -2.5, np.nan, 0.0])) == pytest.approx(0.2)
    assert largest_change(one, np.array([1.0, -2.0, 3.0, 0.0])) == np.inf
    assert largest_change(one, one[:3]) == np.inf
    assert largest_change(np.array(["log"]), np.array(["linear"])) == np.inf
    assert largest_change(np.array([1.0]), np.array([1.0 + 2**-52])) > 0
