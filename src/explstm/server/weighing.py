"""How long a request will take, before anybody works on it.

Contract: :func:`count_steps` is linear in the time of a forecast, whatever its shape, to a factor
of about 1.5. What takes more of them than a request may is refused by :func:`weigh`, which tells of
the rest whether it is large: large work waits apart, see :class:`explstm.server.lanes.Reader`.
"""

from collections.abc import Sequence

from explstm.panel import Panel
from explstm.server.errors import ApiError
from explstm.server.schemas import Table
from explstm.server.settings import Settings

STRETCH = 24
"""Steps ahead after which the network reads a series again."""
STEPS_OF_SERIES = 30
"""What a series costs beside its steps, whenever it is read, in steps."""
STEPS_OF_GROWTH = 8000
"""What the growth of a series takes beside its forecast, as steps of the network."""


def is_small(n_rows: int, n_series: int, h: int, settings: Settings) -> bool:
    """Whether a forecast holds nobody up: few steps to read, as often as its horizon asks for."""
    return (n_rows + n_series * h) * (1 + h // STRETCH) <= settings.small_rows


def count_steps(n_rows: int, n_series: int, h: int, n_levels: int) -> int:
    """About how long a forecast takes: steps of the network, of which one takes 3 to 4 us.

    A series is read once for each stretch of the horizon, with what was forecast before. A cell of
    the answer takes a tenth of a step, and counts for more because of the memory that it takes.
    """
    times = -(-h // STRETCH)
    ahead = STRETCH * n_series * (times * (times - 1) // 2)
    cells = n_series * h * (1 + 2 * n_levels)
    return times * (n_rows + STEPS_OF_SERIES * n_series) + ahead + cells // 2


def size_table(table: Table, wanted: Sequence[str] | None) -> tuple[int, int]:
    """Rows and series of a table, or of those of its series that are wanted."""
    if wanted is None or table.unique_id is None:
        return len(table.ds), table.n_series
    names = set(wanted)
    rows = [name for name in map(str, table.unique_id) if name in names]
    return len(rows), len(set(rows))


def weigh(n_steps: int, what: str, code: str, settings: Settings) -> bool:
    """Whether work is large.

    Raises:
        ApiError: It is too large.
    """
    if n_steps > settings.max_steps:
        raise ApiError(
            413,
            code,
            f"{what} would take {n_steps / settings.max_steps:.1f} times as long as a request may; "
            "name fewer series, or ask for a shorter horizon.",
        )
    return n_steps >= settings.large_steps


def steps_of(panel: Panel, h: int, n_levels: int) -> int:
    """What :func:`count_steps` says of a panel."""
    return count_steps(len(panel.y_S), panel.n_series, h, n_levels)
