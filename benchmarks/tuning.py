"""Is tuning worth its time? 30 sets of series, tuned on their past, judged on their future.

    python benchmarks/tuning.py --out tuning.jsonl                    # from the pretrained model
    python benchmarks/tuning.py --init random --out scratch.jsonl

A set is about 58 series that lie together in M1, M3 or Tourism, of those that have room for the
windows of a tuning, three sets per frequency. Tuning
sees the training part; the test part, which it never sees, judges three models fitted on the
training part: the default, the one that tuning returns, and the best trial of the search, which is
what tuning would return without its check on the final window. The error is MASE; figures are
ratios to the default's, below 1 is better. A run that was stopped goes on where it was. Takes an
hour and a half on one core.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from explstm.datasets.competitions import PACKAGED, Group, load_groups
from explstm.objective import SHORTEST_PAST

SERIES = 58
SETS_PER_GROUP = 3
MODELS = ("default", "tuned", "unchecked")


def main() -> None:
    """Run the benchmark, or what is left of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument("--init", choices=("pretrained", "random"), default="pretrained")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--timeout", type=float, help="seconds of tuning per set")
    parser.add_argument("--sets", type=int, default=30, help="how many, from the first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="one JSON line per set")
    options = parser.parse_args()

    lines = options.out.read_text().splitlines() if options.out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {row["set"] for row in rows}
    for name, group in list(make_sets())[: options.sets]:
        if name in done:
            continue
        row = {"set": name, **judge_set(group, options)}
        rows.append(row)
        print(json.dumps(row), flush=True)
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
    report(rows, options)


def make_sets() -> list[tuple[str, Group]]:
    """Three sets of each frequency of each competition, evenly spaced, first ones first."""
    sets = []
    for competition in PACKAGED:
        for group in load_groups(competition):
            steps = group.train.groupby("unique_id", sort=False).size()
            ids = steps.index[steps >= 2 * group.horizon + SHORTEST_PAST].to_numpy()
            blocks = np.array_split(ids, max(len(ids) // SERIES, SETS_PER_GROUP))
            places = np.linspace(0, len(blocks) - 1, SETS_PER_GROUP).round().astype(int)
            sets += [
                (
                    turn,
                    f"{competition} {group.name} {place + 1}/{len(blocks)}",
                    group,
                    blocks[place],
                )
                for turn, place in enumerate(places)
            ]
    sets.sort(key=lambda entry: entry[0])  # a run cut short holds every frequency
    return [(name, take(group, ids)) for _, name, group, ids in sets]


def take(group: Group, ids: np.ndarray) -> Group:
    """Some series of a group."""
    parts = {part: getattr(group, part) for part in ("train", "test")}
    return replace(
        group, **{part: table[table["unique_id"].isin(ids)] for part, table in parts.items()}
    )


def judge_set(group: Group, options: argparse.Namespace) -> dict:
    """Tune on a set, and score the three models on its test part."""
    from explstm import ExpLSTM
    from explstm.errors import DataError
    from explstm.search_space import with_params

    model = ExpLSTM(
        backend=options.backend,
        init=options.init,
        season_length=group.season_length,
        random_seed=options.seed,
    )
    budget = {"n_trials": options.trials, "timeout": options.timeout}
    for n_windows in (2, 1):  # short yearly series have room for one
        started = time.process_time()
        try:
            tuned = model.tune(group.train, group.horizon, n_windows=n_windows, **budget)
            break
        except DataError as error:
            if n_windows == 1:
                return {"skipped": str(error)}
    found = tuned.tuning_
    seconds = time.process_time() - started
    started = time.process_time()
    default = with_params(model, {}).fit(group.train, h=group.horizon)
    fitting = time.process_time() - started
    unchecked = fit_unchecked(model, found, group)
    scores = {
        name: mase(group, fitted)
        for name, fitted in zip(MODELS, (default, tuned, unchecked), strict=True)
    }
    return {
        **scores,
        "n_windows": n_windows,
        "trials": {str(k): int(v) for k, v in found.trials["state"].value_counts().items()},
        "improved": found.improved,
        "seconds": round(seconds, 1),
        "seconds_default": round(fitting, 1),
        "verdict": found.verdict,
    }


def fit_unchecked(model, found, group: Group):
    """The model with the parameters of the best trial of the search, fitted as the others."""
    from explstm.search_space import with_params

    complete = [record for record in found.records if record.state == "complete"]
    best = min(complete, key=lambda record: (record.value, record.number), default=None)
    params = found.own if best is None else best.params
    return with_params(model, params).fit(group.train, h=group.horizon)


def mase(group: Group, model) -> float:
    """Mean over series of the mean absolute scaled error; series that never change are left out."""
    forecast = model.predict(group.train, h=group.horizon)
    table = group.test[["unique_id", "ds"]].merge(forecast, how="left")
    error_NH = np.abs(group.actuals_NH() - table["ExpLSTM"].to_numpy().reshape(-1, group.horizon))
    ids = group.test["unique_id"].unique()
    histories = {name: rows.to_numpy() for name, rows in group.train.groupby("unique_id")["y"]}
    lag = group.mase_lag
    scale_N = np.array([np.mean(np.abs(histories[n][lag:] - histories[n][:-lag])) for n in ids])
    return float(np.mean(error_NH.mean(axis=1)[scale_N > 0] / scale_N[scale_N > 0]))


def report(rows: list[dict], options: argparse.Namespace) -> None:
    """Print a table, how often tuning won and by how much, with paired tests over the sets."""
    from scipy.stats import binomtest, wilcoxon

    told = [row for row in rows if "skipped" not in row]
    limit = "" if options.timeout is None else f" or {options.timeout:g} s"
    print(f"{options.backend}, init={options.init}, {options.trials} trials{limit}")
    print("| set | default | tuned | unchecked | trials | CPU s | changed |")
    print("|---|---|---|---|---|---|---|")
    for row in told:
        print(
            f"| {row['set']} | {row['default']:.3f} | {row['tuned']:.3f} | {row['unchecked']:.3f} "
            f"| {sum(row['trials'].values())} | {row['seconds']:.0f} "
            f"| {'yes' if row['improved'] else 'no'} |"
        )
    default = np.array([row["default"] for row in told])
    for name in MODELS[1:]:
        log_ratio = np.log(np.array([row[name] for row in told]) / default)
        better, worse = int((log_ratio < 0).sum()), int((log_ratio > 0).sum())
        print(
            f"{name}: better on {better}, worse on {worse}, the same on "
            f"{len(told) - better - worse} of {len(told)} sets; geometric mean of the ratio "
            f"{np.exp(log_ratio.mean()):.4f}, from {np.exp(log_ratio.min()):.3f} to "
            f"{np.exp(log_ratio.max()):.3f}",
            end="",
        )
        if better + worse:
            sign = binomtest(better, better + worse).pvalue
            print(f"; sign test p={sign:.3f}, Wilcoxon p={wilcoxon(log_ratio).pvalue:.3f}")
        else:
            print()
    for row in rows:
        if "skipped" in row:
            print(f"left out: {row['set']}: {row['skipped']}")
    seconds = sum(row["seconds"] for row in told)
    plain = sum(row["seconds_default"] for row in told)
    print(f"{seconds:.0f} CPU s of tuning, {plain:.0f} CPU s of fitting the defaults")


if __name__ == "__main__":
    main()
