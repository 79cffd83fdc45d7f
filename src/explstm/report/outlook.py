"""The parts of a report about the future: the forecast, and what was found in the data."""

import pandas as pd
from pydantic import RootModel

from explstm import plots
from explstm.ends import interval_levels, is_end, name_ends, name_level
from explstm.frame import Panel, panel_frame
from explstm.pipeline import DRAWN_HORIZONS, join_tables
from explstm.report.evidence import table_scores
from explstm.report.page import Chart, Section, Table, make_table, say_date, say_number
from explstm.report.runs import Material, Run, Text

KEYS = ("unique_id", "ds")
DRAWN_STEPS = 96
"""How much history a forecast is drawn with, where three horizons are less."""
MAX_FINDINGS = 20


def show_forecast(material: Material) -> Section | None:
    """The forecast with its intervals, over the end of the history."""
    table = material.run.table("forecast.csv", texts=["unique_id"], dates=["ds"], others=True)
    names = [] if table is None else _find_methods(table)
    if table is None or not names or table.empty:
        return None
    model, ids = names[0], list(dict.fromkeys(table["unique_id"]))
    held_out = "y" in table
    horizon = int(table.groupby("unique_id", sort=False).size().max())
    levels = [name_level(level) for level in interval_levels(table.columns, model)]
    charts: tuple[Chart, ...] = ()
    if material.history is not None or held_out:
        facts = _join_history(table, material.history, horizon)
        charts = (
            Chart(
                "forecast",
                f"What happened (dark line) and what is forecast ({model}); the bands hold "
                f"{_enumerate_levels(levels)} of what can happen, if they are well calibrated."
                if levels
                else f"What happened (dark line) and what is forecast ({model}).",
                _describe(table, model, levels, horizon),
                plots.draw_forecast(facts, [model]),
                facts,
            ),
        )
    return Section(
        "Forecast",
        "The line is the middle: the truth should lie above it as often as below it. An 80 % band "
        "should hold the truth in four cases of five." if levels else "The line is the middle: the "
        "truth should lie above it as often as below it.",
        (_say_forecast(table, model, levels, horizon, len(ids), held_out),),
        (_table_forecast(table, model, levels, len(ids)), *_table_held_out(material.run)),
        charts,
    )  # fmt: skip


def _find_methods(table: pd.DataFrame) -> list[str]:
    return [
        name for name in table.columns if name not in (*KEYS, "y", "cutoff") and not is_end(name)
    ]


