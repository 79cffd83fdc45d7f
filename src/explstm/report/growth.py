"""The growth card: how fast the series are forecast to grow, in words, numbers and a figure."""

import pandas as pd

from explstm import plots
from explstm.report.page import Chart, Section, Table, make_table
from explstm.report.runs import Run

MAX_TOLD = 3
"""Series whose growth is told in sentences."""
RATES = ("y", "forecast", "lo", "hi", "rate", "rate_lo", "rate_hi", "ceiling")


def show_growth(run: Run) -> Section | None:
    """What ``explstm growth`` found."""
    facts = run.table(
        "growth.csv",
        texts=["unique_id", "unit", "doubling", "course"],
        numbers=["rate", "rate_lo", "rate_hi", "year_rate", "doubling_time"],
    )
    words = run.table("growth-sentences.csv", texts=["unique_id", "sentence"])
    if facts is None or words is None or facts.empty:
        return None
    told = list(dict.fromkeys(words["unique_id"]))[:MAX_TOLD]
    sentences = [
        " ".join([f"{name}:" if len(facts) > 1 else "", *rows["sentence"]]).strip()
        for name in told
        for rows in [words[words["unique_id"] == name]]
    ]
    return Section(
        "Growth",
        "Growth per period is compared with what the series did before: a forecast faster than "
        "all of the past, or far beyond its range, needs a reason.",
        tuple(sentences),
        (_table_growth(facts),),
        _draw_growth(run),
    )


def _table_growth(facts: pd.DataFrame) -> Table:
    in_per_cent = (facts["unit"] == "growth").all()
    factor, unit = (100, ", %") if in_per_cent else (1, "")
    frame = pd.DataFrame(
        {
            "Series": facts["unique_id"],
            f"Per period{unit}": factor * facts["rate"],
            "from": factor * facts["rate_lo"],
            "to": factor * facts["rate_hi"],
            f"Per year{unit}": factor * facts["year_rate"],
            "Doubling or halving": facts["doubling"],
            "in periods": facts["doubling_time"],
            "Course": facts["course"],
        }
    )
    return make_table(
        "Growth from the last value to the end of the forecast.", frame, digits=3, alone=True
    )


def _draw_growth(run: Run) -> tuple[Chart, ...]:
    rates = run.table(
        "growth-figure.csv",
        texts=["unique_id", "unit", "broken"],
        dates=["ds"],
        numbers=RATES,
    )
    if rates is None or rates.empty:
        return ()
    shown = rates["unique_id"].isin(list(dict.fromkeys(rates["unique_id"]))[: plots.MAX_SERIES])
    drawn = rates.assign(broken=rates["broken"] == "True")
    return (
        Chart(
            "growth",
            "Above: growth per period, before (dark) and in the forecast (dashed, with its "
            "interval). Below: the level that it leads to.",
            f"Line charts of growth rates and of the level of the first "
            f"{rates.loc[shown, 'unique_id'].nunique()} series, past and forecast.",
            plots.draw_growth(drawn),
            drawn,
        ),
    )
