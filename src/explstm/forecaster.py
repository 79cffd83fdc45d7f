"""``ExpLSTM``: fit, predict, save and load, over long tables.

The class holds parameters and fitted state; the work is done by the modules it calls, in the order
in which they are called: frame, holdout, origins, models, training, prediction, bundle.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import pandas as pd

from explstm.bundle import Bundle, load_bundle, load_pretrained, save_bundle
from explstm.calendar import Freq, default_season_length, parse_freq
from explstm.config import FINE_TUNING, TrainingConfig, choose
from explstm.errors import DataError, UsageError
from explstm.finetuning import Course, Start, fine_tune, fit_network, refuse_other_runs
from explstm.fingerprint import fingerprint_panel
from explstm.frame import Fill, Finding, Panel, as_panel, forecast_frame
from explstm.growth import N_FEATURES
from explstm.intervals import check_levels, name_columns, to_probabilities
from explstm.mixing import warn_of_few
from explstm.models.engine import Engine, make_engine
from explstm.models.spec import ModelSpec, Weights, init_weights
from explstm.parameters import Parameters
from explstm.prediction import Preprocessing, check_horizon, forecast_panel
from explstm.scaling import GROWTH_NAMES
from explstm.seasonality import check_season_lengths
from explstm.settings import Settings, read_settings, refuse_settings
from explstm.streaming import Stream
from explstm.team import Team
from explstm.training import LogRow
from explstm.windows import (
    CUTOFF,
    check_windows,
    cut_windows,
    earliest_end,
    forecast_windows,
    is_seen,
    last_date,
    window_frame,
)

if TYPE_CHECKING:
    from explstm.tuning import Tuning

DEFAULTS = TrainingConfig()
DEFAULT_HORIZON = 12
PRETRAINED = "pretrained"
TRAINABLE_BACKENDS = ("torch", "tensorflow")
TRAINING_FIELDS = frozenset(TrainingConfig.model_fields)


class ExpLSTM(Parameters):
    """Forecast time series that grow with stacked LSTMs in growth space.

    Args:
        backend: ``"numpy"`` forecasts, with the pretrained model or a loaded one; ``"torch"`` and
            ``"tensorflow"`` train as well.
        init: ``"pretrained"`` forecasts at once with the model that comes with the package, and
            ``fit`` fine-tunes it; ``"random"`` trains from scratch; the path of a saved model goes
            on training that one.
        spec: The network of ``init="random"``; its horizon and inputs follow from ``fit``.
        growth: Curve between data units and levels: ``"auto"``, ``"log"``, ``"asinh"`` or
            ``"linear"``, or a classic scaling: ``"standard"``, ``"minmax"``, ``"robust"``,
            ``"difference"``.
        season_length: Season length or lengths in steps; by default from the frequency.
        freq: Frequency of ``ds``: a pandas alias or an integer step; by default found.
        random_seed: Seed of the initial weights, of the order of batches and of dropout.
        alias: Name of the forecast column.
        max_steps: Batches to train on; by default 500 from scratch and fewer from a model.
        learning_rate: Peak learning rate; by default 0.005 from scratch and less from a model.
        lr_schedule: ``"constant"``, ``"cosine"``, ``"one_cycle"`` or ``"reduce_on_plateau"``.
        optimizer: ``"adam"`` or ``"adamw"``.
        weight_decay: Of ``"adamw"``.
        batch_size: Series per batch; each contributes all of its forecast origins.
        loss: ``"pinball"`` trains all quantiles; ``"mae"``, ``"mse"``, ``"huber"`` the point only.
        val_size: Steps at the end of every series held out, of which the weights with the lowest
            loss are kept; 0 for none. By default none from scratch; from a model the horizon is
            held out of series that hold four of them, to say how much of the training to take.
        val_check_steps: Batches between two validations.
        early_stop_patience: Validations without improvement before stopping; -1 never stops.
        clip_norm: Global gradient norm above which gradients are scaled down.
        window: Longest stretch of a series that enters the network, in steps; by default 128, and
            in forecasts what the model that ``init`` names is used to.
        reflection: Share of the series in a batch that are shown upside down.
        scale_weight: Power of an origin's scale by which its loss is weighted.

    Attributes:
        spec_: The network as trained.
        weights_: Its weights by canonical name.
        preprocessing_: How series enter the network.
        training_: How it was trained.
        horizon_: Steps that ``predict`` forecasts when not told.
        freq_: Frequency of the data trained on; None for the pretrained model, which knows any.
        trained_until_: Last date that the training or its validation saw, ISO text or integer; None
            for the pretrained model, which has seen no data.
        training_log_: One row per training step of the last run.
        share_: How much of the trained weights was taken by ``fit``: 1, or less where training
            began with a model and held-out ends did not say that all of it helps
            (:mod:`explstm.finetuning`).
        findings_: What was repaired in the data or noticed about them.
        growth_: The curve of every series and the reason for it, as a table, after ``fit``.
        tuning_: What :meth:`tune` found, in the model it returns.

    Example:
        >>> from explstm import ExpLSTM
        >>> from explstm.datasets import load_air_passengers
        >>> ExpLSTM().predict(load_air_passengers(), h=12, level=[80]).shape
        (12, 5)
    """

    spec_: ModelSpec
    weights_: Weights
    preprocessing_: Preprocessing
    training_: TrainingConfig
    horizon_: int
    freq_: Freq | None
    trained_until_: str | int | None
    training_log_: tuple[LogRow, ...]
    share_: float
    findings_: tuple[Finding, ...]
    growth_: pd.DataFrame
    tuning_: "Tuning"
    panel_: Panel | None
    _taken_with: dict[str, Any] | None = None
    _built: Engine | None = None

    def __init__(
        self,
        backend: str = "numpy",
        init: str | Path = PRETRAINED,
        spec: ModelSpec | None = None,
        growth: str = "auto",
        season_length: int | Sequence[int] | None = None,
        freq: Freq | None = None,
        random_seed: int = DEFAULTS.random_seed,
        alias: str = "ExpLSTM",
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
    ) -> None:
        self.backend = backend
        self.init = init
        self.spec = spec
        self.growth = growth
        self.season_length = season_length
        self.freq = freq
        self.random_seed = random_seed
        self.alias = alias
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
        self._check_parameters()

    # ------------------------------------------------------------------------------- parameters

    def training_config(self) -> TrainingConfig:
        """The training arguments as one configuration.

        Raises:
            UsageError: A value out of range, or a contradiction.
        """
        fields = TrainingConfig.model_fields.keys() & set(self.parameter_names())
        asked = {name: getattr(self, name) for name in sorted(fields)}
        start = {} if self.init == "random" else FINE_TUNING
        return TrainingConfig(**{**start, **{k: v for k, v in asked.items() if v is not None}})

    def _check_parameters(self) -> None:
        self.training_config()
        choose("backend", self.backend, ("numpy", *TRAINABLE_BACKENDS))
        choose("growth", self.growth, GROWTH_NAMES)
        if self.season_length is not None:
            check_season_lengths(self.season_length)
        if self.freq is not None:
            parse_freq(self.freq)
        for name, kind, example in (
            ("init", str | Path, "'pretrained', 'random', or the path of a saved model"),
            ("spec", ModelSpec | None, "a ModelSpec, such as ModelSpec(hidden_sizes=(64, 64))"),
            ("alias", str, "the name of a column, such as 'ExpLSTM'"),
        ):
            if not isinstance(getattr(self, name), kind) or getattr(self, name) == "":
                raise UsageError(
                    "CONFIG_VALUE",
                    f"{name}={getattr(self, name)!r} cannot be used; pass {example}.",
                )
        if any("\ud800" <= sign <= "\udfff" for sign in self.alias):
            raise UsageError(
                "CONFIG_VALUE",
                f"alias={self.alias!r} cannot be used: half a surrogate pair is no sign of UTF-8, "
                "in which tables are written; pass the name of a column, such as 'ExpLSTM'.",
            )

    # --------------------------------------------------------------------------------- training

    def fit(
        self,
        df: Any,
        h: int = DEFAULT_HORIZON,
        *,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        fill: Fill = "error",
        on_step: Callable[[LogRow], None] | None = None,
        on_look: Callable[[Engine, Preprocessing, LogRow], None] | None = None,
        checkpoint_dir: str | Path | None = None,
        resume: bool = False,
        team: Team | None = None,
    ) -> Self:
        """Train on every forecast origin of every series.

        Args:
            df: Long table, pandas or polars, or a panel, taken as it is; it is not changed.
            h: Steps ahead that the network learns to forecast.
            id_col: Column of series ids; a table without it is one series.
            time_col: Column of timestamps or integers.
            target_col: Column of values.
            fill: What becomes of missing steps: ``"error"``, ``"interpolate"`` or ``"forward"``.
            on_step: Called with every row of the training log.
            on_look: Called every ``val_check_steps`` and at the end with the network and how it
                looks at series, to judge it on other data or to end the training by an exception.
            checkpoint_dir: Where to keep checkpoints of the training.
            resume: Go on from the newest checkpoint there.
            team: Processes that train together, each of which calls this alike
                (:func:`explstm.scaleout.train` does that).

        Raises:
            UsageError: An argument that cannot be used, or a framework that is not installed.
            DataError: Data that cannot be used.
            TrainingError: The training diverged.
        """
        h = check_horizon(h)
        training = self.training_config()
        refuse_untrainable(self.backend)
        names = {"id_col": id_col, "time_col": time_col, "target_col": target_col}
        panel = as_panel(df, freq=self.freq, fill=fill, **names)
        season_length = self._season_length_of(panel)
        spec, weights, view = self._initial_network(h, training)
        view = replace(view, season_length=season_length)
        start = Start(self.backend, spec, weights, view, training)  # type: ignore[arg-type]
        fingerprint = fingerprint_panel(panel)
        identity = {
            "data": fingerprint,
            "growth": self.growth,
            "season_length": list(season_length),
            "horizon": h,
        }
        folder = None if checkpoint_dir is None else Path(checkpoint_dir)
        look = None if on_look is None else lambda engine, row: on_look(engine, view, row)
        course = Course(folder, resume, on_step, identity, look, team)
        mixes = self.init != "random" and self.val_size is None
        if not mixes:
            refuse_other_runs(course, ("",))
        trained = fine_tune(start, panel, h, course) if mixes else fit_network(start, panel, course)
        self._built, self.panel_, self.horizon_ = trained.engine, panel, h
        self._taken_with = None
        self.freq_ = panel.plain_freq
        self.spec_, self.weights_, self.preprocessing_ = spec, trained.weights, view
        self.training_, self.training_log_, self.share_ = training, trained.log, trained.share
        self.data_fingerprint_, self.trained_until_ = fingerprint, last_date(panel.ds_S)
        self.findings_ = panel.findings
        self.growth_ = pd.DataFrame(
            {
                "unique_id": trained.space.ids_N,
                "curve": trained.space.transform.names_N,
                "reason": trained.space.reasons_N,
            }
        )
        return self

    def _season_length_of(self, panel: Panel) -> tuple[int, ...]:
        if self.season_length is None:
            return default_season_length(panel.freq)
        return check_season_lengths(self.season_length)

    def _initial_network(
        self, h: int, training: TrainingConfig
    ) -> tuple[ModelSpec, Weights, Preprocessing]:
        """The network and the weights that training starts from, and how it looks at series."""
        if self.init == "random":
            asked = {} if self.spec is None else self.spec.model_dump()
            spec = ModelSpec(**{**asked, "n_features": N_FEATURES, "horizon": h})
            view = Preprocessing(self.growth, (), training.window)
            return spec, init_weights(spec, training.random_seed), view
        bundle = self._load_init()
        settings = read_settings(bundle, self.init)
        view = settings.view(self.growth, self.window, bundle.spec.n_features)
        return bundle.spec, bundle.weights, view

    def _load_init(self) -> Bundle:
        """The saved model that ``init`` names."""
        bundle = load_pretrained() if self.init == PRETRAINED else load_bundle(self.init)
        if self.spec not in (None, bundle.spec):
            raise UsageError(
                "SPEC_FIXED",
                f"spec does not fit the model {self.init}, which has a network of its own; leave "
                "spec away, or use init='random'.",
            )
        return bundle

    # ------------------------------------------------------------------------------- forecasting

    def predict(
        self,
        df: Any = None,
        h: int | None = None,
        level: Sequence[float] | None = None,
        *,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        fill: Fill = "error",
    ) -> Any:
        """Forecast the steps after the end of every series.

        Args:
            df: Histories to forecast, as a table or a panel, of the frequency trained on (any for
                the pretrained model); by default the training data.
            h: Horizon, up to 100,000; by default that of ``fit``, or of the network. Longer ones
                than the network's continue from the median path.
            level: Central intervals wanted, in per cent, such as ``[80, 95]``.
            id_col: Column of series ids in ``df``.
            time_col: Column of timestamps or integers in ``df``.
            target_col: Column of values in ``df``.
            fill: What becomes of missing steps in ``df``.

        Returns:
            A long table of the kind given (pandas or polars) with id, date, the median forecast
            under ``alias``, and for each level ``alias-lo-LEVEL`` and ``alias-hi-LEVEL``.

        Raises:
            UsageError: Nothing was fitted or loaded, or an argument cannot be used.
            DataError: Data that cannot be used.
        """
        self.require_fitted()
        h = check_horizon(self.horizon_ if h is None else h)
        levels = check_levels(level, self.spec_, self.training_.loss)
        names = {"id_col": id_col, "time_col": time_col, "target_col": target_col}
        panel, preprocessing = self._history(df, "predict", fill=fill, **names)
        probabilities = to_probabilities(levels)
        y_NHP = forecast_panel(self._engine, panel, preprocessing, h, probabilities)
        columns_NH = name_columns(y_NHP, self.alias, levels)
        return forecast_frame(panel, h, columns_NH)

    def cross_validation(
        self,
        df: Any,
        h: int,
        n_windows: int = 1,
        step_size: int = 1,
        refit: bool | int = False,
        level: Sequence[float] | None = None,
        *,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        fill: Fill = "error",
    ) -> Any:
        """Forecast the last steps of every series from the steps before them, several times.

        With ``backend="numpy"`` the model forecasts as it is. The others train: on what comes
        before the first window, and with ``refit`` again before each. This model itself stays as
        it is.

        Args:
            df: Long table, pandas or polars, or a panel.
            h: Steps of a window.
            n_windows: How many windows, counted back from the end of each series.
            step_size: Steps from one window to the next.
            refit: Train before every window, or before every so many; False trains once.
            level: Central intervals wanted, in per cent.
            id_col: Column of series ids.
            time_col: Column of timestamps or integers.
            target_col: Column of values.
            fill: What becomes of missing steps.

        Returns:
            A long table of the kind given with id, date, ``cutoff`` (the last date that the
            forecast knew), the value, and the columns of :meth:`predict`.

        Raises:
            UsageError: An argument that cannot be used, or a model that has seen these steps.
            DataError: Data that cannot be used, or a series without a step before its first window.
            TrainingError: The training diverged.
        """
        h = check_horizon(h)
        check_windows(n_windows, step_size, refit)
        names = {"id_col": id_col, "time_col": time_col, "target_col": target_col}
        panel = as_panel(df, freq=self.freq, fill=fill, **names)
        self._check_alias(CUTOFF, target_col)
        if CUTOFF in names.values():
            raise UsageError(
                "COLUMN_TAKEN", f"a column of df is called {CUTOFF!r}, as one to make; rename it."
            )
        pasts = cut_windows(panel, h, n_windows, step_size)
        model, fits = copy.copy(self), self.backend in TRAINABLE_BACKENDS
        model._refuse_seen(pasts[0], fits)
        forecasts = forecast_windows(
            pasts,
            h,
            lambda past: model.predict(past, h=h, level=level),
            fit=(lambda past: model.fit(past, h=h)) if fits else None,
            refit=refit,
        )
        return window_frame(panel, pasts, h, forecasts)

    def tune(self, df: Any, h: int = DEFAULT_HORIZON, **options: Any) -> Self:
        """Search for better parameters and return a model fitted with them; this one stays.

        The first trial is this model as it is. The result differs from it only where the last
        horizon of the data, on which the search does not look, says so
        (:mod:`explstm.tuning`).

        Args:
            df: Long table, pandas or polars, or a panel.
            h: Horizon.
            **options: See :func:`explstm.tuning.tune_model`: ``n_trials``, ``timeout`` in seconds,
                ``storage`` (an SQLite file that several processes share and that outlives a kill),
                ``n_windows``, ``step_size``, ``space`` (which narrows what is searched),
                ``workers``, ``on_trial``, and the columns and ``fill`` of :meth:`fit`.

        Returns:
            A fitted model, whose ``tuning_`` tells every trial, the finalists and the verdict.

        Raises:
            UsageError: An argument that cannot be used, or a package that is not installed.
            DataError: Data that cannot be used, or series too short for the windows.
            TrainingError: The last training diverged.
        """
        from explstm.tuning import tune_model

        return cast(Self, tune_model(self, df, h, **options))

    def _refuse_seen(self, past: Panel, fits: bool) -> None:
        """Refuse to judge a model, or one trained from it, on steps that its training saw."""
        if not fits:
            self.require_fitted()
            until = self.trained_until_
        elif self.init == "random":
            until = None
        else:
            until = read_settings(self._load_init(), self.init).trained_until
        if is_seen(past, until):
            raise UsageError(
                "CROSS_VALIDATION_SEEN",
                f"the model was trained on steps up to {until}, and the first window begins after "
                f"{earliest_end(past)}; ask for fewer windows, or begin with a model that has not "
                "seen them.",
            )

    def stream(
        self,
        df: Any = None,
        *,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        fill: Fill = "error",
    ) -> Stream:
        """Begin a stream: forecasts of series that go on, whose past is read once.

        Args:
            df: Histories to begin with, as for :meth:`predict`; by default the training data.
            id_col: Column of series ids in ``df`` and in the updates.
            time_col: Column of timestamps or integers in ``df`` and in the updates.
            target_col: Column of values in ``df`` and in the updates.
            fill: What becomes of missing steps in ``df``; updates must have none.

        Returns:
            A stream, which forecasts as :meth:`predict` does until it is updated. The network sees
            the last ``window`` steps of a history, as there, and then whatever comes, so that it
            may come to see more. Beyond the network's own horizon :meth:`predict` fits seasonal
            indices again on the history and its median path; a stream keeps them.

        Raises:
            UsageError: Nothing was fitted or loaded, or an argument cannot be used.
            DataError: Data that cannot be used.
        """
        self.require_fitted()
        names = {"id_col": id_col, "time_col": time_col, "target_col": target_col}
        panel, preprocessing = self._history(df, "stream", fill=fill, **names)
        return Stream(
            self.spec_,
            self.weights_,
            panel,
            preprocessing,
            horizon=self.horizon_,
            loss=self.training_.loss,
            alias=self.alias,
        )

    def _history(self, df: Any, caller: str, **options: Any) -> tuple[Panel, Preprocessing]:
        """The histories to forecast, the training data where there is no table, and their view."""
        panel = self.panel_ if df is None else self._build_history(df, **options)
        if panel is None:
            raise UsageError(
                "PREDICT_WITHOUT_DATA",
                f"this model holds no data of its own; call {caller}(df=...).",
            )
        self._check_alias(panel.layout.id_col, panel.layout.time_col)
        preprocessing = self.preprocessing_
        if self.freq_ is None:  # a model of any frequency
            preprocessing = replace(preprocessing, season_length=self._season_length_of(panel))
        if preprocessing.beside is not None:
            warn_of_few(panel.ids_N, panel.lengths_N)
        return panel, preprocessing

    def _check_alias(self, *taken: str) -> None:
        if self.alias in taken:
            raise UsageError(
                "ALIAS_TAKEN",
                f"alias={self.alias!r} is a column of df already; choose another alias.",
            )

    def require_fitted(self) -> None:
        """Take the model that ``init`` names where nothing was fitted, and again when told else.

        Raises:
            UsageError: ``init="random"``, and nothing was fitted or loaded.
            ModelFileError: ``init`` is no saved model.
        """
        if hasattr(self, "weights_") and self._taken_with in (None, self.get_params()):
            return
        if self.init == "random":
            raise UsageError(
                "NOT_FITTED", "this model has no weights yet; call fit(df) or ExpLSTM.load(path)."
            )
        self._take(self._load_init(), self.init)

    def _build_history(self, df: Any, **options: Any) -> Panel:
        """The panel of a table that is to be forecast, of the frequency trained on."""
        try:
            panel = as_panel(df, freq=self.freq, **options)
        except DataError as error:
            if error.code != "FREQ_UNKNOWN" or self.freq_ is None:
                raise
            return as_panel(df, freq=self.freq_, **options)  # a single date has no frequency
        if self.freq_ is None:
            return panel
        rule, trained = parse_freq(panel.freq), parse_freq(self.freq_)
        if (rule.unit, rule.n) != (trained.unit, trained.n) and self.season_length is None:
            raise DataError(
                "DATA_FREQUENCY",
                f"the data have freq={panel.freq!r} and the model was trained on "
                f"freq={self.freq_!r}; fit a model to these data.",
            )
        return panel

    # --------------------------------------------------------------------------- saving, loading

    def save(self, path: str | Path) -> None:
        """Save the model as a folder that every engine loads.

        Raises:
            UsageError: Nothing was fitted or loaded.
            ModelFileError: The place cannot be written.
        """
        self.require_fitted()
        seasons: list[int] | None = list(self.preprocessing_.season_length)
        if self.freq_ is None:  # by frequency, unless told
            asked = self.season_length
            seasons = None if asked is None else list(check_season_lengths(asked))
        parameters = {
            **self.training_.model_dump(include=set(self.parameter_names())),
            "alias": self.alias,
            "growth": self.preprocessing_.growth,
            "window": self.preprocessing_.window,
            "season_length": None if self.season_length is None else seasons,
            "freq": None if self.freq is None else self.freq_ or self.freq,
        }
        settings = Settings(
            parameters=parameters,
            freq=self.freq_,
            season_length=seasons,
            trained_until=self.trained_until_,
            horizon=self.horizon_,
            beside=self.preprocessing_.beside,
            widen=self.preprocessing_.widen,
        )
        save_bundle(
            path,
            self.spec_,
            self.weights_,
            settings.model_dump(mode="json"),
            data_fingerprint=self.data_fingerprint_,
        )

    @classmethod
    def load(cls, path: str | Path, backend: str = "numpy") -> Self:
        """Load a saved model into an engine, whichever framework trained it.

        Raises:
            ModelFileError: The folder is missing, damaged, or from a newer version.
            UsageError: The engine's framework is not installed.
        """
        choose("backend", backend, ("numpy", *TRAINABLE_BACKENDS))
        bundle = load_bundle(path)
        parameters = read_settings(bundle, path).parameters
        try:
            model = cls(backend=backend, init=str(path), spec=bundle.spec, **parameters)
        except (TypeError, UsageError) as error:
            raise refuse_settings(bundle, path, error) from None
        model._take(bundle, path)
        return model

    def _take(self, bundle: Bundle, path: str | Path) -> None:
        """Take a saved model as what was fitted."""
        settings = read_settings(bundle, path)
        self.freq_, self.trained_until_ = settings.freq, settings.trained_until
        self.horizon_ = settings.horizon or bundle.spec.horizon
        self.training_ = settings.training()
        self.preprocessing_ = settings.view(self.growth, self.window, bundle.spec.n_features)
        self.data_fingerprint_ = bundle.manifest["data_fingerprint"]
        self.spec_, self.weights_ = bundle.spec, bundle.weights
        self.training_log_, self.findings_, self.panel_ = (), (), None
        # A model of one frequency stays as it was fitted; one of any follows its parameters.
        self._taken_with = self.get_params() if self.freq_ is None else None
        self._built = make_engine(self.backend, bundle.spec, bundle.weights)  # type: ignore[arg-type]

    @property
    def _engine(self) -> Engine:
        """The network in the engine that ``backend`` names, built where there is none yet."""
        if self._built is None or self._built.backend != self.backend:
            self._built = make_engine(self.backend, self.spec_, self.weights_)  # type: ignore[arg-type]
        return self._built

    def __getstate__(self) -> dict[str, Any]:
        """All but the engine, which a copy builds from the weights when it forecasts."""
        return {name: value for name, value in vars(self).items() if name != "_built"}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with all of its own but the weights, which nothing changes in place."""
        weights = vars(self).get("weights_", {})
        memo.update((id(array), array) for array in weights.values())
        other = type(self).__new__(type(self))
        vars(other).update(copy.deepcopy(self.__getstate__(), memo))
        return other


def refuse_untrainable(backend: str) -> None:
    """Refuse an engine that only forecasts.

    Raises:
        UsageError: With those that train.
    """
    if backend not in TRAINABLE_BACKENDS:
        raise UsageError(
            "BACKEND_CANNOT_TRAIN",
            f"backend={backend!r} only forecasts; set backend='torch' or 'tensorflow'.",
        )
