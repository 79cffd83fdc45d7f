"""Files that clients sent: kept for a time, and forgotten.

Contract: every file has a random name of ours. What is kept is bounded in time and in size. The
folder belongs to the running server: what an older one left is removed at its start.
"""

import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from explstm.server.data.reading import Source, upload_gone
from explstm.server.errors import ApiError
from explstm.server.settings import Settings

FOLDER = "uploads"


@dataclass(frozen=True)
class StoredUpload:
    """A kept file.

    Attributes:
        path: Where the server put it.
        name: What the client called it; for display.
        size: In bytes.
        until: When it is forgotten, by :func:`time.monotonic`.
    """

    path: Path
    name: str
    size: int
    until: float

    @property
    def content(self) -> bytes:
        """Its bytes.

        Raises:
            ApiError: 404, it was forgotten meanwhile.
        """
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            raise upload_gone() from None

    @property
    def source(self) -> Source:
        """For the reader."""
        return Source("file", str(self.path), self.name)


class Uploads:
    """All kept files; see the module."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.data / FOLDER
        self._kept: dict[str, StoredUpload] = {}
        self._coming = dict.fromkeys((False, True), 0)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)

    @asynccontextmanager
    async def spool(self, *, of_file: bool = True) -> AsyncIterator[Path]:
        """The path of a new file, which is removed on leaving unless it was kept.

        Args:
            of_file: A file comes in, not JSON, which is small: more of that may wait.
        """
        most = self._settings.uploads_at_once if of_file else self._settings.waiting
        if self._coming[of_file] >= most:
            raise ApiError(
                429, "TOO_MANY_UPLOADS", "too many requests come in at once; try again.",
                {"Retry-After": "5"},
            )  # fmt: skip
        path = self._folder / secrets.token_urlsafe(16)
        self._coming[of_file] += 1
        try:
            yield path
        finally:
            self._coming[of_file] -= 1
            if path.name not in self._kept:
                path.unlink(missing_ok=True)

    def keep(self, path: Path, name: str) -> str:
        """Keep a spooled file for its time, and return its id."""
        self.expire()
        size = path.stat().st_size
        limit = self._settings.max_upload_bytes - size
        while self._kept and sum(upload.size for upload in self._kept.values()) > limit:
            self.drop(next(iter(self._kept)))
        until = time.monotonic() + self._settings.keep_uploads_for
        self._kept[path.name] = StoredUpload(path, name, size, until)
        return path.name

    def take(self, data_id: str) -> StoredUpload:
        """The kept file of an id.

        Raises:
            ApiError: 404, there is none, or no longer.
        """
        self.expire()
        if data_id not in self._kept:
            raise upload_gone()
        return self._kept[data_id]

    def drop(self, data_id: str) -> None:
        """Forget a file."""
        upload = self._kept.pop(data_id, None)
        if upload is not None:
            upload.path.unlink(missing_ok=True)

    def expire(self) -> None:
        """Forget what has had its time."""
        now = time.monotonic()
        for data_id in [name for name, upload in self._kept.items() if upload.until < now]:
            self.drop(data_id)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
