"""Scaled losses by group against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from explstm.errors import UsageError
from explstm.scaled_losses import align_windows, find_best_naive, measure_losses


def make_table(rows):
    return pd.DataFrame(rows, columns=["unique_id", "ds", "cutoff", "y", "M", "Naive", "Drift"])


TABLE = make_table(
    [
        ("a", 3, 2, 10.0, 11.0, 14.0, 10.0),
        ("a", 4, 2, 10.0, 7.0, 12.0, 12.0),
        ("a", 5, 4, 10.0, 10.0, 11.0, 9.0),
        ("a", 6, 4, 10.0, 10.0, 11.0, 9.0),
        ("b", 9, 8, 1.0, 3.0, 2.0, 1.0),
        ("b", 10, 8, 1.0, 1.0, 2.0, 5.0),
    ]
)
SCALES = pd.DataFrame({"unique_id": ["b", "a", "a"], "cutoff": [8, 4, 2], "scale": [0.5, 1.0, 4.0]})


def test_losses_by_hand_in_any_order_of_rows():
    losses = measure_losses(TABLE.sample(frac=1, random_state=3), ["M"], SCALES)
    assert losses[["unique_id", "cutoff"]].to_numpy().tolist() == [["a", 2], ["a", 4], ["b", 8]]
    assert losses["M"].tolist() == [2 / 4, 0, 1 / 0.5]  # mean errors 2, 0, 1
    assert losses["Naive"].tolist() == [3 / 4, 1, 2]
    assert losses["Drift"].tolist() == [1 / 4, 1, 4]


def test_a_group_is_averaged_over_the_steps_that_it_has():
    losses = measure_losses(TABLE.drop(index=1), ["M"], SCALES)
    assert losses["M"].tolist() == [1 / 4, 0, 1 / 0.5]


def test_windows_that_begin_in_one_stretch_of_time_belong_together():
    ends = {"a": "2020-12-31", "b": "2020-09-30", "c": "2020-12-31"}
    cutoffs = {name: pd.date_range(end=end, periods=3, freq="3ME") for name, end in ends.items()}
    rows = [(name, date) for name, dates in cutoffs.items() for date in dates]
    losses = pd.DataFrame(rows, columns=["unique_id", "cutoff"])
    stretches, apart_by = align_windows(losses, 3)
    assert stretches.tolist() == [2, 1, 0, 3, 2, 1, 2, 1, 0] and apart_by == 0
    later = losses.assign(
        cutoff=losses["cutoff"].mask(
            losses["unique_id"] == "b", losses["cutoff"] - pd.offsets.MonthEnd()
        )
    )
    stretches, apart_by = align_windows(later, 3)
    assert stretches.tolist() == [2, 1, 0, 3, 2, 1, 2, 1, 0] and apart_by == 2
    single = losses.groupby("unique_id").head(1)
    assert align_windows(single, 3)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("column", ["y", "M", "Naive"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_group_with_a_missing_value_has_no_loss(column, value):
    table = TABLE.copy()
    table.loc[0, column] = value
    losses = measure_losses(table, ["M"], SCALES)
    for name in ("M", "Naive", "Drift"):
        concerned = column in ("y", name)
        assert losses[name].isna().tolist() == [concerned, False, False]


@pytest.mark.parametrize("scale", [0.0, math.nan, None])
def test_a_group_whose_scale_is_0_or_unknown_has_no_loss(scale):
    scales = SCALES[SCALES["unique_id"] == "a"]
    if scale is not None:
        scales = pd.concat([scales, SCALES.head(1).assign(scale=scale)])
    losses = measure_losses(TABLE, ["M"], scales)
    assert losses[["M", "Naive", "Drift"]].isna().all(axis=1).tolist() == [False, False, True]


def test_the_best_naive_forecast_is_chosen_where_all_have_a_loss():
    losses = measure_losses(TABLE, [], SCALES)
    assert find_best_naive(losses) == ("Naive", pytest.approx((3 / 4 + 1 + 2) / 3))
    losses.loc[2, "Naive"] = np.nan  # and so the group where the drift is bad does not count
    assert find_best_naive(losses) == ("Drift", pytest.approx((1 / 4 + 1) / 2))
    name, loss = find_best_naive(losses.assign(Naive=np.nan))
    assert name == "" and math.isnan(loss)


@pytest.mark.parametrize(
    ("dropped", "message"),
    [(["M"], "'M'"), (["cutoff"], "'cutoff'"), (["Naive", "Drift"], "SeasonalNaive or Drift")],
)
def test_a_missing_column_is_named(dropped, message):
    with pytest.raises(UsageError, match=message):
        measure_losses(TABLE.drop(columns=dropped), ["M"], SCALES)
