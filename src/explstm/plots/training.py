"""Figures of how a network learnt."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from explstm.plots.style import INK, add_legend, colored, new_figure


def draw_training(facts: pd.DataFrame) -> Figure:
    """Draw training and validation loss over the steps of training.

    Args:
        facts: Columns engine, seed, step, train_loss, valid_loss (missing where not validated).
    """
    figure, (axis,) = new_figure(1, width=8.0, height=4.2)
    engines = list(dict.fromkeys(facts["engine"]))
    for engine, color in colored(engines):
        runs = facts[facts["engine"] == engine].groupby("seed", sort=True)
        for number, (_, rows) in enumerate(runs):
            label = engine if number == 0 else None
            axis.plot(rows["step"], rows["train_loss"], color=color, alpha=0.45, label=label)
            checked = rows[rows["valid_loss"].notna()]
            axis.plot(checked["step"], checked["valid_loss"], "o--", color=color, markersize=3.5)
    if facts["valid_loss"].notna().any():
        axis.plot([], [], "o--", color=INK, markersize=3.5, label="validation")
    if facts["train_loss"].min() > 0:
        axis.set_yscale("log")
        wide = facts["train_loss"].max() > 10 * facts["train_loss"].min()
        subs = (1.0, 2.0, 5.0) if wide else (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        axis.yaxis.set_major_locator(LogLocator(subs=subs))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("step")
    axis.set_ylabel("loss")
    axis.set_title("Loss during training, one line per seed")
    add_legend(axis)
    return figure
