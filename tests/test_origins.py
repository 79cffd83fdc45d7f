import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm.config import TrainingConfig
from explstm.errors import DataError, UsageError
from explstm.frame import drop_last
from explstm.growth import FEATURES, SIGNED_FEATURES, to_growth_space
from explstm.origins import MAX_TARGET, OriginBatches, holdout_batches, last_windows
from panels import grow, make_panel

FIELDS = ("features_BTF", "lengths_B", "origins_BT", "targets_RH", "weights_RH")


def space_of(*series, **options):
    return to_growth_space(make_panel(*series), **{"season_length": 1, **options})


def supply(space, horizon=4, *, batch_size=8, window=20, warm_up=3, seed=1, **options):
    return OriginBatches(
        space, horizon, batch_size=batch_size, window=window, warm_up=warm_up, seed=seed, **options
    )


def locate(space, features_TF):
    """Find the series and the step at which a stretch of features starts."""
    length = len(features_TF)
    for series in range(space.n_series):
        first, end = space.starts_N1[series], space.starts_N1[series + 1]
        for start in range(first, end - length + 1):
            if np.array_equal(space.features_SF[start : start + length], features_TF):
                return series, start
    raise AssertionError("a stretch shown is not in the space")


def check_batch(space, batch, horizon, window, warm_up, bound=MAX_TARGET):
    """Compare a batch with what a slow loop over its stretches makes."""
    origins, targets, weights = np.zeros_like(batch.origins_BT), [], []
    for row, length in enumerate(batch.lengths_B):
        series, start = locate(space, batch.features_BTF[row, :length])
        end = space.starts_N1[series + 1]
        assert length == min(window, end - space.starts_N1[series])
        assert not batch.features_BTF[row, length:].any()
        for column in range(warm_up, length):
            t = start + column
            if t + 1 >= end or space.scale_S[t] == 0:
                continue
            origins[row, column] = True
            target, weight = np.zeros(horizon), np.zeros(horizon)
            for k in range(1, horizon + 1):
                if t + k < end:
                    change = (space.z_S[t + k] - space.anchor_S[t]) / space.scale_S[t]
                    target[k - 1], weight[k - 1] = min(max(change, -bound), bound), 1
            targets.append(target)
            weights.append(weight)
    np.testing.assert_array_equal(batch.origins_BT, origins)
    np.testing.assert_allclose(batch.targets_RH, targets, rtol=1e-6)
    np.testing.assert_array_equal(batch.weights_RH, weights)
    assert batch.features_BTF.dtype == batch.targets_RH.dtype == batch.weights_RH.dtype == "f4"
    assert batch.lengths_B.dtype == np.int64 and batch.origins_BT.dtype == bool


@pytest.mark.parametrize("growth", ["log", "difference", "standard"])
def test_batches_match_a_slow_loop(growth, rng):
    series = [grow(rng, n) for n in (2, 4, 5, 6, 19, 20, 21, 22, 50)]
    space = space_of(*series, [5.0] * 12 + [6.0, 7.0, 9.0], growth=growth)
    batches = supply(space, batch_size=4)
    for step in range(8):
        check_batch(space, batches.batch(step), horizon=4, window=20, warm_up=3)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_a_batch_depends_on_seed_and_step_alone(rng):
    space = space_of(*[grow(rng, n) for n in (10, 30, 45, 12, 60)])
    first = supply(space, batch_size=3)
    in_order = [first.batch(step) for step in range(10)]
    resumed = supply(space, batch_size=3)
    for step in (7, 2, 9, 0):
        assert same(resumed.batch(step), in_order[step])
    assert not same(in_order[0], supply(space, batch_size=3, seed=2).batch(0))
    assert not same(in_order[0], in_order[3])


