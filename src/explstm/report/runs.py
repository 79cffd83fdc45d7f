"""Run folders read back without trust: whoever had the folder may have changed what is in it.

Contract: only plain files of bounded size are read, by the names that our commands give them. A
table has the columns asked for, dates that are dates and numbers that are numbers (what is not
finite is missing), or is refused in one sentence; a file that is not there is None. Where
``run.json`` lists the files of its run, one that was cut, changed or lost since is refused too.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from explstm.errors import DataError, ModelFileError, UsageError
from explstm.frame import Panel
from explstm.options import DataOptions
from explstm.parsing import name_cells, parse_dates, quote
from explstm.runfolder import PACKAGE, RECORD, describe_file, find_run, holds_record
from explstm.spreadsheets import restore
from explstm.storage import MAX_JSON_BYTES, parse_json, read_regular

MAX_TABLE_BYTES = 1 << 29
MAX_COLUMNS = 500
COMMANDS = ("forecast", "fit", "compare", "backtest", "tune", "growth")

Text = Annotated[str, Field(max_length=4096)]
Content = TypeVar("Content", bound=BaseModel)


class FileRecord(BaseModel):
    """What ``run.json`` says of a file of the run."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class DataRecord(FileRecord):
    """What ``run.json`` says of the data file."""

    file: Text


