"""Runs to be killed: small, in two versions by turns, each result told from half a one.

Contract: :attr:`Kind.run` does in a folder what the command does, over the result of the other
version. :attr:`Kind.look` says which version stands there under its final name, by what the files
hold and what a model forecasts; it raises :class:`Broken` where one is cut off, changed or missing.
What is written aside, under names with a dot, is nobody's result and not looked at.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from explstm import ExpLSTM, pipeline
from explstm.commands.report import make_report
from explstm.commands.tune import tune_file
from explstm.options import DataOptions, parse_settings
from explstm.runfolder import RECORD, find_run
from explstm.scaleout import forecast
from explstm.storage import MANIFEST

H = 3
TRAINING = ["max_steps=40", "val_check_steps=4", "hidden_sizes=[4]"]
SPACE = {
    "max_steps": {"low": 2, "high": 8},
    "hidden_sizes": [[3], [4]],
    "learning_rate": {"low": 1e-3, "high": 1e-2},
    # The others stay as they are: every knob of a trial costs a commit.
    **{"cell": "lstm", "activation": "tanh", "dense_sizes": [], "dropout": 0.0, "residual": True},
    **{"growth": "auto", "window": 32, "reflection": 0.0, "scale_weight": 0.0, "batch_size": 16},
    "lr_schedule": "constant",
}
DATA, PARTS, OUT = "data.csv", "parts", "out"
FACTS = ("params", "improved")
"""What a tuning tells that does not depend on how often a trial was begun."""


class Broken(Exception):  # noqa: N818 - a finding
    """Something stands under its final name and is not whole."""


@dataclass(frozen=True)
class Kind:
    """One kind of runs.

    Attributes:
        name: What is run.
        run: Does it in a folder, in one of two versions.
        look: Which version stands in the folder, as a digest; None where none does.
        parts: Digests of what stands there of a version that is on its way.
        keeps: Whether the other version stands until this one is whole. A forecast in parts throws
            it away first, as it was asked to.
        workers: Whether other processes do the work.
    """

    name: str
    run: Callable[[Path, int], object]
    look: Callable[[Path], str | None]
    parts: Callable[[Path], set[str]] = lambda _: set()
    keeps: bool = True
    workers: bool = False


def prepare(folder: Path) -> None:
    """Write the data, and what reports are made of."""
    _make_series(("a", "b"), 36, seed=3).to_csv(folder / DATA, index=False)
    (folder / PARTS).mkdir()
    for number in range(3):
        names = [f"s{number}-{place}" for place in range(20)]
        table = _make_series(names, 36, seed=number)
        table.to_parquet(folder / PARTS / f"{number}.parquet", index=False)
    for version, level in enumerate((80.0, 95.0)):
        out = folder / f"forecast-{version}"
        pipeline.forecast_file(folder / DATA, H, out, DataOptions(), level=[level])
        _fit(folder, version, folder / f"fit-{version}")


def _make_series(names: object, n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    ds = pd.date_range("2020-01-01", periods=n, freq="MS")
    return pd.concat(
        pd.DataFrame({"unique_id": name, "ds": ds, "y": 100 * np.exp(path)})
        for name in names
        for path in [np.cumsum(rng.normal(0.02, 0.03, n))]
    )


# -------------------------------------------------------------------------------------------- runs


def _fit(folder: Path, version: int, out: Path | None = None) -> None:
    pipeline.fit_file(
        folder / DATA,
        H,
        out or folder / OUT,
        DataOptions(),
        backend="torch",
        settings=parse_settings(TRAINING),
        seed=1 + version,
        resume=True,
        force=True,
    )


def _tune(folder: Path, version: int) -> None:
    tune_file(
        folder / DATA,
        H,
        folder / OUT,
        DataOptions(),
        trials=4,
        windows=1,
        space=SPACE,
        settings=parse_settings(["max_steps=4", "hidden_sizes=[4]"]),
        seed=1 + version,
        plot=False,
        force=True,
    )


def _report(folder: Path, version: int) -> None:
    make_report([folder / f"forecast-{version}"], folder / OUT, force=True)


def _save(folder: Path, version: int) -> None:
    ExpLSTM.load(folder / f"fit-{version}" / pipeline.MODEL).save(folder / OUT)


def _batch(folder: Path, version: int) -> None:
    forecast(
        folder / PARTS,
        folder / OUT,
        H,
        [(80, 95)[version]],
        workers=2,
        rows_per_part=400,
        force=True,
    )


# ------------------------------------------------------------------------------------------- looks


def _look_at_run(folder: Path) -> str | None:
    """The files of a run folder, each as ``run.json`` states it, and the forecast of its model."""
    _check_checkpoints(folder / f"{OUT}.checkpoint")
    out = find_run(folder / OUT)
    if not out.exists():
        return None
    record = json.loads((out / RECORD).read_bytes())
    found = _hash_files(out)
    model = {name for name in found if name.startswith("model/")}
    stated = {name: file["sha256"] for name, file in record["files"].items()}
    if {name: found[name] for name in found.keys() - model - {RECORD}} != stated:
        raise Broken(f"{out.name} does not hold what its {RECORD} states")
    if model:
        _check_sealed(out / "model")
        # The tables say which process did what in how many seconds.
        found = {name: found[name] for name in model}
        found["forecast"] = _forecast(folder, out / "model")
    if (out / "best.json").exists():
        best = json.loads((out / "best.json").read_bytes())
        found |= {name: str(best[name]) for name in FACTS}
    return _digest(found)


def _look_at_tuning(folder: Path) -> str | None:
    path = folder / f"{OUT}.tune.db"
    if path.exists():
        with closing(sqlite3.connect(path)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise Broken(f"{path.name} is damaged")
    return _look_at_run(folder)


def _look_at_model(folder: Path) -> str | None:
    out = folder / OUT
    if out.exists():
        _check_sealed(out)
    return _forecast(folder, out)


def _look_at_parts(folder: Path) -> str | None:
    out = folder / OUT
    if not (out / MANIFEST).exists():
        return None
    manifest = json.loads((out / MANIFEST).read_bytes())
    if not manifest["complete"]:
        return None
    found = _hash_files(out / "forecast")
    if found != {part["file"]: part["sha256"] for part in manifest["parts"]}:
        raise Broken(f"{MANIFEST} calls a run complete whose parts are not what it states")
    return _digest({**found, **_hash_files(out, "*.parquet"), MANIFEST: _hash(out / MANIFEST)})


def _list_parts(folder: Path) -> set[str]:
    return set(_hash_files(folder / OUT / "forecast").values())


def _check_checkpoints(folder: Path) -> None:
    for path in folder.glob("step-*"):
        _check_sealed(path)


def _check_sealed(folder: Path) -> None:
    """Hold a sealed folder to its manifest, without the code that reads it otherwise."""
    stated = json.loads((folder / MANIFEST).read_bytes())["files"]
    found = _hash_files(folder)
    found.pop(MANIFEST)
    if found != {name: file["sha256"] for name, file in stated.items()}:
        raise Broken(f"{folder.name} does not hold what its {MANIFEST} states")


def _forecast(folder: Path, model: Path) -> str:
    """What a saved model forecasts, as a digest."""
    table = ExpLSTM.load(model).predict(pd.read_csv(folder / DATA), h=H, level=[80])
    return hashlib.sha256(table.to_csv().encode()).hexdigest()


def _hash_files(folder: Path, pattern: str = "**/*") -> dict[str, str]:
    files = (path for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): _hash(path) for path in files}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(hashes: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


KINDS = (
    Kind("fit", _fit, _look_at_run),
    Kind("tune", _tune, _look_at_tuning),
    Kind("report", _report, _look_at_run),
    Kind("save", _save, _look_at_model),
    Kind("batch", _batch, _look_at_parts, _list_parts, keeps=False, workers=True),
)
