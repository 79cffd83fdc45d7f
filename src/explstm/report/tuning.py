"""What a search over settings tried, and what it found."""

from collections.abc import Iterator

import pandas as pd
from pydantic import BaseModel

from explstm import plots
from explstm.report.page import Chart, Section, Table, make_table, say_number
from explstm.report.runs import Run, Text

MOST_TRIALS = 10
MOST_KNOBS = 16


class Best(BaseModel):
    """What ``best.json`` of a tuning says."""

    verdict: Text


def show_tuning(run: Run) -> Section | None:
    """What ``explstm tune`` found."""
    trials = run.table("trials.csv", texts=["state"], numbers=["number", "value", "seconds"])
    if trials is None or trials.empty:
        return None
    best = run.json("best.json", Best)
    counts = trials["state"].value_counts()
    said = f"{len(trials):,} trials: {', '.join(f'{n:,} {state}' for state, n in counts.items())}."
    return Section(
        "Tuning",
        "Every trial is one set of settings, judged on rolling windows of the past. The best of "
        "many looks better than it is: the words say what a last window, which the search did not "
        "see, made of it.",
        tuple(text for text in (best.verdict if best else "", said) if text),
        tuple(_make_tables(run, trials)),
        tuple(_draw_tuning(run, trials)),
    )


def _make_tables(run: Run, trials: pd.DataFrame) -> Iterator[Table]:
    finalists = run.table(
        "finalists.csv", numbers=["number", "value", "error", "difference", "standard_error"]
    )
    if finalists is not None and len(finalists):
        names = {
            "number": "Trial",
            "value": "Error in the search",
            "error": "Error in the last window",
            "difference": "Difference to the model as it was",
            "standard_error": "Standard error",
        }
        frame = finalists[list(names)].rename(columns=names)
        yield make_table("The last window, which decides.", _name_trials(frame))
    complete = trials[trials["state"] == "complete"].sort_values("value", kind="stable")
    names = {"number": "Trial", "value": "Error in the search", "seconds": "Seconds"}
    frame = complete[list(names)].rename(columns=names).head(MOST_TRIALS)
    yield make_table("The trials with the lowest error.", _name_trials(frame))


def _name_trials(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers of trials are names."""
    return frame.assign(Trial=frame["Trial"].map("{:.0f}".format))


def _draw_tuning(run: Run, trials: pd.DataFrame) -> Iterator[Chart]:
    told = trials.dropna(subset="value").sort_values("number", kind="stable")
    if told.empty:
        return
    lowest = told["value"].where(told["state"] == "complete").cummin().ffill()
    history = told[["number", "state", "value"]].assign(best=lowest)
    yield Chart(
        "tuning-history",
        "Error of every trial in the search (marks), and the lowest so far (line).",
        f"Chart of the errors of {len(told):,} trials; the lowest is "
        f"{say_number(history['best'].iloc[-1])}.",
        plots.draw_history(history),
        history,
    )
    importance = run.table("importance.csv", texts=["knob"], numbers=["importance"])
    if importance is not None and len(importance):
        shares = ", ".join(f"{row.knob} {row.importance:.0%}" for row in importance.itertuples())
        yield Chart(
            "tuning-importance",
            "How much of the differences among trials goes with each setting.",
            f"Bar chart of the importance of settings: {shares}.",
            plots.draw_importance(importance),
            importance,
        )
    slices = run.table(
        "tuning-slices.csv",
        texts=["state", "knob", "label"],
        numbers=["number", "value", "position", "log"],
    )
    if slices is None or slices.empty or slices["knob"].nunique() > MOST_KNOBS:
        return
    knobs = ", ".join(dict.fromkeys(slices["knob"]))
    yield Chart(
        "tuning-parallel",
        "Every line is a trial; where the strong lines meet lie the settings that work.",
        f"Parallel coordinates of the complete trials over {knobs}.",
        plots.draw_parallel(slices),
        slices,
        shape="broad",
    )
    yield Chart(
        "tuning-slices",
        "The error against every setting: a slope says that the setting matters.",
        f"Scatter charts of the error of the trials against {knobs}.",
        plots.draw_slices(slices),
        slices,
        shape="broad",
    )
