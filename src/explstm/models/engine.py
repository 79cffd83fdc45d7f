"""What every engine does, and what all of them check first.

An engine holds one network in one framework. Engines exchange weights and optimizer states under
canonical names and shapes (see :mod:`explstm.models.spec`), and given the same weights they give
the same forecasts, losses, gradients and training steps to float32 rounding.

Axis letters: B series, T time, F features, R picked origins (series by series, then by time),
H horizon, Q quantiles.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from explstm.config import BackendName, TrainingConfig
from explstm.errors import BackendNotInstalledError, ModelFileError, UsageError
from explstm.models.losses import LossConfig
from explstm.models.spec import ModelSpec, Parameter

Array = NDArray[Any]
Arrays = Mapping[str, Array]

INSTALL = {
    "torch": "pip install 'explstm[torch]'",
    "tensorflow": "pip install 'explstm[tensorflow]'",
}
FRAMEWORK_MODULES = {"torch": ("torch",), "tensorflow": ("tensorflow", "keras")}


@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients become steps.

    Adam follows Kingma & Ba's efficient form, which is Keras': with ``t`` counted from 1,
    ``rate = learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t)`` and
    ``weight -= rate * m / (sqrt(v) + epsilon)``. AdamW first shrinks the kernels (the arrays with
    two axes) by ``learning_rate * weight_decay``.

    Attributes:
        name: ``"sgd"`` is plain gradient descent, without momentum.
        beta_1: Decay of the mean of the gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root of the mean square.
        weight_decay: Of ``"adamw"``.
        clip_norm: Global norm above which all gradients are scaled down together; None for never.

    Source: Kingma & Ba (2015), end of section 2; Loshchilov & Hutter (2019), algorithm 2.
    """

    name: Literal["sgd", "adam", "adamw"]
    beta_1: float
    beta_2: float
    epsilon: float
    weight_decay: float
    clip_norm: float | None

    @classmethod
    def from_training(cls, config: TrainingConfig) -> Self:
        """The optimizer that a training configuration asks for."""
        return cls(
            name=config.optimizer,
            beta_1=config.beta_1,
            beta_2=config.beta_2,
            epsilon=config.epsilon,
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm,
        )


class TrainingBatch(Protocol):
    """What an engine needs of a batch (:class:`explstm.origins.Batch` has it)."""

    @property
    def features_BTF(self) -> Array:
        """Features, every series from column 0, anything finite after its end."""

    @property
    def origins_BT(self) -> Array:
        """True at the R steps that are forecast from."""

    @property
    def targets_RH(self) -> Array:
        """What happened after each origin."""

    @property
    def weights_RH(self) -> Array:
        """Weight of each target, 0 where it is unknown."""


class Engine(Protocol):
    """One network in one framework."""

    backend: BackendName
    spec: ModelSpec

    def dump_weights(self) -> dict[str, Array]:
        """Copies of all weights under their canonical names, float32."""

    def load_weights(self, weights: Arrays) -> None:
        """Replace all weights; raises ModelFileError where names, shapes or numbers are wrong."""

    def predict_last(self, features_BTF: Array, lengths_B: Array) -> Array:
        """Quantiles (B, H, Q) from the last step of every series, float32."""

    def predict_origins(self, features_BTF: Array, origins_BT: Array) -> Array:
        """Quantiles (R, H, Q) from the picked steps, float32."""

    def compile(self, optimizer: OptimizerConfig, loss: LossConfig, *, seed: int = 0) -> None:
        """Make ready to train from step 0; dropout is a function of the seed and the step."""

    def train_batch(self, batch: TrainingBatch, learning_rate: float) -> float:
        """Take one step; returns the loss before it."""

    def gradients(self, batch: TrainingBatch) -> dict[str, Array]:
        """What the next step would follow, before clipping; changes nothing."""

    def differentiate(self, batch: TrainingBatch) -> tuple[float, dict[str, Array]]:
        """The loss that a step would return, and the gradients; changes nothing."""

    def apply_gradients(self, gradients: Arrays, learning_rate: float) -> None:
        """Take a step along gradients, which are clipped first.

        With those of :meth:`differentiate` it is the step of :meth:`train_batch`, but for the
        moving statistics of batch normalisation, which stay.
        """

    def evaluate(self, batch: TrainingBatch) -> float:
        """The loss without dropout and with the moving statistics of batch normalisation."""

    def dump_optimizer(self) -> dict[str, Array]:
        """The step count and the moments, under canonical names, whatever the framework."""

    def load_optimizer(self, state: Arrays) -> None:
        """Continue where :meth:`dump_optimizer` was; training then goes on to the same bits."""


