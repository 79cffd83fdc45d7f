"""How networks were trained, and how both frameworks compare."""

import pandas as pd
from pydantic import BaseModel

from explstm import plots
from explstm.report.evidence import table_scores
from explstm.report.page import Chart, Section, say_number
from explstm.report.runs import Run, Text


class HeldOut(BaseModel):
    """What ``metrics.json`` of a comparison says."""

    verdict: Text


def show_held_out(run: Run) -> Section | None:
    """What a comparison on one held-out end says; the words come from there."""
    said = run.json("metrics.json", HeldOut)
    accuracy = run.table("accuracy.csv", texts=["model", "metric"], numbers=["mean", "spread"])
    if said is None or accuracy is None:
        return None
    wide = accuracy.drop_duplicates(["model", "metric"]).pivot(
        index="model", columns="metric", values="mean"
    )
    forecasts = run.table(
        "forecasts.csv", texts=["unique_id"], dates=["ds"], numbers=["y"], others=True
    )
    judge = "MASE" if "MASE" in wide and wide["MASE"].notna().any() else "MAE"
    ordered = wide.sort_values(judge, kind="stable") if judge in wide else wide
    charts: tuple[Chart, ...] = ()
    if forecasts is not None and not forecasts.empty:
        charts = (_draw_held_out(forecasts, [name for name in ordered.index if name in forecasts]),)
    return Section(
        "Both frameworks on one held-out end",
        "The same network trained in both frameworks from the same weights, beside the naive "
        "forecasts. One held-out end is one window: a backtest of several tells more.",
        (said.verdict,),
        (table_scores("Mean over series and seeds, best first.", ordered),),
        charts,
    )


def _draw_held_out(forecasts: pd.DataFrame, methods: list[str]) -> Chart:
    shown = methods[:4]
    facts = forecasts[["unique_id", "ds", "y", *shown]]
    return Chart(
        "held-out",
        "What happened (dark line) in the held-out steps, and what the best methods said.",
        f"Line chart of the held-out steps of the first series, with {', '.join(shown)} beside "
        "what happened.",
        plots.draw_forecast(facts, shown),
        facts,
    )


def show_training(run: Run) -> Section | None:
    """The loss over the steps of training."""
    several = run.record.command == "compare"
    log = run.table(
        "training.csv",
        texts=["engine"] if several else [],
        numbers=["step", "train_loss", "valid_loss", *(["seed"] if several else [])],
    )
    if log is None or log.empty:
        return None
    if not several:
        backend = run.record.arguments.get("backend") or "network"
        log = log.assign(engine=str(backend), seed=(run.record.seeds or [1])[0])
    facts = log[["engine", "seed", "step", "train_loss", "valid_loss"]]
    checked = facts.dropna(subset="valid_loss")
    said = f"{int(facts['step'].max()):,} steps of training."
    if len(checked):
        best = checked.loc[checked["valid_loss"].idxmin()]
        said += (
            f" The lowest loss on held-out steps, {say_number(best['valid_loss'])}, came at step "
            f"{int(best['step']):,}."
        )
    return Section(
        "Training, both frameworks" if several else "Training",
        "The loss on the training steps should fall and level off. Where that on held-out steps "
        "(dots) rises again, the network begins to learn by heart; the weights with the lowest "
        "held-out loss are kept.",
        (said,),
        (),
        (
            Chart(
                "training",
                "Loss over the steps of training, one line per seed; dots: held-out steps.",
                f"Line chart of the loss during training. {said}",
                plots.draw_training(facts),
                facts,
            ),
        ),
    )
