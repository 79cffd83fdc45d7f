"""What tasks write: whole files, and a record of every task that is done.

    OUT/forecast/part-*.parquet the forecasts
    OUT/work-RUN/               cuts and records, until the run is done

Contract: a file appears under its name when it is complete and on the disk. A task is done when its
record is there and the file is what the record says. The folder of a run is named after what the
run was asked: a process that outlives its run, whose place another one has taken, finds the folder
gone and can put nothing in place.
"""

import json
import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explstm.runfolder import describe_file
from explstm.storage import dump_json, sync_folder
from explstm.trial import measure_peak_memory

FORECAST = "forecast"


@dataclass(frozen=True)
class Place:
    """Where a run writes.

    Attributes:
        out: The folder of results.
        run: Digest of what was asked, of which data.
    """

    out: Path
    run: str

    @property
    def work(self) -> Path:
        """What is gone when the run is done."""
        return self.out / f"work-{self.run[:16]}"

    def cut(self, number: int) -> Path:
        """One file of rows on their way to their parts."""
        return self.work / f"cut-{number:06d}.arrow"

    def part(self, number: int) -> Path:
        """One file of forecasts."""
        return self.out / FORECAST / f"part-{number:06d}.parquet"


@contextmanager
def write_whole(place: Place, path: Path) -> Iterator[Path]:
    """Yield a path to write to; what was written appears at ``path``, synced, or not at all."""
    aside = place.work / f"{path.name}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
        sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def write_record(place: Place, path: Path, facts: Mapping[str, Any], began: float) -> None:
    """State what was written at ``path``, and by whom; its task is done then.

    Args:
        place: Where the run writes.
        path: What the task has written.
        facts: What it found, as JSON.
        began: When it began, by ``time.monotonic()``.
    """
    ran = describe_process(began)
    with write_whole(place, _record(place, path)) as aside:
        aside.write_bytes(dump_json({**facts, **describe_file(path), "ran": ran}))


def describe_process(began: float) -> dict[str, Any]:
    """Where this is, how long it took since a time by ``time.monotonic()``, and the peak memory."""
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "seconds": round(time.monotonic() - began, 3),
        "peak_mib": round(measure_peak_memory(), 1),
    }


def read_record(place: Place, path: Path) -> dict[str, Any]:
    """The record of a task that is done."""
    record: dict[str, Any] = json.loads(_record(place, path).read_bytes())
    return record


def has_record(place: Place, path: Path) -> bool:
    """Whether this run recorded a task, whatever became of its file."""
    return _record(place, path).is_file()


def is_done(place: Place, path: Path) -> bool:
    """Whether a task is recorded and its file is what the record says."""
    try:
        return is_stated(path, read_record(place, path))
    except (OSError, ValueError, KeyError):
        return False


def is_stated(path: Path, stated: Mapping[str, Any]) -> bool:
    """Whether a file has the size and the SHA-256 that were stated."""
    # A size costs nothing to ask for; only a file that has it is read.
    return (
        path.is_file()
        and path.stat().st_size == stated["bytes"]
        and (describe_file(path)["sha256"] == stated["sha256"])
    )


def _record(place: Place, path: Path) -> Path:
    return place.work / f"{path.stem}.json"
