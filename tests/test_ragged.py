import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm.ragged import (
    block_cells,
    length_blocks,
    mean_change,
    reduce_series,
    sorted_quantiles,
)

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=20)


def starts_of(lengths):
    return np.concatenate(([0], np.cumsum(lengths)))


@given(lengths, st.integers(1, 100), st.sampled_from(["left", "right"]), st.integers(1, 5))
def test_every_step_stands_in_exactly_one_cell(lengths, max_cells, align, multiple):
    starts_N1 = starts_of(lengths)
    seen = []
    for block_B in length_blocks(starts_N1, max_cells):
        index_BT, inside_BT = block_cells(starts_N1, block_B, align=align, multiple=multiple)
        assert index_BT.shape[1] % multiple == 0
        seen.extend(index_BT[inside_BT])
        for row, series in enumerate(block_B):
            own = np.arange(starts_N1[series], starts_N1[series + 1])
            assert index_BT[row][inside_BT[row]].tolist() == own.tolist()
            assert np.isin(index_BT[row], own).all()  # padding never looks at another series
            edge = 0 if align == "left" else -1
            assert inside_BT[row, edge]
    assert sorted(seen) == list(range(starts_N1[-1]))


@given(lengths, st.integers(1, 100))
def test_blocks_stay_within_their_cells(lengths, max_cells):
    for block_B in length_blocks(starts_of(lengths), max_cells):
        longest = max(lengths[series] for series in block_B)
        assert len(block_B) == 1 or len(block_B) * longest <= max_cells


def test_reductions_and_quantiles_match_a_loop(rng):
    series = [rng.normal(size=length) for length in (1, 2, 3, 10, 57)]
    values_S, starts_N1 = np.concatenate(series), starts_of([len(s) for s in series])
    assert reduce_series(np.maximum, values_S, starts_N1).tolist() == [s.max() for s in series]
    quantiles = sorted_quantiles(values_S, starts_N1, (0.25, 0.5))
    for found_N, probability in zip(quantiles, (0.25, 0.5), strict=True):
        assert found_N == pytest.approx([np.quantile(s, probability) for s in series], rel=1e-12)


def test_quantiles_leave_out_what_is_not_finite():
    values_S = np.array([np.nan, 4.0, 2.0, np.nan, np.nan])
    assert sorted_quantiles(values_S, starts_of([3, 2]), (0.5,))[0].tolist() == [3.0, 0.0]


@given(lengths, st.integers(1, 6))
def test_mean_changes_are_those_of_each_series_alone(lengths, longest_lag):
    rng = np.random.default_rng(sum(lengths))
    series = [rng.normal(size=n) for n in lengths]
    lag_N = rng.integers(1, longest_lag + 1, len(lengths))
    expected = [
        np.abs(y[lag:] - y[:-lag]).mean() if len(y) > lag else 0.0
        for y, lag in zip(series, lag_N, strict=True)
    ]
    found_N = mean_change(np.concatenate(series), starts_of(lengths), lag_N)
    np.testing.assert_allclose(found_N, expected, rtol=1e-12)
