"""Central intervals: from levels in per cent to probabilities, quantiles and column names.

Contract: a network gives the quantiles it was trained on; any others are read between them on the
scale of normal scores, where the quantiles of a Gaussian lie on a straight line, so that rising
probabilities give rising quantiles.

Axes: N series, B series in a block, H horizon, Q quantiles of the network, P probabilities wanted.
"""

from collections.abc import Sequence
from numbers import Real
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explstm.ends import name_ends
from explstm.errors import UsageError
from explstm.models.spec import ModelSpec

FloatArray = NDArray[np.float64]


def check_levels(level: Sequence[float] | None, spec: ModelSpec, loss: str) -> list[float]:
    """Return the levels, rising and once each.

    Args:
        level: Coverages in per cent; None for none.
        spec: The network that is asked for them.
        loss: What it was trained by.

    Raises:
        UsageError: A level outside 0 to 100, or a network that knows no quantiles.
    """
    levels = check_coverages(level)
    if levels and (loss != "pinball" or len(spec.quantiles) == 1):
        raise UsageError(
            "LEVEL_WITHOUT_QUANTILES",
            f"level={levels} needs a model trained on quantiles, found loss={loss!r} with "
            f"{len(spec.quantiles)} quantiles; train with loss='pinball'.",
        )
    return levels


def check_coverages(level: Sequence[float] | None) -> list[float]:
    """Return the levels, rising and once each, whatever is to give them.

    Raises:
        UsageError: A level outside 0 to 100.
    """
    levels = [] if level is None else np.asarray(level, dtype=object).tolist()
    if not isinstance(levels, list):
        raise UsageError(
            "LEVEL_RANGE", f"level={level!r} is not a list; pass for example level=[80, 95]."
        )
    for percent in levels:
        if not _is_coverage(percent):
            raise UsageError(
                "LEVEL_RANGE",
                f"level={percent!r} is not a coverage in per cent; pass numbers between 0 and 100.",
            )
    return sorted(set(levels))


def _is_coverage(percent: Any) -> bool:
    is_number = isinstance(percent, Real) and not isinstance(percent, bool)
    return is_number and percent > 0 and to_probabilities([percent])[-1] < 1


def name_columns(y_NHP: FloatArray, alias: str, levels: Sequence[float]) -> dict[str, FloatArray]:
    """Name forecasts in Nixtla's order: point, lower ends from the widest, upper ends to it.

    Args:
        y_NHP: Quantiles at :func:`to_probabilities`.
        alias: Name of the model.
        levels: Rising levels.
    """
    lower = [name_ends(alias, percent)[0] for percent in reversed(levels)]
    upper = [name_ends(alias, percent)[1] for percent in levels]
    quantiles = dict(zip((*lower, alias, *upper), np.moveaxis(y_NHP, 2, 0), strict=True))
    return {name: quantiles[name] for name in (alias, *lower, *upper)}


def read_quantiles(
    output_BHQ: FloatArray, known: Sequence[float], wanted: Sequence[float]
) -> FloatArray:
    """Quantiles at any probabilities, from those a network gives.

    Between two known probabilities the quantile is linear in the normal score of the probability;
    outside, the line through the two outermost is continued.

    Args:
        output_BHQ: Known quantiles, rising along Q.
        known: Their probabilities, rising.
        wanted: Probabilities wanted.

    Returns:
        Quantiles (B, H, P), rising along P where ``wanted`` rises.
    """
    if len(known) == 1:
        return np.repeat(output_BHQ, len(wanted), axis=2)
    score = NormalDist().inv_cdf
    known_Q = np.array([score(p) for p in known])
    wanted_P = np.array([score(p) for p in wanted])
    left_P = np.clip(np.searchsorted(known_Q, wanted_P, side="right") - 1, 0, len(known) - 2)
    share_P = (wanted_P - known_Q[left_P]) / (known_Q[left_P + 1] - known_Q[left_P])
    low_BHP = output_BHQ[:, :, left_P]
    return low_BHP + (output_BHQ[:, :, left_P + 1] - low_BHP) * share_P  # exact where both agree


def to_probabilities(level: Sequence[float]) -> tuple[float, ...]:
    """Rising probabilities of the ends of central intervals, the median between them."""
    tails = sorted((1.0 - percent / 100.0) / 2.0 for percent in set(level))
    return (*tails, 0.5, *(1.0 - tail for tail in reversed(tails)))
