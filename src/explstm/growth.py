"""Growth space: what the network sees of a series, and the way back.

Contract: with z the level of a series (:mod:`explstm.scaling`) without its seasonal part
(:mod:`explstm.seasonality`), and Δ_t = z_t - z_{t-1}, every step t has

* a causal scale  σ_t = Σ λ^(t-i) |Δ_i| / Σ λ^(t-i),  i = 2..t,  λ = ``SCALE_DECAY``;
* the features of ``FEATURES``, dimensionless and clipped to ± ``FEATURE_BOUND``:
  Δ_t / σ_t;  w_α (z_t - ES_α(z)_t) / σ_t for each α of ``SMOOTHINGS``, where ES is simple
  exponential smoothing started at z_1;  the mean change so far, (z_t - z_1) / (t - 1) / σ_t, times
  ``DRIFT_UNIT``;  log σ_t and log t, centred and scaled to order 1;
* the target (z_{t+k} - z_t) / σ_t, a constant times k for steady growth.

The weight w_α = √(α(2 - α)) / (1 - α) gives z - ES the spread of Δ when z is a random walk. Under
the linear curve log σ_t is taken relative to the weighted mean magnitude of the series, so that it
means the same under every curve: the typical change in parts of the level.

Everything at t is a function of y_1..y_t, except what is fitted on the whole panel given: the
seasonal indices, the choice made by ``"auto"``, the unit of asinh and of the classic scalings.
Callers therefore cut the panel first. σ is 0, and so are all features but the age, where nothing
has moved yet; the forecast is then the last value.

Classic scalings answer the same questions: standard, minmax and robust have anchor 0 and scale 1
(targets are scaled levels), difference has anchor z_t and scale 1; their first feature is z_t, or
Δ_t for difference, the smoothed ones use σ = 1, and the log σ feature is 0.

Source: Hyndman, Koehler, Ord & Snyder (2008), ch. 2 (exponential smoothing).

Axes: N series in a panel, S steps of all series laid end to end, B series in a block, T time,
F features, C recurrences, H horizon, Q quantiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explstm.frame import Panel
from explstm.ragged import BoolArray, FloatArray, IntArray, block_cells, length_blocks
from explstm.scaling import (
    SCALED_LEVELS,
    OverflowRule,
    Transform,
    fit_transform,
    from_level,
    to_level,
)
from explstm.seasonality import Seasonality, future, remove_seasonality

SMOOTHINGS = (0.1, 0.3, 0.6, 0.03)
FEATURES = (
    *("growth", *(f"smooth_{alpha:g}" for alpha in SMOOTHINGS[:3]), "log_scale", "log_age"),
    *(f"smooth_{SMOOTHINGS[3]:g}", "drift"),
)
N_FEATURES = 6  # of a network trained from scratch, which sees the first of them
_LOG_SCALE_FEATURE, _LOG_AGE_FEATURE = FEATURES.index("log_scale"), FEATURES.index("log_age")
SIGNED_FEATURES = np.array([not name.startswith("log_") for name in FEATURES])
"""Which of them change sign with the series."""
FEATURE_BOUND = 10.0
SCALE_DECAY = 0.97
DRIFT_UNIT = 3.0  # steady growth is a 3, and a random walk of ten steps wanders about 1
SCALE_FLOOR = 1e-12  # changes below this part of the level are rounding, not movement

# Centre and spread of a logarithm over usual data: changes of 0.7 to 13 %, 7 to 130 steps.
_LOG_SCALE = (np.log(0.03), 1.5)
_LOG_AGE = (np.log(30.0), 1.5)


@dataclass(frozen=True)
class GrowthPanel:
    """A panel as the network sees it; flat arrays hold all series end to end.

    Attributes:
        ids_N: Names of the series.
        starts_N1: First step of each series, and the total.
        z_S: Level without its seasonal part.
        anchor_S: What a target is counted from: ``(z_{t+k} - anchor_t) / scale_t``.
        scale_S: What a target is measured in; 0 where nothing has moved yet.
        features_SF: What the network sees, in the order of ``FEATURES``, float32.
        transform: The curve of each series between data units and levels.
        seasonality: The seasonal indices of each series.
        reasons_N: Why each series has its curve, one phrase each.
    """

    ids_N: NDArray[Any]
    starts_N1: IntArray
    z_S: FloatArray
    anchor_S: FloatArray
    scale_S: FloatArray
    features_SF: NDArray[np.float32]
    transform: Transform
    seasonality: Seasonality
    reasons_N: NDArray[Any]

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids_N)

    @property
    def lengths_N(self) -> IntArray:
        """Steps of each series."""
        return np.diff(self.starts_N1)


def to_growth_space(
    panel: Panel,
    *,
    growth: str = "auto",
    season_length: int | Sequence[int] = (12,),
    transform: Transform | None = None,
    n_features: int = N_FEATURES,
) -> GrowthPanel:
    """Carry a panel, already cut at the last step that may be used, into growth space.

    Args:
        panel: The series; every value finite.
        growth: ``"auto"``, or one of ``scaling.GROWTH_NAMES`` for all series.
        season_length: One season length or several, in steps; 1 for none.
        transform: Curves fitted before, on histories that these continue; by default they are
            fitted on the panel as ``growth`` says.
        n_features: How many of ``FEATURES`` the network sees, the first ones.

    Raises:
        UsageError: An unknown ``growth``, or a season length that is not a whole number above 0.
        DataError: Values the curve cannot carry, such as ``growth="log"`` with a value of 0.
    """
    starts_N1 = panel.starts_N1
    if transform is None:
        transform, reasons_N = fit_transform(panel, growth)
    else:
        reasons_N = np.full(panel.n_series, "fitted before", dtype=object)
    raw_S = to_level(transform, panel.y_S, np.diff(starts_N1))
    seasonality, z_S = remove_seasonality(raw_S, starts_N1, season_length)
    scale_S = np.empty_like(z_S)
    features_SF = np.empty((len(z_S), n_features), dtype=np.float32)
    for block_B in length_blocks(starts_N1):
        index_BT, inside_BT = block_cells(starts_N1, block_B)
        # Past its end a series repeats its last step: no change, and nothing to overflow.
        scale_TB, features_BTF = _block_features(
            z_S[index_BT.T], np.abs(raw_S[index_BT.T]), _Kind.of(transform, block_B), n_features
        )
        cells = index_BT[inside_BT]
        scale_S[cells] = scale_TB.T[inside_BT]
        features_SF[cells] = features_BTF[inside_BT]
    levels_N = transform.is_curve_N(*SCALED_LEVELS)
    anchor_S = np.zeros_like(z_S) if levels_N.any() else z_S  # classic scalings hold for all series
    return GrowthPanel(
        panel.ids_N, starts_N1, z_S, anchor_S, scale_S, features_SF, transform, seasonality,
        reasons_N,
    )  # fmt: skip


def show_levels(z_NT: FloatArray, n_features: int) -> tuple[FloatArray, NDArray[np.float32]]:
    """Return the scale ``(N, T)`` and the features ``(N, T, F)`` of series of equal length.

    Args:
        z_NT: Levels of the log curve without a seasonal part.
        n_features: How many of ``FEATURES`` the network sees, the first ones.
    """
    no_N = np.zeros(len(z_NT), dtype=bool)
    z_TN = np.ascontiguousarray(z_NT.T)
    kind = _Kind(no_N, no_N, no_N, no_N)
    scale_TN, features_NTF = _block_features(z_TN, np.abs(z_TN), kind, n_features)
    return scale_TN.T, features_NTF


def relative_scale(features_SF: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale that features tell of, in parts of the level and relative to a usual one.

    It means the same under every curve; under the classic scalings, which have none, it is 1.
    """
    return np.exp(features_SF[..., _LOG_SCALE_FEATURE] * np.float32(_LOG_SCALE[1]))


