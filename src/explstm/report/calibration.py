"""Whether intervals hold what they promise."""

import pandas as pd

from explstm import plots
from explstm.diagnostics import measure_coverage
from explstm.ends import interval_levels
from explstm.report.evidence import MAX_METHODS, Evidence
from explstm.report.page import Chart, Section, Table, make_table


def show_calibration(evidence: Evidence) -> Section | None:
    """Whether intervals hold what they promise."""
    columns = list(evidence.forecasts.columns)
    methods = [name for name in evidence.methods if interval_levels(columns, name)]
    if not methods:
        return None
    methods = [evidence.focus] * (evidence.focus in methods) + [
        name for name in methods if name != evidence.focus
    ]
    tables = [measure_coverage(evidence.forecasts, name) for name in methods[:MAX_METHODS]]
    overall = pd.concat([table[table["step"] == 0] for table in tables]).dropna(subset="coverage")
    if overall.empty:
        return None
    own = tables[0][tables[0]["step"] > 0].dropna(subset="coverage")
    return Section(
        "Calibration",
        "An 80 % interval should hold four values of five: a point below the dashed line is too "
        "sure of itself, one above it too careful. Within the grey bar (or the shade, by step) "
        "chance alone explains the difference.",
        tuple(_say_coverage(row) for _, row in overall.iterrows() if row["model"] == methods[0]),
        (_table_coverage(overall),),
        (
            Chart(
                "calibration",
                "Share of values within the intervals of every method, against what they promise.",
                "Chart of held against promised coverage: "
                + "; ".join(
                    f"{row['model']} {row['level']:g} %: {100 * row['coverage']:.0f} %"
                    for _, row in overall.iterrows()
                ),
                plots.draw_calibration(overall),
                overall,
                shape="small",
            ),
            Chart(
                "coverage-by-step",
                f"The same for {methods[0]} at every step ahead.",
                f"Line chart of the coverage of {methods[0]} by steps ahead, with the band of "
                "chance.",
                plots.draw_coverage(own),
                own,
                shape="small",
            ),
        ),
    )


def _say_coverage(row: pd.Series) -> str:
    inside = row["low"] <= row["coverage"] <= row["high"]
    judged = (
        "; that is as promised, within chance"
        if inside
        else ", which is too few: the interval is too narrow"
        if row["coverage"] < row["low"]
        else ", which is too many: the interval is too wide"
    )
    return (
        f"The {row['level']:g} % interval of {row['model']} held {100 * row['coverage']:.0f} % of "
        f"{row['values']:,.0f} values{judged}."
    )


def _table_coverage(overall: pd.DataFrame) -> Table:
    frame = pd.DataFrame(
        {
            "Method": overall["model"],
            "Promised, %": overall["level"],
            "Held, %": 100 * overall["coverage"],
            "Chance, % from": 100 * overall["low"],
            "to": 100 * overall["high"],
            "Values": overall["values"],
        }
    )
    return make_table("Values within the intervals, over all steps.", frame, digits=3)
