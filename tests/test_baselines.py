"""Baselines against numbers worked out by hand and against loops."""

from types import SimpleNamespace

import numpy as np
import pytest

from explstm.baselines import naive_forecasts
from explstm.errors import UsageError


def panel_of(*series: list[float]) -> SimpleNamespace:
    lengths = [len(one) for one in series]
    return SimpleNamespace(
        y_S=np.concatenate([np.array(one, dtype=float) for one in series]),
        starts_N1=np.concatenate([[0], np.cumsum(lengths)]),
        lengths_N=np.array(lengths),
    )


def test_each_baseline_by_hand():
    forecasts = naive_forecasts(panel_of([1.0, 2.0, 3.0, 5.0, 16.0]), 5, 3)
    assert list(forecasts) == ["Naive", "SeasonalNaive", "Drift", "LogDrift"]
    np.testing.assert_allclose(forecasts["Naive"], [[16, 16, 16, 16, 16]])
    np.testing.assert_allclose(forecasts["SeasonalNaive"], [[3, 5, 16, 3, 5]])
    np.testing.assert_allclose(forecasts["Drift"], [[19.75, 23.5, 27.25, 31, 34.75]])
    np.testing.assert_allclose(forecasts["LogDrift"], [[32, 64, 128, 256, 512]])


def test_log_drift_continues_exponential_growth_exactly():
    t = np.arange(1, 61)
    history, future = 3 * 1.07 ** t[:48], 3 * 1.07 ** t[48:]
    np.testing.assert_allclose(naive_forecasts(panel_of(history), 12, 1)["LogDrift"][0], future)


@pytest.mark.parametrize("season_length", [1, 4, 12])
def test_ragged_series_agree_with_a_loop(season_length):
    rng = np.random.default_rng(3)
    series = [list(rng.normal(size=n)) for n in (1, 2, 4, 5, 30, 12)]
    forecasts = naive_forecasts(panel_of(*series), 14, season_length)
    for i, y in enumerate(series):
        m = season_length if len(y) >= season_length else 1
        slope = (y[-1] - y[0]) / (len(y) - 1) if len(y) > 1 else 0.0
        for k in range(1, 15):
            assert forecasts["Naive"][i, k - 1] == y[-1]
            assert forecasts["SeasonalNaive"][i, k - 1] == y[len(y) - m + (k - 1) % m]
            assert forecasts["Drift"][i, k - 1] == pytest.approx(y[-1] + k * slope)


def test_short_and_non_positive_series_fall_back():
    forecasts = naive_forecasts(panel_of([7.0], [2.0, 4.0], [1.0, 0.0, 3.0]), 2, 12)
    np.testing.assert_array_equal(forecasts["SeasonalNaive"], [[7, 7], [4, 4], [3, 3]])
    np.testing.assert_array_equal(forecasts["Drift"], [[7, 7], [6, 8], [4, 5]])
    np.testing.assert_allclose(forecasts["LogDrift"], [[7, 7], [8, 16], [4, 5]])


def test_extreme_values_stay_finite():
    forecasts = naive_forecasts(panel_of([1e-300, 1e300], [-1e308, 1e308]), 50, 1)
    assert all(np.isfinite(values).all() for values in forecasts.values())


@pytest.mark.parametrize(("h", "season_length", "name"), [(0, 1, "h=0"), (1, 0, "season_length=0")])
def test_arguments_below_one_are_refused(h, season_length, name):
    with pytest.raises(UsageError, match=name):
        naive_forecasts(panel_of([1.0]), h, season_length)


@pytest.mark.parametrize(("length", "season_length", "h"), [(30, 4, 6), (13, 12, 3), (5, 1, 2)])
def test_they_are_those_of_statsforecast(length, season_length, h):
    models = pytest.importorskip("statsforecast.models")
    y = np.random.default_rng(length).gamma(3.0, 10.0, length)
    mine = naive_forecasts(panel_of(y), h, season_length)
    theirs = {
        "Naive": models.Naive(),
        "SeasonalNaive": models.SeasonalNaive(season_length=season_length),
        "Drift": models.RandomWalkWithDrift(),
    }
    for name, model in theirs.items():
        expected = model.forecast(y=y, h=h)["mean"]
        np.testing.assert_allclose(mine[name][0], expected, rtol=1e-9, err_msg=name)
