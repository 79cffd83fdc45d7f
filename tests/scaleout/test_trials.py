"""Trials on workers that die, of drivers that die: none lost, doubled or without a value."""

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import psutil
import pytest

import toy_trials
from databases import PASSWORD
from explstm import ExpLSTM, __version__, cli
from explstm.errors import BusyError, DataError, ExpLSTMError, ModelFileError, UsageError
from explstm.frame import as_panel
from explstm.interruption import Interruption
from explstm.scaleout.attempts import begin_attempt, delete_all, end_trial, take_over, write_looks
from explstm.scaleout.engines import do_task
from explstm.scaleout.run import Progress
from explstm.scaleout.trials import Answer, SearchProgress, TrialTask, train_task
from explstm.screen import Screen
from explstm.search import Clock, Ending, make_plan, tell_ending, train_trial
from explstm.study import (
    claim_trial,
    find_limits,
    read_records,
    report_value,
    settle_trial,
)
from explstm.study_storage import parse_storage
from toy_study import OWN, judge, open_toy
from toy_tasks import die, sleep_once
from toy_tuning import SPACE, H, make_toy, toy_model

pytest.importorskip("optuna")


@contextmanager
def begin(
    storage: str, n_trials: int, engine: str, workers: int, folder: Path
) -> Iterator[subprocess.Popen]:
    """A driver, as a process."""
    command = [sys.executable, toy_trials.__file__, storage, str(n_trials), engine, str(workers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [*command, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen, done: int, lost: int = 0) -> None:
    assert process.stdout is not None
    for told in process.stdout:
        numbers = told.split()
        if numbers != ["done"] and int(numbers[0]) >= done and int(numbers[1]) >= lost:
            return
    raise AssertionError("the driver ended before that")


def find_workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes of a Ray cluster that train a trial."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [one for one in below if "ray::do_task" in " ".join(one.cmdline())]


def check_whole(storage: str, n_trials: int, folder: Path) -> list:
    """Every trial has one result, whoever died over it, and what is not finite is none."""
    with open_toy(storage) as shared:
        records = read_records(shared)
        raw = {trial.number: trial for trial in shared.study.get_trials()}
    assert len(records) == len({r.number for r in records})
    states = Counter(r.state for r in records)
    assert set(states) <= {"complete", "failed", "requeued"}
    assert states["complete"] + states["failed"] == n_trials
    successors = Counter(r.retry_of for r in records if r.retry_of is not None)
    lost = [r.number for r in records if r.state == "requeued"]
    assert successors == dict.fromkeys(lost, 1)
    settled = [r for r in records if r.state != "requeued"]
    assert len({tuple(r.params.items()) for r in settled}) == n_trials
    assert sum(r.params == OWN for r in settled) == 1
    for record in settled:
        hopeless = record.params["n"] >= toy_trials.TOO_FAR
        assert record.state == ("failed" if hopeless else "complete")
        assert record.value == (None if hopeless else pytest.approx(judge(record.params)))
        assert raw[record.number].state.name == ("FAIL" if hopeless else "COMPLETE")
        assert raw[record.number].values is None or hopeless is False
        assert record.ran["process"] != os.getpid() and record.ran["peak_mib"] > 0
    assert states["failed"], "the toy must meet its infinite errors for this to tell anything"
    attempts = Counter(path.name.split("-")[1] for path in (folder / "attempts").iterdir())
    assert set(attempts.values()) == {1}, "an attempt was worked on twice"
    assert set(map(int, attempts)) >= {r.number for r in settled}
    return records


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_worker_and_a_killed_driver_cost_nothing(database, tmp_path):
    """Four workers on one study in PostgreSQL, one of them killed, then the driver."""
    pytest.importorskip("ray")
    n_trials, n_workers = 16, 4
    with begin(database, n_trials, "ray", n_workers, tmp_path) as process:
        wait_for(process, 3)
        while not (workers := find_workers(process)):
            assert process.poll() is None
        workers[-1].kill()
        wait_for(process, 6, lost=1)
        workers = find_workers(process)
        process.kill()
        process.wait()
        assert not psutil.wait_procs(workers, timeout=60)[1]
    with open_toy(database) as shared:
        before = {r.number: r for r in read_records(shared)}
    assert any(r.state == "running" for r in before.values()), "no kill hit a running trial"
    assert sum(r.reason == "its worker died" for r in before.values()) == 1
    # With another engine, which begins in less time than a second cluster.
    toy_trials.run_search(database, n_trials, "local", n_workers, tmp_path, tell=lambda _: None)
    records = check_whole(database, n_trials, tmp_path)
    for number, record in before.items():  # what was told stays as it was told
        if record.state in ("complete", "failed"):
            assert records[number] == record
    requeued = [r for r in records if r.state == "requeued"]
    assert 2 <= len(requeued) <= 1 + n_workers
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.slow
def test_two_drivers_share_a_study_and_one_takes_over_what_the_other_leaves(database, tmp_path):
    n_trials = 16
    with (
        begin(database, n_trials, "local", 2, tmp_path) as one,
        begin(database, n_trials, "local", 2, tmp_path) as other,
    ):
        wait_for(one, 3)
        wait_for(other, 5)
        one.kill()
        other.communicate(timeout=120)
        assert other.returncode == 0
    records = check_whole(database, n_trials, tmp_path)
    assert len({r.worker for r in records if r.state in ("complete", "failed")}) == 2


@pytest.fixture
def storage(tmp_path):
    return str(tmp_path / "tune.db")


def search(storage, folder, n_trials=2, workers=2, **hooks):
    hooks.setdefault("tell", lambda _: None)
    toy_trials.run_search(storage, n_trials, "local", workers, folder, **hooks)
    with open_toy(storage) as shared:
        return read_records(shared)


def test_progress_tells_what_runs_and_what_was_lost(storage, tmp_path):
    told = []
    search(storage, tmp_path, n_trials=6, tell=told.append)
    assert [now.done for now in told] == sorted(now.done for now in told)
    assert told[-1].done == told[-1].ended == told[-1].total == 6 and told[-1].running == 0
    assert max(now.running for now in told) == 2
    with open_toy(storage) as shared:
        records = read_records(shared)
    assert told[-1].failed == sum(r.state == "failed" for r in records)
    assert told[-1].best == min(r.value for r in records if r.value is not None)


def test_a_trial_that_takes_its_worker_along_is_failed_in_the_end(storage, tmp_path):
    told = []
    records = search(storage, tmp_path, n_trials=1, workers=1, work=die, tell=told.append)
    assert [r.state for r in records] == ["requeued", "requeued", "failed"]
    assert records[-1].reason == "its worker died, 3 times" and told[-1].lost == 3


def hang_once(task):
    sleep_once(Path(str(task.model)) / "marker")
    return toy_trials.work(task)


def test_a_worker_that_hangs_is_given_up(storage, tmp_path):
    records = search(storage, tmp_path, 1, 1, work=hang_once, task_seconds=10.0)
    assert [r.state for r in records] == ["requeued", "complete"]
    assert records[0].reason == "its worker took too long"


def refuse_others(task):
    if task.params == OWN:
        return toy_trials.work(task)
    raise DataError("DATA_GAP", "a sentence.")


def test_what_no_trial_can_mend_ends_the_search_and_loses_nothing(storage, tmp_path):
    with pytest.raises(DataError, match="a sentence"):
        search(storage, tmp_path, 3, 1, work=refuse_others)
    records = search(storage, tmp_path, 3, 1)
    assert [r.state for r in records] == ["complete", "requeued", "complete", "complete"]
    assert "a sentence" in records[1].reason


def test_a_signal_puts_back_what_is_trained(storage, tmp_path):
    noted = Interruption()

    def interrupt(now):
        noted.signal = 15 if now.running == 2 else None

    began = time.monotonic()
    records = search(storage, tmp_path, 4, work=hang_once, clock=Clock(None, noted), tell=interrupt)
    assert time.monotonic() - began < 300  # a hang takes ten minutes
    assert [r.state for r in records] == ["requeued", "requeued", "waiting", "waiting"]
    assert {r.reason for r in records[:2]} == {"stopped on request"}


def stop_in_time(task):
    return Answer(Ending("stopped", 0.0, reason="the time was over"), {}, {})


def test_when_the_time_is_over_the_trials_wait_for_another_run(storage, tmp_path):
    clock = Clock(1000.0)

    def expire(now):
        clock.timeout = 0.0

    records = search(storage, tmp_path, 4, 1, work=stop_in_time, clock=clock, tell=expire)
    assert [r.state for r in records] == ["requeued", "waiting"]
    assert records[0].reason == "the time was over"


# ------------------------------------------------------------------------------------- checkpoints


def test_an_attempt_is_one_process_alone(tmp_path):
    root = tmp_path / "trials"
    folder = begin_attempt(root, "s", 3, 7)
    with pytest.raises(BusyError, match="ATTEMPT_BUSY"):
        begin_attempt(root, "s", 3, 7)
    assert begin_attempt(root, "s", 3, 9).parent == folder.parent
    end_trial(folder)
    assert list(tmp_path.iterdir()) == []


def test_looks_that_a_kill_has_torn_are_passed_over(tmp_path):
    one, two, three = (begin_attempt(tmp_path, "s", 0, number) for number in (0, 4, 9))
    write_looks(one, {1: 0.5, 2: 0.25})
    (two / "looks.json").write_text(json.dumps({"1": 0.5})[:-3])
    assert take_over(three) == {1: 0.5, 2: 0.25}
    assert take_over(one) == {}


def toy_task(**changes):
    plan = make_plan(toy_model(), as_panel(make_toy()), H, parse_storage("x"), space=SPACE)
    task = TrialTask(plan.model, {**plan.own, "max_steps": 16}, plan.folds.search, H)
    return replace(task, **changes)


def test_an_attempt_goes_on_with_what_the_one_before_it_came_to(tmp_path):
    """The result is that of a training that nobody disturbed, and what is left is not trained."""
    pytest.importorskip("torch")
    whole = train_task(toy_task())
    one, other = (begin_attempt(tmp_path, "s", 0, number) for number in (0, 3))
    stopped = train_task(toy_task(folder=one, left=1e9, reserve=1e9 - 0.0))
    assert stopped.ending.state == "stopped" and not stopped.looks
    steps = []

    def stop(model, params, windows, h, *, is_worse, why_stop, **more):
        def count(spent):
            steps.append(spent)
            return "killed" if len(steps) == 11 else ""

        return train_trial(model, params, windows, h, is_worse=is_worse, why_stop=count, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explstm.scaleout.trials.train_trial", stop)
        assert train_task(toy_task(folder=one)).ending.state == "stopped"
        assert len(steps) == 11 and (one / "step-00000008").is_dir()
        steps.clear()
        steps += [0.0] * 100
        answer = train_task(toy_task(folder=other))
    assert len(steps) == 100 + 16 - 8
    assert answer.ending.windows == whole.ending.windows
    assert answer.looks == whole.looks and set(whole.looks) == {1, 2, 3}
    assert (other / "step-00000016").is_dir() and not (one / "step-00000016").exists()


def test_an_attempt_whose_folder_is_gone_writes_nothing_and_ends_the_run(tmp_path):
    pytest.importorskip("torch")
    folder = begin_attempt(tmp_path, "s", 0, 0)

    def remove(model, params, windows, h, *, why_stop, **more):
        def once(_spent):
            shutil.rmtree(folder.parent, ignore_errors=True)
            return ""

        return train_trial(model, params, windows, h, why_stop=once, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explstm.scaleout.trials.train_trial", remove)
        outcome = do_task(__version__, train_task, toy_task(folder=folder))
    assert isinstance(outcome, ExpLSTMError) and outcome.code == "WORKER_FILES"
    assert not folder.parent.exists()


def test_a_checkpoint_that_cannot_be_written_is_not_the_fault_of_the_trial(storage):
    error = ModelFileError("MODEL_UNWRITABLE", "no space is left.")
    with open_toy(storage) as shared:
        claim_trial(shared, 2)
        trial = claim_trial(shared, 2)
        with pytest.raises(ModelFileError):
            tell_ending(shared, trial, Ending("failed", 1.0, reason=str(error), error=error), 1)
        assert [r.state for r in read_records(shared)] == ["running", "requeued", "waiting"]


def test_a_worker_gives_up_by_the_best_that_it_has_reported():
    def ask(model, params, windows, h, *, is_worse, why_stop):
        told = [is_worse(1, 0.5), is_worse(2, 0.9), is_worse(3, 0.7)]
        assert told == [False, False, True] and not why_stop(1e9)
        return Ending("pruned", 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explstm.scaleout.trials.train_trial", ask)
        limits = {1: 1.0, 2: 0.6, 3: 0.4}  # its best is 0.5
        assert train_task(toy_task(limits=limits)).looks == {1: 0.5, 2: 0.9, 3: 0.7}


def test_limits_are_those_of_the_pruner(storage):
    """A worker, which asks nobody, gives up what the study's own rule would have pruned."""
    chance = random.Random(4)
    with open_toy(storage) as shared:
        for number in range(16):
            trial = claim_trial(shared, 16)
            limits, looks, pruned = find_limits(shared, trial), {}, []
            for part in (1, 2, 3):
                looks[part] = chance.uniform(0, 1)
                pruned.append(report_value(trial, looks[part], part))
                assert pruned[-1] == (min(looks.values()) > limits.get(part, math.inf))
            assert number >= 5 or not limits
            settle_trial(shared, trial, [looks[3]], 0.0, 1)


@pytest.mark.slow
@pytest.mark.ray
def test_a_command_on_a_cluster_finds_what_it_finds_without(
    database, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("ray")
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    make_toy().to_csv("sales.csv", index=False)
    space = [f"{name}={json.dumps(value)}" for name, value in SPACE.items()]
    settings = ["init=random", "hidden_sizes=[3]", "max_steps=3"]
    command = ["tune", "sales.csv", "--horizon", str(H), "--trials", "7", "--no-plot", "--debug"]
    command += [part for one in space for part in ("--space", one)]
    command += [part for one in settings for part in ("--set", one)]
    command += ["--engine", "ray", "--workers", "1", "--storage", database, "--out", "ours"]
    assert cli.run(command) == 0, capsys.readouterr().err
    printed = "".join(capsys.readouterr())
    assert {path.name for path in tmp_path.iterdir()} == {"sales.csv", "ours"}
    written = b"".join(path.read_bytes() for path in Path("ours").rglob("*") if path.is_file())
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in printed and secret.encode() not in written
    record = json.loads(Path("ours/run.json").read_text())
    assert record["arguments"]["storage"] == "postgresql://" + database.rpartition("@")[2]
    ran = pd.read_csv("ours/ran.csv")
    assert ran["number"].tolist() == list(range(7)) and not (ran["process"] == os.getpid()).any()
    model = ExpLSTM(**{**toy_model().get_params(), "freq": 1, "season_length": None})
    told = model.tune(make_toy(), H, n_trials=7, space=SPACE).tuning_.trials
    ours = pd.read_csv("ours/trials.csv")
    assert ours["state"].tolist() == told["state"].tolist()
    np.testing.assert_allclose(ours["value"], told["value"], rtol=1e-12)
    for knob in ("max_steps", "learning_rate"):
        np.testing.assert_allclose(ours[knob], told[knob], rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--address", "a:1"), "CONFIG_CONFLICT: --address and --checkpoints belong to --engine"),
        (("--checkpoints", "trials"), "CONFIG_CONFLICT: --address and --checkpoints belong"),
        (
            ("--engine", "local", "--checkpoints", "s3://me:pw@b/c"),
            "CHECKPOINT_URL: .* at s3://b/c;",
        ),
        (("--engine", "local", "--address", "a:1"), "CONFIG_CONFLICT: an address is one of Ray"),
        (("--engine", "ray"), r"RAY_NOT_INSTALLED: .*pip install 'explstm\[ray\]'"),
    ],
)
def test_options_that_cannot_be_used_are_told(tmp_path, monkeypatch, capsys, options, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    make_toy().to_csv("sales.csv", index=False)
    assert cli.run(["tune", "sales.csv", "--horizon", str(H), "--no-plot", *options]) == 2
    assert re.search(told, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["sales.csv"]


def test_a_terminal_shows_how_far_a_search_is(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Screen(False).search() as show:
        show(SearchProgress(6, 20, 4, pruned=2, failed=1, lost=3, best=0.8251, seconds=30, ended=5))
    told = capsys.readouterr().err
    assert "4 running, 10.0/min, 2 pruned, 1 failed, 3 begun again, best 0.8251" in told
    with Screen(False).throughput() as show:
        show(Progress("forecasting", 1, 9, series=50, set_aside=2, lost=1, seconds=2.0))
    assert "50 series, 25/s, 2 set aside, 1 begun again" in capsys.readouterr().err


def test_what_earlier_studies_have_left_goes_and_nothing_else(tmp_path):
    begin_attempt(tmp_path / "run.trials", "s", 0, 0)
    (tmp_path / "run.trials" / "notes.txt").write_text("mine")
    delete_all(tmp_path / "run.trials")
    assert [path.name for path in (tmp_path / "run.trials").iterdir()] == ["notes.txt"]
    delete_all(tmp_path / "run.trials" / "nowhere")


def test_the_same_arguments_are_refused_as_without_an_engine():
    from explstm.scaleout import tune

    with pytest.raises(UsageError, match="address is one of Ray"):
        tune(None, None, 1, address="a:1")
    with pytest.raises(UsageError, match="searcher"):
        tune(None, None, 1, searcher=print)
