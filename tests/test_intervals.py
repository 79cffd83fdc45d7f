"""Quantiles between, at and beyond those that a network knows."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm.errors import UsageError
from explstm.intervals import check_levels, name_columns, read_quantiles, to_probabilities
from explstm.models.spec import ModelSpec

KNOWN = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


def gaussian(probabilities, mean=3.0, deviation=2.0):
    return np.array([NormalDist(mean, deviation).inv_cdf(p) for p in probabilities])


@pytest.mark.parametrize("wanted", [KNOWN, (0.01, 0.05, 0.3, 0.5, 0.8, 0.999)])
def test_a_gaussian_is_read_exactly_between_and_beyond(wanted):
    found_BHP = read_quantiles(gaussian(KNOWN)[None, None], KNOWN, wanted)
    np.testing.assert_allclose(found_BHP[0, 0], gaussian(wanted), rtol=1e-12)


def test_known_quantiles_are_returned_to_the_bit(rng):
    output_BHQ = np.sort(rng.normal(size=(4, 3, 7)), axis=2)
    np.testing.assert_array_equal(read_quantiles(output_BHQ, KNOWN, KNOWN), output_BHQ)


def test_a_quantile_between_two_is_linear_in_normal_scores():
    """0.8 lies at normal score 0.8416, between those of 0.5 (0) and 0.9 (1.2816)."""
    found = read_quantiles(np.array([[[-1.0, 0.0, 10.0]]]), (0.1, 0.5, 0.9), (0.8,))[0, 0, 0]
    assert found == pytest.approx(10 * 0.8416212 / 1.2815516, rel=1e-6)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=7, max_size=7),
    st.lists(st.floats(0.01, 99.9), min_size=1, max_size=6),
)
def test_wider_levels_give_wider_intervals(values, levels):
    output_BHQ = np.sort(np.array(values))[None, None]
    found_P = read_quantiles(output_BHQ, KNOWN, to_probabilities(levels))[0, 0]
    assert (np.diff(found_P) >= -1e-9 * np.abs(found_P).max()).all()


def test_equal_quantiles_stay_equal():
    output_BHQ = np.full((1, 1, 7), 0.1)
    found_P = read_quantiles(output_BHQ, KNOWN, to_probabilities([33, 80, 99]))[0, 0]
    assert set(found_P.tolist()) == {0.1}


def test_a_point_network_gives_its_point():
    assert read_quantiles(np.array([[[5.0]]]), (0.5,), (0.5,)).tolist() == [[[5.0]]]


def test_levels_become_the_probabilities_of_their_ends():
    assert to_probabilities([]) == (0.5,)
    assert to_probabilities([95, 80]) == pytest.approx((0.025, 0.1, 0.5, 0.9, 0.975))


def test_columns_stand_in_order_of_their_width():
    y_NHP = np.arange(5.0).reshape(1, 1, 5)
    columns = name_columns(y_NHP, "M", [80, 95.5])
    assert {name: float(values[0, 0]) for name, values in columns.items()} == {
        "M": 2.0, "M-lo-95.5": 0.0, "M-lo-80": 1.0, "M-hi-80": 3.0, "M-hi-95.5": 4.0,
    }  # fmt: skip
    assert list(columns) == ["M", "M-lo-95.5", "M-lo-80", "M-hi-80", "M-hi-95.5"]


def test_levels_that_are_almost_equal_have_columns_of_their_own():
    assert len(name_columns(np.zeros((1, 1, 5)), "M", [80, 80.0000001])) == 5


@pytest.mark.parametrize(
    "level", [[95, 80, 80.0], (80, 95), np.array([95, 80]), [np.int64(80), 95]]
)
def test_levels_are_sorted_and_taken_once(level):
    assert check_levels(level, ModelSpec(), "pinball") == [80, 95]


def test_no_level_is_none():
    assert check_levels(None, ModelSpec(), "mae") == check_levels([], ModelSpec(), "mae") == []


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ([0], "level=0 is not a coverage in per cent; pass numbers between 0 and 100"),
        ([80, 100], "level=100 is not a coverage"),
        ([-5], "level=-5 is not"),
        ([float("nan")], "level=nan is not"),
        ([99.99999999999999], "level=99.99999999999999 is not"),  # its upper end rounds to 100
        ([True], "level=True is not"),
        (["80"], "level='80' is not"),
        ([None], "level=None is not"),
        (80, "level=80 is not a list; pass for example level="),
        ("80", "level='80' is not a list"),
    ],
)
def test_a_level_that_is_no_coverage_is_refused(level, message):
    with pytest.raises(UsageError, match="LEVEL_RANGE") as caught:
        check_levels(level, ModelSpec(), "pinball")
    assert message in str(caught.value)


def test_a_network_without_quantiles_has_no_intervals():
    with pytest.raises(UsageError, match=r"level=\[80\] needs a model trained on quantiles, found"):
        check_levels([80], ModelSpec(), "mae")
    with pytest.raises(UsageError, match="with 1 quantiles"):
        check_levels([80], ModelSpec(quantiles=(0.5,)), "pinball")
