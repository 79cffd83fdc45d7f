"""``explstm fit --engine ray``: a folder of Parquet in, a model trained by several workers out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from explstm import scaleout
from explstm.options import DataOptions
from explstm.pipeline import MODEL, Outcome, kept_checkpoint, new_model, write_record
from explstm.runfolder import open_run
from explstm.scaleout.mirror import show_place

DEAD_LETTERS = "dead-letters.csv"
INPUTS = "inputs.csv"
RAN = "ran.csv"


def fit_dataset(
    dataset: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    *,
    backend: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 1,
    workers: int = 2,
    address: str | None = None,
    checkpoints: str | None = None,
    resume: bool = False,
    force: bool = False,
    on_step: Callable[[Any], None] | None = None,
) -> Outcome:
    """Train a model on several workers and save it in ``out/model``.

    Args:
        dataset: A Parquet file, or a folder of them.
        horizon: Steps ahead that the network learns to forecast.
        out: The run folder to make; beside the model it tells which files there were, what was
            set aside, and who trained.
        data: How the data are read.
        backend: ``"torch"`` or ``"tensorflow"``.
        settings: Arguments of the model.
        seed: Of weights and batches.
        workers: How many train together.
        address: Of a Ray cluster that runs.
        checkpoints: A folder or a URL, whose checkpoints stay; by default ``OUT.checkpoint``.
        resume: Go on from the newest checkpoint.
        force: Replace an older run folder; without ``resume`` also its checkpoints.
        on_step: Called with every row of the training log.
    """
    arguments = {**locals(), "checkpoints": checkpoints and show_place(checkpoints)}
    model = new_model(
        backend,
        seed,
        {"freq": data.typed_freq, "season_length": data.season_length or None, **(settings or {})},
    )
    with open_run(out, force=force) as run, kept_checkpoint(run, out, resume, force) as beside:
        made = scaleout.train(
            model,
            dataset,
            horizon,
            checkpoints=scaleout.prepare_place(checkpoints or beside, resume, force),
            workers=workers,
            address=address,
            resume=resume,
            fill=data.fill,
            id_col=data.id_col,
            time_col=data.time_col,
            target_col=data.target_col,
            on_step=on_step,
        )
        made.model.save(run.path / MODEL)
        log = pd.DataFrame(made.model.training_log_)
        run.write_table("training.csv", log)
        run.write_table(DEAD_LETTERS, made.set_aside)
        run.write_table(INPUTS, made.inputs)
        run.write_table(RAN, made.ran)
        write_record(run, "fit", arguments)
    n = len(made.set_aside)
    return Outcome(None, None, (f"{n:,} set aside, see {DEAD_LETTERS}",) if n else ())
