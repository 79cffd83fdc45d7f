"""What do ten minutes of tuning gain on M3 quarterly, and what do they cost?

    python benchmarks/tuning_m3.py                  # from the pretrained model
    python benchmarks/tuning_m3.py --init random    # from scratch

Tunes on the training part as ``explstm tune`` does, in one process and with its time limit, then
scores the model found on the test part, beside the model as it was, fitted on the same part with
the same seed, and beside the best trial of the search, which the check on the final window may have
refused. MASE (mean over series) and sMAPE (the competition's, mean over all forecasts).
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from tuning import fit_unchecked, mase

from explstm.datasets.competitions import Group, load_groups


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument("--init", choices=("pretrained", "random"), default="pretrained")
    parser.add_argument("--group", default="quarterly")
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--trials", type=int, default=200, help="more than there is time for")
    parser.add_argument("--windows", type=int, default=2, help="of the search")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the run folder here")
    options = parser.parse_args()

    from explstm import ExpLSTM
    from explstm.commands.tune import tune_file
    from explstm.options import DataOptions
    from explstm.search_space import with_params

    (group,) = [group for group in load_groups("M3") if group.name == options.group]
    settings = {"init": options.init}
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "train.csv", options.out or Path(folder) / "run"
        group.train.to_csv(file, index=False)
        started, worked = time.monotonic(), time.process_time()
        found = tune_file(
            file,
            group.horizon,
            out,
            DataOptions(season_length=[group.season_length]),
            backend=options.backend,
            trials=options.trials,
            timeout=options.timeout,
            windows=options.windows,
            settings=settings,
            seed=options.seed,
            on_trial=lambda record: print(
                record.number, record.state, record.value, record.seconds, record.reason, flush=True
            ),
        )
        seconds, cpu = time.monotonic() - started, time.process_time() - worked
        tuned = ExpLSTM.load(out / "model")
    print(found.finalists.to_string(index=False))
    print(found.verdict)
    counts = found.trials["state"].value_counts().to_dict()
    print(f"{seconds:.0f} s ({cpu:.0f} CPU s), trials: {counts}")
    model = ExpLSTM(
        backend=options.backend,
        season_length=group.season_length,
        random_seed=options.seed,
        **settings,
    )
    default = with_params(model, {}).fit(group.train, h=group.horizon)
    unchecked = fit_unchecked(model, found, group)
    print("| M3", options.group, "| MASE | sMAPE |")
    print("|---|---|---|")
    for name, fitted in (("default", default), ("tuned", tuned), ("unchecked", unchecked)):
        print(f"| {name} | {mase(group, fitted):.4f} | {smape(group, fitted):.3f} |")


def smape(group: Group, model) -> float:
    """Symmetric mean absolute percentage error of the M3 competition, 0 to 200."""
    forecast = model.predict(group.train, h=group.horizon)
    table = group.test.merge(forecast, how="left", on=["unique_id", "ds"])
    error = 200 * (table["y"] - table["ExpLSTM"]).abs() / (table["y"] + table["ExpLSTM"]).abs()
    return float(np.mean(error))


if __name__ == "__main__":
    main()
