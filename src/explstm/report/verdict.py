"""The first part of a report: whether the forecast is worth using, in words."""

from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, Field

from explstm.backtest import NAIVE
from explstm.report.page import Section, Table, make_table
from explstm.report.runs import Run, Text

OUTCOMES = {
    "beats": "better",
    "level": "cannot be told apart",
    "loses": "worse",
    "untestable": "cannot be tested",
}


class MethodVerdict(BaseModel):
    """What ``verdict.json`` says of one method."""

    method: Text
    outcome: Literal["beats", "level", "loses", "untestable"]
    sentence: Text
    naive: Text = ""
    skill: float | None = None
    p_value: float | None = None
    n_series: int = 0
    n_windows: int = 0


class Verdict(BaseModel):
    """What ``verdict.json`` says."""

    use: Text
    sentence: Text
    verdicts: Annotated[list[MethodVerdict], Field(max_length=100)] = []


def show_verdict(run: Run) -> Section | None:
    """Whether the forecast is worth using, in words, before any number."""
    verdict = run.json("verdict.json", Verdict)
    if verdict is None:
        return None
    return Section(
        "Verdict",
        "A naive forecast needs no model: it repeats the last value or season, or goes on with the "
        "mean growth. A model that does not beat it clearly is not worth its trouble. p is how "
        "often equally good forecasts would differ as much by chance.",
        (verdict.sentence, *_say_closest(verdict)),
        (_table_verdicts(verdict),) if verdict.verdicts else (),
        tone=_judge_tone(verdict),
    )


def _judge_tone(verdict: Verdict) -> Literal["good", "bad", "open"]:
    """Good where a method is to be used, open where more windows might still show one to be."""
    if verdict.use not in NAIVE and any(one.outcome == "beats" for one in verdict.verdicts):
        return "good"
    lost = all(
        one.outcome == "loses" or (one.outcome == "level" and (one.skill or 0.0) <= 0)
        for one in verdict.verdicts
    )
    return "bad" if lost else "open"


def _say_closest(verdict: Verdict) -> list[str]:
    """What was found of the method to use, or of the one that came closest to being it."""
    used = [one for one in verdict.verdicts if one.method == verdict.use]
    known = [one for one in verdict.verdicts if one.skill is not None]
    best = sorted(known, key=lambda one: one.skill or 0.0, reverse=True)
    return [one.sentence for one in (used or best)[:1]]


def _table_verdicts(verdict: Verdict) -> Table:
    rows = [
        {
            "Method": one.method,
            "Outcome": OUTCOMES[one.outcome],
            "Error below naive, %": _percent(one.skill),
            "p": one.p_value,
            "Windows": one.n_windows,
            "Series": one.n_series,
        }
        for one in verdict.verdicts
    ]
    return make_table("Every method against the best naive forecast.", pd.DataFrame(rows), digits=3)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
