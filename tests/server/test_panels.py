"""Panels that are remembered: those that somebody can ask for again, within bounds."""

import asyncio

import numpy as np
import pandas as pd
import pytest

from explstm.frame import build_panel
from explstm.server.data.reading import Reading
from explstm.server.errors import ApiError
from explstm.server.panels import BYTES_OF_ID, Known, Panels
from explstm.server.schemas import InspectRequest

SIZE = 10 * 16 + BYTES_OF_ID
"""Bytes that are counted for the panel of :func:`make_reading`."""


def make_reading() -> Reading:
    steps = np.arange(10)
    panel = build_panel(pd.DataFrame({"unique_id": "a", "ds": steps, "y": steps + 1.0}))
    return Reading(panel, 10, [], {})


def get(panels: Panels, origin: str | None, **asked: object) -> tuple[Known, bool]:
    """What is known of an origin, and whether it was read for that."""
    was_read = False

    async def read() -> Reading:
        nonlocal was_read
        was_read = True
        return make_reading()

    known = asyncio.run(panels.get(origin, InspectRequest(**asked), read))
    return known, was_read


def test_an_origin_is_read_once_for_each_way_to_read_it():
    panels = Panels(10 * SIZE)
    first, was_read = get(panels, "x", freq="1")
    assert was_read and get(panels, "x", freq="1") == (first, False)
    assert get(panels, "x", freq="2")[1]
    assert panels.latest("x") is not first and panels.latest("y") is None
    get(panels, "x", freq="1")
    assert panels.latest("x") is first


def test_the_least_used_go_first():
    panels = Panels(2 * SIZE)
    for origin in ("x", "y", "x", "z"):
        get(panels, origin)
    assert [get(panels, origin)[1] for origin in ("x", "z", "y")] == [False, False, True]


def test_what_nobody_can_ask_for_again_takes_no_room():
    panels = Panels(SIZE)
    kept, _ = get(panels, "x")
    assert get(panels, None)[1] and get(panels, None)[1]
    assert get(panels, "x") == (kept, False)


def test_what_is_forgotten_is_gone_however_it_was_read():
    panels = Panels(10 * SIZE)
    for freq in ("1", "2"):
        get(panels, "x", freq=freq)
    get(panels, "y")
    panels.forget("x")
    assert panels.latest("x") is None and panels.latest("y") is not None


def test_a_series_that_is_not_there_is_refused():
    known, _ = get(Panels(SIZE), "x")
    assert known.pick(["a", "a"]).n_series == 1 and known.pick(None) is known.panel
    with pytest.raises(ApiError, match="no series 'b'"):
        known.pick(["b"])
