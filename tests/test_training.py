"""The training loop: what it keeps, when it stops, and that a kill changes nothing.

The loop is tested on a linear model with a hand-made engine; kills and resumes on the real ones.
"""

import dataclasses
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from explstm import checkpoint
from explstm.config import TrainingConfig
from explstm.errors import BusyError, ModelFileError, TrainingError, TrainingStopped, UsageError
from explstm.forecaster import ExpLSTM
from explstm.frame import panel_frame
from explstm.growth import N_FEATURES, to_growth_space
from explstm.models.engine import make_engine
from explstm.models.spec import ModelSpec, init_weights
from explstm.origins import OriginBatches
from explstm.schedules import learning_rate
from explstm.storage import hold_lock
from explstm.training import train
from panels import grow, make_panel
from toy_run import ToyBatches, run_toy


class ScriptedEngine:
    """One weight, which counts the steps; the losses are given."""

    backend = "numpy"
    spec = ModelSpec(n_features=1)

    def __init__(self, losses=None):
        self.losses = losses or {}
        self.weights = {"w": np.zeros(1, dtype=np.float32)}
        self.rates = []

    def compile(self, optimizer, loss, *, seed):
        self.compiled = (optimizer, loss, seed)

    def train_batch(self, batch, learning_rate):
        self.rates.append(learning_rate)
        self.weights["w"] += 1
        loss = self.losses.get(int(self.weights["w"][0]), 1.0)
        if isinstance(loss, BaseException):
            raise loss
        return loss

    def dump_weights(self):
        return self.weights  # not even a copy: the loop must not rely on one

    def load_weights(self, weights):
        self.weights = {name: array.copy() for name, array in weights.items()}

    def dump_optimizer(self):
        return {}

    def load_optimizer(self, state):
        assert state == {}

    @property
    def step(self):
        return int(self.weights["w"][0])


def config_of(**changes):
    values = {"max_steps": 12, "val_check_steps": 2, "lr_schedule": "constant", **changes}
    return TrainingConfig(**values)


def run(losses=None, valid=None, **changes):
    """Train a scripted engine; ``valid`` gives the validation loss by step."""
    engine = ScriptedEngine(losses)
    validate = None if valid is None else lambda engine: valid.get(engine.step, 9.0)
    if valid is not None:
        changes.setdefault("val_size", 1)
    return engine, train(engine, ToyBatches(), config_of(**changes), validate=validate)


# ----------------------------------------------------------------------------- what a run keeps


def test_without_validation_the_last_weights_are_kept():
    engine, result = run({1: 5.0, 12: 7.0})
    assert (result.best_step, result.stopped, engine.step) == (12, "finished", 12)
    assert [row.step for row in result.log] == list(range(1, 13))
    assert [row.train_loss for row in result.log] == [5.0, *[1.0] * 10, 7.0]
    assert all(row.valid_loss is None for row in result.log)


def test_with_validation_the_best_weights_are_kept():
    engine, result = run(valid={0: 8.0, 2: 4.0, 4: 3.0, 6: 5.0, 12: 4.0})
    assert (result.best_step, result.stopped) == (4, "finished")
    assert engine.step == result.weights["w"][0] == 4
    looks = {row.step: row.valid_loss for row in result.log if row.valid_loss is not None}
    assert looks == {0: 8.0, 2: 4.0, 4: 3.0, 6: 5.0, 8: 9.0, 10: 9.0, 12: 4.0}


def test_the_last_weights_are_kept_where_validation_only_watches():
    engine = ScriptedEngine()
    valid = {0: 8.0, 2: 4.0, 4: 3.0, 12: 7.0}
    result = train(
        engine,
        ToyBatches(),
        config_of(),
        validate=lambda engine: valid.get(engine.step, 9.0),
        keep_last=True,
    )
    assert (result.best_step, result.stopped, engine.step) == (12, "finished", 12)
    assert result.weights["w"][0] == 12
    looks = {row.step: row.valid_loss for row in result.log if row.valid_loss is not None}
    assert looks == {0: 8.0, 2: 4.0, 4: 3.0, 6: 9.0, 8: 9.0, 10: 9.0, 12: 7.0}


