"""From a history to quantiles in data units: growth space, engine, and back, in blocks of series.

Contract: :func:`forecast_panel` needs memory for one block of series, not for the panel. Series may
be looked at on two curves, whose forecasts are mixed (:mod:`explstm.mixing`). Horizons beyond the
network's continue from its median path, and the uncertainty gathered so far is carried on, that of
the seasonal part first of all: deviations from the median add up in squares, as those of
independent stretches of a random walk do.

Axes: N series, B series in a block, H horizon, Q quantiles of the network, P probabilities wanted.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from explstm.errors import UsageError
from explstm.frame import Panel, take_series
from explstm.growth import N_FEATURES, GrowthPanel, from_growth_space, to_growth_space
from explstm.intervals import read_quantiles
from explstm.mixing import mix_views, past_error, past_origins
from explstm.models.engine import Engine
from explstm.models.spec import MEDIAN, ModelSpec
from explstm.origins import last_windows
from explstm.ragged import BoolArray, FloatArray, reduce_series
from explstm.scaling import LARGEST, Transform
from explstm.seasonality import future_error

ReadOn = Callable[[FloatArray], tuple[GrowthPanel, NDArray[np.float32]]]

SERIES_PER_BLOCK = 2048
MAX_HORIZON = 100_000
"""Every horizon of the network reads the path before it again: minutes for so many steps."""
SMALLEST_SHARE = 1e-3  # of the largest value: below it only the first curve of a positive series
SMALLEST = np.finfo(np.float64).tiny  # what a path that falls below float64 continues from


@dataclass(frozen=True)
class Preprocessing:
    """What turns a panel into what the network sees.

    Attributes:
        growth: Name of the curve, see :func:`explstm.growth.to_growth_space`.
        season_length: Season lengths in steps.
        window: Longest stretch of a series that enters the network.
        beside: Name of a second curve that the series are forecast on too; None for none.
        n_features: How many of :data:`explstm.growth.FEATURES` the network sees.
        widen: What distances of its quantiles from the median are multiplied by.
    """

    growth: str
    season_length: tuple[int, ...]
    window: int
    beside: str | None = None
    n_features: int = N_FEATURES
    widen: float = 1.0


def check_horizon(h: int) -> int:
    """Return a horizon as an integer.

    Raises:
        UsageError: It is not a whole number from 1 to :data:`MAX_HORIZON`.
    """
    is_whole = isinstance(h, int | np.integer) and not isinstance(h, bool)
    if not is_whole or not 1 <= h <= MAX_HORIZON:
        raise UsageError(
            "HORIZON_RANGE",
            f"h={h!r} is not a horizon; pass a whole number from 1 to {MAX_HORIZON:,}.",
        )
    return int(h)


def check_room(n_series: int, h: int, n_quantiles: int) -> None:
    """Refuse forecasts that, with the table of them, the memory of the machine cannot hold.

    Raises:
        UsageError: As said, where the system tells how much memory there is.
    """
    needed, there = 16 * n_series * h * (n_quantiles + 1), _machine_bytes()
    if there is not None and needed > there:
        raise UsageError(
            "HORIZON_RANGE",
            f"h={h:,} steps of {n_series:,} series need {needed / 2**30:,.1f} GiB, more than the "
            f"{there / 2**30:,.1f} GiB of this machine; pass a smaller h, or fewer series at once "
            "(explstm.scaleout forecasts them in parts).",
        )


def _machine_bytes() -> int | None:
    """Memory of the machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def forecast_panel(
    engine: Engine,
    panel: Panel,
    preprocessing: Preprocessing,
    h: int,
    probabilities: Sequence[float] = (0.5,),
) -> FloatArray:
    """Forecast the ``h`` steps after every series.

    Args:
        engine: The network.
        panel: Histories, each cut at its own cutoff.
        preprocessing: How they enter the network.
        h: Horizon, any number of steps.
        probabilities: Rising probabilities of the quantiles wanted.

    Returns:
        Quantiles (N, h, P) in data units, rising along P.

    Raises:
        UsageError: More forecasts than memory can hold.
        DataError: A value the curve cannot carry, or a forecast beyond float64.
    """
    check_room(panel.n_series, h, len(probabilities))
    y_NHP = np.empty((panel.n_series, h, len(probabilities)))
    by_length = np.argsort(panel.lengths_N, kind="stable")
    for first in range(0, panel.n_series, SERIES_PER_BLOCK):
        block = by_length[first : first + SERIES_PER_BLOCK]
        series = take_series(panel, block)
        if preprocessing.beside is None:
            space = _to_space(series, preprocessing)
            output_BHQ = engine.predict_last(*last_windows(space, preprocessing.window))
            forecast = _go_on(engine, series, preprocessing, space, output_BHQ, h, probabilities)
        else:
            forecast = _forecast_views(engine, series, preprocessing, h, probabilities)
        y_NHP[block] = forecast
    return y_NHP


