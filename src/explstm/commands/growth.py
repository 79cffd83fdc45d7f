"""``explstm growth FILE``: how fast the series of a file are forecast to grow."""

from importlib import import_module
from pathlib import Path

from explstm.calendar import default_season_length
from explstm.forecaster import ExpLSTM
from explstm.growth_report import GrowthReport, report_growth
from explstm.options import DataOptions
from explstm.pipeline import find_model, model_settings, new_model, write_record
from explstm.runfolder import open_run

DEFAULT_LEVEL = 80.0


def report_file_growth(
    file: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    *,
    level: float = DEFAULT_LEVEL,
    saved: Path | None = None,
    plot: bool = True,
    force: bool = False,
) -> GrowthReport:
    """Forecast a file and report the growth of its series.

    Writes ``growth.csv`` (facts, one row per series), ``growth-sentences.csv`` (unique_id, place,
    sentence), ``forecast.csv``, the rates by step as ``growth-figure.csv`` with the figure beside
    it, and ``run.json``.

    Args:
        file: CSV or Parquet.
        horizon: Steps to forecast.
        out: The run folder to make.
        data: How to read the file.
        level: Coverage of all intervals, in per cent.
        saved: A saved model, or a run folder that holds one; the pretrained one by default.
        plot: Draw the figure.
        force: Replace an older run folder.
    """
    arguments = dict(locals())
    plots = import_module("explstm.plots") if plot else None
    with open_run(out, force=force) as run:
        panel = data.read(file)
        if saved is None:
            model = new_model(None, 1, model_settings(panel, data, {}))
        else:
            model = ExpLSTM.load(find_model(saved))
            model.set_params(freq=panel.freq)  # that of these data, so that another one is told
        forecast = model.predict(panel, h=horizon, level=[level])
        seasons = data.season_length or default_season_length(panel.freq)
        report = report_growth(panel, forecast, horizon, seasons, level)
        run.write_table("growth.csv", report.facts)
        run.write_table("growth-sentences.csv", report.words)
        run.write_table("forecast.csv", forecast)
        run.write_table("growth-figure.csv", report.rates)
        if plots is not None:
            figure = plots.draw_growth(report.rates)
            plots.save_figure(figure, report.rates, run.path, "growth-figure")
        write_record(run, "growth", arguments)
    return report