class Record(BaseModel):
    """What ``run.json`` says."""

    command: Annotated[str, Field(pattern="^[a-z]{1,20}$")]
    arguments: dict[Text, Any]
    seeds: Annotated[list[int], Field(max_length=1000)] = []
    data: DataRecord | None = None
    versions: Annotated[dict[Text, Text], Field(max_length=100)] = {}
    machine: Annotated[dict[Text, Text], Field(max_length=100)] = {}
    files: Annotated[dict[Text, FileRecord], Field(max_length=10_000)] | None = None

    def count(self, name: str, default: int) -> int:
        """An argument that is a number of steps or windows."""
        value = self.arguments.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: Its folder.
        record: What was run.
    """

    path: Path
    record: Record

    def json(self, name: str, kind: type[Content]) -> Content | None:
        """The content of a JSON file.

        Raises:
            DataError: It is damaged, or not the file that the run wrote.
        """
        data = self._read(name, MAX_JSON_BYTES)
        return None if data is None else _parse_json(self.path / name, data, kind)

    def table(
        self,
        name: str,
        *,
        texts: Sequence[str] = (),
        dates: Sequence[str] = (),
        numbers: Sequence[str] = (),
        others: bool = False,
    ) -> pd.DataFrame | None:
        """Columns of a table.

        Args:
            name: Of the file.
            texts: Columns of text.
            dates: Columns of dates; those with an offset are given in UTC.
            numbers: Columns of numbers.
            others: Whether all other columns are read too; they hold numbers.

        Raises:
            DataError: It is damaged, or not the file that the run wrote.
        """
        path, data = self.path / name, self._read(name, MAX_TABLE_BYTES)
        if data is None:
            return None
        try:
            header = pd.read_csv(io.BytesIO(data), nrows=0).columns
            lacking = {*texts, *dates, *numbers} - set(header)
            if lacking or len(header) > MAX_COLUMNS:
                raise ValueError(f"has {len(header)} columns and lacks {sorted(lacking)}")
            as_text = {*texts, *dates}
            kinds = {name: str if name in as_text else np.float64 for name in header}
            table = pd.read_csv(
                io.BytesIO(data),
                dtype=kinds,
                keep_default_na=False,
                na_values=[""],
                usecols=list(header if others else {*as_text, *numbers}),
            )
        except (ValueError, OverflowError) as error:
            raise _refuse_damaged(path, error) from None
        return _tidy(table, path, list(texts), list(dates))

    def _read(self, name: str, most: int) -> bytes | None:
        """The bytes of a file, as the run wrote them; runs of older versions list no files."""
        path, files = self.path / name, self.record.files
        known = None if files is None else files.get(name)
        if not path.exists():
            if known is None:
                return None
            raise DataError(
                "REPORT_DAMAGED",
                f"{path} is missing, though {RECORD} lists it; make the run again.",
            )
        data = _read_bytes(path, most)
        found = (len(data), hashlib.sha256(data).hexdigest())
        if files is not None and (known is None or found != (known.bytes, known.sha256)):
            raise DataError(
                "REPORT_DAMAGED",
                f"{path} is not the file that the run wrote (it has {len(data)} bytes; {RECORD} "
                "lists another size or SHA-256, or no such file); make the run again.",
            )
        return data


def _tidy(table: pd.DataFrame, path: Path, texts: list[str], dates: list[str]) -> pd.DataFrame:
    table[texts] = table[texts].fillna("").map(restore)
    for name in dates:
        name_cell = name_cells(name, table.index)
        try:
            text_S = table[name].fillna("").to_numpy(dtype=object)
            table[name] = parse_dates(text_S, name_cell)[0]
        except DataError as error:
            raise _refuse_damaged(path, error) from None
    others = [name for name in table.columns if name not in {*texts, *dates}]
    table[others] = table[others].where(np.isfinite(table[others].to_numpy(dtype=np.float64)))
    return table


@dataclass(frozen=True)
class Material:
    """What a report is made from.

    Attributes:
        run: A finished run.
        history: The series it was made from, where the file is still there and unchanged.
    """

    run: Run
    history: Panel | None


def read_run(path: Path) -> Run:
    """Open a run folder.

    Raises:
        UsageError: It is none, or one of a command that a report has no part for.
        DataError: What it says of itself is damaged.
    """
    path = find_run(path)
    if not holds_record(path):
        raise UsageError(
            "REPORT_NO_RUN",
            f"{path} is no run folder (it holds no {RECORD}); {_say_remedy()}",
        )
    record = _parse_json(path / RECORD, _read_bytes(path / RECORD, MAX_JSON_BYTES), Record)
    if record.command not in COMMANDS:
        raise UsageError(
            "REPORT_COMMAND",
            f"{path} was made by explstm {record.command}, which a report does not show; "
            f"{_say_remedy()}",
        )
    return Run(path, record)


def _say_remedy() -> str:
    commands = f"{', '.join(COMMANDS[:-1])} or {COMMANDS[-1]}"
    return f"give a folder that explstm {commands} has made with --out."


def find_data(run: Run, given: Path | None) -> Path | None:
    """The file that a run was made from, if it is where it was, or given, and unchanged."""
    known = run.record.data
    if known is None:
        return None
    said = str(run.record.arguments.get("file", ""))
    places = [given] if given is not None else [Path(said), PACKAGE.parent / said]
    return next((place for place in places if said and _is_same(place, known)), None)


def _is_same(path: Path, known: FileRecord) -> bool:
    try:
        # A device that never ends is no file, and the size is told without reading.
        return (
            path.is_file()
            and path.stat().st_size == known.bytes
            and describe_file(path)["sha256"] == known.sha256
        )
    except (OSError, ValueError):
        return False


def read_history(run: Run, path: Path) -> Panel:
    """The series of a run, read as it read them.

    Raises:
        DataError: The options in ``run.json`` are damaged, or the data cannot be read with them.
    """
    try:
        options = TypeAdapter(DataOptions).validate_python(run.record.arguments.get("data", {}))
    except ValidationError as error:
        raise _refuse_damaged(run.path / RECORD, error) from None
    return options.read(path)


def _parse_json(path: Path, data: bytes, kind: type[Content]) -> Content:
    try:
        return kind.model_validate(parse_json(data, path.name))
    except ModelFileError:
        raise _refuse_damaged(path, ValueError("no JSON object of known size and depth")) from None
    except ValidationError as error:
        raise _refuse_damaged(path, error) from None


def _read_bytes(path: Path, most: int) -> bytes:
    try:
        return read_regular(path, most)
    except ModelFileError:
        raise DataError(
            "REPORT_DAMAGED",
            f"{path} is not a plain file of at most {most} bytes that may be read; make the run "
            "again.",
        ) from None


def _refuse_damaged(path: Path, error: Exception) -> DataError:
    found = error.message if isinstance(error, DataError) else str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        found = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return DataError(
        "REPORT_DAMAGED",
        f"{path} is not as explstm wrote it ({quote(found)}); make the run again.",
    )
