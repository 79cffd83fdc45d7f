"""A run as a whole: what was asked, of which data, and what came of it.

    OUT/manifest.json           options, versions, inputs and parts, with sizes and SHA-256
    OUT/dead-letters.parquet    what could not be forecast: unique_id, file, code, message
    OUT/ran.csv                 which process of which machine did which task, and its peak memory

Contract: a folder is gone on with only by a run that was asked the same, of the same bytes, with
the same versions; its manifest and dead letters are then the same bytes, however often it was
interrupted. Only what such a run writes is ever removed.
"""

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from explstm import __version__
from explstm.errors import UsageError
from explstm.scaleout.records import (
    FORECAST,
    Place,
    has_record,
    is_stated,
    read_record,
    write_whole,
)
from explstm.spreadsheets import write_csv
from explstm.storage import dump_json

MANIFEST = "manifest.json"
DEAD_LETTERS = "dead-letters.parquet"
RAN = "ran.csv"
FORMAT_VERSION = 1
ASKED = {"options", "versions", "inputs", "complete"}
"""What tells a manifest of a run from those of models."""
_WORK = re.compile("work-[0-9a-f]{16}")
DEAD_SCHEMA = pa.schema([(name, pa.string()) for name in ("unique_id", "file", "code", "message")])
PART_FACTS = ("file", "bytes", "sha256", "rows", "series", "set_aside", "findings")


@dataclass(frozen=True)
class Run:
    """A run in its folder.

    Attributes:
        place: Where it writes.
        asked: All that decides the bytes of its results.
        manifest: What is complete; None where there is something to do.
    """

    place: Place
    asked: Mapping[str, Any]
    manifest: Mapping[str, Any] | None = None


def check_out(out: Path) -> None:
    """Refuse a place that cannot be written, or that holds something else.

    Raises:
        UsageError: As said.
    """
    if not out.parent.is_dir():
        raise UsageError(
            "OUTPUT_PARENT_MISSING",
            f"--out {out} lies in {out.parent}, which is not a folder; create it first.",
        )
    taken = out.exists()
    if taken and not (out.is_dir() and ((out / MANIFEST).is_file() or _is_begun(out))):
        raise UsageError(
            "OUTPUT_FOREIGN",
            f"--out {out} exists and holds no forecast in parts, so it is never replaced; choose "
            "another place.",
        )
    # The lock of the run stands beside the folder.
    if not all(os.access(folder, os.W_OK | os.X_OK) for folder in (out.parent, out)[: 1 + taken]):
        raise UsageError(
            "OUTPUT_UNWRITABLE", f"--out {out} cannot be written; choose a place where you may."
        )


def begin_run(out: Path, asked: Mapping[str, Any], *, force: bool) -> Run:
    """Open a folder of results: a new one, or one that the same run has begun or finished.

    Args:
        out: The folder, which :func:`check_out` has let pass.
        asked: Options, inputs, and what else decides the bytes of the results, as JSON.
        force: Throw away what another run has left there.

    Raises:
        UsageError: Another run has begun there, or its files were changed since it ended.
    """
    asked = {**asked, "format_version": FORMAT_VERSION, "versions": _versions()}
    place = Place(out, hashlib.sha256(dump_json(asked)).hexdigest())
    before = _read_manifest(out)
    told = _tell_difference(asked, before) if before else None
    if before and not told and before["complete"]:
        _check_complete(place, before)
        shutil.rmtree(place.work, ignore_errors=True)
        return Run(place, asked, before)
    if told and not force:
        raise UsageError(
            "OUTPUT_EXISTS",
            f"--out {out} holds another run: {told}; ask for the same to go on with that one, add "
            "--force to throw it away, or choose another place.",
        )
    place.work.mkdir(parents=True, exist_ok=True)
    for left in place.work.glob("*.tmp"):
        left.unlink(missing_ok=True)
    # First of all: no manifest calls another run complete whose parts are on their way out.
    _write_json(place, {**asked, "complete": False})
    _clear_others(place)
    (out / FORECAST).mkdir(exist_ok=True)
    return Run(place, asked)


