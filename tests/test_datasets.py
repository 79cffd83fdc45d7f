"""Series with a known truth are what they say they are."""

import numpy as np
import pandas as pd
import pytest

from explstm.datasets import KINDS, load_air_passengers, make_growth_series
from explstm.errors import UsageError
from explstm.frame import build_panel


def paths(kind, n_series=5, length=60, **options):
    _, truth = make_growth_series(kind, n_series, length, **options)
    return truth["y"].to_numpy().reshape(n_series, length)


def test_the_airline_series_is_the_published_one():
    df = load_air_passengers()
    assert list(df) == ["unique_id", "ds", "y"]
    assert len(df) == 144 and df["y"].sum() == 40363
    assert df["y"].tolist()[:12] == [112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118]
    assert df["y"].tolist()[-12:] == [417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432]
    assert df["ds"].tolist() == list(pd.date_range("1949-01-01", "1960-12-01", freq="MS"))
    assert build_panel(df).freq == "MS"


@pytest.mark.parametrize("kind", KINDS)
def test_series_are_their_truth_times_noise(kind):
    df, truth = make_growth_series(kind, 20, 100, noise=0.05, seed=3)
    pd.testing.assert_frame_equal(df.drop(columns="y"), truth.drop(columns="y"))
    shocks = np.log(df["y"] / truth["y"])
    assert abs(shocks.std() - 0.05) < 0.005 and abs(shocks.mean()) < 0.005
    assert (df["y"] > 0).all() and np.isfinite(df["y"]).all()
    panel = build_panel(df)
    assert panel.n_series == 20 and set(panel.lengths_N) == {100} and panel.findings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_repeat_and_differ(kind):
    first, truth = make_growth_series(kind, 3, 30, seed=1)
    pd.testing.assert_frame_equal(first, make_growth_series(kind, 3, 30, seed=1)[0])
    assert not np.allclose(paths(kind, 3, 30, seed=1), paths(kind, 3, 30, seed=2))
    # A path depends neither on the noise nor on how many series there are.
    quiet, quiet_truth = make_growth_series(kind, 5, 30, noise=0.0, seed=1)
    pd.testing.assert_frame_equal(quiet, quiet_truth)
    np.testing.assert_array_equal(truth["y"], quiet_truth["y"][:90])


def test_exponential_growth_has_one_rate():
    rates = np.diff(np.log(paths("exponential")), axis=1)
    np.testing.assert_allclose(rates, rates[:, :1] * np.ones(59), atol=1e-12)


def test_linear_growth_has_one_step():
    y = paths("linear")
    np.testing.assert_allclose(np.diff(y, 2, axis=1) / y[:, :1], 0, atol=1e-12)


def test_logistic_growth_is_a_straight_line_of_log_odds():
    # With 1 / y = (1 + exp(-r (t - m))) / c, steps of 1 / y shrink by a constant factor.
    steps = np.diff(1 / paths("logistic"), axis=1)
    ratio = steps[:, 1:] / steps[:, :-1]
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(58), rtol=1e-6)
    assert (ratio < 1).all()


@pytest.mark.parametrize("kind", ["gompertz", "damped"])
def test_rates_that_fall_do_so_by_a_constant_factor(kind):
    rates = np.diff(np.log(paths(kind, length=40)), axis=1)
    ratio = rates[:, 1:] / rates[:, :-1]
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(38), rtol=1e-6)
    assert (ratio < 1).all()


def test_power_growth_is_a_straight_line_of_logs():
    slope = np.diff(np.log(paths("power")), axis=1) / np.diff(np.log(np.arange(1, 61)))
    np.testing.assert_allclose(slope, slope[:, :1] * np.ones(59), rtol=1e-9)


def test_seasons_keep_their_share():
    yearly = np.diff(np.log(paths("seasonal")).reshape(5, 5, 12), axis=1)
    np.testing.assert_allclose(yearly, yearly[:, :1, :1] * np.ones((5, 4, 12)), atol=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "magic"},
        {"n_series": 0},
        {"length": 0},
        {"noise": -1},
        {"noise": np.nan},
        {"n_series": True},
        {"length": 2.5},
        {"seed": True},
        {"seed": -1},
    ],
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        make_growth_series(**arguments)
