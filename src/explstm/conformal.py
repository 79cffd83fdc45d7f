"""Intervals calibrated on what the model got wrong at earlier cutoffs of the same series.

Contract: a model forecasts the last windows of the histories given, each from its past alone, and
final intervals are made as wide as those of the windows would have had to be
(:mod:`explstm.conformity`), step by step ahead. Nothing after the end of the histories is seen, so
that a backtest that hands out pasts calibrates anew before every cutoff. What is widened:

| method | the interval |
|---|---|
| conformal_quantile | the model's own |
| conformal_error | for models that know none: a typical step up and down, from the last value by
the causal scale of growth space at the cutoff |

Windows of a time series are not exchangeable when it changes, overlapping ones are not independent,
and pooled over series a level holds on average over them, not for each. Where there are too few
scores for a level it is refused. An interval of a higher level is never narrower than that of a
lower one, and positive series keep positive intervals.

Nixtla's ``conformal_error`` takes one width in data units for each series and the plain quantile;
its ``conformal_distribution`` takes quantiles of the forecast plus and minus the same errors.

Source: Romano, Patterson & Candès (2019), Conformalized quantile regression; Lei, G'Sell, Rinaldo,
Tibshirani & Wasserman (2018), Distribution-free predictive inference for regression, section 5.2
(errors in local units).

Axes: N series, G groups of series that share scores (one, or N), W windows, H horizon, L levels.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Protocol, get_args

import numpy as np

from explstm.calendar import default_season_length
from explstm.config import choose
from explstm.conformity import Intervals, read_scores, scores_needed
from explstm.ends import name_ends
from explstm.errors import DataError
from explstm.frame import Panel, as_panel, forecast_frame, take_series
from explstm.growth import to_growth_space
from explstm.intervals import check_coverages, name_columns
from explstm.prediction import check_horizon
from explstm.ragged import BoolArray, FloatArray, IntArray, reduce_series
from explstm.scaling import from_level, to_level
from explstm.windows import CUTOFF, check_windows, cut_windows, forecast_windows, window_frame

Method = Literal["conformal_quantile", "conformal_error"]
METHODS: tuple[str, ...] = get_args(Method)
OWN = "conformal_quantile"
"""The method that widens the model's own intervals."""
INTERVALS = ("model", "conformal")
"""What commands are asked for: the model's own intervals, or calibrated ones."""
ENOUGH_WINDOWS = 8
"""Windows to calibrate on where the levels need no more and the series hold them."""
SHORTEST_PAST = 8
"""Steps of a series before its first window for its scores to count."""


class Model(Protocol):
    """What calibration needs of a model; :class:`explstm.ExpLSTM` has it."""

    alias: str
    backend: str
    season_length: Any
    freq: Any

    def fit(self, df: Any, h: int) -> Any:
        """Train on a panel."""

    def predict(self, df: Any, h: int, level: Sequence[float] | None) -> Any:
        """Forecast a panel."""

    def cross_validation(
        self, df: Any, h: int, n_windows: int, step_size: int, *, level: Any
    ) -> Any:
        """Forecast the last windows of a panel, each from its past."""


@dataclass(frozen=True)
class Calibration:
    """How wide the intervals of some series have to be.

    Attributes:
        method: One of ``METHODS``.
        levels: In per cent, rising.
        factor_LGH: Q, by level, group and step ahead.
        n_scores_GH: How many scores each was read from.
        n_series: Series that gave scores.
        n_windows: Windows of each.
    """

    method: str
    levels: tuple[float, ...]
    factor_LGH: FloatArray
    n_scores_GH: IntArray
    n_series: int
    n_windows: int

    def widen(self, intervals: Intervals) -> Intervals:
        """Put the ends of intervals where the scores ask for them."""
        factor_NHL = np.moveaxis(self.factor_LGH, 0, 2)
        lower_NHL, upper_NHL = intervals.reach(factor_NHL)
        return replace(
            intervals,
            lower_NHL=np.minimum.accumulate(lower_NHL, axis=2),
            upper_NHL=np.maximum.accumulate(upper_NHL, axis=2),
        )


