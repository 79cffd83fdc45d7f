"""What a backtest says: scores, windows, and errors by step."""

import pandas as pd

from explstm import plots
from explstm.backtest import NAIVE
from explstm.ends import interval_levels, name_ends
from explstm.report.evidence import Evidence, table_scores
from explstm.report.outlook import to_plain
from explstm.report.page import Chart, Section, Table, make_table, say_number
from explstm.report.runs import Material

MAX_STEPS = 1000
"""How much history the windows are drawn over, at most."""


def show_backtest(evidence: Evidence, material: Material) -> Section:
    """Every method on the same windows."""
    groups = evidence.forecasts[["unique_id", "cutoff"]].drop_duplicates()
    windows = int(groups.groupby("unique_id").size().max())
    n_series = groups["unique_id"].nunique()
    seconds = evidence.run.table("seconds.csv", texts=["model"], numbers=["seconds"])
    scores = evidence.overall
    if seconds is not None:
        scores = scores.assign(
            seconds=seconds.drop_duplicates("model").set_index("model")["seconds"]
        )
    tables = [table_scores("Means over series and windows, best first.", scores)]
    if n_series > 1:
        tables.append(_table_worst(evidence))
    return Section(
        "Backtest",
        "Every method forecast the same windows of the past, knowing only what came before each. "
        "MASE is the error in units of the usual change over a season of the history: lower is "
        "better, and the best of each column is bold. R² says little about a forecast of a series "
        "that grows, so it comes last.",
        (
            f"{windows} {'windows' if windows > 1 else 'window'} of {_longest(evidence)} steps in "
            f"{'one' if n_series == 1 else f'{n_series:,}'} series; the figures show the best "
            f"form of the LSTM, {evidence.focus}.",
            *_say_undefined(evidence),
        ),
        tuple(tables),
        tuple(
            chart
            for chart in (_draw_skill(evidence), _draw_windows(evidence, material))
            if chart is not None
        ),
    )  # fmt: skip


def _longest(evidence: Evidence) -> int:
    return int(evidence.forecasts.groupby(["unique_id", "cutoff"]).size().max())


def _say_undefined(evidence: Evidence) -> list[str]:
    rows = evidence.undefined[evidence.undefined["model"] == evidence.focus]
    return [
        f"{row['metric']} is undefined for {row['n_undefined']:,.0f} of its forecasts, which are "
        f"left out there: {row['reason']}."
        for _, row in rows.head(5).iterrows()
    ]


def _table_worst(evidence: Evidence) -> Table:
    chosen = [name for name in (evidence.focus, evidence.best_naive) if name is not None]
    rows = evidence.by_series[evidence.by_series["metric"] == evidence.measure]
    means = rows.pivot_table(index="unique_id", columns="model", values="value", sort=False)
    means = means[[name for name in dict.fromkeys(chosen) if name in means]]
    if evidence.focus not in means:
        return make_table("No series could be scored.", pd.DataFrame({"Series": []}))
    worst = means.sort_values(evidence.focus, ascending=False, kind="stable")
    frame = worst.rename(columns=lambda name: f"{name}, {evidence.measure}")
    return make_table(
        f"The series with the highest error of {evidence.focus} come first.",
        frame.reset_index().rename(columns={"unique_id": "Series"}),
    )


def _draw_skill(evidence: Evidence) -> Chart | None:
    naive = evidence.best_naive
    if naive is None or not evidence.overall.loc[naive, evidence.measure] > 0:
        return None
    ratio = evidence.overall[evidence.measure] / evidence.overall.loc[naive, evidence.measure]
    ratio = ratio.dropna()
    facts = pd.DataFrame(
        {"model": ratio.index, "ratio": ratio.to_numpy(), "naive": ratio.index.isin(NAIVE)}
    )
    said = ", ".join(f"{row.model} {row.ratio:.2f}" for row in facts.itertuples())
    return Chart(
        "skill",
        f"Error ({evidence.measure}) of every method as a share of that of the best naive "
        f"forecast, {naive}: left of the dashed line is better than naive.",
        f"Bar chart of errors over that of {naive}, which is 1: {said}.",
        plots.draw_skill(facts),
        facts,
    )


def _draw_windows(evidence: Evidence, material: Material) -> Chart:
    models = [name for name in (evidence.focus, evidence.best_naive) if name is not None]
    names = list(dict.fromkeys(models))
    ends = [
        end
        for level in interval_levels(evidence.forecasts.columns, names[0])[:1]
        for end in name_ends(names[0], level)
    ]
    shown = list(dict.fromkeys(evidence.forecasts["unique_id"]))[: plots.MAX_SERIES]
    windows = evidence.forecasts[["unique_id", "ds", "cutoff", "y", *names, *ends]]
    facts = windows
    if material.history is not None:
        # The history comes first, so that what it says of a date is drawn.
        past = to_plain(material.history)
        past = past.groupby("unique_id", sort=False).tail(MAX_STEPS)
        facts = pd.concat([past[past["unique_id"].isin(shown)], windows], ignore_index=True)
    return Chart(
        "windows",
        f"What happened (dark line), and what {names[0]} and {names[-1]} forecast from each cutoff "
        "(dotted line).",
        f"Line chart of the first {len(shown)} series with the forecasts of {', '.join(names)} in "
        f"{windows['cutoff'].nunique()} windows.",
        plots.draw_windows(facts, names),
        facts,
    )


def show_horizon_error(evidence: Evidence) -> Section | None:
    """How the error grows with the steps ahead."""
    table = evidence.run.table(
        "scores-by-horizon.csv", texts=["model", "metric"], numbers=["step", "value"]
    )
    if table is None:
        return None
    rows = table[(table["metric"] == evidence.measure) & table["model"].isin(evidence.shown())]
    if rows.empty:
        return None
    facts = rows.rename(columns={"step": "horizon", "value": "error"})
    facts = facts[["model", "horizon", "error"]].sort_values(
        "model", key=lambda names: names.map(evidence.shown().index), kind="stable"
    )
    own = facts[facts["model"] == evidence.focus]
    said = ""
    if len(own):
        first, last = own.sort_values("horizon")["error"].iloc[[0, -1]]
        said = (
            f"The error of {evidence.focus} ({evidence.measure}) is {say_number(first)} one step "
            f"ahead and {say_number(last)} at the last step."
        )
    return Section(
        "Error by horizon",
        "The further ahead, the harder: lines that rise steeply say how far ahead a forecast is "
        "worth something.",
        (said,) if said else (),
        (),
        (
            Chart(
                "error-by-horizon",
                f"{evidence.measure} at every step ahead; lower is better.",
                f"Line chart of the error by steps ahead of {', '.join(evidence.shown())}. {said}",
                plots.draw_horizon_error(facts, "error", evidence.measure),
                facts,
            ),
        ),
    )
