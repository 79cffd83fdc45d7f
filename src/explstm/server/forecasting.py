"""Requests of several clients, forecast together.

Contract: :func:`forecast_together` gives every request the answer it would get alone, or its own
refusal: one cannot fail another. The network's steps cost little more for many series than for
one, so that requests which wait together are answered together.

Axes: N series of all requests, H horizon, P probabilities.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from explstm.bundle import load_pretrained
from explstm.calendar import default_season_length
from explstm.errors import ExpLSTMError
from explstm.frame import Panel, future_ds, keep_steps, take_series
from explstm.intervals import check_levels, name_columns, to_probabilities
from explstm.models.engine import Engine, make_engine
from explstm.prediction import Preprocessing, forecast_panel
from explstm.ragged import FloatArray
from explstm.server.answers import JSON, dump_json, show_dates, write_table
from explstm.server.data.reading import read_table_columns
from explstm.server.errors import ApiError, from_package
from explstm.server.schemas import ForecastRequest
from explstm.settings import read_settings

ALIAS = "ExpLSTM"
SHOWN_FINDINGS = 1000


@dataclass(frozen=True)
class Order:
    """One request, ready to be forecast.

    Attributes:
        request: What was asked.
        panel: The series asked for; None where the request brings its own table.
        media_type: Of the answer.
    """

    request: ForecastRequest
    panel: Panel | None
    media_type: str


@dataclass(frozen=True)
class _Task:
    place: int
    panel: Panel
    season_length: tuple[int, ...]
    levels: tuple[float, ...]


@cache
def load_model() -> tuple[Engine, Preprocessing, str]:
    """The pretrained engine, how it looks at series, and the loss it was trained by."""
    bundle = load_pretrained()
    settings = read_settings(bundle, "pretrained")
    engine = make_engine("numpy", bundle.spec, bundle.weights)
    return engine, settings.view("auto", None, bundle.spec.n_features), settings.training().loss


def forecast_together(orders: Sequence[Order]) -> list[bytes | ApiError]:
    """Answer every order."""
    answers: list[bytes | ApiError] = [b""] * len(orders)
    groups: dict[Any, list[_Task]] = {}
    for place, order in enumerate(orders):
        try:
            task = _prepare(place, order)
        except (ExpLSTMError, ApiError) as error:
            answers[place] = _refuse(error)
        else:
            alike = (order.request.h, task.season_length, task.levels)
            groups.setdefault(alike, []).append(task)
    for (h, *_), tasks in groups.items():
        for task, found in zip(tasks, _forecast_group(tasks, h), strict=True):
            if isinstance(found, ApiError):
                answers[task.place] = found
            else:
                answers[task.place] = _write(orders[task.place], task, found)
    return answers


def pick_series(panel: Panel, wanted: Sequence[str] | None) -> Panel:
    """The series of these ids, in that order; all of them for None.

    Raises:
        ApiError: There is none of an id.
    """
    if wanted is None:
        return panel
    place_of = {name: place for place, name in enumerate(panel.ids_N.tolist())}
    return take_series(panel, [find_place(place_of, name) for name in dict.fromkeys(wanted)])


def find_place(place_of: dict[str, int], name: str) -> int:
    """The position of a series.

    Raises:
        ApiError: There is none of that id.
    """
    if name not in place_of:
        raise ApiError(422, "SERIES_UNKNOWN", f"there is no series {name!r} in the data.")
    return place_of[name]


def season_of(panel: Panel, asked: Sequence[int] | None) -> tuple[int, ...]:
    """Season lengths asked for, or by frequency."""
    return tuple(asked) if asked else default_season_length(panel.freq)


def _prepare(place: int, order: Order) -> _Task:
    request, panel = order.request, order.panel
    if panel is None:
        assert request.table is not None
        panel = pick_series(read_table_columns(request.table, request), request.series)
    engine, _, loss = load_model()
    levels = check_levels(request.level, engine.spec, loss)
    return _Task(place, panel, season_of(panel, request.season_length), tuple(levels))


def _forecast_group(tasks: Sequence[_Task], h: int) -> list[FloatArray | ApiError]:
    """Quantiles (N, H, P) of every task; all have the same season and levels."""
    try:
        y_NHP = _forecast(_join([task.panel for task in tasks]), tasks[0], h)
    except (ExpLSTMError, FloatingPointError) as error:
        if len(tasks) == 1:
            return [_refuse(error)]
        return [found for task in tasks for found in _forecast_group([task], h)]
    ends = np.cumsum([task.panel.n_series for task in tasks])[:-1]
    return list(np.split(y_NHP, ends))


def _forecast(panel: Panel, task: _Task, h: int) -> FloatArray:
    engine, view, _ = load_model()
    preprocessing = replace(view, season_length=task.season_length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return forecast_panel(engine, panel, preprocessing, h, to_probabilities(task.levels))


def _join(panels: Sequence[Panel]) -> Panel:
    """Series of several panels as one, for their values alone: its dates are counted from 0."""
    if len(panels) == 1:
        return panels[0]
    lengths_N = np.concatenate([panel.lengths_N for panel in panels])
    starts_N1 = np.concatenate(([0], np.cumsum(lengths_N)))
    return Panel(
        ids_N=np.concatenate([panel.ids_N for panel in panels]),
        starts_N1=starts_N1,
        y_S=np.concatenate([panel.y_S for panel in panels]),
        ds_S=np.arange(starts_N1[-1]) - np.repeat(starts_N1[:-1], lengths_N),
        freq=1,
    )


def _refuse(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ExpLSTMError):
        return from_package(error)
    return ApiError(422, "FORECAST_RANGE", "the values are too large or too small to forecast.")


def _write(order: Order, task: _Task, y_NHP: FloatArray) -> bytes | ApiError:
    request, panel = order.request, task.panel
    try:
        dates = future_ds(panel, request.h).ravel()
    except ExpLSTMError as error:
        return from_package(error)
    forecast = {
        "unique_id": np.repeat(panel.ids_N, request.h),
        "ds": show_dates(dates, panel.time_zone),
        **{
            name: values_NH.ravel()
            for name, values_NH in name_columns(y_NHP, ALIAS, task.levels).items()
        },
    }
    if order.media_type != JSON:
        return write_table(forecast, order.media_type)
    answer = {
        "h": request.h,
        "level": list(task.levels),
        "freq": panel.plain_freq,
        "season_length": list(task.season_length),
        "n_series": panel.n_series,
        "findings": list_findings(panel),
        "forecast": _to_lists(forecast),
        "history": list_history(panel, request.history) if request.history else None,
    }
    return dump_json(answer)


def list_findings(panel: Panel) -> list[dict[str, Any]]:
    """The first findings about the data."""
    return [
        {"code": f.code, "unique_id": f.unique_id, "count": int(f.count), "text": f.text}
        for f in panel.findings[:SHOWN_FINDINGS]
    ]


def list_history(panel: Panel, steps: int) -> dict[str, list[Any]]:
    """The last steps of every series as columns."""
    recent = keep_steps(panel, np.maximum(panel.lengths_N - steps, 0), panel.lengths_N)
    return _to_lists(
        {
            "unique_id": np.repeat(recent.ids_N, recent.lengths_N),
            "ds": show_dates(recent.ds_S, recent.time_zone),
            "y": recent.y_S,
        }
    )


def _to_lists(columns: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        name: values.tolist() if isinstance(values, np.ndarray) else values
        for name, values in columns.items()
    }
