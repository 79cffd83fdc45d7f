"""Other futures: the past stays to the bit, and everything after it becomes another."""

import numpy as np
import pytest

from explstm.alterations import ALTERATIONS, alter_future
from explstm.frame import keep_steps
from panels import grow, make_panel

H, MORE = 3, 2


@pytest.mark.parametrize("name", ALTERATIONS)
def test_the_past_stays_and_the_future_changes(rng, name):
    panel = make_panel(grow(rng, 12), np.arange(9.0) - 3.5, np.zeros(10))
    cutoff_N = panel.lengths_N - H - 2
    other = alter_future(panel, cutoff_N, name, h=H, more=MORE, seed=1)
    pasts = [keep_steps(p, 0, cutoff_N) for p in (panel, other)]
    np.testing.assert_array_equal(pasts[0].y_S, pasts[1].y_S)
    if name in ("cut", "continued"):
        assert list(other.lengths_N - panel.lengths_N) == [-2 if name == "cut" else MORE] * 3
        shorter = np.minimum(other.lengths_N, panel.lengths_N)
        both = [keep_steps(p, 0, shorter) for p in (panel, other)]
        np.testing.assert_array_equal(both[0].y_S, both[1].y_S)
        np.testing.assert_array_equal(both[0].ds_S, both[1].ds_S)
        assert (np.diff(other.ds_S[other.starts_N1[0] : other.starts_N1[1]]) == 1).all()
        return
    np.testing.assert_array_equal(panel.ds_S, other.ds_S)
    later_S = np.concatenate(
        [np.arange(n) >= c for n, c in zip(panel.lengths_N, cutoff_N, strict=True)]
    )
    changed_S = other.y_S != panel.y_S
    assert not changed_S[~later_S].any()
    zeros_S = np.repeat([False, False, True], panel.lengths_N)
    cannot_S = zeros_S & (name in ("shuffled", "times-ten"))  # zeros stay zeros
    assert changed_S[later_S & ~cannot_S].all()


def test_a_future_is_drawn_by_its_seed(rng):
    panel = make_panel(grow(rng, 12))
    noise = [
        alter_future(panel, np.array([8]), "noise", h=H, more=MORE, seed=seed).y_S
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(noise[0], noise[1])
    assert (noise[0][8:] != noise[2][8:]).all() and (noise[0] > 0).all()
    negated = alter_future(panel, np.array([8]), "negated", h=H, more=MORE, seed=1)
    assert (negated.y_S[8:] < 0).all()
