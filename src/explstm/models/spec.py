"""What a network is: its parts, the names and shapes of its weights, and how they start.

A specification is a frozen, JSON-able value. It decides everything about a network except the
numbers in it, so that NumPy, PyTorch and Keras can build the same one and exchange weights.

    features_BTF -> cell 0 -> dropout -> cell 1 -> ... -> the picked origins (R, C) -> dropout
                 -> beside the features of the origin (``residual``)
                 -> dense block 0 (linear, batch norm, activation, dropout) -> ...
                 -> head -> (R, H, Q)

Canonical layout: kernels are ``(in, out)``; the four gates of a cell lie side by side in the order
input, forget, candidate, output; each recurrent layer has one bias. A recurrent kernel of several
heads keeps only the rows within a head: ``(size / heads, 4 * size)``. The columns of the head are
ordered horizon first, then quantile (column ``k * Q + j``).

Axis letters: B series, T time, F features, R picked origins, H horizon, Q quantiles.
"""

import math
import zlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from explstm.config import Configuration
from explstm.errors import UsageError

Activation = Literal[
    "linear",
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "relu",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "silu",
]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
Init = Literal["glorot_uniform", "orthogonal", "forget_bias", "quantile_bias", "zeros", "ones"]
Weights = dict[str, NDArray[np.floating]]

BATCH_NORM_MOMENTUM = 0.9
"""Share of a moving statistic that survives a step (Keras' meaning; PyTorch's is one minus it)."""
BATCH_NORM_EPSILON = 1e-3
"""Added to the variance before its root is taken."""
MEDIAN = 0.5
GAUSSIAN_STEP = math.sqrt(math.pi / 2)
"""Standard deviation of a Gaussian step whose mean absolute size is 1, the unit of growth space."""

Size = Annotated[int, Field(ge=1, le=4096)]
Sizes = Annotated[tuple[Size, ...], Field(max_length=16)]


