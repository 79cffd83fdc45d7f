"""``explstm benchmark``: a competition, or files of one's own, in; scores and coverage out."""

from collections.abc import Sequence
from pathlib import Path

from explstm import benchmark
from explstm.calendar import default_season_length
from explstm.config import choose
from explstm.datasets.competitions import COMPETITIONS
from explstm.errors import UsageError
from explstm.forecaster import ExpLSTM
from explstm.options import DataOptions
from explstm.pipeline import find_model, write_record
from explstm.runfolder import open_run


def benchmark_competition(
    competition: str,
    out: Path,
    *,
    parts: tuple[Path, Path] | None = None,
    season_length: Sequence[int] = (),
    saved: Path | None = None,
    classical: bool = False,
    held_out: bool = False,
    force: bool = False,
) -> benchmark.Report:
    """Forecast a competition and score the forecasts, beside those to beat.

    Args:
        competition: ``"m1"``, ``"m3"``, ``"tourism"``, ``"m4-hourly"`` or ``"m4-weekly"``, or any
            name for files of one's own. M4 is downloaded when it is first asked for.
        out: The run folder to make.
        parts: Files of the training part and of the test part, instead of a competition.
        season_length: Of these files; by their frequency if not given.
        saved: A saved model; the pretrained one by default.
        classical: Whether AutoETS, AutoTheta and their median of statsforecast take part.
        held_out: Score the ends of the training parts instead of the test parts.
        force: Replace an older run folder.
    """
    arguments = dict(locals())
    name, groups = competition, None
    if parts is None:
        names = {name.lower(): name for name in COMPETITIONS}
        choose("competition", competition.lower(), list(names))
        name = names[competition.lower()]
    else:
        past = DataOptions().read(parts[0])
        future = DataOptions(freq=str(past.freq)).read(parts[1])
        seasons = tuple(season_length) or default_season_length(past.freq)
        groups = [benchmark.make_group(competition, past, future, seasons)]
    model = ExpLSTM() if saved is None else ExpLSTM.load(find_model(saved))
    if saved is not None and model.freq_ is not None:
        raise UsageError(
            "BENCHMARK_MODEL",
            f"{saved} was trained on data of freq={model.freq_!r}, and a competition has several "
            "frequencies; give a model of any frequency, as explstm pretrain makes it.",
        )
    with open_run(out, force=force) as run:
        scores = benchmark.run_benchmark(
            name, model, groups=groups, classical=classical, held_out=held_out
        )
        report = benchmark.make_report(scores)
        run.write_table("scores.csv", report.scores)
        run.write_table("coverage.csv", report.coverage)
        write_record(run, "benchmark", arguments)
    return report
