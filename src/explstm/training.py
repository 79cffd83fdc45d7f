"""The training loop, once for all engines: schedule, early stopping, guard, checkpoints.

A run is a pure function of the initial weights, the batches and the configuration: batch ``step``
comes from ``batches.batch(step)``, and nothing reads or changes global random state. Killed at any
moment and resumed, it ends with the same bits as an uninterrupted run.

Steps are counted in batches done: the log's first row is step 1, step 0 is the initial weights.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from explstm import checkpoint as checkpoints
from explstm.checkpoint import Checkpoint
from explstm.config import TrainingConfig
from explstm.divergence import DIVERGED, Guard, advise
from explstm.errors import TrainingError, UsageError
from explstm.interruption import Interruption, note_signals
from explstm.models.engine import Engine, OptimizerConfig, TrainingBatch
from explstm.models.losses import LossConfig
from explstm.schedules import Plateau, learning_rate
from explstm.storage import hold_lock
from explstm.team import Team, TeamEngine

Weights = dict[str, np.ndarray]
Stopped = Literal["finished", "early"]


class Batches(Protocol):
    """Where batches come from."""

    def batch(self, step: int) -> TrainingBatch:
        """Batch of a step (from 0): the same one whenever asked."""
        ...


@dataclass(frozen=True)
class LogRow:
    """One step of a run.

    Attributes:
        step: Batches done; 0 tells the validation loss before training.
        learning_rate: Learning rate of the step.
        train_loss: Loss of the batch before its update; None at step 0.
        valid_loss: Loss of the held-out steps after the update, where it was looked at.
        seconds: Time since the start, without the time between a stop and a resume.
    """

    step: int
    learning_rate: float
    train_loss: float | None
    valid_loss: float | None
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves behind.

    Attributes:
        log: One row per step.
        best_step: The step whose weights are kept: the one of the lowest validation loss, or the
            last one where nothing was held out, or where it was asked for. 0 means that the
            initial weights were best.
        stopped: ``"finished"`` or ``"early"``.
        weights: Those weights; the engine holds them too.
    """

    log: tuple[LogRow, ...]
    best_step: int
    stopped: Stopped
    weights: Weights


def train(
    engine: Engine,
    batches: Batches,
    config: TrainingConfig,
    *,
    validate: Callable[[Engine], float] | None = None,
    keep_last: bool = False,
    checkpoint_dir: str | Path | None = None,
    resume: bool = False,
    on_step: Callable[[LogRow], None] | None = None,
    on_look: Callable[[Engine, LogRow], None] | None = None,
    identity: Mapping[str, Any] | None = None,
    team: Team | None = None,
) -> TrainingResult:
    """Train an engine; the best weights, or the last ones, are in it at the end.

    Args:
        engine: The engine, holding the initial weights.
        batches: Source of batches.
        config: Training configuration.
        validate: Loss on held-out data of the engine given; looked at before training, every
            ``val_check_steps`` and at the end. The weights of its lowest value are kept.
        keep_last: Keep those of the last step instead. Validation may still stop the run early or
            lower its learning rate, where the configuration says so.
        checkpoint_dir: Where to keep checkpoints, one every ``val_check_steps``. With it, SIGINT
            and SIGTERM stop the run after the current batch, with a checkpoint.
        resume: Continue from the newest checkpoint where there is one; start otherwise.
        on_step: Called with every new row of the log.
        on_look: Called with the engine every ``val_check_steps`` and at the end; it may forecast
            with it, and end the run by an exception.
        identity: What else must be unchanged on resume, such as a data fingerprint.
        team: Those that train together; each of them calls this alike. The first writes the
            checkpoints, from which all of them resume.

    Raises:
        TrainingError: The run diverges or runs out of memory. The engine holds the weights with the
            lowest loss so far.
        TrainingStopped: A signal stopped the run; ``exit_code`` is 130 after SIGINT.
        UsageError: The folder holds another run, or the configuration or data have changed.
        ModelFileError: No checkpoint is sound, or none can be written.
        BusyError: Another run uses the folder.
    """
    if team is not None:
        engine = TeamEngine(engine, team)
    engine.compile(
        OptimizerConfig.from_training(config),
        LossConfig.from_training(config),
        seed=config.random_seed,
    )
    run = _Run(engine, batches, config, validate, keep_last, on_step, on_look, team)
    if checkpoint_dir is None:
        return run.to_end(Interruption())
    folder = Path(checkpoint_dir)
    folder.mkdir(parents=True, exist_ok=True)
    identity = dict(identity or {})
    if team is not None and engine.spec.dropout:
        identity["workers"] = team.size  # each draws its own masks
    writes = team is None or team.writes
    with hold_lock(folder) if writes else nullcontext(), note_signals() as interruption:
        run.attach(folder, checkpoints.describe_run(engine, config, identity), resume)
        result = run.to_end(interruption)
    return result