def make_engine(
    backend: BackendName, spec: ModelSpec, weights: Arrays, *, device: str = "cpu"
) -> Engine:
    """Build a network in the framework asked for, which is imported only now.

    Args:
        backend: The framework.
        spec: The network.
        weights: Its weights under their canonical names.
        device: Where PyTorch computes, such as ``"cuda"``; TensorFlow takes a GPU that it sees.

    Raises:
        UsageError: The backend is unknown, or the device is not there.
        BackendNotInstalledError: Its framework is not installed.
        ModelFileError: The weights do not belong to the specification.
    """
    if backend not in ("numpy", "torch", "tensorflow"):
        raise UsageError(
            "BACKEND_UNKNOWN",
            f"backend={backend!r} is not an engine; choose 'numpy', 'torch' or 'tensorflow'.",
        )
    placed = {} if device == "cpu" else {"device": device}
    if placed and backend != "torch":
        raise UsageError(
            "DEVICE", f"device={device!r} is for backend='torch'; leave it away with {backend!r}."
        )
    try:
        module = importlib.import_module(f"explstm.models.{backend}_engine")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in FRAMEWORK_MODULES.get(backend, ()):
            raise
        raise BackendNotInstalledError(
            "BACKEND_NOT_INSTALLED",
            f"backend={backend!r} needs {error.name}, which is not installed; "
            f"run {INSTALL[backend]} or use backend='numpy' to forecast.",
        ) from None
    engines = {"numpy": "NumpyEngine", "torch": "TorchEngine", "tensorflow": "TensorFlowEngine"}
    engine: Engine = getattr(module, engines[backend])(spec, weights, **placed)
    return engine


def check_weights(spec: ModelSpec, weights: Arrays) -> None:
    """Refuse weights that do not belong to a network.

    Raises:
        ModelFileError: Names the first array that is missing, superfluous, misshapen or not finite.
    """
    _check_arrays(spec.parameters, weights, "weight")


def check_optimizer(spec: ModelSpec, optimizer: OptimizerConfig, state: Arrays) -> None:
    """Refuse an optimizer state that does not belong to a network.

    Raises:
        ModelFileError: Names the first array that is missing, superfluous, misshapen or not finite.
    """
    _check_arrays(optimizer_parameters(spec, optimizer), state, "optimizer array")


def optimizer_parameters(spec: ModelSpec, optimizer: OptimizerConfig) -> tuple[Parameter, ...]:
    """Names and shapes of an optimizer state: the step count and, for Adam, two moments."""
    moments = () if optimizer.name == "sgd" else ("m", "v")
    return (
        Parameter("step", (), "zeros"),
        *(
            Parameter(f"{moment}/{parameter.name}", parameter.shape, "zeros")
            for parameter in spec.parameters
            if parameter.trainable
            for moment in moments
        ),
    )


