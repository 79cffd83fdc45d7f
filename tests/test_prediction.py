"""From histories to quantiles: continued by hand, whatever the block and the company."""

from dataclasses import replace

import numpy as np
import psutil
import pytest

from explstm import ExpLSTM, prediction
from explstm.errors import DataError, UsageError
from explstm.frame import drop_last, take_series
from explstm.growth import SCALE_DECAY, to_growth_space
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import ModelSpec, init_weights
from explstm.prediction import Preprocessing, forecast_panel
from explstm.scaling import GROWTH_NAMES
from panels import grow, make_panel

PLAIN = Preprocessing("auto", (1,), 128)
LINEAR = Preprocessing("linear", (1,), 128)


class FixedEngine:
    """Says the same of every series: one output (H, Q) per stretch, the last one for ever."""

    def __init__(self, *outputs_HQ, quantiles=(0.1, 0.5, 0.9)):
        self.outputs_HQ = [np.asarray(output, dtype=np.float32) for output in outputs_HQ]
        self.spec = ModelSpec(horizon=len(self.outputs_HQ[0]), quantiles=quantiles)
        self.n_shown = []

    def predict_last(self, features_BTF, lengths_B):
        output_HQ = self.outputs_HQ[min(len(self.n_shown), len(self.outputs_HQ) - 1)]
        self.n_shown.append(lengths_B.tolist())
        return np.broadcast_to(output_HQ, (len(lengths_B), *output_HQ.shape))


def network(horizon=4, **options):
    spec = ModelSpec(**{"hidden_sizes": (5,), "horizon": horizon, **options})
    return NumpyEngine(spec, init_weights(spec, 3))


def mean_change(y):
    """The scale of growth space at the last step, by its definition."""
    weights = SCALE_DECAY ** np.arange(len(y) - 1.0)[::-1]
    return np.average(np.abs(np.diff(y)), weights=weights)


def test_steady_growth_is_continued_beyond_the_horizon_of_the_network():
    y = 3.0 * 1.07 ** np.arange(80)
    line_HQ = np.arange(1.0, 5)[:, None]
    found = forecast_panel(FixedEngine(line_HQ, quantiles=(0.5,)), make_panel(y[:40]), PLAIN, 30)
    np.testing.assert_allclose(found[0, :, 0], y[40:70], rtol=1e-9)


def test_every_stretch_is_shown_all_that_came_before_it():
    engine = FixedEngine(np.zeros((4, 1)), quantiles=(0.5,))
    panel = make_panel(np.arange(1.0, 11), [1.0, 2.0])
    forecast_panel(engine, panel, Preprocessing("auto", (1,), 12), 11)
    assert engine.n_shown == [[2, 10], [6, 12], [10, 12]]  # the shortest first


def test_deviations_of_stretches_add_up_in_squares():
    """Two stretches under the linear curve, their scales and sums by hand."""
    y = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    first_HQ, second_HQ = [[-1, 0, 2], [-3, 1, 4]], [[-2, 0, 1], [-3, 0, 5]]
    engine = FixedEngine(first_HQ, second_HQ)
    found = forecast_panel(engine, make_panel(y), LINEAR, 4, (0.1, 0.5, 0.9))[0]
    one = mean_change(y)
    path = [4.0, 4.0 + one]
    two = mean_change([*y, *path])
    np.testing.assert_allclose(found[:2], 4.0 + one * np.array(first_HQ), rtol=1e-6)
    low, high = 4 * one, 3 * one  # of the second step, below and above the median
    expected = [
        [path[1] - np.hypot(2 * two, low), path[1], path[1] + np.hypot(two, high)],
        [path[1] - np.hypot(3 * two, low), path[1], path[1] + np.hypot(5 * two, high)],
    ]
    np.testing.assert_allclose(found[2:], expected, rtol=1e-6)


