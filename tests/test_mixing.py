"""Two views of a series: judged by their last origins, by hand, and mixed by what that tells."""

from dataclasses import replace

import numpy as np
import pytest

from explstm import mixing
from explstm.growth import to_growth_space
from explstm.mixing import PastForecasts, mix_views, past_error, past_origins, recall
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import ModelSpec, init_weights
from explstm.prediction import Preprocessing, forecast_panel
from panels import grow, make_panel


def test_the_last_origins_are_marked():
    marked_NT = past_origins(np.array([1, 6, 7, 9, 30]), 30)
    assert [np.flatnonzero(row).tolist() for row in marked_NT] == [
        [0],
        [5],
        [6],
        [6, 7, 8],
        list(range(17, 30)),
    ]


@pytest.mark.parametrize("growth", ["log", "linear"])
def test_past_errors_are_those_of_forecasts_made_at_that_time(growth):
    """Level forecasts one and two steps ahead, all counted by hand in data units."""
    y = [np.array([3.0, 4, 2, 5, 6, 4, 7, 9, 8]), np.array([1.0, 2, 4])]
    space = to_growth_space(make_panel(*y), growth=growth, season_length=1)
    counts_N = np.array([4, 1])
    found_N = past_error(space, np.concatenate(y), counts_N, np.zeros((5, 2)))
    pairs = [(5, 6), (5, 7), (6, 7), (6, 8), (7, 8)]
    by_hand = np.mean([abs(y[0][later] - y[0][origin]) for origin, later in pairs])
    np.testing.assert_allclose(found_N[0], by_hand, rtol=1e-12)
    assert np.isnan(found_N[1])  # its last step has no future


def test_a_season_is_given_back_before_forecasts_are_judged():
    season = np.tile([1.0, 2, 4, 2], 10)
    panel = make_panel(season * 1.02 ** np.arange(40))
    space = to_growth_space(panel, growth="log", season_length=4)
    step_H = np.arange(1, 5)
    counts = 12
    origins = np.arange(40 - counts, 40)
    slope = np.log(1.02) / space.scale_S[origins]
    error_N = past_error(space, panel.y_S, np.array([counts]), slope[:, None] * step_H)
    assert error_N[0] < 0.01 * panel.y_S.mean()


def test_forecasts_beyond_float64_judge_without_a_warning_and_lose():
    panel = make_panel(np.exp(np.arange(20.0)))
    space = to_growth_space(panel, growth="log", season_length=1)
    wild, tame = (
        past_error(space, panel.y_S, np.array([10]), np.full((10, 2), value))
        for value in (1e6, 1.0)
    )
    assert np.isfinite(wild).all() and wild > 1e100 * tame


def test_views_are_weighed_by_the_inverse_square_of_their_errors():
    one, two = np.full((3, 1, 1), 10.0), np.full((3, 1, 1), 20.0)
    errors = np.array([1.0, 0.0, np.nan]), np.array([2.0, 3.0, 1.0])
    mixed = mix_views([one, two], errors).ravel()
    np.testing.assert_allclose(mixed, [10 * 0.8 + 20 * 0.2, 10.0, 20.0])


def test_two_perfect_views_count_the_same():
    zero = np.zeros(1)
    mixed = mix_views([np.ones((1, 1, 1)), np.full((1, 1, 1), 3.0)], [zero, zero])
    assert mixed.item() == 2.0


def test_a_mixed_forecast_lies_between_its_views_and_its_quantiles_rise(rng):
    spec = ModelSpec(hidden_sizes=(5,), horizon=4)
    engine = NumpyEngine(spec, init_weights(spec, 3))
    panel = make_panel(*(grow(rng, steps) for steps in (30, 3, 60, 12)))
    views = [
        forecast_panel(engine, panel, Preprocessing(growth, (4,), 32), 10, (0.1, 0.5, 0.9))
        for growth in ("auto", "linear")
    ]
    both = Preprocessing("auto", (4,), 32, beside="linear")
    mixed = forecast_panel(engine, panel, both, 10, (0.1, 0.5, 0.9))
    tolerance = 1e-5 * np.abs(mixed)
    assert (mixed >= np.minimum(*views) - tolerance).all()
    assert (mixed <= np.maximum(*views) + tolerance).all()
    assert (np.diff(mixed, axis=2) >= 0).all()


