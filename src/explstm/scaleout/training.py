"""Training on several workers of a Ray cluster, which train as one (:mod:`explstm.team`).

Contract: fine-tuning and pretraining are those of one process, step by step, but for the order in
which float32 numbers are added. Every worker reads all data; of every batch it works on its slice.
Checkpoints are those of one process too, in a folder that all workers see or at a URL, so that a
run goes on with any number of workers, or without them.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from explstm import pretrain as pretraining
from explstm.checkpoint import delete_checkpoints, has_checkpoint
from explstm.config import check_whole
from explstm.errors import UsageError
from explstm.finetuning import PARTS
from explstm.forecaster import DEFAULT_HORIZON, PRETRAINED, ExpLSTM, refuse_untrainable
from explstm.frame import Fill
from explstm.prediction import check_horizon
from explstm.pretrain import PretrainConfig
from explstm.scaleout.dataset import Dataset, read_panel
from explstm.scaleout.mirror import Mirror, is_url, show_place
from explstm.scaleout.options import Reading
from explstm.scaleout.ray_engine import import_ray
from explstm.scaleout.ray_training import Plan, run_team
from explstm.tables import DEFAULT_ID_COL
from explstm.team import Team
from explstm.training import LogRow, TrainingResult
from explstm.trial import require_engine

WAIT_SECONDS = 600.0
OnStep = Callable[[LogRow], None]


@dataclass(frozen=True)
class Fitted:
    """What training on several workers has made.

    Attributes:
        model: The fitted model.
        set_aside: What was not trained on: ``unique_id, file, code, message``.
        inputs: The files that were found: ``file, bytes, sha256, rows``.
        ran: The workers that have begun: ``attempt, rank, host, process``.
    """

    model: ExpLSTM
    set_aside: pd.DataFrame
    inputs: pd.DataFrame
    ran: pd.DataFrame


@dataclass(frozen=True)
class Pretrained:
    """What pretraining on several workers has made.

    Attributes:
        result: The trained network.
        ran: The workers that have begun: ``attempt, rank, host, process``.
    """

    result: TrainingResult
    ran: pd.DataFrame


@dataclass(frozen=True)
class FitJob:
    """A model to fit on a data set."""

    model: ExpLSTM
    dataset: Dataset
    h: int

    def run(self, folder: Path, on_step: OnStep | None, team: Team | None) -> ExpLSTM | None:
        """Fit the model, and return it without its data, which whoever asked has."""
        panel = read_panel(self.dataset).panel
        model = copy.copy(self.model)
        model.fit(panel, self.h, checkpoint_dir=folder, resume=True, on_step=on_step, team=team)
        model.panel_ = None
        return model if team is None or team.writes else None


@dataclass(frozen=True)
class PretrainJob:
    """A network to pretrain."""

    config: PretrainConfig
    backend: str

    def run(self, folder: Path, on_step: OnStep | None, team: Team | None) -> TrainingResult:
        """Pretrain it."""
        return pretraining.train_network(
            self.config,
            backend=self.backend,
            checkpoint_dir=folder,
            resume=True,
            on_step=on_step,
            team=team,
        )


def train(
    model: ExpLSTM,
    dataset: str | Path,
    h: int = DEFAULT_HORIZON,
    *,
    checkpoints: str | Path,
    workers: int = 2,
    address: str | None = None,
    resume: bool = False,
    fill: Fill = "error",
    id_col: str = DEFAULT_ID_COL,
    time_col: str = "ds",
    target_col: str = "y",
    wait_seconds: float = WAIT_SECONDS,
    on_step: OnStep | None = None,
) -> Fitted:
    """Fit a model on a folder of Parquet, on several workers of a Ray cluster.

    The result is that of :meth:`explstm.ExpLSTM.fit` on the same data, but for rounding (and for
    dropout, of which every worker draws its own). The machines of the cluster must see ``dataset``,
    ``checkpoints`` and the model that ``init`` names under the same paths.

    Args:
        model: What to fit, with ``backend="torch"`` or ``"tensorflow"``; it stays as it is.
        dataset: A Parquet file, or a folder of them, which every worker holds in memory.
        h: Steps ahead that the network learns to forecast.
        checkpoints: Where to keep checkpoints: a folder, or a URL that fsspec knows. They stay
            when the run is done.
        workers: How many train together, with one CPU each.
        address: Of a Ray cluster that runs; by default one of this machine is begun and ended.
        resume: Go on from the newest checkpoint there.
        fill: What becomes of missing steps.
        id_col: Column of ids, text or integers.
        time_col: Column of dates.
        target_col: Column of values.
        wait_seconds: How long a worker waits for the others before all begin again from the newest
            checkpoint.
        on_step: Called with every new row of the training log.

    Raises:
        UsageError: An argument that cannot be used, no cluster, or a package that is not installed.
        DataError: No series can be used.
        TrainingError: The training diverged, or workers were lost too often.
        ModelFileError: Checkpoints cannot be read or written.
        BusyError: Another run has the checkpoints.
    """
    h = check_horizon(h)
    refuse_untrainable(model.backend)
    reading = Reading(
        freq=model.freq, fill=fill, id_col=id_col, time_col=time_col, target_col=target_col
    )
    reading.check()
    place = _check_run(model.backend, workers, checkpoints, resume)
    data = Dataset(Path(dataset).absolute(), reading)
    contents = read_panel(data)
    job = FitJob(_at_its_place(model), data, h)
    plan = Plan(job, model.backend, workers, place, wait_seconds)
    fitted, starts = run_team(plan, address, on_step)
    fitted.panel_, fitted.init = contents.panel, model.init
    set_aside = pd.DataFrame(contents.letters, columns=["unique_id", "file", "code", "message"])
    inputs = pd.DataFrame(
        [(one.file, one.bytes, one.sha256, one.rows) for one in contents.files],
        columns=["file", "bytes", "sha256", "rows"],
    )
    return Fitted(fitted, set_aside, inputs, _tabulate(starts))


def pretrain(
    config: PretrainConfig,
    *,
    checkpoints: str | Path,
    backend: str = "torch",
    workers: int = 2,
    address: str | None = None,
    resume: bool = False,
    wait_seconds: float = WAIT_SECONDS,
    on_step: OnStep | None = None,
) -> Pretrained:
    """Pretrain a network on the synthetic prior, on several workers of a Ray cluster.

    Args:
        config: Everything that decides its weights.
        checkpoints: As for :func:`train`.
        backend: ``"torch"`` or ``"tensorflow"``.
        workers: As for :func:`train`.
        address: As for :func:`train`.
        resume: As for :func:`train`.
        wait_seconds: As for :func:`train`.
        on_step: As for :func:`train`.

    Raises:
        ExpLSTMError: As for :func:`train`.
    """
    refuse_untrainable(backend)
    place = _check_run(backend, workers, checkpoints, resume)
    plan = Plan(PretrainJob(config, backend), backend, workers, place, wait_seconds)
    result, starts = run_team(plan, address, on_step)
    return Pretrained(result, _tabulate(starts))


def _check_run(backend: str, workers: int, checkpoints: str | Path, resume: bool) -> str:
    """Refuse what cannot run before a cluster is begun; returns where checkpoints are kept."""
    import_ray()
    require_engine(backend)
    check_whole("WORKERS_RANGE", "workers", workers)
    place = str(checkpoints) if is_url(checkpoints) else str(Path(checkpoints).absolute())
    if not resume and _holds_any(place):
        raise UsageError(
            "CHECKPOINT_EXISTS",
            f"{show_place(place)} holds the checkpoints of another run; resume it, delete it (on "
            "the command line: --force), or use another place.",
        )
    return place


def _holds_any(place: str) -> bool:
    if is_url(place):
        return Mirror(place).holds_any()
    return any(has_checkpoint(Path(place) / part) for part in ("", *PARTS))


def prepare_place(place: str | Path, resume: bool, force: bool) -> str | Path:
    """A place for checkpoints, emptied of older ones where a run is to begin anew by force."""
    if force and not resume:
        if is_url(place):
            Mirror(str(place)).clear()
        else:
            delete_checkpoints(Path(place))
    return place


def _at_its_place(model: ExpLSTM) -> ExpLSTM:
    """A copy that names the model it begins with as other processes find it."""
    begun = copy.copy(model)
    if model.init not in (PRETRAINED, "random"):
        begun.init = Path(model.init).absolute()
    return begun


def _tabulate(starts: list[Any]) -> pd.DataFrame:
    return pd.DataFrame([asdict(one) for one in starts])
