"""Public data that no package holds: downloaded when first asked for, then kept.

Contract: a file that is kept is used without network. A downloaded one gets its name only when its
content was found sound, so that nothing cut off or half-written is ever taken for it. This is the
only place that uses the network, and nothing calls it unasked.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from explstm.errors import DataError, UsageError

CACHE_VARIABLE = "EXPLSTM_CACHE"
TIMEOUT = 30
"""Seconds to wait for a server that says nothing."""
MAX_BYTES = 1 << 26

Content = TypeVar("Content")


def cache_folder() -> Path:
    """Where downloads are kept: ``EXPLSTM_CACHE``, or ``explstm`` in the user's cache folder.

    Raises:
        UsageError: The user has no home folder.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(os.environ.get(CACHE_VARIABLE) or f"{base}/explstm").expanduser()
    except RuntimeError as error:
        raise UsageError(
            "CACHE_FOLDER",
            f"there is no folder for downloads ({str(error).rstrip('.')}); set {CACHE_VARIABLE} "
            "to one.",
        ) from None


def provide_file(url: str, path: Path, parse: Callable[[bytes], Content], remedy: str) -> Content:
    """Read a kept file, or download it, check it and keep it.

    Args:
        url: Where it is published.
        path: Where it is kept.
        parse: Turns its bytes into the result; a ValueError says why they are not sound.
        remedy: How to get it without us, as the end of a sentence.

    Raises:
        DataError: It cannot be downloaded, or its content is not sound.
        UsageError: It cannot be kept there.
    """
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        data = _download(url, remedy)
        content = _parse_download(url, data, parse, remedy)
        _keep(path, data)
        return content
    except OSError as error:
        raise _refuse_folder(path, "read", error) from None
    try:
        return parse(kept)
    except ValueError as error:
        raise DataError(
            "DATA_CACHE",
            f"{path} is not the published file ({error}); delete it, and it is downloaded again.",
        ) from None


def _download(url: str, remedy: str) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            data = bytes(answer.read(MAX_BYTES))
            stated = int(answer.headers.get("Content-Length") or len(data))
    except HTTPError as error:
        error.close()  # it is an answer as well, with a connection
        raise _refuse(url, f"HTTP {error.code} {error.reason}", remedy) from None
    except URLError as error:
        raise _refuse(url, error.reason, remedy) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _refuse(url, str(error) or type(error).__name__, remedy) from None
    if len(data) != stated:
        raise _refuse(url, f"{len(data)} of {stated} bytes came", remedy)
    return data


def _parse_download(
    url: str, data: bytes, parse: Callable[[bytes], Content], remedy: str
) -> Content:
    try:
        return parse(data)
    except ValueError as error:
        raise _refuse(url, f"what came is not the published file: {error}", remedy) from None


def _keep(path: Path, data: bytes) -> None:
    """Write aside under a name of its own, for another process may do the same, and rename."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise
    except OSError as error:
        raise _refuse_folder(path, "written", error) from None


def _refuse(url: str, reason: object, remedy: str) -> DataError:
    return DataError("DATA_DOWNLOAD", f"{url} could not be downloaded ({reason}); {remedy}.")


def _refuse_folder(path: Path, done: str, error: OSError) -> UsageError:
    return UsageError(
        "CACHE_FOLDER",
        f"{path} cannot be {done} ({error.strerror}); set {CACHE_VARIABLE} to a folder where you "
        "may read and write.",
    )
