"""The facts of a comparison, against numbers worked out by hand; one comparison end to end."""

import math

import numpy as np
import pandas as pd
import pytest

from explstm.compare import (
    average_by_horizon,
    collect_residuals,
    collect_training,
    compare_engines,
    measure_accuracy,
    measure_agreement,
    measure_cost,
    state_verdict,
)
from explstm.errors import BackendNotInstalledError, DataError
from explstm.frame import build_panel
from explstm.trial import TrialResult


def make_result(engine: str, seed: int, forecast: list[float], shift: float = 0.0) -> TrialResult:
    values = np.array(forecast)
    return TrialResult(
        engine=engine,
        seed=seed,
        forecast=pd.DataFrame(
            {"ExpLSTM": values, "ExpLSTM-lo-80": values - 1, "ExpLSTM-hi-80": values + 1}
        ),
        log=pd.DataFrame(
            {
                "step": [0, 1, 2, 3],
                "learning_rate": 0.1,
                "train_loss": [np.nan, 3.0, 2.0, 1.0],
                "valid_loss": [4.0, np.nan, np.nan, 2.0],
                "seconds": [0.5, 2.0, 2.5, 3.0 + seed],
            }
        ),
        steps_per_epoch=4.0,
        first_outputs_RHQ=np.array([1.0, -4.0 + shift], dtype=np.float32),
        first_gradients={"b": np.array([[2.0 + shift]]), "a": np.array([-8.0])},
        peak_memory_mib=100.0 + seed,
    )


RESULTS = [
    make_result("torch", 1, [2.0, 4.0]),
    make_result("torch", 2, [4.0, 6.0]),
    make_result("tensorflow", 1, [2.0, 5.0], shift=0.5),
    make_result("tensorflow", 2, [4.0, 6.0]),
]


def test_accuracy_is_the_mean_over_seeds_with_their_deviation():
    history = pd.DataFrame({"unique_id": "a", "ds": range(4), "y": [1.0, 3.0, 5.0, 7.0]})
    forecasts = pd.DataFrame(
        {"unique_id": "a", "ds": [4, 5], "y": [2.0, 4.0], "Naive": [7.0, 7.0]}
        | {
            f"{result.engine}/{result.seed}{part.removeprefix('ExpLSTM')}": values.to_numpy()
            for result in RESULTS
            for part, values in result.forecast.items()
        }
    )
    table = measure_accuracy(forecasts, ["Naive"], RESULTS, history, season_length=1)
    row = table.set_index(["model", "metric"]).loc
    # Errors of torch: 0 and 0 with seed 1, 2 and 2 with seed 2; the history moves by 2 a step.
    assert row["torch", "MAE"]["mean"] == 1.0
    assert row["torch", "MAE"]["spread"] == pytest.approx(math.sqrt(2))
    assert row["torch", "MASE"]["mean"] == 0.5
    assert row["torch", "coverage-80"]["mean"] == 0.5
    assert row["tensorflow", "MAE"]["mean"] == pytest.approx((0.5 + 2) / 2)
    assert row["Naive", "MAE"]["mean"] == 4.0
    assert math.isnan(row["Naive", "MAE"]["spread"])
    assert row["torch", "MAE"]["n_seeds"] == 2 and row["Naive", "MAE"]["n_seeds"] == 0


def test_cost_leaves_the_first_step_out_of_the_others():
    cost = measure_cost(RESULTS).set_index("engine").loc["torch"]
    # Steps after the first took 0.5 s each but the last, of 1.5 and 2.5 s; an epoch is 4 steps.
    assert cost["seconds_first_step"] == 2.0
    assert cost["seconds_per_step"] == 1.0
    assert cost["seconds_per_epoch"] == 4.0
    assert cost["seconds_per_training"] == 4.5
    assert cost["steps"] == 3
    assert cost["peak_memory_mib"] == 102.0


def test_agreement_is_the_worst_seed_relative_to_the_largest_value():
    agreement = measure_agreement(RESULTS).set_index("quantity")["largest_difference"]
    assert agreement["outputs before training"] == 0.5 / 4
    assert agreement["gradients before training"] == 0.5 / 8
    assert agreement["forecasts after training"] == 1 / 4


def test_one_engine_has_nobody_to_agree_with():
    assert measure_agreement(RESULTS[:2]).empty


def test_training_logs_lie_below_each_other():
    training = collect_training(RESULTS)
    assert list(training.columns[:3]) == ["engine", "seed", "step"]
    assert len(training) == 16


