"""The growth command: from a file to a run folder with facts, words and a figure."""

import json

import pandas as pd
import pytest

from explstm import cli
from explstm.commands.growth import report_file_growth
from explstm.datasets import load_air_passengers, make_growth_series
from explstm.errors import DataError, UsageError
from explstm.options import DataOptions


@pytest.fixture
def file(tmp_path):
    logistic, _ = make_growth_series("logistic", 1, 100, 0.03)
    air = load_air_passengers().assign(unique_id="<air>")
    path = tmp_path / "data.csv"
    pd.concat([air, logistic]).to_csv(path, index=False)
    return path


def test_a_file_is_reported_with_facts_words_and_figure(file, tmp_path):
    out = tmp_path / "run"
    report = report_file_growth(file, 12, out, DataOptions())
    facts = pd.read_csv(out / "growth.csv").set_index("unique_id")
    assert list(facts.index) == ["<air>", "logistic-0"]
    assert 0.0 < facts.loc["<air>", "rate"] < 0.02
    assert facts.loc["logistic-0", "course"] == "saturating"
    words = pd.read_csv(out / "growth-sentences.csv")
    assert tuple(words.loc[words["unique_id"] == "<air>", "sentence"]) == report.sentences["<air>"]
    forecast = pd.read_csv(out / "forecast.csv")
    assert {"ExpLSTM", "ExpLSTM-lo-80", "ExpLSTM-hi-80"} < set(forecast.columns)
    assert json.loads((out / "run.json").read_text())["command"] == "growth"
    for suffix in ("png", "svg", "csv"):
        assert (out / f"growth-figure.{suffix}").stat().st_size > 1000


def test_without_a_figure_the_rates_are_written_all_the_same(file, tmp_path):
    report_file_growth(file, 3, tmp_path / "run", DataOptions(), level=95, plot=False)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"growth.csv", "growth-sentences.csv", "forecast.csv", "growth-figure.csv",
                     "run.json"}  # fmt: skip


def test_a_failure_leaves_nothing_behind(file, tmp_path):
    with pytest.raises(UsageError):
        report_file_growth(file, 3, tmp_path / "run", DataOptions(), level=200)
    file.write_text("unique_id,ds,y\na,2020-01-01,x\n")
    with pytest.raises(DataError):
        report_file_growth(file, 3, tmp_path / "run", DataOptions())
    assert not (tmp_path / "run").exists()


def test_a_second_level_is_refused_not_dropped(file, tmp_path, capsys):
    asked = ["growth", str(file), "--horizon", "3", "--out", str(tmp_path / "run")]
    assert cli.run([*asked, "--level", "80", "--level", "95"]) == 2
    said = capsys.readouterr().err
    assert "--level 80 and 95" in said and "give one --level" in said
    assert not (tmp_path / "run").exists()
    assert cli.run([*asked, "--level", "95", "--no-plot"]) == 0
    assert "ExpLSTM-lo-95" in pd.read_csv(tmp_path / "run" / "forecast.csv")
