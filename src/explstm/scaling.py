"""From data units to the level z a network can work with, and exactly back.

Contract: every series has one increasing curve ``z = curve((y - centre) / unit)``, chosen and
fitted on the panel given, so callers cut the panel before they fit. All arithmetic is float64 and
the inverse returns to y within 1e-9 relative. The curves:

    log         log y                      positive series; steady growth is a straight line
    asinh       asinh(y / c)               any sign: logarithmic far from 0, linear near 0;
                                           c is the lower quartile of the magnitudes above 0
    linear      y                          any sign, changes that do not grow with the level
    difference  (y - y_1) / rms of Δy      classic: as linear, in units of a typical change
    standard    (y - mean) / deviation     classic
    minmax      (y - min) / (max - min)    classic
    robust      (y - median) / (distance of the quartiles)

A series without spread keeps unit 0: its z is 0, and every z leads back to its one value.

Axes: N series in a panel, M series picked, S steps of all series laid end to end, H horizon,
Q quantiles.
"""

import difflib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from explstm.errors import DataError, UsageError
from explstm.frame import Panel
from explstm.parsing import quote
from explstm.ragged import FloatArray, IntArray, reduce_series, sorted_quantiles

GrowthName = Literal["auto", "log", "asinh", "linear", "standard", "minmax", "robust", "difference"]
OverflowRule = Literal["error", "cap"]

GROWTH_NAMES: tuple[str, ...] = get_args(GrowthName)
SCALED_LEVELS = ("standard", "minmax", "robust")  # the network sees the level itself
SPAN_FOR_ASINH = 100.0  # largest magnitude over the lower quartile: two orders
LARGEST = 1e150  # squares and sums of magnitudes up to this stay finite in float64

_Curve = Callable[[FloatArray], FloatArray]
_CURVES: dict[str, tuple[_Curve, _Curve]] = {
    "log": (np.log, np.exp),
    "asinh": (np.arcsinh, np.sinh),
}


@dataclass(frozen=True)
class Transform:
    """The curve of every series: ``z = curve((y - centre) / unit)``.

    Attributes:
        names_N: Name of each series' curve, one of ``GROWTH_NAMES`` without ``"auto"``.
        centre_N: What is subtracted, in the unit of the data.
        unit_N: What is divided by, in the unit of the data; 0 for a series without spread.
    """

    names_N: NDArray[np.str_]
    centre_N: FloatArray
    unit_N: FloatArray

    def is_curve_N(self, *names: str) -> NDArray[np.bool_]:
        """Tell which series have one of the named curves."""
        return np.isin(self.names_N, names)

    def take(self, series_M: IntArray) -> "Transform":
        """The curves of some series, copied."""
        return Transform(self.names_N[series_M], self.centre_N[series_M], self.unit_N[series_M])

    def carries_S(self, y_S: FloatArray, lengths_N: IntArray) -> NDArray[np.bool_]:
        """Tell which values, of all series laid end to end, their curve can carry."""
        log_S = np.repeat(self.is_curve_N("log"), lengths_N)
        return np.where(log_S, _is_carried(y_S, "log"), _is_carried(y_S, "linear"))


def fit_transform(panel: Panel, growth: str = "auto") -> tuple[Transform, NDArray[Any]]:
    """Choose and fit the curve of every series.

    Args:
        panel: The series, already cut at the last step that may be used.
        growth: A curve for all series, or ``"auto"``: log where every value is positive, else
            asinh where the magnitudes span two orders, else linear.

    Returns:
        The fitted transform and, for each series, why it has its curve.

    Raises:
        UsageError: ``growth`` is not a known name.
        DataError: ``"log"`` was asked for and a value is not positive, or values are too large.
    """
    if growth not in GROWTH_NAMES:
        near = difflib.get_close_matches(str(growth), GROWTH_NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(GROWTH_NAMES)}."
        raise UsageError("GROWTH_UNKNOWN", f"growth={growth!r} is not a transform; {hint}")
    n_series = len(panel.ids_N)
    if growth == "auto":
        names_N, reasons_N = _choose_curves(panel)
    else:
        names_N = np.full(n_series, growth, dtype="<U10")
        reasons_N = np.full(n_series, f"{growth}: asked for", dtype=object)
    centre_N, unit_N = np.zeros(n_series), np.ones(n_series)
    for name in np.unique(names_N):
        chosen_N = names_N == name
        _check_values(panel, chosen_N, str(name))
        centre_N[chosen_N], unit_N[chosen_N] = _fit_curve(panel, chosen_N, str(name))
    return Transform(names_N, centre_N, unit_N), reasons_N


