"""Verdicts on tables whose losses are known, on random walks, and on series that grow."""

import json
import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from explstm import ExpLSTM
from explstm.backtest import PRETRAINED, measure_scales
from explstm.baselines import naive_forecasts
from explstm.datasets import load_air_passengers, make_growth_series
from explstm.errors import UsageError
from explstm.frame import build_panel, forecast_frame
from explstm.significance import bootstrap_series, diebold_mariano
from explstm.verdict import judge, judge_all
from explstm.windows import cut_windows, forecast_windows, window_frame

H = 2


def make_table(step_size=H, **loss_NW):
    """A table in which every method has just these losses, and the scales, which are 2."""
    shape = np.shape(next(iter(loss_NW.values())))
    series, window, step = (axis.ravel() for axis in np.indices((*shape, H)))
    cutoff = 100 + step_size * window
    table = pd.DataFrame(
        {"unique_id": [f"s{i:03}" for i in series], "ds": cutoff + 1 + step, "cutoff": cutoff}
    )
    table["y"] = 50.0
    for name, values in loss_NW.items():
        table[name] = 50 + 2 * np.repeat(np.asarray(values, dtype=float).ravel(), H)
    scales = table[["unique_id", "cutoff"]].drop_duplicates().assign(scale=2.0)
    return table, scales


def judge_losses(step_size=H, **loss_NW):
    table, scales = make_table(step_size, **loss_NW)
    return judge(table, "Model", scales, h=H, step_size=step_size)


# ------------------------------------------------------------------------------------ the outcomes


def test_a_better_method_beats_the_best_naive_forecast():
    naive = [[1.0, 1.2, 0.8, 1.0]]
    verdict = judge_losses(
        Model=[[0.5, 0.7, 0.4, 0.4]],
        Naive=[[2, 2, 2, 2]],
        SeasonalNaive=naive,
        Drift=[[3, 3, 3, 3]],
    )
    difference_W = [-0.5, -0.5, -0.4, -0.6]
    assert (verdict.outcome, verdict.naive) == ("beats", "SeasonalNaive")
    assert (verdict.loss, verdict.naive_loss) == (pytest.approx(0.5), pytest.approx(1.0))
    assert verdict.skill == pytest.approx(0.5)
    assert verdict.p_value == pytest.approx(stats.ttest_1samp(difference_W, 0).pvalue, abs=1e-9)
    assert verdict.sentence == (
        "Model beats the best naive forecast (SeasonalNaive: the value of one season ago): its "
        "mean absolute scaled error is 50 % lower over 4 windows of 2 steps (p = 0.001)."
    )


def test_a_worse_method_loses():
    verdict = judge_losses(Model=[[1.5, 1.6, 1.4, 1.5]], Naive=[[1.0, 1.0, 1.0, 1.0]])
    assert verdict.outcome == "loses" and verdict.skill == pytest.approx(-0.5)
    assert verdict.sentence == (
        "Model loses to the best naive forecast (Naive: the last value): its mean absolute scaled "
        "error is 50 % higher over 4 windows of 2 steps (p = 0.001). Naive is better: do not use "
        "this model here."
    )


def test_a_method_that_is_out_of_all_measure_is_many_times_worse():
    verdict = judge_losses(Model=[[1.5e12, 1.6e12, 1.4e12, 1.5e12]], Naive=[[1.0, 1.0, 1.0, 1.0]])
    assert "error is many times higher over 4 windows" in verdict.sentence


def test_a_method_that_cannot_be_told_apart_is_not_to_be_used():
    verdict = judge_losses(Model=[[1.5, 0.5, 1.25, 0.83]], Naive=[[1.0, 1.0, 1.0, 1.0]])
    assert verdict.outcome == "level"
    p_value = stats.ttest_1samp([0.5, -0.5, 0.25, -0.17], 0).pvalue
    assert verdict.sentence == (
        "Model cannot be told apart from the best naive forecast (Naive: the last value): its mean "
        f"absolute scaled error is 2 % higher over 4 windows of 2 steps (p = {p_value:.3f}). The "
        "last value is as good: do not use this model here."
    )