def finish_run(run: Run, freq: Any, cuts: Sequence[Path], parts: Sequence[Path]) -> dict[str, Any]:
    """Write dead letters and manifest, and remove what was only on the way to them.

    Args:
        run: The run, all of whose tasks are done.
        freq: The frequency of the series.
        cuts: Files of rows on their way.
        parts: Files of forecasts.
    """
    place = run.place
    counts = _write_dead_letters(run, (*cuts, *parts))
    _write_ran(place, (*cuts, *parts))
    records = (read_record(place, path) for path in parts)
    manifest = {
        **run.asked,
        "complete": True,
        "freq": freq,
        "parts": [{name: record[name] for name in PART_FACTS} for record in records],
        "dead_letters": counts,
    }
    _write_json(place, manifest)
    shutil.rmtree(place.work, ignore_errors=True)
    return manifest


def _write_dead_letters(run: Run, paths: Sequence[Path]) -> dict[str, int]:
    """Write them in the order of files, then of parts, and count them by code."""
    faults = [
        {
            "unique_id": None,
            "file": one["file"],
            "code": one["fault"][0],
            "message": one["fault"][1],
        }
        for one in run.asked["inputs"]
        if one["fault"]
    ]
    counts: Counter[str] = Counter()
    dead_of = (read_record(run.place, path)["dead"] for path in paths)
    with (
        write_whole(run.place, run.place.out / DEAD_LETTERS) as aside,
        pq.ParquetWriter(aside, DEAD_SCHEMA, write_page_checksum=True) as writer,
    ):
        for dead in filter(None, chain([faults], dead_of)):
            writer.write_table(pa.Table.from_pylist(dead, DEAD_SCHEMA))
            counts.update(letter["code"] for letter in dead)
    return dict(counts)


def _write_ran(place: Place, paths: Sequence[Path]) -> None:
    rows = [{"task": path.stem, **read_record(place, path)["ran"]} for path in paths]
    with write_whole(place, place.out / RAN) as aside:
        write_csv(pd.DataFrame(rows), aside)


def _write_json(place: Place, manifest: Mapping[str, Any]) -> None:
    with write_whole(place, place.out / MANIFEST) as aside:
        aside.write_bytes(dump_json(manifest))


def _read_manifest(out: Path) -> dict[str, Any] | None:
    path = out / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format_version"] == FORMAT_VERSION and manifest.keys() >= ASKED:
            return dict(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise UsageError(
        "OUTPUT_FOREIGN",
        f"{path} is no manifest that this version reads; choose another place.",
    )


def _tell_difference(asked: Mapping[str, Any], before: Mapping[str, Any]) -> str | None:
    """What two runs differ in, in words; None where they are the same."""
    for group in ("options", "versions"):
        for name, value in asked[group].items():
            if before[group].get(name) != value:
                return f"its {name} is {before[group].get(name)!r}, and now {value!r}"
    inputs, earlier = ({one["file"]: one for one in of["inputs"]} for of in (asked, before))
    for file in sorted(inputs.keys() | earlier.keys()):
        if inputs.get(file) != earlier.get(file):
            what = "new" if file not in earlier else "gone" if file not in inputs else "changed"
            return f"input {file!r} is {what}"
    return None


def _check_complete(place: Place, manifest: Mapping[str, Any]) -> None:
    for stated in manifest["parts"]:
        path = place.out / FORECAST / stated["file"]
        if not is_stated(path, stated):
            raise UsageError(
                "OUTPUT_CHANGED",
                f"{path} is not what the manifest says; remove {place.out}, and run again.",
            )


def _is_begun(out: Path) -> bool:
    """Whether a folder is empty, or as a run leaves it that was killed before its manifest."""
    return all(_WORK.fullmatch(path.name) and path.is_dir() for path in out.iterdir())


def _clear_others(place: Place) -> None:
    """Remove what other runs have left; their folders first, to fence their processes off."""
    for work in place.out.glob("work-*"):
        if work != place.work:
            shutil.rmtree(work)
    for part in (place.out / FORECAST).glob("part-*.parquet"):
        if not has_record(place, part):
            part.unlink()
    for name in (DEAD_LETTERS, RAN):
        (place.out / name).unlink(missing_ok=True)


def _versions() -> dict[str, str]:
    return {"explstm": __version__, **{name: version(name) for name in ("numpy", "pyarrow")}}
