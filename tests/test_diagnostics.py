"""Coverage, residuals and autocorrelations against counts and sums made by hand."""

import numpy as np
import pandas as pd
import pytest

from explstm.diagnostics import (
    FEWEST_PAIRS,
    autocorrelate,
    collect_residuals,
    measure_coverage,
    recover_scales,
)


def make_table(n_series: int, n_windows: int, h: int, y) -> pd.DataFrame:
    """A backtest table whose values are those of ``y``, series by series."""
    keys = [
        (f"s{i}", 100 * w + k, 100 * w) for i in range(n_series) for w in range(n_windows)
        for k in range(1, h + 1)
    ]  # fmt: skip
    return pd.DataFrame(keys, columns=["unique_id", "ds", "cutoff"]).assign(y=y)


def test_coverage_is_a_share_of_values_and_its_band_counts_forecasts():
    table = make_table(1, 10, 2, np.zeros(20))
    # Step 1 is held in 9 of 10 windows, step 2 in 5 of 10.
    held = np.array([[True] * 9 + [False], [True] * 5 + [False] * 5]).T.ravel()
    table = table.assign(M=0.0).assign(
        **{"M-lo-80": np.where(held, -1.0, 1.0), "M-hi-80": np.where(held, 1.0, 2.0)}
    )
    found = measure_coverage(table, "M").set_index("step")
    assert found["coverage"].to_dict() == {0: 0.7, 1: 0.9, 2: 0.5}
    assert found["values"].to_dict() == {0: 20, 1: 10, 2: 10}
    # By hand: of 10 draws at 0.8, at most 4 have probability 0.0064 and at most 5 have 0.0328, so
    # that 2.5 % is first reached at 5; all 10 are within the upper 97.5 %.
    assert (found["low"] == 0.5).all() and (found["high"] == 1.0).all()


def test_residuals_are_actual_minus_forecast_in_units_of_each_forecasts_scale():
    table = make_table(2, 1, 2, [10.0, 20.0, 1.0, np.nan]).assign(M=[8.0, 26.0, 0.0, 1.0])
    plain = collect_residuals(table, "M")
    assert plain["residual"].tolist() == [2.0, -6.0, 1.0]
    assert plain["step"].tolist() == [1, 2, 1]
    scales = pd.DataFrame({"unique_id": ["s0"], "cutoff": [0], "scale": [2.0]})
    scaled = collect_residuals(table, "M", scales)
    assert scaled["residual"].tolist() == [1.0, -3.0]  # s1 has no scale
    assert scaled["forecast"].tolist() == [4.0, 13.0]


def test_scales_come_back_from_the_scores_of_any_method():
    rows = [
        ("a", 1, "P", "MAE", 0.0),
        ("a", 1, "P", "MASE", 0.0),
        ("a", 1, "N", "MAE", 6.0),
        ("a", 1, "N", "MASE", 2.0),
        ("b", 1, "N", "MAE", 5.0),
        ("b", 1, "N", "MASE", np.nan),
    ]
    table = pd.DataFrame(rows, columns=["unique_id", "cutoff", "model", "metric", "value"])
    found = recover_scales(table)
    assert found.to_dict("records") == [{"unique_id": "a", "cutoff": 1, "scale": 3.0}]


def test_autocorrelations_are_those_of_a_loop_over_pairs(rng):
    n_series, n_windows, step_size = 7, 9, 3
    table = make_table(n_series, n_windows, 2, rng.normal(size=n_series * n_windows * 2))
    residuals = collect_residuals(table.assign(M=0.0), "M")
    found = autocorrelate(residuals, step_size)
    one_step = table["y"].to_numpy().reshape(n_series, n_windows, 2)[:, :, 0]
    deviation = one_step - one_step.mean()
    for place, row in enumerate(found.itertuples(), start=1):
        products = [
            deviation[i, w] * deviation[i, w - place]
            for i in range(n_series)
            for w in range(place, n_windows)
        ]
        assert row.lag == place * step_size and row.pairs == len(products)
        assert row.autocorrelation == pytest.approx(np.mean(products) / np.mean(deviation**2))
        assert row.bound == pytest.approx(1.96 / len(products) ** 0.5)
    assert len(found) == 6  # at lag 7 there are 14 pairs
    assert found["pairs"].min() >= FEWEST_PAIRS


def test_repeating_residuals_are_found_and_few_ones_say_nothing():
    wave = np.tile([1.0, -1.0], 30)
    found = autocorrelate(collect_residuals(make_table(1, 60, 1, wave).assign(M=0.0), "M"), 1)
    assert found["autocorrelation"].iloc[0] == pytest.approx(-1.0)
    assert found["autocorrelation"].iloc[1] == pytest.approx(1.0)
    short = collect_residuals(make_table(1, 5, 1, wave[:5]).assign(M=0.0), "M")
    assert autocorrelate(short, 1).empty
    flat = collect_residuals(make_table(1, 60, 1, np.ones(60)).assign(M=0.0), "M")
    assert autocorrelate(flat, 1).empty