def test_every_epoch_shows_every_series_in_a_new_order(rng):
    space = space_of(*[grow(rng, 10) for _ in range(12)])
    batches = supply(space, batch_size=5, window=10)
    shown = []
    for step in range(12):
        for features_TF in batches.batch(step).features_BTF:
            shown.append(locate(space, features_TF)[0])
    epochs = np.array(shown).reshape(5, 12)
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 5


def test_long_series_are_shown_from_random_starts_and_as_often_as_they_are_long(rng):
    space = space_of(grow(rng, 100), grow(rng, 20))
    batches = supply(space, batch_size=100, window=20)
    starts, counts = set(), np.zeros(2, dtype=int)
    for step in range(60):
        for features_TF in batches.batch(step).features_BTF:
            series, start = locate(space, features_TF)
            counts[series] += 1
            starts.add(start)
    assert counts.tolist() == [300, 60]
    assert min(starts) == 0 and {80, 100} <= starts and len(starts) > 60


def test_targets_reach_beyond_the_stretch_shown(rng):
    space = space_of(grow(rng, 100))
    batch = supply(space, horizon=30, window=10).batch(0)
    assert (batch.weights_RH.sum(axis=1) > 20).any()


def test_a_frozen_start_is_passed_over(rng):
    space = space_of(np.concatenate((np.full(5000, 7.0), grow(rng, 30))))
    batches = supply(space, window=20, batch_size=4)
    for step in range(20):
        assert batches.batch(step).origins_BT.any(axis=1).all()


def test_freak_targets_are_clipped():
    space = space_of([1.0, 1.0001, 1.0, 1.0001, 1.0, 1e9, 1.0])
    batch = supply(space, max_target=20.0).batch(0)
    assert np.abs(batch.targets_RH).max() == 20.0
    check_batch(space, batch, horizon=4, window=20, warm_up=3, bound=20.0)


def test_series_without_an_origin_are_left_out_and_none_at_all_is_refused(rng):
    short, flat = [1.0, 2.0, 3.0, 4.0], [5.0] * 40
    batches = supply(space_of(short, flat, grow(rng, 12)))
    assert len(batches.batch(0).lengths_B) == 1
    with pytest.raises(DataError, match="at least 5 steps and a change before its last"):
        supply(space_of(short, flat))


def test_a_window_within_the_warm_up_is_refused(rng):
    with pytest.raises(UsageError, match="window=3 leaves no forecast origin after warm_up=3"):
        supply(space_of(grow(rng, 30)), window=3)


def test_last_windows_show_the_last_steps_left_aligned(rng):
    space = space_of(*[grow(rng, n) for n in (1, 5, 20, 50)])
    features_BTF, lengths_B = last_windows(space, 20)
    assert features_BTF.shape == (4, 20, space.features_SF.shape[1])
    assert lengths_B.tolist() == [1, 5, 20, 20]
    for row, length in enumerate(lengths_B):
        end = space.starts_N1[row + 1]
        np.testing.assert_array_equal(
            features_BTF[row, :length], space.features_SF[end - length : end]
        )
        assert not features_BTF[row, length:].any()
    some_BTF, some_B = last_windows(space, 20, np.array([1, 0]))
    np.testing.assert_array_equal(some_BTF, features_BTF[[1, 0], :5])
    assert some_B.tolist() == [5, 1]


