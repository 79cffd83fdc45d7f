"""Backtests: every method from the same pasts, and scores that can be worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from explstm import ExpLSTM, UsageError
from explstm.backtest import (
    AUTO,
    MEDIAN,
    NAIVE,
    PRETRAINED,
    Task,
    check_methods,
    measure_scales,
    run_backtest,
    score_by_horizon,
)
from explstm.frame import build_panel
from explstm.models.spec import ModelSpec
from explstm.windows import cut_windows
from panels import grow, make_panel

H, WINDOWS, STEP = 2, 3, 2
QUICK = {"max_steps": 2, "batch_size": 2, "spec": ModelSpec(hidden_sizes=(4,))}


def make_task(panel, **options):
    return Task(
        panel, **{"h": H, "n_windows": WINDOWS, "step_size": STEP, "season_length": (1,), **options}
    )


@pytest.fixture(scope="module")
def panel():
    rng = np.random.default_rng(8)
    return make_panel(grow(rng, 30), grow(rng, 24))


@pytest.fixture(scope="module")
def plain(panel):
    """The pretrained model beside the naive forecasts."""
    return run_backtest(make_task(panel), [PRETRAINED])


def test_the_naive_forecasts_are_those_of_each_past(plain, panel):
    table = plain.forecasts
    y = {"s0": panel.y_S[:30], "s1": panel.y_S[30:]}
    for (name, cutoff), rows in table.groupby(["unique_id", "cutoff"]):
        past = y[name][: cutoff + 1]
        assert (rows["Naive"] == past[-1]).all()
        slope = (past[-1] - past[0]) / (len(past) - 1)
        np.testing.assert_allclose(rows["Drift"], past[-1] + slope * np.array([1, 2]))


def test_the_pretrained_model_forecasts_as_it_does_alone(plain, panel):
    alone = ExpLSTM().cross_validation(panel, H, WINDOWS, STEP, level=[80, 95])
    for end in ("", "-lo-80", "-hi-80", "-lo-95", "-hi-95"):
        np.testing.assert_array_equal(plain.forecasts[PRETRAINED + end], alone["ExpLSTM" + end])


def test_scores_are_means_over_series_and_cutoffs(plain):
    table, scales = plain.forecasts, plain.scales
    error = (table["y"] - table["Naive"]).abs()
    by_group = error.groupby([table["unique_id"], table["cutoff"]]).mean()
    scale = scales.set_index(["unique_id", "cutoff"])["scale"]
    expected = {"MAE": by_group.mean(), "MASE": (by_group / scale).mean()}
    scores = plain.scores.set_index(["model", "metric"])["value"]
    for metric, value in expected.items():
        assert scores["Naive", metric] == pytest.approx(value, rel=1e-12)
    assert plain.scores["n_series"].max() == 2 * WINDOWS


def test_errors_by_step_are_means_over_series_and_cutoffs(plain):
    table = plain.forecasts.merge(plain.scales)
    step = table.groupby(["unique_id", "cutoff"]).cumcount() + 1
    error = (table["y"] - table["Drift"]).abs()
    by_step = plain.by_horizon.set_index(["model", "metric", "step"])["value"]
    for one in (1, 2):
        here = step == one
        assert by_step["Drift", "MAE", one] == pytest.approx(error[here].mean(), rel=1e-12)
        scaled = (error / table["scale"])[here].mean()
        assert by_step["Drift", "MASE", one] == pytest.approx(scaled, rel=1e-12)
        inside = table["y"].between(table[f"{PRETRAINED}-lo-80"], table[f"{PRETRAINED}-hi-80"])
        assert by_step[PRETRAINED, "coverage-80", one] == pytest.approx(inside[here].mean())
    assert not {"R2", "growth_error"} & set(plain.by_horizon["metric"])


def test_scales_are_the_mean_change_before_each_cutoff():
    panel = make_panel([1.0, 2.0, 4.0, 7.0, 11.0], [3.0] * 5)
    scales = measure_scales(cut_windows(panel, 1, 2, 1), 1)
    first = scales[scales["unique_id"] == "s0"]
    assert list(first["cutoff"]) == [2, 3]
    np.testing.assert_allclose(first["scale"], [1.5, 2.0])
    assert scales.loc[scales["unique_id"] == "s1", "scale"].isna().all()


def test_a_series_without_a_scale_leaves_the_scaled_errors_of_the_others():
    panel = make_panel([1.0, 2.0, 4.0, 7.0], [3.0] * 4)
    pasts = cut_windows(panel, 1, 1, 1)
    table = run_backtest(make_task(panel, n_windows=1, h=1), []).forecasts
    by_step = score_by_horizon(table, ["Naive"], measure_scales(pasts, 1)).set_index("metric")
    assert by_step.loc["MASE", "value"] == pytest.approx((7 - 4) / 1.5)
    assert by_step.loc["MAE", "value"] == pytest.approx((3 + 0) / 2)


def test_the_future_changes_no_forecast_made_before_it(panel):
    """Of the naive forecasts and the pretrained model; the audit covers the trained ones."""
    task = make_task(panel)
    before = run_backtest(task, [PRETRAINED]).forecasts
    altered = panel.y_S.copy()
    altered[[28, 29, 52, 53]] *= 7  # the last window of both series
    after = run_backtest(make_task(type(panel)(**{**vars(panel), "y_S": altered})), [PRETRAINED])
    numbers = before.columns[4:]
    pd.testing.assert_frame_equal(before[numbers], after.forecasts[numbers])


@pytest.mark.slow
def test_the_classical_models_and_their_median_take_part():
    rng = np.random.default_rng(4)
    dates = pd.date_range("2018-01-01", periods=30, freq="MS")
    # Sorted as text, 10 comes before 9; as numbers after it.
    rows = [pd.DataFrame({"unique_id": i, "ds": dates, "y": grow(rng, 30)}) for i in (9, 10)]
    panel = build_panel(pd.concat(rows))
    result = run_backtest(make_task(panel, n_windows=1), AUTO)
    table = result.forecasts
    np.testing.assert_array_equal(table[MEDIAN], table[list(AUTO)].median(axis=1))
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS

    past = rows[0].iloc[:-2]
    alone = StatsForecast([AutoETS(season_length=1)], freq="MS").forecast(df=past, h=2, level=[80])
    mine = table[table["unique_id"] == 9]
    np.testing.assert_allclose(mine["AutoETS"], alone["AutoETS"], rtol=1e-9)
    np.testing.assert_allclose(mine["AutoETS-lo-80"], alone["AutoETS-lo-80"], rtol=1e-9)
    assert result.methods == (*AUTO, MEDIAN, *NAIVE)


def test_settings_of_a_training_leave_the_pretrained_model_as_it_is(plain, panel):
    shorter = run_backtest(make_task(panel, settings={**QUICK, "window": 6}), [PRETRAINED])
    np.testing.assert_array_equal(shorter.forecasts[PRETRAINED], plain.forecasts[PRETRAINED])
    linear = run_backtest(make_task(panel, settings={"growth": "difference"}), [PRETRAINED])
    assert (linear.forecasts[PRETRAINED] != plain.forecasts[PRETRAINED]).all()


@pytest.mark.slow
def test_the_lstm_is_trained_in_both_frameworks_on_what_comes_before_the_windows(panel):
    done = []
    methods = ["FineTuned/torch", "Scratch/TensorFlow"]
    task = make_task(panel, settings=QUICK, level=(80,))
    result = run_backtest(task, methods, done.append)
    assert done == ["FineTuned/torch", "Scratch/tensorflow", "naive"]
    assert result.methods == ("FineTuned/torch", "Scratch/tensorflow", *NAIVE)
    training = {key: value for key, value in QUICK.items() if key != "spec"}
    alone = ExpLSTM(backend="torch", random_seed=1, season_length=[1], **training)
    table = alone.cross_validation(panel, H, WINDOWS, STEP, level=[80])
    np.testing.assert_allclose(
        result.forecasts["FineTuned/torch-hi-80"], table["ExpLSTM-hi-80"], rtol=1e-5
    )


def test_what_cannot_be_backtested_is_refused_before_anything_is_forecast(panel):
    table = pd.DataFrame({"shop": "a", "ds": range(20), "y": range(20)})
    for other in (table, build_panel(table, id_col="shop")):
        with pytest.raises(UsageError, match="columns unique_id, ds and y"):
            run_backtest(make_task(other), [PRETRAINED])
    for seasons in ((), 12):
        with pytest.raises(UsageError, match="season_length="):
            run_backtest(make_task(panel, season_length=seasons), [PRETRAINED])


def test_methods_are_known_by_their_names_in_any_case():
    assert check_methods(["scratch/TORCH", "Pretrained", "pretrained"]) == (
        "Pretrained",
        "Scratch/torch",
    )
    with pytest.raises(UsageError, match="autoets"):
        check_methods(["auto-ets"])
