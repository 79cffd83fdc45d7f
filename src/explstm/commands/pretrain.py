"""``explstm pretrain``: a configuration in, a pretrained network out."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from explstm import pretrain, scaleout
from explstm.bundle import save_bundle
from explstm.pipeline import MODEL, Outcome, kept_checkpoint, write_record
from explstm.runfolder import open_run
from explstm.scaleout.mirror import show_place


def pretrain_network(
    config: Path,
    out: Path,
    *,
    backend: str = "torch",
    device: str = "cpu",
    engine: str | None = None,
    workers: int = 2,
    address: str | None = None,
    checkpoints: str | None = None,
    resume: bool = False,
    force: bool = False,
    on_step: Callable[[Any], None] | None = None,
) -> Outcome:
    """Pretrain a network on the synthetic prior and save it in ``out/model``.

    Args:
        config: TOML file, see :class:`explstm.pretrain.PretrainConfig`.
        out: The run folder to make.
        backend: ``"torch"`` or ``"tensorflow"``.
        device: Where PyTorch computes, such as ``"cuda"``.
        engine: ``"ray"`` to train on several workers of a Ray cluster.
        workers: How many of them.
        address: Of a cluster that runs.
        checkpoints: With an engine, a folder or a URL, whose checkpoints stay; by default
            ``OUT.checkpoint``.
        resume: Continue from the checkpoint of an interrupted run.
        force: Replace an older run folder; without ``resume`` also its checkpoint.
        on_step: Called with every row of the training log.
    """
    arguments = {"file": config, **locals()}
    run_config = pretrain.read_config(config)
    arguments["checkpoints"] = checkpoints and show_place(checkpoints)
    arguments["seed"] = run_config.training.random_seed
    with open_run(out, force=force) as run, kept_checkpoint(run, out, resume, force) as checkpoint:
        if engine is None:
            result = pretrain.train_network(
                run_config,
                backend=backend,
                device=device,
                checkpoint_dir=checkpoint,
                resume=resume,
                on_step=on_step,
            )
        else:
            made = scaleout.pretrain(
                run_config,
                backend=backend,
                checkpoints=scaleout.prepare_place(checkpoints or checkpoint, resume, force),
                workers=workers,
                address=address,
                resume=resume,
                on_step=on_step,
            )
            result = made.result
            run.write_table("ran.csv", made.ran)
        save_bundle(
            run.path / MODEL,
            run_config.network,
            result.weights,
            pretrain.to_settings(run_config).model_dump(mode="json"),
            data_fingerprint="synthetic",
        )
        run.write_table("training.csv", pd.DataFrame([asdict(row) for row in result.log]))
        write_record(run, "pretrain", arguments)
    return Outcome(None, None, ())
