"""Ends of intervals have one name each, whoever writes it and whoever looks for it."""

import numpy as np
import pytest

from explstm import ExpLSTM
from explstm.backtest import Task, run_backtest
from explstm.classical import forecast_classical
from explstm.coverage import count_covered
from explstm.datasets import load_air_passengers
from explstm.diagnostics import measure_coverage
from explstm.ends import interval_levels, name_ends
from explstm.frame import build_panel
from explstm.growth_report import report_growth
from explstm.metrics import evaluate_forecast

LONG = [33.3333333, 100 / 3, 80.0, 99.9999]
H = 6


@pytest.fixture(scope="module")
def panel():
    return build_panel(load_air_passengers())


@pytest.fixture(scope="module")
def judged(panel):
    table = ExpLSTM().cross_validation(panel, h=H, n_windows=1, level=LONG)
    return table.drop(columns="cutoff")


def test_a_level_read_from_a_name_gives_that_name():
    for level in LONG:
        low, high = name_ends("M", level)
        (read,) = interval_levels([low, high, "M"], "M")
        assert name_ends("M", read) == (low, high) and read == pytest.approx(level, abs=1e-12)
    assert name_ends("M", 80.0) == name_ends("M", 80) == ("M-lo-80", "M-hi-80")


def test_levels_are_those_of_the_method_alone():
    columns = ["y", "A", "A-lo-95", "A-hi-95", "A-lo-80", "AB-lo-50", "AB", "A-lo-x", "A-lo-1e-05"]
    assert interval_levels(columns, "A") == [1e-05, 80.0, 95.0]


@pytest.mark.parametrize("level", LONG)
def test_intervals_of_many_digits_are_scored(judged, level):
    low, high = (judged[name].to_numpy() for name in name_ends("ExpLSTM", level))
    y, middle = judged["y"].to_numpy(), judged["ExpLSTM"].to_numpy()
    held = int(((low <= y) & (y <= high)).sum())
    scores, _ = evaluate_forecast(judged, ["ExpLSTM"], level=[level])
    value_of = scores.set_index("metric")["value"]
    (name,) = (name for name in value_of.index if name.startswith("coverage-"))
    assert float(name.removeprefix("coverage-")) == pytest.approx(level, abs=1e-12)
    assert value_of[name] == pytest.approx(held / H)
    losses = [
        np.maximum(q * (y - end), (q - 1) * (y - end)).mean()
        for q, end in ((0.5 - level / 200, low), (0.5, middle), (0.5 + level / 200, high))
    ]
    assert value_of["quantile_loss"] == pytest.approx(np.mean(losses))
    assert sum(one.covered for one in count_covered(judged, "ExpLSTM", [level])) == held


def test_classical_models_name_their_ends_alike(panel):
    table = forecast_classical("AutoTheta", panel, H, 12, LONG)
    assert interval_levels(table.columns, "AutoTheta") == pytest.approx(sorted(LONG), abs=1e-12)
    assert {end for level in LONG for end in name_ends("AutoTheta", level)} <= set(table.columns)


@pytest.mark.slow
def test_a_backtest_and_a_growth_report_know_levels_of_many_digits(panel):
    methods = ("Pretrained", "AutoTheta")
    result = run_backtest(Task(panel, H, 2, H, (12,), level=tuple(LONG[:2])), methods)
    for method in methods:
        covered = measure_coverage(result.forecasts, method)
        assert covered["level"].unique() == pytest.approx(LONG[:2], abs=1e-12)
        scores = result.scores.query("model == @method and metric.str.startswith('coverage-')")
        assert len(scores) == 2 and scores["value"].notna().all()
    forecast = ExpLSTM().predict(panel, h=H, level=[LONG[1]])
    assert len(report_growth(panel, forecast, H, 12, LONG[1]).facts) == 1
