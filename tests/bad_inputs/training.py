"""Lines E, as far as they need no process of their own: training that is cut short."""

import os
import random
import re
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bad_inputs.world import HEADER, World, check, text
from explstm import ExpLSTM, ModelSpec
from explstm.errors import ExpLSTMError, ModelFileError, TrainingError, TrainingStopped
from explstm.frame import Panel
from kills import KilledError, kill_at

STEPS = 12
DIVERGED = r"TRAINING_DIVERGED: training diverged at step \d+( \(batch \d+\))?: .*; lower learning"


class BreakOffError(Exception):
    """Ends a training from outside."""


def data(world: World) -> Panel:
    """What is trained on: the same whenever a line asks."""
    path = world.folder / "data.csv"
    if not path.exists():
        world.write(text(HEADER, [*world.rows(30), *world.rows(30, "b")]))
    return world.panel(path)


def fit(world: World, folder: Path | None, *, resume: bool = False, **settings: Any) -> ExpLSTM:
    """A small training that keeps checkpoints."""
    on_step = settings.pop("on_step", None)
    panel = settings.pop("panel", None) or data(world)
    spec = ModelSpec(hidden_sizes=(3,))
    asked = {"init": "random", "spec": spec, "max_steps": STEPS, "val_check_steps": 4, **settings}
    model = ExpLSTM(backend="torch", **asked)
    return model.fit(panel, h=2, checkpoint_dir=folder, resume=resume, on_step=on_step)


def leave_at(step: int) -> Callable[[Any], None]:
    """Goes away without a word."""

    def leave(row: Any) -> None:
        if row.step == step:
            raise BreakOffError

    return leave


def break_off(world: World, folder: Path, at: int) -> None:
    """Train up to a step, and go away without a word."""
    with pytest.raises(BreakOffError):
        fit(world, folder, on_step=leave_at(at))


def assert_same(one: ExpLSTM, other: ExpLSTM) -> None:
    """Two models have the same weights, to the bit."""
    for name, array in other.weights_.items():
        np.testing.assert_array_equal(one.weights_[name], array, strict=True)


def damage(folder: Path) -> None:
    """Cut a checkpoint off."""
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-5])


@check("E1")
def broken_off(world: World) -> None:
    whole = fit(world, None)
    for at in sorted({*map(int, world.rng.integers(1, STEPS, 4))}):
        folder = world.folder / f"checkpoints{at}"
        break_off(world, folder, at)
        assert_same(fit(world, folder, resume=True), whole)


@check("E3")
def checkpoints_damaged(world: World) -> None:
    folder = world.folder / "checkpoints"
    break_off(world, folder, 11)
    *_, newest = sorted(folder.iterdir())
    damage(newest)
    with pytest.warns(UserWarning, match=newest.name):
        resumed = fit(world, folder, resume=True)
    assert_same(resumed, fit(world, None))
    for checkpoint in folder.iterdir():
        damage(checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelFileError, match="CHECKPOINT_CORRUPT") as refused:
            fit(world, folder, resume=True)
    assert refused.value.exit_code == 4


