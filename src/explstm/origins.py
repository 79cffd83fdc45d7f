"""Forecast origins: batches in which every step of a series is asked for its future.

Contract: a batch holds series (or stretches of long ones) left-aligned, a mask of the steps that
are origins, and for every origin the next ``horizon`` targets with weight 0 where the future is
missing. Targets are cut out of the flat levels batch by batch, so no array of all origins times
all horizons ever exists. ``OriginBatches.batch(step)`` is a pure function of the seed and the
step: a resumed run sees the batches it would have seen.

Two things act on the batch alone. *Reflection* shows a share of the series upside down in growth
space, features and targets both with the opposite sign. *Scale weights* multiply the weights of an
origin by a power of its scale, so that the loss can count errors in parts of the level instead of
in units of each series' own movement.

A step is an origin when it is not among the first ``warm_up`` steps shown, something has moved
before it (scale above 0), and at least one step of its future is known.

Source: Wen, Torkkola, Narayanaswamy & Madeka (2017), A multi-horizon quantile recurrent
forecaster, section 3.3 (forking sequences).

Axes: N series in a panel, S steps of all series laid end to end, B series in a batch, T time,
F features, H horizon, R rows: the origins of a batch, series-major, then time.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from explstm.config import TrainingConfig
from explstm.errors import DataError, UsageError
from explstm.frame import Panel
from explstm.growth import SIGNED_FEATURES, GrowthPanel, relative_scale
from explstm.ragged import BoolArray, FloatArray, IntArray
from explstm.scaling import SCALED_LEVELS, to_level
from explstm.seasonality import future

MAX_TARGET = 50.0  # typical steps away from the anchor; further is clipped

_ORDER, _CROPS, _REFLECTIONS = 0, 1, 2  # independent random streams of one seed


@dataclass(frozen=True)
class Batch:
    """What an engine trains on or validates with.

    Attributes:
        features_BTF: float32, left-aligned, 0 to the right of a series.
        lengths_B: Steps of each series shown.
        origins_BT: Which steps are forecast origins; R of them.
        targets_RH: float32, 0 where the future is missing.
        weights_RH: float32, the weight of the origin where the future is known, else 0.
    """

    features_BTF: NDArray[np.float32]
    lengths_B: IntArray
    origins_BT: BoolArray
    targets_RH: NDArray[np.float32]
    weights_RH: NDArray[np.float32]


class OriginBatches:
    """An endless, repeatable supply of training batches.

    Every epoch is a fresh permutation of the usable series. A series longer than ``window`` is
    shown as a stretch with a random start, and as often per epoch as stretches fit into it.
    """

    def __init__(
        self,
        space: GrowthPanel,
        horizon: int,
        *,
        batch_size: int,
        window: int,
        warm_up: int,
        seed: int,
        max_target: float = MAX_TARGET,
        reflection: float = 0.0,
        scale_weight: float = 0.0,
    ) -> None:
        """Find the usable series.

        Args:
            space: The series in growth space, cut at the last step that may be used.
            horizon: Steps ahead, H.
            batch_size: Series per batch; fewer when an epoch has fewer.
            window: Longest stretch of a series that is shown.
            warm_up: First steps shown that are not origins.
            seed: Of the order of series and the starts of stretches.
            max_target: Targets beyond this many scales are clipped.
            reflection: Share of the series shown upside down; scaled levels never are.
            scale_weight: Power of the relative scale of an origin that weights its targets.

        Raises:
            UsageError: ``window`` leaves no origin after ``warm_up``.
            DataError: No series has an origin.
        """
        if window <= warm_up:
            raise UsageError(
                "WINDOW_TOO_SHORT",
                f"window={window} leaves no forecast origin after warm_up={warm_up}; "
                f"set window to at least {warm_up + 1}.",
            )
        self._space, self._horizon = space, horizon
        self._window, self._warm_up = window, warm_up
        self._seed, self._max_target = seed, max_target
        self._reflection, self._scale_weight = reflection, scale_weight
        self._reflects_N = ~space.transform.is_curve_N(*SCALED_LEVELS)
        self._last_origin_N = _last_origins(space, warm_up)
        usable_N = np.flatnonzero(self._last_origin_N >= 0)
        if len(usable_N) == 0:
            longest = int(space.lengths_N.max(initial=0))
            lacks = "longer series" if longest < warm_up + 2 else "series that move"
            raise DataError(
                "NO_ORIGINS",
                f"no series can be trained on: one needs at least {warm_up + 2} steps and a "
                f"change before its last, and the longest has {longest}; "
                f"give {lacks}.",
            )
        stretches_N = -(-space.lengths_N[usable_N] // window)
        self._epoch_series = np.repeat(usable_N, stretches_N)
        self._batch_size = min(batch_size, len(self._epoch_series))
        self._order: tuple[int, IntArray] = (-1, self._epoch_series)

    @classmethod
    def from_training(cls, space: GrowthPanel, horizon: int, config: TrainingConfig) -> Self:
        """The supply that a training configuration asks for."""
        return cls(
            space,
            horizon,
            batch_size=config.batch_size,
            window=config.window,
            warm_up=config.warm_up,
            seed=config.random_seed,
            reflection=config.reflection,
            scale_weight=config.scale_weight,
        )

    def batch(self, step: int) -> Batch:
        """Return the batch of a training step, counted from 0."""
        series_B = self._series_of(step)
        lengths_N = self._space.lengths_N[series_B]
        shown_B = np.minimum(lengths_N, self._window)
        last_start_B = lengths_N - shown_B
        draws_B = np.random.default_rng((self._seed, _CROPS, step)).random(len(series_B))
        start_B = np.floor(draws_B * (last_start_B + 1)).astype(np.int64)
        origins_BT = self._origins(series_B, start_B, shown_B)
        empty_B = ~origins_BT.any(axis=1)
        if empty_B.any():  # nothing moved yet in that stretch: show the last one that has
            fallback_B = np.clip(self._last_origin_N[series_B] - shown_B + 1, 0, last_start_B)
            start_B = np.where(empty_B, fallback_B, start_B)
            origins_BT = self._origins(series_B, start_B, shown_B)
        first_B = self._space.starts_N1[series_B] + start_B
        targets_RH, weights_RH = _targets(
            self._space, series_B, first_B, origins_BT, self._horizon, self._max_target
        )
        features_BTF = _gather_features(self._space, first_B, shown_B)
        _weight_origins(weights_RH, features_BTF, origins_BT, self._scale_weight)
        sign_B = self._signs(step, series_B)
        signed_F = SIGNED_FEATURES[: features_BTF.shape[2]]
        features_BTF *= np.where(signed_F, sign_B[:, None, None], np.float32(1))
        targets_RH *= np.repeat(sign_B, origins_BT.sum(axis=1))[:, None]
        return Batch(features_BTF, shown_B, origins_BT, targets_RH, weights_RH)

    def _signs(self, step: int, series_B: IntArray) -> NDArray[np.float32]:
        """Return -1 for the series of a batch that are shown upside down, else 1."""
        draws_B = np.random.default_rng((self._seed, _REFLECTIONS, step)).random(len(series_B))
        reflected_B = (draws_B < self._reflection) & self._reflects_N[series_B]
        return np.where(reflected_B, np.float32(-1), np.float32(1))

    def _series_of(self, step: int) -> IntArray:
        """Return the series of a batch: a stretch of the endless row of permuted epochs."""
        size = len(self._epoch_series)
        places = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        parts = []
        for epoch in range(places[0] // size, places[-1] // size + 1):
            if self._order[0] != epoch:
                rng = np.random.default_rng((self._seed, _ORDER, epoch))
                self._order = (epoch, rng.permutation(self._epoch_series))
            parts.append(self._order[1][places[places // size == epoch] % size])
        return np.concatenate(parts)

    def _origins(self, series_B: IntArray, start_B: IntArray, shown_B: IntArray) -> BoolArray:
        """Tell which steps of the stretches shown are origins."""
        column_T = np.arange(shown_B.max())
        step_BT = start_B[:, None] + column_T
        before_end_BT = (step_BT < self._space.lengths_N[series_B, None] - 1) & (
            column_T < shown_B[:, None]
        )
        flat_BT = self._space.starts_N1[series_B, None] + step_BT
        moving_BT = self._space.scale_S[np.where(before_end_BT, flat_BT, 0)] > 0
        return before_end_BT & moving_BT & (column_T >= self._warm_up)


def last_windows(
    space: GrowthPanel, window: int, series_B: IntArray | None = None
) -> tuple[NDArray[np.float32], IntArray]:
    """Return the last ``window`` steps of series, left-aligned, for prediction.

    Args:
        space: The series in growth space.
        window: Longest stretch of a series that is shown.
        series_B: Positions of the series wanted, all of them unless given.

    Returns:
        ``features_BTF`` and ``lengths_B``.
    """
    if series_B is None:
        series_B = np.arange(space.n_series)
    shown_B = np.minimum(space.lengths_N[series_B], window)
    return _gather_features(space, space.starts_N1[series_B + 1] - shown_B, shown_B), shown_B


def holdout_batches(
    train_space: GrowthPanel,
    panel: Panel,
    horizon: int,
    *,
    batch_size: int,
    window: int,
    max_target: float = MAX_TARGET,
    scale_weight: float = 0.0,
) -> tuple[Batch, ...]:
    """Return validation batches: one origin per series, the last step of its cut history.

    Args:
        train_space: Growth space of the panel without the held-out steps.
        panel: The same series, in the same order, with the held-out steps.
        horizon: Steps ahead; targets beyond the held-out steps have weight 0.
        batch_size: Series per batch.
        window: Longest stretch of a series that is shown.
        max_target: Targets beyond this many scales are clipped.
        scale_weight: As in training.

    Returns:
        Batches of series of similar length. Held-out values are carried into the space as the cut
        history defines it, its seasonal part continued; those out of its reach (0 or less under a
        log) become the lowest target. A series in which nothing moved before the cut has no origin.

    Raises:
        UsageError: The series of ``panel`` are not those of ``train_space``.
    """
    if not np.array_equal(train_space.ids_N, panel.ids_N):
        raise UsageError(
            "HOLDOUT_SERIES",
            f"panel must hold the {train_space.n_series} series of train_space in their order, "
            f"found {len(panel.ids_N)} others; cut the panel without dropping series.",
        )
    target_NH = _holdout_targets(train_space, panel, horizon, max_target)
    last_N = train_space.starts_N1[1:] - 1
    order_N = np.argsort(np.minimum(train_space.lengths_N, window), kind="stable")
    batches = []
    for first in range(0, len(order_N), batch_size):
        series_B = order_N[first : first + batch_size]
        features_BTF, shown_B = last_windows(train_space, window, series_B)
        target_BH = target_NH[series_B]
        usable_B = (train_space.scale_S[last_N[series_B]] > 0) & ~np.isnan(target_BH).all(axis=1)
        origins_BT = np.arange(features_BTF.shape[1]) == shown_B[:, None] - 1
        origins_BT &= usable_B[:, None]
        if usable_B.any():
            targets_RH, weights_RH = _masked(target_BH[usable_B])
            _weight_origins(weights_RH, features_BTF, origins_BT, scale_weight)
            batches.append(Batch(features_BTF, shown_B, origins_BT, targets_RH, weights_RH))
    return tuple(batches)


def _last_origins(space: GrowthPanel, warm_up: int) -> IntArray:
    """Return the last step of each series that is an origin, counted in the series; -1 for none."""
    step_S = np.arange(len(space.z_S)) - np.repeat(space.starts_N1[:-1], space.lengths_N)
    origin_S = (space.scale_S > 0) & (step_S >= warm_up)
    origin_S[space.starts_N1[1:] - 1] = False
    step_S[~origin_S] = -1
    return np.asarray(np.maximum.reduceat(step_S, space.starts_N1[:-1]))


def _gather_features(
    space: GrowthPanel, first_B: IntArray, shown_B: IntArray
) -> NDArray[np.float32]:
    """Cut stretches out of the flat features, 0 to the right of their ends."""
    column_T = np.arange(shown_B.max())
    inside_BT = column_T < shown_B[:, None]
    features_BTF = space.features_SF[np.where(inside_BT, first_B[:, None] + column_T, 0)]
    features_BTF[~inside_BT] = 0.0
    return features_BTF


def _targets(
    space: GrowthPanel,
    series_B: IntArray,
    first_B: IntArray,
    origins_BT: BoolArray,
    horizon: int,
    max_target: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return targets and weights of every origin of a batch."""
    steps = origins_BT.shape[1]
    flat_BW = first_B[:, None] + np.arange(steps + horizon)
    known_BW = flat_BW < space.starts_N1[series_B + 1, None]
    z_BW = np.where(known_BW, space.z_S[np.where(known_BW, flat_BW, 0)], np.nan)
    future_BTH = np.lib.stride_tricks.sliding_window_view(z_BW[:, 1:], horizon, axis=1)
    flat_R = flat_BW[:, :steps][origins_BT]
    target_RH = future_BTH[origins_BT]
    target_RH -= space.anchor_S[flat_R, None]
    target_RH /= space.scale_S[flat_R, None]
    return _masked(np.clip(target_RH, -max_target, max_target, out=target_RH))


