"""The growth report: how fast a series is forecast to grow, and how that compares with its past.

Contract: :func:`report_growth` takes histories and their forecast and returns facts, one row per
series, a table of rates by step, and plain sentences. Nothing is fitted on the forecast. A fact
that cannot be told is missing and the column ``reasons`` says why; no series raises an error.

Axes: N series in a panel, H horizon, E ends of the interval around the median (low, median, high),
J steps of one series.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from explstm.ends import name_ends, name_level
from explstm.errors import DataError, UsageError
from explstm.frame import Panel, future_ds
from explstm.growth_facts import GrowthFacts, Levels, gather_facts, to_levels, to_rate
from explstm.growth_noise import FloatArray
from explstm.growth_words import describe_growth
from explstm.parsing import quote
from explstm.saturation import Judgement, judge_growth
from explstm.tables import Layout, make_table


@dataclass(frozen=True, eq=False)
class GrowthReport:
    """What is known about the growth of every series.

    Attributes:
        facts: One row per series, see :class:`explstm.growth_facts.GrowthFacts`.
        rates: One row per series and step, past and future: unique_id, ds, y, forecast, lo, hi (in
            data units); unit (as in the facts); rate, rate_lo, rate_hi (per period, over the ``h``
            steps up to this one); ceiling (where saturating); broken (whether growth changed at
            this step).
        sentences: By id as text.
        level: Coverage of all intervals, in per cent.
    """

    facts: pd.DataFrame
    rates: pd.DataFrame
    sentences: dict[str, tuple[str, ...]]
    level: float

    @property
    def words(self) -> pd.DataFrame:
        """The sentences as a table: unique_id, place (from 1), sentence."""
        rows = [
            (name, place, sentence)
            for name, sentences in self.sentences.items()
            for place, sentence in enumerate(sentences, start=1)
        ]
        return pd.DataFrame(rows, columns=["unique_id", "place", "sentence"])


def report_growth(
    panel: Panel, forecast: Any, h: int, season_length: int | Sequence[int], level: float = 80
) -> GrowthReport:
    """Report how fast every series is forecast to grow.

    Args:
        panel: The histories that were forecast.
        forecast: What ``ExpLSTM.predict(panel, h, level=[level])`` returned, pandas or polars.
        h: The horizon.
        season_length: Season length or lengths in steps; 1 for none.
        level: Which of the forecast's intervals to use, in per cent.

    Raises:
        UsageError: The forecast lacks that interval, or is not of this panel and horizon.
        DataError: A value of the forecast is not finite.
    """
    levels = to_levels(panel, _read_forecast(panel, forecast, h, level), season_length)
    facts, judged = [], []
    for i in range(panel.n_series):
        z_J = levels.z_S[panel.starts_N1[i] : panel.starts_N1[i + 1]]
        judgement = judge_growth(z_J, level=level, ceiling=bool(levels.positive_N[i]))
        facts.append(gather_facts(panel, levels, i, h, judgement))
        judged.append(judgement)
    rates = _table_rates(panel, levels, h, facts, judged)
    names = panel.ids_N.tolist()
    sentences = {
        name: describe_growth(fact, panel.freq, h, level)
        for name, fact in zip(names, facts, strict=True)
    }
    table = pd.DataFrame(map(asdict, facts)).astype({"beyond_from": "Int64"})
    return GrowthReport(table, rates, sentences, level)


def _read_forecast(panel: Panel, forecast: Any, h: int, level: float) -> FloatArray:
    """The forecast (N, H, E), lower end first."""
    low_end, high_end = name_ends("", level)
    names = [str(name) for name in forecast.columns]
    aliases = [name.removesuffix(low_end) for name in names if name.endswith(low_end)]
    if len(aliases) != 1 or aliases[0] not in names:
        raise UsageError(
            "GROWTH_INTERVAL",
            f"the forecast has {len(aliases)} columns that end in {low_end!r}, and the growth "
            f"report needs one model with this interval; predict with level=[{name_level(level)}].",
        )
    if len(forecast) != panel.n_series * h:
        raise UsageError(
            "GROWTH_FORECAST",
            f"the forecast has {len(forecast)} rows for {panel.n_series} series and h={h}; pass "
            "what predict(panel, h) returned for these series.",
        )
    columns = (f"{aliases[0]}{low_end}", aliases[0], f"{aliases[0]}{high_end}")
    y_NHE = np.stack([forecast[name].to_numpy() for name in columns], axis=1)
    y_NHE = y_NHE.astype(np.float64).reshape(panel.n_series, h, 3)
    if not np.isfinite(y_NHE).all():
        series = int(np.argmin(np.isfinite(y_NHE).all(axis=(1, 2))))
        raise DataError(
            "GROWTH_FORECAST",
            f"the forecast of series {quote(panel.ids_N[series])} holds a value that is missing or "
            "not finite; leave the series out, or forecast it again.",
        )
    return y_NHE


def _table_rates(
    panel: Panel, levels: Levels, h: int, facts: list[GrowthFacts], judged: list[Judgement]
) -> pd.DataFrame:
    """Past and future of every series below each other."""
    dates_NH = future_ds(panel, h)
    parts: dict[str, list[np.ndarray]] = {}
    for i in range(panel.n_series):
        inside = slice(panel.starts_N1[i], panel.starts_N1[i + 1])
        z_J, n = levels.z_S[inside], int(panel.lengths_N[i])
        nothing_J, nothing_H = np.full(n, np.nan), np.full(h, np.nan)
        both_EJ = np.vstack([np.append(z_J, levels.z_NHE[i, :, e]) for e in range(3)])
        rate_EJ = np.full((3, n + h), np.nan)
        rate_EJ[:, h:] = to_rate(levels, i, (both_EJ[:, h:] - z_J[:n]) / h)
        rate_EJ[::2, :n] = np.nan
        at = judged[i].broken
        columns = {
            "id": np.repeat(panel.ids_N[i : i + 1], n + h),
            "ds": np.append(panel.ds_S[inside], dates_NH[i]),
            "y": np.append(panel.y_S[inside], nothing_H),
            **{
                name: np.append(nothing_J, levels.y_NHE[i, :, e])
                for e, name in ((1, "forecast"), (0, "lo"), (2, "hi"))
            },
            "unit": np.full(n + h, facts[i].unit, dtype=object),
            "rate": rate_EJ[1], "rate_lo": rate_EJ[0], "rate_hi": rate_EJ[2],
            "ceiling": np.full(n + h, np.nan if facts[i].ceiling is None else facts[i].ceiling),
            "broken": np.arange(n + h) == (-1 if at is None else at.step),
        }  # fmt: skip
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)
    flat = {name: np.concatenate(values) for name, values in parts.items()}
    return make_table(Layout(), flat.pop("id"), flat.pop("ds"), flat, time_zone=panel.time_zone)
