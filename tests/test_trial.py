"""Trials run in their own process, and tell what happened there."""

import os

import numpy as np
import pandas as pd
import pytest

from explstm import trial as trials
from explstm.errors import BackendNotInstalledError, TrainingError, UsageError
from explstm.trial import Trial, measure_peak_memory, require_engine, run_trials

SETTINGS = {"max_steps": 2, "val_size": 0}


@pytest.fixture
def past() -> pd.DataFrame:
    """Two series that grow by 2 per cent a month."""
    ds = pd.date_range("2020-01-01", periods=30, freq="MS")
    return pd.concat(
        [pd.DataFrame({"unique_id": name, "ds": ds, "y": 1.02 ** np.arange(30)}) for name in "ab"],
        ignore_index=True,
    )


def test_a_trial_runs_in_another_process_and_brings_back_facts(past):
    done = []
    (result,) = run_trials([Trial("torch", 1, past, 3, SETTINGS)], done.append)
    assert [trial.seed for trial in done] == [1]
    assert list(result.forecast.columns) == ["ExpLSTM", "ExpLSTM-lo-80", "ExpLSTM-hi-80"]
    assert len(result.forecast) == 6
    assert list(result.log["step"]) == [1, 2]
    assert result.steps_per_epoch == 1.0
    assert np.isfinite(result.first_outputs_RHQ).all()
    assert 50 < result.peak_memory_mib < 20_000


def test_an_error_of_the_trial_arrives_as_itself(past):
    with pytest.raises(UsageError, match="growth='cubic'") as raised:
        list(run_trials([Trial("torch", 1, past, 3, {"growth": "cubic"})]))
    assert raised.value.code == "CONFIG_VALUE"


class _Exits:
    """Ends the process that unpickles it, as the kernel does when memory runs out."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_killed_process_is_told_with_the_remedy():
    with pytest.raises(TrainingError, match=r"ended with code 9.*lower batch_size"):
        list(run_trials([Trial("torch", 1, _Exits(), 3, SETTINGS)]))


def test_peak_memory_counts_this_process(past):
    before = measure_peak_memory()
    block = np.ones(64 * trials.MIB // 8)
    assert measure_peak_memory() >= before
    assert block.sum() > 0


def test_a_missing_framework_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(trials, "find_spec", lambda module: None)
    with pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[tensorflow\]'"):
        require_engine("tensorflow")
