"""One part of the series to one file of forecasts.

Contract: :func:`forecast_part` reads the rows of its part from every cut, in an order that does not
depend on the files they came from, and writes the forecasts of its series, by id. A series that is
refused is set aside with the sentence that :meth:`explstm.ExpLSTM.predict` would raise, and does
not keep the others from being forecast.

Axes: N series of a part, S their rows, sorted by series and date.
"""

import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from explstm.calendar import Freq
from explstm.errors import DataError, ModelFileError
from explstm.forecaster import ExpLSTM
from explstm.frame import Panel, build_panel, take_series
from explstm.intervals import name_columns, to_probabilities
from explstm.mixing import FEWEST_JUDGED
from explstm.scaleout.cutting import Letter, cut_schema
from explstm.scaleout.options import Options, read_seal
from explstm.scaleout.plan import Plan
from explstm.scaleout.records import write_record, write_whole
from explstm.scaleout.sifting import sift

CELLS_PER_BLOCK = 1 << 22
"""Forecasts, times their quantiles, that are in memory at once."""
SERIES_ASKED = 1000
"""Series that the frequency is found from."""


@dataclass(frozen=True)
class PartTask:
    """One part to forecast.

    Attributes:
        plan: The plan.
        number: Which part it is.
        files: Names of all files that were cut.
    """

    plan: Plan
    number: int
    files: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """The rows of a part.

    Attributes:
        frame: Ids, dates and values under the user's names, sorted by series and date.
        starts_N1: Where each series starts, and the total.
        ids_N: Ids as text.
        file_N: Position of the first file that holds the series.
    """

    frame: pd.DataFrame
    starts_N1: npt.NDArray[np.int64]
    ids_N: list[str]
    file_N: npt.NDArray[np.int64]

    def build(self, options: Options, freq: Freq | None, begin: int, end: int) -> Panel:
        """The panel of a range of series."""
        rows = self.frame.iloc[self.starts_N1[begin] : self.starts_N1[end]]
        return _build_panel(rows, options, freq)


