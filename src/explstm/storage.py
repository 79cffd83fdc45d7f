"""Safe files: written aside, synced and renamed; locked; read back without trust.

A *sealed folder* holds a few files of fixed names and a ``manifest.json`` that states the size and
SHA-256 of each, and a digest of itself. Saved models and checkpoints are sealed folders.

Writing survives ``kill -9`` at any moment: the new folder is built beside the old one as
``.NAME.saving``, synced, and swapped in by two renames. A kill between the two leaves the old
version as ``.NAME.previous``: reading finds it there, and the next save puts it back first.

Reading follows no link inside the folder, opens regular files of known names only, reads no more
than the caller allows, and parses JSON with limits. SHA-256 gives integrity, not authenticity.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, TypeVar

from explstm import __version__
from explstm.errors import BusyError, ModelFileError

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
MAX_JSON_BYTES = 1 << 20
MAX_JSON_DEPTH = 32
READ_ATTEMPTS = 5

Result = TypeVar("Result")

if sys.platform == "win32":
    import msvcrt

    def _lock_descriptor(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock_descriptor(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ------------------------------------------------------------------------------------------- JSON


def dump_json(value: Any) -> bytes:
    """Write a value as JSON: sorted keys, ASCII, no NaN, so that equal values give equal bytes."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def to_finite(value: Any) -> Any:
    """A value for JSON, in which a number that is not finite is None."""
    if isinstance(value, Mapping):
        return {key: to_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_json(data: bytes, source: str) -> dict[str, Any]:
    """Read a JSON object from an untrusted source.

    Args:
        data: The bytes; at most ``MAX_JSON_BYTES``.
        source: Name used in messages.

    Raises:
        ModelFileError: Too large, too deep, not UTF-8, not JSON, a repeated key, NaN or infinity,
            or not an object.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ModelFileError(
            "MODEL_CORRUPT",
            f"{source} has {len(data)} bytes of JSON, more than the {MAX_JSON_BYTES} allowed; "
            "save the model again.",
        )
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_refuse_repeated_keys,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
        )
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            "MODEL_CORRUPT", f"{source} is not valid JSON ({str(error)[:80]!r}); save it again."
        ) from None
    if not isinstance(value, dict) or _is_deeper_than(value, MAX_JSON_DEPTH):
        raise ModelFileError(
            "MODEL_CORRUPT",
            f"{source} is not a JSON object of at most {MAX_JSON_DEPTH} levels; save it again.",
        )
    return value


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"repeated key {next(key for key in keys if keys.count(key) > 1)!r}")
    return result


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON number")


def _parse_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)


def _is_deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        children = [item.values() if isinstance(item, dict) else item for item in level]
        level = [child for group in children for child in group if isinstance(child, dict | list)]
        if not level:
            return False
    return True


# ------------------------------------------------------------------------------- locks and writing


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Keep other processes and threads from writing ``path`` while the block runs.

    The lock is the operating system's and ends with its process, however that ends.

    Raises:
        BusyError: Another holder has it.
    """
    lock = _sibling(path, "lock")
    descriptor = _acquire(lock, path)
    try:
        yield
    finally:
        try:
            with contextlib.suppress(OSError):
                lock.unlink()
        finally:
            os.close(descriptor)


def _acquire(lock: Path, path: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            _lock_descriptor(descriptor)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise BusyError(
                "FOLDER_BUSY",
                f"{path} is being written by another process; wait for it to end, or use another "
                "folder.",
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        # A holder that just left removed the file: its name must still lead to what is locked.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(lock), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def write_sealed(path: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Write a sealed folder, replacing an older one of the same files as a whole.

    Args:
        path: The folder; missing parents are created.
        files: Content by file name.
        about: Further entries of the manifest.

    Raises:
        ModelFileError: ``path`` is something else than a sealed folder, or cannot be written; what
            stood there is intact.
        BusyError: Another process is writing it.
    """
    path = Path(os.path.realpath(path))
    manifest = {
        **about,
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }
    manifest["seal"] = _seal(manifest)
    content = {**files, MANIFEST: dump_json(manifest)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(path):
            _swap_in(path, content)
    except OSError as error:
        raise ModelFileError(
            "MODEL_NOT_SAVED",
            f"{path} cannot be written ({error.strerror}), and what stood there is intact; choose "
            "a folder with space that you may write.",
        ) from None


def _swap_in(path: Path, content: Mapping[str, bytes]) -> None:
    """Replace the folder; a killed predecessor is cleaned up first."""
    saving, previous = _sibling(path, "saving"), _sibling(path, "previous")
    _remove_folder(saving, content)
    if previous.exists() and not path.exists():
        os.rename(previous, path)
    _remove_folder(previous, content)
    _refuse_foreign(path, content)
    try:
        saving.mkdir(mode=0o700)
        for name, data in content.items():
            _write_new(saving / name, data, 0o600)
        sync_folder(saving)
        if path.exists():
            os.rename(path, previous)
        os.rename(saving, path)
        sync_folder(path.parent)
    except OSError:
        _remove_folder(saving, content)
        if previous.exists() and not path.exists():
            os.rename(previous, path)
        raise
    _remove_folder(previous, content)


def _refuse_foreign(path: Path, names: Iterable[str]) -> None:
    """Only a folder that holds nothing but our own files may be replaced."""
    if not path.exists():
        return
    foreign = sorted(set(os.listdir(path)) - set(names)) if path.is_dir() else [path.name]
    if foreign:
        raise ModelFileError(
            "MODEL_PATH_TAKEN",
            f"{path} holds {foreign[0]!r}, which is no part of a saved model and would be lost; "
            "save to a new folder.",
        )


def _remove_folder(path: Path, names: Iterable[str]) -> None:
    """Remove a folder of known files: never recursively, so that nothing else can be lost."""
    if not path.exists():
        return
    for name in names:
        (path / name).unlink(missing_ok=True)
    path.rmdir()


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file under its name as a whole or not at all; an older one is replaced.

    Raises:
        OSError: It cannot be written, or a folder, device or pipe has the name; what stood there
            is intact.
        BusyError: Another process is writing it.
    """
    path = Path(os.path.realpath(path))
    with hold_lock(path):
        if not is_replaceable(path):
            raise FileExistsError(errno.EEXIST, "it exists and is no regular file", str(path))
        aside = _sibling(path, "writing")
        try:
            _write_new(aside, data, 0o666)
            os.replace(aside, path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def is_replaceable(path: Path) -> bool:
    """Whether a path leads to nothing or to a regular file, not to a folder, device or pipe.

    Raises:
        OSError: It cannot be found out.
    """
    try:
        return stat.S_ISREG(os.lstat(os.path.realpath(path)).st_mode)
    except FileNotFoundError:
        return True


def sync_folder(path: Path) -> None:
    """Put the names in a folder on the disk."""
    if sys.platform == "win32":  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sibling(path: Path, role: str) -> Path:
    return path.with_name(f".{path.name}.{role}")


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(dump_json(manifest)).hexdigest()


# ------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Sealed:
    """A sealed folder opened for reading: the manifest is checked, the files are not yet read.

    Attributes:
        path: The folder.
        manifest: Content of ``manifest.json``, its own digest checked.
    """

    path: Path
    manifest: dict[str, Any]

    def read(self, name: str, max_bytes: int) -> bytes:
        """Read one file and check its size and SHA-256.

        Raises:
            ModelFileError: Larger than ``max_bytes``, not a regular file, or not what the manifest
                says.
        """
        data = read_regular(self.path / name, max_bytes)
        stated = self.manifest["files"][name]
        if len(data) != stated["bytes"]:
            raise ModelFileError(
                "MODEL_CORRUPT",
                f"{self.path / name} has {len(data)} bytes, but its manifest says "
                f"{stated['bytes']}; copy or save the model again.",
            )
        if hashlib.sha256(data).hexdigest() != stated["sha256"]:
            raise ModelFileError(
                "MODEL_CORRUPT",
                f"{self.path / name} differs from the SHA-256 in its manifest; copy or save the "
                "model again.",
            )
        return data


def read_sealed(path: Path, names: Iterable[str], parse: Callable[[Sealed], Result]) -> Result:
    """Read a sealed folder with ``parse``, again if it is replaced meanwhile.

    Args:
        path: The folder.
        names: The files it must hold besides its manifest.
        parse: Turns the opened folder into the result.

    Raises:
        ModelFileError: Missing, damaged, hostile, or of a newer format.
        BusyError: Replaced each time it was read.
    """
    path = Path(os.path.realpath(path))
    for _ in range(READ_ATTEMPTS):
        folder, identity = _find_current(path)
        try:
            return parse(_open_sealed(folder, frozenset(names)))
        except ModelFileError:
            if _find_current(path)[1] == identity:
                raise
    raise BusyError("FOLDER_BUSY", f"{path} is being replaced all the time; try again later.")


def _find_current(path: Path) -> tuple[Path, tuple[int, ...]]:
    """The folder, or its previous version where a killed save left only that, and its identity."""
    # A save may end between the first two looks, so the place is looked at again.
    for folder in (path, _sibling(path, "previous"), path):
        try:
            found = os.lstat(folder)
        except OSError:
            continue
        if not stat.S_ISDIR(found.st_mode):
            raise ModelFileError(
                "MODEL_NOT_A_FOLDER",
                f"{folder} is a file, but a saved model is a folder with {MANIFEST}; no other "
                "kind of file is ever loaded.",
            )
        # The number of a removed folder is given to the next one, its times are not.
        return folder, (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
    raise ModelFileError("MODEL_NOT_FOUND", f"{path} does not exist; check the path.")


def _open_sealed(path: Path, names: frozenset[str]) -> Sealed:
    if sys.platform != "win32" and os.lstat(path).st_mode & stat.S_IWOTH:
        warnings.warn(f"anyone on this machine may change {path}; chmod o-w it", stacklevel=2)
    source = str(path / MANIFEST)
    data = read_regular(path / MANIFEST, MAX_JSON_BYTES)
    manifest = parse_json(data, source)
    version = manifest.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise ModelFileError(
            "MODEL_NEWER",
            f"{path} is in format {version}, and this version reads up to format "
            f"{FORMAT_VERSION}; {tell_versions(manifest)}; upgrade explstm.",
        )
    stated = {key: value for key, value in manifest.items() if key != "seal"}
    known = type(version) is int and version == FORMAT_VERSION
    # As it was written, to the byte: of a file that lost its end nothing is taken.
    if not known or manifest.get("seal") != _seal(stated) or data != dump_json(manifest):
        raise ModelFileError(
            "MODEL_CORRUPT", f"{source} was altered after it was written; save the model again."
        )
    files = manifest.get("files")
    if (
        not isinstance(files, dict)
        or set(files) != names
        or not all(map(_is_stated, files.values()))
    ):
        raise ModelFileError(
            "MODEL_CORRUPT",
            f"{source} does not state exactly {', '.join(sorted(names))}; save the model again.",
        )
    return Sealed(path, manifest)


def tell_versions(manifest: Mapping[str, Any]) -> str:
    """Which version wrote a sealed folder, and which one this is."""
    written_by = str(manifest.get("package_version"))[:40]
    return f"it was written by explstm {written_by!r}, and this is explstm {__version__}"


def _is_stated(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and isinstance(entry.get("sha256"), str)
    )


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of bounded size; no link is followed and no pipe waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ModelFileError(
            "MODEL_CORRUPT",
            f"{path} cannot be opened as a plain file ({error.strerror}); copy or save the model "
            "again.",
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > max_bytes:
            raise ModelFileError(
                "MODEL_CORRUPT",
                f"{path} is not a plain file of at most {max_bytes} bytes; copy or save the model "
                "again.",
            )
        # As much memory as is asked for is taken, so ask for what there is, and see if it grew.
        return file.read(found.st_size + 1)
