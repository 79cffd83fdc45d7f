"""Whether what a search found is better, or was only lucky: the best few, judged once more.

Contract: the best of many trials looks better than it is, most of all where their errors are
noisy. So those that beat the model as it is are judged beside it where the search did not look, and
the simplest within one standard error of the best is chosen; the model as it is is the simplest.
One series has no standard error over series, so that the model stays as it is.

Sources: the rule of one standard error: Breiman, Friedman, Olshen & Stone (1984), section 3.4.3;
why the best of many disappoints: Cawley & Talbot (2010), On over-fitting in model selection and
subsequent selection bias in performance evaluation, JMLR 11.

Axes: N series, A candidates.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from explstm.finetuning import pick_simplest
from explstm.ragged import FloatArray
from explstm.search_space import Params, show_value
from explstm.study import TrialRecord

FINALISTS = 3
"""Trials that are judged once more, beside the model as it is."""
SETTLED = ("complete", "pruned", "failed")
Judge = Callable[[TrialRecord], FloatArray | None]


def own_number(records: Sequence[TrialRecord]) -> int | None:
    """The complete trial with the model's own parameters: the first one, or what continued it."""
    number: int | None = 0
    while number is not None and number < len(records) and records[number].state == "requeued":
        number = next((r.number for r in records if r.retry_of == number), None)
    found = number is not None and number < len(records) and records[number].state == "complete"
    return number if found else None


def best_trials(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The best trials of the search, as far as they are better than the model as it is."""
    own = own_number(records)
    limit = math.inf if own is None else records[own].value or 0.0
    complete = [(r.value, r.number) for r in records if r.state == "complete"]
    better = sorted((value, n) for value, n in complete if value is not None and value < limit)
    first = {value: number for value, number in reversed(better)}  # equal errors, equal forecasts
    return [records[first[value]] for value in sorted(first)][:FINALISTS]


def choose_finalist(
    records: Sequence[TrialRecord], judge: Judge
) -> tuple[pd.DataFrame, TrialRecord | None]:
    """Judge the best trials once more, and choose.

    Args:
        records: All trials.
        judge: Errors (N,) of the series with the parameters of a trial, trained anew and judged
            where the search did not look; None where there are none, as when the time is over.

    Returns:
        A table with number, value (in the search), error (here), and the mean difference to the
        model as it is with its standard error over series, both missing for itself, the latter
        with a single series too; and the trial chosen, None where there is none.
    """
    own = own_number(records)
    start = [] if own is None else [records[own]]
    rivals = best_trials(records)
    errors: dict[int, FloatArray] = {}
    for record in [*start, *rivals] if rivals else []:
        error_N = judge(record)
        if error_N is not None:
            errors[record.number] = error_N
    candidates = [record for record in [*start, *rivals] if record.number in errors]
    chosen = start[0] if start else None
    if candidates and candidates[0] == (chosen or candidates[0]):
        errors_AN1 = np.array([errors[r.number] for r in candidates])[:, :, None]
        chosen = candidates[pick_simplest(errors_AN1)]
    return _compare(candidates, errors, own), chosen


def _compare(
    candidates: Sequence[TrialRecord], errors: Mapping[int, FloatArray], own: int | None
) -> pd.DataFrame:
    rows = []
    for record in candidates:
        error_N = errors[record.number]
        row = {"number": record.number, "value": record.value, "error": float(error_N.mean())}
        if own is not None and own in errors and record.number != own:
            worse_N = np.asarray(error_N - errors[own])
            row["difference"] = float(worse_N.mean())
            if len(worse_N) > 1:
                row["standard_error"] = float(worse_N.std(ddof=1) / math.sqrt(len(worse_N)))
        rows.append(row)
    columns = ["number", "value", "error", "difference", "standard_error"]
    return pd.DataFrame(rows, columns=columns)


def tell_verdict(
    records: Sequence[TrialRecord],
    finalists: pd.DataFrame,
    chosen: TrialRecord | None,
    own: Params,
) -> str:
    """What was found, in one sentence."""
    settled = sum(r.state in SETTLED for r in records)
    if chosen is None:
        return "No trial came to an end; the model stays as it is."
    start = f"{settled} trials: the model stays as it is, for "
    first = own_number(records)
    if chosen.number == first:
        if not best_trials(records):
            return start + "none was better in the search."
        if len(finalists) < 2:
            return start + "there was no time to judge the best on the final window."
        judged = finalists[finalists["difference"].notna()]
        if len(judged) and judged["standard_error"].isna().all():
            return start + "one series cannot tell a gain from luck."
        return start + (
            "on the final window, which the search did not see, none was better by more than one "
            "standard error."
        )
    changed = ", ".join(
        f"{name}={show_value(value)}" for name, value in chosen.params.items() if value != own[name]
    )
    errors, gain = finalists.set_index("number")["error"], ""
    if first in errors.index:
        share = 1 - errors[chosen.number] / errors[first]
        gain = f", {share:.1%} below the model as it was on the final window, which the search did "
        gain += "not see"
    return f"{settled} trials: {changed} (trial {chosen.number}){gain}."