def test_a_promising_method_is_told_apart_from_one_that_is_not():
    verdict = judge_losses(Model=[[0.9, 0.1, 1.1, 0.1]], LogDrift=[[1.0, 1.0, 1.0, 1.0]])
    assert verdict.outcome == "level" and verdict.skill > 0.4
    assert verdict.sentence.endswith(
        "As far as 4 windows can tell, constant growth is as good: do not use this model here "
        "unless more tell more."
    )


@pytest.mark.parametrize("windows", [1, 2])
def test_too_few_windows_of_too_few_series_are_not_tested(windows):
    verdict = judge_losses(Model=np.full((1, windows), 0.5), Naive=np.full((1, windows), 1.0))
    assert verdict.outcome == "untestable" and math.isnan(verdict.p_value)
    assert verdict.skill == pytest.approx(0.5)
    assert verdict.sentence == (
        "Model cannot be tested against the best naive forecast (Naive: the last value): its mean "
        f"absolute scaled error is 50 % lower over {windows} window{'s' * (windows > 1)} of 2 "
        "steps, which can be luck. A test needs 3 windows, or 10 series."
    )


def test_the_same_forecasts_are_level():
    verdict = judge_losses(Model=[[1.0, 2.0, 0.5]], Naive=[[1.0, 2.0, 0.5]])
    assert (verdict.outcome, verdict.p_value, verdict.skill) == ("level", 1, 0)
    assert "error is the same over 3 windows" in verdict.sentence


def test_a_naive_forecast_without_error_is_never_beaten():
    zeros = np.zeros((1, 3))
    level = judge_losses(Model=zeros, Naive=zeros)
    assert (level.outcome, level.skill) == ("level", 0)
    loses = judge_losses(Model=[[0.2, 0.3, 0.25]], Naive=zeros)
    assert loses.outcome == "loses" and math.isnan(loses.skill)
    assert "error is 0.25 where that makes no error" in loses.sentence


# --------------------------------------------------------------------------- windows and series


def test_with_ten_series_the_larger_p_counts(rng):
    naive_NW = np.ones((12, 5))
    model_NW = naive_NW - 0.3 + rng.normal(0, 0.4, (12, 5)) + rng.normal(0, 0.1, (1, 5))
    model_NW = np.abs(model_NW)
    verdict = judge_losses(Model=model_NW, Naive=naive_NW)
    by_window = diebold_mariano((model_NW - naive_NW).mean(axis=0), h=2, step_size=2)
    by_series = bootstrap_series((model_NW - naive_NW).mean(axis=1))
    assert verdict.over_windows.statistic == pytest.approx(by_window.statistic)
    assert verdict.over_series.p_value == pytest.approx(by_series.p_value)
    assert verdict.p_value == pytest.approx(max(by_window.p_value, by_series.p_value))
    assert (verdict.n_series, verdict.n_windows, verdict.n_groups) == (12, 5, 60)
    assert "over 5 windows of 2 steps in 12 series" in verdict.sentence


def test_one_shock_to_all_series_is_no_evidence():
    """Every series gained in one window and nothing in the others."""
    gain_NW = np.zeros((20, 5))
    gain_NW[:, 2] = 0.5 + 0.01 * np.arange(20)
    verdict = judge_losses(Model=1 - gain_NW, Naive=np.ones((20, 5)))
    assert verdict.over_series.p_value < 0.001
    assert verdict.over_windows.p_value > 0.3
    assert verdict.outcome == "level"


def test_one_series_that_gains_in_every_window_is_no_evidence_for_the_panel():
    gain_NW = np.zeros((20, 5))
    gain_NW[4] = [0.5, 0.6, 0.5, 0.7, 0.5]
    verdict = judge_losses(Model=1 - gain_NW, Naive=np.ones((20, 5)))
    assert verdict.over_windows.p_value < 0.001
    assert verdict.over_series.p_value > 0.3
    assert verdict.outcome == "level"


