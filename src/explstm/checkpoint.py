"""Checkpoints: all that a training run needs to continue as if it had never been killed.

A checkpoint is a sealed folder ``step-00000050`` (see :mod:`explstm.storage`) with ``state.json``
and ``tensors.safetensors``: weights, best weights, optimizer, the log, and the counters of early
stopping, plateau and guard. Batches are pure functions of the step, so their order needs no state.
The two newest are kept. A run also states its *identity* (configuration, engine, data): it only
continues when that is unchanged.
"""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explstm import __version__
from explstm.config import TrainingConfig
from explstm.errors import ModelFileError, UsageError
from explstm.models.engine import Engine
from explstm.storage import (
    MAX_JSON_BYTES,
    Sealed,
    dump_json,
    parse_json,
    read_sealed,
    write_sealed,
)
from explstm.tensors import dump_tensors, load_tensors

STATE = "state.json"
TENSORS = "tensors.safetensors"
KEPT = 2
MAX_TENSOR_BYTES = 1 << 32

NAME = re.compile(r"step-(\d{8,})")
_LEFT_BY_A_KILL = re.compile(rf"\.{NAME.pattern}\.(saving|previous|lock)")


@dataclass(frozen=True)
class Checkpoint:
    """State of a run after ``step`` batches.

    Attributes:
        step: Batches done.
        state: Counters, as JSON values.
        tensors: Arrays by group ("weights", "best", "optimizer", "log") and name.
        identity: What must be equal for the run to continue.
        environment: What should be equal for the result to be equal bit by bit.
    """

    step: int
    state: dict[str, Any]
    tensors: dict[str, dict[str, np.ndarray]]
    identity: dict[str, Any]
    environment: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then remove all but the two newest, and what kills have left.

    One run at a time writes to a folder.

    Raises:
        ModelFileError: The folder cannot be written; older checkpoints are intact.
    """
    flat = {
        f"{group}/{name}": array
        for group, arrays in checkpoint.tensors.items()
        for name, array in arrays.items()
    }
    state = {
        "step": checkpoint.step,
        "state": checkpoint.state,
        "identity": checkpoint.identity,
        "environment": checkpoint.environment,
    }
    files = {STATE: dump_json(state), TENSORS: dump_tensors(flat)}
    write_sealed(folder / f"step-{checkpoint.step:08d}", files, {"kind": "checkpoint"})
    left = [path for path in folder.iterdir() if _LEFT_BY_A_KILL.fullmatch(path.name)]
    for path in [*list_checkpoints(folder)[KEPT:], *left]:
        _remove(path)


def has_checkpoint(folder: Path) -> bool:
    """Whether the folder holds a checkpoint, sound or not."""
    return bool(list_checkpoints(folder))


def delete_checkpoints(folder: Path) -> None:
    """Remove the checkpoints in a folder and its parts, and what is empty then; no other file."""
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if NAME.fullmatch(path.name) or _LEFT_BY_A_KILL.fullmatch(path.name):
            _remove(path)
        elif path.is_dir() and not path.is_symlink():
            delete_checkpoints(path)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        if NAME.fullmatch(path.name):  # under its name it is whole, even while it goes
            going = path.with_name(f".{path.name}.saving")
            shutil.rmtree(going, ignore_errors=True)
            with contextlib.suppress(OSError):
                path = path.rename(going)
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest sound checkpoint, or None where none was ever written.

    Warns:
        UserWarning: A newer one is damaged and passed over.

    Raises:
        ModelFileError: There are checkpoints, but none is sound.
    """
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            return read_sealed(path, (STATE, TENSORS), _parse)
        except ModelFileError as error:
            damage = error
            warnings.warn(f"checkpoint passed over: {error.message}", stacklevel=2)
    if paths:
        raise ModelFileError(
            "CHECKPOINT_CORRUPT",
            f"none of the {len(paths)} checkpoints in {folder} is sound ({damage.message}); "
            "train anew in another folder.",
        )
    return None


def describe_run(
    engine: Engine, config: TrainingConfig, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """All that decides the outcome of a run, as flat JSON values."""
    digest = hashlib.sha256()
    for name, array in sorted(engine.dump_weights().items()):
        digest.update(f"{name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return {
        **config.model_dump(mode="json"),
        "backend": engine.backend,
        "spec": engine.spec.model_dump(mode="json"),
        "initial weights": digest.hexdigest()[:16],
        **identity,
    }


def describe_environment(engine: Engine) -> dict[str, Any]:
    """What may change the last bits of a result without changing the run."""
    framework = sys.modules.get(engine.backend)
    count_threads = getattr(framework, "get_num_threads", lambda: "unknown")
    return {
        "explstm": __version__,
        "numpy": np.__version__,
        engine.backend: getattr(framework, "__version__", "unknown"),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "unset"),
        "threads": count_threads(),
        "device": getattr(engine, "device", "cpu"),
    }


def refuse_changes(saved: Mapping[str, Any], current: Mapping[str, Any], folder: Path) -> None:
    """Refuse to continue a run whose configuration, engine or data has changed.

    Raises:
        UsageError: Lists every difference.
    """
    # What was saved has been through JSON, where tuples are lists.
    current = parse_json(dump_json(current), "the identity of this run")
    differences = _list_differences(saved, current)
    if differences:
        raise UsageError(
            "RESUME_CHANGED",
            f"the run in {folder} cannot continue, because it differs in {differences}; restore "
            "the old values, or delete the folder (on the command line: --force) to train anew.",
        )


def warn_of_changes(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Warn where the machine or the libraries changed, because the last bits may then differ."""
    differences = _list_differences(saved, current)
    if differences:
        warnings.warn(
            f"the run continues with {differences}: results are equal within rounding, but not "
            "bit by bit",
            stacklevel=2,
        )


def _list_differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """What differs, in words; of the fields of a specification those that do."""
    then, now = _flatten(saved), _flatten(current)
    keys = [*then, *(key for key in now if key not in then)]
    return ", ".join(
        f"{key} ({_show(then, key)} then, {_show(now, key)} now)"
        for key in keys
        if then.get(key) != now.get(key)
    )


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = value if isinstance(value, dict) else {None: value}
        flat |= {key if name is None else f"{key}.{name}": item for name, item in inner.items()}
    return flat


def _show(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key])[:120] if key in values else "absent"


def _parse(sealed: Sealed) -> Checkpoint:
    source = str(sealed.path / STATE)
    content = parse_json(sealed.read(STATE, MAX_JSON_BYTES), source)
    if set(content) != {"step", "state", "identity", "environment"}:
        raise ModelFileError("CHECKPOINT_CORRUPT", f"{source} is incomplete; train anew.")
    flat = load_tensors(sealed.read(TENSORS, MAX_TENSOR_BYTES), str(sealed.path / TENSORS))
    tensors: dict[str, dict[str, np.ndarray]] = {}
    for full_name, array in flat.items():
        group, _, name = full_name.partition("/")
        tensors.setdefault(group, {})[name] = array
    return Checkpoint(tensors=tensors, **content)


def list_checkpoints(folder: Path) -> list[Path]:
    """Those in a folder, sound or not, newest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)
