import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm.errors import DataError
from explstm.growth import (
    DRIFT_UNIT,
    FEATURE_BOUND,
    FEATURES,
    N_FEATURES,
    SCALE_DECAY,
    SMOOTHINGS,
    continue_growth_space,
    from_growth_space,
    put_last,
    relative_scale,
    take_last,
    to_growth_space,
)
from explstm.scaling import GROWTH_NAMES
from explstm.seasonality import carry_on
from panels import grow, make_panel


def slow_space(z, magnitude=None):
    """Scale and features of one series by their definitions, one step at a time.

    ``magnitude`` is given where the scale is reported relative to the size of the series.
    """
    scales, rows = [], []
    for t in range(len(z)):
        changes = [z[i] - z[i - 1] for i in range(1, t + 1)]
        weights = [SCALE_DECAY ** (t - i) for i in range(1, t + 1)]
        weighted = [w * abs(d) for w, d in zip(weights, changes, strict=True)]
        scale = sum(weighted) / sum(weights) if changes else 0.0
        level = 1.0
        if magnitude is not None:
            all_weights = [SCALE_DECAY ** (t - i) for i in range(t + 1)]
            level = np.average(magnitude[: t + 1], weights=all_weights)
        age = (math.log(t + 1) - math.log(30)) / 1.5
        row = [0.0] * 5 + [age] + [0.0] * 2
        if scale > 0:
            smooth = []
            for alpha in SMOOTHINGS:
                es = z[0]
                for i in range(1, t + 1):
                    es = alpha * z[i] + (1 - alpha) * es
                weight = math.sqrt(alpha * (2 - alpha)) / (1 - alpha)
                smooth.append(weight * (z[t] - es) / scale)
            noise = (math.log(scale / level) - math.log(0.03)) / 1.5
            drift = DRIFT_UNIT * (z[t] - z[0]) / t / scale
            row = [changes[-1] / scale, *smooth[:3], noise, age, smooth[3], drift]
        scales.append(scale)
        rows.append(np.clip(row, -FEATURE_BOUND, FEATURE_BOUND))
    return np.array(scales), np.array(rows)


def series_of(space, place):
    steps = slice(space.starts_N1[place], space.starts_N1[place + 1])
    return space.z_S[steps], space.scale_S[steps], space.features_SF[steps]


@pytest.mark.parametrize("growth", ["log", "asinh", "linear"])
def test_scale_and_features_match_a_slow_loop(growth, rng):
    series = [grow(rng, n, noise=0.3) for n in (1, 2, 3, 17, 90)]
    if growth != "log":
        series = [s - 60 for s in series]
    panel, options = make_panel(*series), {"growth": growth, "season_length": 1}
    space = to_growth_space(panel, **options, n_features=len(FEATURES))
    for place, y in enumerate(series):
        z = {"log": np.log, "linear": np.array}.get(
            growth, lambda y, c=space.transform.unit_N[place]: np.arcsinh(y / c)
        )(y)
        scale_T, features_TF = slow_space(z, np.abs(y) if growth == "linear" else None)
        found_z, found_scale, found_features = series_of(space, place)
        np.testing.assert_allclose(found_z, z, rtol=1e-12)
        np.testing.assert_allclose(found_scale, scale_T, rtol=1e-9)
        np.testing.assert_allclose(found_features, features_TF, rtol=1e-5, atol=1e-6)
    assert space.anchor_S is space.z_S
    assert space.features_SF.dtype == np.float32
    few_SF = to_growth_space(panel, **options).features_SF
    np.testing.assert_array_equal(few_SF, space.features_SF[:, :N_FEATURES])