@dataclass(frozen=True)
class Parameter:
    """One array of a network.

    Attributes:
        name: Canonical name, ``layer/part``.
        shape: Canonical shape.
        init: How it starts.
        trainable: False for the moving statistics of batch normalisation.
    """

    name: str
    shape: tuple[int, ...]
    init: Init
    trainable: bool = True

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class ModelSpec(Configuration):
    """Everything about a network except its weights.

    Attributes:
        n_features: Inputs per time step.
        cell: Recurrent cell: ``"lstm"``, or ``"slstm"`` with an exponential input gate.
        hidden_sizes: Width of each stacked recurrent layer.
        activation: Of the candidate of a cell and, unless ``output_activation`` is given, of the
            output of an LSTM cell.
        recurrent_activation: Of the input, forget and output gates of an LSTM cell, and of the
            output gate of an sLSTM cell.
        output_activation: Of the output of an LSTM cell; None for that of the candidate.
        forget_gate: Of an sLSTM cell, ``"sigmoid"`` or ``"exp"``.
        n_heads: Parts of an sLSTM layer that see only their own hidden state.
        dense_sizes: Width of each dense block between the recurrent layers and the head.
        dense_activation: Of the dense blocks.
        dropout: Share of the outputs of every recurrent layer and dense block dropped in training,
            drawn anew for every series, step and unit.
        batch_norm: Whether dense blocks normalise over the origins of a batch, with the biased
            variance; their bias then gives way to ``norm_*/beta``.
        residual: Whether the features of the origin skip the recurrent layers.
        horizon: Steps forecast.
        quantiles: Rising probabilities, the median among them.
    """

    model_config = ConfigDict(ignored_types=(cached_property,))

    n_features: Size = 6  # explstm.growth.N_FEATURES
    cell: Literal["lstm", "slstm"] = "lstm"
    hidden_sizes: Annotated[Sizes, Field(min_length=1)] = (64, 64)
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    output_activation: Activation | None = None
    forget_gate: Literal["sigmoid", "exp"] = "sigmoid"
    n_heads: Size = 1
    dense_sizes: Sizes = ()
    dense_activation: Activation = "elu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    batch_norm: bool = False
    residual: bool = True
    horizon: Size = 12
    quantiles: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1, max_length=99)
    ] = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)

    def __init__(self, **values: Any) -> None:
        """Build a specification.

        Raises:
            UsageError: An unknown key, a wrong type, a value out of range, or one of another cell.
        """
        super().__init__(**values)
        _check_quantiles(self.quantiles)
        _check_cell(self)

    @property
    def median(self) -> int:
        """Position of the median among the quantiles."""
        return self.quantiles.index(MEDIAN)

    @property
    def cell_output(self) -> Activation:
        """Activation of the output of an LSTM cell."""
        return self.output_activation or self.activation

    @property
    def picked_size(self) -> int:
        """Width of a picked origin: the last recurrent layer and, when they skip, the features."""
        return self.hidden_sizes[-1] + (self.n_features if self.residual else 0)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every array of the network, from input to output."""
        table: list[Parameter] = []
        width = self.n_features
        for i, size in enumerate(self.hidden_sizes):
            table += [
                Parameter(f"{self.cell}_{i}/kernel", (width, 4 * size), "glorot_uniform"),
                Parameter(
                    f"{self.cell}_{i}/recurrent_kernel",
                    (size // self.n_heads, 4 * size),
                    "orthogonal",
                ),
                Parameter(f"{self.cell}_{i}/bias", (4 * size,), "forget_bias"),
            ]
            width = size
        width = self.picked_size
        for i, size in enumerate(self.dense_sizes):
            table.append(Parameter(f"dense_{i}/kernel", (width, size), "glorot_uniform"))
            table += (
                _norm_parameters(i, size)
                if self.batch_norm
                else [Parameter(f"dense_{i}/bias", (size,), "zeros")]
            )
            width = size
        outputs = self.horizon * len(self.quantiles)
        table.append(Parameter("head/kernel", (width, outputs), "glorot_uniform"))
        table.append(Parameter("head/bias", (outputs,), "quantile_bias"))
        return tuple(table)

    @property
    def n_weights(self) -> int:
        """How many numbers training can change."""
        return sum(parameter.size for parameter in self.parameters if parameter.trainable)


def init_weights(spec: ModelSpec, seed: int) -> dict[str, NDArray[np.float32]]:
    """Draw the initial weights of a network.

    Kernels are Glorot uniform, recurrent kernels orthogonal, and the forget gates start open (bias
    1). The biases of the head are such that the network starts as a random walk: a median of 0 and,
    at horizon k, the quantiles of a Gaussian whose standard deviation is sqrt(k) typical steps.
    Every array has its own random stream, so that adding a layer leaves the others as they were.

    Args:
        spec: The network.
        seed: Seed; the caller's random state is neither read nor changed.

    Source:
        Glorot & Bengio (2010), eq. 16; Saxe et al. (2014); Jozefowicz et al. (2015), section 3.
    """
    return {
        parameter.name: _draw(parameter, spec, seed).astype(np.float32)
        for parameter in spec.parameters
    }


def _draw(parameter: Parameter, spec: ModelSpec, seed: int) -> NDArray[np.float64]:
    shape = parameter.shape
    match parameter.init:
        case "glorot_uniform":
            limit = math.sqrt(6 / sum(shape))
            return _stream(parameter, seed).uniform(-limit, limit, shape)
        case "orthogonal":
            return _orthogonal(_stream(parameter, seed), *shape, n_heads=spec.n_heads)
        case "forget_bias":
            return np.repeat([0.0, 1.0, 0.0, 0.0], shape[0] // 4)
        case "quantile_bias":
            return _random_walk_bias(spec)
        case "ones":
            return np.ones(shape)
        case "zeros":
            return np.zeros(shape)


def head_mask(size: int, n_heads: int) -> NDArray[np.float32]:
    """1 where a unit sees a gate of its own head, else 0: (size, 4 * size).

    Times the recurrent kernel repeated once per head, it is the kernel of all heads together.
    """
    head_C = np.arange(size) * n_heads // size
    return np.tile(head_C[:, None] == head_C, (1, 4)).astype(np.float32)


def count_idle_biases(spec: ModelSpec, size: int) -> int:
    """How many numbers at the start of a recurrent bias of a width cannot change a forecast.

    The biases of the input gates of sLSTM cancel in c / n. Their gradient is 0, and engines say so:
    rounding would leave noise instead, which Adam blows up to full steps.
    """
    return size if spec.cell == "slstm" else 0


def _stream(parameter: Parameter, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(parameter.name.encode())])


def _orthogonal(
    rng: np.random.Generator, rows: int, columns: int, *, n_heads: int
) -> NDArray[np.float64]:
    """Orthonormal rows, for each head on its own, whose columns lie in every gate."""
    heads = []
    for _ in range(n_heads):
        q, r = np.linalg.qr(rng.standard_normal((columns // n_heads, rows)))
        uniform = q * np.sign(np.diag(r))  # a draw without preferred directions
        heads.append(uniform.T.reshape(rows, 4, -1))
    return np.concatenate(heads, axis=2).reshape(rows, columns)


def _random_walk_bias(spec: ModelSpec) -> NDArray[np.float64]:
    z_Q = np.array([NormalDist().inv_cdf(quantile) for quantile in spec.quantiles])
    gaps = np.diff(z_Q)
    gap_Q = np.concatenate([gaps[: spec.median], [1.0], gaps[spec.median :]])
    root_H = np.sqrt(np.arange(1, spec.horizon + 1))
    gap_HQ = GAUSSIAN_STEP * root_H[:, None] * gap_Q
    bias_HQ = gap_HQ + np.log(-np.expm1(-gap_HQ))  # the inverse of softplus
    bias_HQ[:, spec.median] = 0.0
    return bias_HQ.ravel()


def _norm_parameters(i: int, size: int) -> list[Parameter]:
    return [
        Parameter(f"norm_{i}/gamma", (size,), "ones"),
        Parameter(f"norm_{i}/beta", (size,), "zeros"),
        Parameter(f"norm_{i}/moving_mean", (size,), "zeros", trainable=False),
        Parameter(f"norm_{i}/moving_variance", (size,), "ones", trainable=False),
    ]


def _check_quantiles(quantiles: tuple[float, ...]) -> None:
    rising = all(low < high for low, high in pairwise(quantiles))
    if not rising or MEDIAN not in quantiles:
        raise UsageError(
            "SPEC_QUANTILES",
            f"quantiles={quantiles} must rise strictly and contain {MEDIAN}; "
            "sort them and add the median.",
        )


def _check_cell(spec: ModelSpec) -> None:
    """Refuse settings of the other cell, which would be ignored."""
    if spec.cell == "lstm":
        for name, found in (("forget_gate", spec.forget_gate), ("n_heads", spec.n_heads)):
            if found != ModelSpec.model_fields[name].default:
                raise UsageError(
                    "SPEC_CELL",
                    f"{name}={found!r} belongs to cell='slstm', found cell='lstm'; leave {name} "
                    "out or use cell='slstm'.",
                )
    elif spec.output_activation is not None:
        raise UsageError(
            "SPEC_CELL",
            f"output_activation={spec.output_activation!r} belongs to cell='lstm', found "
            "cell='slstm', whose output has none; leave output_activation out.",
        )
    if any(size % spec.n_heads for size in spec.hidden_sizes):
        raise UsageError(
            "SPEC_HEADS",
            f"n_heads={spec.n_heads} must divide every hidden size, found hidden_sizes="
            f"{spec.hidden_sizes}; choose sizes that are multiples of n_heads.",
        )
