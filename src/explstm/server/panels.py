"""Panels that were read once and may be asked for again.

Contract: kept by what they were read from and how; bounded in bytes, the least used go first.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from explstm.panel import Panel, take_series
from explstm.server.data.reading import Reading
from explstm.server.forecasting import find_place
from explstm.server.schemas import DataRequest

READ_BY = (
    *("id_col", "time_col", "target_col", "one_series", "sep", "decimal", "encoding"),
    *("date_format", "missing", "freq", "fill"),
)
"""Fields of a request that say how data are read."""
BYTES_OF_ID = 100
"""About what the id of a series takes."""


@dataclass(frozen=True)
class Known:
    """A reading, and where each of its series is."""

    reading: Reading
    place_of: dict[str, int] = field(repr=False)

    @property
    def panel(self) -> Panel:
        """Its panel."""
        return self.reading.panel

    def pick(self, wanted: Sequence[str] | None) -> Panel:
        """The series of these ids; all of them for None.

        Raises:
            ApiError: There is none of an id.
        """
        if wanted is None:
            return self.panel
        places = [find_place(self.place_of, name) for name in dict.fromkeys(wanted)]
        return take_series(self.panel, places)


class Panels:
    """What was read lately; see the module."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._known: OrderedDict[tuple[str, ...], tuple[Known, int]] = OrderedDict()

    async def get(
        self, origin: str | None, request: DataRequest, read: Callable[[], Awaitable[Reading]]
    ) -> Known:
        """The panel of an origin as a request wants it read.

        Args:
            origin: What it is remembered by; None where nobody can ask for it again.
            request: How to read it.
            read: Reads it.
        """
        if origin is None:
            return _know(await read())
        key = (origin, *(repr(getattr(request, name)) for name in READ_BY))
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key][0]
        known = _know(await read())
        panel = known.panel
        size = panel.y_S.nbytes + panel.ds_S.nbytes + BYTES_OF_ID * panel.n_series
        if size <= self._max_bytes:
            self._known[key] = known, size
            while sum(size for _, size in self._known.values()) > self._max_bytes:
                self._known.popitem(last=False)
        return known

    def forget(self, origin: str) -> None:
        """Let go of all panels of an origin."""
        for key in [key for key in self._known if key[0] == origin]:
            del self._known[key]

    def latest(self, origin: str) -> Known | None:
        """The panel of an origin as it was last asked for."""
        found = [known for key, (known, _) in self._known.items() if key[0] == origin]
        return found[-1] if found else None


def _know(reading: Reading) -> Known:
    return Known(reading, {name: at for at, name in enumerate(reading.panel.ids_N.tolist())})
