"""``explstm compare``: a file in, both frameworks and the baselines on its last steps out."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from explstm import compare
from explstm.holdout import validation_size
from explstm.options import DataOptions
from explstm.pipeline import join_tables, model_settings, nest_metrics, write_record
from explstm.runfolder import open_run
from explstm.trial import Trial


def compare_file(
    file: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    *,
    seeds: int = 3,
    settings: Mapping[str, Any] | None = None,
    plot: bool = True,
    force: bool = False,
    on_trial: Callable[[Trial], None] | None = None,
) -> compare.Comparison:
    """Compare both frameworks and the baselines on the last ``horizon`` steps of a file.

    Args:
        file: CSV or Parquet.
        horizon: Steps to hold out.
        out: The run folder to make.
        data: How to read the file.
        seeds: How many seeds, from 1.
        settings: Keyword arguments of :class:`explstm.ExpLSTM`.
        plot: Draw the figures.
        force: Replace an older run folder.
        on_trial: Called when a training run has ended.
    """
    arguments = dict(locals())
    plots = import_module("explstm.plots") if plot else None
    with open_run(out, force=force) as run:
        panel = data.read(file)
        result = compare.compare_engines(
            panel,
            horizon,
            seeds=range(1, seeds + 1),
            season_length=data.first_season(panel),
            settings={
                "val_size": validation_size(int(panel.lengths_N.min()) - horizon, horizon),
                **model_settings(panel, data, settings or {}),
            },
            on_trial=on_trial,
        )
        for name in ("accuracy", "cost", "agreement", "forecasts", "training"):
            run.write_table(f"{name}.csv", getattr(result, name))
        metrics = nest_metrics(result.accuracy, "mean")
        run.write_json("metrics.json", {"verdict": result.verdict, "metrics": metrics})
        if plots is not None:
            _draw_comparison(run.path, result, horizon, plots)
        write_record(run, "compare", arguments)
    return result


def _draw_comparison(folder: Path, result: compare.Comparison, horizon: int, plots: Any) -> None:
    shown = [*compare.ENGINES, compare.PRETRAINED_NAME, "SeasonalNaive"]
    residuals = compare.collect_residuals(result.forecasts, shown)
    predictions = join_tables(result.history, result.forecasts, horizon)
    errors = compare.average_by_horizon(residuals)
    for name, figure, facts in (
        ("predictions", plots.draw_forecast(predictions, shown), predictions),
        ("training-curves", plots.draw_training(result.training), result.training),
        ("residuals", plots.draw_residuals(residuals), residuals),
        ("error-by-horizon", plots.draw_horizon_error(errors), errors),
    ):
        plots.save_figure(figure, facts, folder, name)
