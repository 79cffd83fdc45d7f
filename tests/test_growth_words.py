"""Sentences: plain, with rounded numbers, units and reasons."""

from dataclasses import replace

import numpy as np
import pytest

from explstm.growth_facts import GrowthFacts
from explstm.growth_words import describe_growth

FACTS = GrowthFacts(
    unique_id="a", unit="growth", rate=0.00923, rate_lo=0.0041, rate_hi=0.0132,
    year_rate=0.1165, year_rate_lo=0.0503, year_rate_hi=0.1705, doubling="doubling",
    doubling_time=75.4, doubling_time_lo=52.9, doubling_time_hi=169.4, recent_rate=0.0108,
    past_p10=-0.001, past_median=0.009, past_p90=0.018, past_stretches=120, share_slower=0.93,
    smallest=10.0, largest=200.0, end=248.0, end_hi=310.0, peak_ratio=1.24, end_ratio=1.24,
    end_ratio_hi=1.55, beyond_from=3, beyond_side="above", beyond_share=0.75, course="steady",
    p_exponential=0.41, p_break=0.62,
)  # fmt: skip


def tell(freq="MS", **changes) -> list[str]:
    return list(describe_growth(replace(FACTS, **changes), freq, 12, 80))


def test_a_growing_series_is_described_in_five_sentences():
    assert tell() == [
        "The forecast grows by about 0.92 % per month (80 % interval 0.41 to 1.3 %), 12 % per year "
        "(5 to 17 %).",
        "At this rate it doubles in about 6.3 years (interval 4.4 to 14 years).",
        "Over the last 12 months it was 1.1 % per month; the forecast is faster than 93 % of the "
        "120 past stretches of 12 months (0.9 % in the middle, -0.1 to 1.8 % for 10 to 90 % of "
        "them).",
        "The forecast leaves the range of the values so far above, first in month 3 and in 75 % of "
        "its steps; against the largest value so far its end is 24 % higher (upper end 55 % "
        "higher).",
        "No sign of saturation was found (p = 0.41 against exponential growth), and no break in "
        "the growth rate (p = 0.62).",
    ]


def test_a_time_without_end_is_said_so():
    assert tell(doubling_time_hi=np.inf)[1] == (
        "At this rate it doubles in about 6.3 years, at the earliest in 4.4 years; the interval "
        "includes no growth, so perhaps never."
    )
    assert tell(doubling="neither", doubling_time=None)[1] == "It neither doubles nor halves."


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (
            {"course": "saturating", "p_exponential": 0.005, "p_unbounded": 0.02,
             "ceiling": 98.2, "ceiling_lo": 91.4, "ceiling_hi": 1234.5},
            "Growth saturates: a curve with a ceiling near 98.2 (80 % interval 91.4 to 1,234)",
        ),
        (
            {"course": "saturating", "p_unbounded": 0.02, "ceiling": 98.2, "ceiling_lo": 91.4,
             "ceiling_hi": np.inf},
            "interval from 91.4, with no upper end that the data tell",
        ),
        ({"course": "slowing", "p_unbounded": 0.3}, "growth by equal amounts, which has no ceil"),
        (
            {"course": "broken", "break_ds": "2005-12-01", "rate_before": 0.018,
             "rate_after": -0.011},
            "The pace changed at 2005-12-01, from 1.8 % to -1.1 % per month (p = 0.62",
        ),
        (
            {"course": "unknown", "reasons": "course of growth: the tests need 20 steps, found 3"},
            "cannot be told: the tests need 20 steps, found 3.",
        ),
    ],
)  # fmt: skip
def test_the_course_of_growth_is_told(changes, part):
    assert part in tell(**changes)[-1]


def test_what_is_missing_is_said_with_its_reason():
    told = tell(freq=1, year_rate=None, recent_rate=None, share_slower=None, reasons=(
        "per year: integer dates have no year; past rates: a stretch of 12 steps needs 13 values, "
        "found 2"))  # fmt: skip
    assert told[0].endswith("per step (80 % interval 0.41 to 1.3 %); its dates are integers, which "
                            "have no year.")  # fmt: skip
    assert told[2] == ("How it compares with past growth cannot be told: a stretch of 12 steps "
                       "needs 13 values, found 2.")  # fmt: skip


def test_changes_are_told_in_the_unit_of_the_data():
    told = tell(unit="change", rate=-2.5, rate_lo=-4000.0, rate_hi=1.0, year_rate=None,
                doubling=None, peak_ratio=None, end_ratio=None, p_exponential=None)  # fmt: skip
    assert told[0] == "The forecast falls by about 2.5 per month (80 % interval -4,000 to 1)."
    assert told[1].startswith("Not all of its values are above zero")
    assert told[-2].endswith("; it ends at 248, and they were 10 to 200.")
    assert told[-1] == "No change of pace was found (p = 0.62)."


def test_extreme_growth_is_told_as_a_multiple():
    told = tell(
        rate=99.0, rate_hi=1e300, year_rate=None, reasons="per year: more than a millionfold"
    )
    assert "grows by about 100-fold per month (80 % interval 0.41 % to 1e+300-fold)" in told[0]
    assert tell(rate=1e-9)[0].startswith("The forecast stays level, at about 0 % per month")
