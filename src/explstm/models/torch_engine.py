"""The network in native PyTorch.

Data go time first and series last, the order in which the recurrent layers compute. Nothing global
is changed: not the threads, not the random state, not the default type or device.

Axis letters: B series, T time, F features, C channels, R origins, H horizon, Q quantiles.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from explstm.config import BackendName
from explstm.errors import UsageError
from explstm.models.engine import (
    Array,
    Arrays,
    OptimizerConfig,
    TrainingBatch,
    check_features,
    check_optimizer,
    check_origins,
    check_weights,
    known_targets,
    last_origins,
    require_compiled,
)
from explstm.models.head import order_quantiles
from explstm.models.losses import LossConfig
from explstm.models.spec import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, ModelSpec
from explstm.models.torch_activations import ACTIVATIONS
from explstm.models.torch_head import Targets, score
from explstm.models.torch_stack import Stack


class BatchNorm(nn.Module):
    """Batch normalisation whose moving variance is the biased one, as Keras has it.

    ``torch.nn.BatchNorm1d`` normalises with the biased variance but keeps the unbiased one.
    """

    def __init__(self, size: int) -> None:
        """Take the width."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.bias = nn.Parameter(torch.empty(size))
        self.register_buffer("running_mean", torch.empty(size))
        self.register_buffer("running_var", torch.empty(size))

    def forward(self, x_RC: Tensor, training: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Normalised values, and the moving statistics with what they are to become."""
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        moved: list[tuple[Tensor, Tensor]] = []
        if training:
            kept = (mean, variance)
            variance, mean = torch.var_mean(x_RC, dim=0, correction=0)
            moved = [
                (old, torch.lerp(new.detach(), old, BATCH_NORM_MOMENTUM))
                for old, new in zip(kept, (mean, variance), strict=True)
            ]
        scale = self.weight * torch.rsqrt(variance + BATCH_NORM_EPSILON)
        return (x_RC - mean) * scale + self.bias, moved


class Network(nn.Module):
    """The layers of a specification; their weights are undefined until loaded."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build the layers."""
        super().__init__()
        self.spec = spec
        self.stacks = _make_stacks(spec)
        self._stacks = nn.ModuleList(self.stacks)  # so that PyTorch finds their parameters
        widths = (spec.picked_size, *spec.dense_sizes)
        self.denses = nn.ModuleList(
            nn.Linear(*sizes, bias=not spec.batch_norm) for sizes in pairwise(widths)
        )
        norms = spec.dense_sizes if spec.batch_norm else ()
        self.norms = nn.ModuleList(BatchNorm(size) for size in norms)
        outputs = spec.horizon * len(spec.quantiles)
        self.head = nn.Linear(widths[-1], outputs)
        self._dense_activation = ACTIVATIONS[spec.dense_activation].function

    def forward(
        self, features_TFB: Tensor, rows_R: Tensor, noise: torch.Generator | None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """What the head makes forecasts of, at picked steps.

        Args:
            features_TFB: Features, time first, series last.
            rows_R: Picked steps, as positions in the flattened (T, B).
            noise: Source of dropout; None outside training.

        Returns:
            Channels (R, C), and the moving statistics with what they are to become.
        """
        hidden_TCB = features_TFB
        for i, stack in enumerate(self.stacks):
            hidden_TCB = self._drop(hidden_TCB, noise) if i else hidden_TCB
            hidden_TCB = stack(hidden_TCB)
        x_RC = self._drop(_pick(hidden_TCB, rows_R), noise)
        if self.spec.residual:
            x_RC = torch.cat([x_RC, _pick(features_TFB, rows_R)], 1)
        moved: list[tuple[Tensor, Tensor]] = []
        for i, dense in enumerate(self.denses):
            x_RC = dense(x_RC)
            if self.spec.batch_norm:
                x_RC, moved_here = self.norms[i](x_RC, noise is not None)
                moved += moved_here
            x_RC = self._drop(self._dense_activation(x_RC), noise)
        return x_RC, moved

    def quantiles(self, x_RC: Tensor) -> Tensor:
        """Forecasts (Q, R, H)."""
        raw_QRH = self.head(x_RC).unflatten(1, (self.spec.horizon, -1)).movedim(-1, 0)
        raw_QRH = raw_QRH.contiguous()  # softplus is several times faster on whole arrays
        ordered: Tensor = order_quantiles(raw_QRH, self.spec.median, functional.softplus, torch)
        return ordered

    def _drop(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        if noise is None or self.spec.dropout == 0:
            return x
        keep = 1 - self.spec.dropout
        return x * torch.empty_like(x).bernoulli_(keep, generator=noise).div_(keep)

    def native(self) -> Iterator[tuple[str, Tensor]]:
        """Every array under its canonical name, in PyTorch's own layout."""
        layers = (layer for stack in self.stacks for layer in stack.layers)
        for i, layer in enumerate(layers):
            for part in ("kernel", "recurrent_kernel", "bias"):
                yield f"{self.spec.cell}_{i}/{part}", layer.get_parameter(part)
        for i, dense in enumerate(self.denses):
            yield f"dense_{i}/kernel", dense.get_parameter("weight")
            if not self.spec.batch_norm:
                yield f"dense_{i}/bias", dense.get_parameter("bias")
        for i, norm in enumerate(self.norms):
            yield f"norm_{i}/gamma", norm.get_parameter("weight")
            yield f"norm_{i}/beta", norm.get_parameter("bias")
            yield f"norm_{i}/moving_mean", norm.get_buffer("running_mean")
            yield f"norm_{i}/moving_variance", norm.get_buffer("running_var")
        yield "head/kernel", self.head.get_parameter("weight")
        yield "head/bias", self.head.get_parameter("bias")


@dataclass
class Training:
    """What :meth:`TorchEngine.compile` sets up."""

    config: OptimizerConfig
    loss: LossConfig
    seed: int
    optimizer: torch.optim.Optimizer
    step: int = 0


class TorchEngine:
    """One network in PyTorch."""

    backend: BackendName = "torch"

    def __init__(
        self, spec: ModelSpec, weights: Arrays, *, device: str | torch.device = "cpu"
    ) -> None:
        """Build the network.

        Args:
            spec: What to build.
            weights: Its weights under their canonical names.
            device: Where it computes.

        Raises:
            UsageError: PyTorch knows no such device, or cannot reach it here.
        """
        self.spec = spec
        self._device = _find_device(device)
        with torch.device("meta"):  # draws no initial weights, so the random state stays untouched
            network = Network(spec)
        self._network = network.to_empty(device=self._device)
        self._native = dict(self._network.native())
        self._levels_Q = self._tensor(np.array(spec.quantiles, np.float32))
        self._training: Training | None = None
        self.load_weights(weights)

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(self._device)

    def load_weights(self, weights: Arrays) -> None:
        """Replace all weights; raises ModelFileError where names, shapes or numbers are wrong."""
        check_weights(self.spec, weights)
        with torch.no_grad():
            for name, tensor in self._native.items():
                tensor.copy_(self._from_canonical(name, weights[name]))

    def dump_weights(self) -> dict[str, Array]:
        """Copies of all weights under their canonical names, float32."""
        return {p.name: to_canonical(p.name, self._native[p.name]) for p in self.spec.parameters}

    def predict_last(self, features_BTF: Array, lengths_B: Array) -> Array:
        """Quantiles (B, H, Q) from the last step of every series."""
        check_features(self.spec, features_BTF)
        return self._predict(features_BTF, last_origins(features_BTF, lengths_B))

    def predict_origins(self, features_BTF: Array, origins_BT: Array) -> Array:
        """Quantiles (R, H, Q) from the picked steps."""
        check_features(self.spec, features_BTF)
        check_origins(features_BTF, origins_BT)
        return self._predict(features_BTF, origins_BT)

    def compile(self, optimizer: OptimizerConfig, loss: LossConfig, *, seed: int = 0) -> None:
        """Make ready to train from step 0; dropout is a function of the seed and the step."""
        self._training = Training(optimizer, loss, seed, _make_optimizer(optimizer, self._native))

    def train_batch(self, batch: TrainingBatch, learning_rate: float) -> float:
        """Take one step; returns the loss before it."""
        training = self._require_training()
        loss, moved = self._loss(batch, self._noise(training))
        training.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._descend(training, learning_rate)
        for old, new in moved:
            old.copy_(new)
        return loss.item()

    def gradients(self, batch: TrainingBatch) -> dict[str, Array]:
        """What the next step would follow, before clipping; changes nothing."""
        return self.differentiate(batch)[1]

    def differentiate(self, batch: TrainingBatch) -> tuple[float, dict[str, Array]]:
        """The loss that a step would return, and the gradients; changes nothing."""
        loss, _ = self._loss(batch, self._noise(self._require_training()))
        trainable = self._trainable()
        gradients = torch.autograd.grad(loss, list(trainable.values()))
        return loss.item(), {
            name: to_canonical(name, gradient)
            for name, gradient in zip(trainable, gradients, strict=True)
        }

    def apply_gradients(self, gradients: Arrays, learning_rate: float) -> None:
        """Take a step along gradients, which are clipped first."""
        for name, tensor in self._trainable().items():
            tensor.grad = self._from_canonical(name, gradients[name]).contiguous()
        self._descend(self._require_training(), learning_rate)

    def evaluate(self, batch: TrainingBatch) -> float:
        """The loss without dropout and with the moving statistics of batch normalisation."""
        self._require_training()
        with torch.no_grad():
            loss, _ = self._loss(batch, None)
        return loss.item()

    def dump_optimizer(self) -> dict[str, Array]:
        """The step count and the moments, under canonical names."""
        training = self._require_training()
        state: dict[str, Array] = {"step": np.array(training.step, np.int64)}
        if training.config.name == "sgd":
            return state
        for name, tensor in self._trainable().items():
            moments = training.optimizer.state.get(tensor)
            for short, long in MOMENTS.items():
                moment = moments[long] if moments else torch.zeros_like(tensor)
                state[f"{short}/{name}"] = to_canonical(name, moment)
        return state

    def load_optimizer(self, state: Arrays) -> None:
        """Continue where :meth:`dump_optimizer` was; training then goes on to the same bits."""
        training = self._require_training()
        check_optimizer(self.spec, training.config, state)
        training.step = int(state["step"])
        if training.config.name == "sgd":
            return
        for name, tensor in self._trainable().items():
            training.optimizer.state[tensor] = {
                "step": torch.tensor(float(training.step), device=self._device),
                **{
                    long: self._from_canonical(name, state[f"{short}/{name}"]).contiguous()
                    for short, long in MOMENTS.items()
                },
            }

    def _descend(self, training: Training, learning_rate: float) -> None:
        """Take a step along the gradients that the weights hold."""
        _clip(self._trainable(), training.config.clip_norm)
        training.step += 1
        for group in training.optimizer.param_groups:
            group["lr"] = learning_rate
            if training.config.name != "sgd":  # PyTorch adds epsilon after it has corrected sqrt(v)
                correction = math.sqrt(1 - training.config.beta_2**training.step)
                group["eps"] = training.config.epsilon / correction
        training.optimizer.step()

    def _predict(self, features_BTF: Array, origins_BT: Array) -> Array:
        with torch.no_grad():
            x_RC, _ = self._channels(features_BTF, origins_BT, None)
            quantiles_QRH = self._network.quantiles(x_RC)
        result: Array = quantiles_QRH.movedim(0, -1).contiguous().cpu().numpy()
        return result

    def _channels(
        self, features_BTF: Array, origins_BT: Array, noise: torch.Generator | None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        features_TFB = self._tensor(
            np.ascontiguousarray(np.moveaxis(features_BTF, 0, -1), np.float32)
        )
        series_R, time_R = np.nonzero(origins_BT)
        rows_R = self._tensor(time_R * len(origins_BT) + series_R)
        result: tuple[Tensor, list[tuple[Tensor, Tensor]]]
        result = self._network(features_TFB, rows_R, noise)
        return result

    def _loss(
        self, batch: TrainingBatch, noise: torch.Generator | None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        targets_RH, weights_RH = known_targets(self.spec, batch)
        x_RC, moved = self._channels(batch.features_BTF, batch.origins_BT, noise)
        targets = Targets(
            self._tensor(targets_RH),
            self._tensor(weights_RH),
            self._levels_Q,
            self._require_training().loss,
            self.spec.median,
        )
        head = self._network.head
        loss = score(x_RC, head.get_parameter("weight"), head.get_parameter("bias"), targets)
        return loss, moved

    def _noise(self, training: Training) -> torch.Generator:
        seed = np.random.SeedSequence([training.seed, training.step]).generate_state(1, np.uint64)
        return torch.Generator(self._device).manual_seed(int(seed[0]))

    def _trainable(self) -> dict[str, Tensor]:
        return {n: tensor for n, tensor in self._native.items() if tensor.requires_grad}

    def _require_training(self) -> Training:
        require_compiled(self._training)
        assert self._training is not None
        return self._training

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _from_canonical(self, name: str, array: Array) -> Tensor:
        canonical = self._tensor(np.array(array, np.float32))
        return canonical.T if _is_transposed(name) else canonical


MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}


def to_canonical(name: str, tensor: Tensor) -> Array:
    """A copy in the canonical layout."""
    native: Array = tensor.detach().cpu().numpy()
    return np.array(native.T if _is_transposed(name) else native, order="C")


def _make_stacks(spec: ModelSpec) -> list[Stack]:
    """Stacks of neighbours of one width, each layer alone where dropout comes between."""
    alone = ([size] for size in spec.hidden_sizes)
    together = (list(sizes) for _, sizes in groupby(spec.hidden_sizes))
    stacks, width = [], spec.n_features
    for sizes in alone if spec.dropout else together:
        stacks.append(Stack(spec, width, sizes))
        width = sizes[-1]
    return stacks


def _find_device(device: str | torch.device) -> torch.device:
    """The device of a name, once an array has been put there."""
    try:
        probe = torch.zeros(1, device=device)
        probe.item()  # the meta device holds no numbers
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        raise UsageError(
            "DEVICE", f"device={str(device)!r} cannot be used here ({why}); use 'cpu' or 'cuda'."
        ) from None
    return probe.device


def _is_transposed(name: str) -> bool:
    """Whether PyTorch keeps an array transposed: the kernels of its linear layers."""
    return name.endswith("/kernel") and name.startswith(("dense_", "head/"))


def _pick(sequence_TCB: Tensor, rows_R: Tensor) -> Tensor:
    """The channels (R, C) at picked steps."""
    return sequence_TCB.transpose(1, 2).flatten(0, 1).index_select(0, rows_R)


def _make_optimizer(config: OptimizerConfig, native: dict[str, Tensor]) -> torch.optim.Optimizer:
    trainable = {name: tensor for name, tensor in native.items() if tensor.requires_grad}
    if config.name == "sgd":
        return torch.optim.SGD(trainable.values(), lr=0.0, momentum=0.0, weight_decay=0.0)
    groups = [
        {
            "params": [tensor for tensor in trainable.values() if (tensor.ndim == 2) == is_kernel],
            "weight_decay": config.weight_decay if is_kernel else 0.0,
        }
        for is_kernel in (True, False)
    ]
    optimizer = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    betas = (config.beta_1, config.beta_2)
    return optimizer(groups, lr=0.0, betas=betas, eps=config.epsilon, amsgrad=False, fused=True)


def _clip(trainable: dict[str, Tensor], clip_norm: float | None) -> None:
    if clip_norm is None:
        return
    gradients = [tensor.grad for tensor in trainable.values() if tensor.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    scale = clip_norm / norm.clamp(min=clip_norm)
    for gradient in gradients:
        gradient.mul_(scale)
