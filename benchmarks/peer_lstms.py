"""LSTMs of other libraries (and AutoETS), trained on one group with the clock running.

Contract: a function takes a group, a seed and rising budgets of training steps, trains from
scratch and returns one :class:`Point` per budget. Seconds run from the raw table to the forecasts:
transformation, the library's own set-up, training and prediction count; importing the library does
not. Where the learning rate is constant, a run of 1,000 steps passes through what a run of 100
would have ended with, so one run gives every point: its weights are kept on the way with the clock
stopped, and each forecasts afterwards. Nothing is logged, drawn or written to disk.

Axis letters: N series, H horizon.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from explstm.datasets.competitions import Group

QUIET: dict[str, Any] = {  # of Lightning's Trainer: no log, bar, table or folder
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the libraries from telling about padding, seeds and trainers; failures still raise."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


@dataclass(frozen=True)
class Point:
    """One point of a curve.

    Attributes:
        steps: Training steps, the budget.
        seconds: From the call to the forecasts.
        forecast_NH: Forecasts in the data's unit.
    """

    steps: int
    seconds: float
    forecast_NH: np.ndarray


# NeuralForecast. Some series are shorter than its default input of three horizons, which it refuses
# unless it may pad them.
NEURALFORECAST_DEFAULTS: dict[str, Any] = {"start_padding_enabled": True}
# Chosen on held-out ends, see docs/lab-log.md; on the logarithm of the series.
NEURALFORECAST_TUNED: dict[str, Any] = {
    "start_padding_enabled": True,
    "input_size": 24,
    "scaler_type": "standard",
    "encoder_hidden_size": 64,
    "learning_rate": 3e-3,
}


def train_neuralforecast(group: Group, seed: int, budgets: tuple[int, ...]) -> list[Point]:
    """NeuralForecast's LSTM with its own defaults."""
    return _train_neuralforecast(group, seed, budgets, NEURALFORECAST_DEFAULTS, use_log=False)


def train_neuralforecast_tuned(group: Group, seed: int, budgets: tuple[int, ...]) -> list[Point]:
    """NeuralForecast's LSTM on logarithms, with the settings that did best on held-out ends."""
    return _train_neuralforecast(group, seed, budgets, NEURALFORECAST_TUNED, use_log=True)


@_silence()
def _train_neuralforecast(
    group: Group, seed: int, budgets: tuple[int, ...], settings: dict[str, Any], *, use_log: bool
) -> list[Point]:
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    watch = _Watch(budgets)
    table = group.train.assign(y=np.log(group.train["y"])) if use_log else group.train
    network = LSTM(
        h=group.horizon,
        max_steps=budgets[-1],
        random_seed=seed,
        callbacks=[watch.to_callback()],
        **settings,
        **QUIET,
    )
    model = NeuralForecast(models=[network], freq=1)
    model.fit(table)

    def forecast() -> np.ndarray:
        y_NH = align(group, model.predict(), "LSTM")
        return np.exp(y_NH) if use_log else y_NH

    return watch.forecast_all(model.models[0], forecast)


# Darts. A training window is input and output together; series shorter than it only get forecasts.
DARTS_INPUT = 24
DARTS: dict[str, Any] = {
    "model": "LSTM",
    "hidden_dim": 64,
    "n_rnn_layers": 2,
    "batch_size": 128,
    "use_reversible_instance_norm": True,
}
DARTS_LEARNING_RATE = 3e-3


@_silence()
def train_darts(group: Group, seed: int, budgets: tuple[int, ...]) -> list[Point]:
    """Darts' BlockRNNModel on logarithms, normalised window by window, trained on absolute errors.

    Darts stops after epochs; its Trainer is told the steps instead.
    """
    import torch
    from darts import TimeSeries
    from darts.models import BlockRNNModel

    watch = _Watch(budgets)
    values = [np.log(y, dtype=np.float32) for y in histories(group.train)]
    series = [TimeSeries.from_values(y) for y in values]
    trainer = {**QUIET, "max_steps": budgets[-1], "callbacks": [watch.to_callback()]}
    model = BlockRNNModel(
        input_chunk_length=DARTS_INPUT,
        output_chunk_length=group.horizon,
        random_state=seed,
        n_epochs=budgets[-1],  # at least one step each
        loss_fn=torch.nn.L1Loss(),
        optimizer_kwargs={"lr": DARTS_LEARNING_RATE},
        pl_trainer_kwargs=trainer,
        **DARTS,
    )
    model.fit([y for y in series if len(y) >= DARTS_INPUT + group.horizon])

    def forecast() -> np.ndarray:
        forecasts = model.predict(group.horizon, series=series, batch_size=1024)
        return np.exp([y.values()[:, 0] for y in forecasts])

    return watch.forecast_all(model.model, forecast)


@_silence()
def forecast_autoets(group: Group, _seed: int, budgets: tuple[int, ...]) -> list[Point]:
    """AutoETS of statsforecast, whose level is the target: no network, and no steps."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS

    started = time.perf_counter()
    model = StatsForecast([AutoETS(group.season_length)], freq=1, n_jobs=-1)
    y_NH = align(group, model.forecast(group.horizon, group.train), "AutoETS")
    return [Point(budgets[0], time.perf_counter() - started, y_NH)]


def histories(table: pd.DataFrame) -> list[np.ndarray]:
    """The values of each series, in the order of the table."""
    return [y.to_numpy() for _, y in table.groupby("unique_id", sort=False)["y"]]


def align(group: Group, forecast: pd.DataFrame, column: str) -> np.ndarray:
    """A long table of forecasts as (N, H), in the order of the group's test table."""
    wanted = group.test[["unique_id", "ds"]].merge(forecast, how="left")
    return wanted[column].to_numpy().reshape(-1, group.horizon)


class _Watch:
    """A stop-watch that keeps the weights at every budget and stands still meanwhile."""

    def __init__(self, budgets: tuple[int, ...]) -> None:
        self.budgets = budgets
        self.seconds: dict[int, float] = {}
        self.weights: dict[int, dict] = {}
        self.started = time.perf_counter()

    def to_callback(self) -> Any:
        """A Lightning callback that looks at the watch after every training step."""
        from pytorch_lightning import Callback

        watch = self

        class Keep(Callback):
            def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
                watch.look(trainer.global_step, module)

        return Keep()

    def look(self, step: int, module: Any) -> None:
        """Keep time and weights where ``step`` is a budget."""
        if step not in self.budgets:
            return
        now = time.perf_counter()
        self.seconds[step] = now - self.started
        self.weights[step] = deepcopy(module.state_dict())
        self.started += time.perf_counter() - now

    def forecast_all(self, module: Any, forecast: Callable[[], np.ndarray]) -> list[Point]:
        """Forecast with the weights of every budget, each with the clock running."""
        points = []
        for steps in self.budgets:
            module.load_state_dict(self.weights[steps])
            started = time.perf_counter()
            y_NH = forecast()
            points.append(Point(steps, self.seconds[steps] + time.perf_counter() - started, y_NH))
        return points