def combine_views(
    y_VBHP: tuple[FloatArray, FloatArray],
    error_VB: tuple[FloatArray, FloatArray],
    positive_B: BoolArray,
    largest_B: FloatArray,
) -> FloatArray:
    """Mix the forecasts of two views; what is positive stays so.

    Args:
        y_VBHP: Forecasts on each curve.
        error_VB: Past errors of each view.
        positive_B: Which series have never been 0 or less.
        largest_B: The largest magnitude of each series.
    """
    y_BHP, other_BHP = y_VBHP
    floored_BHP = np.where(positive_B[:, None, None], np.maximum(other_BHP, 0.0), other_BHP)
    mixed_BHP = mix_views((y_BHP, floored_BHP), error_VB)
    # The line alone, or nearly, may end in 0; the first view tells how small the positive is.
    smallest_BHP = np.minimum(y_BHP, SMALLEST_SHARE * largest_B[:, None, None])
    mixed_BHP[positive_B] = np.maximum(mixed_BHP, smallest_BHP)[positive_B]
    return mixed_BHP


def forecast_ahead(
    spec: ModelSpec,
    space: GrowthPanel,
    output_BHQ: NDArray[np.float32],
    read_on: ReadOn,
    h: int,
    probabilities: Sequence[float],
    widen: float = 1.0,
) -> FloatArray:
    """Turn what a network says at the last step of every series into quantiles in data units.

    Args:
        spec: The network.
        space: The series, or their last steps, in growth space.
        output_BHQ: Outputs at the last step of every series.
        read_on: Reads a path (B, H) in data units after what was read before, and returns the space
            and the outputs at its end; called once for every horizon of the network beyond the
            first.
        h: Horizon, any number of steps.
        probabilities: Rising probabilities of the quantiles wanted.
        widen: What distances of quantiles from the median are multiplied by.

    Returns:
        Quantiles (B, h, P), rising along P.

    Raises:
        DataError: A forecast beyond float64.
    """
    side_P = np.sign(np.array(probabilities) - MEDIAN)  # of the median; a spread can round to 0
    score_P = np.array([NormalDist().inv_cdf(p) for p in probabilities])
    gathered_B1P = score_P * future_error(space.seasonality)[:, None, None]
    positive_B1 = space.transform.is_curve_N("log")[:, None]
    stretches = []
    for done in range(0, h, spec.horizon):
        target_BHQ = output_BHQ[:, : h - done].astype(np.float64)
        path_BH1 = target_BHQ[:, :, spec.median, None]
        spread_BHP = read_quantiles(target_BHQ, spec.quantiles, probabilities) - path_BH1
        spread_BHP *= widen
        # In units of this stretch's scale; what was gathered before is in units of z.
        scale_B11 = space.scale_S[space.starts_N1[1:] - 1, None, None]
        unit_B11 = np.where(scale_B11 > 0, scale_B11, 1.0)
        spread_BHP = side_P * np.hypot(spread_BHP, gathered_B1P / unit_B11)
        stretches.append(from_growth_space(space, path_BH1 + spread_BHP))
        if done + spec.horizon < h:
            gathered_B1P = spread_BHP[:, -1:] * scale_B11
            path_BH = from_growth_space(space, path_BH1)[:, :, 0]
            path_BH = np.where(positive_B1, np.maximum(path_BH, SMALLEST), path_BH)
            space, output_BHQ = read_on(path_BH)
    return np.concatenate(stretches, axis=1)