def from_growth_space(
    space: GrowthPanel, output_NHQ: NDArray[Any], *, overflow: OverflowRule = "error"
) -> FloatArray:
    """Carry outputs of the network at the last step of every series back to data units.

    Args:
        space: The space the outputs belong to.
        output_NHQ: Targets as the network forecasts them, one per series, horizon and quantile.
        overflow: ``"error"`` refuses a forecast too large for float64; ``"cap"`` caps it with a
            warning.

    Returns:
        ``y_NHQ`` in the unit of the data, float64. The way back is increasing, so quantiles stay
        quantiles.

    Raises:
        DataError: A forecast is too large for float64 and ``overflow`` is ``"error"``.
    """
    last_N = space.starts_N1[1:] - 1
    horizon = output_NHQ.shape[1]
    z_NHQ = space.scale_S[last_N, None, None] * output_NHQ.astype(np.float64)
    z_NHQ += space.anchor_S[last_N, None, None]
    z_NHQ += future(space.seasonality, horizon)[:, :, None]
    return from_level(space.transform, z_NHQ, space.ids_N, overflow=overflow)


@dataclass(frozen=True)
class _Kind:
    """How the series of a block are measured."""

    relative_B: BoolArray  # σ is taken relative to the magnitude of the series
    levels_B: BoolArray  # the network sees the scaled level itself
    unscaled_B: BoolArray  # σ is 1: a classic scaling
    flat_B: BoolArray  # a classic scaling that found no spread

    @classmethod
    def of(cls, transform: Transform, block_B: IntArray) -> "_Kind":
        unscaled_N = transform.is_curve_N(*SCALED_LEVELS, "difference")
        return cls(
            transform.is_curve_N("linear")[block_B],
            transform.is_curve_N(*SCALED_LEVELS)[block_B],
            unscaled_N[block_B],
            (unscaled_N & (transform.unit_N == 0))[block_B],
        )


