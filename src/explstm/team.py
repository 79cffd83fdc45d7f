"""Several processes that train one network together, step by step.

Contract: every member runs the same training on the same data, and has the same weights after every
step. Of each batch it differentiates its own slice of the series; the losses and gradients of all
slices, each weighted by its share of the batch's weights, add up to those of the whole batch, and
all members take the same step. So a team trains as one process does, but for the order in which
float32 numbers are added. Dropout differs: every member draws its own masks.

How members reach each other is not known here: a team is given a function that adds arrays up.

Axis letters: B series, T time, F features, R origins, H horizon.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explstm.config import BackendName
from explstm.errors import TrainingError, UsageError
from explstm.models.engine import Array, Arrays, Engine, OptimizerConfig, TrainingBatch
from explstm.models.losses import LossConfig
from explstm.models.spec import ModelSpec

SEEDS = 1 << 32
"""How far the seeds of members lie apart: further than seeds of trainings can."""


def _keep_nothing(_folder: Path) -> None:
    """A folder of checkpoints that all members see needs nothing more."""


@dataclass(frozen=True)
class Team:
    """One member, and its way to the others.

    Attributes:
        rank: Which member this is, from 0; the first one writes the checkpoints.
        size: How many there are.
        add: The sum over all members of an array; all call it alike, and get the same bits.
        keep: Called by the first member with the folder in which it has written a checkpoint.
    """

    rank: int
    size: int
    add: Callable[[Array], Array]
    keep: Callable[[Path], None] = _keep_nothing

    @property
    def writes(self) -> bool:
        """Whether this member writes the checkpoints."""
        return self.rank == 0

    def agree(self, value: float) -> float:
        """The value that the first member found, whatever the others have."""
        return float(self.add(np.array([value if self.rank == 0 else 0.0], np.float64))[0])


@dataclass(frozen=True)
class Slice:
    """Some series of a batch, see :class:`explstm.models.engine.TrainingBatch`."""

    features_BTF: Array
    origins_BT: Array
    targets_RH: Array
    weights_RH: Array


def take_slice(batch: TrainingBatch, rank: int, size: int) -> Slice:
    """The series of a batch that fall to a member, up to the last step that is asked of them."""
    n_series = len(batch.origins_BT)
    first, last = n_series * rank // size, n_series * (rank + 1) // size
    ends = np.cumsum([0, *np.count_nonzero(batch.origins_BT, axis=1)])
    origins = slice(ends[first], ends[last])
    asked_T = np.flatnonzero(batch.origins_BT[first:last].any(axis=0))
    n_steps = asked_T[-1] + 1 if len(asked_T) else 1
    return Slice(
        batch.features_BTF[first:last, :n_steps],
        batch.origins_BT[first:last, :n_steps],
        batch.targets_RH[origins],
        batch.weights_RH[origins],
    )


class TeamEngine:
    """An engine that shares every batch with the engines of the other members."""

    def __init__(self, engine: Engine, team: Team) -> None:
        """Take the engine of this member.

        Raises:
            UsageError: The network normalises over batches, which no member sees whole.
        """
        if engine.spec.batch_norm:
            raise UsageError(
                "CONFIG_CONFLICT",
                "batch_norm=True takes its statistics from whole batches, which several workers "
                "do not see; set batch_norm=False, or train with one worker.",
            )
        self.backend: BackendName = engine.backend
        self.spec: ModelSpec = engine.spec
        self._engine, self._team, self._step = engine, team, 0

    def compile(self, optimizer: OptimizerConfig, loss: LossConfig, *, seed: int = 0) -> None:
        """Make ready to train from step 0; dropout is one of the member's own."""
        self._engine.compile(optimizer, loss, seed=seed + SEEDS * self._team.rank)
        self._step = 0

    def train_batch(self, batch: TrainingBatch, learning_rate: float) -> float:
        """Take one step, together; returns the loss of the whole batch before it."""
        loss, gradients = self.differentiate(batch)
        self._engine.apply_gradients(gradients, learning_rate)
        self._step += 1
        return loss

    def gradients(self, batch: TrainingBatch) -> dict[str, Array]:
        """Those of the whole batch."""
        return self.differentiate(batch)[1]

    def differentiate(self, batch: TrainingBatch) -> tuple[float, dict[str, Array]]:
        """The loss and the gradients of the whole batch; changes nothing."""
        trainable = [parameter for parameter in self.spec.parameters if parameter.trainable]
        shapes = {parameter.name: parameter.shape for parameter in trainable}

        def differentiate(part: Slice) -> list[Array]:
            loss, gradients = self._engine.differentiate(part)
            return [np.array(loss), *(gradients[name] for name in shapes)]

        loss, *gradients = self._share(batch, differentiate, [(), *shapes.values()])
        return float(loss), dict(zip(shapes, gradients, strict=True))

    def apply_gradients(self, gradients: Arrays, learning_rate: float) -> None:
        """Take a step along gradients, which all members have."""
        self._engine.apply_gradients(gradients, learning_rate)
        self._step += 1

    def evaluate(self, batch: TrainingBatch) -> float:
        """The loss of the whole batch, without dropout."""
        [loss] = self._share(batch, lambda part: [np.array(self._engine.evaluate(part))], [()])
        return float(loss)

    def _share(
        self,
        batch: TrainingBatch,
        work: Callable[[Slice], list[Array]],
        shapes: list[tuple[int, ...]],
    ) -> list[Array]:
        """The mean over the slices of what is made of each, by their shares of the weights."""
        rank, part = self._team.rank, take_slice(batch, self._team.rank, self._team.size)
        mass, whole = (float(of.weights_RH.sum(dtype=np.float64)) for of in (part, batch))
        sizes = [int(np.prod(shape)) for shape in shapes]
        # What the first member is at; the others do not go on when they are at something else.
        at = np.array([self._step, whole], np.float32)
        flat = np.concatenate([np.zeros(sum(sizes), np.float32), at if rank == 0 else 0 * at])
        if mass > 0:
            made = np.concatenate([array.ravel() for array in work(part)])
            flat[:-2] = made * (mass / whole)
        flat = self._team.add(flat)
        if not np.allclose(flat[-2:], at, rtol=1e-3, atol=0):
            raise TrainingError(
                "WORKERS_DISAGREE",
                f"worker {rank} is at step {self._step} with a batch of weight {whole:g}, and the "
                f"first one at step {flat[-2]:.0f} with {flat[-1]:g}; see that all workers read "
                "the same data and checkpoints, and resume.",
            )
        pieces = np.split(flat[:-2], np.cumsum(sizes)[:-1])
        return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    # What needs no other member.

    def dump_weights(self) -> dict[str, Array]:
        """Copies of all weights under their canonical names."""
        return self._engine.dump_weights()

    def load_weights(self, weights: Arrays) -> None:
        """Replace all weights."""
        self._engine.load_weights(weights)

    def predict_last(self, features_BTF: Array, lengths_B: Array) -> Array:
        """Quantiles (B, H, Q) from the last step of every series."""
        return self._engine.predict_last(features_BTF, lengths_B)

    def predict_origins(self, features_BTF: Array, origins_BT: Array) -> Array:
        """Quantiles (R, H, Q) from the picked steps."""
        return self._engine.predict_origins(features_BTF, origins_BT)

    def dump_optimizer(self) -> dict[str, Array]:
        """The step count and the moments."""
        return self._engine.dump_optimizer()

    def load_optimizer(self, state: Arrays) -> None:
        """Continue where :meth:`dump_optimizer` was."""
        self._engine.load_optimizer(state)
        self._step = int(state["step"])
