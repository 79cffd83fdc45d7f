"""A find is only taken where it is better by more than luck."""

import math

import numpy as np
import pytest

from explstm.finalists import FINALISTS, best_trials, choose_finalist, own_number, tell_verdict
from explstm.study import TrialRecord


def record(number, value=None, state="complete", retry_of=None, **params):
    return TrialRecord(number, state, value, (), params or {"x": number}, 1.0, "w", 1, retry_of, "")


RECORDS = [record(0, 1.0), record(1, 0.9), record(2, 1.1), record(3, 0.8), record(4, 0.5, "pruned")]
OWN_N = np.array([1.0, 2.0, 3.0, 2.0])


def test_rivals_are_the_complete_trials_better_than_the_own_one():
    assert [r.number for r in best_trials(RECORDS)] == [3, 1]
    many = [record(0, 9.0), *(record(n, 1.0 + n) for n in range(1, 7))]
    assert [r.number for r in best_trials(many)] == [1, 2, 3]
    assert FINALISTS == 3
    same = [record(0, 9.0), record(1, 2.0), record(2, 2.0), record(3, 1.0), record(4, 2.5)]
    assert [r.number for r in best_trials(same)] == [3, 1, 4], "equal errors are the same model"


def test_the_own_trial_is_found_where_it_was_continued():
    records = [
        record(0, state="requeued"),
        record(1, 0.7),
        record(2, state="requeued", retry_of=0),
        record(3, 1.0, retry_of=2),
    ]
    assert own_number(records) == 3
    assert own_number(records[:3]) is None
    assert own_number([]) is None


def test_a_find_within_one_standard_error_is_not_taken_and_beyond_it_is():
    gain_N = np.array([0.5, -0.5, 0.4, 0.1])  # its mean, 0.125, is below its standard error
    error = math.sqrt(0.6075 / 3) / 2  # squares about the mean over N - 1, and the root of N
    assert gain_N.mean() < error
    lucky = {0: OWN_N, 3: OWN_N - gain_N, 1: OWN_N + 1}
    table, chosen = choose_finalist(RECORDS, lambda r: lucky[r.number])
    assert chosen.number == 0
    row = table.set_index("number").loc[3]
    assert row["difference"] == pytest.approx(-0.125, abs=1e-12)
    assert row["standard_error"] == pytest.approx(error, abs=1e-12)
    assert math.isnan(table["difference"][0])
    better = {**lucky, 3: OWN_N - gain_N - 0.3}
    assert choose_finalist(RECORDS, lambda r: better[r.number])[1].number == 3


def test_one_series_changes_nothing_and_the_verdict_says_why():
    errors = {0: [2.0], 3: [1.0], 1: [1.9]}
    table, chosen = choose_finalist(RECORDS, lambda r: np.array(errors[r.number]))
    assert chosen.number == 0
    row = table.set_index("number").loc[3]
    assert row["difference"] == -1.0 and math.isnan(row["standard_error"])
    said = tell_verdict(RECORDS, table, chosen, {"x": 0})
    assert said == (
        "5 trials: the model stays as it is, for one series cannot tell a gain from luck."
    )


def test_two_series_count_as_few():
    """Gains 1 and 9: mean 5, error 4. Gains -0.4 and 9.4: 4.5 and 4.9 (over N, not N - 1: 3.5)."""
    own_N = np.array([10.0, 10.0])
    for gain, number in (([1, 9], 3), ([-0.4, 9.4], 0)):
        errors = {0: own_N, 1: own_N + 20, 3: own_N - np.array(gain)}
        assert choose_finalist(RECORDS, lambda r, e=errors: e[r.number])[1].number == number


def test_what_could_not_be_judged_is_not_chosen():
    assert choose_finalist(RECORDS, lambda r: None)[1].number == 0
    only_own = choose_finalist(RECORDS, lambda r: OWN_N if r.number == 0 else None)
    assert only_own[1].number == 0
    no_own = choose_finalist(RECORDS, lambda r: OWN_N / 9 if r.number else None)
    assert no_own[1].number == 0, "there is nothing to compare it with"
    failed = [record(0, state="failed"), *RECORDS[1:]]
    assert choose_finalist(failed, lambda r: OWN_N * r.value)[1].number == 3
    assert choose_finalist([], lambda r: OWN_N)[1] is None


def test_nothing_is_trained_again_where_the_own_trial_is_the_best():
    records = [record(0, 0.1), record(1, 0.9)]
    table, chosen = choose_finalist(records, lambda r: pytest.fail("trained for nothing"))
    assert (len(table), chosen.number) == (0, 0)


def test_the_verdict_says_what_was_found_and_how_good_it_is():
    errors = {0: OWN_N, 3: 0.9 * OWN_N, 1: OWN_N}
    table, chosen = choose_finalist(RECORDS, lambda r: errors[r.number])
    said = tell_verdict(RECORDS, table, chosen, {"x": 0})
    assert said.startswith("5 trials: x=3 (trial 3), 10.0% below the model as it was")
    kept = tell_verdict(RECORDS, table, RECORDS[0], {"x": 0})
    assert "stays as it is" in kept and "one standard error" in kept
    assert "no time" in tell_verdict(RECORDS, table[:1], RECORDS[0], {"x": 0})
    assert "No trial came to an end" in tell_verdict([], table[:0], None, {"x": 0})