def _check_arrays(expected: tuple[Parameter, ...], found: Arrays, kind: str) -> None:
    for parameter in expected:
        name = parameter.name
        if name not in found:
            raise ModelFileError(
                "MODEL_WEIGHTS",
                f"{kind} {name} of shape {parameter.shape} is missing; "
                "load arrays saved with this model's own config.json.",
            )
        array = np.asarray(found[name])
        if array.shape != parameter.shape:
            raise ModelFileError(
                "MODEL_WEIGHTS",
                f"{kind} {name} has shape {array.shape} where the model needs {parameter.shape}; "
                "load arrays saved with this model's own config.json.",
            )
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ModelFileError(
                "MODEL_WEIGHTS",
                f"{kind} {name} holds values that are not finite numbers; "
                "load arrays from before the damage.",
            )
    surplus = sorted(set(found) - {parameter.name for parameter in expected})
    if surplus:
        raise ModelFileError(
            "MODEL_WEIGHTS",
            f"{kind} {surplus[0]} does not belong to the model; "
            "load arrays saved with this model's own config.json.",
        )


def check_features(spec: ModelSpec, features_BTF: Array) -> None:
    """Refuse features that a network cannot read.

    Raises:
        UsageError: They are not (series, time, ``spec.n_features``).
    """
    if features_BTF.ndim != 3 or features_BTF.shape[2] != spec.n_features:
        raise UsageError(
            "FEATURES_SHAPE",
            f"features_BTF has shape {features_BTF.shape} where (series, time, {spec.n_features}) "
            "is needed; build it with this model's own preprocessing.",
        )


def last_origins(features_BTF: Array, lengths_B: Array) -> NDArray[np.bool_]:
    """Mark the last step of every series.

    Raises:
        UsageError: A length is not within 1 and the number of steps.
    """
    n_series, n_steps, _ = features_BTF.shape
    lengths_B = np.asarray(lengths_B)
    if lengths_B.shape != (n_series,) or np.any((lengths_B < 1) | (lengths_B > n_steps)):
        raise UsageError(
            "LENGTHS_RANGE",
            f"lengths_B must hold {n_series} lengths between 1 and {n_steps}, found shape "
            f"{lengths_B.shape}; give every series its own length.",
        )
    last_BT: NDArray[np.bool_] = np.arange(n_steps) == lengths_B[:, None] - 1
    return last_BT


def check_origins(features_BTF: Array, origins_BT: Array) -> None:
    """Refuse a mask of origins that does not lie over the features.

    Raises:
        UsageError: It is not boolean or not (series, time).
    """
    if origins_BT.dtype != np.bool_ or origins_BT.shape != features_BTF.shape[:2]:
        raise UsageError(
            "ORIGINS_SHAPE",
            f"origins_BT is {origins_BT.dtype} of shape {origins_BT.shape} where bool of shape "
            f"{features_BTF.shape[:2]} is needed; mark one value per series and step.",
        )


def known_targets(spec: ModelSpec, batch: TrainingBatch) -> tuple[Array, Array]:
    """Check a batch, and return targets that are finite where unknown, and their weights.

    Raises:
        UsageError: Shapes do not agree, or no target is known.
    """
    check_features(spec, batch.features_BTF)
    check_origins(batch.features_BTF, batch.origins_BT)
    needed = (int(np.count_nonzero(batch.origins_BT)), spec.horizon)
    for name in ("targets_RH", "weights_RH"):
        shape = getattr(batch, name).shape
        if shape != needed:
            raise UsageError(
                "BATCH_SHAPE",
                f"{name} has shape {shape} where (origins, horizon) = {needed} is needed; "
                "build the batch for this model's horizon.",
            )
    weights_RH = np.asarray(batch.weights_RH, np.float32)
    if not np.any(weights_RH > 0):
        raise UsageError(
            "BATCH_EMPTY",
            "the batch has no known target to learn from; leave out series without one.",
        )
    return np.where(weights_RH > 0, batch.targets_RH, 0).astype(np.float32), weights_RH


def require_compiled(compiled: object | None) -> None:
    """Refuse to train before :meth:`Engine.compile`.

    Raises:
        UsageError: Nothing was compiled.
    """
    if compiled is None:
        raise UsageError(
            "ENGINE_NOT_COMPILED",
            "the engine has no optimizer and no loss; call compile(optimizer, loss) first.",
        )
