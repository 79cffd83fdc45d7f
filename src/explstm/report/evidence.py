"""The tables of a backtest, and which of its methods to show."""

from dataclasses import dataclass

import pandas as pd

from explstm.backtest import LSTM_METHODS, NAIVE
from explstm.classical import AUTO
from explstm.report.page import Table, make_table
from explstm.report.runs import Run

MAX_METHODS = 6
METRICS = {
    "MASE": "MASE",
    "sMAPE": "sMAPE, %",
    "MAE": "MAE",
    "RMSE": "RMSE",
    "MAPE": "MAPE, %",
    "RMSLE": "RMSLE",
    "growth_error": "Growth error, %",
    "quantile_loss": "Quantile loss",
}
"""Metrics of which lower is better, and their headings."""


@dataclass(frozen=True)
class Evidence:
    """A backtest as it was written.

    Attributes:
        run: Its folder.
        forecasts: unique_id, ds, cutoff, y and the columns of the methods.
        by_series: unique_id, cutoff, model, metric, value.
        overall: The scores: one row per method, best first; one column per metric.
        measure: What orders them: MASE, or MAE where it is undefined.
        undefined: model, metric, n_undefined, reason.
    """

    run: Run
    forecasts: pd.DataFrame
    by_series: pd.DataFrame
    overall: pd.DataFrame
    measure: str
    undefined: pd.DataFrame

    @property
    def methods(self) -> list[str]:
        """Best first."""
        return [name for name in self.overall.index if name in self.forecasts]

    @property
    def focus(self) -> str:
        """The best of the LSTM's forms, or what there is."""
        return next((name for name in self.methods if name in LSTM_METHODS), self.methods[0])

    @property
    def best_naive(self) -> str | None:
        """The naive forecast with the lowest error."""
        return next((name for name in self.methods if name in NAIVE), None)

    def shown(self) -> list[str]:
        """A few methods for figures of lines: the focus first, the best naive forecast second."""
        classical = next((name for name in self.methods if name in AUTO), None)
        first = [name for name in (self.focus, self.best_naive, classical) if name is not None]
        return list(dict.fromkeys([*first, *self.methods]))[:MAX_METHODS]


def read_evidence(run: Run) -> Evidence | None:
    """The tables of a backtest, or None where they are not there."""
    scores = run.table(
        "scores.csv", texts=["model", "metric", "reason"], numbers=["value", "n_undefined"]
    )
    forecasts = run.table(
        "forecasts.csv", texts=["unique_id"], dates=["ds", "cutoff"], numbers=["y"], others=True
    )
    by_series = run.table(
        "scores-by-series.csv",
        texts=["unique_id", "model", "metric"],
        dates=["cutoff"],
        numbers=["value"],
    )
    if scores is None or forecasts is None or by_series is None or forecasts.empty:
        return None
    wide = scores.drop_duplicates(["model", "metric"]).pivot(
        index="model", columns="metric", values="value"
    )
    wide = wide.loc[[name for name in dict.fromkeys(scores["model"]) if name in forecasts]]
    judge = "MASE" if "MASE" in wide and wide["MASE"].notna().any() else "MAE"
    if wide.empty or judge not in wide:
        return None
    undefined = scores[scores["n_undefined"] > 0]
    overall = wide.sort_values(judge, kind="stable")
    return Evidence(run, forecasts, by_series, overall, judge, undefined)


def table_scores(caption: str, scores: pd.DataFrame) -> Table:
    """Scores (a row per method, a column per metric) as a table, R² last."""
    known = {name: label for name, label in METRICS.items() if name in scores}
    covered = [name for name in scores if str(name).startswith("coverage-")]
    columns = {label: scores[name] for name, label in known.items()}
    for name in sorted(covered):
        level = str(name).removeprefix("coverage-")
        columns[f"Held in {level} % interval, %"] = 100 * scores[name]
    if "seconds" in scores:
        columns["Seconds"] = scores["seconds"]
    if "R2" in scores:
        columns["R²"] = scores["R2"]
    frame = pd.DataFrame({"Method": scores.index, **{k: v.to_numpy() for k, v in columns.items()}})
    return make_table(caption, frame, best=dict.fromkeys(known.values(), -1))