def test_a_stretch_without_a_spread_of_its_own_keeps_what_was_gathered():
    y = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    engine = FixedEngine([[-1, 0, 2]], [[0, 0, 0]])
    found = forecast_panel(engine, make_panel(y), LINEAR, 3, (0.1, 0.5, 0.9))[0]
    expected = 4 + mean_change(y) * np.array([[-1.0, 0, 2]] * 3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_shorter_horizon_is_the_beginning_of_a_longer_one(rng):
    engine, panel = network(), make_panel(grow(rng, 40), rng.normal(size=30))
    probabilities = (0.1, 0.5, 0.8)
    longer = forecast_panel(engine, panel, PLAIN, 11, probabilities)
    for h in (1, 4, 6):
        np.testing.assert_array_equal(
            forecast_panel(engine, panel, PLAIN, h, probabilities), longer[:, :h]
        )


@pytest.mark.parametrize("growth", ["log", "linear", "standard", "difference"])
def test_intervals_rise_with_probability_and_widen_from_stretch_to_stretch(growth, rng):
    panel = make_panel(*(grow(rng, 60) * np.resize([1.0, 1.2, 0.9, 1.0], 60) for _ in range(5)))
    preprocessing = Preprocessing(growth, (4,), 32)
    probabilities = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
    y_NHP = forecast_panel(network(3), panel, preprocessing, 14, probabilities)
    assert (np.diff(y_NHP, axis=2) >= 0).all()
    width_NH = np.ptp(np.log(y_NHP) if growth == "log" else y_NHP, axis=2)
    for end in (2, 5, 8, 11):
        assert (width_NH[:, end + 1] > width_NH[:, end]).all()


@pytest.mark.parametrize("growth", ["auto", "standard"])
def test_a_forecast_depends_on_no_block_and_no_neighbour(growth, rng, monkeypatch):
    series = [grow(rng, n) for n in (30, 3, 75, 30, 1, 12, 2)]
    panel = make_panel(*series, rng.normal(size=40), [5.0] * 20)
    preprocessing = Preprocessing(growth, (4,), 24)
    arguments = (network(), panel, preprocessing, 9, (0.1, 0.5, 0.9))
    at_once = forecast_panel(*arguments)
    monkeypatch.setattr(prediction, "SERIES_PER_BLOCK", 2)
    np.testing.assert_allclose(forecast_panel(*arguments), at_once, rtol=1e-5)
    for place in range(panel.n_series):
        alone = forecast_panel(network(), take_series(panel, place), *arguments[2:])
        np.testing.assert_allclose(alone[0], at_once[place], rtol=1e-5)


@pytest.mark.parametrize("growth", [name for name in GROWTH_NAMES if name not in ("auto", "log")])
@pytest.mark.parametrize("value", [0.0, -2.5, 7.3])
def test_a_constant_series_goes_on_for_ever(growth, value, rng):
    panel = make_panel([value] * 30, grow(rng, 30))
    y_NHP = forecast_panel(network(), panel, Preprocessing(growth, (4,), 32), 10, (0.1, 0.5, 0.9))
    np.testing.assert_allclose(y_NHP[0], value, rtol=1e-12)


def test_more_forecasts_than_memory_holds_are_refused_before_any_is_made(monkeypatch):
    engine = FixedEngine(np.zeros((4, 1)), quantiles=(0.5,))
    panel = make_panel(*[np.arange(1.0, 11)] * 8)
    monkeypatch.setattr(prediction, "_machine_bytes", lambda: 3 * 2**30)
    a_quantile_and_two = 2 * 2**30 // (16 * 8 * 2), 3 * 2**30 // (16 * 8 * 3)
    prediction.check_room(8, a_quantile_and_two[0], 1)
    prediction.check_room(8, a_quantile_and_two[1], 2)
    words = "steps of 8 series need 3.5 GiB, more than the 3.0 GiB of this machine; pass a smaller"
    with pytest.raises(UsageError, match=f"HORIZON_RANGE: h=14,680,064 {words}"):
        forecast_panel(engine, panel, PLAIN, 14_680_064)
    assert engine.n_shown == []
    monkeypatch.setattr(prediction, "_machine_bytes", lambda: 2**20)
    with pytest.raises(UsageError, match="HORIZON_RANGE: h=4,097 steps of 8 series"):
        ExpLSTM().stream(panel).predict(4097)


def test_the_memory_of_the_machine_is_asked_of_the_system():
    there = prediction._machine_bytes()
    assert there is None or there == psutil.virtual_memory().total


def test_a_path_that_falls_below_all_numbers_ends_at_zero():
    y = 1e-290 * np.exp(-np.arange(20.0) - np.arange(20.0) % 2)
    engine = FixedEngine([[-11, -10, -9.0], [-21, -20, -18.0]])
    y_HP = forecast_panel(engine, make_panel(y), PLAIN, 20, (0.1, 0.5, 0.9))[0]
    assert np.isfinite(y_HP).all() and (y_HP >= 0).all() and (np.diff(y_HP, axis=1) >= 0).all()
    assert y_HP[-1, 1] < 1e-300


def test_a_path_that_rises_above_all_numbers_is_refused_in_a_sentence():
    y = 1e290 * np.exp(np.arange(20.0) + np.arange(20.0) % 2)
    engine = FixedEngine([[9, 10, 11.0], [19, 20, 21.0]])
    with pytest.raises(DataError, match="FORECAST_OVERFLOW: the forecast of series 's0' at step"):
        forecast_panel(engine, make_panel(y), PLAIN, 20, (0.1, 0.5, 0.9))


@pytest.mark.parametrize("magnitude", [1e-300, 1e-100, 1e100, 1e300])
def test_magnitudes_at_the_edge_of_float64_are_forecast_in_proportion(magnitude, rng):
    y = grow(rng, 40) / 100
    usual, extreme = (
        forecast_panel(network(), make_panel(y * unit), PLAIN, 3, (0.1, 0.5, 0.9))
        for unit in (1.0, magnitude)
    )
    np.testing.assert_allclose(extreme / magnitude, usual, rtol=1e-4)


@pytest.mark.parametrize("growth", ["auto", "asinh", "linear", "standard", "robust", "difference"])
def test_any_series_gives_finite_forecasts_or_a_refusal(growth, rng):
    kinds = [
        [4.0], [4.0, 5.0], [0.0], [-1.0, 0.0], [0.0] * 30, [0.0, 0.0, 0.0, 1.0],
        [1e-300, 2e-300, 1e-300], [1e149, -1e149, 1e149], [1.0, 1e100, 1.0],
        rng.standard_cauchy(60), [5.0, 5.0, 6.0], grow(rng, 300), [1.0] * 40 + [0.0],
    ]  # fmt: skip
    panel = make_panel(*kinds)
    preprocessing = Preprocessing(growth, (4, 12), 32)
    for place in range(panel.n_series):
        try:
            y_NHP = forecast_panel(
                network(), take_series(panel, place), preprocessing, 9, (0.01, 0.5, 0.99)
            )
        except DataError as error:
            assert error.code in ("FORECAST_OVERFLOW", "GROWTH_VALUE")
        else:
            assert np.isfinite(y_NHP).all() and (np.diff(y_NHP, axis=2) >= 0).all()


def test_a_forecast_knows_the_history_alone(rng):
    """Seasons, curve and scale included: cut panels agree to the bit."""
    pasts = [grow(rng, n) * np.resize([1.3, 0.8, 1.0, 0.9], n) for n in (24, 40, 9)]
    futures = [np.concatenate((y[:-5], np.full(5, 1e6))) for y in pasts]
    one, other = (
        forecast_panel(
            network(), drop_last(make_panel(*series), 5), Preprocessing("auto", (4,), 16), 9
        )
        for series in (pasts, futures)
    )
    np.testing.assert_array_equal(one, other)


def test_the_panel_is_not_changed(rng):
    panel = make_panel(grow(rng, 20), grow(rng, 9))
    before = panel.y_S.copy(), panel.starts_N1.copy(), panel.ds_S.copy()
    forecast_panel(network(), panel, PLAIN, 13)
    for array, kept in zip((panel.y_S, panel.starts_N1, panel.ds_S), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_long_series_are_shown_their_last_window_only(rng):
    """Two histories with one growth space before and within the window forecast the same."""
    y = grow(rng, 200)
    space = to_growth_space(make_panel(y), season_length=1)
    found = forecast_panel(network(), make_panel(y), Preprocessing("auto", (1,), 20), 4)
    features_BTF = space.features_SF[None, -20:]
    output_HQ = network().predict_last(features_BTF, np.array([20]))[0]
    expected = y[-1] * np.exp(space.scale_S[-1] * output_HQ[:, 3])
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-6)


def test_the_season_goes_on_through_all_stretches():
    season_M, step_T = np.array([1.3, 0.8, 1.1, 0.9]), np.arange(100)
    y = 50 * 1.02**step_T * season_M[step_T % 4]
    engine = FixedEngine(np.arange(1.0, 4)[:, None], quantiles=(0.5,))
    found = forecast_panel(engine, make_panel(y[:80]), Preprocessing("log", (4,), 64), 20)
    np.testing.assert_allclose(found[0, :, 0], y[80:], rtol=0.01)


@pytest.mark.parametrize("growth", ["standard", "minmax", "robust"])
def test_the_scaling_of_the_history_holds_for_all_stretches(growth, rng):
    """The same output is the same value in every stretch."""
    engine = FixedEngine([[3.0]], quantiles=(0.5,))
    panel = make_panel(grow(rng, 20))
    y_H = forecast_panel(engine, panel, Preprocessing(growth, (1,), 64), 5)[0, :, 0]
    np.testing.assert_allclose(y_H, y_H[0], rtol=1e-12)
    assert y_H[0] > panel.y_S.max()


def test_intervals_are_widened_as_asked_and_the_median_is_not(rng):
    panel = make_panel(grow(rng, 40))
    narrow, wide = (
        np.log(forecast_panel(network(), panel, view, 4, (0.1, 0.5, 0.9)))[0]
        for view in (PLAIN, replace(PLAIN, widen=1.5))
    )
    np.testing.assert_allclose(wide[:, 1], narrow[:, 1], rtol=1e-12)
    spread = narrow[:, [0, 2]] - narrow[:, [1]]
    np.testing.assert_allclose(wide[:, [0, 2]] - wide[:, [1]], 1.5 * spread, rtol=1e-6)
