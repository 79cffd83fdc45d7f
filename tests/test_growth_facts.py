"""Facts of growth against values computed by hand and by slow loops."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from explstm.frame import Panel, build_panel
from explstm.growth_facts import GrowthFacts, gather_facts, to_levels
from explstm.saturation import Break, Ceiling, Judgement
from panels import make_panel

STEADY = Judgement("steady", p_exponential=0.5, p_break=0.6)


def monthly(values) -> Panel:
    ds = pd.date_range("2020-01-01", periods=len(values), freq="MS")
    return build_panel(pd.DataFrame({"ds": ds, "y": values}), freq="MS")


def facts_of(panel, y_HE, season_length=1, judgement=STEADY, i=0) -> GrowthFacts:
    y_NHE = np.repeat(np.asarray(y_HE, dtype=float)[None], panel.n_series, axis=0)
    return gather_facts(panel, to_levels(panel, y_NHE, season_length), i, len(y_HE), judgement)


def test_two_per_cent_a_month_doubles_in_35_months():
    past = 100 * 1.02 ** np.arange(40)
    ahead = np.arange(1, 13)[:, None]
    facts = facts_of(monthly(past), past[-1] * np.array([1.01, 1.02, 1.04]) ** ahead)
    assert (facts.rate_lo, facts.rate, facts.rate_hi) == pytest.approx((0.01, 0.02, 0.04))
    assert facts.year_rate == pytest.approx(1.02**12 - 1)  # 26.8 %
    assert (facts.year_rate_lo, facts.year_rate_hi) == pytest.approx((1.01**12 - 1, 1.04**12 - 1))
    assert facts.doubling == "doubling"
    assert facts.doubling_time == pytest.approx(35.0028, abs=1e-4)
    assert facts.doubling_time_lo == pytest.approx(17.6730, abs=1e-4)
    assert facts.doubling_time_hi == pytest.approx(69.6607, abs=1e-4)
    assert facts.recent_rate == pytest.approx(0.02) == facts.past_median
    assert facts.past_stretches == 28 and facts.share_slower == 0.5  # all are equal
    assert facts.end_ratio == pytest.approx(1.02**12) == facts.peak_ratio
    assert facts.end_ratio_hi == pytest.approx(1.04**12)
    assert (facts.beyond_from, facts.beyond_side, facts.beyond_share) == (1, "above", 1.0)
    assert facts.reasons == ""


def test_the_interval_that_includes_no_growth_makes_the_longest_time_infinite():
    facts = facts_of(monthly([4.0, 2.0, 1.0]), [[0.25, 0.5, 1.5]])
    assert facts.doubling == "halving" and facts.doubling_time == pytest.approx(1.0)
    assert facts.doubling_time_lo == pytest.approx(0.5) and facts.doubling_time_hi == np.inf
    assert facts.beyond_side == "below"


def test_past_rates_agree_with_slow_loops(rng):
    past = np.exp(np.cumsum(rng.normal(0.01, 0.05, 50)))
    h, end = 7, past[-1] * 1.1
    facts = facts_of(monthly(past), [[end * 0.9, end, end * 1.2]] * h)
    rates = [(past[t + h] / past[t]) ** (1 / h) - 1 for t in range(50 - h)]
    assert facts.past_stretches == len(rates)
    logs = np.log1p(rates)
    assert facts.past_p10 == pytest.approx(np.expm1(np.quantile(logs, 0.1)))
    assert facts.past_p90 == pytest.approx(np.expm1(np.quantile(logs, 0.9)))
    assert facts.recent_rate == pytest.approx(rates[-1])
    own = 1.1 ** (1 / h) - 1
    assert facts.rate == pytest.approx(own)
    assert facts.share_slower == pytest.approx(np.mean([rate < own for rate in rates]))


def test_the_season_is_not_taken_for_growth():
    season = np.array([1.0, 2.0, 4.0, 0.5])
    past = 10 * 1.01 ** np.arange(48) * np.tile(season, 12)
    ahead = 10 * 1.01 ** np.arange(48, 51) * season[:3]  # ends in the strongest quarter
    facts = facts_of(monthly(past), np.repeat(ahead[:, None], 3, axis=1), season_length=4)
    assert facts.rate == pytest.approx(0.01, abs=5e-4)
    assert facts.beyond_from == 3 and facts.beyond_share == pytest.approx(1 / 3)


def test_values_that_are_not_above_zero_have_changes_and_reasons():
    facts = facts_of(monthly([-3.0, 0.0, 3.0, 6.0]), [[7.0, 8.0, 10.0], [8.0, 10.0, 14.0]])
    assert facts.unit == "change"
    assert (facts.rate_lo, facts.rate, facts.rate_hi) == pytest.approx((1.0, 2.0, 4.0))
    assert facts.year_rate == pytest.approx(24.0)
    assert facts.recent_rate == pytest.approx(3.0) and facts.share_slower == 0.0
    assert facts.doubling is None and facts.end_ratio is None
    for what in ("doubling time", "ratio to the largest value", "ceiling"):
        assert f"{what}: " in facts.reasons


def test_what_cannot_be_told_is_missing_with_its_reason():
    facts = facts_of(make_panel([1.0, 1.0]), [[1.0, 1.0, 1.0]] * 3)
    assert facts.doubling == "neither" and facts.doubling_time is None
    assert facts.year_rate is None and facts.recent_rate is None
    assert facts.reasons.split("; ") == [
        "per year: integer dates have no year",
        "doubling time: the forecast is level",
        "past rates: a stretch of 3 steps needs 4 values, found 2",
    ]
    fast = facts_of(monthly([1.0, 1e3]), [[1e6] * 3])
    assert fast.year_rate is None and "more than a millionfold" in fast.reasons


@pytest.mark.parametrize(
    "past",
    [[5.0] * 30, [0.0] * 30, [1e300, 1e301], [1e-300, 2e-300, 4e-300], 1.3 ** np.arange(60), [7.0],
     [-1e300, 1e300, -1e300], [1e308, 1e-308]],
)  # fmt: skip
def test_every_number_is_finite_or_explained(past):
    past = np.asarray(past, dtype=float)
    facts = facts_of(monthly(past), [[past[-1] * 0.9, past[-1], past[-1] * 1.1]] * 2)
    for name in ("rate", "rate_lo", "rate_hi", "end", "end_hi", "beyond_share"):
        assert np.isfinite(getattr(facts, name)), name
    for name, what in (("year_rate", "per year"), ("doubling_time", "doubling time"),
                       ("recent_rate", "past rates"), ("end_ratio", "ratio")):  # fmt: skip
        value = getattr(facts, name)
        assert np.isfinite(value) if value is not None else what in facts.reasons, name


def test_an_interval_that_reaches_zero_is_a_loss_of_everything():
    facts = facts_of(monthly([1.0, 2.0]), [[-1.0, 2.0, 4.0]])
    assert facts.rate_lo == -1.0 and facts.doubling == "neither"


def test_ceilings_and_breaks_come_back_in_the_unit_of_the_data():
    panel = monthly([1.0, 2.0, 4.0])
    top = Judgement("saturating", 0.01, 0.02, 0.5, Ceiling(np.log(8), np.log(6), np.inf))
    facts = facts_of(panel, [[5.0] * 3], judgement=top)
    assert (facts.ceiling, facts.ceiling_lo) == pytest.approx((8.0, 6.0))
    assert facts.ceiling_hi == np.inf and facts.p_unbounded == 0.02
    change = Judgement("broken", 0.5, None, 0.01, broken=Break(2, np.log(2), np.log(1.1)))
    facts = facts_of(panel, [[5.0] * 3], judgement=change)
    assert facts.break_ds == "2020-03-01"
    assert (facts.rate_before, facts.rate_after) == pytest.approx((1.0, 0.1))
    in_tokyo = replace(panel, time_zone=ZoneInfo("Asia/Tokyo"))
    assert facts_of(in_tokyo, [[5.0] * 3], judgement=change).break_ds.startswith("2020-03-01 09:00")