def test_one_window_of_many_series_is_judged_with_a_caution(rng):
    verdict = judge_losses(Model=rng.uniform(0.4, 0.6, (15, 1)), Naive=np.ones((15, 1)))
    assert verdict.outcome == "beats" and math.isnan(verdict.over_windows.p_value)
    assert verdict.sentence.endswith(
        "Only the series could be tested, not the windows: what moved all series at once may have "
        "made the difference; 3 windows or more would tell."
    )


def test_tests_that_point_different_ways_are_no_evidence(rng):
    """One series is better in 13 windows; all others are worse in the last, their only one."""
    model_NW = 1 + rng.uniform(0.25, 0.35, (30, 13))
    model_NW[0] = 0.5 + rng.uniform(-0.05, 0.05, 13)
    table, scales = make_table(Model=model_NW, Naive=np.ones((30, 13)))
    latest = table["cutoff"] == table.groupby("unique_id")["cutoff"].transform("max")
    kept = table[latest | (table["unique_id"] == "s000")]
    verdict = judge(kept, "Model", scales, h=H, step_size=H)
    assert verdict.over_windows.p_value < 0.001 and verdict.over_windows.mean < 0
    assert verdict.over_series.p_value < 0.001 and verdict.over_series.mean > 0
    assert (verdict.outcome, verdict.p_value) == ("level", 1)


def test_overlapping_windows_have_to_convince_apart_too():
    """Windows of 2 steps, one apart: every other window overlaps with none."""
    model_W = np.array([0.5, 0.9, 0.5, 1.3, 0.4, 0.2, 0.6, 1.2, 0.6])
    verdict = judge_losses(step_size=1, Model=[model_W], Naive=np.ones((1, 9)))
    apart = diebold_mariano(model_W[::2] - 1, h=2, step_size=2)
    assert verdict.over_windows.lags == 1
    assert verdict.over_windows_apart.n == 5 and verdict.over_windows_apart.lags == 0
    assert verdict.over_windows_apart.p_value == pytest.approx(apart.p_value)
    assert verdict.p_value == max(verdict.over_windows.p_value, apart.p_value)
    few = judge_losses(step_size=1, Model=[model_W[:4]], Naive=np.ones((1, 4)))
    assert few.outcome == "untestable"
    assert few.sentence.endswith("A test needs 3 windows that do not overlap, or 10 series.")


def test_the_latest_windows_belong_together_and_come_last():
    """Two series, the second with fewer windows; those apart are counted back from the last."""
    table, scales = make_table(
        step_size=1, Model=[[9, 0.8, 9, 0.7, 9, 0.6], [9, 9, 9, 0.5, 9, 0.4]], Naive=np.ones((2, 6))
    )
    short = (table["unique_id"] == "s001") & (table["cutoff"] < 100 + 3)
    verdict = judge(table[~short], "Model", scales, h=H, step_size=1)
    expected = diebold_mariano([-0.2, (-0.3 - 0.5) / 2, (-0.4 - 0.6) / 2], h=1, step_size=1)
    assert verdict.over_windows_apart.statistic == pytest.approx(expected.statistic)


def test_series_that_end_at_different_dates_share_the_shocks_of_their_dates():
    """Equal forecasts and shocks that all series of one time share: no more evidence than dates."""
    told = {0: 0, 1: 0}
    for ragged in told:
        for seed in range(60):
            rng = np.random.default_rng(seed)
            shock = rng.normal(0, 1, 12)
            first = [ragged * (i % 4) for i in range(16)]
            loss_NW = [10 + shock[b : b + 8] + rng.normal(0, 0.3, 8) for b in first]
            table, scales = make_table(Model=loss_NW, Naive=np.full((16, 8), 10.0))
            moved = table["unique_id"].map({f"s{i:03}": H * b for i, b in enumerate(first)})
            for frame in (table, scales):
                later = frame["unique_id"].map({f"s{i:03}": H * b for i, b in enumerate(first)})
                frame["cutoff"] += later
            table["ds"] += moved
            outcome = judge(table, "Model", scales, h=H, step_size=H).outcome
            told[ragged] += outcome != "level"
    assert max(told.values()) <= 6  # 36 % where windows are counted from the end of each series


# ---------------------------------------------------------------------------------- left out


