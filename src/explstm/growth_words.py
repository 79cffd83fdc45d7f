"""The growth report in words: three to six plain sentences about one series.

Contract: every number is a fact of :class:`explstm.growth_facts.GrowthFacts`, rounded to two or
three digits, with its unit; what is missing there is said to be missing, with the reason.
"""

from collections.abc import Iterator

import numpy as np

from explstm.calendar import Freq
from explstm.growth_facts import GrowthFacts
from explstm.growth_periods import name_period, show_duration

FOLD_FROM = 10.0
"""Growth of more than 1,000 % is told as how many times the size."""


def describe_growth(facts: GrowthFacts, freq: Freq, h: int, level: float) -> tuple[str, ...]:
    """Say in sentences how fast one series is forecast to grow, over ``h`` steps ahead.

    Args:
        facts: What is known.
        freq: Frequency of the series.
        h: The horizon.
        level: Coverage of all intervals, in per cent.
    """
    return (
        *_say_rate(facts, name_period(freq), level),
        *_say_doubling(facts, freq),
        *_say_past(facts, name_period(freq), h),
        _say_range(facts, name_period(freq)),
        _say_course(facts, name_period(freq), level),
    )


def _say_rate(facts: GrowthFacts, period: str, level: float) -> Iterator[str]:
    show = _amount if facts.unit == "change" else _percent
    verb = "grows" if facts.rate > 0 else "falls"
    if show(facts.rate) in (_percent(0.0), _amount(0.0)):
        verb = "stays level, at"
    interval = f"{level:g} % interval {_span(facts.rate_lo, facts.rate_hi, show)}"
    size = facts.rate if verb.startswith("stays") else abs(facts.rate)
    text = f"The forecast {verb} {'' if verb[-1] == 't' else 'by '}about {show(size)} per {period}"
    text += f" ({interval})"
    if facts.year_rate is not None and period != "year":
        text += f", {show(facts.year_rate)} per year"
        text += f" ({_span(facts.year_rate_lo, facts.year_rate_hi, show)})"
    elif period == "step" and "integer dates" in facts.reasons:
        text += "; its dates are integers, which have no year"
    elif "more than a millionfold" in facts.reasons:
        text += "; per year it would be more than a millionfold"
    yield text + "."
    if facts.unit == "change":
        yield (
            "Not all of its values are above zero, so growth rates are not defined and changes in "
            "the unit of the data are told instead."
        )


def _say_doubling(facts: GrowthFacts, freq: Freq) -> Iterator[str]:
    if facts.doubling is None:
        return
    if facts.doubling_time is None:
        yield "It neither doubles nor halves."
        return
    verb = "doubles" if facts.doubling == "doubling" else "halves"
    text = f"At this rate it {verb} in about {show_duration(facts.doubling_time, freq)}"
    fast = show_duration(_known(facts.doubling_time_lo), freq)
    if np.isfinite(_known(facts.doubling_time_hi)):
        slow = show_duration(_known(facts.doubling_time_hi), freq)
        yield f"{text} (interval {_join_times(fast, slow)})."
    else:
        text += f", at the earliest in {fast}"
        yield f"{text}; the interval includes no growth, so perhaps never."


def _say_past(facts: GrowthFacts, period: str, h: int) -> Iterator[str]:
    if facts.recent_rate is None or facts.share_slower is None:
        yield f"How it compares with past growth cannot be told: {_reason(facts, 'past rates')}."
        return
    show = _amount if facts.unit == "change" else _percent
    steps = _count(h, period)
    if facts.past_stretches == 1:
        yield f"Over the last {steps}, the whole past, it was {show(facts.recent_rate)}."
        return
    low, middle, high = map(_known, (facts.past_p10, facts.past_median, facts.past_p90))
    spread = f"{show(middle)} in the middle, {_span(low, high, show)} for 10 to 90 % of them"
    if show(low) == show(high):
        spread = f"about {show(middle)} nearly all"
    rank = f"faster than {100 * facts.share_slower:.0f} % of"
    if facts.share_slower == 0.0:
        rank = "slower than all of"
    yield (
        f"Over the last {steps} it was {show(facts.recent_rate)} per {period}; the forecast is "
        f"{rank} the {facts.past_stretches:,} past stretches of {steps} ({spread})."
    )