def to_level(transform: Transform, y_S: FloatArray, lengths_N: IntArray) -> FloatArray:
    """Carry values of every series, laid end to end, to z.

    A value out of a curve's reach (log of 0 or less) becomes minus infinity.
    """
    unit_N = np.where(transform.unit_N > 0, transform.unit_N, 1.0)
    trivial = not transform.centre_N.any() and (unit_N == 1).all()
    z_S = y_S.copy()
    if not trivial:
        with np.errstate(over="ignore"):  # held-out values may be out of any proportion
            z_S -= np.repeat(transform.centre_N, lengths_N)
            z_S /= np.repeat(unit_N, lengths_N)
    for name, (curve, _) in _CURVES.items():
        chosen_N = transform.is_curve_N(name)
        if chosen_N.any():
            chosen_S = True if chosen_N.all() else np.repeat(chosen_N, lengths_N)
            if name == "log":
                z_S[chosen_S & (z_S <= 0)] = -np.inf
            curve(z_S, out=z_S, where=chosen_S & np.isfinite(z_S))  # type: ignore[call-arg]
    return z_S


def from_level(
    transform: Transform,
    z_NHQ: FloatArray,
    ids_N: NDArray[Any],
    *,
    overflow: OverflowRule = "error",
) -> FloatArray:
    """Carry levels of every series back to the unit of the data.

    Args:
        transform: The fitted curves.
        z_NHQ: Levels; the first axis is the series, the second the step, others are free.
        ids_N: Names of the series, for messages.
        overflow: ``"error"`` refuses a value too large for float64; ``"cap"`` puts the largest
            float64 in its place and warns.

    Raises:
        DataError: A value is too large for float64 and ``overflow`` is ``"error"``.
    """
    shape = (-1,) + (1,) * (z_NHQ.ndim - 1)
    y_NHQ = np.array(z_NHQ, dtype=np.float64)
    with np.errstate(over="ignore"):  # infinities are looked for below, once
        for name, (_, inverse) in _CURVES.items():
            chosen_N = transform.is_curve_N(name)
            if chosen_N.any():
                inverse(y_NHQ, out=y_NHQ, where=chosen_N.reshape(shape))  # type: ignore[call-arg]
        y_NHQ = y_NHQ * transform.unit_N.reshape(shape) + transform.centre_N.reshape(shape)
    finite_NHQ = np.isfinite(y_NHQ)
    if finite_NHQ.all():
        return y_NHQ
    series, step = (int(place) for place in np.argwhere(~finite_NHQ)[0][:2])
    where = f"the forecast of series {quote(ids_N[series])} at step {step + 1}"
    if overflow == "error" or np.isnan(y_NHQ).any():
        raise DataError(
            "FORECAST_OVERFLOW",
            f"{where} is {y_NHQ[~finite_NHQ][0]}, not a finite 64-bit number; shorten the horizon, "
            "or use growth='linear'.",
        )
    warnings.warn(f"{where} was too large and is capped.", RuntimeWarning, stacklevel=3)
    return np.nan_to_num(y_NHQ)


def _choose_curves(panel: Panel) -> tuple[NDArray[np.str_], NDArray[Any]]:
    """Choose log, asinh or linear for every series, with a phrase saying why."""
    positive_N = reduce_series(np.minimum, panel.y_S, panel.starts_N1) > 0
    names_N = np.full(len(positive_N), "log", dtype="<U10")
    reasons_N = np.full(len(positive_N), "log: every value is positive", dtype=object)
    if not positive_N.all():
        quartile_N = _lower_quartile(panel.y_S, panel.starts_N1)
        largest_N = reduce_series(np.maximum, np.abs(panel.y_S), panel.starts_N1)
        spans_N = ~positive_N & (largest_N / SPAN_FOR_ASINH > quartile_N)
        steady_N = ~positive_N & ~spans_N
        names_N[spans_N], names_N[steady_N] = "asinh", "linear"
        reasons_N[spans_N] = "asinh: not every value is positive, and magnitudes span two orders"
        reasons_N[steady_N] = "linear: not every value is positive, and magnitudes are alike"
    return names_N, reasons_N


