"""Metrics against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

from explstm.errors import DataError, UsageError
from explstm.metrics import evaluate_forecast


def frame_of(series: dict[str, tuple[list[float], list[float]]]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"unique_id": name, "ds": range(len(y)), "y": y, "f": f})
        for name, (y, f) in series.items()
    )


def value_of(table: pd.DataFrame, metric: str, series: str | None = None) -> float:
    chosen = table["metric"] == metric
    if series is not None:
        chosen &= table["unique_id"] == series
    (value,) = table.loc[chosen, "value"]
    return value


def reason_of(table: pd.DataFrame, metric: str) -> str:
    (reason,) = table.loc[table["metric"] == metric, "reason"]
    return reason


def test_point_metrics_by_hand():
    per_series, overall = evaluate_forecast(
        frame_of({"a": ([1.0, 2.0, 4.0], [2.0, 2.0, 2.0])}), ["f"]
    )
    expected = {
        "MAE": (1 + 0 + 2) / 3,
        "RMSE": math.sqrt((1 + 0 + 4) / 3),
        # The mean of y is 7/3, and the squares around it are 16/9, 1/9 and 25/9.
        "R2": 1 - 5 / (42 / 9),
        "MAPE": 100 * (1 / 1 + 0 + 2 / 4) / 3,
        "sMAPE": 200 * (1 / 3 + 0 + 2 / 6) / 3,
        "RMSLE": math.sqrt((math.log(2 / 3) ** 2 + 0 + math.log(5 / 3) ** 2) / 3),
        # From any level, y grew by log 4 - log 2 more than the forecast, over three steps.
        "growth_error": 100 * math.log(2) / 3,
    }
    for metric, value in expected.items():
        assert value_of(per_series, metric) == pytest.approx(value, rel=1e-12), metric
        assert value_of(overall, metric) == pytest.approx(value, rel=1e-12), metric


def test_the_growth_error_is_that_of_the_latest_date_wherever_its_row_stands():
    frame = frame_of({"a": ([10.0, 20.0], [10.0, 10.0])}).iloc[::-1]
    per_series, _ = evaluate_forecast(frame, ["f"])
    assert value_of(per_series, "growth_error") == pytest.approx(50 * math.log(2), rel=1e-12)


def test_smape_has_the_range_of_the_m3_competition():
    frame = frame_of({"wrong": ([1.0, 1.0], [-1.0, 0.0]), "right": ([0.0, 3.0], [0.0, 3.0])})
    per_series, overall = evaluate_forecast(frame, ["f"])
    assert value_of(per_series, "sMAPE", "wrong") == 200
    assert value_of(per_series, "sMAPE", "right") == 0
    assert value_of(overall, "sMAPE") == 100


def test_mase_scales_by_the_seasonal_naive_error_of_the_training_series():
    frame = frame_of({"a": ([10.0, 12.0], [11.0, 15.0])})
    # Unsorted on purpose; by date 1, 2, 4, 6: steps of two differ by 3 and 4.
    train = pd.DataFrame({"unique_id": "a", "ds": [3, 0, 2, 1], "y": [6.0, 1.0, 4.0, 2.0]})
    per_series, _ = evaluate_forecast(frame, ["f"], train=train, season_length=2)
    assert value_of(per_series, "MASE") == pytest.approx(2 / 3.5, rel=1e-12)


def test_mase_uses_only_what_came_before_each_cutoff():
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": [3, 4], "cutoff": [2, 3], "y": [5.0, 9.0], "f": [6.0, 9.5]}
    )
    train = pd.DataFrame({"unique_id": "a", "ds": [0, 1, 2, 3], "y": [1.0, 2.0, 4.0, 5.0]})
    per_series, overall = evaluate_forecast(frame, ["f"], train=train)
    mase = per_series[per_series["metric"] == "MASE"].set_index("cutoff")["value"]
    assert mase[2] == pytest.approx(1 / 1.5)  # steps of 1 and 2
    assert mase[3] == pytest.approx(0.5 / (4 / 3))  # steps of 1, 2 and 1
    assert overall.set_index("metric").loc["MASE", "n_series"] == 2


def test_quantile_loss_and_coverage_by_hand():
    frame = frame_of({"a": ([10.0, 20.0], [12.0, 18.0])}).assign(
        **{"f-lo-80": [8.0, 21.0], "f-hi-80": [10.0, 25.0]}
    )
    per_series, _ = evaluate_forecast(frame, ["f"], level=[80])
    # 10 lies on the upper end, which belongs to the interval; 20 lies below the lower one.
    assert value_of(per_series, "coverage-80") == 0.5
    median = (0.5 * 2 + 0.5 * 2) / 2
    lower = (0.1 * 2 + 0.9 * 1) / 2
    upper = (0.9 * 0 + 0.1 * 5) / 2
    expected = (median + lower + upper) / 3
    assert value_of(per_series, "quantile_loss") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "y", "f", "reason"),
    [
        ("MAPE", [0.0, 2.0, 0.0], [1.0, 1.0, 1.0], "y is 0 at 2 of its steps"),
        ("RMSLE", [-1.0, 2.0], [1.0, 1.0], "y is negative at some step"),
        ("RMSLE", [1.0, 2.0], [1.0, -0.5], "the forecast is negative at some step"),
        ("growth_error", [-1.0, 0.0], [1.0, 1.0], "the last y is not positive"),
        ("growth_error", [0.0, 2.0], [1.0, 0.0], "the last forecast is not positive"),
        ("R2", [3.0, 3.0], [3.0, 2.0], "y is constant"),
        ("R2", [3.0], [2.0], "a single value"),
        ("MASE", [1.0, 2.0], [1.0, 1.0], "no training data given"),
        ("MAE", [1.0, math.nan], [1.0, 1.0], "y is missing or not finite"),
        ("MAE", [1.0, 2.0], [1.0, math.nan], "the forecast is missing or not finite"),
        ("RMSE", [1.0, 1e200], [1.0, 1.0], "the value is too large to compute"),
    ],
)
def test_an_undefined_metric_is_nan_with_a_reason(metric, y, f, reason):
    per_series, overall = evaluate_forecast(frame_of({"a": (y, f)}), ["f"])
    assert math.isnan(value_of(per_series, metric))
    assert reason_of(per_series, metric) == reason
    assert math.isnan(value_of(overall, metric))
    assert reason_of(overall, metric) == f"{reason} (1)"


@pytest.mark.parametrize(
    ("train_id", "train_y", "reason"),
    [
        ("a", [1.0, 2.0], "no more than 2 training values"),
        ("a", [1.0, 5.0, 1.0, 5.0], "the training values repeat every 2 steps"),
        ("b", [1.0, 2.0, 3.0], "no training data of this series"),
    ],
)
def test_mase_says_why_it_has_no_scale(train_id, train_y, reason):
    train = pd.DataFrame({"unique_id": train_id, "ds": range(len(train_y)), "y": train_y})
    frame = frame_of({"a": ([1.0, 2.0], [1.0, 1.0])})
    per_series, _ = evaluate_forecast(frame, ["f"], train=train, season_length=2)
    assert math.isnan(value_of(per_series, "MASE"))
    assert reason_of(per_series, "MASE") == reason


def test_a_missing_forecast_is_never_skipped_within_a_series():
    # The mean over the rows that are there would be 0, a perfect score for half a forecast.
    frame = frame_of({"a": ([1.0, 2.0], [1.0, math.nan]), "b": ([1.0, 2.0], [2.0, 3.0])})
    _, overall = evaluate_forecast(frame, ["f"])
    row = overall.set_index("metric").loc["MAE"]
    assert (row["value"], row["n_series"], row["n_undefined"]) == (1.0, 1, 1)
    assert row["reason"] == "the forecast is missing or not finite (1)"


def test_a_model_without_intervals_keeps_its_point_metrics():
    frame = frame_of({"a": ([1.0, 2.0], [1.0, 2.0])})
    per_series, _ = evaluate_forecast(frame, ["f"], level=[90])
    assert value_of(per_series, "MAE") == 0
    assert reason_of(per_series, "coverage-90") == "f-lo-90 is missing or not finite"
    assert reason_of(per_series, "quantile_loss") == "f-lo-90 is missing or not finite"


def test_ragged_series_agree_with_a_slow_loop_whatever_their_order():
    rng = np.random.default_rng(5)
    parts = []
    for i, length in enumerate([7, 2, 7, 3, 2, 11]):
        y = rng.uniform(1, 9, length)
        columns = {"unique_id": f"s{i}", "y": y, "f": y + rng.normal(size=length), "g": y * 1.1}
        parts.append(pd.DataFrame(columns))
    frame = pd.concat(parts).sample(frac=1, random_state=1)
    per_series, overall = evaluate_forecast(frame, ["f", "g"])
    for metric in ("MAE", "R2", "RMSLE"):
        for model in ("f", "g"):
            expected = []
            for part in parts:
                y, f = part["y"].to_numpy(), part[model].to_numpy()
                if metric == "MAE":
                    expected.append(sum(abs(a - b) for a, b in zip(y, f, strict=True)) / len(y))
                elif metric == "R2":
                    expected.append(1 - ((y - f) ** 2).sum() / ((y - y.mean()) ** 2).sum())
                elif (f < 0).any():
                    expected.append(math.nan)
                else:
                    expected.append(math.sqrt(np.mean((np.log1p(y) - np.log1p(f)) ** 2)))
            found = per_series.query("metric == @metric and model == @model")
            assert list(found["unique_id"]) == [f"s{i}" for i in range(6)]
            np.testing.assert_allclose(found["value"], expected, rtol=1e-12)
            mean = overall.query("metric == @metric and model == @model")["value"].item()
            assert mean == pytest.approx(np.nanmean(expected))


def test_other_column_names_and_polars_give_the_same_numbers():
    pandas_frame = frame_of({"a": ([1.0, 2.0, 4.0], [2.0, 2.0, 2.0])})
    names = {"unique_id": "shop", "y": "sales", "ds": "day"}
    polars_frame = pl.from_pandas(pandas_frame.rename(columns=names))
    train = pl.DataFrame({"shop": "a", "day": [0, 1], "sales": [1.0, 2.0]})
    per_series, overall = evaluate_forecast(
        polars_frame, ["f"], train=train, id_col="shop", time_col="day", target_col="sales"
    )
    assert isinstance(per_series, pl.DataFrame)
    assert per_series.columns == ["shop", "model", "metric", "value", "reason"]
    expected, _ = evaluate_forecast(
        pandas_frame,
        ["f"],
        train=train.to_pandas().rename(columns={v: k for k, v in names.items()}),
    )
    assert overall["value"].to_list() == expected["value"].to_list()


def test_the_frame_is_not_changed():
    frame = frame_of({"b": ([1, 2], [1, 1]), "a": ([1, 2], [1, 1])})
    before = frame.copy(deep=True)
    evaluate_forecast(frame, ["f"])
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("frame", "arguments", "error", "words"),
    [
        ({"unique_id": ["a"], "f": [1.0]}, {}, DataError, "no column 'y'"),
        ({"unique_id": ["a"], "y": ["x"], "f": [1.0]}, {}, DataError, "'y' holds"),
        ({"unique_id": [], "y": [], "f": []}, {}, DataError, "no rows"),
        ({"unique_id": ["a"], "y": [1.0], "f": [1.0]}, {"level": [0]}, UsageError, "level=0"),
        (
            {"unique_id": ["a"], "y": [1.0], "f": [1.0]},
            {"season_length": 0},
            UsageError,
            "season_length=0",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(frame, arguments, error, words):
    with pytest.raises(error, match=words):
        evaluate_forecast(pd.DataFrame(frame), ["f"], **arguments)


def test_models_must_be_a_list():
    with pytest.raises(UsageError, match="models='f'"):
        evaluate_forecast(frame_of({"a": ([1.0], [1.0])}), "f")
