"""Checkpoints of trials, of which no two processes ever write the same.

    ROOT/study-ID/trial-00007/attempt-00012/    checkpoints, and looks.json

Contract: a trial that is begun again is another trial of the study (here the twelfth attempts the
seventh), so that every attempt has a number that one process was given once, and a folder of that
number that only it writes to. It begins with the newest checkpoint that the attempts before it have
left. A process that outlives its run may go on writing to the folder of its own attempt until that
is removed, and writes nowhere then.

A root that a worker does not see, because it is no folder of all machines, keeps nothing.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from explstm.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from explstm.errors import BusyError, ModelFileError
from explstm.finetuning import PARTS
from explstm.storage import dump_json

LOOKS = "looks.json"
Looks = dict[int, float]
"""What a training was worth after each of its parts."""


def begin_attempt(root: Path, study: str, origin: int, number: int) -> Path:
    """Make the folder of an attempt.

    Args:
        root: Where checkpoints are kept; it is made where there is none.
        study: What names the study among all others.
        origin: The trial as it was drawn.
        number: The trial that attempts it.

    Raises:
        BusyError: Another process has that attempt.
    """
    folder = root / f"study-{study}" / f"trial-{origin:05d}" / f"attempt-{number:05d}"
    while True:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            return folder
        except FileNotFoundError:  # another driver has just removed what was empty
            continue
        except FileExistsError:
            raise BusyError(
                "ATTEMPT_BUSY",
                f"{folder} is that of another process; keep the checkpoints of this study "
                "elsewhere, or remove what a copy of it has left there.",
            ) from None


def end_trial(folder: Path) -> None:
    """Remove the checkpoints of all attempts of a trial; what is empty above them goes as well."""
    trial = folder.parent
    shutil.rmtree(trial, ignore_errors=True)
    with suppress(OSError):
        trial.parent.rmdir()
        trial.parent.parent.rmdir()


def delete_all(root: Path) -> None:
    """Remove the checkpoints of all studies below a root, and that if it is empty then."""
    for study in root.glob("study-*"):
        shutil.rmtree(study, ignore_errors=True)
    with suppress(OSError):
        root.rmdir()


def take_over(folder: Path) -> Looks:
    """Copy what earlier attempts have come to into the folder of one that begins.

    Returns:
        What the training was worth after the parts that they have seen the end of.
    """
    earlier = [path for path in folder.parent.glob("attempt-*") if path.name < folder.name]
    for part in ("", *PARTS):
        found = [checkpoint for path in earlier if (checkpoint := _load(path / part)) is not None]
        if found:
            (folder / part).mkdir(exist_ok=True)
            save_checkpoint(folder / part, max(found, key=lambda one: one.step))
    looks: Looks = {}
    for path in earlier:
        looks |= _read_looks(path)
    return looks


def write_looks(folder: Path, looks: Mapping[int, float]) -> None:
    """Keep what a training was worth after its parts."""
    aside = folder / f"{LOOKS}.tmp"
    aside.write_bytes(dump_json({str(part): value for part, value in looks.items()}))
    aside.replace(folder / LOOKS)


def _load(folder: Path) -> Checkpoint | None:
    """The newest sound checkpoint; what is not, or is being removed, is passed over."""
    with warnings.catch_warnings(), suppress(ModelFileError, OSError):
        warnings.simplefilter("ignore", UserWarning)
        return load_checkpoint(folder)
    return None


def _read_looks(folder: Path) -> Looks:
    try:
        told = json.loads((folder / LOOKS).read_bytes())
        return {int(part): float(value) for part, value in told.items()}
    except (OSError, ValueError):
        return {}
