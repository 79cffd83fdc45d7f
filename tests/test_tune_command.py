"""``explstm tune``: what a run folder holds, and what outlives a run that was stopped."""

import json
import os
import signal

import pandas as pd
import pytest

from explstm import ExpLSTM, ModelSpec
from explstm.commands.tune import tune_file
from explstm.errors import TrainingStopped
from explstm.options import DataOptions
from toy_tuning import SPACE, H, make_toy

pytest.importorskip("optuna")
SETTINGS = {"init": "random", "max_steps": 3, "spec": ModelSpec(hidden_sizes=(3,))}


@pytest.fixture
def file(tmp_path):
    make_toy().to_csv(tmp_path / "sales.csv", index=False)
    return tmp_path / "sales.csv"


def tune(file, name="run", **options):
    options = {"trials": 6, "settings": SETTINGS, "space": SPACE, **options}
    return tune_file(file, H, file.parent / name, DataOptions(), **options)


def test_a_run_folder_holds_the_record_the_model_and_the_figures(file):
    pytest.importorskip("seaborn")
    found = tune(file)
    run = file.parent / "run"
    trials = pd.read_csv(run / "trials.csv")
    assert len(trials) == 6 and trials["number"].tolist() == list(range(6))
    assert {"state", "value", "window_1", "window_2", "seconds", "seed", "worker", "reason"} <= set(
        trials
    )
    best = json.loads((run / "best.json").read_text())
    assert best["verdict"] == found.verdict and set(best["params"]) == set(best["own"])
    for name in ("history", "importance", "parallel", "slices"):
        for end in ("csv", "png", "svg"):
            assert (run / f"tuning-{name}.{end}").stat().st_size > 0
    saved = ExpLSTM.load(run / "model")
    assert saved.predict(make_toy(), h=H).shape == (5 * H, 3)
    assert json.loads((run / "run.json").read_text())["arguments"]["trials"] == 6
    assert sorted(path.name for path in file.parent.iterdir()) == ["run", "sales.csv"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 6), (signal.SIGINT, 130)])
def test_a_signal_keeps_what_was_finished_and_the_same_call_goes_on(file, number, code):
    def stop(record):
        if record.number == 1:
            os.kill(os.getpid(), number)

    with pytest.raises(TrainingStopped, match=r"after 2 of 4 trials.*run\.tune\.db") as raised:
        tune(file, trials=4, plot=False, on_trial=stop)
    assert raised.value.exit_code == code
    assert sorted(p.name for p in file.parent.iterdir() if "-" not in p.name) == [
        "run.tune.db", "sales.csv",
    ]  # fmt: skip
    ended = []
    tune(file, trials=4, plot=False, on_trial=ended.append)
    assert [record.number for record in ended] == [2, 3]
    assert sorted(path.name for path in file.parent.iterdir()) == ["run", "sales.csv"]


def test_a_shared_storage_stays_and_a_second_run_adds_nothing(file):
    storage = f"sqlite:///{file.parent / 'tune.db'}"
    one = tune(file, "one", trials=3, storage=storage, plot=False)
    ended = []
    other = tune(file, "other", trials=3, storage=storage, plot=False, on_trial=ended.append)
    assert ended == []
    assert other.params == one.params
    assert (file.parent / "tune.db").is_file()