def _weight_origins(
    weights_RH: NDArray[np.float32],
    features_BTF: NDArray[np.float32],
    origins_BT: BoolArray,
    power: float,
) -> None:
    """Multiply the weights of every origin by a power of its relative scale, in place."""
    if power:
        weights_RH *= relative_scale(features_BTF[origins_BT])[:, None] ** np.float32(power)


def _masked(target_RH: FloatArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn targets with NaN for the unknown future into float32 targets and weights."""
    targets_RH = target_RH.astype(np.float32)
    known_RH = ~np.isnan(targets_RH)
    targets_RH[~known_RH] = 0.0
    return targets_RH, known_RH.astype(np.float32)


def _holdout_targets(
    train_space: GrowthPanel, panel: Panel, horizon: int, max_target: float
) -> FloatArray:
    """Return the held-out values of every series as targets of its last step, NaN if unknown."""
    last_N = train_space.starts_N1[1:] - 1
    held_out_N = np.minimum(np.diff(panel.starts_N1) - train_space.lengths_N, horizon)
    step_H = np.arange(horizon)
    known_NH = step_H < held_out_N[:, None]
    first_N1 = (panel.starts_N1[:-1] + train_space.lengths_N)[:, None]
    y_S = panel.y_S[(first_N1 + step_H)[known_NH]]
    z_NH = np.full(known_NH.shape, np.nan)
    z_NH[known_NH] = to_level(train_space.transform, y_S, known_NH.sum(axis=1))
    z_NH -= future(train_space.seasonality, horizon)
    scale_N = train_space.scale_S[last_N]
    z_NH = (z_NH - train_space.anchor_S[last_N, None]) / np.where(scale_N > 0, scale_N, 1)[:, None]
    return np.clip(z_NH, -max_target, max_target)
