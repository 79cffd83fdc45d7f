"""Lines E, as far as they need no process of their own: training that is cut short."""

import os
import random
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bad_inputs.world import HEADER, World, check, text
from explstm import ExpLSTM, ModelSpec
from explstm.errors import ExpLSTMError, ModelFileError, TrainingError, TrainingStopped
from explstm.frame import Panel

STEPS = 12


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


def break_off(world: World, folder: Path, at: int) -> None:
    """Train up to a step, and go away without a word."""

    def leave(row: Any) -> None:
        if row.step == at:
            raise BreakOffError

    with pytest.raises(BreakOffError):
        fit(world, folder, on_step=leave)


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
    settings = [f"{name}={value}" for name, value in {**wild, **cell, "init": "random"}.items()]
    asked = [part for setting in settings for part in ("--set", setting)]
    path = world.folder / "data.csv"
    shown = world.run(*("fit", path, "--horizon", "2", "--backend", "torch", "--out", out, *asked))
    assert shown.exit_code == 5 and "TRAINING_DIVERGED" in shown.err and not out.exists(), shown
    with pytest.raises(TrainingError, match="TRAINING_DIVERGED") as failed:
        fit(world, None, spec=ModelSpec(hidden_sizes=(64, 64), **cell), **wild)
    assert failed.value.exit_code == 5


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