def test_last_weights_that_exploded_are_not_kept():
    engine = ScriptedEngine({11: 1e9, 12: 1e9})
    with pytest.raises(TrainingError, match="ended above 10 times"):
        train(  # the judge likes the last step best
            engine,
            ToyBatches(),
            config_of(),
            validate=lambda engine: 20.0 - engine.step,
            keep_last=True,
        )


def test_initial_weights_that_are_never_beaten_are_kept():
    engine, result = run(valid={0: 1.0})
    assert (result.best_step, engine.step) == (0, 0)
    assert result.log[0].train_loss is None


@pytest.mark.parametrize(("patience", "last"), [(0, 6), (1, 6), (2, 8), (3, 10), (-1, 12)])
def test_early_stopping_waits_for_its_patience(patience, last):
    # Best at step 4; the looks after it are at 6, 8, 10 and 12.
    _, result = run(valid={2: 4.0, 4: 3.0}, early_stop_patience=patience)
    assert result.log[-1].step == last
    assert result.stopped == ("finished" if last == 12 else "early")
    assert result.best_step == 4


def test_the_end_is_looked_at_even_between_two_looks():
    _, result = run(valid={11: 0.5}, max_steps=11, val_check_steps=5)
    assert result.best_step == 11


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle"])
def test_the_engine_trains_at_the_scheduled_rates(name):
    engine, result = run(lr_schedule=name, learning_rate=0.5)
    assert engine.rates == [learning_rate(name, step, 12, 0.5) for step in range(12)]
    assert [row.learning_rate for row in result.log] == engine.rates


def test_the_rate_is_halved_when_the_validation_loss_stops_falling():
    engine, _ = run(valid={0: 1.0}, lr_schedule="reduce_on_plateau", learning_rate=0.5)
    assert engine.rates == [0.5] * 6 + [0.25] * 6  # looks at 2, 4 and 6 found nothing better


def test_the_engine_is_compiled_as_configured():
    engine, _ = run(
        optimizer="adamw", weight_decay=0.1, loss="huber", huber_delta=2.0, random_seed=7
    )
    optimizer, loss, seed = engine.compiled
    assert (optimizer.name, optimizer.weight_decay, optimizer.clip_norm) == ("adamw", 0.1, 1.0)
    assert (loss.name, loss.huber_delta, seed) == ("huber", 2.0, 7)


def test_every_row_is_reported_as_it_happens():
    rows = []
    result = train(ScriptedEngine(), ToyBatches(), config_of(), on_step=rows.append)
    assert tuple(rows) == result.log
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(rows))


# ------------------------------------------------------------------------------------ divergence


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_with_the_best_weights(loss):
    engine = ScriptedEngine({7: loss})
    with pytest.raises(TrainingError, match=r"step 7 \(batch 6\): the loss is") as caught:
        train(engine, ToyBatches(), config_of())
    assert caught.value.code == "TRAINING_DIVERGED"
    assert engine.step == 2  # the looks at 2, 4 and 6 found equal losses


def test_an_exploding_loss_ends_the_run_with_the_best_weights():
    engine = ScriptedEngine({4: 0.5, **{step: 50.0 for step in range(10, 100)}})
    with pytest.raises(TrainingError, match="above 10 times its best level for 20 steps"):
        train(engine, ToyBatches(), config_of(max_steps=100))
    assert engine.step == 4


def test_a_spike_passes():
    engine, _ = run({5: 1e9})
    assert engine.step == 12


def test_a_run_that_ends_exploded_keeps_the_best_weights_and_is_an_error():
    engine = ScriptedEngine({4: 0.5, 11: 1e9, 12: 1e9})
    with pytest.raises(TrainingError, match=r"ended above 10 times .*, at 1\.9e") as told:
        train(engine, ToyBatches(), config_of())
    assert told.value.exit_code == 5
    assert engine.step == 4


