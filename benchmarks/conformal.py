"""Do calibrated intervals hold more of what they say than the model's own?

    python benchmarks/conformal.py --held-out        # where the default method was chosen
    python benchmarks/conformal.py                   # test parts, for the report
    python benchmarks/conformal.py m1 --windows 2
    python benchmarks/conformal.py --alone 20        # networks of one short series each

The pretrained model on M1, M3 and Tourism, with its own intervals and with those calibrated on the
last windows of the training parts themselves. With ``--alone``, networks trained in PyTorch from
scratch on one series of M3 monthly each, evenly spaced, whose intervals of 80 % are known to be too
narrow. Coverage in per cent of the values; the scaled
quantile loss is the mean over series, in units of the mean change over a season, of the levels 50,
80 and 95; seconds are for the whole set. Prints a table in Markdown.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from explstm import ExpLSTM
from explstm.benchmark import LEVELS, SCALED_LOSS, score_forecast
from explstm.conformal import METHODS, ConformalForecaster
from explstm.datasets.competitions import COMPETITIONS, PACKAGED, SHORTEST_HELD_OUT, load_groups
from explstm.errors import DataError
from explstm.frame import build_panel

NAMES = {name.lower(): name for name in COMPETITIONS}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("competitions", nargs="*", type=str.lower, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--held-out", action="store_true", help="ends of the training parts")
    parser.add_argument("--windows", type=int, default=None, help="to calibrate on")
    parser.add_argument("--step-size", type=int, default=1)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--alone", type=int, default=0, help="how many series, each trained alone")
    options = parser.parse_args()
    if options.alone:
        print("\n".join(to_markdown(judge_alone(options.alone, options.windows))))
        return
    rows = []
    for name in options.competitions or map(str.lower, PACKAGED):
        for group in load_groups(NAMES.get(name, name)):
            part = group.held_out(SHORTEST_HELD_OUT) if options.held_out else group
            panel = build_panel(part.train)
            model = ExpLSTM(season_length=[part.season_length, *part.longer_seasons])
            makers: dict[str, Callable] = {"model": model.predict}
            for method in options.methods:
                makers[method] = ConformalForecaster(
                    model, method, options.windows, options.step_size
                ).predict
            for intervals, predict in makers.items():
                started = time.perf_counter()
                try:
                    table = predict(panel, h=part.horizon, level=LEVELS)
                except DataError as error:
                    print(f"{name} {part.name} {intervals}: {error}")
                    continue
                seconds = time.perf_counter() - started
                score = score_forecast(
                    NAMES.get(name, name), part, "ExpLSTM", table, seconds, panel.n_series
                )
                rows.append(_to_row(score, intervals))
    print("\n".join(to_markdown(pd.DataFrame(rows))))


def judge_alone(n_series: int, n_windows: int | None) -> pd.DataFrame:
    """Share within 80 %, and mean width in units of the model's, of networks of one series each."""
    group = next(group for group in load_groups("M3") if group.name == "monthly")
    ids = group.train["unique_id"].unique()
    rows = []
    for name in ids[np.linspace(0, len(ids) - 1, n_series).round().astype(int)]:
        past, came = (part[part["unique_id"] == name] for part in (group.train, group.test))
        model = ExpLSTM("torch", init="random", season_length=group.season_length)
        model.fit(past, h=group.horizon)
        tables = {"model": model.predict(h=group.horizon, level=[80])}
        for method in METHODS:
            judged = ConformalForecaster(model, method, n_windows)
            tables[method] = judged.predict(past, group.horizon, [80])
        for intervals, table in tables.items():
            low, high = (table[f"ExpLSTM-{end}-80"].to_numpy() for end in ("lo", "hi"))
            within = (low <= came["y"].to_numpy()) & (came["y"].to_numpy() <= high)
            width = (high - low).mean()
            rows.append({"intervals": intervals, "80 %": 100 * within.mean(), "width": width})
    table = pd.DataFrame(rows)
    table["width"] /= np.repeat(table["width"].iloc[:: len(tables)].to_numpy(), len(tables))
    return table.groupby("intervals", sort=False).mean().round(2).reset_index()


def _to_row(score, intervals: str) -> dict:
    counts = pd.DataFrame([vars(one) for one in score.coverage]).groupby("level")
    shares = counts["covered"].sum() / counts["values"].sum()
    return {
        "set": f"{score.competition} {score.group}",
        "series": score.series,
        "intervals": intervals,
        **{f"{level} %": f"{100 * shares[level]:.1f}" for level in LEVELS},
        SCALED_LOSS: f"{score.metrics[SCALED_LOSS]:.4f}",
        "seconds": f"{score.seconds:.1f}",
    }


def to_markdown(table: pd.DataFrame) -> list[str]:
    """Lines of a table."""
    rows = [list(table), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return [f"| {' | '.join(row)} |" for row in rows]


if __name__ == "__main__":
    main()