@dataclass(frozen=True)
class ConformalForecaster:
    """A model whose intervals are calibrated on its own last windows.

    It forecasts wherever a model does: ``predict`` calibrates on the histories given, and
    ``cross_validation`` so before every cutoff. A model that trains does it once more for each
    calibration, on what comes before the windows that it is calibrated on.

    Attributes:
        model: The model.
        method: One of ``METHODS``.
        n_windows: Windows to calibrate on; by default as many, up to eight, as give the most
            scores, or as the highest level needs.
        step_size: Steps from one to the next.
        pooled: Whether the series of a panel share their scores. Otherwise each needs as many
            windows as the level needs scores: 19 for 95 %.

    Example:
        >>> from explstm import ExpLSTM
        >>> from explstm.conformal import ConformalForecaster
        >>> from explstm.datasets import load_air_passengers
        >>> ConformalForecaster(ExpLSTM()).predict(load_air_passengers(), h=12, level=[80]).shape
        (12, 5)
    """

    model: Model
    method: str = "conformal_quantile"
    n_windows: int | None = None
    step_size: int = 1
    pooled: bool = True

    @property
    def alias(self) -> str:
        """Name of the forecast column."""
        return self.model.alias

    def fit(self, df: Any, h: int) -> "ConformalForecaster":
        """Train the model; what is learnt for the intervals is learnt in ``predict``."""
        self.model.fit(df, h=h)
        return self

    def predict(self, df: Any, h: int, level: Sequence[float] | None = None, **columns: Any) -> Any:
        """Forecast the steps after the end of every series.

        Args:
            df: Histories, as a table or a panel.
            h: Horizon.
            level: Central intervals wanted, in per cent.
            **columns: How to read a table, see :func:`explstm.frame.build_panel`.

        Returns:
            The table of the model's own ``predict``, with other ends of the intervals.

        Raises:
            UsageError: An argument that cannot be used.
            DataError: Data that cannot be used, or too few windows for a level.
        """
        panel = self._to_panel(df, **columns)
        if not level:
            return self.model.predict(panel, h=h, level=None)
        calibration = calibrate(
            self.model, panel, h, level=level, method=self.method, n_windows=self.n_windows,
            step_size=self.step_size, pooled=self.pooled,
        )  # fmt: skip
        own = calibration.levels if self.method == OWN else None
        table = self.model.predict(panel, h=h, level=own)
        values = _read_columns(table, (panel.n_series, h))
        given = _to_intervals(values, self.model, panel, calibration.levels, self.method)
        y_NHP = calibration.widen(given).to_quantiles()
        return forecast_frame(panel, h, name_columns(y_NHP, self.alias, calibration.levels))

    def cross_validation(
        self,
        df: Any,
        h: int,
        n_windows: int = 1,
        step_size: int = 1,
        refit: bool | int = False,
        level: Sequence[float] | None = None,
        **columns: Any,
    ) -> Any:
        """Forecast the last windows of every series, calibrated before each.

        The arguments are those of :meth:`explstm.ExpLSTM.cross_validation`.
        """
        panel = self._to_panel(df, **columns)
        pasts = cut_windows(panel, check_horizon(h), n_windows, step_size)
        check_windows(n_windows, step_size, refit)
        judged = replace(self, model=copy.copy(self.model))
        trains = self.model.backend != "numpy"
        forecasts = forecast_windows(
            pasts,
            h,
            lambda past: judged.predict(past, h=h, level=level),
            fit=(lambda past: judged.fit(past, h=h)) if trains else None,
            refit=refit,
        )
        return window_frame(panel, pasts, h, forecasts)

    def _to_panel(self, df: Any, **columns: Any) -> Panel:
        return as_panel(df, **{"freq": self.model.freq, **columns})


def calibrate(
    model: Model,
    panel: Panel,
    h: int,
    *,
    level: Sequence[float],
    method: str = "conformal_quantile",
    n_windows: int | None = None,
    step_size: int = 1,
    pooled: bool = True,
) -> Calibration:
    """Let a model forecast the last windows of some histories, and read how wrong it was.

    The arguments are those of :class:`ConformalForecaster`. Pooled, series too short for the
    windows give no scores.

    Raises:
        UsageError: An argument that cannot be used, or a model that has seen the windows.
        DataError: Too few scores for a level.
    """
    choose("method", method, METHODS)
    levels = tuple(check_coverages(level))
    needed = scores_needed(levels[-1])
    if n_windows is None:
        n_windows = _choose_windows(panel, h, step_size, needed, pooled)
    check_windows(n_windows, step_size)
    usable_N = panel.lengths_N >= _steps_needed(h, n_windows, step_size)
    enough = usable_N.sum() * n_windows >= needed if pooled else usable_N.all()
    if not enough or (not pooled and n_windows < needed):
        _refuse_few(panel, h, n_windows, step_size, levels[-1], usable_N, pooled)
    series = take_series(panel, np.flatnonzero(usable_N))
    score_LNWH = _score_windows(model, series, h, levels, method, n_windows, step_size)
    n_levels, n_series = score_LNWH.shape[:2]
    groups = (n_levels, 1, -1, h) if pooled else (n_levels, n_series, n_windows, h)
    factor_LGH, n_scores_GH = read_scores(score_LNWH.reshape(groups), levels)
    return Calibration(method, levels, factor_LGH, n_scores_GH, n_series, n_windows)


