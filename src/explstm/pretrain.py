"""Pretraining: a network learns from the synthetic prior how series grow, before it sees one.

Contract: a run is described by one TOML file (:class:`PretrainConfig`) and is a pure function of
it: batch ``step`` is drawn from the seed and the step alone, so a run that is killed and resumed
ends with the same bits. Every step of every made series is a forecast origin, as in training on
data. Real series only judge: the loss on the held-out ends of training series is looked at, and the
weights at its lowest are kept.

Axes: N series in a batch, T time, F features, H horizon, R origins of the batch.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from explstm.config import Configuration, TrainingConfig
from explstm.datasets.competitions import load_groups
from explstm.errors import UsageError
from explstm.frame import build_panel
from explstm.growth import show_levels
from explstm.holdout import split_holdout
from explstm.models.engine import Engine
from explstm.models.spec import ModelSpec, Size
from explstm.origins import MAX_TARGET, Batch
from explstm.prediction import Preprocessing
from explstm.synthetic import Prior, draw_levels

Shape = tuple[Size, Size]
CompetitionName = Literal["M1", "M3", "Tourism"]
WINDOW = 512
"""Longest stretch of a series that a pretrained network is shown, in steps."""
BESIDE = "linear"
"""The second curve that it looks at series on."""
SHORTEST_JUDGED = 8


class PretrainConfig(Configuration):
    """Everything that decides the weights of a pretrained model.

    Attributes:
        network: The network.
        prior: What is drawn.
        training: Steps, learning rate, optimizer, loss and seed; what concerns the choice of data
            (``batch_size``, ``window``, ``val_size``, ``reflection``, ``scale_weight``) is not
            used.
        shapes: Series and steps of a batch; each batch has one of these shapes, drawn evenly.
        judges: Competitions on whose held-out ends of training series the network is judged.
    """

    network: ModelSpec = Field(default_factory=ModelSpec)
    prior: Prior = Field(default_factory=Prior)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    judges: tuple[CompetitionName, ...] = ()
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)] = ((128, 120), (384, 40))


def read_config(path: str | Path) -> PretrainConfig:
    """Read a configuration from TOML: tables ``network``, ``prior``, ``training``; ``shapes``.

    Raises:
        UsageError: The file cannot be read, is not TOML, or holds a value that cannot be used.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            "PRETRAIN_CONFIG", f"{path} is not a readable TOML file ({error}); write one anew."
        ) from None
    parts: dict[str, type[Configuration]] = {
        "network": ModelSpec, "prior": Prior, "training": TrainingConfig,
    }  # fmt: skip
    built = {
        name: kind(**content[name])
        for name, kind in parts.items()
        if isinstance(content.get(name), dict)
    }
    return PretrainConfig(**{**content, **built})


class PriorBatches:
    """An endless, repeatable supply of batches drawn from the prior."""

    def __init__(self, config: PretrainConfig) -> None:
        """Take what is drawn."""
        self._prior, self._shapes = config.prior, config.shapes
        self._horizon, self._warm_up = config.network.horizon, config.training.warm_up
        self._seed = config.training.random_seed

    def batch(self, step: int) -> Batch:
        """Return the batch of a training step, counted from 0."""
        rng = np.random.default_rng((self._seed, step))
        n_series, n_steps = self._shapes[rng.integers(len(self._shapes))]
        z_NT = draw_levels(self._prior, rng, n_series, n_steps + self._horizon)
        scale_NT, features_NTF = show_levels(z_NT[:, :n_steps])
        origins_NT = scale_NT > 0
        origins_NT[:, : self._warm_up] = False
        future_NTH = np.lib.stride_tricks.sliding_window_view(z_NT[:, 1:], self._horizon, axis=1)
        target_RH = future_NTH[:, :n_steps][origins_NT] - z_NT[:, :n_steps][origins_NT][:, None]
        target_RH /= scale_NT[origins_NT][:, None]
        targets_RH = np.clip(target_RH, -MAX_TARGET, MAX_TARGET).astype(np.float32)
        lengths_N = np.full(n_series, n_steps)
        return Batch(features_NTF, lengths_N, origins_NT, targets_RH, np.ones_like(targets_RH))


def judge_on(config: PretrainConfig) -> Callable[[Engine], float] | None:
    """How good a network is on the held-out ends of the training series of competitions.

    Returns:
        A function of an engine: its mean loss over the groups, each counting the same; None where
        the configuration names no competition.
    """
    judges = []
    for group in (g for name in config.judges for g in load_groups(name)):
        steps = group.train.groupby("unique_id")["y"].transform("size")
        panel = build_panel(group.train[steps >= group.horizon + SHORTEST_JUDGED])
        held_out = config.training.model_copy(
            update={"val_size": group.horizon, "window": WINDOW, "scale_weight": 0.0}
        )
        seen = Preprocessing("auto", (group.season_length,), WINDOW)
        judges.append(split_holdout(panel, seen, held_out, config.network.horizon)[1])
    if not judges:
        return None

    def judge(engine: Engine) -> float:
        return float(np.mean([validate(engine) for validate in judges if validate is not None]))

    return judge


def to_settings(config: PretrainConfig) -> dict[str, Any]:
    """What a saved model has to say of itself, beside its network."""
    return {
        "parameters": {"window": WINDOW},
        "freq": None,
        "season_length": None,
        "trained_until": None,
        "beside": BESIDE,
        "horizon": config.network.horizon,
    }


def describe(config: PretrainConfig) -> dict[str, Any]:
    """The configuration as JSON values, for records and for the refusal of changes on resume."""
    return config.model_dump(mode="json")