def _block_features(
    z_TB: FloatArray, magnitude_TB: FloatArray, kind: _Kind, n_features: int
) -> tuple[FloatArray, NDArray[np.float32]]:
    """Return the scale and the features at every step of one left-aligned block."""
    steps, n_series = z_TB.shape
    smoothings = [a for a in SMOOTHINGS if f"smooth_{a:g}" in FEATURES[:n_features]]
    growth_TB = np.diff(z_TB, axis=0, prepend=z_TB[:1])
    sums_TCB = np.empty((steps, 2 + len(smoothings), n_series))
    sums_TCB[:, 0] = np.abs(growth_TB)
    sums_TCB[:, 1] = magnitude_TB
    # z - ES obeys d_t = (1 - α)(d_{t-1} + Δ_t): summing changes costs no digits of a high level.
    for place, alpha in enumerate(smoothings):
        np.multiply(growth_TB, np.sqrt(alpha * (2.0 - alpha)), out=sums_TCB[:, 2 + place])
    decay_C1 = np.array([SCALE_DECAY, SCALE_DECAY, *(1.0 - a for a in smoothings)])[:, None]
    for step in range(1, steps):
        sums_TCB[step] += decay_C1 * sums_TCB[step - 1]

    weight_T1 = _decay_weights(steps)[:, None]  # of the magnitudes; the changes are one fewer
    change_weight_T1 = np.concatenate(([[1.0]], weight_T1[:-1]))
    scale_TB = sums_TCB[:, 0] / change_weight_T1
    level_TB = sums_TCB[:, 1] / weight_T1
    relative_to_TB = np.where(kind.relative_B & (level_TB > 0), level_TB, 1.0)
    floor_TB = SCALE_FLOOR * np.maximum(level_TB, np.where(kind.relative_B, 0.0, 1.0))
    scale_TB[scale_TB <= floor_TB] = 0.0
    scale_TB[:, kind.unscaled_B] = 1.0
    scale_TB[:, kind.flat_B] = 0.0

    moving_TB = scale_TB > 0
    safe_TB = np.where(moving_TB, scale_TB, 1.0)
    shown_TB = np.where(kind.levels_B, z_TB, growth_TB)
    log_scale_TB = (np.log(safe_TB / relative_to_TB) - _LOG_SCALE[0]) / _LOG_SCALE[1]
    log_age_T1 = (np.log(np.arange(1.0, steps + 1)) - _LOG_AGE[0])[:, None] / _LOG_AGE[1]

    features_BTF = np.zeros((n_series, steps, n_features), dtype=np.float32)
    features_TBF = features_BTF.swapaxes(0, 1)
    features_TBF[..., FEATURES.index("growth")] = _bounded(shown_TB / safe_TB)
    for place, alpha in enumerate(smoothings):
        column = FEATURES.index(f"smooth_{alpha:g}")
        features_TBF[..., column] = _bounded(sums_TCB[:, 2 + place] / safe_TB)
    features_TBF[..., _LOG_SCALE_FEATURE] = np.where(kind.unscaled_B, 0.0, _bounded(log_scale_TB))
    if "drift" in FEATURES[:n_features]:
        drift_TB = np.cumsum(growth_TB, axis=0) / np.maximum(np.arange(steps), 1)[:, None]
        features_TBF[..., FEATURES.index("drift")] = _bounded(DRIFT_UNIT * drift_TB / safe_TB)
    features_TBF[~moving_TB] = 0.0
    features_TBF[..., _LOG_AGE_FEATURE] = _bounded(log_age_T1)
    return scale_TB, features_BTF


def _decay_weights(steps: int) -> FloatArray:
    """Return the sum of the weights 1, λ, λ², … of the first 1, 2, 3, … steps."""
    return (1.0 - SCALE_DECAY ** np.arange(1.0, steps + 1)) / (1.0 - SCALE_DECAY)


def _bounded(values: FloatArray) -> FloatArray:
    return np.clip(values, -FEATURE_BOUND, FEATURE_BOUND)
