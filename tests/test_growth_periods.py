"""Periods in words, and how many fill a year."""

import pytest

from explstm.growth_periods import name_period, periods_per_year, show_duration


@pytest.mark.parametrize(
    ("freq", "name", "per_year"),
    [
        ("MS", "month", 12),
        ("ME", "month", 12),
        ("QS-JAN", "quarter", 4),
        ("YE-DEC", "year", 1),
        ("2MS", "step", 6),
        ("D", "day", 365.25),
        ("W-SUN", "week", 365.25 / 7),
        ("B", "business day", 365.25 * 5 / 7),
        ("h", "hour", 8766),
        ("15min", "step", 4 * 8766),
        (1, "step", None),
    ],
)
def test_periods_have_names_and_fill_years(freq, name, per_year):
    assert name_period(freq) == name
    assert periods_per_year(freq) == (None if per_year is None else pytest.approx(per_year))


@pytest.mark.parametrize(
    ("periods", "freq", "text"),
    [
        (35.0, "MS", "2.9 years"),
        (18.0, "MS", "18 months"),
        (1.5, "MS", "46 days"),
        (3.0, "h", "3 hours"),
        (0.5, "D", "12 hours"),
        (1e9, "D", "more than 1,000 years"),
        (35.003, 1, "35 steps"),
        (1.0, 1, "1 step"),
        (1e9, 1, "more than a million steps"),
        (1e-9, "D", "8.6e-05 seconds"),
    ],
)
def test_durations_are_told_in_units_of_which_two_fit(periods, freq, text):
    assert show_duration(periods, freq) == text
