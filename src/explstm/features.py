"""What the network sees at every step of a series, computed from running sums.

Contract: with z the level of a series (:mod:`explstm.scaling`) without its seasonal part
(:mod:`explstm.seasonality`), and Δ_t = z_t - z_{t-1}, every step t has

* a causal scale  σ_t = Σ λ^(t-i) |Δ_i| / Σ λ^(t-i),  i = 2..t,  λ = ``SCALE_DECAY``;
* the features of ``FEATURES``, dimensionless and clipped to ± ``FEATURE_BOUND``:
  Δ_t / σ_t;  w_α (z_t - ES_α(z)_t) / σ_t for each α of ``SMOOTHINGS``, where ES is simple
  exponential smoothing started at z_1;  the mean change so far, (z_t - z_1) / (t - 1) / σ_t, times
  ``DRIFT_UNIT``;  log σ_t and log t, centred and scaled to order 1.

The weight w_α = √(α(2 - α)) / (1 - α) gives z - ES the spread of Δ when z is a random walk. Under
the linear curve log σ_t is taken relative to the weighted mean magnitude of the series, so that it
means the same under every curve: the typical change in parts of the level.

Everything at t is a function of z_1..z_t, and of z_1..z_{t-1} through :class:`Running` alone, so
that a series is read on without its past. σ is 0, and so are all features but the age, where
nothing has moved yet. Under the classic scalings standard, minmax and robust the first feature is
z_t, under difference Δ_t; σ is 1 and the log σ feature 0.

Source: Hyndman, Koehler, Ord & Snyder (2008), ch. 2 (exponential smoothing).

Axes: N series in a panel, S steps of all series laid end to end, B series in a block, M series
picked, T time, F features, C running sums.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explstm.ragged import BoolArray, FloatArray, IntArray, block_cells, length_blocks
from explstm.scaling import SCALED_LEVELS, Transform

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
class Running:
    """What the features of the steps after these are computed from, whatever their number.

    Attributes:
        age_N: Steps so far.
        first_N: Level of the first step.
        last_N: Level of the last step.
        sums_NC: Decaying sums of the changes' magnitudes, of the levels' magnitudes and, for each
            smoothing that the network sees, z - ES times its weight.
    """

    age_N: IntArray
    first_N: FloatArray
    last_N: FloatArray
    sums_NC: FloatArray

    def take(self, series_M: IntArray) -> "Running":
        """Those of some series, copied."""
        return Running(
            self.age_N[series_M],
            self.first_N[series_M],
            self.last_N[series_M],
            self.sums_NC[series_M],
        )

    def put(self, series_M: IntArray, later: "Running") -> None:
        """Set those of some series, in place."""
        self.age_N[series_M] = later.age_N
        self.last_N[series_M] = later.last_N
        self.sums_NC[series_M] = later.sums_NC


def compute_features(
    z_S: FloatArray,
    raw_S: FloatArray,
    starts_N1: IntArray,
    transform: Transform,
    n_features: int,
    before: Running | None = None,
) -> tuple[FloatArray, NDArray[np.float32], Running]:
    """Compute the scale and the features at every step.

    Args:
        z_S: Levels without a seasonal part.
        raw_S: Levels with it.
        starts_N1: First step of each series, and the total.
        transform: The curve of each series.
        n_features: How many of ``FEATURES`` the network sees, the first ones.
        before: What was left of the steps that these follow; None where they are the first.

    Returns:
        The scale ``(S,)``, the features ``(S, F)``, and what is left for the steps after.
    """
    ends_N = starts_N1[1:] - 1
    lengths_N = np.diff(starts_N1)
    running = Running(
        lengths_N if before is None else before.age_N + lengths_N,
        z_S[starts_N1[:-1]] if before is None else before.first_N,
        z_S[ends_N],
        np.empty((len(ends_N), 2 + len(_smoothings(n_features)))),
    )
    scale_S = np.empty_like(z_S)
    features_SF = np.empty((len(z_S), n_features), dtype=np.float32)
    for block_B in length_blocks(starts_N1):
        index_BT, inside_BT = block_cells(starts_N1, block_B)
        # Past its end a series repeats its last step: no change, and nothing to overflow.
        scale_TB, features_BTF, running.sums_NC[block_B] = _block_features(
            z_S[index_BT.T],
            np.abs(raw_S[index_BT.T]),
            lengths_N[block_B] - 1,
            _Kind.of(transform, block_B),
            n_features,
            None if before is None else before.take(block_B),
        )
        cells = index_BT[inside_BT]
        scale_S[cells] = scale_TB.T[inside_BT]
        features_SF[cells] = features_BTF[inside_BT]
    return scale_S, features_SF, running


def show_levels(z_NT: FloatArray, n_features: int) -> tuple[FloatArray, NDArray[np.float32]]:
    """Return the scale ``(N, T)`` and the features ``(N, T, F)`` of series of equal length.

    Args:
        z_NT: Levels of the log curve without a seasonal part.
        n_features: How many of ``FEATURES`` the network sees, the first ones.
    """
    no_N = np.zeros(len(z_NT), dtype=bool)
    z_TN = np.ascontiguousarray(z_NT.T)
    kind = _Kind(no_N, no_N, no_N, no_N)
    last_N = np.full(len(z_NT), len(z_TN) - 1)
    scale_TN, features_NTF, _ = _block_features(z_TN, np.abs(z_TN), last_N, kind, n_features)
    return scale_TN.T, features_NTF


def relative_scale(features_SF: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale that features tell of, in parts of the level and relative to a usual one.

    It means the same under every curve; under the classic scalings, which have none, it is 1.
    """
    return np.exp(features_SF[..., _LOG_SCALE_FEATURE] * np.float32(_LOG_SCALE[1]))


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
    z_TB: FloatArray,
    magnitude_TB: FloatArray,
    last_B: IntArray,
    kind: _Kind,
    n_features: int,
    before: Running | None = None,
) -> tuple[FloatArray, NDArray[np.float32], FloatArray]:
    """Return the scale and the features of a left-aligned block, and the sums at its last steps."""
    steps, n_series = z_TB.shape
    smoothings = _smoothings(n_features)
    growth_TB = np.diff(z_TB, axis=0, prepend=(z_TB[0] if before is None else before.last_N)[None])
    sums_TCB = np.empty((steps, 2 + len(smoothings), n_series))
    sums_TCB[:, 0] = np.abs(growth_TB)
    sums_TCB[:, 1] = magnitude_TB
    # z - ES obeys d_t = (1 - α)(d_{t-1} + Δ_t): summing changes costs no digits of a high level.
    for place, alpha in enumerate(smoothings):
        np.multiply(growth_TB, np.sqrt(alpha * (2.0 - alpha)), out=sums_TCB[:, 2 + place])
    decay_C1 = np.array([SCALE_DECAY, SCALE_DECAY, *(1.0 - a for a in smoothings)])[:, None]
    if before is not None:
        sums_TCB[0] += decay_C1 * before.sums_NC.T
    room_CB, before_CB = np.empty_like(sums_TCB[0]), sums_TCB[0]
    for sums_CB in sums_TCB[1:]:  # few series: the calls are what a step costs
        sums_CB += np.multiply(before_CB, decay_C1, out=room_CB)
        before_CB = sums_CB

    age_T1 = np.arange(1.0, steps + 1)[:, None]  # of all series, or (T, B) where they are older
    if before is not None:
        age_T1 = age_T1 + before.age_N
    changes_T1 = np.maximum(age_T1 - 1.0, 1.0)
    scale_TB = sums_TCB[:, 0] / _decay_weights(changes_T1)
    level_TB = sums_TCB[:, 1] / _decay_weights(age_T1)
    relative_to_TB = np.where(kind.relative_B & (level_TB > 0), level_TB, 1.0)
    floor_TB = SCALE_FLOOR * np.maximum(level_TB, np.where(kind.relative_B, 0.0, 1.0))
    scale_TB[scale_TB <= floor_TB] = 0.0
    scale_TB[:, kind.unscaled_B] = 1.0
    scale_TB[:, kind.flat_B] = 0.0

    moving_TB = scale_TB > 0
    safe_TB = np.where(moving_TB, scale_TB, 1.0)
    shown_TB = np.where(kind.levels_B, z_TB, growth_TB)
    log_scale_TB = np.log(safe_TB) - np.log(relative_to_TB)
    log_scale_TB = (log_scale_TB - _LOG_SCALE[0]) / _LOG_SCALE[1]
    log_age_T1 = (np.log(age_T1) - _LOG_AGE[0]) / _LOG_AGE[1]

    features_BTF = np.zeros((n_series, steps, n_features), dtype=np.float32)
    features_TBF = features_BTF.swapaxes(0, 1)
    features_TBF[..., FEATURES.index("growth")] = _in_units(shown_TB, safe_TB)
    for place, alpha in enumerate(smoothings):
        column = FEATURES.index(f"smooth_{alpha:g}")
        features_TBF[..., column] = _in_units(sums_TCB[:, 2 + place], safe_TB)
    features_TBF[..., _LOG_SCALE_FEATURE] = np.where(kind.unscaled_B, 0.0, _bounded(log_scale_TB))
    if "drift" in FEATURES[:n_features]:
        drift_TB = (z_TB - (z_TB[0] if before is None else before.first_N)) / changes_T1
        features_TBF[..., FEATURES.index("drift")] = _in_units(DRIFT_UNIT * drift_TB, safe_TB)
    features_TBF[~moving_TB] = 0.0
    features_TBF[..., _LOG_AGE_FEATURE] = _bounded(log_age_T1)
    return scale_TB, features_BTF, sums_TCB[last_B, :, np.arange(n_series)]


def _smoothings(n_features: int) -> list[float]:
    """Return the smoothing constants that a network with so many features sees."""
    return [alpha for alpha in SMOOTHINGS if f"smooth_{alpha:g}" in FEATURES[:n_features]]


def _decay_weights(count_T1: FloatArray) -> FloatArray:
    """Return the sum of the weights 1, λ, λ², … of so many steps."""
    return (1.0 - SCALE_DECAY**count_T1) / (1.0 - SCALE_DECAY)


def _in_units(values: FloatArray, unit: FloatArray) -> FloatArray:
    """Return the quotient, bounded: of a unit near the smallest float64 it may be infinite."""
    with np.errstate(over="ignore"):
        return _bounded(values / unit)


def _bounded(values: FloatArray) -> FloatArray:
    return np.clip(values, -FEATURE_BOUND, FEATURE_BOUND)
