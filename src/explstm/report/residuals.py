"""What is left over of the forecasts of a backtest."""

import pandas as pd

from explstm import plots
from explstm.diagnostics import (
    FEWEST_PAIRS,
    autocorrelate,
    collect_residuals,
    recover_scales,
)
from explstm.report.evidence import Evidence
from explstm.report.page import Chart, Section, say_number


def show_residuals(evidence: Evidence) -> Section | None:
    """What is left over, and whether it still holds something to learn."""
    scales, unit = None, "in the unit of the data"
    if evidence.forecasts["unique_id"].nunique() > 1:
        scales = recover_scales(evidence.by_series)
        unit = "in units of the usual change over a season, so that series can be compared"
    facts = collect_residuals(evidence.forecasts, evidence.focus, scales)
    if facts.empty:
        return None
    step_size = evidence.run.record.count("step_size", evidence.run.record.count("horizon", 1))
    lags = autocorrelate(facts, step_size)
    return Section(
        "Residuals",
        "A residual is what happened less what was forecast. They should scatter around zero "
        "without a pattern: a pattern is something the method has missed.",
        (
            f"Residuals of {evidence.focus}, {unit}.",
            _say_bias(facts),
            _say_autocorrelation(lags),
        ),
        (),
        _draw_residuals(facts, lags, evidence.focus),
    )


def _say_bias(facts: pd.DataFrame) -> str:
    mean, size = facts["residual"].mean(), facts["residual"].abs().mean()
    if size == 0:
        return "Every forecast was exact."
    side = "above" if mean > 0 else "below"
    share = f"{100 * abs(mean) / size:.0f} %"
    return (
        f"On average what happened lies {say_number(abs(mean))} {side} the forecast, which is "
        f"{share} of the mean absolute error; near 100 % it would always lie on that side."
    )


def _say_autocorrelation(lags: pd.DataFrame) -> str:
    if lags.empty:
        return (
            "There are too few one-step residuals to say whether one follows from those before "
            f"it: {FEWEST_PAIRS} pairs are needed. More windows, --step-size 1 among them, would "
            "tell."
        )
    beyond = lags[lags["autocorrelation"].abs() > lags["bound"]]
    if beyond.empty:
        return "No one-step residual goes with those before it by more than chance would make it."
    named = ", ".join(f"{lag:g}" for lag in beyond["lag"].head(8))
    return (
        f"One-step residuals go with those {named} steps earlier by more than chance would make "
        f"them ({len(beyond)} of {len(lags)} lags; of 20, one would by chance)."
    )


def _draw_residuals(facts: pd.DataFrame, lags: pd.DataFrame, name: str) -> tuple[Chart, ...]:
    charts = [
        Chart(
            "residuals-over-time",
            "Over time: an even band around zero is good.",
            f"Scatter chart of {len(facts):,} residuals of {name} over time.",
            plots.draw_residuals_against(facts, "ds"),
            facts,
            shape="small",
        ),
        Chart(
            "residuals-by-forecast",
            "By size of the forecast: a funnel says that errors grow with the level.",
            f"Scatter chart of {len(facts):,} residuals of {name} against the forecast.",
            plots.draw_residuals_against(facts, "forecast"),
            facts,
            shape="small",
        ),
        Chart(
            "residual-distribution",
            "How often each size occurs: a hump around zero is good.",
            f"Histogram of the residuals of {name}; their mean is "
            f"{say_number(facts['residual'].mean())}.",
            plots.draw_distribution(facts),
            facts[["residual"]],
            shape="small",
        ),
    ]
    if len(lags):
        charts.append(
            Chart(
                "autocorrelation",
                "How one-step residuals go with earlier ones: within the grey band it is chance.",
                "Chart of autocorrelations: "
                + ", ".join(
                    f"lag {row.lag:g} {row.autocorrelation:.2f}" for row in lags.itertuples()
                )
                + ".",
                plots.draw_autocorrelation(lags),
                lags,
                shape="small",
            )
        )
    return tuple(charts)