def _score_windows(
    model: Model,
    panel: Panel,
    h: int,
    levels: tuple[float, ...],
    method: str,
    n_windows: int,
    step_size: int,
) -> FloatArray:
    """Scores (L, N, W, H) of the last windows; NaN where an interval has no width."""
    own = levels if method == OWN else None
    table = model.cross_validation(panel, h, n_windows, step_size, level=own)
    columns = _read_columns(table, (panel.n_series, n_windows, h))
    scores = []
    for window, past in enumerate(cut_windows(panel, h, n_windows, step_size)):
        at_NH = {name: values_NWH[:, window] for name, values_NWH in columns.items()}
        intervals = _to_intervals(at_NH, model, past, levels, method)
        scores.append(intervals.score(at_NH[panel.layout.target_col][:, :, None]))
    return np.moveaxis(np.stack(scores, axis=1), 3, 0)


def _to_intervals(
    columns: Mapping[str, FloatArray],
    model: Model,
    past: Panel,
    levels: Sequence[float],
    method: str,
) -> Intervals:
    """The intervals that a method widens, from the columns (N, H) of a forecast."""
    median_NH1 = columns[model.alias][:, :, None]
    if method == OWN:
        lower_NHL, upper_NHL = (
            np.stack([columns[name_ends(model.alias, level)[end]] for level in levels], axis=2)
            for end in (0, 1)
        )
    else:
        step_N11 = _typical_step(past, model)[:, None, None] * np.ones(len(levels))
        lower_NHL, upper_NHL = median_NH1 - step_N11, median_NH1 + step_N11
    positive_N = reduce_series(np.minimum, past.y_S, past.starts_N1) > 0
    positive_NHL = positive_N[:, None, None] & (median_NH1 > 0)
    if method == OWN:
        positive_NHL = positive_NHL & (lower_NHL > 0)
    else:
        mirrored_NHL = median_NH1 / (1.0 + step_N11 / np.where(positive_NHL, median_NH1, 1.0))
        lower_NHL = np.where(positive_NHL, mirrored_NHL, lower_NHL)
    return Intervals(median_NH1, lower_NHL, upper_NHL, positive_NHL & np.ones(len(levels), bool))


def _typical_step(past: Panel, model: Model) -> FloatArray:
    """What one causal scale adds to the last value of every series, in data units."""
    seasons = model.season_length
    if seasons is None:
        seasons = default_season_length(past.freq)
    space = to_growth_space(past, season_length=seasons)
    last_N = past.starts_N1[1:] - 1
    z_N = to_level(space.transform, past.y_S[last_N], np.ones(past.n_series, np.int64))
    further_N1 = (z_N + space.scale_S[last_N])[:, None]
    further_N1 = from_level(space.transform, further_N1, past.ids_N, overflow="cap")
    return further_N1[:, 0] - past.y_S[last_N]


def _read_columns(table: Any, shape: tuple[int, ...]) -> dict[str, FloatArray]:
    """The columns of numbers of a table of forecasts, in the shape of its rows."""
    names = [str(name) for name in table.columns[2:] if name != CUTOFF]
    return {
        name: np.asarray(table[name].to_numpy(), dtype=np.float64).reshape(shape) for name in names
    }


def _steps_needed(h: int, n_windows: int, step_size: int) -> int:
    return SHORTEST_PAST + h + (n_windows - 1) * step_size


def _choose_windows(panel: Panel, h: int, step_size: int, needed: int, pooled: bool) -> int:
    """The default number of windows: up to 8 that give the most scores, or the fewest that will do.

    More windows leave series out that are too short to hold them.
    """
    if not pooled:
        return max(ENOUGH_WINDOWS, needed)

    def count(n_windows: int) -> int:
        held_N = panel.lengths_N >= _steps_needed(h, n_windows, step_size)
        return n_windows * int(held_N.sum())

    best = max(range(ENOUGH_WINDOWS, 0, -1), key=count)
    if count(best) >= needed:
        return best
    enough = (n for n in range(ENOUGH_WINDOWS + 1, needed) if count(n) >= needed)
    return next(enough, max(needed, ENOUGH_WINDOWS))


def _refuse_few(
    panel: Panel, h: int, n_windows: int, step_size: int, level: float, usable_N: BoolArray,
    pooled: bool,
) -> NoReturn:  # fmt: skip
    needed = scores_needed(level)
    steps = _steps_needed(h, n_windows, step_size)
    whose = f"{usable_N.sum()} of {panel.n_series} series hold"
    shared = f"{needed} past forecasts" if pooled else f"{needed} past forecasts of every series"
    raise DataError(
        "CONFORMAL_FEW",
        f"an interval of {level:g} % needs {shared}, and {whose} the {steps} steps of {n_windows} "
        f"windows of {h} steps, {step_size} apart, and a past of {SHORTEST_PAST}; ask for another "
        "number of windows or a lower level, or keep the model's own intervals.",
    )