@check("E4")
def terminated(world: World) -> None:
    folder, at = world.folder / "checkpoints", int(world.rng.integers(2, STEPS - 1))

    def end(row: Any) -> None:
        if row.step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingStopped, match="resume") as stopped:
        fit(world, folder, on_step=end)
    assert stopped.value.exit_code == 6 and list(folder.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before
    assert_same(fit(world, folder, resume=True), fit(world, None))


def refuse(
    world: World, folder: Path, error: type[ExpLSTMError], *words: str, **other: Any
) -> None:
    """Going on is refused, and what stands there is left as it is."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(error) as refused:
        fit(world, folder, **other)
    assert all(word in refused.value.message for word in words), refused.value.message
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@check("E7")
def changed(world: World) -> None:
    folder = world.folder / "checkpoints"
    break_off(world, folder, 7)
    other = world.panel(world.write(text(HEADER, world.rows(31)), "other.csv"))
    refuse(world, folder, ExpLSTMError, "data", panel=other, resume=True)
    refuse(world, folder, ExpLSTMError, "learning_rate", learning_rate=1e-4, resume=True)
    refuse(
        world,
        folder,
        ExpLSTMError,
        "hidden_sizes ([3] then, [4] now)",
        resume=True,
        spec=ModelSpec(hidden_sizes=(4,)),
    )
    refuse(world, folder, ExpLSTMError, "resume")


@check("E8")
def finished(world: World) -> None:
    folder = world.folder / "checkpoints"
    whole = fit(world, folder)
    rows: list[Any] = []
    assert_same(fit(world, folder, resume=True, on_step=rows.append), whole)
    assert rows == []


@check("E5")
def explodes(world: World) -> None:
    out, wild = world.folder / "model", {"learning_rate": 1e4, "max_steps": 60, "clip_norm": 1e9}
    cell = {"activation": "relu", "output_activation": "relu"}
    data(world)
    more = {"init": "random", "val_check_steps": 1}  # so that there is a checkpoint
    settings = [f"{name}={value}" for name, value in {**wild, **cell, **more}.items()]
    asked = [part for setting in settings for part in ("--set", setting)]
    path = world.folder / "data.csv"
    shown = world.run(*("fit", path, "--horizon", "2", "--backend", "torch", "--out", out, *asked))
    assert shown.exit_code == 5 and re.search(DIVERGED, shown.err), shown
    assert os.listdir(world.folder) == ["data.csv"], "neither a model nor a checkpoint"
    with pytest.raises(TrainingError, match=DIVERGED) as failed:
        fit(world, None, spec=ModelSpec(hidden_sizes=(64, 64), **cell), **wild)
    assert failed.value.exit_code == 5
    model = fit(world, None)
    before = model.predict(h=2)
    with pytest.raises(TrainingError, match=DIVERGED):
        model.set_params(**wild).fit(data(world), h=2)
    pd.testing.assert_frame_equal(model.predict(h=2), before)


@check("E2")
def killed_while_writing(world: World) -> None:
    whole = fit(world, None)
    counted = world.folder / "counted"
    break_off(world, counted, 7)
    with world.monkeypatch.context() as patched:
        calls = kill_at(patched, 10**6)
        fit(world, counted, resume=True)
    n_calls, begun = next(calls), set()
    for at in sorted({*map(int, world.rng.integers(1, n_calls, 6))}):
        folder = world.folder / f"killed{at}"
        break_off(world, folder, 7)
        with world.monkeypatch.context() as patched, pytest.raises(KilledError):
            kill_at(patched, at)
            fit(world, folder, resume=True)
        rows: list[Any] = []
        assert_same(fit(world, folder, resume=True, on_step=rows.append), whole)
        begun.add(rows[0].step if rows else STEPS + 1)
    assert {5, 9} <= begun <= {5, 9, STEPS + 1}, "after the checkpoint before the one that was cut"


@check("E9")
def elsewhere(world: World) -> None:
    torch = pytest.importorskip("torch")
    from explstm.models.torch_engine import TorchEngine

    whole = fit(world, None)
    threads = torch.get_num_threads()

    def other_threads(patched: pytest.MonkeyPatch) -> None:
        torch.set_num_threads(threads + 1)

    def other_package(patched: pytest.MonkeyPatch) -> None:
        patched.setattr(np, "__version__", "9.9")

    def other_device(patched: pytest.MonkeyPatch) -> None:
        patched.setattr(TorchEngine, "device", "cuda:0")

    for number, (change, words) in enumerate(
        (
            (other_threads, rf"threads \({threads} then, {threads + 1} now\)"),
            (other_package, r"numpy \('.*' then, '9\.9' now\)"),
            (other_device, r"device \('cpu' then, 'cuda:0' now\)"),
        )
    ):
        folder = world.folder / str(number)
        break_off(world, folder, 7)
        with world.monkeypatch.context() as patched:
            try:
                change(patched)
                with pytest.warns(UserWarning, match=f"the run continues with {words}"):
                    resumed = fit(world, folder, resume=True)
            finally:
                torch.set_num_threads(threads)
        for name, array in whole.weights_.items():
            np.testing.assert_allclose(resumed.weights_[name], array, rtol=1e-4, atol=1e-6)


@check("E10")
def all_that_decides(world: World) -> None:
    """Random and alike: dropout, the order of series, a rate that follows errors, patience."""
    asked = {
        "spec": ModelSpec(hidden_sizes=(3,), dropout=0.3),
        "batch_size": 1,
        "lr_schedule": "reduce_on_plateau",
        "learning_rate": 0.05,
        "val_size": 4,
        "val_check_steps": 2,
        "early_stop_patience": 6,
        "max_steps": 60,
    }
    rows: list[Any] = []
    whole = fit(world, None, on_step=rows.append, **asked)
    assert 9 < rows[-1].step < 60, "the patience acted"
    assert len({row.learning_rate for row in rows[1:]}) > 1, "the rate followed"
    for at in sorted({*map(int, world.rng.integers(2, rows[-1].step, 3))}):
        folder, rest = world.folder / f"checkpoints{at}", []
        with pytest.raises(BreakOffError):
            fit(world, folder, on_step=leave_at(at), **asked)
        assert_same(fit(world, folder, resume=True, on_step=rest.append, **asked), whole)
        told = [(row.step, row.learning_rate, row.train_loss, row.valid_loss) for row in rest]
        expected = [(row.step, row.learning_rate, row.train_loss, row.valid_loss) for row in rows]
        assert told and told == expected[-len(told) :]
    other = fit(world, None, random_seed=2, **asked)
    assert any((other.weights_[name] != array).any() for name, array in whole.weights_.items())


@check("E14")
def of_the_caller(world: World) -> None:
    torch = pytest.importorskip("torch")
    data(world)
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    before = (torch.get_num_threads(), torch.get_default_dtype())
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    fit(world, None).predict(h=3)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == before
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
