"""Nothing that is computed at a cutoff may know what comes after it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm.frame import keep_steps
from explstm.growth import to_growth_space
from explstm.origins import OriginBatches, last_windows
from explstm.scaling import GROWTH_NAMES
from panels import grow, make_panel

ARRAYS = ("z_S", "anchor_S", "scale_S", "features_SF")
lengths = st.lists(st.integers(2, 40), min_size=1, max_size=5)
seeds = st.integers(0, 2**32 - 1)


def two_futures(lengths, seed, share):
    """Panels that agree up to a cutoff in every series and differ everywhere after it."""
    rng = np.random.default_rng(seed)
    pasts = [grow(rng, n) * np.resize([1.0, 1.4, 0.7], n) for n in lengths]
    cutoff_N = np.maximum(1, (share * np.array(lengths)).astype(int))
    futures = [y.copy() for y in pasts]
    for y, cutoff in zip(futures, cutoff_N, strict=True):
        y[cutoff:] *= np.exp(rng.normal(0, 3, len(y) - cutoff))
    return make_panel(*pasts), make_panel(*futures), cutoff_N


@pytest.mark.parametrize("growth", GROWTH_NAMES)
@given(lengths, seeds, st.floats(0.1, 1.0))
def test_a_cut_panel_knows_nothing_of_its_future(growth, lengths, seed, share):
    one, other, cutoff_N = two_futures(lengths, seed, share)
    spaces = [
        to_growth_space(keep_steps(panel, 0, cutoff_N), growth=growth, season_length=(3, 6))
        for panel in (one, other)
    ]
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(spaces[0], name), getattr(spaces[1], name))
    for one_NM, other_NM in zip(*(space.seasonality.indices for space in spaces), strict=True):
        np.testing.assert_array_equal(one_NM, other_NM)
    np.testing.assert_array_equal(*(last_windows(space, 10)[0] for space in spaces))


@pytest.mark.parametrize("growth", ["auto", "log", "linear"])
@given(lengths, seeds, st.floats(0.1, 1.0))
def test_without_season_no_step_knows_what_follows_it(growth, lengths, seed, share):
    """Even in a panel that is not cut, to the last bit."""
    one, other, cutoff_N = two_futures(lengths, seed, share)
    past_S = np.concatenate(
        [np.arange(n) < cutoff for n, cutoff in zip(lengths, cutoff_N, strict=True)]
    )
    whole, changed = (
        to_growth_space(panel, growth=growth, season_length=1) for panel in (one, other)
    )
    cut = to_growth_space(keep_steps(one, 0, cutoff_N), growth=growth, season_length=1)
    for name in ARRAYS:
        past = getattr(whole, name)[past_S]
        np.testing.assert_array_equal(past, getattr(changed, name)[past_S])
        np.testing.assert_array_equal(past, getattr(cut, name))


@given(seeds, st.integers(6, 29))
def test_an_origin_before_a_change_shows_the_network_the_same(seed, cutoff):
    y = grow(np.random.default_rng(seed), 30)
    changed = y.copy()
    changed[cutoff:] *= 5
    one, other = (
        OriginBatches(
            to_growth_space(make_panel(values), season_length=1),
            4,
            batch_size=1,
            window=30,
            warm_up=3,
            seed=1,
        ).batch(0)
        for values in (y, changed)
    )
    np.testing.assert_array_equal(one.features_BTF[:, :cutoff], other.features_BTF[:, :cutoff])
    unaffected = max(0, cutoff - 4 - 3)  # origins at steps 3.. whose four targets lie before it
    np.testing.assert_array_equal(one.targets_RH[:unaffected], other.targets_RH[:unaffected])
    assert not np.array_equal(one.targets_RH, other.targets_RH)
