"""Verdicts in plain words.

Contract: one finding, one or a few short sentences, that a reader who knows no statistics can act
on. The naive forecast is named as what it does; a forecast that is no better than it is said to be
not worth using. Nothing is decided here.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from explstm.baselines import NAIVE
from explstm.significance import FEWEST_SERIES, FEWEST_WINDOWS

if TYPE_CHECKING:
    from explstm.verdict import Verdict

MEASURE = "mean absolute scaled error"
UNSCORED = "the history is no longer than a season, does not change over one, or a value is missing"
NOTEWORTHY = 0.05
"""Skill from which on a difference that is not significant is worth a second look."""

MANY = 10_000
"""Per cent from which on the exact number tells nobody anything."""


def say_verdict(verdict: "Verdict", h: int) -> str:
    """What a backtest with ``h`` steps says of one method."""
    said = " ".join(_say_outcome(verdict, h))
    if not verdict.n_left_out:
        return said
    return (
        f"{said} {_count(verdict.n_left_out, 'forecast')} of a series could not be scored and "
        f"{'is' if verdict.n_left_out == 1 else 'are'} left out: {UNSCORED}."
    )


def _say_outcome(verdict: "Verdict", h: int) -> list[str]:
    if not verdict.naive:
        return [
            f"{verdict.method} cannot be judged: no forecast can be scored, for {UNSCORED}.",
            "Use series that change and are longer than a season, or name a shorter season.",
        ]
    error = f"its {MEASURE} is {_compare(verdict)} over {_say_extent(verdict, h)}"
    rival = f"the best naive forecast ({verdict.naive}: {NAIVE[verdict.naive]})"
    evidence = f"({_say_p(verdict.p_value)})"
    if verdict.outcome == "untestable":
        return [
            f"{verdict.method} cannot be tested against {rival}: {error}, which can be luck.",
            f"A test needs {_say_need(verdict)}.",
        ]
    if verdict.outcome == "beats":
        return [f"{verdict.method} beats {rival}: {error} {evidence}.", *_caution(verdict)]
    if verdict.outcome == "loses":
        return [
            f"{verdict.method} loses to {rival}: {error} {evidence}.",
            f"{verdict.naive} is better: do not use this model here.",
            *_caution(verdict),
        ]
    return [
        f"{verdict.method} cannot be told apart from {rival}: {error} {evidence}.",
        _advise_against(verdict),
    ]


def _advise_against(verdict: "Verdict") -> str:
    same = f"{NAIVE[verdict.naive]} is as good"
    if verdict.skill < NOTEWORTHY:
        return f"{_capitalise(same)}: do not use this model here."
    windows = _count(verdict.n_windows, "window")
    return (
        f"As far as {windows} can tell, {same}: do not use this model here unless more tell more."
    )


def _compare(verdict: "Verdict") -> str:
    """By how much the error is lower or higher than that of the naive forecast."""
    if verdict.loss == verdict.naive_loss:
        return "the same"
    if math.isnan(verdict.skill):
        return f"{verdict.loss:.2g} where that makes no error"
    percent = 100 * abs(verdict.skill)
    if percent > MANY:
        return "many times higher"
    shown = f"{percent:.0f} %" if percent >= 1 else "less than 1 %"
    return f"{shown} {'lower' if verdict.skill > 0 else 'higher'}"


def _say_extent(verdict: "Verdict", h: int) -> str:
    extent = f"{_count(verdict.n_windows, 'window')} of {_count(h, 'step')}"
    return extent if verdict.n_series == 1 else f"{extent} in {verdict.n_series:,} series"


def _say_need(verdict: "Verdict") -> str:
    overlap = " that do not overlap" if verdict.over_windows.lags else ""
    return f"{FEWEST_WINDOWS} windows{overlap}, or {FEWEST_SERIES} series"


def _caution(verdict: "Verdict") -> list[str]:
    """Where only the series could be tested."""
    apart = verdict.over_windows_apart or verdict.over_windows
    if math.isfinite(verdict.over_windows.p_value) and math.isfinite(apart.p_value):
        return []
    return [
        f"Only the series could be tested, not the windows: what moved all series at once may have "
        f"made the difference; {FEWEST_WINDOWS} windows"
        f"{' that do not overlap' if verdict.over_windows.lags else ''} or more would tell."
    ]


def say_advice(
    verdicts: Sequence["Verdict"], naive: str, best: "tuple[Verdict, float] | None"
) -> str:
    """Which method to use.

    Args:
        verdicts: Of all methods.
        naive: The best naive forecast; empty where nothing can be scored.
        best: The method to use and its p-value, adjusted for how many were tried; None for naive.
    """
    if not naive:
        return "No method can be recommended: no forecast can be scored."
    last = f"{NAIVE[naive]} ({naive})"
    if best is not None:
        verdict, p_value = best
        tried = _say_tried(len(verdicts))
        return (
            f"Use {verdict.method}: its {MEASURE} is {_compare(verdict)} than that of the best "
            f"naive forecast, {NAIVE[verdict.naive]} ({_say_p(p_value)}{tried})."
        )
    if all(verdict.outcome == "untestable" for verdict in verdicts):
        return f"Use {last} until there is more to judge by: nothing can be tested."
    ahead = [verdict.method for verdict in verdicts if verdict.outcome == "beats"]
    if ahead:
        beats = "beats" if len(ahead) == 1 else "beat"
        return (
            f"Use {last}: {' and '.join(ahead)} {beats} it taken alone, but not once it is counted "
            f"that {len(verdicts)} methods were tried."
        )
    return f"Use {last}: no method beats it."


def _say_tried(methods: int) -> str:
    return f", counting that {methods} methods were tried" if methods > 1 else ""


def _say_p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _capitalise(words: str) -> str:
    return words[:1].upper() + words[1:]
