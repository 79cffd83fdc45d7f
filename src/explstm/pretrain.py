"""Pretraining: a network learns from the synthetic prior how series grow, before it sees one.

Contract: a run is described by one TOML file (:class:`PretrainConfig`) and is a pure function of
it: batch ``step`` is drawn from the seed and the step alone, so a run that is killed and resumed
ends with the same bits. Every step of every made series is a forecast origin, as in training on
data. Real series only judge: the error on the held-out ends of training series stands in the log.
The weights are those of the last step, for made series do not run out, and earlier weights, from
before the learning rate came down, are rougher.

Axes: N series in a batch, T time, F features, H horizon, R origins of the batch, G groups, E ends,
K series that have moved, V values.
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from explstm import __version__
from explstm.config import Configuration, TrainingConfig
from explstm.datasets.competitions import SHORTEST_HELD_OUT, Group, load_groups
from explstm.errors import UsageError
from explstm.frame import Panel, build_panel
from explstm.growth import FEATURES, N_FEATURES, show_levels
from explstm.models.engine import Engine, make_engine
from explstm.models.spec import ModelSpec, Size, init_weights
from explstm.origins import MAX_TARGET, Batch
from explstm.prediction import Preprocessing, forecast_panel
from explstm.ragged import FloatArray, mean_change
from explstm.settings import Settings
from explstm.synthetic import Prior, draw_levels
from explstm.team import Team
from explstm.training import LogRow, TrainingResult, train

Shape = tuple[Size, Size]
CompetitionName = Literal["M1", "M3", "Tourism"]
WINDOW = 512
"""Longest stretch of a series that a pretrained network is shown, in steps."""
MAX_CONFIG_BYTES = 12_000
"""Reading TOML takes the square of the length of a dotted key: 0.3 s for so many bytes, and 16
times that for four times as many."""
BESIDE = "linear"
"""The second curve that it looks at series on."""
JUDGED_ENDS = 3
"""Last horizons of real training series that a network is judged on: one alone is luck."""


class PretrainConfig(Configuration):
    """Everything that decides the weights of a pretrained model.

    Attributes:
        network: The network.
        prior: What is drawn.
        training: Steps, learning rate, optimizer, loss and seed; what concerns the choice of data
            (``batch_size``, ``window``, ``val_size``, ``reflection``, ``scale_weight``) is not
            used.
        shapes: Series and steps of a batch; each batch has one of these shapes, drawn evenly.
        widen: What forecasts multiply the distances of quantiles from the median by; changes no
            weight. Chosen on held-out ends.
        judges: Competitions on whose held-out ends of training series the network is judged.
    """

    network: ModelSpec = Field(default_factory=ModelSpec)
    prior: Prior = Field(default_factory=Prior)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    widen: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0
    judges: tuple[CompetitionName, ...] = ()
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)] = ((128, 120), (384, 40))


def check_features(n_features: int) -> None:
    """Refuse a number of features that growth space does not have.

    Raises:
        UsageError: It is not between those of a network from scratch and all.
    """
    if not N_FEATURES <= n_features <= len(FEATURES):
        raise UsageError(
            "PRETRAIN_CONFIG",
            f"network.n_features={n_features} cannot be shown; use {N_FEATURES} to "
            f"{len(FEATURES)}.",
        )


def read_config(path: str | Path) -> PretrainConfig:
    """Read a configuration from TOML: tables ``network``, ``prior``, ``training``; ``shapes``.

    Raises:
        UsageError: The file cannot be read, is not TOML, or holds a value that cannot be used.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            found = max(path.stat().st_size, len(data))
            raise ValueError(f"{found:,} bytes, more than {MAX_CONFIG_BYTES:,}")
        content = tomllib.loads(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # also of lists 1,000 deep
        raise UsageError(
            "PRETRAIN_CONFIG",
            f"{path} is not a readable TOML file ({error}); check the path, or what stands there.",
        ) from None
    parts: dict[str, type[Configuration]] = {
        "network": ModelSpec, "prior": Prior, "training": TrainingConfig,
    }  # fmt: skip
    try:
        built = {
            name: kind(**content[name])
            for name, kind in parts.items()
            if isinstance(content.get(name), dict)
        }
        config = PretrainConfig(**{**content, **built})
        check_features(config.network.n_features)
    except UsageError as error:  # of a key of a newer version, say
        said = f"{path}, read by explstm {__version__}: {error.message}"
        raise UsageError(error.code, said) from None
    return config


class PriorBatches:
    """An endless, repeatable supply of batches drawn from the prior."""

    def __init__(self, config: PretrainConfig) -> None:
        """Take what is drawn."""
        self._prior, self._shapes = config.prior, config.shapes
        self._horizon, self._warm_up = config.network.horizon, config.training.warm_up
        self._seed, self._n_features = config.training.random_seed, config.network.n_features

    def batch(self, step: int) -> Batch:
        """Return the batch of a training step, counted from 0."""
        rng = np.random.default_rng((self._seed, step))
        n_series, n_steps = self._shapes[rng.integers(len(self._shapes))]
        z_NT = draw_levels(self._prior, rng, n_series, n_steps + self._horizon)
        scale_NT, features_NTF = show_levels(z_NT[:, :n_steps], self._n_features)
        origins_NT = scale_NT > 0
        origins_NT[:, : self._warm_up] = False
        future_NTH = np.lib.stride_tricks.sliding_window_view(z_NT[:, 1:], self._horizon, axis=1)
        target_RH = future_NTH[:, :n_steps][origins_NT] - z_NT[:, :n_steps][origins_NT][:, None]
        target_RH /= scale_NT[origins_NT][:, None]
        targets_RH = np.clip(target_RH, -MAX_TARGET, MAX_TARGET).astype(np.float32)
        lengths_N = np.full(n_series, n_steps)
        return Batch(features_NTF, lengths_N, origins_NT, targets_RH, np.ones_like(targets_RH))


def judge_on(config: PretrainConfig) -> Callable[[Engine], float] | None:
    """How good a network is on held-out ends of the training series of competitions.

    The last ``JUDGED_ENDS`` horizons of every series are forecast, each from what came before it.

    Returns:
        A function of an engine: the geometric mean of two errors of its median forecasts, made as
        the saved model makes them. MASE, a mean over the forecast ends of a group and a geometric
        mean over groups, counts every group alike; sMAPE in per cent, a mean over all values,
        counts every series alike and is steadier, because small groups of wild series do not
        decide it. None where the configuration names no competition.
    """
    groups = [group for name in config.judges for group in load_groups(name)]
    if not groups:
        return None
    tasks = [ends for group in groups if (ends := _hold_out(group, config))]

    def judge(engine: Engine) -> float:
        errors = [_pool([task.score(engine) for task in ends]) for ends in tasks]
        mase_G = [mase_K.mean() for mase_K, _ in errors]
        smape_V = np.concatenate([smape_V for _, smape_V in errors])
        return float(np.sqrt(np.exp(np.log(mase_G).mean()) * smape_V.mean()))

    return judge


@dataclass(frozen=True)
class _Task:
    """One end of the training series of one group, to be forecast."""

    past: Panel
    future_NH: FloatArray
    scale_N: FloatArray
    view: Preprocessing

    def score(self, engine: Engine) -> tuple[FloatArray, FloatArray]:
        """MASE of every series that has one, and sMAPE of every value in per cent."""
        y_NH = forecast_panel(engine, self.past, self.view, self.future_NH.shape[1])[:, :, 0]
        error_NH = np.abs(y_NH - self.future_NH)
        moved_N = self.scale_N > 0
        mase_K = error_NH.mean(axis=1)[moved_N] / self.scale_N[moved_N]
        size_NH = np.abs(y_NH) + np.abs(self.future_NH)
        smape_NH = np.divide(200 * error_NH, size_NH, out=np.zeros_like(size_NH), where=size_NH > 0)
        return mase_K, smape_NH.ravel()


def _pool(errors: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    mase_EK, smape_EV = zip(*errors, strict=True)
    return np.concatenate(mase_EK), np.concatenate(smape_EV)


def _hold_out(group: Group, config: PretrainConfig) -> list[_Task]:
    """The last ends of the group, as far back as a series is long enough."""
    tasks: list[_Task] = []
    while len(tasks) < JUDGED_ENDS:
        group = group.held_out(SHORTEST_HELD_OUT)
        if group.train.empty:
            break
        tasks.append(_make_task(group, config))
    return tasks


def _make_task(part: Group, config: PretrainConfig) -> _Task:
    past, season = build_panel(part.train), part.season_length
    # A history that is no longer than a season is measured by its steps.
    lag_N = np.where(past.lengths_N > season, season, 1)
    scale_N = mean_change(past.y_S, past.starts_N1, lag_N)
    place = {name: row for row, name in enumerate(past.ids_N)}
    order = np.argsort(part.test["unique_id"].map(place).to_numpy(), kind="stable")
    future_NH = part.test["y"].to_numpy()[order].reshape(-1, part.horizon)
    view = Preprocessing("auto", (season,), WINDOW, BESIDE, config.network.n_features)
    return _Task(past, future_NH, scale_N, view)


def train_network(
    config: PretrainConfig,
    *,
    backend: str,
    device: str = "cpu",
    checkpoint_dir: Path,
    resume: bool = False,
    on_step: Callable[[LogRow], None] | None = None,
    team: Team | None = None,
) -> TrainingResult:
    """Pretrain a network, see :func:`explstm.training.train`."""
    weights = init_weights(config.network, config.training.random_seed)
    engine = make_engine(backend, config.network, weights, device=device)  # type: ignore[arg-type]
    return train(
        engine,
        PriorBatches(config),
        config.training,
        validate=judge_on(config),
        keep_last=True,
        checkpoint_dir=checkpoint_dir,
        resume=resume,
        on_step=on_step,
        identity=describe(config),
        team=team,
    )


def to_settings(config: PretrainConfig) -> Settings:
    """What the saved model has to say of itself, beside its network."""
    return Settings(
        parameters={"window": WINDOW},
        freq=None,
        season_length=None,
        beside=BESIDE,
        widen=config.widen,
    )


def describe(config: PretrainConfig) -> dict[str, Any]:
    """The configuration as JSON values, for records and for the refusal of changes on resume."""
    return config.model_dump(mode="json")