def test_holdout_asks_once_per_series_for_the_held_out_values(rng):
    """With the season known, the targets lead back to the held-out values."""
    series = [grow(rng, n) * np.resize([1.3, 0.8, 1.0, 0.9], n) for n in (30, 60, 45)]
    panel = make_panel(*series, [5.0] * 30)
    train = to_growth_space(drop_last(panel, 3), season_length=4)
    batches = holdout_batches(train, panel, 5, batch_size=2, window=40)
    seen = []
    for batch in batches:
        rows_B, columns_B = np.nonzero(batch.origins_BT)
        assert columns_B.tolist() == (batch.lengths_B[rows_B] - 1).tolist()
        np.testing.assert_array_equal(batch.weights_RH, np.tile([1, 1, 1, 0, 0], (len(rows_B), 1)))
        assert not batch.targets_RH[:, 3:].any()
        for row, target_H in zip(rows_B, batch.targets_RH, strict=True):
            place, _ = locate(train, batch.features_BTF[row, : batch.lengths_B[row]])
            seen.append(place)
            end = train.starts_N1[place + 1]
            n = end - train.starts_N1[place]
            for k in range(3):
                season = train.seasonality.indices[0][place, k % 4]
                z = np.log(series[place][n + k]) - season
                expected = (z - train.z_S[end - 1]) / train.scale_S[end - 1]
                assert target_H[k] == pytest.approx(expected, rel=1e-5)
    assert sorted(seen) == [0, 1, 2]  # nothing moves in the last one: it has no origin


def test_holdout_values_out_of_reach_become_the_lowest_target(rng):
    y = np.concatenate((grow(rng, 30), [0.0, -1.0, 1e300]))
    panel = make_panel(y)
    train = to_growth_space(drop_last(panel, 3), season_length=1)
    (batch,) = holdout_batches(train, panel, 3, batch_size=2, window=40)
    assert batch.targets_RH.tolist() == [[-MAX_TARGET, -MAX_TARGET, MAX_TARGET]]


def test_holdout_of_other_series_is_refused(rng):
    train = space_of(grow(rng, 30))
    with pytest.raises(UsageError, match="panel must hold the 1 series of train_space"):
        holdout_batches(train, make_panel(grow(rng, 30), grow(rng, 30)), 3, batch_size=2, window=9)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 12), st.integers(1, 3))
def test_any_panel_gives_sound_batches(lengths, horizon, warm_up):
    rng = np.random.default_rng(sum(lengths))
    space = space_of(*[grow(rng, n) for n in lengths], grow(rng, 9))
    batches = supply(space, horizon, window=12, warm_up=warm_up, batch_size=3)
    for step in range(3):
        check_batch(space, batches.batch(step), horizon, window=12, warm_up=warm_up)


def signs_of(plain, reflected):
    """1 or -1 for each series of two batches that may differ by reflection only."""
    signs = []
    for one_TF, other_TF in zip(plain.features_BTF, reflected.features_BTF, strict=True):
        signed_F = SIGNED_FEATURES[: one_TF.shape[1]]
        first, second = one_TF[..., signed_F], other_TF[..., signed_F]
        signs.append(1 if np.array_equal(first, second) else -1)
        np.testing.assert_array_equal(first * signs[-1], second)
    return np.array(signs)