def _join_history(table: pd.DataFrame, history: Panel | None, horizon: int) -> pd.DataFrame:
    if history is None:
        return table
    past = to_plain(history)
    if "y" in table:  # these steps were held out
        seen = past.merge(table[list(KEYS)], how="left", indicator=True)["_merge"]
        past = past[(seen == "left_only").to_numpy()]
    return join_tables(past, table, max(horizon, DRAWN_STEPS // DRAWN_HORIZONS))


def to_plain(history: Panel) -> pd.DataFrame:
    """A history as the tables of a run folder are read: ids as text, dates in UTC."""
    frame = panel_frame(history)
    dates = frame["ds"]
    if isinstance(dates.dtype, pd.DatetimeTZDtype):
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return frame.assign(unique_id=frame["unique_id"].astype(str), ds=dates)


def _enumerate_levels(levels: list[str]) -> str:
    return " and ".join(f"{level} %" for level in levels)


def _end(rows: pd.DataFrame, model: str, levels: list[str]) -> str:
    last = rows.iloc[-1]
    text = f"{say_number(last[model])} on {say_date(last['ds'])}"
    if not levels:
        return text
    low, high = (last[end] for end in name_ends(model, float(levels[0])))
    return f"{text} (between {say_number(low)} and {say_number(high)} with {levels[0]} %)"


def _describe(table: pd.DataFrame, model: str, levels: list[str], horizon: int) -> str:
    first = next(iter(table["unique_id"]))
    rows = table[table["unique_id"] == first]
    return (
        f"Line chart of the history and of the {horizon} steps that are forecast, for the first "
        f"{min(table['unique_id'].nunique(), plots.MAX_SERIES)} series. {first} starts at "
        f"{say_number(rows[model].iloc[0])} and reaches {_end(rows, model, levels)}."
    )


def _say_forecast(
    table: pd.DataFrame, model: str, levels: list[str], horizon: int, n_series: int, held_out: bool
) -> str:
    span = f"{say_date(table['ds'].min())} to {say_date(table['ds'].max())}"
    known = " These steps were held out: what really happened is known." if held_out else ""
    if n_series > 1:
        return f"{n_series:,} series are forecast {horizon} steps ahead, {span}.{known}"
    name = table["unique_id"].iloc[0]
    return (
        f"{name} is forecast {horizon} steps ahead and ends at {_end(table, model, levels)}.{known}"
    )


class HeldOutScores(RootModel[dict[Text, dict[Text, float | None]]]):
    """What ``metrics.json`` of a forecast with ``--evaluate`` says: metrics by model."""


def _table_held_out(run: Run) -> tuple[Table, ...]:
    scores = run.json("metrics.json", HeldOutScores)
    if scores is None or not scores.root:
        return ()
    frame = pd.DataFrame(scores.root).T.astype(float)
    measure = "MASE" if frame.get("MASE", pd.Series(dtype=float)).notna().any() else "MAE"
    ordered = frame.sort_values(measure, kind="stable") if measure in frame else frame
    return (
        table_scores(
            "The held-out steps beside the naive forecasts, best first. One window can be luck: a "
            "backtest of several tells more.",
            ordered,
        ),
    )


def _table_forecast(table: pd.DataFrame, model: str, levels: list[str], n_series: int) -> Table:
    ends = [end for level in levels[:1] for end in name_ends(model, float(level))]
    known = ["y"] if "y" in table else []
    shown = table[["unique_id", "ds", *known, model, *ends]]
    labels = {"unique_id": "Series", "ds": "Date", "y": "Actual", model: "Forecast"}
    labels |= dict(zip(ends, [f"{levels[0]} % from", "to"], strict=True)) if ends else {}
    caption = "The forecast, step by step."
    if n_series > 1:
        shown = shown.groupby("unique_id", sort=False).tail(1)
        caption = "The last step of the forecast of each series."
    else:
        shown = shown.drop(columns="unique_id")
    shown = shown.assign(ds=[say_date(date) for date in shown["ds"]]).rename(columns=labels)
    return make_table(caption, shown, alone=n_series > 1)


def show_findings(material: Material) -> Section | None:
    """What was repaired in the data, or noticed about them."""
    panel = material.history
    if panel is None:
        return None
    starts, ends = panel.ds_S[panel.starts_N1[:-1]], panel.ds_S[panel.starts_N1[1:] - 1]
    kind = pd.Timestamp if panel.ds_S.dtype.kind == "M" else int
    shortest, longest = panel.lengths_N.min(), panel.lengths_N.max()
    lengths = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    sentences = [
        f"{panel.n_series:,} series of {lengths} steps, from {say_date(kind(starts.min()))} to "
        f"{say_date(kind(ends.max()))}, frequency {panel.freq}."
        if panel.n_series > 1
        else f"One series of {lengths} steps, from {say_date(kind(starts.min()))} to "
        f"{say_date(kind(ends.max()))}, frequency {panel.freq}."
    ]
    found = [f"{one.unique_id}: {one.text} ({one.count})" for one in panel.findings]
    sentences += found[:MAX_FINDINGS] or ["Nothing had to be repaired, nothing was conspicuous."]
    if len(found) > MAX_FINDINGS:
        sentences.append(f"And {len(found) - MAX_FINDINGS:,} findings more.")
    return Section(
        "Data",
        "What the forecast was made from, and what had to be repaired to read it.",
        tuple(sentences),
    )
