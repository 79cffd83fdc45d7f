"""Run folders for the tests of the report: real commands where they are quick, else their files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from explstm import pipeline
from explstm.commands.backtest import backtest_file
from explstm.commands.growth import report_file_growth
from explstm.options import DataOptions, parse_settings
from explstm.runfolder import describe_file

HOSTILE = "<script>alert(1)</script>"
LONG = "שלום עולם\n" * 90  # from right to left, on many lines, nearly as long as an id may be
H = 3
QUICK = ["max_steps=2", "hidden_sizes=[4]"]


def write_data(folder: Path) -> Path:
    """Two monthly series of four years that grow; the first has a hostile name."""
    rng = np.random.default_rng(3)
    ds = pd.date_range("2020-01-01", periods=48, freq="MS")
    tables = [
        pd.DataFrame({"unique_id": name, "ds": ds, "y": size * np.exp(path)})
        for name, size in ((HOSTILE, 100.0), (LONG, 3.0))
        for path in [np.cumsum(rng.normal(0.02, 0.03, 48))]
    ]
    path = folder / "sales & more.csv"
    pd.concat(tables).to_csv(path, index=False)
    return path


def write_runs(folder: Path) -> dict[str, Path]:
    """A folder of every command, by its name."""
    file = write_data(folder)
    runs = {
        name: folder / f"{name}-run"
        for name in ("forecast", "growth", "backtest", "compare", "fit", "tune")
    }
    pipeline.forecast_file(file, H, runs["forecast"], DataOptions(), level=[80, 95])
    settings = parse_settings(QUICK)
    pipeline.fit_file(file, H, runs["fit"], DataOptions(), backend="torch", settings=settings)
    backtest_file(file, H, runs["backtest"], DataOptions(), windows=12, methods=["Pretrained"])
    report_file_growth(file, H, runs["growth"], DataOptions(), plot=False)
    record = json.loads((runs["forecast"] / "run.json").read_text())
    for name, write in (("compare", write_compare), ("tune", write_tune)):
        runs[name].mkdir()
        write(runs[name], runs)
        files = {path.name: describe_file(path) for path in runs[name].iterdir()}
        said = {**record, "command": name, "files": files}
        (runs[name] / "run.json").write_text(json.dumps(said))
    return runs


def write_compare(run: Path, runs: dict[str, Path]) -> None:
    """As explstm compare writes it."""
    said = {
        "verdict": "By mean MASE over the 3 held-out steps, the LSTM beat every other forecast."
    }
    (run / "metrics.json").write_text(json.dumps({**said, "metrics": {}}))
    rows = [(model, metric, value, 0.1, 2) for model, value in (("torch", 0.8), ("Naive", 1.2))
            for metric in ("MASE", "MAE", "R2")]  # fmt: skip
    columns = ["model", "metric", "mean", "spread", "n_seeds"]
    pd.DataFrame(rows, columns=columns).to_csv(run / "accuracy.csv", index=False)
    forecasts = pd.read_csv(runs["forecast"] / "forecast.csv")[["unique_id", "ds", "ExpLSTM"]]
    forecasts = forecasts.rename(columns={"ExpLSTM": "torch"}).assign(y=100.0, Naive=99.0)
    forecasts.to_csv(run / "forecasts.csv", index=False)
    log = {"step": [0, 1, 2, 0, 1, 2], "learning_rate": 0.1, "seconds": 1.0}
    losses = {"train_loss": 2 * [np.nan, 2.0, 1.0], "valid_loss": 2 * [3.0, np.nan, 2.5]}
    engines = {"engine": ["torch"] * 3 + ["tensorflow"] * 3, "seed": 1}
    pd.DataFrame({**engines, **log, **losses}).to_csv(run / "training.csv", index=False)


def write_tune(run: Path, runs: dict[str, Path]) -> None:
    """As explstm tune writes it."""
    trials = pd.DataFrame(
        {
            "number": [0, 1, 2, 3],
            "state": ["complete", "pruned", "complete", "complete"],
            "value": [1.0, np.nan, 1.2, 0.9],
            "cell": ["lstm", "slstm", "lstm", "slstm"],
            "seconds": 2.0,
        }
    )
    trials.to_csv(run / "trials.csv", index=False)
    importance = pd.DataFrame({"knob": ["cell", "max_steps"], "importance": [0.7, 0.3]})
    importance.to_csv(run / "importance.csv", index=False)
    slices = [
        trials[["number", "state", "value"]].assign(
            knob=knob, label=label, position=[0, 1, 0.5, 1], log=False
        )
        for knob, label in (("cell", "lstm"), ("max_steps", "100"))
    ]
    pd.concat(slices).dropna().to_csv(run / "tuning-slices.csv", index=False)
    columns = {"number": [0, 3], "value": [1.0, 0.9], "error": [1.1, 1.0]}
    finalists = pd.DataFrame(columns).assign(difference=[np.nan, -0.1], standard_error=0.2)
    finalists.to_csv(run / "finalists.csv", index=False)
    (run / "best.json").write_text(json.dumps({"verdict": "4 trials: the model stays as it is."}))