class _Run:
    """State of one run; ``step`` batches are done."""

    def __init__(
        self,
        engine: Engine,
        batches: Batches,
        config: TrainingConfig,
        validate: Callable[[Engine], float] | None,
        keep_last: bool,
        on_step: Callable[[LogRow], None] | None,
        on_look: Callable[[Engine, LogRow], None] | None,
        team: Team | None,
    ) -> None:
        self.team = team
        self.engine, self.batches, self.config = engine, batches, config
        self.validate, self.on_step, self.on_look = validate, on_step, on_look
        self.keep_last = keep_last or validate is None
        self.folder: Path | None = None
        self.identity: dict[str, Any] = {}
        self.step, self.saved_step = 0, -1
        self.log: list[LogRow] = []
        self.stopped: Stopped | None = None
        self.best_step, self.best_loss, self.waited = 0, math.inf, 0
        self.best: Weights = _copy(engine.dump_weights())
        self.plateau, self.guard = Plateau(), Guard()
        self.started = time.monotonic()

    # -------------------------------------------------------------------------------- the course

    def to_end(self, interruption: Interruption) -> TrainingResult:
        if self.step == 0 and self.validate is not None and not self.log:
            self._look(rate=0.0, train_loss=None)
        while self.stopped is None:
            if interruption.signal is not None:
                self._stop(interruption)
            self._advance()
        if self.guard.is_exploded and (self.keep_last or self.best_step == 0):
            self._fail(
                f"the loss ended above {Guard.FACTOR:g} times its best level, at "
                f"{self.guard.level:g} on average"
            )
        if self.keep_last:
            self.best_step, self.best = self.step, _copy(self.engine.dump_weights())
        self.engine.load_weights(self.best)
        return TrainingResult(tuple(self.log), self.best_step, self.stopped, self.best)

    def _advance(self) -> None:
        config = self.config
        rate = learning_rate(config.lr_schedule, self.step, config.max_steps, config.learning_rate)
        rate *= self.plateau.scale
        loss = self._train_batch(rate)
        self.step += 1
        if not math.isfinite(loss):
            self._fail(f"the loss is {loss:g}")
        self.guard = self.guard.after(loss)
        if self.guard.is_diverging:
            self._fail(
                f"the loss was above {Guard.FACTOR:g} times its best level for {Guard.PATIENCE} "
                f"steps and is {loss:g}"
            )
        if self.step % config.val_check_steps == 0 or self.step == config.max_steps:
            self._look(rate, loss)
            if self.on_look is not None:
                self.on_look(self.engine, self.log[-1])
            self._save()
        else:
            self._record(rate, loss, None)

    def _train_batch(self, rate: float) -> float:
        try:
            return float(self.engine.train_batch(self.batches.batch(self.step), rate))
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise TrainingError(
                "TRAINING_MEMORY",
                f"memory ran out at step {self.step + 1} with batch_size={self.config.batch_size} "
                f"and window={self.config.window}; lower one of them.",
            ) from error

    def _look(self, rate: float, train_loss: float | None) -> None:
        """Judge the weights: keep the best ones, lower the learning rate, decide to stop."""
        valid_loss = None if self.validate is None else self._agree(self.validate(self.engine))
        self._record(rate, train_loss, valid_loss)
        loss = self._recent_train_loss() if valid_loss is None else valid_loss
        weights = _copy(self.engine.dump_weights())
        if not math.isfinite(loss) or not all(
            np.isfinite(array).all() for array in weights.values()
        ):
            self._fail(f"the weights or the validation loss ({loss:g}) are not finite")
        self.waited += 1
        unjudged = valid_loss is None and self.guard.is_exploded
        if loss < self.best_loss and not unjudged:
            self.best_step, self.best_loss, self.best, self.waited = self.step, loss, weights, 0
        if self.config.lr_schedule == "reduce_on_plateau":
            self.plateau = self.plateau.after(loss)
        patience = self.config.early_stop_patience
        if self.step == self.config.max_steps:
            self.stopped = "finished"
        elif valid_loss is not None and patience >= 0 and self.waited >= max(patience, 1):
            self.stopped = "early"

    def _agree(self, value: float) -> float:
        """What decides has the same bits on all members of a team, whatever their machines."""
        return float(value) if self.team is None else self.team.agree(value)

    def _recent_train_loss(self) -> float:
        """Mean training loss since the last look."""
        steps = self.step % self.config.val_check_steps or self.config.val_check_steps
        return math.fsum(row.train_loss or 0.0 for row in self.log[-steps:]) / steps

    def _record(self, rate: float, train_loss: float | None, valid_loss: float | None) -> None:
        row = LogRow(self.step, rate, train_loss, valid_loss, time.monotonic() - self.started)
        self.log.append(row)
        if self.on_step is not None:
            self.on_step(row)

    # ---------------------------------------------------------------------------------- the ends

    def _fail(self, finding: str) -> None:
        self.engine.load_weights(self.best)
        batch = f" (batch {self.step - 1})" if self.step else ""
        raise TrainingError(
            DIVERGED,
            f"training diverged at step {self.step}{batch}: {finding}; "
            f"{advise(self.engine.spec, self.config.learning_rate)}.",
        )

    def _stop(self, interruption: Interruption) -> None:
        if self.saved_step != self.step:  # a kill while it is written again could lose it
            self._save()
        raise interruption.to_stop(
            f"after step {self.step} of {self.config.max_steps}",
            f"a checkpoint is in {self.folder}, run it again with resume to continue",
        )

    # ------------------------------------------------------------------------------- checkpoints

    def attach(self, folder: Path, identity: dict[str, Any], resume: bool) -> None:
        """Keep checkpoints in ``folder``, and continue from the newest if asked."""
        self.folder, self.identity = folder, identity
        if not resume and checkpoints.has_checkpoint(folder):
            raise UsageError(
                "CHECKPOINT_EXISTS",
                f"{folder} holds the checkpoints of another run; resume it, delete it (on "
                "the command line: --force), or use another folder.",
            )
        found = checkpoints.load_checkpoint(folder)
        step = -1 if found is None else found.step
        if self._agree(step) != step:
            raise TrainingError(
                "WORKERS_DISAGREE",
                f"the newest checkpoint in {folder} is of step {step} here, and another one for "
                "the first worker; see that all workers see the same folder, and resume.",
            )
        if found is None:
            return
        checkpoints.refuse_changes(found.identity, identity, folder)
        checkpoints.warn_of_changes(
            found.environment, checkpoints.describe_environment(self.engine)
        )
        self._restore(found)

    def _save(self) -> None:
        if self.folder is None or not (self.team is None or self.team.writes):
            return
        tensors = {
            "weights": self.engine.dump_weights(),
            "best": self.best,
            "optimizer": self.engine.dump_optimizer(),
            "log": _to_columns(self.log),
        }
        state = {
            "stopped": self.stopped,
            "best_step": self.best_step,
            "best_loss": self.best_loss,
            "waited": self.waited,
            "plateau": dataclasses.asdict(self.plateau),
            "guard": dataclasses.asdict(self.guard),
        }
        checkpoints.save_checkpoint(
            self.folder,
            Checkpoint(
                self.step,
                _encode(state),
                tensors,
                self.identity,
                checkpoints.describe_environment(self.engine),
            ),
        )
        self.saved_step = self.step
        if self.team is not None:
            self.team.keep(self.folder)

    def _restore(self, found: Checkpoint) -> None:
        state = _decode(found.state)
        self.step = self.saved_step = found.step
        self.stopped, self.best_step = state["stopped"], state["best_step"]
        self.best_loss, self.waited = state["best_loss"], state["waited"]
        self.plateau, self.guard = Plateau(**state["plateau"]), Guard(**state["guard"])
        self.best = found.tensors["best"]
        self.log = _from_columns(found.tensors["log"])
        self.engine.load_weights(found.tensors["weights"])
        self.engine.load_optimizer(found.tensors.get("optimizer", {}))
        if self.log:
            self.started = time.monotonic() - self.log[-1].seconds


def _is_out_of_memory(error: BaseException) -> bool:
    """The frameworks tell it by the text of a RuntimeError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text


def _copy(weights: Mapping[str, np.ndarray]) -> Weights:
    """Own copies: an engine may hand out views of what it goes on training."""
    return {name: np.array(array) for name, array in weights.items()}


def _encode(value: Any) -> Any:
    """JSON has no infinity, the loss before the first look is one."""
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    return "inf" if value == math.inf else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    return math.inf if value == "inf" else value


def _to_columns(log: list[LogRow]) -> Weights:
    columns = {field.name: [getattr(row, field.name) for row in log] for field in _LOG_FIELDS}
    return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}


def _from_columns(columns: Mapping[str, np.ndarray]) -> list[LogRow]:
    rows = zip(*(columns[field.name].tolist() for field in _LOG_FIELDS), strict=True)
    return [
        LogRow(int(step), rate, _known(train), _known(valid), seconds)
        for step, rate, train, valid, seconds in rows
    ]


def _known(loss: float) -> float | None:
    return None if math.isnan(loss) else loss


_LOG_FIELDS = dataclasses.fields(LogRow)
