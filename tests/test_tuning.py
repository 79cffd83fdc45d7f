"""Tuning begins with the model as it is, never looks ahead, and survives what happens to it."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explstm import ExpLSTM, ModelSpec, search
from explstm.errors import DataError, TrainingError, TrainingStopped, UsageError
from explstm.interruption import Interruption
from explstm.search import Clock, make_plan
from explstm.search_space import own_params
from explstm.study_storage import parse_storage
from toy_tuning import SPACE, H, make_toy, toy_model, tune_toy

pytest.importorskip("optuna")
SCRIPT = Path(__file__).with_name("toy_tuning.py")
LUCK = ["seconds", "worker"]


def told(model):
    """What of a tuning must be the same when it is run again."""
    return model.tuning_.trials.drop(columns=LUCK)


def test_the_first_trial_is_the_model_as_it_is_and_the_result_is_fitted():
    model = toy_model()
    found = model.tune(make_toy(), H, n_trials=3, space=SPACE)
    own = found.tuning_.own
    assert found.tuning_.records[0].params == own == own_params(model, found.tuning_.knobs)
    assert set(found.tuning_.trials["state"]) == {"complete"}
    assert own_params(found, found.tuning_.knobs) == found.tuning_.params
    assert not hasattr(model, "weights_")
    again = ExpLSTM(**found.get_params()).fit(make_toy(), h=H)
    pd.testing.assert_frame_equal(found.predict(h=H), again.predict(h=H))
    assert (
        found.tuning_.verdict in (found.tuning_.verdict.strip(), "") and found.tuning_.seconds > 0
    )


def test_a_seed_says_everything():
    one, other = tune_toy(4), tune_toy(4)
    pd.testing.assert_frame_equal(told(one), told(other))
    pd.testing.assert_frame_equal(one.predict(), other.predict())
    third = toy_model(random_seed=2).tune(make_toy(), H, n_trials=4, space=SPACE)
    assert not told(one).equals(told(third))


def test_the_search_sees_nothing_of_the_last_horizon():
    weak = toy_model(spec=ModelSpec(hidden_sizes=(3,), residual=False))
    one, other = (weak.tune(make_toy(last), H, n_trials=5, space=SPACE) for last in (1.0, 3.0))
    pd.testing.assert_frame_equal(told(one), told(other))
    assert len(one.tuning_.finalists), "the toy must have finalists for this to tell anything"
    errors = [model.tuning_.finalists["error"] for model in (one, other)]
    assert not np.allclose(*errors), "and the finalists are judged there"


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(tmp_path):
    chance, storage, n_trials = random.Random(2), tmp_path / "tune.db", 6
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(storage), str(n_trials)],
            stdout=subprocess.PIPE,
            text=True,
        )
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.3))
        child.kill()
        child.communicate()
    killed = tune_toy(n_trials, storage=storage)
    states = Counter(killed.tuning_.trials["state"])
    assert states["complete"] + states["pruned"] == n_trials
    whole = tune_toy(n_trials)
    columns = ["value", *(knob.name for knob in whole.tuning_.knobs)]
    ended, expected = (
        model.tuning_.trials.query("state in ('complete', 'pruned')")[columns]
        for model in (killed, whole)
    )
    by = ["value", "learning_rate"]
    pd.testing.assert_frame_equal(
        ended.sort_values(by, ignore_index=True),
        expected.sort_values(by, ignore_index=True),
        check_dtype=False,  # a trial that died before it had a value makes its column one of floats
    )
    pd.testing.assert_frame_equal(killed.predict(), whole.predict())


@pytest.mark.slow
def test_helpers_share_the_search():
    found = tune_toy(8, workers=2)
    assert len(found.tuning_.trials) == 8
    assert set(found.tuning_.trials["state"]) <= {"complete", "pruned"}


def test_a_training_that_diverges_is_a_failed_trial_and_the_search_goes_on(monkeypatch):
    original = search.train_and_score

    def explode(model, folds, h, **hooks):
        if len(folds) > 1 and model.get_params()["batch_size"] == 2:
            raise TrainingError("TRAINING_DIVERGED", "training diverged at step 3")
        return original(model, folds, h, **hooks)

    monkeypatch.setattr(search, "train_and_score", explode)
    found = tune_toy(8)
    trials = found.tuning_.trials
    failed = trials["state"] == "failed"
    assert 0 < failed.sum() < 8 and len(trials) == 8
    assert (failed == (trials["batch_size"] == "2")).all()
    assert trials["value"][failed].isna().all()
    assert (trials["reason"][failed] == "TRAINING_DIVERGED: training diverged at step 3").all()


@pytest.mark.parametrize("error", [np.inf, np.nan])
def test_an_error_that_is_not_finite_is_no_result(monkeypatch, error):
    original = search.train_and_score

    def spoil(model, folds, h, **hooks):
        errors = original(model, folds, h, **hooks)
        return [error_N * error for error_N in errors] if model.learning_rate != 5e-3 else errors

    monkeypatch.setattr(search, "train_and_score", spoil)
    found = tune_toy(4)
    assert list(found.tuning_.trials["state"]) == ["complete", "failed", "failed", "failed"]
    assert not found.tuning_.improved


def test_a_trial_worse_than_the_others_half_way_is_pruned():
    found = tune_toy(16)
    pruned = found.tuning_.trials.query("state == 'pruned'")
    assert len(pruned)
    assert pruned["reason"].str.contains("worse than the median").all()
    assert pruned["window_1"].isna().all()


@pytest.mark.parametrize("steps_before", [3, 7])
def test_a_time_limit_ends_within_a_trial_and_still_returns_a_model(monkeypatch, steps_before):
    looked = 0

    def spent(clock):
        nonlocal looked
        looked += 1
        return 0.0 if looked < steps_before else 1e9

    monkeypatch.setattr(Clock, "spent", spent)
    found = tune_toy(6, timeout=100.0)
    records = found.tuning_.records
    assert records[-1].state == "waiting" and records[-2].state == "requeued"
    assert records[-2].reason == "the time was over"
    assert not found.tuning_.improved
    assert len(found.predict(h=2)) == 10


def test_a_signal_stops_the_search_and_the_same_call_goes_on(tmp_path):
    noted = Interruption()

    def interrupt(record):
        if record.number == 1:
            noted.signal = 15

    with pytest.raises(TrainingStopped, match=r"after 2 of 5 trials.*run it again") as raised:
        tune_toy(5, storage=tmp_path / "tune.db", on_trial=interrupt, interruption=noted)
    assert raised.value.exit_code == 6
    ended = []
    found = tune_toy(5, storage=tmp_path / "tune.db", on_trial=ended.append)
    assert [record.number for record in ended] == [2, 3, 4]
    pd.testing.assert_frame_equal(told(found), told(tune_toy(5)))


def test_a_storage_of_other_data_is_refused(tmp_path):
    tune_toy(1, storage=tmp_path / "tune.db")
    with pytest.raises(UsageError, match=r"something else \(other data\)"):
        tune_toy(1, make_toy(last=2.0), storage=tmp_path / "tune.db")
    with pytest.raises(UsageError, match="other space"):
        tune_toy(1, storage=tmp_path / "tune.db", space={**SPACE, "window": [16, 128]})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_trials": 0}, "n_trials=0"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"timeout": 0}, "timeout=0"),
        ({"n_windows": 0}, "n_windows=0"),
        ({"storage": "mysql://host/db"}, "sqlite:///"),
        ({"space": {"cells": 1}}, "did you mean cell"),
    ],
)
def test_arguments_that_cannot_be_used_are_told_before_anything_is_trained(options, words):
    with pytest.raises(UsageError, match=words):
        tune_toy(**{"n_trials": 1, **options})


def test_what_cannot_be_tuned_is_told():
    with pytest.raises(UsageError, match="only forecasts"):
        ExpLSTM().tune(make_toy(), H)
    with pytest.raises(DataError, match="fewer or shorter windows"):
        tune_toy(1, n_windows=9)
    names = [knob.name for knob in make_plan(toy_model(), panel(), H, parse_storage("x")).knobs]
    with pytest.raises(UsageError, match="leave something"):
        fixed = own_params(
            toy_model(), make_plan(toy_model(), panel(), H, parse_storage("x")).knobs
        )
        tune_toy(1, space={name: fixed[name] for name in names})


def test_a_model_that_has_seen_the_windows_is_refused(tmp_path):
    toy_model().fit(make_toy(), h=H).save(tmp_path / "model")
    with pytest.raises(UsageError, match="trained on steps up to"):
        ExpLSTM(backend="torch", init=str(tmp_path / "model"), max_steps=60).tune(make_toy(), H)


@pytest.mark.slow
def test_fine_tuning_is_tuned_from_the_pretrained_model():
    model = ExpLSTM(backend="torch", max_steps=3)
    found = model.tune(make_toy(), H, n_trials=2, space={"max_steps": {"low": 2, "high": 4}})
    names = [knob.name for knob in found.tuning_.knobs]
    assert "learning_rate" in names and "hidden_sizes" not in names
    assert set(found.tuning_.trials["state"]) == {"complete"}


def panel():
    from explstm.frame import build_panel

    return build_panel(make_toy())