def _say_range(facts: GrowthFacts, period: str) -> str:
    text = "The forecast stays within the range of the values so far"
    if facts.beyond_from is not None:
        text = f"The forecast leaves the range of the values so far {facts.beyond_side}, first in "
        text += f"{period} {facts.beyond_from} and in {_percent(facts.beyond_share)} of its steps"
    if facts.peak_ratio is None or facts.end_ratio is None or facts.end_ratio_hi is None:
        span = f"{_number(facts.smallest)} to {_number(facts.largest)}"
        return f"{text}; it ends at {_number(facts.end)}, and they were {span}."
    upper = f"upper end {_against(facts.end_ratio_hi)}"
    if facts.end_ratio == facts.peak_ratio:
        end = _against(facts.end_ratio)
        return f"{text}; against the largest value so far its end is {end} ({upper})."
    return (
        f"{text}; against the largest value so far its peak is {_against(facts.peak_ratio)}, its "
        f"end {_against(facts.end_ratio)} ({upper})."
    )


def _say_course(facts: GrowthFacts, period: str, level: float) -> str:
    show = _amount if facts.unit == "change" else _percent
    p_curve, p_break = facts.p_exponential, facts.p_break
    match facts.course:
        case "unknown":
            return (
                "Whether growth saturates or broke cannot be told: "
                f"{_reason(facts, 'course of growth')}."
            )
        case "saturating":
            high = _known(facts.ceiling_hi)
            ends = (
                f"{_number(_known(facts.ceiling_lo))} to {_number(high)}"
                if np.isfinite(high)
                else f"from {_number(_known(facts.ceiling_lo))}, with no upper end that the data "
                "tell"
            )
            return (
                f"Growth saturates: a curve with a ceiling near {_number(_known(facts.ceiling))} "
                f"({level:g} % interval {ends}) fits better than exponential growth (p = "
                f"{_p(p_curve)}) and than growth by equal amounts (p = {_p(facts.p_unbounded)})."
            )
        case "slowing":
            return (
                f"The growth rate has been falling (p = {_p(p_curve)} against exponential growth), "
                "but growth by equal amounts, which has no ceiling, explains it as well (p = "
                f"{_p(facts.p_unbounded)})."
            )
        case "broken":
            return (
                f"The pace changed at {facts.break_ds}, from {show(_known(facts.rate_before))} to "
                f"{show(_known(facts.rate_after))} per {period} (p = {_p(p_break)} against a "
                "constant pace)."
            )
    if p_curve is None:
        return f"No change of pace was found (p = {_p(p_break)})."
    return (
        f"No sign of saturation was found (p = {_p(p_curve)} against exponential growth), and no "
        f"break in the growth rate (p = {_p(p_break)})."
    )


def _known(value: float | None) -> float:
    return np.nan if value is None else value


def _reason(facts: GrowthFacts, what: str) -> str:
    found = [text for text in facts.reasons.split("; ") if text.startswith(what)]
    return found[0].removeprefix(f"{what}: ")


def _percent(share: float) -> str:
    if share > FOLD_FROM:
        return f"{_number(1.0 + share)}-fold"
    per_cent = 100.0 * share
    if abs(per_cent) < 0.005:
        return "0 %"
    return f"{per_cent:,.0f} %" if abs(per_cent) >= 9.95 else f"{per_cent:.2g} %"


def _amount(value: float) -> str:
    return _number(value)


def _number(value: float) -> str:
    if value != 0 and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _span(low: float | None, high: float | None, show: object) -> str:
    ends = [show(_known(end)) for end in (low, high)]  # type: ignore[operator]
    if all(end.endswith(" %") for end in ends):
        ends[0] = ends[0].removesuffix(" %")
    return " to ".join(ends)


def _join_times(fast: str, slow: str) -> str:
    number, unit = fast.rsplit(" ", 1)
    return f"{number} to {slow}" if slow.endswith(f" {unit}") else f"{fast} to {slow}"


def _against(ratio: float) -> str:
    if ratio >= 2.0:
        return f"{_number(ratio)} times as large"
    share = _percent(abs(ratio - 1.0))
    return "equal" if share == "0 %" else f"{share} {'higher' if ratio > 1.0 else 'lower'}"


def _count(amount: int, name: str) -> str:
    return f"{amount} {name}" if amount == 1 else f"{amount} {name}s"


def _p(value: float | None) -> str:
    return f"{_known(value):.2g}"
