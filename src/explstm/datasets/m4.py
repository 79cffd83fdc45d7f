"""M4, hourly and weekly: the published files, downloaded when first asked for.

Contract: :func:`read_m4` returns every series of one frequency with its future, or refuses. The
files are wide: a header ``V1, V2, ...``, then one line per series, its id first, cells behind its
last value empty; they have no dates.

Source: Makridakis, Spiliotis & Assimakopoulos (2020), The M4 Competition: 100,000 time series and
61 forecasting methods, IJF 36(1); files of github.com/Mcompetitions/M4-methods.
"""

import csv
import io
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from explstm.datasets.download import cache_folder, provide_file

Array = npt.NDArray[np.float64]
FILES_URL = "https://raw.githubusercontent.com/Mcompetitions/M4-methods/master/Dataset"
PAGE_URL = "https://github.com/Mcompetitions/M4-methods/tree/master/Dataset"


@dataclass(frozen=True)
class Frequency:
    """What M4 says of the series of one frequency.

    Attributes:
        name: As in the names of the files.
        n_series: How many there are; their ids count from 1 behind the initial of the name.
        horizon: Steps to forecast.
        season_lengths: Seasons that the model is told of, the shortest first. M4 itself has one
            season for hourly (24) and none for weekly series.
        mase_lag: Lag of the changes that MASE is scaled by, M4's own.
    """

    name: str
    n_series: int
    horizon: int
    season_lengths: tuple[int, ...]
    mase_lag: int

    @property
    def ids(self) -> list[str]:
        """Ids of the series."""
        return [f"{self.name[0]}{number}" for number in range(1, self.n_series + 1)]


FREQUENCIES = {
    "M4-hourly": Frequency("Hourly", 414, 48, (24, 168), 24),
    "M4-weekly": Frequency("Weekly", 359, 13, (52,), 1),
}


def read_m4(frequency: Frequency) -> tuple[list[Array], list[Array]]:
    """Histories and futures, in the order of the ids.

    Raises:
        DataError: A file cannot be downloaded, or does not hold the series.
        UsageError: The folder for downloads cannot be used.
    """
    folder = cache_folder() / "m4"
    places = {part: f"{part.title()}/{frequency.name}-{part}.csv" for part in ("train", "test")}
    remedy = (
        f"try again with a network, or fetch {places['train']} and {places['test']} by hand from "
        f"{PAGE_URL} into {folder}"
    )

    def read(part: str, horizon: int | None) -> list[Array]:
        return provide_file(
            f"{FILES_URL}/{places[part]}",
            folder / f"{frequency.name}-{part}.csv",
            partial(parse_wide, ids=frequency.ids, horizon=horizon),
            remedy,
        )

    return read("train", None), read("test", frequency.horizon)


def parse_wide(data: bytes, ids: list[str], horizon: int | None = None) -> list[Array]:
    """The values of every series, in the order of ``ids``.

    Args:
        data: Content of a file.
        ids: The series it must hold, and no others.
        horizon: How many values each must have; any number from 1 if not given.

    Raises:
        ValueError: It is not such a file; the text is the reason.
    """
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header, *lines = [line for line in reader if line] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"it is no CSV: {error}") from None
    if header[:2] != ["V1", "V2"]:
        raise ValueError("its header does not begin with V1, V2")
    found = {line[0]: line for line in lines}
    if found.keys() != set(ids) or len(lines) != len(ids):
        raise ValueError(
            f"it has {len(lines)} lines for the {len(ids)} series {ids[0]} to {ids[-1]}, and "
            f"{len(found.keys() & set(ids))} of these"
        )
    return [_parse_line(found[name], len(header), horizon) for name in ids]


def _parse_line(line: list[str], n_cells: int, horizon: int | None) -> Array:
    """Empty cells may only stand at the end, and a cut-off line has too few."""
    name, *cells = line
    if len(line) != n_cells:
        raise ValueError(f"{name} has {len(line)} cells and the header {n_cells}")
    while cells and not cells[-1]:
        cells.pop()
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has a cell among its values that is no number")
    if not len(values) or len(values) != (horizon or len(values)):
        raise ValueError(f"{name} has {len(values)} values, not {horizon or 'one or more'}")
    return values
