"""What the tables and figures of a tuning show, made from the records of its trials.

Contract: facts only; nothing is drawn here. Values of choices are text, since they have no order.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from explstm.search_space import Knob, show_value
from explstm.study import TrialRecord


def trials_table(records: Sequence[TrialRecord], knobs: Sequence[Knob]) -> pd.DataFrame:
    """The record of every trial, a row each."""
    n_windows = max((len(record.windows) for record in records), default=0)
    rows, shown = [], {knob.name for knob in knobs if knob.choices}
    for r in records:
        windows = {f"window_{w + 1}": error for w, error in enumerate(r.windows)}
        values = {knob.name: r.params.get(knob.name) for knob in knobs}
        texts = {
            name: show_value(value) if name in shown else value for name, value in values.items()
        }
        row = {"number": r.number, "state": r.state, "value": r.value, **windows, **texts}
        more = {"seconds": r.seconds, "seed": r.seed, "worker": r.worker}
        rows.append({**row, **more, "retry_of": r.retry_of, "reason": r.reason})
    windows_W = [f"window_{w + 1}" for w in range(n_windows)]
    names = [knob.name for knob in knobs]
    ends = ["seconds", "seed", "worker", "retry_of", "reason"]
    table = pd.DataFrame(rows, columns=["number", "state", "value", *windows_W, *names, *ends])
    return table.astype({"retry_of": "Int64", "seed": "Int64"})


def places_table(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """Where the trials were trained that an engine has run: number, host, process, peak_mib."""
    rows = [{"number": r.number, "seconds": r.seconds, **r.ran} for r in records if r.ran]
    return pd.DataFrame(rows, columns=["number", "host", "process", "seconds", "peak_mib"])


def history_facts(trials: pd.DataFrame) -> pd.DataFrame:
    """What each trial was worth, and the lowest value of a complete one so far.

    Returns:
        number, state (complete or pruned), value, best (missing before the first complete one).
    """
    told = trials[trials["value"].notna()][["number", "state", "value"]]
    complete = told["value"].where(told["state"] == "complete")
    return told.assign(best=complete.cummin().ffill()).reset_index(drop=True)


def slice_facts(trials: pd.DataFrame, knobs: Sequence[Knob]) -> pd.DataFrame:
    """What each trial was worth against each of its parameters.

    Returns:
        number, state, value (of the trial), knob, label (the parameter as text), position (0 to 1
        over the values tried; of choices, in the order of the space), log (whether equal ratios are
        equal distances).
    """
    told = trials[trials["value"].notna()]
    parts = []
    for knob in knobs:
        if knob.choices:
            labels = [show_value(choice) for choice in knob.choices]
            place = told[knob.name].map(labels.index).to_numpy(dtype=np.float64)
            texts, most = told[knob.name], len(labels) - 1.0
        else:
            ends = np.array([knob.low, knob.high], dtype=np.float64)
            place = told[knob.name].to_numpy(dtype=np.float64)
            if knob.log:
                ends, place = np.log(ends), np.log(place)
            place, most = place - ends[0], float(ends[1] - ends[0])
            texts = told[knob.name].map(lambda value: f"{value:.3g}")
        parts.append(
            told[["number", "state", "value"]].assign(
                knob=knob.name, label=texts, position=place / max(most, math.ulp(1.0)), log=knob.log
            )
        )
    return pd.concat(parts, ignore_index=True)
