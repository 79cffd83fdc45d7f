"""How the work is divided: files into cuts, rows into parts.

Contract: the plan is a function of the files and the options, whoever makes it. A cut takes the
files that follow one another up to so many rows; a part takes the series of one value of a hash, so
that a series whose rows lie in many files comes together, and the parts are alike in size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from explstm.calendar import Freq
from explstm.scaleout.inputs import Inspection, Kinds
from explstm.scaleout.options import Options
from explstm.scaleout.records import Place

ROWS_PER_CUT = 2_000_000


@dataclass(frozen=True)
class Plan:
    """What every task of a run has to know.

    Attributes:
        root: The folder of the data.
        place: Where to write.
        options: What was asked.
        kinds: What the three columns hold.
        n_cuts: Files of rows on their way.
        n_parts: Files of forecasts.
        freq: Frequency of the series; None until it is known.
    """

    root: Path
    place: Place
    options: Options
    kinds: Kinds
    n_cuts: int
    n_parts: int
    freq: Freq | None


def group_files(found: Sequence[Inspection]) -> list[tuple[Inspection, ...]]:
    """The usable files in groups that are cut together."""
    groups: list[tuple[Inspection, ...]] = []
    room = 0
    for one in found:
        if one.kinds is None or one.rows == 0:
            continue
        if one.rows <= room:
            groups[-1] += (one,)
        else:
            groups.append((one,))
            room = ROWS_PER_CUT
        room -= one.rows
    return groups


def count_parts(found: Sequence[Inspection], rows_per_part: int) -> int:
    """How many parts the rows of the usable files make."""
    rows = sum(one.rows for one in found if one.kinds is not None)
    return max(1, -(-rows // rows_per_part))