def _check_values(panel: Panel, chosen_N: NDArray[np.bool_], name: str) -> None:
    """Refuse values the named curve cannot carry."""
    chosen_S: Any = True if chosen_N.all() else np.repeat(chosen_N, np.diff(panel.starts_N1))
    bad_S = chosen_S & ~_is_carried(panel.y_S, name)
    if name == "log":
        rule, remedy = "growth='log' needs values above 0", "use growth='auto'"
    else:
        rule = f"growth={name!r} needs magnitudes up to {LARGEST:g}"
        remedy = "divide the series by a constant"
    if bad_S.any():
        step = int(np.argmax(bad_S))
        series = int(np.searchsorted(panel.starts_N1, step, side="right")) - 1
        raise DataError(
            "GROWTH_VALUE",
            f"{rule}, but series {quote(panel.ids_N[series])} has {panel.y_S[step]:g} at step "
            f"{step - int(panel.starts_N1[series]) + 1}; {remedy}.",
        )


def _is_carried(y_S: FloatArray, name: str) -> NDArray[np.bool_]:
    """Tell which values the named curve can carry."""
    return y_S > 0 if name == "log" else np.abs(y_S) <= LARGEST


def _fit_curve(
    panel: Panel, chosen_N: NDArray[np.bool_], name: str
) -> tuple[FloatArray | float, FloatArray | float]:
    """Return centre and unit of the chosen series under the named curve."""
    if name in ("log", "linear"):
        return 0.0, 1.0
    lengths_N = np.diff(panel.starts_N1)
    y_S = panel.y_S if chosen_N.all() else panel.y_S[np.repeat(chosen_N, lengths_N)]
    starts_N1 = np.concatenate(([0], np.cumsum(lengths_N[chosen_N])))
    if name == "asinh":
        largest_N = reduce_series(np.maximum, np.abs(y_S), starts_N1)
        quartile_N = np.maximum(_lower_quartile(y_S, starts_N1), largest_N / LARGEST)
        return 0.0, np.where(quartile_N > 0, quartile_N, 1.0)  # all zeros: any unit will do
    if name == "difference":
        return y_S[starts_N1[:-1]], _size_of_changes(y_S, starts_N1)
    if name == "robust":
        low_N, median_N, high_N = sorted_quantiles(y_S, starts_N1, (0.25, 0.5, 0.75))
        spread_N = high_N - low_N
        # More than half of the values equal: quartiles say nothing, the deviation still does.
        return median_N, np.where(spread_N > 0, spread_N, _mean_and_deviation(y_S, starts_N1)[1])
    if name == "minmax":
        low_N = reduce_series(np.minimum, y_S, starts_N1)
        return low_N, reduce_series(np.maximum, y_S, starts_N1) - low_N
    return _mean_and_deviation(y_S, starts_N1)


def _lower_quartile(y_S: FloatArray, starts_N1: IntArray) -> FloatArray:
    """Return the lower quartile of the magnitudes above 0; 0 for a series of zeros."""
    magnitude_S = np.abs(y_S)
    return sorted_quantiles(np.where(magnitude_S > 0, magnitude_S, np.nan), starts_N1, (0.25,))[0]


def _mean_and_deviation(y_S: FloatArray, starts_N1: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation; deviation exactly 0 where all values are equal."""
    lengths_N = np.diff(starts_N1)
    first_N = y_S[starts_N1[:-1]]  # as an origin: a constant series then has deviation exactly 0
    shifted_S = y_S - np.repeat(first_N, lengths_N)
    mean_N = reduce_series(np.add, shifted_S, starts_N1) / lengths_N
    shifted_S -= np.repeat(mean_N, lengths_N)
    return first_N + mean_N, _root_mean_square(shifted_S, starts_N1, lengths_N)


def _size_of_changes(y_S: FloatArray, starts_N1: IntArray) -> FloatArray:
    """Return the root mean square of the changes; 0 where there are none."""
    changes_S = np.diff(y_S, prepend=y_S[0])
    changes_S[starts_N1[:-1]] = 0.0
    return _root_mean_square(changes_S, starts_N1, np.maximum(np.diff(starts_N1) - 1, 1))


def _root_mean_square(values_S: FloatArray, starts_N1: IntArray, counts_N: IntArray) -> FloatArray:
    """Return the root of the sum of squares over ``counts_N``, whatever the magnitudes."""
    peak_N = reduce_series(np.maximum, np.abs(values_S), starts_N1)
    parts_S = values_S / np.repeat(np.where(peak_N > 0, peak_N, 1.0), np.diff(starts_N1))
    return peak_N * np.sqrt(reduce_series(np.add, parts_S**2, starts_N1) / counts_N)
