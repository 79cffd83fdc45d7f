"""Whether a forecast beats the naive ones, tested, in one plain sentence.

Contract: judged is a backtest table ``unique_id, ds, cutoff, y`` with one column per method, the
naive forecasts among them. A *group* is one series at one cutoff. The loss of a group is its mean
absolute error over the mean absolute change of a season in the history before its cutoff, as in
MASE (Hyndman & Koehler 2006, eq. 3); groups where it is undefined, for the method or for a naive
forecast, are left out for both and counted. R2 is never looked at.

A method is held against the naive forecast with the lowest mean loss over these same groups. That
one is chosen with hindsight, on the very values that judge the method, so it seems better than it
is: ``"beats"`` is said more seldom than a fair test would, and ``"loses"`` more often.

Two things can be luck: the windows and the series. Over windows the test is Diebold & Mariano's,
on differences averaged over series, since shocks that series share make them far fewer than they
look. Over series it is a bootstrap, on differences averaged over windows. Where both can be made
the larger p counts, and both have to point the same way: an intersection-union test, which holds
its level without correction (Berger 1982, Technometrics 24(4)).

A window is a stretch of time: where series end at different dates, the groups that begin in one
stretch are averaged, and where they begin at different steps of it, neighbours overlap.

Windows that overlap are tested twice, all of them and every so many that do not overlap, and again
the larger p counts: with few windows the corrected test calls equal forecasts different in up to
25 % of trials at the 5 % level (``benchmarks/verdict.py --sizes --trials 2000``).

Axis letters: G groups, N series, S rows of the table, W windows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from explstm.ends import is_end
from explstm.errors import UsageError
from explstm.scaled_losses import KEYS, NAIVE, align_windows, find_best_naive, measure_losses
from explstm.sentences import say_advice, say_verdict
from explstm.significance import (
    DieboldMariano,
    SeriesBootstrap,
    adjust_for_trials,
    bootstrap_series,
    diebold_mariano,
)

Outcome = Literal["beats", "level", "loses", "untestable"]
ALPHA = 0.05


@dataclass(frozen=True)
class Verdict:
    """What a backtest says of one method.

    Attributes:
        method: Its column.
        outcome: ``"beats"`` the best naive forecast, is ``"level"`` with it (cannot be told
            apart), ``"loses"`` to it, or ``"untestable"``.
        sentence: The same in plain words.
        naive: The best naive forecast; empty where no group can be scored.
        loss: Mean absolute scaled error of the method over all groups.
        naive_loss: That of the best naive forecast.
        skill: 1 - loss / naive_loss: 0.38 is an error that is 38 % lower; NaN where the naive
            forecast makes no error.
        p_value: The evidence, two-sided; NaN where it is untestable.
        n_series: Series judged.
        n_windows: Windows judged, of the series with most.
        n_groups: Groups judged.
        n_left_out: Groups that could not be scored.
        over_windows: The test over windows.
        over_windows_apart: The test over windows that do not overlap; None where none overlap.
        over_series: The test over series.
    """

    method: str
    outcome: Outcome
    sentence: str
    naive: str
    loss: float
    naive_loss: float
    skill: float
    p_value: float
    n_series: int
    n_windows: int
    n_groups: int
    n_left_out: int
    over_windows: DieboldMariano
    over_windows_apart: DieboldMariano | None
    over_series: SeriesBootstrap


@dataclass(frozen=True)
class Judgement:
    """What a backtest says of all methods.

    Attributes:
        use: The method to use, or a naive forecast.
        sentence: The same in plain words.
        verdicts: Of each method.
    """

    use: str
    sentence: str
    verdicts: tuple[Verdict, ...]


def judge(
    table: pd.DataFrame, method: str, scales: pd.DataFrame, *, h: int, step_size: int
) -> Verdict:
    """Judge one method by a backtest.

    Args:
        table: unique_id, ds, cutoff, y, the method, and naive forecasts.
        method: Its column.
        scales: unique_id, cutoff, scale, as :attr:`explstm.backtest.Backtest.scales` has them.
        h: Steps of every forecast.
        step_size: Steps between two cutoffs.

    Raises:
        UsageError: The method, or every naive forecast, is missing from the table.
        BackendNotInstalledError: SciPy is not installed.
    """
    return _judge(measure_losses(table, [method], scales), method, h, step_size)


def judge_all(
    table: pd.DataFrame,
    scales: pd.DataFrame,
    *,
    h: int,
    step_size: int,
    methods: Sequence[str] | None = None,
) -> Judgement:
    """Judge every method by a backtest, and say which one to use.

    Each verdict stands for its method alone. The advice counts that several were tried: it is the
    method with the most skill of those that beat the best naive forecast at 5 % after Holm's
    adjustment, or that naive forecast.

    Args:
        table: unique_id, ds, cutoff, y and the methods, naive forecasts among them.
        scales: unique_id, cutoff, scale.
        h: Steps of every forecast.
        step_size: Steps between two cutoffs.
        methods: Which to judge; by default all that are not naive.

    Raises:
        UsageError: A method, or every naive forecast, is missing, or there is no method.
        BackendNotInstalledError: SciPy is not installed.
    """
    methods = list(_find_methods(table) if methods is None else methods)
    if not methods:
        raise UsageError(
            "VERDICT_NO_METHOD",
            "the backtest table has no column of a method beside the naive forecasts; add one.",
        )
    losses = measure_losses(table, methods, scales)
    verdicts = tuple(_judge(losses, method, h, step_size) for method in methods)
    naive, _ = find_best_naive(losses)
    return _advise(verdicts, naive)


def _find_methods(table: pd.DataFrame) -> list[str]:
    known = {*KEYS, "ds", "y", *NAIVE}
    return [name for name in table.columns if name not in known and not is_end(name)]


def _judge(losses: pd.DataFrame, method: str, h: int, step_size: int) -> Verdict:
    scored = losses.dropna(subset=[method, *(name for name in NAIVE if name in losses)])
    naive, naive_loss = find_best_naive(scored)
    difference_G = scored[method] - scored[naive] if naive else scored[method]
    stretch_G, apart_by = align_windows(losses, step_size)
    stretches = pd.Series(stretch_G, index=losses.index).reindex(scored.index)
    difference_W = difference_G.groupby(stretches).mean().iloc[::-1].to_numpy()
    reach = h + apart_by
    over_windows = diebold_mariano(difference_W, h=reach, step_size=step_size)
    apart = None
    if over_windows.lags:
        every = over_windows.lags + 1
        apart = diebold_mariano(difference_W[::-every][::-1], h=reach, step_size=every * step_size)
    over_series = bootstrap_series(difference_G.groupby(scored["unique_id"]).mean())
    loss = float(scored[method].mean()) if naive else math.nan
    outcome, p_value = _weigh(loss - naive_loss, over_windows, apart, over_series)
    facts = Verdict(
        method=method,
        outcome=outcome,
        sentence="",
        naive=naive,
        loss=loss,
        naive_loss=naive_loss,
        skill=1 - loss / naive_loss if naive_loss else (math.nan if loss else 0.0),
        p_value=p_value,
        n_series=over_series.n,
        n_windows=int(scored.groupby("unique_id").size().max()) if len(scored) else 0,
        n_groups=len(scored),
        n_left_out=len(losses) - len(scored),
        over_windows=over_windows,
        over_windows_apart=apart,
        over_series=over_series,
    )
    return replace(facts, sentence=say_verdict(facts, h))


def _weigh(
    difference: float,
    over_windows: DieboldMariano,
    apart: DieboldMariano | None,
    over_series: SeriesBootstrap,
) -> tuple[Outcome, float]:
    """The outcome and the evidence: the larger p, or 1 where the tests point different ways."""
    by_window = [over_windows] if apart is None else [over_windows, apart]
    tests: list[DieboldMariano | SeriesBootstrap] = [
        *(by_window if all(math.isfinite(one.p_value) for one in by_window) else []),
        *([over_series] if math.isfinite(over_series.p_value) else []),
    ]
    if not tests:
        return "untestable", math.nan
    agree = all(np.sign(one.mean) == np.sign(difference) for one in tests)
    p_value = max(one.p_value for one in tests) if agree else 1.0
    if p_value > ALPHA:
        return "level", p_value
    return ("beats" if difference < 0 else "loses"), p_value


def _advise(verdicts: tuple[Verdict, ...], naive: str) -> Judgement:
    tested = [verdict for verdict in verdicts if verdict.outcome != "untestable"]
    adjusted = adjust_for_trials([verdict.p_value for verdict in tested])
    sure = [
        (verdict, float(p_value))
        for verdict, p_value in zip(tested, adjusted, strict=True)
        if verdict.outcome == "beats" and p_value <= ALPHA
    ]
    best = max(sure, key=lambda one: one[0].skill, default=None)
    use = naive if best is None else best[0].method
    return Judgement(use, say_advice(verdicts, naive, best), verdicts)
