"""The tables and figures of the cell study, from its finished runs.

Contract: everything is drawn up from two tables, ``runs`` (one row per training: set, space, cell,
seed, errors, how it ended) and ``baselines`` (one row per set and forecast without training).
Diverged runs have no errors: they are counted and stay out of means, and the worst of their cell
is "diverged". Cells are compared with tanh over pairs of runs with the same seed, which see the
same batches; a difference is bold where it is more than ``NOTABLE`` times its standard error.
"""

from pathlib import Path

import numpy as np
import pandas as pd

MEASURES = {"one": "one step", "multi": "all steps"}
BASELINES = {"Naive": "naive", "Drift": "drift", "LogDrift": "log drift"}
REFERENCE = "tanh"
NOTABLE = 3.0
COLORS = {"growth space": "#0173b2", "min-max": "#de8f05", "min-max, no skip": "#029e73"}


def report(runs: pd.DataFrame, baselines: pd.DataFrame, folder: Path | None) -> None:
    """Print the tables; write the runs and the figures into a folder, if one is given."""
    for steps, shown in MEASURES.items():
        print(f"\nOverview: sMAPE, {shown}, mean of the seeds\n")
        print_table(overlook(runs, baselines, f"smape_{steps}"))
    for (name, budget), mine in runs.groupby(["set", "max_steps"], sort=False):
        print(f"\n{name}, {budget} batches: sMAPE\n")
        print_table(tabulate_set(mine, baselines[baselines["set"] == name]))
    for budget, mine in runs.groupby("max_steps", sort=False):
        print(f"\nEvery cell relative to tanh, {budget} batches, {mine['set'].nunique()} sets\n")
        print_table(compare_cells(mine))
    print("\nGrowth space relative to min-max, same cell and seed\n")
    print_table(compare_spaces(runs))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, facts in (("runs", runs.drop(columns="held_out")), ("baselines", baselines)):
            facts.to_csv(folder / f"cells-{name}.csv", index=False, float_format="%.6g")
        for steps in MEASURES:
            draw(runs, baselines, steps).savefig(
                folder / f"cells-{steps}.png", dpi=130, metadata={"Software": None}
            )


def report_choice(runs: pd.DataFrame, baselines: pd.DataFrame, _folder: Path | None) -> None:
    """Print the error over all steps by learning rate and batches, a mean over seeds."""
    keys = ["set", "space", "cell"]
    table = runs.pivot_table(
        index=keys, columns=["max_steps", "learning_rate"], values="smape_multi", sort=False
    ).map("{:.2f}".format)
    table.columns = [f"{budget} x {rate:g}" for budget, rate in table.columns]
    print_table(table.assign(diverged=count_diverged(runs, keys)).reset_index())
    print()
    print_table(baselines[["set", "model", "smape_multi"]].round(2))


# --------------------------------------------------------------------------------------- the tables


def overlook(runs: pd.DataFrame, baselines: pd.DataFrame, column: str) -> pd.DataFrame:
    """One line per set, budget and way to show a series; one column per cell."""
    keys = ["set", "max_steps", "space"]
    table = runs.pivot_table(index=keys, columns="cell", values=column, sort=False)
    table = table.map(lambda error: "" if np.isnan(error) else f"{error:.2f}").reset_index()
    plain = baselines.pivot(index="set", columns="model", values=column).map("{:.2f}".format)
    plain = plain[list(BASELINES)].rename(columns=BASELINES).reset_index()
    table = table.rename(columns={"max_steps": "batches", "space": ""}).merge(plain, on="set")
    order = runs["set"].drop_duplicates().tolist()
    return table.sort_values("set", key=lambda names: names.map(order.index), kind="stable")


