"""Growth space: what the network sees of a series, and the way back.

Contract: with z the level of a series (:mod:`explstm.scaling`) without its seasonal part
(:mod:`explstm.seasonality`), every step t has the scale σ_t and the features of
:mod:`explstm.features`, and the target (z_{t+k} - z_t) / σ_t, a constant times k for steady growth.

Everything at t is a function of y_1..y_t, except what is fitted on the whole panel given: the
seasonal indices, the choice made by ``"auto"``, the unit of asinh and of the classic scalings.
Callers therefore cut the panel first. σ is 0 where nothing has moved yet; the forecast is then the
last value. :func:`continue_growth_space` carries further steps into a space whose past is gone but
for its last step, with what was fitted there.

Classic scalings answer the same questions: standard, minmax and robust have anchor 0 and scale 1
(targets are scaled levels), difference has anchor z_t and scale 1.

Axes: N series in a panel, S steps of all series laid end to end, M series picked, F features,
H horizon, Q quantiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explstm.features import (
    DRIFT_UNIT,
    FEATURE_BOUND,
    FEATURES,
    N_FEATURES,
    SCALE_DECAY,
    SCALE_FLOOR,
    SIGNED_FEATURES,
    SMOOTHINGS,
    Running,
    compute_features,
    relative_scale,
    show_levels,
)
from explstm.frame import Panel
from explstm.ragged import FloatArray, IntArray
from explstm.scaling import (
    SCALED_LEVELS,
    OverflowRule,
    Transform,
    fit_transform,
    from_level,
    to_level,
)
from explstm.seasonality import Seasonality, carry_on, future, past, remove_seasonality

__all__ = [
    "DRIFT_UNIT",
    "FEATURES",
    "FEATURE_BOUND",
    "N_FEATURES",
    "SCALE_DECAY",
    "SCALE_FLOOR",
    "SIGNED_FEATURES",
    "SMOOTHINGS",
    "GrowthPanel",
    "continue_growth_space",
    "from_growth_space",
    "put_last",
    "relative_scale",
    "show_levels",
    "take_last",
    "to_growth_space",
]


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
        running: What the features of later steps are computed from.
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
    running: Running

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
    seasonality: Seasonality | None = None,
    n_features: int = N_FEATURES,
) -> GrowthPanel:
    """Carry a panel, already cut at the last step that may be used, into growth space.

    Args:
        panel: The series; every value finite.
        growth: ``"auto"``, or one of ``scaling.GROWTH_NAMES`` for all series.
        season_length: One season length or several, in steps; 1 for none.
        transform: Curves fitted before, on histories that these continue; by default they are
            fitted on the panel as ``growth`` says.
        seasonality: Seasonal indices fitted before and carried on to the end of these histories
            (:func:`explstm.seasonality.carry_on`); by default they are fitted on the panel.
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
    if seasonality is None:
        seasonality, z_S = remove_seasonality(raw_S, starts_N1, season_length)
    else:
        z_S = raw_S - past(seasonality, starts_N1)
    scale_S, features_SF, running = compute_features(z_S, raw_S, starts_N1, transform, n_features)
    anchor_S = _anchor(z_S, transform)
    return GrowthPanel(
        panel.ids_N, starts_N1, z_S, anchor_S, scale_S, features_SF, transform, seasonality,
        reasons_N, running,
    )  # fmt: skip


def continue_growth_space(before: GrowthPanel, starts_N1: IntArray, y_S: FloatArray) -> GrowthPanel:
    """Carry steps that follow a space into it, at a cost that does not depend on its past.

    Args:
        before: The space up to these steps, or its last step (:func:`take_last`). Its curves and
            its seasonal indices are kept.
        starts_N1: First of the new steps of each series, at least one each, and the total.
        y_S: New values in data units, laid end to end, within the reach of the curves.

    Returns:
        The space of the new steps alone.
    """
    lengths_N = np.diff(starts_N1)
    seasonality = carry_on(before.seasonality, lengths_N)
    raw_S = to_level(before.transform, y_S, lengths_N)
    z_S = raw_S - past(seasonality, starts_N1)
    scale_S, features_SF, running = compute_features(
        z_S, raw_S, starts_N1, before.transform, before.features_SF.shape[1], before.running
    )
    anchor_S = _anchor(z_S, before.transform)
    return GrowthPanel(
        before.ids_N, starts_N1, z_S, anchor_S, scale_S, features_SF, before.transform, seasonality,
        before.reasons_N, running,
    )  # fmt: skip


def take_last(space: GrowthPanel, series_M: IntArray) -> GrowthPanel:
    """Some series of a space by their last step alone, copied: enough to continue them."""
    last_M = space.starts_N1[1:][series_M] - 1
    return GrowthPanel(
        space.ids_N[series_M],
        np.arange(len(series_M) + 1),
        space.z_S[last_M],
        space.anchor_S[last_M],
        space.scale_S[last_M],
        space.features_SF[last_M],
        space.transform.take(series_M),
        space.seasonality.take(series_M),
        space.reasons_N[series_M],
        space.running.take(series_M),
    )


def put_last(space: GrowthPanel, series_M: IntArray, later: GrowthPanel) -> None:
    """Put the last step of some series, continued, into a space of last steps, in place."""
    space.z_S[series_M] = later.z_S
    space.anchor_S[series_M] = later.anchor_S
    space.scale_S[series_M] = later.scale_S
    space.features_SF[series_M] = later.features_SF
    space.seasonality.put(series_M, later.seasonality)
    space.running.put(series_M, later.running)


def _anchor(z_S: FloatArray, transform: Transform) -> FloatArray:
    levels_N = transform.is_curve_N(*SCALED_LEVELS)
    return np.zeros_like(z_S) if levels_N.any() else z_S  # classic scalings hold for all series


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
