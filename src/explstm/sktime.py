"""``ExpLSTMForecaster``: the same forecaster for pipelines, tuning and evaluation of sktime.

Contract: a thin adapter. It turns series of sktime into tables, calls :class:`explstm.ExpLSTM`, and
puts the forecasts on the index that sktime asks for. A fitted forecaster holds numbers and
settings, no framework: it can be copied and pickled, and builds an engine for the time of a
forecast. Instances share nothing that changes.

Needs the extra ``sktime``; nothing else in the package imports this module or sktime.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from explstm.calendar import Freq, parse_freq
from explstm.config import choose
from explstm.ends import name_ends
from explstm.errors import BackendNotInstalledError, DataError, UsageError
from explstm.forecaster import (
    DEFAULT_HORIZON,
    DEFAULTS,
    PRETRAINED,
    TRAINABLE_BACKENDS,
    ExpLSTM,
)
from explstm.models.spec import MEDIAN, ModelSpec
from explstm.prediction import check_horizon

try:
    from sktime.datatypes import get_cutoff
    from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
except ModuleNotFoundError as error:
    raise BackendNotInstalledError(
        "BACKEND_NOT_INSTALLED",
        f"explstm.sktime needs {str(error.name).split('.')[0]}, which is not installed; "
        "run pip install 'explstm[sktime]'.",
    ) from None

OWN = {"random_state": "random_seed"}
"""Arguments that have another name here than in :class:`explstm.ExpLSTM`."""
LEVEL_DIGITS = 10
"""To which levels are rounded, so that 0.05 and 0.95 are the ends of one interval."""
FILL_IN = (
    "give y an index whose every step has a value (reindex and sktime's Imputer fill missing ones)"
)


class ExpLSTMForecaster(BaseForecaster):
    """Forecast series that grow with stacked LSTMs in growth space.

    ``fit`` trains where ``backend`` can, and only takes the history of the series where it is
    ``"numpy"``, or after ``pretrain``. ``pretrain`` trains one network on all series of a panel,
    which is what a network needs; ``fit`` on the same panel then gives each series its history.
    Without ``pretrain``, ``fit`` on a panel trains one network per series. ``update`` takes new
    values into the history and, with ``update_params=True``, trains again where ``fit`` would.

    Args:
        backend: ``"numpy"`` forecasts; ``"torch"`` and ``"tensorflow"`` train as well.
        trainer: Framework of ``pretrain`` where ``backend`` is ``"numpy"``.
        horizon: Steps ahead that training is for; by default those of ``fh``, or 12 without one.
            Any ``fh`` can be forecast.
        random_state: Seed of the initial weights, of the order of batches and of dropout; None for
            the default. The random state of the caller is neither read nor changed.
        init: As those that follow, see :class:`explstm.ExpLSTM`.

    Attributes:
        model_: The fitted :class:`explstm.ExpLSTM`, which can be saved.
        history_: The series that forecasts continue.
        pretrained_: The :class:`explstm.ExpLSTM` that ``pretrain`` made.

    Examples:
        >>> from sktime.datasets import load_airline
        >>> from explstm.sktime import ExpLSTMForecaster
        >>> y = load_airline()
        >>> forecaster = ExpLSTMForecaster().fit(y)
        >>> forecaster.predict(fh=[1, 2, 3]).shape
        (3,)
        >>> forecaster.predict_interval(fh=[1, 2, 3], coverage=0.8).shape
        (3, 2)
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": "Exponential LSTM",
        "maintainers": "Exponential LSTM",
        "y_inner_mtype": "pd.Series",
        "capability:exogenous": False,
        "capability:insample": False,
        "capability:missing_values": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:pretrain": True,
        "capability:update": True,
        "capability:random_state": True,
        "property:randomness": "deterministic",
        "pretrain:fitted_params": ["pretrained_"],
        "requires-fh-in-fit": False,
    }
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}  # ``history_`` remembers

    model_: ExpLSTM
    history_: pd.Series
    pretrained_: ExpLSTM

    def __init__(
        self,
        backend: str = "numpy",
        init: str | Path = PRETRAINED,
        spec: ModelSpec | None = None,
        growth: str = "auto",
        season_length: int | Sequence[int] | None = None,
        freq: Freq | None = None,
        random_state: int | None = None,
        max_steps: int | None = None,
        learning_rate: float | None = None,
        lr_schedule: str = DEFAULTS.lr_schedule,
        optimizer: str = DEFAULTS.optimizer,
        weight_decay: float = DEFAULTS.weight_decay,
        batch_size: int = DEFAULTS.batch_size,
        loss: str = DEFAULTS.loss,
        val_size: int | None = None,
        val_check_steps: int | None = None,
        early_stop_patience: int = DEFAULTS.early_stop_patience,
        clip_norm: float = DEFAULTS.clip_norm,
        window: int | None = None,
        reflection: float = DEFAULTS.reflection,
        scale_weight: float = DEFAULTS.scale_weight,
        trainer: str = TRAINABLE_BACKENDS[0],
        horizon: int | None = None,
    ) -> None:
        self.backend = backend
        self.init = init
        self.spec = spec
        self.growth = growth
        self.season_length = season_length
        self.freq = freq
        self.random_state = random_state
        self.max_steps = max_steps
        self.learning_rate = learning_rate
        self.lr_schedule = lr_schedule
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.loss = loss
        self.val_size = val_size
        self.val_check_steps = val_check_steps
        self.early_stop_patience = early_stop_patience
        self.clip_norm = clip_norm
        self.window = window
        self.reflection = reflection
        self.scale_weight = scale_weight
        self.trainer = trainer
        self.horizon = horizon
        super().__init__()

    def __post_init__(self) -> None:
        """Refuse arguments that cannot be used, and say so where no quantiles are trained."""
        self._y = self._X = None  # where sktime keeps data once ``remember_data`` is set
        choose("trainer", self.trainer, TRAINABLE_BACKENDS)
        if self.horizon is not None:
            check_horizon(self.horizon)
        self._make_model(self.backend, self.freq)
        points = self.spec is not None and len(self.spec.quantiles) == 1
        if points or self.loss != "pinball":
            self.set_tags(**{"capability:pred_int": False})

    def _make_model(self, backend: str, freq: Freq | None) -> ExpLSTM:
        arguments = {OWN.get(name, name): value for name, value in self.get_params().items()}
        del arguments["trainer"], arguments["horizon"]
        if arguments["random_seed"] is None:
            arguments["random_seed"] = DEFAULTS.random_seed
        try:
            return ExpLSTM(**{**arguments, "backend": backend, "freq": freq})
        except UsageError as error:
            message = error.message.replace("random_seed=", "random_state=")
            raise UsageError(error.code, message) from None

    # --------------------------------------------------------------------------------- learning

    def _fit(self, y: pd.Series, X: Any, fh: ForecastingHorizon | None) -> Self:
        self.history_ = y.copy()
        self.model_ = self._learn(fh)
        return self

    def _learn(self, fh: ForecastingHorizon | None) -> ExpLSTM:
        """The model that forecasts the history: pretrained, trained on it, or as it comes."""
        freq = _step_of(self.history_.index, self.freq)
        if hasattr(self, "pretrained_"):
            return copy.copy(self.pretrained_).set_params(freq=freq)
        table = to_table(self.history_)
        model = self._make_model(self.backend, freq)
        if self.backend in TRAINABLE_BACKENDS:
            return _train(model, table, self._count_steps(fh, self.cutoff))
        if self.init == "random":
            raise UsageError(
                "NOT_FITTED",
                "backend='numpy' with init='random' has no weights to forecast with; call "
                "pretrain first, or use backend='torch' or 'tensorflow'.",
            )
        model.require_fitted()
        return copy.copy(model)

    def _update(self, y: pd.Series, X: Any = None, update_params: bool = True) -> Self:
        known = y.combine_first(self.history_).rename(self.history_.name)
        self.history_ = known[known.index <= self.cutoff[0]]  # values may end before those known
        if update_params:
            self.model_ = self._learn(self._fh)
        return self

    def _pretrain(
        self, y: pd.DataFrame, X: Any = None, fh: ForecastingHorizon | None = None
    ) -> Self:
        """Train one network on all series, from ``init`` or from where the last call ended."""
        backend = self.trainer if self.backend == "numpy" else self.backend
        table, steps = to_long_table(y), self._count_steps(fh, get_cutoff(y, return_index=True))
        model = self._make_model(backend, _step_of(y.index.get_level_values(-1), self.freq))
        if hasattr(self, "pretrained_"):
            with TemporaryDirectory() as folder:
                self.pretrained_.save(Path(folder) / "model")
                model.set_params(init=Path(folder) / "model", spec=None)
                trained = _train(model, table, steps)
        else:
            trained = _train(model, table, steps)
        self.pretrained_ = trained.set_params(backend=self.backend, init=self.init, spec=self.spec)
        return self

    def _count_steps(self, fh: ForecastingHorizon | None, cutoff: pd.Index) -> int:
        """How many steps ahead to train for."""
        if self.horizon is not None:
            return self.horizon
        if fh is None:
            return DEFAULT_HORIZON
        return max(1, int(fh.to_relative(cutoff).to_numpy().max()))

    # ------------------------------------------------------------------------------ forecasting

    def _predict(self, fh: ForecastingHorizon, X: Any) -> pd.Series:
        forecast = self._forecast(fh, [MEDIAN])[MEDIAN]
        return pd.Series(forecast, index=fh.to_absolute_index(self.cutoff), name=self.history_.name)

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: Any, alpha: list[float]
    ) -> pd.DataFrame:
        quantiles = self._forecast(fh, alpha)
        columns = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        values = np.column_stack([quantiles[probability] for probability in alpha])
        return pd.DataFrame(values, index=fh.to_absolute_index(self.cutoff), columns=columns)

    def _forecast(
        self, fh: ForecastingHorizon, probabilities: Sequence[float]
    ) -> dict[float, np.ndarray]:
        """Quantiles at the steps of a horizon, by probability."""
        steps = fh.to_relative(self.cutoff).to_numpy().astype(int)
        if steps.min() < 1:
            raise NotImplementedError(
                "ExpLSTMForecaster forecasts steps after the history only; ask for a fh from 1."
            )
        columns = {p: _to_column(p, self.model_.alias) for p in probabilities}
        levels = {level for _, level in columns.values() if level is not None}
        with _refuse_gaps():
            table = copy.copy(self.model_).predict(
                to_table(self.history_), h=int(steps.max()), level=sorted(levels)
            )
        return {p: table[name].to_numpy()[steps - 1] for p, (name, _) in columns.items()}

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Arguments that sktime's own checks are run with.

        Args:
            parameter_set: ``"torch"`` or ``"tensorflow"`` for networks trained there; others in
                NumPy.
        """
        if parameter_set not in TRAINABLE_BACKENDS:
            quick = {"max_steps": 1, "val_size": 0}
            return [quick, {**quick, "growth": "asinh", "season_length": 4, "window": 16}]
        shared = {"backend": parameter_set, "init": "random", "max_steps": 2, "horizon": 4}
        exponential = ModelSpec(hidden_sizes=(4,), cell="slstm", quantiles=(0.1, 0.5, 0.9))
        deep = ModelSpec(hidden_sizes=(4, 3), dense_sizes=(4,), batch_norm=True, dropout=0.2)
        return [
            {**shared, "spec": exponential},
            {**shared, "spec": deep, "growth": "linear", "optimizer": "adamw", "random_state": 3},
        ]


def _train(model: ExpLSTM, table: pd.DataFrame, steps: int) -> ExpLSTM:
    """What a training leaves: weights and settings, without an engine and without the data."""
    with _refuse_gaps():
        trained = copy.copy(model.fit(table, h=steps))
    trained.panel_ = None
    return trained


def to_table(y: pd.Series) -> pd.DataFrame:
    """A series as a table of ``ds`` and ``y``."""
    return pd.DataFrame({"ds": y.index, "y": y.to_numpy(dtype=np.float64)})


def to_long_table(y: pd.DataFrame) -> pd.DataFrame:
    """All columns of all instances as one long table, named by instance and column."""
    instances = y.index.droplevel(-1)
    dates = y.index.get_level_values(-1).array
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": [str((instance, name)) for instance in instances],
                "ds": dates,
                "y": y[name].to_numpy(dtype=np.float64),
            }
        )
        for name in y.columns
    )


def _step_of(index: pd.Index, freq: Freq | None) -> Freq | None:
    """The step of a series: integers and periods have their own in sktime, dates may show it.

    Raises:
        UsageError: ``freq`` is another step than sktime will count by.
    """
    if isinstance(index, pd.DatetimeIndex):
        return index.freqstr if freq is None and len(index) == 1 else freq
    step = _name_periods(index.freqstr) if isinstance(index, pd.PeriodIndex) else 1
    own, given = parse_freq(step), parse_freq(step if freq is None else freq)
    if (given.unit, given.n) != (own.unit, own.n):
        raise UsageError(
            "FREQ_TYPE",
            f"freq={freq!r} is not the step of this index, by which sktime counts ({step!r}); "
            f"leave freq out, and {FILL_IN}.",
        )
    return step


def _name_periods(alias: str) -> str:
    """The alias of the dates that such periods begin on."""
    name = alias.split("-")[0]
    return f"{name}S" if name[-1] in "MQY" else name


@contextmanager
def _refuse_gaps() -> Iterator[None]:
    """Refuse gaps with what helps in sktime, where nothing takes ``fill``."""
    try:
        yield
    except DataError as error:
        if error.code not in ("DATA_GAP", "DATA_MIXED_FREQ"):
            raise
        raise DataError(error.code, f"{error.message.rpartition('; ')[0]}; {FILL_IN}.") from None


def _to_column(probability: float, alias: str) -> tuple[str, float | None]:
    """The column of a forecast that holds a quantile, and the level it belongs to."""
    level = round(100.0 * abs(1.0 - 2.0 * probability), LEVEL_DIGITS)
    if level == 0:
        return alias, None
    return name_ends(alias, level)[probability > MEDIAN], level
