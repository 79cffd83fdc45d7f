"""The tables of a tuning say of every trial what happened to it."""

import numpy as np
import pandas as pd

from explstm.search_space import Knob
from explstm.study import TrialRecord
from explstm.tuning_facts import history_facts, slice_facts, trials_table

KNOBS = (Knob("rate", low=0.001, high=0.1, log=True), Knob("sizes", ((8,), (8, 4))))
SMALL, LARGE = {"rate": 0.01, "sizes": (8,)}, {"rate": 0.1, "sizes": (8, 4)}
RECORDS = [
    TrialRecord(0, "complete", 2.0, (1.5, 2.5), SMALL, 3.0, "a", 1, None, ""),
    TrialRecord(1, "requeued", None, (), LARGE, None, "b", None, None, "end"),
    TrialRecord(2, "pruned", 3.0, (), LARGE, 1.0, "a", 1, 1, "worse"),
    TrialRecord(3, "complete", 1.0, (0.5, 1.5), {**LARGE, "rate": 0.001}, 2.0, "a", 1, None, ""),
]


def test_every_trial_is_a_row():
    table = trials_table(RECORDS, KNOBS)
    assert list(table.columns) == [
        "number", "state", "value", "window_1", "window_2", "rate", "sizes", "seconds", "seed",
        "worker", "retry_of", "reason",
    ]  # fmt: skip
    assert list(table["state"]) == ["complete", "requeued", "pruned", "complete"]
    assert list(table["sizes"]) == ["[8]", "[8, 4]", "[8, 4]", "[8, 4]"]
    assert table["window_2"].fillna(0).tolist() == [2.5, 0, 0, 1.5]
    assert table["retry_of"].isna().tolist() == [True, True, False, True]


def test_history_keeps_the_best_complete_value():
    facts = history_facts(trials_table(RECORDS, KNOBS))
    assert facts["number"].tolist() == [0, 2, 3]
    assert facts["best"].tolist() == [2.0, 2.0, 1.0]


def test_slices_place_values_between_the_ends_of_the_space():
    facts = slice_facts(trials_table(RECORDS, KNOBS), KNOBS)
    rate, sizes = (facts[facts["knob"] == name] for name in ("rate", "sizes"))
    np.testing.assert_allclose(rate["position"], [0.5, 1.0, 0.0], atol=1e-12)
    assert rate["label"].tolist() == ["0.01", "0.1", "0.001"]
    assert sizes["position"].tolist() == [0.0, 1.0, 1.0]
    assert rate["log"].all() and not sizes["log"].any()
    assert isinstance(facts, pd.DataFrame) and facts["value"].notna().all()
