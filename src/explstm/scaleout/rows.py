"""The rows of one part, gathered from the cuts.

Contract: :func:`read_rows` gives the rows of a part by series, date and value, so that it does not
matter which files they came from. Series that are too long to be held are left out and counted, at
no more memory than the others need.

Axes: N series of a part, S their rows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from explstm.calendar import Freq
from explstm.frame import Panel, build_panel
from explstm.scaleout.cutting import cut_schema
from explstm.scaleout.options import Reading
from explstm.scaleout.plan import Plan

LONGEST_SERIES = 2_000_000
"""Rows of a series beyond which it is set aside."""


@dataclass(frozen=True)
class Rows:
    """The rows of a part.

    Attributes:
        frame: Ids, dates and values under the user's names, sorted by series and date.
        starts_N1: Where each series starts, and the total.
        ids_N: Ids as text.
        file_N: Position of the first file that holds the series.
        too_long: Series left out, by id, each with its rows and the first file that holds it.
    """

    frame: pd.DataFrame
    starts_N1: npt.NDArray[np.int64]
    ids_N: list[str]
    file_N: npt.NDArray[np.int64]
    too_long: dict[str, tuple[int, int]]

    def build(self, options: Reading, freq: Freq | None, begin: int, end: int) -> Panel:
        """The panel of the series from one to before another."""
        return self.build_some(options, freq, [(begin, end)])

    def build_some(
        self, options: Reading, freq: Freq | None, ranges: Sequence[tuple[int, int]]
    ) -> Panel:
        """The panel of the series of some ranges."""
        kept = [np.arange(self.starts_N1[begin], self.starts_N1[end]) for begin, end in ranges]
        id_col, time_col, target_col = options.columns
        return build_panel(
            self.frame.iloc[np.concatenate(kept)],
            freq=freq,
            fill=options.fill,
            id_col=id_col,
            time_col=time_col,
            target_col=target_col,
        )


def read_rows(plan: Plan, number: int) -> Rows:
    """Read the rows of a part."""
    too_long = _find_long(plan, number)
    batches = list(_read_batches(plan, number, tuple(too_long)))
    table = pa.Table.from_batches(batches, cut_schema(plan.kinds))
    return sort_rows(table, plan.options, {str(one): told for one, told in too_long.items()})


def _read_batches(plan: Plan, number: int, without: tuple[Any, ...] = ()) -> Iterator[Any]:
    """The rows of a part, but for those of some ids, cut by cut."""
    left_out = pa.array(without, cut_schema(plan.kinds).field("id").type)
    for cut in range(plan.n_cuts):
        with pa.OSFile(str(plan.place.cut(cut))) as source:
            reader = pa.ipc.open_file(source)
            for place in range(number, reader.num_record_batches, plan.n_parts):
                batch = reader.get_batch(place)
                if without:
                    batch = batch.filter(pc.invert(pc.is_in(batch["id"], left_out)))
                yield batch


def _find_long(plan: Plan, number: int) -> dict[Any, tuple[int, int]]:
    """The series that are too long, with their rows and the first file that holds each."""
    if sum(map(len, _read_batches(plan, number))) <= LONGEST_SERIES:
        return {}
    counts: Counter[Any] = Counter()
    first_file: dict[Any, int] = {}
    for batch in _read_batches(plan, number):
        found = pa.table(batch).group_by("id").aggregate([("file", "min"), ("file", "count")])
        for row in found.to_pylist():
            first_file.setdefault(row["id"], row["file_min"])
            counts[row["id"]] += row["file_count"]
    return {one: (n, first_file[one]) for one, n in counts.items() if n > LONGEST_SERIES}


def sort_rows(table: pa.Table, options: Reading, too_long: dict[str, tuple[int, int]]) -> Rows:
    """Rows by series, date and value, so that it does not matter which file they came from.

    Args:
        table: Rows as they are cut.
        options: What was asked.
        too_long: Series that are not among them, see :class:`Rows`.
    """
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
    return Rows(frame, starts_N1, [str(one) for one in ids_N[order_N]], first_N, too_long)


def _sort_key(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Numbers in the order of a column, the missing ones alike."""
    if pa.types.is_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        rank = pd.Series(coded.dictionary.to_pylist(), dtype=object).rank(method="first")
        return rank.to_numpy()[coded.indices.fill_null(0).to_numpy()]
    if not pa.types.is_floating(column.type):
        column = column.cast(pa.int64()).fill_null(0)
    return column.to_numpy()