def test_exponential_growth_is_a_constant_in_growth_space():
    y = 3.0 * 1.07 ** np.arange(60)
    space = to_growth_space(make_panel(y), season_length=1)
    _, scale_T, features_TF = series_of(space, 0)
    np.testing.assert_allclose(scale_T[1:], math.log(1.07), rtol=1e-9)
    np.testing.assert_allclose(features_TF[1:, 0], 1.0, rtol=1e-6)
    # its continuation is a straight line: the forecast 1, 2, 3, ... continues it exactly
    forecast = from_growth_space(space, np.arange(1.0, 13)[None, :, None])[0, :, 0]
    np.testing.assert_allclose(forecast, 3.0 * 1.07 ** np.arange(60, 72), rtol=1e-9)


@given(st.floats(1e-6, 1e6), st.sampled_from(["log", "linear"]))
def test_features_do_not_depend_on_the_unit_of_the_data(factor, growth):
    y = grow(np.random.default_rng(3), 50)
    one, other = (
        to_growth_space(make_panel(v), growth=growth).features_SF for v in (y, y * factor)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_features_are_bounded_and_of_order_one(rng):
    walks = [grow(rng, 120) for _ in range(300)]
    features_SF = to_growth_space(make_panel(*walks), season_length=1).features_SF
    spread = features_SF.reshape(300, 120, -1)[:, 20:].std(axis=(0, 1))
    assert (spread[:4] > 0.5).all() and (spread[:4] < 2).all()
    wild = np.exp(rng.standard_cauchy(300).clip(-300, 300))
    assert np.abs(to_growth_space(make_panel(wild)).features_SF).max() <= FEATURE_BOUND


@pytest.mark.parametrize("growth", ["auto", "linear", "asinh", "standard", "minmax", "robust",
                                    "difference"])  # fmt: skip
@pytest.mark.parametrize("value", [0.0, -2.5, 7.3])
def test_a_constant_series_is_forecast_as_its_value(growth, value):
    space = to_growth_space(make_panel([value] * 30, [1.0, 2.0, 4.0]), growth=growth)
    _, scale_T, features_TF = series_of(space, 0)
    assert not scale_T.any() and not features_TF[:, :-1].any()
    output_NHQ = np.full((2, 3, 2), 9.0)
    np.testing.assert_allclose(from_growth_space(space, output_NHQ)[0], value, rtol=1e-12)


def test_rounding_does_not_pass_for_movement():
    rounding = 7.3 * (1 + 1e-15 * np.arange(30) % 3e-15)
    space = to_growth_space(make_panel(rounding), growth="linear", season_length=1)
    assert not space.scale_S.any()


def test_a_change_only_at_the_end_has_a_scale():
    space = to_growth_space(make_panel([5.0] * 40 + [6.0]), season_length=1)
    assert not space.scale_S[:40].any() and space.scale_S[40] > 0
    assert np.isfinite(space.features_SF).all()


@pytest.mark.parametrize("y", [[4.0], [4.0, 5.0], [0.0], [-1.0, 0.0]])
def test_one_or_two_points_are_carried(y):
    space = to_growth_space(make_panel(y))
    assert np.isfinite(space.features_SF).all()
    np.testing.assert_allclose(from_growth_space(space, np.zeros((1, 2, 1)))[0, :, 0], y[-1])


@pytest.mark.parametrize("growth", ["log", "linear", "standard"])
def test_extreme_magnitudes_stay_finite(growth):
    top = 1e308 if growth == "log" else 1e149
    space = to_growth_space(make_panel([1e-308, top, 3e-308, top], [1e-308] * 4), growth=growth)
    assert np.isfinite(space.features_SF).all() and np.isfinite(space.scale_S).all()


@pytest.mark.parametrize("growth", ["log", "asinh", "linear", "standard", "minmax", "robust",
                                    "difference"])  # fmt: skip
@pytest.mark.parametrize("season_length", [1, 4, (3, 12)])
def test_true_targets_lead_back_to_the_true_values(growth, season_length, rng):
    """Cut, carry the held-out values forward by hand, and come back to them."""
    y = grow(rng, 60) * np.tile([1.2, 0.9, 1.0, 0.8], 15)
    history, held_out = y[:50], y[50:]
    space = to_growth_space(make_panel(history), growth=growth, season_length=season_length)
    centre, unit = space.transform.centre_N[0], space.transform.unit_N[0]
    curve = {"log": np.log, "asinh": np.arcsinh}.get(growth, np.array)
    z_H = curve((held_out - centre) / unit)
    season_H = sum(
        index_NM[0, np.arange(10) % m]
        for m, index_NM in zip(space.seasonality.lengths, space.seasonality.indices, strict=True)
    )
    output_H = (z_H - season_H - space.anchor_S[-1]) / space.scale_S[-1]
    found_H = from_growth_space(space, output_H[None, :, None])[0, :, 0]
    np.testing.assert_allclose(found_H, held_out, rtol=1e-9)


def test_quantiles_stay_in_order_and_in_float64(rng):
    space = to_growth_space(make_panel(grow(rng, 48), rng.normal(size=48)))
    output_NHQ = np.sort(rng.normal(size=(2, 12, 7)).astype(np.float32), axis=2)
    y_NHQ = from_growth_space(space, output_NHQ)
    assert y_NHQ.dtype == np.float64 and (np.diff(y_NHQ, axis=2) >= 0).all()


@pytest.mark.parametrize("growth", ["standard", "minmax", "robust"])
def test_scaled_levels_are_their_own_targets(growth, rng):
    space = to_growth_space(make_panel(grow(rng, 30)), growth=growth, season_length=1)
    assert not space.anchor_S.any() and (space.scale_S == 1).all()
    np.testing.assert_allclose(space.features_SF[:, 0], space.z_S, rtol=1e-6)


def test_differences_are_counted_from_the_level(rng):
    y = grow(rng, 30)
    space = to_growth_space(make_panel(y), growth="difference", season_length=1)
    unit = np.sqrt(np.mean(np.diff(y) ** 2))
    assert (space.scale_S == 1).all() and space.anchor_S is space.z_S
    np.testing.assert_allclose(space.features_SF[1:, 0], np.diff(y) / unit, rtol=1e-5)
    found = from_growth_space(space, np.array([[[2.0]]]))
    assert found[0, 0, 0] == pytest.approx(y[-1] + 2 * unit, rel=1e-12)


def test_a_series_does_not_depend_on_its_neighbours(rng):
    series = [grow(rng, n) for n in (30, 31, 100, 7)]
    together = to_growth_space(make_panel(*series))
    for place, y in enumerate(series):
        alone = to_growth_space(make_panel(y))
        for one, other in zip(series_of(together, place), series_of(alone, 0), strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_overflowing_forecast_is_refused_unless_capped(rng):
    space = to_growth_space(make_panel(grow(rng, 20), grow(rng, 20)))
    output_NHQ = np.zeros((2, 3, 1))
    output_NHQ[1, 1] = 1e6
    with pytest.raises(DataError, match="FORECAST_OVERFLOW: the forecast of series 's1' at step 2"):
        from_growth_space(space, output_NHQ)
    with pytest.warns(RuntimeWarning, match="'s1' at step 2"):
        assert np.isfinite(from_growth_space(space, output_NHQ, overflow="cap")).all()


def test_the_panel_is_not_changed(rng):
    panel = make_panel(grow(rng, 40), [1.0, 0.0, 3.0])
    kept = replace(panel, y_S=panel.y_S.copy())
    to_growth_space(panel)
    np.testing.assert_array_equal(panel.y_S, kept.y_S)


def test_temporary_memory_is_bounded(rng):
    panel = make_panel(*np.exp(rng.normal(size=(4000, 120)).cumsum(axis=1) / 20))
    tracemalloc.start()
    space = to_growth_space(panel)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    index_bytes = sum(index_NM.nbytes for index_NM in space.seasonality.indices)
    kept = space.z_S.nbytes + space.scale_S.nbytes + space.features_SF.nbytes + index_bytes
    assert peak < 1.5 * kept + 2e7


@pytest.mark.parametrize("growth", ["log", "asinh", "linear", "standard", "minmax", "robust",
                                    "difference"])  # fmt: skip
def test_a_curve_fitted_before_is_kept_on_a_longer_history(growth, rng):
    y = grow(rng, 40)
    before = to_growth_space(make_panel(y[:25]), growth=growth, season_length=1)
    after = to_growth_space(
        make_panel(y), growth="auto", season_length=1, transform=before.transform
    )
    assert after.transform is before.transform
    np.testing.assert_array_equal(after.z_S[:25], before.z_S)
    np.testing.assert_array_equal(after.features_SF[:25], before.features_SF)
    assert after.reasons_N.tolist() == ["fitted before"]


def test_the_relative_scale_is_the_typical_change_in_parts_of_the_level(rng):
    """Three per cent is usual; the same under every curve, and in any unit."""
    y = grow(rng, 60, noise=0.02)
    change = np.average(np.abs(np.diff(np.log(y))), weights=SCALE_DECAY ** np.arange(59.0)[::-1])
    for growth, unit in (("log", 1.0), ("linear", 1.0), ("linear", 1e6)):
        space = to_growth_space(make_panel(unit * y), growth=growth, season_length=1)
        assert relative_scale(space.features_SF[-1]) == pytest.approx(change / 0.03, rel=0.1)
    scaled = to_growth_space(make_panel(y), growth="standard", season_length=1)
    np.testing.assert_array_equal(relative_scale(scaled.features_SF), 1.0)


@pytest.mark.parametrize("n_features", [N_FEATURES, len(FEATURES)])
@pytest.mark.parametrize("growth", [name for name in GROWTH_NAMES if name != "auto"])
def test_a_space_is_continued_step_by_step_as_if_read_at_once(growth, n_features, rng):
    """Levels, scales and features of later steps, from nothing but the last step before them."""
    ends, begun = (40, 1, 9, 30), np.array([25, 1, 2, 29])
    y = [grow(rng, n) * np.resize([1.2, 0.9, 1.0, 0.9], n) for n in ends]
    options = {"growth": growth, "season_length": (4,), "n_features": n_features}
    space = to_growth_space(make_panel(*(y[i][:n] for i, n in enumerate(begun))), **options)
    late_N = np.array(ends) - begun
    whole = to_growth_space(
        make_panel(*y),
        transform=space.transform,
        seasonality=carry_on(space.seasonality, late_N),
        n_features=n_features,
    )
    last = take_last(space, np.arange(4))
    while late_N.any():
        picked = np.flatnonzero(late_N)
        steps_M = np.minimum(late_N[picked], [2, 1, 3][: len(picked)])
        first_M = np.array(ends)[picked] - late_N[picked]
        parts = [y[i][a : a + n] for i, a, n in zip(picked, first_M, steps_M, strict=True)]
        starts_M1 = np.concatenate(([0], np.cumsum(steps_M)))
        more = continue_growth_space(take_last(last, picked), starts_M1, np.concatenate(parts))
        at_S = np.concatenate(
            [
                whole.starts_N1[i] + a + np.arange(n)
                for i, a, n in zip(picked, first_M, steps_M, strict=True)
            ]
        )
        for name in ("z_S", "anchor_S", "scale_S", "features_SF"):
            found, expected = getattr(more, name), getattr(whole, name)[at_S]
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
        put_last(last, picked, take_last(more, np.arange(len(picked))))
        late_N[picked] -= steps_M
    for name in ("z_S", "features_SF"):
        expected = getattr(take_last(whole, np.arange(4)), name)
        np.testing.assert_allclose(getattr(last, name), expected, rtol=1e-6, atol=1e-9)
    output_NHQ = np.ones((4, 6, 1))
    np.testing.assert_allclose(
        from_growth_space(last, output_NHQ), from_growth_space(whole, output_NHQ), rtol=1e-9
    )