@pytest.mark.parametrize("growth", ["log", "linear", "difference"])
def test_a_reflected_series_has_its_growth_and_its_targets_upside_down(growth, rng):
    space = space_of(*[grow(rng, n) for n in (12, 20, 30, 45) * 8], growth=growth)
    plain, mirror = supply(space, batch_size=16), supply(space, batch_size=16, reflection=0.5)
    seen = set()
    for step in range(4):
        one, other = plain.batch(step), mirror.batch(step)
        signs = signs_of(one, other)
        seen |= set(signs.tolist())
        rows = np.repeat(signs, one.origins_BT.sum(axis=1))
        np.testing.assert_array_equal(one.targets_RH * rows[:, None], other.targets_RH)
        np.testing.assert_array_equal(one.features_BTF[..., 4:6], other.features_BTF[..., 4:6])
        for name in ("lengths_B", "origins_BT", "weights_RH"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert seen == {1, -1}
    assert FEATURES[4:6] == ("log_scale", "log_age")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_the_share_of_reflected_series_is_the_one_asked_for(share, rng):
    space = space_of(*[grow(rng, 10) for _ in range(200)])
    plain = supply(space, batch_size=200)
    mirror = supply(space, batch_size=200, reflection=share)
    steps = [signs_of(plain.batch(k), mirror.batch(k)) for k in range(10)]
    assert share == 0 or len({tuple(signs) for signs in steps}) == 10  # drawn anew at every step
    signs = np.concatenate(steps)
    assert abs((signs < 0).mean() - share) < 3 * np.sqrt(0.25 / 2000)


@pytest.mark.parametrize("growth", ["standard", "minmax", "robust"])
def test_scaled_levels_are_never_reflected(growth, rng):
    space = space_of(*[grow(rng, 20) for _ in range(20)], growth=growth)
    assert same(supply(space).batch(0), supply(space, reflection=0.5).batch(0))


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("growth", ["log", "linear", "standard"])
def test_scale_weights_are_a_power_of_the_scale_in_parts_of_the_level(growth, power, rng):
    space = space_of(*[grow(rng, n, noise=noise) for n in (15, 30) for noise in (0.01, 0.2)],
                     growth=growth)  # fmt: skip
    plain = supply(space).batch(0)
    weighted = supply(space, scale_weight=power, reflection=0.5).batch(0)
    row = 0
    for series, origins_T in enumerate(plain.origins_BT):
        place, start = locate(space, plain.features_BTF[series, : plain.lengths_B[series]])
        for t in start + np.flatnonzero(origins_T):
            size = 1.0
            if growth == "linear":
                past = np.abs(space.z_S[space.starts_N1[place] : t + 1])
                size = np.average(past, weights=0.97 ** np.arange(len(past))[::-1])
            relative = 1.0 if growth == "standard" else space.scale_S[t] / size / 0.03
            expected = plain.weights_RH[row] * relative**power
            np.testing.assert_allclose(weighted.weights_RH[row], expected, rtol=1e-5)
            row += 1
    assert row == len(plain.weights_RH) and weighted.weights_RH.dtype == np.float32


def test_reflections_and_weights_are_functions_of_seed_and_step_alone(rng):
    space = space_of(*[grow(rng, n) for n in (10, 30, 45, 12, 60)])
    options = {"batch_size": 3, "reflection": 0.5, "scale_weight": 0.5}
    first = supply(space, **options)
    in_order = [first.batch(step) for step in range(6)]
    for step in (5, 0, 3):
        assert same(supply(space, **options).batch(step), in_order[step])
    assert same(first.batch(0), in_order[0])  # what was made before is not changed
    kept = space.features_SF.copy()
    first.batch(1)
    np.testing.assert_array_equal(space.features_SF, kept)


def test_a_training_configuration_asks_for_its_batches(rng):
    space = space_of(*[grow(rng, n) for n in (10, 30, 45, 12, 60)])
    config = TrainingConfig(
        batch_size=3, window=17, warm_up=2, random_seed=9, reflection=0.3, scale_weight=0.7
    )
    asked = OriginBatches.from_training(space, 5, config)
    stated = supply(
        space, 5, batch_size=3, window=17, warm_up=2, seed=9, reflection=0.3, scale_weight=0.7
    )
    assert all(same(asked.batch(step), stated.batch(step)) for step in range(4))


def test_held_out_origins_weigh_as_training_origins_do(rng):
    panel = make_panel(grow(rng, 30, noise=0.3), grow(rng, 30, noise=0.01))
    train = to_growth_space(drop_last(panel, 2), season_length=1)
    (batch,) = holdout_batches(train, panel, 3, batch_size=2, window=40, scale_weight=0.5)
    last_N = train.starts_N1[1:] - 1
    expected = np.sqrt(train.scale_S[last_N] / 0.03)[:, None] * [1, 1, 0]
    np.testing.assert_allclose(batch.weights_RH, expected, rtol=1e-5)


def test_a_batch_is_made_in_milliseconds(rng):
    space = space_of(*[grow(rng, 128) for _ in range(256)])
    batches = supply(space, 18, batch_size=128, window=128)
    seconds = []
    for step in range(30):
        began = time.perf_counter()
        batches.batch(step)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.01  # about 2 ms on an idle core
