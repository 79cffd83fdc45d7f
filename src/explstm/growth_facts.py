"""The facts of growth: rates, doubling times, the past, the range, and the course of growth.

Contract: :func:`to_levels` puts histories and forecasts on the scale that rates are measured on,
:func:`gather_facts` reads the facts of one series from it. A fact that cannot be told is missing
and ``reasons`` says why.

With z = log y less its season (:mod:`explstm.seasonality`, fitted on the history), n the last step
and h the horizon,

    forecast rate     (z_{n+h} - z_n) / h, its interval from the forecast's own at step h
    past rates        (z_t - z_{t-h}) / h for every t, the last one the recent rate
    doubling time     log 2 / rate; halving time where the rate is negative

given as shares, ``exp(rate) - 1``, per period and per year. Where some value is not above zero
there are no growth rates: z is y less its season then, and rates are changes in the unit of the
data.

Source: ours, from the definition of the growth rate as the slope of the logarithm.

Axes: N series in a panel, S steps of all series laid end to end, H horizon, E ends of the interval
around the median (low, median, high), J steps of one series.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from explstm.frame import Panel
from explstm.growth_noise import FloatArray
from explstm.growth_periods import periods_per_year
from explstm.panel import show_date
from explstm.saturation import Judgement
from explstm.seasonality import future, remove_seasonality

LARGEST = float(np.finfo(np.float64).max)
LARGEST_LOG = np.log(1e6)
"""Growth of more than a millionfold a year is not told per year."""


@dataclass(frozen=True)
class GrowthFacts:
    """What is known about the growth of one series.

    None where ``reasons`` says why, where ``course`` is another, and where a test was not needed.

    Attributes:
        unique_id: The series.
        unit: ``"growth"``: rates are shares per period (0.01 is 1 %); ``"change"``: some value is
            not above zero, and rates are changes in the unit of the data.
        rate: Per period, from the last step to the end of the horizon, without the season.
        rate_lo: Lower end of its interval.
        rate_hi: Upper end.
        year_rate: The same per year.
        year_rate_lo: Lower end of its interval.
        year_rate_hi: Upper end.
        doubling: ``"doubling"``, ``"halving"`` or ``"neither"``.
        doubling_time: In periods.
        doubling_time_lo: The shortest within the interval.
        doubling_time_hi: The longest; infinite where the interval holds a rate of 0.
        recent_rate: Per period, over the last ``h`` steps.
        past_p10: Of all past stretches of ``h`` steps, the rate that 10 % stay below.
        past_median: Their median.
        past_p90: The rate that 90 % stay below.
        past_stretches: How many there are; they overlap.
        share_slower: Share of them that the forecast rate exceeds; equal ones count half.
        smallest: Smallest value so far.
        largest: Largest value so far.
        end: The forecast's last value.
        end_hi: Its upper end.
        peak_ratio: Largest forecast value over ``largest``.
        end_ratio: ``end`` over ``largest``.
        end_ratio_hi: ``end_hi`` over ``largest``.
        beyond_from: First step ahead whose forecast is outside all values so far.
        beyond_side: On which side: ``"above"`` or ``"below"``.
        beyond_share: Share of the steps ahead outside all values so far.
        course: See :class:`explstm.saturation.Judgement`.
        p_exponential: See there, like the next two.
        p_unbounded: Growth from exponential to a straight line against growth to a ceiling.
        p_break: Constant growth against growth that changes at once.
        ceiling: Where ``course`` is ``"saturating"``: the ceiling, without the season.
        ceiling_lo: Lower end of its interval.
        ceiling_hi: Upper end; infinite where none can be given.
        break_ds: Where ``course`` is ``"broken"``: the first date at the new rate, as text.
        rate_before: Mean rate per period before it.
        rate_after: Mean rate per period from there on.
        reasons: Why facts are missing.
    """

    unique_id: str
    unit: str
    rate: float
    rate_lo: float
    rate_hi: float
    year_rate: float | None = None
    year_rate_lo: float | None = None
    year_rate_hi: float | None = None
    doubling: str | None = None
    doubling_time: float | None = None
    doubling_time_lo: float | None = None
    doubling_time_hi: float | None = None
    recent_rate: float | None = None
    past_p10: float | None = None
    past_median: float | None = None
    past_p90: float | None = None
    past_stretches: int = 0
    share_slower: float | None = None
    smallest: float = 0.0
    largest: float = 0.0
    end: float = 0.0
    end_hi: float = 0.0
    peak_ratio: float | None = None
    end_ratio: float | None = None
    end_ratio_hi: float | None = None
    beyond_from: int | None = None
    beyond_side: str | None = None
    beyond_share: float = 0.0
    course: str = "unknown"
    p_exponential: float | None = None
    p_unbounded: float | None = None
    p_break: float | None = None
    ceiling: float | None = None
    ceiling_lo: float | None = None
    ceiling_hi: float | None = None
    break_ds: str | None = None
    rate_before: float | None = None
    rate_after: float | None = None
    reasons: str = ""


@dataclass(frozen=True, eq=False)
class Levels:
    """Histories and forecasts on the scale that rates are measured on.

    Attributes:
        positive_N: Whether z is a logarithm.
        unit_N: What z is measured in where it is none.
        z_S: Levels without their season.
        y_NHE: Forecasts in data units.
        z_NHE: Their levels without the season.
    """

    positive_N: np.ndarray
    unit_N: FloatArray
    z_S: FloatArray
    y_NHE: FloatArray
    z_NHE: FloatArray


def to_levels(panel: Panel, y_NHE: FloatArray, season_length: int | Sequence[int]) -> Levels:
    """Take logarithms where all values allow it, and the season away.

    Args:
        panel: The histories.
        y_NHE: Their forecasts: lower end, median, upper end.
        season_length: Season length or lengths in steps; 1 for none.
    """
    starts_N1 = panel.starts_N1
    lowest_N = np.minimum.reduceat(panel.y_S, starts_N1[:-1])
    positive_N = (lowest_N > 0) & (y_NHE[:, :, 1] > 0).all(axis=1)
    largest_N = np.maximum.reduceat(np.abs(panel.y_S), starts_N1[:-1])
    unit_N = np.where(positive_N | (largest_N == 0), 1.0, largest_N)
    positive_S, unit_S = (np.repeat(part_N, panel.lengths_N) for part_N in (positive_N, unit_N))
    raw_S = np.where(positive_S, np.log(np.where(positive_S, panel.y_S, 1.0)), panel.y_S / unit_S)
    seasonality, z_S = remove_seasonality(raw_S, starts_N1, season_length)
    season_NH = future(seasonality, y_NHE.shape[1])
    above_N11 = positive_N[:, None, None]
    with np.errstate(divide="ignore"):  # an interval may reach 0, which is a growth of -100 %
        log_NHE = np.log(np.where(above_N11, np.maximum(y_NHE, 0.0), 1.0))
    z_NHE = np.where(above_N11, log_NHE, y_NHE / unit_N[:, None, None]) - season_NH[:, :, None]
    return Levels(positive_N, unit_N, z_S, y_NHE, z_NHE)


def to_rate(levels: Levels, i: int, step: Any) -> Any:
    """A change of z per period as a share, or in data units."""
    if not levels.positive_N[i]:
        return np.asarray(step) * levels.unit_N[i]
    with np.errstate(over="ignore"):
        return np.minimum(np.expm1(step), LARGEST)


def gather_facts(panel: Panel, levels: Levels, i: int, h: int, judgement: Judgement) -> GrowthFacts:
    """Read the facts of the series at position ``i`` over ``h`` steps ahead."""
    z_J = levels.z_S[panel.starts_N1[i] : panel.starts_N1[i + 1]]
    y_J = panel.y_S[panel.starts_N1[i] : panel.starts_N1[i + 1]]
    step_E = (levels.z_NHE[i, -1] - z_J[-1]) / h
    # A level is a sum of rounded numbers: what is below its last digits is no growth.
    dust = 1e-12 * max(1.0, float(np.abs(z_J).max())) / h
    step_E = np.where(np.abs(step_E) < dust, 0.0, step_E)
    low, rate, high = to_rate(levels, i, step_E).tolist()
    facts = GrowthFacts(
        unique_id=str(panel.ids_N[i]),
        unit="growth" if levels.positive_N[i] else "change",
        rate=rate, rate_lo=low, rate_hi=high,
    )  # fmt: skip
    facts = _add_year(facts, panel, step_E, levels.unit_N[i])
    facts = _add_doubling(facts, step_E)
    facts = _add_history(facts, levels, i, z_J, step_E[1], h)
    facts = _add_range(facts, y_J, levels.y_NHE[i])
    return _add_judgement(facts, panel, levels, i, judgement)


def _miss(facts: GrowthFacts, reason: str) -> GrowthFacts:
    return replace(facts, reasons="; ".join(filter(None, [facts.reasons, reason])))


def _add_year(facts: GrowthFacts, panel: Panel, step_E: FloatArray, unit: float) -> GrowthFacts:
    per_year = periods_per_year(panel.freq)
    if per_year is None:
        return _miss(facts, "per year: integer dates have no year")
    year_E = step_E * per_year
    if facts.unit == "change":
        values = year_E * unit
    elif (year_E > LARGEST_LOG).any():
        return _miss(facts, "per year: it would be more than a millionfold")
    else:
        values = np.expm1(year_E)
    low, middle, high = values.tolist()
    return replace(facts, year_rate=middle, year_rate_lo=low, year_rate_hi=high)


def _add_doubling(facts: GrowthFacts, step_E: FloatArray) -> GrowthFacts:
    """Infinite at the end of the interval where growth may be none, or goes the other way."""
    if facts.unit == "change":
        return _miss(facts, "doubling time: values that are not above zero have no growth rate")
    low, middle, high = step_E.tolist()
    if middle == 0:
        return _miss(replace(facts, doubling="neither"), "doubling time: the forecast is level")
    near, far = (high, low) if middle > 0 else (low, high)
    times = [np.log(2) / abs(step) if step * middle > 0 else np.inf for step in (middle, near, far)]
    word = "doubling" if middle > 0 else "halving"
    return replace(
        facts, doubling=word, doubling_time=float(times[0]),
        doubling_time_lo=float(times[1]), doubling_time_hi=float(times[2]),
    )  # fmt: skip


def _add_history(
    facts: GrowthFacts, levels: Levels, i: int, z_J: FloatArray, step: float, h: int
) -> GrowthFacts:
    steps_J = (z_J[h:] - z_J[:-h]) / h
    if len(steps_J) == 0:
        reason = f"past rates: a stretch of {h} steps needs {h + 1} values, found {len(z_J)}"
        return _miss(facts, reason)
    spread = 1e-12 * max(1.0, float(np.abs(z_J).max())) / h
    slower = (steps_J < step - spread).mean()
    equal = (np.abs(steps_J - step) <= spread).mean()
    low, median, high = to_rate(levels, i, np.quantile(steps_J, [0.1, 0.5, 0.9])).tolist()
    return replace(
        facts, recent_rate=float(to_rate(levels, i, steps_J[-1])), past_median=median,
        past_p10=low, past_p90=high, past_stretches=len(steps_J),
        share_slower=float(slower + equal / 2),
    )  # fmt: skip


def _add_range(facts: GrowthFacts, y_J: FloatArray, y_HE: FloatArray) -> GrowthFacts:
    least, most = y_J.min(), y_J.max()
    beyond_H = (y_HE[:, 1] > most) | (y_HE[:, 1] < least)
    first = int(beyond_H.argmax()) + 1 if beyond_H.any() else None
    side = None if first is None else "above" if y_HE[first - 1, 1] > most else "below"
    facts = replace(
        facts, largest=float(most), smallest=float(least), end=float(y_HE[-1, 1]),
        end_hi=float(y_HE[-1, 2]), beyond_from=first, beyond_side=side,
        beyond_share=float(beyond_H.mean()),
    )  # fmt: skip
    if facts.unit == "change":
        return _miss(facts, "ratio to the largest value: not all values are above zero")
    compared = np.array([y_HE[:, 1].max(), *y_HE[-1, 1:]])
    with np.errstate(over="ignore"):
        peak, end, end_hi = np.minimum(compared / most, LARGEST).tolist()
    return replace(facts, peak_ratio=peak, end_ratio=end, end_ratio_hi=end_hi)


def _add_judgement(
    facts: GrowthFacts, panel: Panel, levels: Levels, i: int, judgement: Judgement
) -> GrowthFacts:
    facts = replace(
        facts, course=judgement.word, p_exponential=judgement.p_exponential,
        p_unbounded=judgement.p_unbounded, p_break=judgement.p_break,
    )  # fmt: skip
    if judgement.reason:
        facts = _miss(facts, f"course of growth: {judgement.reason}")
    elif facts.unit == "change":
        facts = _miss(facts, "ceiling: values that are not above zero have no growth rate")
    if judgement.ceiling is not None:
        top = judgement.ceiling
        middle, low, high = map(_to_data, (top.level, top.low, top.high))
        facts = replace(facts, ceiling=middle, ceiling_lo=low, ceiling_hi=high)
    if judgement.broken is not None:
        steps = (judgement.broken.before, judgement.broken.after)
        before, after = (float(to_rate(levels, i, step)) for step in steps)
        ds = panel.ds_S[panel.starts_N1[i] + judgement.broken.step]
        facts = replace(
            facts, break_ds=_show_local(ds, panel), rate_before=before, rate_after=after
        )
    return facts


def _to_data(level: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(level))


def _show_local(ds: Any, panel: Panel) -> str:
    if panel.time_zone is None:
        return show_date(ds)
    return show_date(pd.Timestamp(ds).tz_localize("UTC").tz_convert(panel.time_zone))
