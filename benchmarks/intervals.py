"""Do the intervals hold what they say, near and far?

    python benchmarks/intervals.py                  # the table of docs/model-card.md
    python benchmarks/intervals.py --sets           # every set by itself
    python benchmarks/intervals.py --held-out       # where the widening of intervals was chosen
    python benchmarks/intervals.py m3 m4-hourly --model DIR

Share of the values within each interval, in per cent, by steps ahead, on the test parts of the
competitions. Values are pooled: a set counts by how many values it has at these steps, and far
steps are those of the sets that have them. Prints a table in Markdown.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explstm import ExpLSTM
from explstm.benchmark import run_benchmark, to_coverage_table
from explstm.coverage import ALL_GROUPS, pool_coverage
from explstm.datasets.competitions import COMPETITIONS, PACKAGED

NAMES = {name.lower(): name for name in COMPETITIONS}
BANDS = ((1, 1), (2, 3), (4, 6), (7, 12), (13, 24), (25, 48))
LEVELS = (50, 80, 95)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "competitions", nargs="*", type=str.lower, help=f"of {', '.join(NAMES)}; by default those "
        "that a package holds",
    )  # fmt: skip
    parser.add_argument("--model", type=Path, default=None, help="saved model; else the pretrained")
    parser.add_argument("--sets", action="store_true", help="a row for every set")
    parser.add_argument("--held-out", action="store_true", help="ends of the training parts")
    options = parser.parse_args()
    model = ExpLSTM() if options.model is None else ExpLSTM.load(options.model)
    scores = [
        score
        for name in options.competitions or map(str.lower, PACKAGED)
        for score in run_benchmark(NAMES.get(name, name), model, held_out=options.held_out)
    ]
    table = to_coverage_table(scores)
    table = table[table["group"] != ALL_GROUPS]
    table["set"] = table["competition"] + (" " + table["group"] if options.sets else "")
    print("\n".join(to_markdown(table)))


def to_markdown(table: pd.DataFrame) -> list[str]:
    """Lines of a table: a row for each set and interval, then all sets, then how many values."""
    columns = {_name(band): table["step"].between(*band) for band in BANDS}
    columns = {name: rows for name, rows in columns.items() if rows.any()}
    columns |= {"all": table["step"] > 0}
    blocks = [*table.groupby("set", sort=False), ("**all**", table)]
    lines = _head(["set", "interval", *columns])
    for name, block in blocks:
        for level in LEVELS:
            part = block[block["level"] == level]
            shares = [_share(part[rows.loc[part.index]]) for rows in columns.values()]
            lines.append(_row([name, f"{level} %", *shares]))
    counted = table[table["level"] == LEVELS[0]]
    counts = [counted.loc[rows.loc[counted.index], "values"].sum() for rows in columns.values()]
    return [*lines, _row(["values", "", *(f"{count:,}" for count in counts)])]


def _name(band: tuple[int, int]) -> str:
    first, last = band
    return f"step {first}" if first == last else f"{first} to {last}"


def _share(part: pd.DataFrame) -> str:
    if not part["values"].sum():
        return ""
    return f"{100 * pool_coverage(part, ['level'])['coverage'].item():.1f}"


def _head(names: Sequence[str]) -> list[str]:
    return [_row(names), "|" + "---|" * len(names)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
