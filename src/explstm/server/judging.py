"""Growth and the quick backtest of a request, in a process of its own.

Contract: each function takes a panel and a request and returns the body of the answer.
"""

import warnings
from typing import Any

import pandas as pd

from explstm.backtest import PRETRAINED, Task, run_backtest
from explstm.errors import ExpLSTMError
from explstm.forecaster import ExpLSTM
from explstm.growth_report import report_growth
from explstm.panel import Panel
from explstm.server.answers import dump_json, list_frame
from explstm.server.errors import from_package
from explstm.server.forecasting import season_of
from explstm.server.schemas import BacktestRequest, GrowthRequest
from explstm.windows import count_windows

USUAL_WINDOWS = 5


def write_growth(panel: Panel, request: GrowthRequest) -> bytes:
    """The growth of every series.

    Raises:
        ApiError: It cannot be told.
    """
    seasons = season_of(panel, request.season_length)
    try:
        with warnings.catch_warnings(action="ignore"):  # the log is JSON
            model = ExpLSTM(freq=panel.freq, season_length=list(seasons))
            forecast = model.predict(panel, h=request.h, level=[request.level])
            report = report_growth(panel, forecast, request.h, seasons, request.level)
    except ExpLSTMError as error:
        raise from_package(error) from None
    return dump_json(
        {
            "h": request.h,
            "level": request.level,
            "facts": _rows(report.facts),
            "sentences": report.sentences,
            "rates": list_frame(report.rates, panel.time_zone),
        }
    )


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    columns = list_frame(frame)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write_backtest(panel: Panel, request: BacktestRequest) -> bytes:
    """The pretrained model against the naive forecasts.

    Raises:
        ApiError: It cannot be told.
    """
    step_size = request.step_size or request.h
    seasons = season_of(panel, request.season_length)
    try:
        n_windows = request.n_windows or count_windows(
            panel, request.h, step_size, seasons[0], USUAL_WINDOWS
        )
    except ExpLSTMError as error:
        raise from_package(error) from None
    level = tuple(sorted(set(request.level)))
    task = Task(panel, request.h, n_windows, step_size, seasons, level)
    try:
        with warnings.catch_warnings(action="ignore"):
            result = run_backtest(task, [PRETRAINED])
    except ExpLSTMError as error:
        raise from_package(error) from None
    judgement = result.judgement
    assert judgement is not None
    scores = result.scores[["model", "metric", "value"]]
    return dump_json(
        {
            "h": request.h,
            "n_windows": n_windows,
            "step_size": step_size,
            "use": judgement.use,
            "sentence": judgement.sentence,
            "verdicts": [
                {
                    name: getattr(verdict, name)
                    for name in (
                        *("method", "outcome", "sentence", "naive", "loss", "naive_loss"),
                        *("skill", "p_value", "n_series", "n_windows"),
                    )
                }
                for verdict in judgement.verdicts
            ],
            "scores": _rows(scores),
        }
    )