def tabulate_set(runs: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Mean, spread, worst, difference to tanh and diverged runs of every cell on one set."""
    rows: list[dict] = []
    for model, label in BASELINES.items():
        errors = baselines.set_index("model").loc[model]
        rows.append({"": "", "cell": label})
        for steps, shown in MEASURES.items():
            error = f"{errors[f'smape_{steps}']:.2f}"
            rows[-1] |= {shown: error, f"{shown}, worst": "", f"{shown}, minus tanh": ""}
    for (space, cell), mine in runs.groupby(["space", "cell"], sort=False):
        lost = int((mine["ended"] != "finished").sum())
        rows.append({"": space, "cell": cell, "diverged": f"{lost} of {len(mine)}"})
        for steps, shown in MEASURES.items():
            column = f"smape_{steps}"
            errors = mine[column]
            rows[-1][shown] = f"{errors.mean():.2f} ({errors.std():.2f})"
            rows[-1][f"{shown}, worst"] = "diverged" if lost else f"{errors.max():.2f}"
            if cell != REFERENCE:
                differences = pair(mine, reference_of(runs, space), column)
                rows[-1][f"{shown}, minus tanh"] = describe_difference(differences)
    table = pd.DataFrame(rows).fillna("")
    return table[[*table.columns.drop("diverged"), "diverged"]]


def reference_of(runs: pd.DataFrame, space: str) -> pd.DataFrame:
    """The runs that the other cells of a space are compared with."""
    return runs[(runs["space"] == space) & (runs["cell"] == REFERENCE)]


def compare_cells(runs: pd.DataFrame) -> pd.DataFrame:
    """Every cell's error relative to tanh: geometric mean of the sets, with its standard error."""
    return pd.DataFrame(
        {"": space, "cell": cell} | compare(mine, reference_of(runs, space))
        for (space, cell), mine in runs.groupby(["space", "cell"], sort=False)
        if cell != REFERENCE
    )


def compare_spaces(runs: pd.DataFrame) -> pd.DataFrame:
    """Growth space's error relative to min-max, by set, budget and cell."""
    rows = []
    for (name, budget, cell), mine in runs.groupby(["set", "max_steps", "cell"], sort=False):
        ours, theirs = (mine[mine["space"] == space] for space in ("growth space", "min-max"))
        if len(theirs):
            rows.append({"set": name, "batches": budget, "cell": cell} | compare(ours, theirs))
    return pd.DataFrame(rows)


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, str]:
    """Ratios of the errors over pairs of equal set and seed, geometric means over the sets."""
    row = {}
    for steps, shown in MEASURES.items():
        column = f"smape_{steps}"
        keys = ["set", "seed"]
        log = np.log(ours.set_index(keys)[column]) - np.log(theirs.set_index(keys)[column])
        by_seed = log.dropna().groupby("seed").mean()
        ratio, error = np.exp(by_seed.mean()), np.exp(by_seed.mean()) * by_seed.sem()
        text = f"{ratio:.3f} ± {error:.3f}"
        row[shown] = f"**{text}**" if abs(by_seed.mean()) > NOTABLE * by_seed.sem() else text
    return row


def pair(ours: pd.DataFrame, theirs: pd.DataFrame, column: str) -> pd.Series:
    """Differences over the seeds that both finished."""
    return (ours.set_index("seed")[column] - theirs.set_index("seed")[column]).dropna()


def describe_difference(differences: pd.Series) -> str:
    """Mean and standard error; bold where the one is far from 0 in units of the other."""
    text = f"{differences.mean():+.2f} ± {differences.sem():.2f}"
    notable = abs(differences.mean()) > NOTABLE * differences.sem()
    return f"**{text}**" if notable else text


def count_diverged(runs: pd.DataFrame, keys: list[str]) -> pd.Series:
    """Runs without a forecast."""
    return (runs["ended"] != "finished").groupby([runs[key] for key in keys], sort=False).sum()


def print_table(table: pd.DataFrame) -> None:
    """Print a table as Markdown."""
    print("| " + " | ".join(str(name) for name in table.columns) + " |")
    print("|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(str(value) for value in row) + " |")


# -------------------------------------------------------------------------------------- the figures


def draw(runs: pd.DataFrame, baselines: pd.DataFrame, steps: str):
    """Every run of the longest training as a dot, means as lines, beside naive and drift."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    runs = runs[runs["max_steps"] == runs.groupby("set")["max_steps"].transform("max")]
    names, cells = runs["set"].unique(), list(runs["cell"].unique())
    figure = Figure(figsize=(2.6 * len(names) + 1, 4.2), layout="constrained")
    column = f"smape_{steps}"
    for axis, name in zip(figure.subplots(1, len(names), sharey=True), names, strict=True):
        for place, (space, color) in enumerate(COLORS.items()):
            mine = runs[(runs["set"] == name) & (runs["space"] == space)]
            height = mine["cell"].map(cells.index) + 0.25 * (place - 1)
            axis.plot(mine[column], height, "o", color=color, alpha=0.45, markersize=4, mew=0)
            means = mine.groupby("cell")[column].mean()
            at = [cells.index(cell) + 0.25 * (place - 1) for cell in means.index]
            label = space if len(mine) else None
            axis.plot(means, at, "|", color=color, markersize=13, mew=2, label=label)
        errors = baselines[baselines["set"] == name].set_index("model")[column]
        axis.axvline(errors["Naive"], color="0.3", linestyle=":", label="naive")
        axis.axvline(errors["Drift"], color="0.3", linestyle="--", label="drift")
        axis.set(title=name, xscale="log", xlabel=f"sMAPE, {MEASURES[steps]}")
        low, high = axis.get_xlim()
        narrow = high < 2 * low
        axis.xaxis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_yticks(range(len(cells)), cells)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylim(len(cells) - 0.5, -0.5)
    handles, labels = zip(*by_label(figure).items(), strict=True)
    figure.legend(labels, handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


def by_label(figure) -> dict:
    """One handle per label, whichever axis has it."""
    return {
        label: handle
        for axis in figure.axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
