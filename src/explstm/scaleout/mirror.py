"""Checkpoints at a URL, such as ``s3://bucket/run``, of trainings that write them to a folder.

Contract: :meth:`Mirror.fetch` brings the newest checkpoints of every part of a run into a folder,
and :meth:`Mirror.push` sends one there; the two newest of a part stay. A checkpoint that did not
arrive whole is told by its SHA-256 and passed over, as on a disk. Two runs at one URL are not kept
apart.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from explstm.checkpoint import KEPT, NAME, list_checkpoints
from explstm.errors import BackendNotInstalledError, ModelFileError, UsageError, tell_reason
from explstm.storage import MANIFEST


def is_url(place: str | Path) -> bool:
    """Whether a place is no path of this file system."""
    return "://" in str(place)


def show_place(place: str | Path) -> str:
    """A place as it may be told: a URL without users, passwords and options."""
    return re.sub("(?<=://).*@", "", str(place).partition("?")[0]) if is_url(place) else str(place)


class Mirror:
    """A place at a URL."""

    def __init__(self, url: str) -> None:
        """Find the file system of a URL.

        Raises:
            BackendNotInstalledError: fsspec, or what it needs for this kind of URL, is missing.
            UsageError: There is no such kind.
        """
        self.shown = show_place(url)
        try:
            from fsspec.core import url_to_fs

            self._fs, self._root = url_to_fs(url)
        except ImportError as error:
            raise BackendNotInstalledError(
                "FSSPEC_NOT_INSTALLED",
                f"checkpoints at {self.shown} need {error.name or error}; run: pip install "
                "'explstm[ray]', and the package that fsspec names for this kind of URL.",
            ) from None
        except ValueError as error:
            raise UsageError(
                "CHECKPOINT_URL",
                f"{self.shown} cannot be used ({str(error).replace(url, self.shown)}); use a "
                "folder or another URL.",
            ) from None

    def fetch(self, folder: Path) -> None:
        """Bring the checkpoints there into a folder.

        Raises:
            ModelFileError: The place cannot be read.
        """
        with self._told():
            for part, names in self._list().items():
                for name in names[:KEPT]:
                    self._fs.get(f"{self._at(part)}/{name}", str(folder / part / name), True)

    def push(self, folder: Path, below: Path) -> None:
        """Send the newest checkpoint in one of the folders ``below``, and remove old ones there.

        Raises:
            ModelFileError: The place cannot be written.
        """
        part = folder.relative_to(below).as_posix()
        part = "" if part == "." else part
        newest = list_checkpoints(folder)[0]
        there = f"{self._at(part)}/{newest.name}"
        with self._told():
            self._fs.makedirs(there, exist_ok=True)
            for file in sorted(newest.iterdir(), key=lambda path: path.name == MANIFEST):
                self._fs.put_file(str(file), f"{there}/{file.name}")  # what seals it comes last
            for name in self._list().get(part, [])[KEPT:]:
                self._fs.rm(f"{self._at(part)}/{name}", recursive=True)

    def holds_any(self) -> bool:
        """Whether there is a checkpoint, sound or not."""
        with self._told():
            return bool(self._list())

    def clear(self) -> None:
        """Remove all checkpoints there."""
        with self._told():
            for part, names in self._list().items():
                for name in names:
                    self._fs.rm(f"{self._at(part)}/{name}", recursive=True)

    def _at(self, part: str) -> str:
        return f"{self._root}/{part}" if part else str(self._root)

    def _list(self) -> dict[str, list[str]]:
        """Names of checkpoints by part, newest first."""
        self._fs.invalidate_cache()
        if not self._fs.exists(self._root):
            return {}
        found: dict[str, list[str]] = {}
        for path in self._fs.find(self._root, maxdepth=None):
            folder, _, _ = path.removeprefix(self._root).strip("/").rpartition("/")
            part, _, name = folder.rpartition("/")
            names = found.setdefault(part, [])
            if NAME.fullmatch(name) and name not in names:
                names.append(name)
        for names in found.values():
            names.sort(key=lambda name: int(name[5:]), reverse=True)
        return {part: names for part, names in found.items() if names}

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn failures, which are of many classes, into one that names the place."""
        try:
            yield
        except Exception as error:
            raise ModelFileError(
                "CHECKPOINT_URL",
                f"{self.shown} cannot be read or written ({type(error).__name__}: "
                f"{tell_reason(error)}); check the place and the rights there, and resume.",
            ) from None