def test_a_run_that_explodes_before_the_first_look_keeps_the_initial_weights():
    engine = ScriptedEngine({step: 1e9 for step in range(2, 13)})
    with pytest.raises(TrainingError, match="ended above 10 times"):
        train(engine, ToyBatches(), config_of(val_check_steps=12))
    assert engine.step == 0


def test_an_exploded_run_that_never_beat_its_initial_weights_is_an_error():
    engine = ScriptedEngine({11: 1e9, 12: 1e9})
    with pytest.raises(TrainingError, match="ended above 10 times"):
        train(engine, ToyBatches(), config_of(), validate=lambda engine: 1.0 + engine.step)
    assert engine.step == 0


def test_a_run_that_ends_exploded_has_the_weights_of_its_best_validation():
    engine, result = run({11: 1e9, 12: 1e9}, valid={0: 8.0, 4: 3.0})
    assert (result.stopped, engine.step) == ("finished", 4)


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("growth", ["minmax", "auto"])
def test_an_unbounded_activation_that_explodes_says_so_and_never_forecasts(
    backend, activation, growth
):
    model = ExpLSTM(
        backend=backend,
        init="random",
        spec=ModelSpec(hidden_sizes=(4,), activation=activation),
        growth=growth,
        learning_rate=100.0,
        max_steps=30,
    )
    rng = np.random.default_rng(1)
    table = panel_frame(make_panel(grow(rng, 30), grow(rng, 25)))
    with pytest.raises(TrainingError, match="training diverged at step") as caught:
        model.fit(table, h=3)
    assert caught.value.exit_code == 5
    assert caught.value.message.endswith(
        f"lower learning_rate=100, or use activation='tanh', which is bounded, for '{activation}'."
    )
    with pytest.raises(UsageError, match="no weights yet"):
        model.predict()


def test_a_validation_loss_that_is_not_finite_ends_the_run():
    with pytest.raises(TrainingError, match=r"validation loss \(nan\)"):
        run(valid={0: 1.0, 2: math.nan})


def test_a_run_that_cannot_start_names_no_batch():
    with pytest.raises(TrainingError, match=r"diverged at step 0: the weights or"):
        run(valid={0: math.inf})


def test_weights_that_are_not_finite_end_the_run():
    engine = ScriptedEngine()
    engine.load_weights({"w": np.array([math.inf], dtype=np.float32)})
    engine.losses = {}
    engine.train_batch = lambda batch, rate: 1.0
    with pytest.raises(TrainingError, match="weights"):
        train(engine, ToyBatches(), config_of())


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_running_out_of_memory_names_what_to_lower(error):
    with pytest.raises(TrainingError, match="batch_size=64 and window=128") as caught:
        run({3: error})
    assert caught.value.exit_code == 5


def test_other_faults_are_not_disguised():
    with pytest.raises(RuntimeError, match="something else"):
        run({3: RuntimeError("something else")})


# ---------------------------------------------------------------------- checkpoints and resuming


def outcome(result):
    """Everything of a result but the clock."""
    log = [dataclasses.replace(row, seconds=0.0) for row in result.log]
    return log, result.best_step, result.stopped


def assert_same(result, expected):
    assert outcome(result) == outcome(expected)
    assert set(result.weights) == set(expected.weights)
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(result.weights[name], array, strict=True)


@pytest.mark.parametrize("step", range(1, 8))
def test_patience_counts_on_after_a_resume(tmp_path, step):
    def validate(engine):
        return {2: 4.0, 4: 3.0}.get(engine.step, 9.0)

    config = config_of(val_size=1, early_stop_patience=2)
    folder = tmp_path / "c"
    with pytest.raises(TrainingStopped):
        engine = SignallingEngine({step: [signal.SIGTERM]})
        train(engine, ToyBatches(), config, validate=validate, checkpoint_dir=folder)
    engine = ScriptedEngine()
    result = train(
        engine, ToyBatches(), config, validate=validate, checkpoint_dir=folder, resume=True
    )
    assert (result.log[-1].step, result.best_step, result.stopped) == (8, 4, "early")