def test_what_cannot_be_scored_is_left_out_for_both_and_counted():
    table, scales = make_table(Model=np.full((3, 4), 0.5), Naive=np.ones((3, 4)))
    table.loc[(table["unique_id"] == "s000") & (table["cutoff"] == 100), "Naive"] = 1e9
    scales.loc[(scales["unique_id"] == "s000") & (scales["cutoff"] == 100), "scale"] = 0
    table.loc[(table["unique_id"] == "s002"), "Model"] = math.nan
    table.loc[(table["unique_id"] == "s002"), "Naive"] = 1e9
    verdict = judge(table, "Model", scales, h=H, step_size=H)
    assert (verdict.n_groups, verdict.n_left_out, verdict.n_series) == (7, 5, 2)
    assert (verdict.loss, verdict.naive_loss) == (pytest.approx(0.5), pytest.approx(1))
    assert "5 forecasts of a series could not be scored and are left out" in verdict.sentence


def test_a_group_without_a_naive_forecast_is_left_out_for_the_method_too():
    table, scales = make_table(Model=[[0.5, 0.5, 0.5, 9]], Naive=np.ones((1, 4)), Drift=[[2] * 4])
    table.loc[table.index[-1], "Drift"] = math.nan
    verdict = judge(table, "Model", scales, h=H, step_size=H)
    assert (verdict.loss, verdict.n_windows, verdict.n_left_out) == (pytest.approx(0.5), 3, 1)


def test_nothing_to_score_is_said():
    table, scales = make_table(Model=np.full((2, 4), 0.5), Naive=np.ones((2, 4)))
    verdict = judge(table, "Model", scales.assign(scale=0.0), h=H, step_size=H)
    assert (verdict.outcome, verdict.naive, verdict.n_groups) == ("untestable", "", 0)
    assert math.isnan(verdict.loss) and math.isnan(verdict.skill)
    assert verdict.sentence.startswith("Model cannot be judged: no forecast can be scored")


def test_a_verdict_is_json():
    table, scales = make_table(Model=np.full((12, 4), 0.5), Naive=np.ones((12, 4)))
    judgement = judge_all(table, scales, h=H, step_size=H)
    assert json.loads(json.dumps(asdict(judgement)))["verdicts"][0]["outcome"] == "beats"


# ------------------------------------------------------------------------------------ all methods


def advise(**loss_NW):
    table, scales = make_table(**loss_NW)
    return judge_all(table, scales, h=H, step_size=H)


NAIVE_NW = np.ones((1, 5))
GOOD = [[0.5, 0.6, 0.55, 0.5, 0.45]]
BETTER = [[0.3, 0.31, 0.3, 0.29, 0.3]]
BARELY = [[0.6, 0.9, 0.5, 0.8, 0.85]]  # p = 0.025 alone
BAD = [[1.5, 1.6, 1.4, 1.5, 1.5]]


def test_the_best_of_those_that_beat_the_naive_forecast_is_advised():
    judgement = advise(Good=GOOD, Better=BETTER, Bad=BAD, Naive=NAIVE_NW, Drift=2 * NAIVE_NW)
    assert [one.method for one in judgement.verdicts] == ["Good", "Better", "Bad"]
    assert [one.outcome for one in judgement.verdicts] == ["beats", "beats", "loses"]
    assert judgement.use == "Better"
    assert judgement.sentence == (
        "Use Better: its mean absolute scaled error is 70 % lower than that of the best naive "
        "forecast, the last value (p < 0.001, counting that 3 methods were tried)."
    )


def test_the_naive_forecast_is_advised_where_nothing_beats_it():
    judgement = advise(Bad=BAD, Naive=2 * NAIVE_NW, Drift=NAIVE_NW)
    assert judgement.use == "Drift"
    assert judgement.sentence == (
        "Use the straight line through first and last value (Drift): no method beats it."
    )


