"""The folders of jobs: what a job reads and writes, and the one file that says it is done.

Contract: the folder of a job is named after its id, which is checked against its pattern before it
becomes part of a path. ``result.json`` is written last, synced and renamed: where it is, the job
is done, whatever was noted elsewhere when the server died.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explstm.errors import ModelFileError
from explstm.server.jobs.kinds import FILES, RESUMED
from explstm.server.jobs.record import ID, Job
from explstm.storage import dump_json, parse_json, read_regular, sync_folder, to_finite

RESULT = "result.json"
UPLOAD = "upload"
"""The file as the client sent it, under a name of ours."""
MAX_RESULT_BYTES = 1 << 20


@dataclass(frozen=True)
class JobFolders:
    """The folder that holds a folder for each job.

    Attributes:
        root: Where it is.
    """

    root: Path

    def path(self, job_id: str) -> Path:
        """The folder of a job.

        Raises:
            ValueError: What was given is no id.
        """
        if not ID.fullmatch(job_id):
            raise ValueError("no id of a job")
        return self.root / job_id

    def make(self, job_id: str, upload: bytes | None) -> None:
        """Make the folder of a new job, with the file that it reads."""
        folder = self.path(job_id)
        folder.mkdir(mode=0o700)
        if upload is not None:
            _write_synced(folder / UPLOAD, upload)
            sync_folder(folder)
        sync_folder(self.root)

    def file(self, job: Job, name: str) -> Path | None:
        """A file of the fixed list, if the job has made it."""
        place = FILES[job.kind].get(name)
        path = None if place is None else self.path(job.id) / place
        return path if path is not None and path.is_file() and not path.is_symlink() else None

    def files(self, job: Job) -> list[str]:
        """Names of the files that can be downloaded."""
        return [name for name in FILES[job.kind] if self.file(job, name) is not None]

    def result(self, job_id: str) -> dict[str, Any] | None:
        """What came of a job, if it is done."""
        try:
            data = read_regular(self.path(job_id) / RESULT, MAX_RESULT_BYTES)
            return parse_json(data, RESULT)
        except ModelFileError:
            return None

    def can_continue(self, job_id: str) -> bool:
        """Whether the job left something to go on from."""
        return any((self.path(job_id) / name).exists() for name in RESUMED)

    def tidy(self, job_id: str) -> None:
        """Remove what was being written when the process of a job was ended.

        Locks stay: a removed one would let two in.
        """
        with contextlib.suppress(FileNotFoundError):
            for path in self.path(job_id).iterdir():
                if path.name.startswith(".") and path.suffix != ".lock":
                    _remove(path)

    def remove(self, job_id: str) -> None:
        """Remove the folder of a job."""
        _remove(self.path(job_id))

    def bytes(self, job_id: str) -> int:
        """How much the folder of a job holds."""
        total = 0
        for folder, _, names in os.walk(self.path(job_id)):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def ids(self) -> list[str]:
        """All that have a folder."""
        return [path.name for path in self.root.iterdir() if ID.fullmatch(path.name)]


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Say that a job is done, and what came of it."""
    aside = folder / f".{RESULT}"
    _write_synced(aside, dump_json(to_finite(result)))
    aside.replace(folder / RESULT)
    sync_folder(folder)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
