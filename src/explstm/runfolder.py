"""A run folder: everything one command produced, and what is needed to produce it again.

    run.json       command, arguments, versions, machine, name, size and SHA-256 of the data, and
                   size and SHA-256 of every other file of the folder, but for a saved model's,
                   which its own manifest states
    *.csv, *.json  tables and facts
    *.png, *.svg   figures, where the command draws

The folder appears whole or not at all: it is written aside as ``.NAME.writing`` and renamed when
the command has succeeded. A folder that stands in the way is replaced only with ``force``, and only
when it is a run folder itself.
"""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from explstm import __version__
from explstm.errors import UsageError
from explstm.spreadsheets import write_csv
from explstm.storage import MANIFEST, dump_json, hold_lock, to_finite

RECORD = "run.json"
PACKAGE = Path(__file__).parent
PACKAGES = (
    "keras", "matplotlib", "numpy", "optuna", "pandas", "pyarrow", "ray", "safetensors",
    "scikit-learn", "scipy", "statsforecast", "tensorflow", "tensorflow-cpu", "torch",
    "utilsforecast",
)  # fmt: skip
BLOCK_BYTES = 1 << 20
NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@dataclass(frozen=True)
class RunFolder:
    """A run folder that is being written.

    Attributes:
        path: Where to write now; renamed to its final place when the run has succeeded.
        spent: What to do when it is in its place: remove what it was made from.
    """

    path: Path
    spent: list[Callable[[], object]] = field(default_factory=list)

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as CSV, see :func:`explstm.spreadsheets.write_csv`."""
        with refuse_unwritable(self.path / name):
            write_csv(frame, self.path / name)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write facts as JSON; a number that is not finite becomes null."""
        with refuse_unwritable(self.path / name):
            (self.path / name).write_bytes(dump_json(to_finite(value)))


@contextlib.contextmanager
def open_run(path: Path, *, force: bool = False) -> Iterator[RunFolder]:
    """Yield a folder to write into, and put it at ``path`` when the block succeeds.

    The last step states the size and SHA-256 of every file under ``files`` in ``run.json``. Nothing
    is left behind, and what stood at ``path`` is intact, when the block fails.

    Args:
        path: The final place; its parent folder must exist.
        force: Replace the run folder that stands there.

    Raises:
        UsageError: The place is taken or cannot be written; raised before the block runs.
        BusyError: Another process writes to the same place.
    """
    path = Path(os.path.realpath(path))
    _check_parent(path)
    aside, old = _sibling(path, "writing"), _sibling(path, "replaced")
    with contextlib.ExitStack() as held:
        with refuse_unwritable(path):
            held.enter_context(hold_lock(path))
            _clear_leftovers(path, aside, old)
            _check_place(path, force)
            aside.mkdir()
        try:
            run = RunFolder(aside)
            yield run
            _seal(run)
            if path.exists():
                os.rename(path, old)
            os.rename(aside, path)
            for remove in run.spent:
                remove()
        except BaseException as error:
            shutil.rmtree(aside, ignore_errors=True)
            if old.exists() and not path.exists():
                os.rename(old, path)
            if isinstance(error, OSError) and error.errno in NO_SPACE:  # of a figure, for example
                raise _refuse_unwritable(path, error) from None
            raise
        shutil.rmtree(old, ignore_errors=True)


def find_run(path: Path) -> Path:
    """The run folder of a name: where a kill came as it was being replaced, the older one."""
    # Unlike the methods of Path, these functions find nothing under a name that is too long.
    if os.path.exists(path) or not os.path.isdir(_sibling(path, "replaced")):
        return path
    return _sibling(path, "replaced")


def holds_record(path: Path) -> bool:
    """Whether a path leads to a run folder."""
    return os.path.isfile(path / RECORD)


def describe_run(
    command: str, arguments: Mapping[str, Any], data: Path | None, seeds: list[int]
) -> dict[str, Any]:
    """The content of ``run.json``: what was run, on which data, with which versions.

    No clock is read, so that the same run twice gives the same record.
    """
    return {
        "command": command,
        "arguments": {name: _jsonable(value) for name, value in arguments.items()},
        "seeds": seeds,
        "data": describe_file(data) if data else None,
        "versions": _installed_versions(),
        "machine": {"system": platform.system(), "processor": platform.machine()},
    }


def describe_file(path: Path) -> dict[str, Any]:
    """Name, size and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return {"file": path.name, "bytes": size, "sha256": digest.hexdigest()}


def _sibling(path: Path, role: str) -> Path:
    return path.with_name(f".{path.name}.{role}")


def _seal(run: RunFolder) -> None:
    """Add to the record what the folder holds, so that a file cut or lost later is noticed."""
    record = run.path / RECORD
    if not record.exists():
        return
    files = {}
    for path in run.path.rglob("*"):
        if path.is_file() and path != record and not (path.parent / MANIFEST).exists():
            stated = describe_file(path)
            name = path.relative_to(run.path).as_posix()
            files[name] = {"bytes": stated["bytes"], "sha256": stated["sha256"]}
    run.write_json(RECORD, {**json.loads(record.read_bytes()), "files": files})


@contextlib.contextmanager
def refuse_unwritable(path: Path) -> Iterator[None]:
    """Say which place cannot be written, and why, where the block cannot write.

    Raises:
        UsageError: As said.
    """
    try:
        yield
    except OSError as error:
        raise _refuse_unwritable(path, error) from None


def _refuse_unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        "OUTPUT_UNWRITABLE",
        f"--out: {path} cannot be written ({error.strerror or error}); choose a place with "
        "space where you may write.",
    )


def _check_parent(path: Path) -> None:
    parent = path.parent
    if path == parent:
        raise _refuse_foreign(path)
    if not parent.is_dir():
        raise UsageError(
            "OUTPUT_PARENT_MISSING",
            f"--out {path} lies in {parent}, which is not a folder; create it first.",
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(
            "OUTPUT_UNWRITABLE",
            f"--out {path} lies in {parent}, where you may not write; choose another place.",
        )


def _check_place(path: Path, force: bool) -> None:
    if not path.exists():
        return
    is_run = path.is_dir() and ((path / RECORD).is_file() or not any(path.iterdir()))
    if not is_run:
        raise _refuse_foreign(path)
    if not force:
        raise UsageError(
            "OUTPUT_EXISTS",
            f"--out {path} exists; add --force to replace it, or choose another place.",
        )


def _refuse_foreign(path: Path) -> UsageError:
    return UsageError(
        "OUTPUT_FOREIGN",
        f"--out {path} exists and is no run folder, so it is never replaced; choose another place.",
    )


def _clear_leftovers(path: Path, aside: Path, old: Path) -> None:
    """Finish what a killed run left: its folder aside goes, the version it moved away returns."""
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists() and not path.exists():
        os.rename(old, path)
    shutil.rmtree(old, ignore_errors=True)


def _installed_versions() -> dict[str, str]:
    versions = {"explstm": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _jsonable(value: Any) -> Any:
    if isinstance(value, Path) and value.is_relative_to(PACKAGE):
        # A file of ours has the same name wherever it is installed.
        return value.relative_to(PACKAGE.parent).as_posix()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return _jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
