"""A folder of Parquet as one panel, for work that needs all series at once.

Contract: the panel is a function of the bytes of the files, by id and date, whoever reads it. What
a forecast in parts would set aside is set aside here, with the same sentences. All rows are in
memory at once.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from explstm.errors import DataError
from explstm.panel import Panel
from explstm.scaleout.cutting import (
    DamagedFileError,
    Letter,
    cut_schema,
    drop_nameless,
    read_file,
    tell_file,
    tell_nameless,
)
from explstm.scaleout.inputs import Inspection, choose_kinds, find_files, inspect_file
from explstm.scaleout.options import Reading
from explstm.scaleout.parts import build_good, tell_refused, vote_freq
from explstm.scaleout.rows import sort_rows


@dataclass(frozen=True)
class Dataset:
    """What to read.

    Attributes:
        path: A Parquet file, or a folder of them.
        reading: How.
    """

    path: Path
    reading: Reading


@dataclass(frozen=True)
class Contents:
    """What was read.

    Attributes:
        panel: All series that can be used.
        letters: What was set aside.
        files: All files that were found.
    """

    panel: Panel
    letters: list[Letter]
    files: list[Inspection]


def read_panel(dataset: Dataset) -> Contents:
    """Read all series, and tell what was set aside.

    Raises:
        DataError: No file or no series can be used, or the series tell no frequency.
    """
    reading = dataset.reading
    root, names = find_files(dataset.path)
    looks = (inspect_file((root, name, reading.columns)) for name in names)
    kinds, found = choose_kinds(list(looks))
    letters = [tell_file(one.file, DataError(*one.fault)) for one in found if one.fault]
    usable = [one for one in found if one.kinds is not None and one.rows]
    schema = cut_schema(kinds)
    batches: list[pa.RecordBatch] = []
    for number, one in enumerate(usable):
        read, more = _read_whole(root, one, reading, number, schema)
        batches, letters = batches + read, letters + more
    rows = sort_rows(pa.Table.from_batches(batches, schema), reading, {})
    if reading.freq is None:
        freq, refusal = vote_freq(rows, reading)
        if freq is None:
            raise DataError(
                "FREQ_UNKNOWN",
                f"no series tells the frequency, for the last: {refusal} Pass freq.",
            )
        reading = replace(reading, freq=freq)
    refused: dict[str, DataError] = {}
    panel = build_good(rows, reading, reading.freq, refused)
    letters += tell_refused(rows, refused, tuple(one.file for one in usable))
    if panel is None:
        first = next(iter(refused.values()))
        raise DataError(first.code, f"no series can be used; of the first: {first.message}")
    return Contents(panel, letters, found)


def _read_whole(
    root: Path, one: Inspection, reading: Reading, number: int, schema: pa.Schema
) -> tuple[list[pa.RecordBatch], list[Letter]]:
    """All rows of a file, or none where it turns out to be damaged."""
    try:
        read = [drop_nameless(b) for b in read_file(root, one, reading.columns, number, schema)]
    except DamagedFileError as error:
        return [], [tell_file(one.file, error.args[1])]
    nameless = sum(n for _, n in read)
    letters = [tell_file(one.file, tell_nameless(nameless))] if nameless else []
    return [batch for batch, _ in read], letters
