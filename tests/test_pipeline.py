"""From a file to a run folder: what stands in it, and that a failure leaves nothing."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explstm import ExpLSTM, pipeline
from explstm.commands.compare import compare_file
from explstm.errors import DataError, ModelFileError, TrainingError, UsageError
from explstm.options import DataOptions, parse_settings

SMALL = ["max_steps=2", "hidden_sizes=[4]"]
H = 3


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Two monthly series of four years that grow by 1 and 2 per cent a month."""
    path = tmp_path_factory.mktemp("data") / "sales.csv"
    ds = pd.date_range("2020-01-01", periods=48, freq="MS")
    pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": ds, "y": 100 * rate ** np.arange(48)})
            for name, rate in (("north", 1.01), ("south", 1.02))
        ]
    ).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fitted(file, tmp_path_factory) -> Path:
    """The run folder of a fit."""
    out = tmp_path_factory.mktemp("fitted") / "run"
    settings = parse_settings(SMALL)
    pipeline.fit_file(file, H, out, DataOptions(), backend="torch", settings=settings, plot=True)
    return out


def forecast(file, out, **options):
    settings = parse_settings(SMALL)
    return pipeline.forecast_file(file, H, out, DataOptions(), settings=settings, **options)


def test_a_fit_leaves_a_model_its_log_and_a_record(file, fitted):
    assert sorted(os.listdir(fitted)) == [
        "model", "run.json", "training-figure.csv", "training-figure.png", "training-figure.svg",
        "training.csv",
    ]  # fmt: skip
    assert list(pd.read_csv(fitted / "training.csv")["step"]) == [1, 2]
    record = json.loads((fitted / "run.json").read_text())
    assert record["command"] == "fit" and record["seeds"] == [1]
    assert record["data"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["arguments"]["settings"]["spec"]["hidden_sizes"] == [4]
    assert record["arguments"]["data"]["time_col"] == "ds"
    assert os.listdir(fitted.parent) == ["run"]  # no checkpoint is left


def test_a_fit_that_diverged_can_be_tried_again_with_other_settings(file, tmp_path):
    def fit(*settings, **options):
        settings = parse_settings(["hidden_sizes=[4]", "val_check_steps=1", *settings])
        arguments = (file, H, tmp_path / "run", DataOptions())
        pipeline.fit_file(*arguments, backend="torch", settings=settings, **options)

    with pytest.raises(TrainingError, match="lower learning_rate"):
        fit("activation=relu", "learning_rate=1e30", "max_steps=50")
    assert os.listdir(tmp_path) == []
    fit("max_steps=2")
    assert os.listdir(tmp_path) == ["run"]


def test_a_kill_before_the_run_is_in_its_place_costs_no_training(file, tmp_path, monkeypatch):
    arguments = (file, H, tmp_path / "run", DataOptions())
    settings = parse_settings(["hidden_sizes=[4]", "val_check_steps=2", "max_steps=4"])
    options = {"backend": "torch", "settings": settings, "resume": True}
    with monkeypatch.context() as patch:
        patch.setattr("explstm.runfolder._seal", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pipeline.fit_file(*arguments, **options)
    steps = []
    pipeline.fit_file(*arguments, **options, on_step=steps.append)
    assert steps == [], "the training had ended"
    assert os.listdir(tmp_path) == ["run"]


def test_a_model_is_found_while_its_run_is_being_replaced(file, fitted, tmp_path):
    shutil.copytree(fitted, tmp_path / ".run.replaced")  # a kill came between two renames
    for place in (fitted, tmp_path / "run"):
        pipeline.forecast_file(file, H, tmp_path / place.parent.name, DataOptions(), saved=place)
    tables = [tmp_path / place / "forecast.csv" for place in (fitted.parent.name, tmp_path.name)]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_force_throws_away_the_checkpoints_of_another_run(file, tmp_path):
    (tmp_path / "run.checkpoint" / "step-00000050").mkdir(parents=True)
    arguments = (file, H, tmp_path / "run", DataOptions())
    options = {"backend": "torch", "settings": parse_settings(SMALL)}
    with pytest.raises(UsageError, match="--force"):
        pipeline.fit_file(*arguments, **options)
    pipeline.fit_file(*arguments, **options, force=True)
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("force", [True, False])
def test_nothing_but_checkpoints_is_deleted_beside_a_run(file, tmp_path, force):
    beside = tmp_path / "run.checkpoint"
    (beside / "whole" / ".step-00000002.saving").mkdir(parents=True)  # a kill left it
    (beside / "notes.txt").write_text("mine")
    arguments = (file, H, tmp_path / "run", DataOptions())
    settings = parse_settings(SMALL)
    pipeline.fit_file(*arguments, backend="torch", settings=settings, force=force)
    assert os.listdir(beside) == ["notes.txt"]


def test_a_file_where_checkpoints_are_kept_is_refused(file, tmp_path):
    (tmp_path / "run.checkpoint").write_text("mine")
    arguments = (file, H, tmp_path / "run", DataOptions())
    with pytest.raises(UsageError, match=r"CHECKPOINT_EXISTS: .*run\.checkpoint is a file"):
        pipeline.fit_file(*arguments, backend="torch", settings=parse_settings(SMALL))
    assert os.listdir(tmp_path) == ["run.checkpoint"]


def test_a_fit_says_how_much_of_its_training_it_holds(file, tmp_path):
    settings = parse_settings(["max_steps=2"])
    arguments = (file, 13, tmp_path / "run", DataOptions())  # nothing is long enough to hold out
    outcome = pipeline.fit_file(*arguments, backend="torch", settings=settings)
    assert outcome.findings[-1] == "the model holds 50% of what fine-tuning changed"


@pytest.mark.parametrize("place", ["", "model"])
def test_a_saved_model_forecasts_a_file_as_the_class_does(file, fitted, tmp_path, place):
    out = tmp_path / "out"
    outcome = pipeline.forecast_file(file, H, out, DataOptions(), saved=fitted / place, level=[80])
    written = pd.read_csv(out / "forecast.csv", parse_dates=["ds"])
    expected = ExpLSTM.load(fitted / "model").predict(
        pd.read_csv(file, parse_dates=["ds"]), h=H, level=[80]
    )
    pd.testing.assert_frame_equal(written, expected)
    pd.testing.assert_frame_equal(outcome.forecast, expected)
    assert outcome.metrics is None
    assert sorted(os.listdir(out)) == ["forecast.csv", "run.json"]


def test_evaluation_forecasts_the_last_steps_without_having_seen_them(file, tmp_path):
    outcome = forecast(file, tmp_path / "whole", backend="torch", evaluate=True)
    assert list(outcome.forecast.columns) == ["unique_id", "ds", "y", "ExpLSTM"]
    assert (
        list(outcome.forecast["ds"].dt.strftime("%Y-%m")) == ["2023-10", "2023-11", "2023-12"] * 2
    )
    error = (outcome.forecast["y"] - outcome.forecast["ExpLSTM"]).abs().mean()
    mae = outcome.metrics.set_index(["model", "metric"])["value"]["ExpLSTM", "MAE"]
    assert mae == pytest.approx(error)
    assert {"Naive", "SeasonalNaive", "Drift", "LogDrift"} < set(outcome.metrics["model"])
    written = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert written["ExpLSTM"]["MAE"] == mae

    table = pd.read_csv(file)
    cut = table.groupby("unique_id").head(48 - H)
    cut.to_csv(tmp_path / "cut.csv", index=False)
    alone = forecast(tmp_path / "cut.csv", tmp_path / "cut", backend="torch")
    np.testing.assert_array_equal(alone.forecast["ExpLSTM"], outcome.forecast["ExpLSTM"])


def test_a_saved_model_is_not_judged_by_what_it_was_trained_on(file, fitted, tmp_path):
    def evaluate(path):
        options = {"saved": fitted / "model", "evaluate": True}
        return pipeline.forecast_file(path, H, tmp_path / "out", DataOptions(), **options)

    with pytest.raises(UsageError, match=r"up to 2023-12-01T00:00:00.*after 2023-09-01T00:00:00"):
        evaluate(file)
    table = pd.read_csv(file, parse_dates=["ds"])
    table["ds"] += pd.DateOffset(months=H)  # now the held-out steps follow the training
    table.to_csv(tmp_path / "later.csv", index=False)
    assert evaluate(tmp_path / "later.csv").metrics is not None


def test_a_figure_shows_the_end_of_the_history_and_the_forecast(file, fitted, tmp_path):
    out = tmp_path / "out"
    pipeline.forecast_file(file, H, out, DataOptions(), saved=fitted, plot=True, level=[80])
    facts = pd.read_csv(out / "figure.csv")
    assert (out / "figure.png").exists() and (out / "figure.svg").exists()
    north = facts[facts["unique_id"] == "north"]
    assert north["y"].notna().sum() == pipeline.DRAWN_HORIZONS * H
    assert list(north["ExpLSTM"].notna())[-H:] == [True] * H


def test_the_same_run_twice_gives_the_same_bytes(file, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        forecast(file, tmp_path / name / "out", backend="torch")
    one, two = (tmp_path / name / "out" / "forecast.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_every_step_of_training_is_reported(file, tmp_path):
    rows = []
    forecast(file, tmp_path / "out", backend="torch", on_step=rows.append)
    assert [row.step for row in rows] == [1, 2]


def test_a_failure_leaves_no_folder_behind(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("unique_id,ds,y\na,2024-01-01,x\n")
    with pytest.raises(DataError):
        forecast(bad, tmp_path / "out", backend="torch")
    assert os.listdir(tmp_path) == ["bad.csv"]


def test_a_taken_place_is_told_before_anything_is_read(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="OUTPUT_FOREIGN"):
        forecast(tmp_path / "missing.csv", tmp_path / "out", backend="torch")


def test_without_model_and_backend_the_pretrained_model_forecasts(file, tmp_path):
    outcome = pipeline.forecast_file(file, H, tmp_path / "out", DataOptions(), level=[80])
    expected = ExpLSTM().predict(pd.read_csv(file, parse_dates=["ds"]), h=H, level=[80])
    pd.testing.assert_frame_equal(outcome.forecast, expected)


@pytest.mark.parametrize("setting", ["max_steps=3", "hidden_sizes=4", "init=random"])
def test_settings_of_a_training_are_refused_where_nothing_is_trained(file, tmp_path, setting):
    with pytest.raises(UsageError, match="give --backend"):
        options = {"settings": parse_settings([setting])}
        pipeline.forecast_file(file, H, tmp_path / "out", DataOptions(), **options)


def test_settings_are_refused_where_nothing_is_trained(file, fitted, tmp_path):
    with pytest.raises(UsageError, match="--set would not change the saved model"):
        forecast(file, tmp_path / "out", saved=fitted)


def test_data_of_another_frequency_are_refused_by_name(fitted, tmp_path):
    years = tmp_path / "years.csv"
    years.write_text("ds,y\n" + "".join(f"{year}-01-01,{year}\n" for year in range(1950, 2000)))
    with pytest.raises(DataError, match=r"the data have freq='YS-JAN' .* trained on freq='MS'"):
        pipeline.forecast_file(years, H, tmp_path / "out", DataOptions(), saved=fitted)


def test_an_empty_backend_is_not_the_default(file, fitted, tmp_path):
    with pytest.raises(UsageError, match="backend=''"):
        pipeline.forecast_file(file, H, tmp_path / "out", DataOptions(), saved=fitted, backend="")


def test_a_missing_model_is_a_model_file_error(file, tmp_path):
    with pytest.raises(ModelFileError):
        pipeline.forecast_file(file, H, tmp_path / "out", DataOptions(), saved=tmp_path / "none")


def test_repairs_are_told(file, tmp_path):
    table = pd.read_csv(file)
    pd.concat([table, table.tail(2)]).to_csv(tmp_path / "twice.csv", index=False)
    outcome = forecast(tmp_path / "twice.csv", tmp_path / "out", backend="torch")
    assert any(text.startswith("south: ") and text.endswith("(2)") for text in outcome.findings)


def test_a_comparison_writes_tables_figures_and_their_facts(file, tmp_path):
    out = tmp_path / "out"
    result = compare_file(file, H, out, DataOptions(), seeds=1, settings=parse_settings(SMALL))
    tables = ["accuracy", "agreement", "cost", "forecasts", "training"]
    figures = ["error-by-horizon", "predictions", "residuals", "training-curves"]
    expected = [f"{name}.csv" for name in tables + figures]
    expected += [f"{name}.{kind}" for name in figures for kind in ("png", "svg")]
    assert sorted(os.listdir(out)) == sorted([*expected, "run.json", "metrics.json"])
    written = json.loads((out / "metrics.json").read_text())
    assert written["verdict"] == result.verdict
    assert set(written["metrics"]) == set(result.accuracy["model"])
    assert set(pd.read_csv(out / "training.csv")["engine"]) == {"torch", "tensorflow"}
    record = json.loads((out / "run.json").read_text())
    assert record["seeds"] == [1]
    assert sorted(record["arguments"]) == [
        "data", "file", "force", "horizon", "out", "plot", "seeds", "settings",
    ]  # fmt: skip