def test_what_a_kill_left_beside_checkpoints_goes_with_the_next_one(tmp_path):
    folder = tmp_path / "c"
    with pytest.raises(StopError):
        run_toy("torch", folder, on_step=stop_at(9))
    (folder / ".step-00000008.lock").touch()
    (folder / ".step-00000007.saving").mkdir()
    run_toy("torch", folder, resume=True)
    assert not list(folder.glob(".*"))


class Killed(BaseException):
    """What stands for a kill: nothing in the package catches it."""


def test_a_kill_while_old_checkpoints_go_does_not_end_the_run(tmp_path, monkeypatch):
    def remove_some(path, **_):
        if Path(path).is_dir():
            next(Path(path).iterdir()).unlink()
            raise Killed

    folder = tmp_path / "c"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint.shutil, "rmtree", remove_some)
        run_toy("torch", folder)
    for path in folder.glob("step-*"):
        assert len(list(path.iterdir())) == 3
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint.shutil, "rmtree", remove_some)
        checkpoint.delete_checkpoints(folder)
    assert_same(run_toy("torch", folder, resume=True), run_toy("torch", None))
    checkpoint.delete_checkpoints(folder)
    assert not folder.exists()


def test_checkpoints_go_by_their_steps_whatever_the_clock_was(tmp_path):
    folder = tmp_path / "c"
    with pytest.raises(StopError):
        run_toy("torch", folder, on_step=stop_at(9))
    for path, year in zip(sorted(folder.glob("step-*")), (2100, 1980), strict=True):
        when = (year - 1970) * 365 * 86400
        for file in (*path.iterdir(), path):
            os.utime(file, (when, when))
    steps = []
    result = run_toy("torch", folder, resume=True, on_step=lambda row: steps.append(row.step))
    assert steps[0] == 9, "it went on after step 8"
    assert_same(result, run_toy("torch", None))


class StopError(Exception):
    pass


def stop_at(step):
    def on_step(row):
        if row.step == step:
            raise StopError

    return on_step


@pytest.mark.parametrize("step", [1, 5, 8, 9, 39])
def test_a_run_that_broke_off_ends_as_if_it_had_not(tmp_path, step):
    expected = run_toy("torch", None)
    with pytest.raises(StopError):
        run_toy("torch", tmp_path / "c", on_step=stop_at(step))
    assert_same(run_toy("torch", tmp_path / "c", resume=True), expected)


@pytest.mark.parametrize(("backend", "n_kills"), [("torch", 3), ("tensorflow", 2)])
def test_a_killed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path, backend, n_kills):
    moments = random.Random(5)
    command = [sys.executable, str(Path(__file__).with_name("toy_run.py")), backend]
    for _ in range(n_kills):
        with subprocess.Popen([*command, str(tmp_path / "c")], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(moments.randint(2, 8)):
                child.stdout.readline()
            time.sleep(moments.uniform(0, 0.01))
            child.send_signal(signal.SIGKILL)
    finished = run_toy(backend, tmp_path / "c", resume=True)
    assert_same(finished, run_toy(backend, None))
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".c.lock"]


def test_a_finished_run_is_not_trained_again(tmp_path):
    expected = run_toy("torch", tmp_path / "c")
    rows = []
    assert_same(run_toy("torch", tmp_path / "c", resume=True, on_step=rows.append), expected)
    assert rows == []


def test_two_checkpoints_are_kept(tmp_path):
    train(ScriptedEngine(), ToyBatches(), config_of(), checkpoint_dir=tmp_path / "c")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "step-00000010",
        "step-00000012",
    ]


