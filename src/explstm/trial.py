"""One training run in one framework, timed and weighed, in a process that holds no other framework.

Contract: trials run one after the other, on one thread each (:mod:`explstm.apart`).

Axis letters: R origins of a batch, H horizon, Q quantiles.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from explstm.apart import run_apart
from explstm.config import BackendName, TrainingConfig
from explstm.errors import BackendNotInstalledError
from explstm.growth import GrowthPanel
from explstm.holdout import split_holdout
from explstm.models.engine import FRAMEWORK_MODULES, INSTALL, OptimizerConfig, make_engine
from explstm.models.losses import LossConfig
from explstm.models.spec import init_weights
from explstm.origins import OriginBatches

if TYPE_CHECKING:
    from explstm.forecaster import ExpLSTM

LEVEL = 80
MIB = 2**20


@dataclass(frozen=True)
class Trial:
    """What to train.

    Attributes:
        engine: ``"torch"`` or ``"tensorflow"``.
        seed: Of the initial weights and of the order of series.
        past: Long table to train on.
        horizon: Steps to forecast from its end.
        settings: Keyword arguments of :class:`explstm.ExpLSTM`, without backend and seed.
    """

    engine: BackendName
    seed: int
    past: pd.DataFrame
    horizon: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class TrialResult:
    """What a trial showed.

    Attributes:
        engine: As in the trial.
        seed: As in the trial.
        forecast: Columns ExpLSTM, ExpLSTM-lo-80 and ExpLSTM-hi-80, series by series.
        log: The rows of the training log.
        steps_per_epoch: Batches that show every stretch of every series once.
        first_outputs_RHQ: Outputs of the untrained network on the first batch.
        first_gradients: Gradients of the untrained network on the first batch, by weight.
        peak_memory_mib: Largest resident memory of the process up to the end of the trial.
    """

    engine: str
    seed: int
    forecast: pd.DataFrame
    log: pd.DataFrame
    steps_per_epoch: float
    first_outputs_RHQ: np.ndarray
    first_gradients: dict[str, np.ndarray]
    peak_memory_mib: float


def require_engine(engine: str) -> None:
    """Refuse an engine whose framework is not installed, without importing the framework.

    Raises:
        BackendNotInstalledError: It is missing; the message holds the command that installs it.
    """
    for module in FRAMEWORK_MODULES.get(engine, ()):
        if find_spec(module) is None:
            raise BackendNotInstalledError(
                "BACKEND_NOT_INSTALLED",
                f"the engine {engine!r} needs {module}, which is not installed; "
                f"run {INSTALL[engine]}.",
            )


def run_trials(
    trials: Sequence[Trial], on_trial: Callable[[Trial], None] | None = None
) -> Iterator[TrialResult]:
    """Run trials one after the other, those of one engine in one fresh process.

    Raises:
        ExpLSTMError: As a trial raised it.
        TrainingError: The process was killed, for example because memory ran out.
    """
    for engine in dict.fromkeys(trial.engine for trial in trials):
        mine = [trial for trial in trials if trial.engine == engine]
        doing = f"trained with {engine}"
        for trial, result in zip(mine, run_apart(run_trial, mine, doing), strict=True):
            if on_trial is not None:
                on_trial(trial)
            yield result


def run_trial(trial: Trial) -> TrialResult:
    """Train and forecast in this process."""
    from explstm.forecaster import ExpLSTM

    model = ExpLSTM(backend=trial.engine, random_seed=trial.seed, **trial.settings)
    model.fit(trial.past, h=trial.horizon)
    forecast = model.predict(h=trial.horizon, level=[LEVEL])
    assert model.panel_ is not None
    space, _ = split_holdout(
        model.panel_, model.preprocessing_, model.training_, model.spec_.horizon
    )
    outputs_RHQ, gradients = _probe_first_batch(model, trial, space)
    return TrialResult(
        engine=trial.engine,
        seed=trial.seed,
        forecast=forecast.iloc[:, 2:],
        log=pd.DataFrame([asdict(row) for row in model.training_log_]),
        steps_per_epoch=_count_steps_per_epoch(space, model.training_),
        first_outputs_RHQ=outputs_RHQ,
        first_gradients=gradients,
        peak_memory_mib=measure_peak_memory(),
    )


def _count_steps_per_epoch(space: GrowthPanel, config: TrainingConfig) -> float:
    stretches = int(np.sum(-(-space.lengths_N // config.window)))
    return stretches / min(config.batch_size, stretches)


def _probe_first_batch(
    model: "ExpLSTM", trial: Trial, space: GrowthPanel
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Outputs and gradients of the untrained network, without dropout, on the first batch."""
    config = model.training_
    batch = OriginBatches.from_training(space, model.spec_.horizon, config).batch(0)
    spec = model.spec_.model_copy(update={"dropout": 0.0})
    engine = make_engine(trial.engine, spec, init_weights(spec, trial.seed))
    engine.compile(OptimizerConfig.from_training(config), LossConfig.from_training(config))
    return engine.predict_origins(batch.features_BTF, batch.origins_BT), engine.gradients(batch)


def measure_peak_memory() -> float:
    """Largest resident memory of this process, in MiB.

    Linux carries ``ru_maxrss`` over from the process that started this one, so the kernel's own
    count for this program is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)
