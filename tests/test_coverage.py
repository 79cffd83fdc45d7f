"""Intervals judged step by step: counted as by hand, pooled by values."""

import math

import numpy as np
import pandas as pd
import pytest

from explstm.coverage import (
    ALL_GROUPS,
    count_covered,
    pool_coverage,
    pool_groups,
    summarise_coverage,
)


def judge(rng: np.random.Generator, n_series: int, horizon: int) -> pd.DataFrame:
    """Forecasts with two intervals; each series begins at a date of its own."""
    ids = np.repeat([f"s{i}" for i in range(n_series)], horizon)
    starts = np.repeat(rng.integers(5, 50, n_series), horizon)
    ds = starts + np.tile(np.arange(horizon), n_series)
    table = pd.DataFrame({"unique_id": ids, "ds": ds, "y": rng.normal(0, 1, len(ids))})
    for level, width in ((80, 1.3), (99.5, 2.8)):
        table[f"M-lo-{level:g}"], table[f"M-hi-{level:g}"] = -width, width
    return table


def test_counts_are_those_of_a_loop_whatever_the_order_of_the_rows(rng):
    judged = judge(rng, 30, 5)
    counts = count_covered(judged.sample(frac=1, random_state=1), "M", [80, 99.5])
    assert [(one.level, one.step) for one in counts] == [
        (level, step) for level in (80, 99.5) for step in range(1, 6)
    ]
    for one in counts:
        width = 1.3 if one.level == 80 else 2.8
        y = [part["y"].iloc[one.step - 1] for _, part in judged.groupby("unique_id")]
        assert one.values == 30 and one.covered == sum(abs(value) <= width for value in y)


def test_ends_belong_to_an_interval_and_what_is_not_finite_is_not_counted():
    judged = pd.DataFrame(
        {
            "unique_id": list("abcde"),
            "ds": 1,
            "y": [1.0, 2.0, 2.1, math.nan, 1.5],
            "M-lo-80": [1.0, 1.0, 1.0, 1.0, -math.inf],
            "M-hi-80": [2.0, 2.0, 2.0, 2.0, 2.0],
        }
    )
    (found,) = count_covered(judged, "M", [80])
    assert (found.covered, found.values) == (2, 3)


def make_table() -> pd.DataFrame:
    rows = [("small", 1, 1, 2), ("small", 2, 2, 2), ("large", 1, 80, 98)]
    table = pd.DataFrame(rows, columns=["group", "step", "covered", "values"])
    return table.assign(competition="C", model="M", level=80)


def test_groups_together_are_counted_by_values_not_by_groups():
    pooled = pool_groups(make_table())
    together = pooled[pooled["group"] == ALL_GROUPS].set_index("step")
    assert together.loc[1, "coverage"] == pytest.approx(81 / 100)
    assert together.loc[2, "coverage"] == 1 and together.loc[2, "values"] == 2
    assert pooled["group"].tolist() == ["small", "small", "large", "all", "all"]
    alone = make_table()
    alone = pool_groups(alone[alone["group"] == "small"])
    assert ALL_GROUPS not in set(alone["group"])


def test_nothing_judged_has_no_share():
    table = pool_coverage(make_table().assign(covered=0, values=0), ["level"])
    assert table["coverage"].isna().all()


def test_a_summary_tells_near_midway_and_far():
    table = pd.DataFrame({"step": np.arange(1, 7), "covered": [9, 1, 8, 1, 1, 7], "values": 10})
    table = table.assign(competition="C", group="g", model="M", level=80)
    pooled = pool_groups(pd.concat([table, table.assign(group="h"), table.assign(level=50)]))
    expected = {
        "model": "M", "interval": 80, "steps": 6,
        "first step": 0.9, "middle step": 0.8, "last step": 0.7,
    }  # fmt: skip
    assert summarise_coverage(pooled, (80,)).to_dict("records") == [
        {"group": "g"} | expected,
        {"group": "h"} | expected,
    ]


def test_a_single_set_may_have_any_name():
    table = pool_groups(make_table().iloc[:2].assign(group=ALL_GROUPS))
    assert summarise_coverage(table, (80,))["group"].tolist() == [ALL_GROUPS]