def damage(folder, name="tensors.safetensors"):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(tmp_path, name):
    expected = run_toy("torch", None)
    with pytest.raises(StopError):
        run_toy("torch", tmp_path / "c", on_step=stop_at(11))
    damage(tmp_path / "c" / "step-00000008", name)
    with pytest.warns(UserWarning, match="step-00000008"):
        result = run_toy("torch", tmp_path / "c", resume=True)
    assert_same(result, expected)


def test_damaged_checkpoints_are_never_a_silent_restart(tmp_path):
    with pytest.raises(StopError):
        run_toy("torch", tmp_path / "c", on_step=stop_at(11))
    for folder in (tmp_path / "c").iterdir():
        damage(folder)
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(ModelFileError, match="none of the 2 checkpoints") as caught,
    ):
        run_toy("torch", tmp_path / "c", resume=True)
    assert caught.value.exit_code == 4


def start(folder, *, resume=False, engine=None, identity=None, **changes):
    engine = engine or ScriptedEngine()
    return train(
        engine,
        ToyBatches(),
        config_of(**changes),
        checkpoint_dir=folder,
        resume=resume,
        identity=identity,
    )


def test_another_run_is_not_overwritten(tmp_path):
    start(tmp_path / "c")
    with pytest.raises(UsageError, match="checkpoints of another run"):
        start(tmp_path / "c")


def test_changes_are_listed_and_refused(tmp_path):
    start(tmp_path / "c", identity={"data": "12 series", "horizon": 6})
    with pytest.raises(UsageError) as caught:
        start(
            tmp_path / "c",
            resume=True,
            identity={"data": "13 series", "level": [80, 90]},
            learning_rate=0.25,
        )
    assert caught.value.code == "RESUME_CHANGED"
    for words in (
        "learning_rate (0.005 then, 0.25 now)",
        "data ('12 series' then, '13 series' now)",
        "horizon (6 then, absent now)",
        "level (absent then, [80, 90] now)",
    ):
        assert words in caught.value.message
    assert "batch_size" not in caught.value.message


def test_other_initial_weights_are_refused(tmp_path):
    start(tmp_path / "c")
    engine = ScriptedEngine()
    engine.load_weights({"w": np.ones(1, dtype=np.float32)})
    with pytest.raises(UsageError, match="initial weights"):
        start(tmp_path / "c", resume=True, engine=engine)


def test_an_unchanged_identity_is_accepted_with_tuples(tmp_path):
    identity = {"season_length": (24, 168)}
    start(tmp_path / "c", identity=identity)
    assert start(tmp_path / "c", resume=True, identity=identity).stopped == "finished"


def test_another_environment_is_warned_of(tmp_path, monkeypatch):
    start(tmp_path / "c")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    with pytest.warns(UserWarning, match=r"OMP_NUM_THREADS \('1' then, '64' now\)"):
        start(tmp_path / "c", resume=True)


def test_two_runs_do_not_share_a_folder(tmp_path):
    with hold_lock(tmp_path / "c"), pytest.raises(BusyError):
        start(tmp_path / "c")


# --------------------------------------------------------------------------------------- signals


class SignallingEngine(ScriptedEngine):
    """Sends itself signals while it trains."""

    def __init__(self, signals):
        super().__init__()
        self.signals = signals

    def train_batch(self, batch, learning_rate):
        loss = super().train_batch(batch, learning_rate)
        for number in self.signals.pop(self.step, ()):
            os.kill(os.getpid(), number)
        return loss


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 6), (signal.SIGINT, 130)])
def test_a_signal_stops_with_a_checkpoint_and_the_handlers_come_back(tmp_path, number, exit_code):
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(TrainingStopped, match=r"after step 5 of 12; a checkpoint is in") as caught:
        start(tmp_path / "c", engine=SignallingEngine({5: [number]}))
    assert caught.value.exit_code == exit_code
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    assert (tmp_path / "c" / "step-00000005").is_dir()
    engine = ScriptedEngine()
    assert start(tmp_path / "c", resume=True, engine=engine).log[-1].step == 12
    assert len(engine.rates) == 7