def test_growth_by_a_rate_is_continued_by_a_rate_whatever_the_other_view_says(monkeypatch):
    """A network that continues steps on its curve: exact on the logarithm, too low on the line."""

    class Continues:
        spec = ModelSpec(horizon=4, quantiles=(0.5,))

        def predict_origins(self, features_BTF, origins_BT):
            series, time = np.nonzero(origins_BT)
            growth_R = features_BTF[series, time, 0]
            return growth_R[:, None, None] * np.arange(1, 5)[:, None]

    y = 100 * 1.3 ** np.arange(44)
    both = Preprocessing("auto", (1,), 64, beside="linear")
    forecast = forecast_panel(Continues(), make_panel(y[:40]), both, 4)[0, :, 0]
    np.testing.assert_allclose(forecast, y[40:], rtol=1e-3)
    monkeypatch.setattr(mixing, "POWER", 0.0)
    even = forecast_panel(Continues(), make_panel(y[:40]), both, 4)[0, :, 0]
    assert (even < 0.95 * y[40:])[1:].all()


@pytest.mark.parametrize(("steps", "judged"), [(7, False), (8, True)])
def test_the_shortest_series_that_is_judged_has_the_length_stated(steps, judged):
    assert (steps >= mixing.FEWEST_JUDGED) is judged
    y = np.arange(1.0, steps + 1)
    counts_N = past_origins(np.array([steps]), steps).sum(axis=1)
    space = to_growth_space(make_panel(y), growth="log", season_length=1)
    error_N = past_error(space, y, counts_N, np.zeros((counts_N.sum(), 2)))
    assert np.isfinite(error_N[0]) == judged


def test_a_line_that_falls_below_zero_counts_as_zero_for_what_is_positive(monkeypatch):
    """A network that continues steps, and views that count the same: half of the first is left."""

    class Falls:
        spec = ModelSpec(horizon=12, quantiles=(0.5,))

        def predict_origins(self, features_BTF, origins_BT):
            growth_R = features_BTF[np.nonzero(origins_BT)][:, 0]
            return growth_R[:, None, None] * np.arange(1, 13)[:, None]

    monkeypatch.setattr(mixing, "POWER", 0.0)
    panel = make_panel(np.linspace(100, 10, 31))  # by 3 a step: below zero after the fourth
    both = Preprocessing("auto", (1,), 64, beside="linear")
    mixed = forecast_panel(Falls(), panel, both, 12)[0, :, 0]
    first = forecast_panel(Falls(), panel, replace(both, beside="log"), 12)[0, :, 0]
    np.testing.assert_allclose(mixed[4:], first[4:] / 2, rtol=1e-9)


def test_past_forecasts_go_on_and_are_judged_by_what_came(rng):
    """Read in parts of any size, they are those of the last thirteen origins of the whole."""
    y = [grow(rng, 40), grow(rng, 9)]
    whole = make_panel(*y)
    median_NTK = rng.normal(size=(2, 40, 3))  # from every step
    kept = PastForecasts.none(2, 3)
    space = to_growth_space(whole, growth="log", season_length=1)
    for ends, steps in (((20, 5), (20, 5)), ((21, 5), (1, 0)), ((40, 9), (19, 4))):
        cut = make_panel(*(values[:end] for values, end in zip(y, ends, strict=True)))
        part = to_growth_space(cut, transform=space.transform, season_length=1)
        median_NOK = np.full((2, 13, 3), np.nan)
        for place, end in enumerate(ends):
            first = max(end - 13, 0)
            median_NOK[place, 13 - (end - first) :] = median_NTK[place, first:end]
        kept = kept.followed_by(recall(part, cut.y_S, median_NOK), np.array(steps))
    for place, n in enumerate((40, 9)):
        z, scale = (array[space.starts_N1[place] :] for array in (space.z_S, space.scale_S))
        errors = [
            abs(np.exp(z[o] + scale[o] * median_NTK[place, o, k]) - y[place][o + k + 1])
            for o in range(max(n - 13, 0), n - 1)
            for k in range(min(3, n - 1 - o))
        ]
        np.testing.assert_allclose(kept.error_N()[place], np.mean(errors), rtol=1e-12)