def test_residuals_and_their_mean_size_by_horizon():
    forecasts = pd.DataFrame(
        {"unique_id": list("aabb"), "ds": [1, 2, 1, 2], "y": [1.0, 2, 3, 4], "m": [2.0, 2, 0, 9]}
    )
    residuals = collect_residuals(forecasts, ["m"])
    assert list(residuals["residual"]) == [-1, 0, 3, -5]
    assert list(residuals["horizon"]) == [1, 2, 1, 2]
    assert average_by_horizon(residuals).to_dict("list") == {
        "model": ["m", "m"],
        "horizon": [1, 2],
        "mae": [2.0, 2.5],
    }


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        (
            {"torch": 0.5, "tensorflow": 0.6, "Naive": 1.0, "Drift": 2.0},
            "the LSTM in torch (0.5) and tensorflow (0.6) beat every other forecast: "
            "Naive (1) and Drift (2).",
        ),
        (
            {"torch": 3.0, "tensorflow": 3.0, "Naive": 1.0, "Drift": 2.0},
            "the LSTM in torch (3) and tensorflow (3) lost to every other forecast: "
            "Naive (1) and Drift (2).",
        ),
        (
            {"torch": 0.5, "tensorflow": 1.5, "Naive": 1.0, "Drift": 2.0},
            "the LSTM in torch (0.5) beat every other forecast: Naive (1) and Drift (2); "
            "the LSTM in tensorflow (1.5) beat Drift (2) but lost to Naive (1).",
        ),
    ],
)
def test_the_verdict_says_who_won_and_who_lost(scores, sentence):
    accuracy = pd.DataFrame(
        [(model, "MASE", value) for model, value in scores.items()],
        columns=["model", "metric", "mean"],
    )
    verdict = state_verdict(accuracy, ["torch", "tensorflow"], horizon=6)
    assert verdict == f"By mean MASE over the 6 held-out steps, {sentence}"


def test_the_verdict_falls_back_where_mase_is_undefined():
    accuracy = pd.DataFrame(
        [
            ("torch", "MASE", np.nan),
            ("Naive", "MASE", np.nan),
            ("torch", "MAE", 1.0),
            ("Naive", "MAE", 2.0),
        ],
        columns=["model", "metric", "mean"],
    )
    assert "By mean MAE over" in state_verdict(accuracy, ["torch"], horizon=6)


@pytest.fixture(scope="module")
def doubling():
    """A series that doubles every 12 steps, and one that grows half as fast."""
    step = np.arange(40)
    return build_panel(
        pd.concat(
            [
                pd.DataFrame({"unique_id": name, "ds": step, "y": 100 * 2 ** (step / period)})
                for name, period in (("fast", 12), ("slow", 24))
            ]
        )
    )


def test_both_frameworks_are_compared_end_to_end(doubling):
    result = compare_engines(
        doubling, 4, seeds=[1], season_length=1, settings={"max_steps": 3, "season_length": 1}
    )
    assert set(result.accuracy["model"]) == {
        "torch", "tensorflow", "Pretrained", "Naive", "SeasonalNaive", "Drift", "LogDrift",
    }  # fmt: skip
    # The baselines see the first 36 steps only: log drift continues constant growth exactly.
    np.testing.assert_allclose(result.forecasts["LogDrift"], result.forecasts["y"], rtol=1e-12)
    assert result.history["ds"].max() == 35
    assert list(result.forecasts["ds"]) == [36, 37, 38, 39] * 2
    worst = result.agreement.set_index("quantity")["largest_difference"]
    assert worst["outputs before training"] < 1e-5
    assert worst["gradients before training"] < 1e-5
    assert worst["forecasts after training"] < 1e-4
    assert list(result.cost["engine"]) == ["torch", "tensorflow"]
    assert list(result.training["step"]) == [1, 2, 3] * 2
    won, lost = result.verdict.split("but lost to")
    assert "Naive" in won and "LogDrift" in lost


def test_a_horizon_that_leaves_no_history_is_refused_before_training(doubling):
    with pytest.raises(DataError, match="fast"):
        compare_engines(doubling, 40, seeds=[1], season_length=1, settings={})


def test_a_missing_framework_is_refused_before_training(doubling, monkeypatch):
    monkeypatch.setattr("explstm.trial.find_spec", lambda module: None)
    with pytest.raises(BackendNotInstalledError, match="pip install"):
        compare_engines(doubling, 4, seeds=[1], season_length=1, settings={})
