"""``explstm tune``: a file in; a search, its record, and the model that it found, out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explstm import scaleout
from explstm.errors import UsageError
from explstm.interruption import note_signals
from explstm.options import DataOptions
from explstm.pipeline import MODEL, model_settings, new_model, write_record
from explstm.runfolder import RunFolder, open_run
from explstm.scaleout.attempts import delete_all
from explstm.search import N_WINDOWS, OnTrial
from explstm.study_storage import parse_storage
from explstm.tuning import N_TRIALS, Tuning, tune_model
from explstm.tuning_facts import history_facts, places_table, slice_facts

if TYPE_CHECKING:
    from explstm.scaleout.trials import OnSearch


def tune_file(
    file: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    *,
    backend: str = "torch",
    trials: int = N_TRIALS,
    timeout: float | None = None,
    storage: str | None = None,
    windows: int = N_WINDOWS,
    step_size: int | None = None,
    space: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 1,
    workers: int | None = None,
    engine: str | None = None,
    address: str | None = None,
    checkpoints: str | Path | None = None,
    plot: bool = True,
    force: bool = False,
    on_trial: OnTrial | None = None,
    on_search: "OnSearch | None" = None,
) -> Tuning:
    """Tune a model on a file and save it in ``out/model``, fitted on everything.

    What was tried outlives a kill: the same call goes on with it.

    Args:
        file: CSV or Parquet.
        horizon: Steps to forecast.
        out: The run folder to make.
        data: How to read the file.
        backend: ``"torch"`` or ``"tensorflow"``.
        trials: Trials that the study shall hold in the end, those of former runs included.
        timeout: Seconds for everything.
        storage: SQLite file or PostgreSQL database that several processes share, each with its own
            ``out``; unless given ``OUT.tune.db``, which is gone when the run is done.
        windows: Windows of the search; one more, the last, decides.
        step_size: Steps between them; the horizon unless given.
        space: Changes of the space, see :func:`explstm.search_space.make_space`.
        settings: Keyword arguments of :class:`explstm.ExpLSTM`: the model as it is.
        seed: Seed of the sampler and of every training.
        workers: Processes that search, one unless given; with an engine, as many as it has.
        engine: Who trains the trials, ``"local"`` or ``"ray"``: see :func:`explstm.scaleout.tune`.
        address: Of a Ray cluster that runs.
        checkpoints: Where an engine's workers keep checkpoints of trials; ``OUT.trials`` unless
            given.
        plot: Draw the figures.
        force: Replace an older run folder.
        on_trial: Called with the record of every trial that this process ends.
        on_search: Called whenever a trial of an engine begins or ends.

    Raises:
        TrainingStopped: A signal stopped the run; what was finished is kept.
    """
    arguments = dict(locals())
    if storage is not None and (place := parse_storage(storage)).path is None:
        arguments["storage"] = place.shown  # without its password
    if engine is None and (address, checkpoints) != (None, None):
        raise UsageError(
            "CONFIG_CONFLICT",
            "--address and --checkpoints belong to --engine; give that as well.",
        )
    tune_on: Any = partial(tune_model, workers=workers or 1, on_trial=on_trial)
    if engine is not None:
        tune_on = _tune_on_engine(engine, workers, address, checkpoints or _trials(out), on_search)
    plots = import_module("explstm.plots") if plot else None
    with open_run(out, force=force) as run, _kept_study(run, out, storage) as path:
        panel = data.read(file)
        model = new_model(backend, seed, model_settings(panel, data, settings or {}))
        with note_signals() as interruption:
            fitted = tune_on(
                model,
                panel,
                horizon,
                n_trials=trials,
                timeout=timeout,
                storage=path,
                n_windows=windows,
                step_size=step_size,
                space=space,
                interruption=interruption,
            )
        found: Tuning = fitted.tuning_
        fitted.save(run.path / MODEL)
        for name in ("trials", "finalists", "importance"):
            run.write_table(f"{name}.csv", getattr(found, name))
        if engine is not None:
            run.write_table("ran.csv", places_table(found.records))
        facts = ("verdict", "improved", "number", "params", "own")
        run.write_json("best.json", {name: getattr(found, name) for name in facts})
        if plots is not None:
            _draw(run, found, plots)
        write_record(run, "tune", arguments)
    if engine is not None and checkpoints is None:
        delete_all(_trials(out))  # of earlier studies as well, which are gone
    return found


def _tune_on_engine(
    engine: str,
    workers: int | None,
    address: str | None,
    checkpoints: str | Path,
    on_search: "OnSearch | None",
) -> Any:
    how = {"engine": engine, "workers": workers, "address": address, "on_progress": on_search}
    return partial(scaleout.tune, checkpoints=checkpoints, **how)


def _trials(out: Path) -> Path:
    return out.with_name(f"{out.name}.trials")


@contextmanager
def _kept_study(run: RunFolder, out: Path, storage: str | None) -> Iterator[str]:
    """The study: the one that is shared, or one beside the run folder until that is in place."""
    if storage is not None:
        yield storage
        return
    path = out.with_name(f"{out.name}.tune.db")
    yield str(path)

    def remove() -> None:
        for end in ("-wal", "-shm", ""):  # the file itself last: without it they are nothing
            path.with_name(path.name + end).unlink(missing_ok=True)

    run.spent.append(remove)


def _draw(run: RunFolder, found: Tuning, plots: Any) -> None:
    history, slices = history_facts(found.trials), slice_facts(found.trials, found.knobs)
    if history.empty:
        return
    for name, draw, facts in (
        ("tuning-history", plots.draw_history, history),
        ("tuning-importance", plots.draw_importance, found.importance),
        ("tuning-parallel", plots.draw_parallel, slices),
        ("tuning-slices", plots.draw_slices, slices),
    ):
        plots.save_figure(draw(facts), facts, run.path, name)