def forecast_part(task: PartTask) -> dict[str, int]:
    """Forecast a part, and return how many series were forecast and set aside."""
    began = time.monotonic()
    plan, path = task.plan, task.plan.place.part(task.number)
    model, rows = _load_model(plan.options), read_rows(plan, task.number)
    refused: dict[str, DataError] = {}
    findings: Counter[str] = Counter()
    counts = {"rows": 0, "series": 0}
    schema = part_schema(plan, model)
    with (
        write_whole(plan.place, path) as aside,
        pq.ParquetWriter(aside, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for block, table in _forecast_blocks(rows, plan, model, refused):
            writer.write_table(pa.Table.from_pandas(table, schema, preserve_index=False))
            counts["rows"] += len(table)
            counts["series"] += block.n_series
            findings.update(_list_findings(block))
    dead = _tell_refused(rows, refused, task.files)
    facts = {**counts, "set_aside": len(dead), "findings": dict(findings), "dead": dead}
    write_record(plan.place, path, facts, began)
    return {"series": counts["series"], "dead": len(dead)}


def find_freq(task: PartTask) -> tuple[Freq | None, str]:
    """The frequency that most of the first series of a part take, or None and the last refusal."""
    rows = read_rows(task.plan, task.number)
    votes: Counter[Freq] = Counter()
    refusal = "there are no rows."
    last = min(SERIES_ASKED, len(rows.ids_N))
    for begin, end, got in sift(0, last, lambda *of: rows.build(task.plan.options, None, *of)):
        if isinstance(got, Panel):
            votes[got.plain_freq] += end - begin
        else:
            refusal = got.message
    return (votes.most_common(1)[0][0] if votes else None), refusal


# -------------------------------------------------------------------------------------------- rows


def read_rows(plan: Plan, number: int) -> Rows:
    """Read the rows of a part from every cut."""
    batches = []
    for cut in range(plan.n_cuts):
        with pa.OSFile(str(plan.place.cut(cut))) as source:
            reader = pa.ipc.open_file(source)
            places = range(number, reader.num_record_batches, plan.n_parts)
            batches += [reader.get_batch(place) for place in places]
    table = pa.Table.from_batches(batches, cut_schema(plan))
    return _sort_rows(table, plan.options)


def _sort_rows(table: pa.Table, options: Options) -> Rows:
    """Rows by series, date and value, so that it does not matter which file they came from."""
    coded = table["id"].combine_chunks().dictionary_encode()
    ids_N = np.array(coded.dictionary.to_pylist(), dtype=object)
    order_N = np.argsort(ids_N, kind="stable")
    rank_N = np.empty(len(order_N), dtype=np.int64)
    rank_N[order_N] = np.arange(len(order_N))
    code_S = rank_N[coded.indices.to_numpy()]
    order_S = np.lexsort((_sort_key(table["value"]), _sort_key(table["date"]), code_S))
    starts_N1 = np.searchsorted(code_S[order_S], np.arange(len(ids_N) + 1))
    file_S = table["file"].to_numpy()[order_S]
    first_N = np.minimum.reduceat(file_S, starts_N1[:-1]) if len(ids_N) else file_S
    sorted_table = table.select(["id", "date", "value"]).take(order_S)
    # Integers with missing ones among them stay integers, so that only their series are refused.
    frame = sorted_table.rename_columns(list(options.columns)).to_pandas(
        types_mapper={pa.int64(): pd.Int64Dtype()}.get
    )
    frame[options.id_col] = sorted_table["id"].to_pandas()
    return Rows(frame, starts_N1, [str(one) for one in ids_N[order_N]], first_N)


def _sort_key(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Numbers in the order of a column, the missing ones alike."""
    if pa.types.is_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        rank = pd.Series(coded.dictionary.to_pylist(), dtype=object).rank(method="first")
        return rank.to_numpy()[coded.indices.fill_null(0).to_numpy()]
    if not pa.types.is_floating(column.type):
        column = column.cast(pa.int64()).fill_null(0)
    return column.to_numpy()


# --------------------------------------------------------------------------------------- forecasts


def part_schema(plan: Plan, model: ExpLSTM) -> pa.Schema:
    """What a file of forecasts holds: ids and dates of the types they had, and the forecasts."""
    row, level = cut_schema(plan), plan.options.level
    nothing = np.empty((0, 0, len(to_probabilities(level))))
    id_col, time_col, _ = plan.options.columns
    return pa.schema(
        [
            (id_col, row.field("id").type),
            (time_col, row.field("date").type),
            *((name, pa.float64()) for name in name_columns(nothing, model.alias, level)),
        ]
    )


@lru_cache(maxsize=1)
def _load_model(options: Options) -> ExpLSTM:
    """The model, once for all parts that a process forecasts.

    Raises:
        ModelFileError: It is another one than the run began with.
    """
    if read_seal(options.model) != options.seal:
        raise ModelFileError(
            "MODEL_CHANGED",
            f"the model {options.model} is another one than the run began with; run again with "
            "one model in one place that all workers see.",
        )
    return options.load_model()


def _forecast_blocks(
    rows: Rows, plan: Plan, model: ExpLSTM, refused: dict[str, DataError]
) -> Iterator[tuple[Panel, pd.DataFrame]]:
    """Yield series and their forecasts, block by block; add to ``refused`` what has none."""
    panel = _build_good(rows, plan, refused)
    if panel is None:
        return
    options = plan.options

    def ask(begin: int, end: int) -> tuple[Panel, pd.DataFrame]:
        block = take_series(panel, np.arange(begin, end))
        return block, model.predict(block, options.h, options.level)

    size = max(1, CELLS_PER_BLOCK // (options.h * len(to_probabilities(options.level))))
    for first in range(0, panel.n_series, size):
        with warnings.catch_warnings():  # of short series, which are counted
            warnings.simplefilter("ignore", UserWarning)
            asked = list(sift(first, min(first + size, panel.n_series), ask))
        for begin, _, got in asked:
            if isinstance(got, DataError):
                refused[panel.ids_N[begin]] = got
                continue
            block, table = got
            if plan.kinds[1] == "text":
                table[options.time_col] = [date.isoformat() for date in table[options.time_col]]
            yield block, table


def _build_good(rows: Rows, plan: Plan, refused: dict[str, DataError]) -> Panel | None:
    """The panel of the series that are not refused; None where all are."""
    options, freq = plan.options, plan.freq
    good: list[tuple[int, int, Panel]] = []
    for begin, end, got in sift(0, len(rows.ids_N), lambda *of: rows.build(options, freq, *of)):
        if isinstance(got, DataError):
            refused[rows.ids_N[begin]] = got
        else:
            good.append((begin, end, got))
    if len(good) < 2:
        return good[0][2] if good else None
    kept = [np.arange(rows.starts_N1[begin], rows.starts_N1[end]) for begin, end, _ in good]
    return _build_panel(rows.frame.iloc[np.concatenate(kept)], options, freq)


def _build_panel(frame: pd.DataFrame, options: Options, freq: Freq | None) -> Panel:
    id_col, time_col, target_col = options.columns
    return build_panel(
        frame,
        freq=freq,
        fill=options.fill,
        id_col=id_col,
        time_col=time_col,
        target_col=target_col,
    )


def _list_findings(panel: Panel) -> list[str]:
    """What was repaired or noticed, once for each series concerned."""
    short = int((panel.lengths_N < FEWEST_JUDGED).sum())
    return [finding.code for finding in panel.findings] + ["FEW_VALUES"] * short


def _tell_refused(
    rows: Rows, refused: dict[str, DataError], files: tuple[str, ...]
) -> list[Letter]:
    return [
        {
            "unique_id": one,
            "file": files[file],
            "code": refused[one].code,
            "message": refused[one].message,
        }
        for one, file in zip(rows.ids_N, rows.file_N.tolist(), strict=True)
        if one in refused
    ]