class InterruptedAtResume(ScriptedEngine):
    """Is sent a signal before its first step."""

    def load_optimizer(self, state):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_never_replaces_a_sound_checkpoint(tmp_path, monkeypatch):
    # A kill between the two renames would lose it, and with it the run where it is the only one.
    saved, save = [], checkpoint.save_checkpoint
    monkeypatch.setattr(
        checkpoint, "save_checkpoint", lambda *args: saved.append(args[1].step) or save(*args)
    )
    with pytest.raises(TrainingStopped, match="after step 4 of 12"):
        start(tmp_path / "c", engine=SignallingEngine({4: [signal.SIGTERM]}))
    with pytest.raises(TrainingStopped, match="after step 4 of 12"):
        start(tmp_path / "c", engine=InterruptedAtResume(), resume=True)
    assert saved == [2, 4]


def test_a_second_interrupt_acts_at_once(tmp_path):
    engine = SignallingEngine({5: [signal.SIGINT, signal.SIGINT]})
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "c", engine=engine)
    assert not (tmp_path / "c" / "step-00000005").exists()


def test_a_signal_during_the_last_step_is_not_lost(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "c", engine=SignallingEngine({12: [signal.SIGINT]}))
    assert start(tmp_path / "c", resume=True).stopped == "finished"


def test_without_checkpoints_an_interrupt_is_what_it_always_is():
    with pytest.raises(KeyboardInterrupt):
        train(SignallingEngine({5: [signal.SIGINT]}), ToyBatches(), config_of())


def test_an_ignored_signal_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = start(tmp_path / "c", engine=SignallingEngine({5: [signal.SIGINT]}))
        assert result.log[-1].step == 12
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_works_in_any_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(start(tmp_path / "c")))
    thread.start()
    thread.join()
    assert results[0].stopped == "finished"


# ----------------------------------------------------------------------------------- the real path


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_an_engine_learns_and_repeats_itself_bit_by_bit(backend):
    result = run_toy(backend, None)
    looks = [row.valid_loss for row in result.log if row.valid_loss is not None]
    assert min(looks) < 0.9 * looks[0]
    assert_same(run_toy(backend, None), result)


def test_the_callers_random_state_is_left_alone():
    state = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    run_toy("torch", None)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert after == state


def test_a_bounded_log_of_a_long_run_survives(tmp_path):
    result = start(tmp_path / "c", max_steps=3000, val_check_steps=1500)
    again = start(tmp_path / "c", max_steps=3000, val_check_steps=1500, resume=True)
    assert again.log == result.log


def test_checkpoints_hold_no_pickle(tmp_path):
    start(tmp_path / "c")
    names = {path.name for path in (tmp_path / "c").rglob("*") if path.is_file()}
    assert names == {"manifest.json", "state.json", "tensors.safetensors"}


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_growing_series_are_learned_and_resumed_bit_by_bit(tmp_path, rng, backend):
    panel = make_panel(*(grow(rng, steps) for steps in (12, 40, 25, 60, 33)))
    spec = ModelSpec(n_features=N_FEATURES, hidden_sizes=(8,), horizon=4, quantiles=(0.1, 0.5, 0.9))
    config = TrainingConfig(
        max_steps=24, val_check_steps=8, learning_rate=0.02, batch_size=3, window=32
    )
    assert config.reflection > 0 and config.scale_weight > 0
    batches = OriginBatches.from_training(
        to_growth_space(panel, season_length=1), spec.horizon, config
    )

    def start_run(folder, **arguments):
        engine = make_engine(backend, spec, init_weights(spec, 1))
        return train(engine, batches, config, checkpoint_dir=folder, **arguments)

    expected = start_run(None)
    losses = [row.train_loss for row in expected.log]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    with pytest.raises(StopError):
        start_run(tmp_path / "c", on_step=stop_at(13))
    assert_same(start_run(tmp_path / "c", resume=True), expected)
