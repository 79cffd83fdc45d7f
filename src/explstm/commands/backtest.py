"""``explstm backtest``: a file in; what every method would have forecast, and how good, out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explstm import backtest
from explstm.calendar import default_season_length
from explstm.errors import UsageError
from explstm.options import DataOptions
from explstm.pipeline import write_record
from explstm.runfolder import open_run

DEFAULT_WINDOWS = 8
TABLES = {
    "forecasts": "forecasts",
    "scores": "scores",
    "by_series": "scores-by-series",
    "by_horizon": "scores-by-horizon",
    "seconds": "seconds",
}
"""Attributes of a backtest, and the names of their files."""


def backtest_file(
    file: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    *,
    windows: int = DEFAULT_WINDOWS,
    step_size: int | None = None,
    methods: Sequence[str] = (),
    level: Sequence[float] = (),
    intervals: str = "model",
    refit: bool = False,
    settings: Mapping[str, Any] | None = None,
    seed: int = 1,
    force: bool = False,
    on_method: Callable[[str], None] | None = None,
) -> backtest.Backtest:
    """Backtest a file.

    Args:
        file: CSV or Parquet.
        horizon: Steps of a window.
        out: The run folder to make.
        data: How to read the file.
        windows: How many windows.
        step_size: Steps from one window to the next; the horizon unless given.
        methods: Methods beside the naive forecasts; all that are installed unless given.
        level: Intervals, in per cent.
        intervals: ``"model"`` or ``"conformal"``.
        refit: Train before every window.
        settings: Keyword arguments of :class:`explstm.ExpLSTM`.
        seed: Seed of the training.
        force: Replace an older run folder.
        on_method: Called with the name of a method when it is done.
    """
    arguments = dict(locals())
    chosen = backtest.check_methods(methods) or backtest.installed_methods()
    if "init" in (settings or {}):
        raise UsageError(
            "CONFIG_CONFLICT",
            "--set init is said by the methods here; give for example --method FineTuned/torch or "
            "--method Scratch/torch.",
        )
    with open_run(out, force=force) as run:
        panel = data.read(file)
        task = backtest.Task(
            panel,
            h=horizon,
            n_windows=windows,
            step_size=horizon if step_size is None else step_size,
            season_length=tuple(data.season_length or default_season_length(panel.freq)),
            level=tuple(level) or backtest.LEVELS,
            refit=refit,
            seed=seed,
            intervals=intervals,
            settings=settings or {},
        )
        result = backtest.run_backtest(task, chosen, on_method)
        for attribute, name in TABLES.items():
            run.write_table(f"{name}.csv", getattr(result, attribute))
        if result.judgement is not None:
            run.write_json("verdict.json", asdict(result.judgement))
        write_record(run, "backtest", arguments)
    return result
