"""One part of the series to one file of forecasts.

Contract: :func:`forecast_part` writes the forecasts of the series of its part, by id. A series that
is refused is set aside with the sentence that :meth:`explstm.ExpLSTM.predict` would raise, and does
not keep the others from being forecast.
"""

import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from explstm.calendar import Freq
from explstm.errors import DataError, ModelFileError
from explstm.forecaster import ExpLSTM
from explstm.frame import Panel, take_series
from explstm.intervals import name_columns, to_probabilities
from explstm.mixing import FEWEST_JUDGED
from explstm.parsing import quote
from explstm.scaleout.cutting import Letter, cut_schema
from explstm.scaleout.options import Options, Reading, read_seal
from explstm.scaleout.plan import Plan
from explstm.scaleout.records import write_record, write_whole
from explstm.scaleout.rows import LONGEST_SERIES, Rows, read_rows
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
    dead = tell_refused(rows, refused, task.files)
    facts = {**counts, "set_aside": len(dead), "findings": dict(findings), "dead": dead}
    write_record(plan.place, path, facts, began)
    return {"series": counts["series"], "dead": len(dead)}


def find_freq(task: PartTask) -> tuple[Freq | None, str]:
    """The frequency that most of the first series of a part take, or None and the last refusal."""
    return vote_freq(read_rows(task.plan, task.number), task.plan.options)


def vote_freq(rows: Rows, options: Reading) -> tuple[Freq | None, str]:
    """The frequency that most of the first series take, or None and the last refusal."""
    votes: Counter[Freq] = Counter()
    refusal = "there are no rows."
    last = min(SERIES_ASKED, len(rows.ids_N))
    for begin, end, got in sift(0, last, lambda *of: rows.build(options, None, *of)):
        if isinstance(got, Panel):
            votes[got.plain_freq] += end - begin
        else:
            refusal = got.message
    return (votes.most_common(1)[0][0] if votes else None), refusal


# --------------------------------------------------------------------------------------- forecasts


def part_schema(plan: Plan, model: ExpLSTM) -> pa.Schema:
    """What a file of forecasts holds: ids and dates of the types they had, and the forecasts."""
    row, level = cut_schema(plan.kinds), plan.options.level
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
    panel = build_good(rows, plan.options, plan.freq, refused)
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


def build_good(
    rows: Rows, options: Reading, freq: Freq | None, refused: dict[str, DataError]
) -> Panel | None:
    """The panel of the series that are not refused, which are added to; None where all are."""
    good: list[tuple[int, int, Panel]] = []
    for begin, end, got in sift(0, len(rows.ids_N), lambda *of: rows.build(options, freq, *of)):
        if isinstance(got, DataError):
            refused[rows.ids_N[begin]] = got
        else:
            good.append((begin, end, got))
    if len(good) < 2:
        return good[0][2] if good else None
    return rows.build_some(options, freq, [(begin, end) for begin, end, _ in good])


def _list_findings(panel: Panel) -> list[str]:
    """What was repaired or noticed, once for each series concerned."""
    short = int((panel.lengths_N < FEWEST_JUDGED).sum())
    return [finding.code for finding in panel.findings] + ["FEW_VALUES"] * short


def tell_refused(rows: Rows, refused: dict[str, DataError], files: tuple[str, ...]) -> list[Letter]:
    """Letters by id: of what was refused, and of what was too long to be tried."""
    found = {
        one: (file, refused[one])
        for one, file in zip(rows.ids_N, rows.file_N.tolist(), strict=True)
        if one in refused
    }
    for one, (n_rows, file) in rows.too_long.items():
        text = (
            f"series {quote(one)} has {n_rows:,} rows, more than {LONGEST_SERIES:,}; drop its "
            "oldest, or bring it to a coarser frequency."
        )
        found[one] = (file, DataError("DATA_TOO_LONG", text))
    return [
        {"unique_id": one, "file": files[file], "code": error.code, "message": error.message}
        for one, (file, error) in found.items()
    ]