def test_that_many_methods_were_tried_is_counted():
    alone = advise(Barely=BARELY, Naive=NAIVE_NW)
    assert (alone.use, alone.verdicts[0].outcome) == ("Barely", "beats")
    many = advise(Barely=BARELY, Bad=BAD, Worse=2 * np.array(BAD), Naive=NAIVE_NW)
    assert many.verdicts[0] == alone.verdicts[0]
    assert many.use == "Barely"  # the two others lose for sure, and step down
    level = [[1.5, 0.5, 1.25, 0.83, 1.0]]
    many = advise(Barely=BARELY, One=level, Other=level, Naive=NAIVE_NW)
    assert many.use == "Naive"
    assert many.sentence == (
        "Use the last value (Naive): Barely beats it taken alone, but not once it is counted that "
        "3 methods were tried."
    )


def test_advice_where_nothing_can_be_tested_or_scored():
    judgement = advise(Model=[[0.5]], Naive=[[1.0]])
    assert judgement.use == "Naive"
    assert judgement.sentence == (
        "Use the last value (Naive) until there is more to judge by: nothing can be tested."
    )
    table, scales = make_table(Model=[[0.5]], Naive=[[1.0]])
    nothing = judge_all(table, scales.assign(scale=math.nan), h=H, step_size=H)
    assert (nothing.use, nothing.verdicts[0].outcome) == ("", "untestable")
    assert "no forecast can be scored" in nothing.sentence


def test_intervals_are_no_methods():
    table, scales = make_table(Model=GOOD, Naive=NAIVE_NW)
    table["Model-lo-80"], table["Model-hi-80"] = 0.0, 1.0
    judgement = judge_all(table, scales, h=H, step_size=H)
    assert [one.method for one in judgement.verdicts] == ["Model"]
    with pytest.raises(UsageError, match="no column of a method"):
        judge_all(table[["unique_id", "ds", "cutoff", "y", "Naive"]], scales, h=H, step_size=H)


# ------------------------------------------------------------------------- the pretrained model


def backtest(panel, h, n_windows, season_length=1):
    model = ExpLSTM(alias=PRETRAINED, season_length=season_length)
    pasts = cut_windows(panel, h, n_windows, h)
    columns = forecast_windows(pasts, h, lambda past: model.predict(past, h=h))
    columns |= forecast_windows(
        pasts, h, lambda past: forecast_frame(past, h, naive_forecasts(past, h, season_length))
    )
    return window_frame(panel, pasts, h, columns), measure_scales(pasts, season_length)


@pytest.mark.slow
@pytest.mark.parametrize("geometric", [False, True])
def test_a_random_walk_is_called_predictable_in_at_most_7_per_cent(geometric):
    rng = np.random.default_rng(11)
    walks = [np.cumsum(rng.normal(size=n)) for n in rng.integers(84, 200, 200)]
    series = [100 * np.exp(0.05 * walk) if geometric else 100 + walk for walk in walks]
    lengths = [len(values) for values in series]
    panel = build_panel(
        pd.DataFrame(
            {
                "unique_id": np.repeat([f"s{i:03}" for i in range(200)], lengths),
                "ds": np.concatenate([np.arange(length) for length in lengths]),
                "y": np.concatenate(series),
            }
        )
    )
    table, scales = backtest(panel, 6, 8)
    by_series = dict(iter(scales.groupby("unique_id")))
    outcomes = [
        judge(rows, PRETRAINED, by_series[name], h=6, step_size=6).outcome
        for name, rows in table.groupby("unique_id")
    ]
    assert len(outcomes) == 200
    assert outcomes.count("beats") <= 14


def test_exponential_growth_and_air_passengers_are_called_predictable():
    growth, _ = make_growth_series("exponential", 20, 120, noise=0.05, seed=0)
    table, scales = backtest(build_panel(growth), 6, 8)
    verdict = judge(table, PRETRAINED, scales, h=6, step_size=6)
    assert (verdict.outcome, verdict.naive) == ("beats", "LogDrift")
    table, scales = backtest(build_panel(load_air_passengers()), 12, 8, season_length=12)
    verdict = judge(table, PRETRAINED, scales, h=12, step_size=12)
    assert (verdict.outcome, verdict.naive) == ("beats", "SeasonalNaive")
    assert verdict.skill > 0.4