def _forecast_views(
    engine: Engine,
    panel: Panel,
    preprocessing: Preprocessing,
    h: int,
    probabilities: Sequence[float],
) -> FloatArray:
    """Forecast on both curves, and mix.

    A series too large for the second curve is forecast on the first alone. The network reads both
    curves together: its steps cost little more for two series than for one.
    """
    assert preprocessing.beside is not None
    largest_B = reduce_series(np.maximum, np.abs(panel.y_S), panel.starts_N1)
    carried = np.flatnonzero(largest_B <= LARGEST)
    views = [(panel, preprocessing)]
    if len(carried):
        beside = replace(preprocessing, growth=preprocessing.beside)
        views.append((take_series(panel, carried), beside))
    forecasts = [
        (_go_on(engine, *view, space, output_BHQ, h, probabilities), error_B)
        for view, (space, output_BHQ, error_B) in zip(views, _look_back(engine, views), strict=True)
    ]
    (y_BHP, error_B), *others = forecasts
    if not others:
        return y_BHP
    other_BHP, other_B = y_BHP.copy(), error_B.copy()
    other_BHP[carried], other_B[carried] = others[0]
    positive_B = reduce_series(np.minimum, panel.y_S, panel.starts_N1) > 0
    return combine_views((y_BHP, other_BHP), (error_B, other_B), positive_B, largest_B)


def _go_on(
    engine: Engine,
    panel: Panel,
    preprocessing: Preprocessing,
    space: GrowthPanel,
    output_BHQ: NDArray[np.float32],
    h: int,
    probabilities: Sequence[float],
) -> FloatArray:
    """Return forecasts (B, h, P) on one curve from the outputs at the last step."""
    history = _History(engine, preprocessing, panel, space.transform)
    return forecast_ahead(
        engine.spec, space, output_BHQ, history.read_on, h, probabilities, preprocessing.widen
    )


@dataclass
class _History:
    """Histories that are continued by their own forecasts, and read again."""

    engine: Engine
    preprocessing: Preprocessing
    panel: Panel
    transform: Transform

    def read_on(self, path_BH: FloatArray) -> tuple[GrowthPanel, NDArray[np.float32]]:
        """Append a path and read it with what came before.

        The curves are kept, and the seasons fitted again: with the path behind them the trend at
        the end of the data is known better, which takes a hundredth off the error on M4 hourly.
        """
        self.panel = _append(self.panel, path_BH)
        space = _to_space(self.panel, self.preprocessing, self.transform)
        shown = last_windows(space, self.preprocessing.window)
        return space, self.engine.predict_last(*shown)


def _to_space(
    panel: Panel, preprocessing: Preprocessing, transform: Transform | None = None
) -> GrowthPanel:
    return to_growth_space(
        panel,
        growth=preprocessing.growth,
        season_length=preprocessing.season_length,
        transform=transform,
        n_features=preprocessing.n_features,
    )


def _look_back(
    engine: Engine, views: Sequence[tuple[Panel, Preprocessing]]
) -> list[tuple[GrowthPanel, NDArray[np.float32], FloatArray]]:
    """Return each view's space, outputs (B, H, Q) at the last step, and errors (B) before it."""
    spaces = [_to_space(*view) for view in views]
    shown = [last_windows(space, view[1].window) for space, view in zip(spaces, views, strict=True)]
    n_steps = max(features_BTF.shape[1] for features_BTF, _ in shown)
    origins = [past_origins(lengths_B, n_steps) for _, lengths_B in shown]
    features = [
        np.pad(features_BTF, ((0, 0), (0, n_steps - features_BTF.shape[1]), (0, 0)))
        for features_BTF, _ in shown
    ]
    output_RHQ = engine.predict_origins(np.concatenate(features), np.concatenate(origins))
    ends = np.cumsum([origins_BT.sum() for origins_BT in origins])[:-1]
    outputs = np.split(output_RHQ, ends)
    read = []
    for (panel, _), space, origins_BT, seen_RHQ in zip(
        views, spaces, origins, outputs, strict=True
    ):
        counts_B = origins_BT.sum(axis=1)
        median_RH = seen_RHQ[:, :, engine.spec.median].astype(np.float64)
        error_B = past_error(space, panel.y_S, counts_B, median_RH)
        read.append((space, seen_RHQ[np.cumsum(counts_B) - 1], error_B))
    return read


def _append(panel: Panel, y_BH: FloatArray) -> Panel:
    """The panel with a path after each series; its dates are not continued."""
    steps = y_BH.shape[1]
    ends = np.repeat(panel.starts_N1[1:], steps)
    y_S = np.insert(panel.y_S, ends, y_BH.ravel())
    ds_S = np.insert(panel.ds_S, ends, np.repeat(panel.ds_S[panel.starts_N1[1:] - 1], steps))
    starts_N1 = panel.starts_N1 + steps * np.arange(panel.n_series + 1)
    return replace(panel, starts_N1=starts_N1, y_S=y_S, ds_S=ds_S)
