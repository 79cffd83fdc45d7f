"""The automatic classical models of statsforecast, beside which the LSTM has to stand.

Contract: each model forecasts every series alone, from its past alone; where it fails on a series,
the seasonal naive forecast stands in for it. Taken from statsforecast as they are.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pandas as pd

from explstm.ends import HIGH, LOW, name_ends
from explstm.errors import BackendNotInstalledError
from explstm.frame import Panel, forecast_frame, panel_frame

AUTO = ("AutoETS", "AutoTheta", "AutoARIMA")


def forecast_classical(
    name: str, panel: Panel, h: int, season_length: int, level: Sequence[float] = ()
) -> Any:
    """Forecast every series with one automatic model.

    Args:
        name: One of :data:`AUTO`.
        panel: The series, of a pandas table with the columns unique_id, ds and y.
        h: Horizon.
        season_length: Steps in a season.
        level: Intervals, in per cent.

    Returns:
        unique_id, ds, NAME, and NAME-lo-LEVEL, NAME-hi-LEVEL, series by series as in the panel.

    Raises:
        BackendNotInstalledError: statsforecast is not installed.
    """
    library, models = _import_statsforecast(name)
    forecaster = library.StatsForecast(
        models=[getattr(models, name)(season_length=season_length)],
        freq=panel.plain_freq,
        fallback_model=models.SeasonalNaive(season_length=season_length, alias=name),
    )
    table = panel_frame(panel)
    found = forecaster.forecast(df=table, h=h, level=list(level) or None)
    for one in level:
        theirs = (f"{name}{LOW}{one}", f"{name}{HIGH}{one}")
        found = found.rename(columns=dict(zip(theirs, name_ends(name, one), strict=True)))
    order = pd.Index(table["unique_id"].unique())
    place_S = order.get_indexer(found["unique_id"])
    found = found.iloc[place_S.argsort(kind="stable")]
    columns = {column: found[column].to_numpy().reshape(-1, h) for column in found.columns[2:]}
    return forecast_frame(panel, h, columns)


def _import_statsforecast(name: str) -> tuple[Any, Any]:
    try:
        return import_module("statsforecast"), import_module("statsforecast.models")
    except ModuleNotFoundError as error:
        raise BackendNotInstalledError(
            "BASELINES_NOT_INSTALLED",
            f"{name} needs {error.name}, which is not installed; "
            "run pip install 'explstm[baselines]'.",
        ) from None
