"""The leakage audit of this package itself, stage by stage, on the data of its user.

Contract: at every cutoff each stage is run on the series with one future and with others, and what
it made up to that cutoff is compared (:mod:`explstm.leakage`). The stages, in the order in which
data pass through them, so that the first one that changed is where a leak begins:

| check | what must not change |
|---|---|
| windows | the past that is handed out |
| validation split | which steps are trained on: none at or after the held-out ones |
| curve | curve, centre and unit, of the past and of what is trained on |
| seasonal part | indices and their variances, of the past and of what is trained on |
| levels | levels and anchors up to the cutoff, with curve and season fitted before it |
| scale | σ up to the cutoff, likewise |
| features | features up to the cutoff, likewise |
| network | outputs of the network at origins up to the cutoff, within a longer series |
| mixing | forecasts at these origins, by which two views are weighed, and the past errors |
| training batches | features, origins, targets and weights of what is trained on |
| training | the losses of the first steps, where a framework trains |
| fine-tuning | what the network is shown where shares are judged |
| forecast | what ``cross_validation`` says |

The features of a whole series with other seasonal indices are other features; this is why a stage
is given what was fitted before the cutoff. The season of a training part is fitted on all of it, so
that its own origins know it: what is held out does not.

Axes: N series, S steps of all series laid end to end, H horizon, O origins, K steps ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explstm import finetuning, holdout, windows
from explstm.alterations import ALTERATIONS
from explstm.bundle import load_pretrained
from explstm.calendar import default_season_length
from explstm.config import FINE_TUNING, BackendName, TrainingConfig
from explstm.errors import DataError
from explstm.finetuning import Course, Start, Trained
from explstm.forecaster import ExpLSTM
from explstm.frame import Panel, as_panel, keep_steps
from explstm.growth import GrowthPanel, to_growth_space
from explstm.leakage import Cutoff, LeakageReport, Seen, audit_leakage, run_audit
from explstm.mixing import PAST_ORIGINS, PastForecasts, past_error, recall
from explstm.models.engine import Engine, make_engine
from explstm.origins import OriginBatches, last_windows
from explstm.prediction import Preprocessing
from explstm.ragged import FloatArray, IntArray
from explstm.scaling import GROWTH_NAMES
from explstm.seasonality import carry_on, check_season_lengths
from explstm.settings import read_settings

AHEAD = 6
"""Steps after a cutoff that a stage is shown, or the horizon where that is less."""
TRAINED_STEPS = 2
"""Steps of the trainings that are audited: what leaks in the first does not wait for the last."""

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class _Product:
    """The pretrained model taken apart, as the stages need it."""

    start: Start
    engine: Engine
    step_size: int
    h: int


def audit_product(
    data: Any,
    h: int,
    *,
    backend: BackendName = "numpy",
    growth: str = "auto",
    season_length: int | Sequence[int] | None = None,
    n_windows: int = 3,
    step_size: int = 1,
    seed: int = 1,
    alterations: Sequence[str] = ALTERATIONS,
    tolerance: float = 0.0,
    **columns: Any,
) -> LeakageReport:
    """Audit every stage of this package on some series.

    Args:
        data: Long table, pandas or polars, or a panel.
        h: Horizon.
        backend: ``"torch"`` and ``"tensorflow"`` also train, a few
            steps each time; their forecasts are fine-tuned ones.
        growth: Curve between data units and levels.
        season_length: Season length or lengths in steps; by default from the frequency.
        n_windows: Cutoffs of each series, counted back from its end.
        step_size: Steps from one to the next.
        seed: Of the altered futures, and of the training.
        alterations: Some of :data:`explstm.alterations.ALTERATIONS`.
        tolerance: Relative change that is let pass; 0 asks for the same bits.
        **columns: How to read a table, see :func:`explstm.frame.build_panel`.

    Raises:
        UsageError: An argument that cannot be used, or results that do not repeat themselves.
        DataError: Data that cannot be used.
        BackendNotInstalledError: The framework is not installed.
    """
    panel = as_panel(data, **columns)
    seasons = default_season_length(panel.freq) if season_length is None else season_length
    product = _take_apart(backend, growth, check_season_lengths(seasons), h, step_size, seed)
    options: dict[str, Any] = {
        "n_windows": n_windows,
        "step_size": step_size,
        "seed": seed,
        "alterations": alterations,
        "tolerance": tolerance,
    }
    stages = run_audit(panel, h, lambda *at: _look_through(product, *at), **options)
    short: dict[str, Any] = (
        {} if backend == "numpy" else {"max_steps": TRAINED_STEPS, "val_check_steps": 1}
    )
    model = ExpLSTM(
        backend=backend, growth=growth, season_length=season_length, freq=panel.freq,
        random_seed=seed, **short,
    )  # fmt: skip
    forecasts = audit_leakage(panel, h, forecast=model.cross_validation, **options)
    return join_reports(stages, forecasts)


def join_reports(*reports: LeakageReport) -> LeakageReport:
    """Several audits as one, their checks one after the other."""
    table = pd.concat([report.table for report in reports], ignore_index=True)
    return LeakageReport(table, tuple(check for report in reports for check in report.checks))


def _take_apart(
    backend: BackendName, growth: str, seasons: tuple[int, ...], h: int, step_size: int, seed: int
) -> _Product:
    bundle = load_pretrained()
    view = read_settings(bundle, "pretrained").view(growth, None, bundle.spec.n_features)
    view = replace(view, season_length=seasons)
    short = {**FINE_TUNING, "max_steps": TRAINED_STEPS, "val_check_steps": 1, "random_seed": seed}
    start = Start(backend, bundle.spec, bundle.weights, view, TrainingConfig(**short))
    engine = make_engine("numpy", bundle.spec, bundle.weights)
    return _Product(start, engine, step_size, h)


def _look_through(product: _Product, panel: Panel, at: Cutoff) -> Seen:
    """What every stage makes at one cutoff."""
    view, cutoff_N = product.start.preprocessing, at.past.lengths_N
    space = _to_space(at.past, view)
    split = _split(product, panel, cutoff_N)
    spaces = [space] if split is None else [space, split]
    handed = windows.cut_windows(panel, product.h, at.n_windows, product.step_size)[at.window]
    seen: dict[str, Arrays] = {"windows": np.split(handed.y_S, handed.starts_N1[1:-1])}
    if split is not None:
        seen["validation split"] = _each(split, split.z_S, begin_N=cutoff_N)
    seen["curve"] = _join(*map(_describe_curve, spaces))
    seen["seasonal part"] = _join(*map(_describe_season, spaces))
    seen |= _look_at_space(product, space, split, panel, cutoff_N)
    seen |= _look_at_origins(product, space, at.past, panel)
    if split is not None:
        seen |= _look_at_training(product, split, panel, cutoff_N)
    seen["fine-tuning"] = _look_at_judging(
        product, space, keep_steps(panel, 0, cutoff_N + product.h)
    )
    return seen


def _to_space(panel: Panel, view: Preprocessing, **fitted: Any) -> GrowthPanel:
    return to_growth_space(
        panel, growth=view.growth, season_length=view.season_length, n_features=view.n_features,
        **fitted,
    )  # fmt: skip


def _each(
    space: GrowthPanel, values_S: NDArray[Any], *, begin_N: IntArray | None = None,
    end_N: IntArray | None = None,
) -> Arrays:  # fmt: skip
    """Some steps of every series, counted from the start of each."""
    first_N = space.starts_N1[:-1]
    begin_N = first_N if begin_N is None else first_N + begin_N
    steps_N = space.lengths_N if end_N is None else np.minimum(end_N, space.lengths_N)
    return [values_S[begin:end] for begin, end in zip(begin_N, first_N + steps_N, strict=True)]


def _join(*looks: Arrays) -> Arrays:
    """What several looks found in every series, one behind the other."""
    return [
        np.concatenate([np.ravel(part) for part in parts]) for parts in zip(*looks, strict=True)
    ]


def _split(product: _Product, panel: Panel, cutoff_N: IntArray) -> GrowthPanel | None:
    """What a training sees where everything after the cutoff is held out."""
    start = _hold_out(product.start, panel, cutoff_N)
    try:
        return holdout.split_holdout(panel, start.preprocessing, start.training, product.h)[0]
    except DataError:  # nothing moves before the cutoff, so that nothing can be trained
        return None


def _hold_out(start: Start, panel: Panel, cutoff_N: IntArray) -> Start:
    """The start of a training that holds out everything after the cutoff."""
    held_out = int(panel.lengths_N[0] - cutoff_N[0])
    return replace(start, training=start.training.model_copy(update={"val_size": held_out}))


def _describe_curve(space: GrowthPanel) -> Arrays:
    curve = space.transform
    code_N = np.array([GROWTH_NAMES.index(name) for name in curve.names_N])
    return list(np.stack([code_N, curve.centre_N, curve.unit_N], axis=1))


def _describe_season(space: GrowthPanel) -> Arrays:
    season = space.seasonality
    variance_NJ = np.reshape(season.variances, (-1, space.n_series)).T
    return list(np.concatenate([*season.indices, variance_NJ], axis=1))


def _look_on(
    product: _Product, space: GrowthPanel, panel: Panel
) -> tuple[GrowthPanel, Panel] | None:
    """The space of a series that goes on after its cutoff, with what was fitted before.

    None where a curve cannot carry what follows.
    """
    # As many steps whatever comes later, so that the same steps are shown to a network.
    ahead_N = np.full(panel.n_series, min(product.h, AHEAD))
    near = keep_steps(panel, 0, space.lengths_N + ahead_N)
    if not space.transform.carries_S(near.y_S, near.lengths_N).all():
        return None
    fitted = {"transform": space.transform, "seasonality": carry_on(space.seasonality, ahead_N)}
    return _to_space(near, product.start.preprocessing, **fitted), near


def _look_at_space(
    product: _Product,
    space: GrowthPanel,
    split: GrowthPanel | None,
    panel: Panel,
    cutoff_N: IntArray,
) -> dict[str, Arrays]:
    """Levels, scales and features up to the cutoff, of a longer series and of a training."""
    found = _look_on(product, space, panel)
    if found is None:
        return {}
    spaces = [found[0]] if split is None else [found[0], split]
    return {
        name: _join(*(_each(one, values, end_N=cutoff_N) for one in spaces for values in pick(one)))
        for name, pick in (
            ("levels", lambda one: (one.z_S, one.anchor_S)),
            ("scale", lambda one: (one.scale_S,)),
            ("features", lambda one: (one.features_SF,)),
        )
    }


def _look_at_origins(
    product: _Product, space: GrowthPanel, past: Panel, panel: Panel
) -> dict[str, Arrays]:
    """What the network says from origins up to the cutoff, and what mixing makes of it."""
    found = _look_on(product, space, panel)
    if found is None:
        return {}
    later, near = found
    median_NOK = _forecast_origins(product, later)
    ahead = int(near.lengths_N[0] - past.lengths_N[0])
    known_NOK = median_NOK[:, : median_NOK.shape[1] - ahead]
    recalled_NOK = recall(later, near.y_S, median_NOK).forecast_NOK[:, : known_NOK.shape[1]]
    counts_N = np.minimum(past.lengths_N, PAST_ORIGINS + 1)
    at_cutoff_NOK = _forecast_origins(product, space)
    median_RH = at_cutoff_NOK[~np.isnan(at_cutoff_NOK[:, :, 0])]
    error_N = past_error(space, past.y_S, counts_N, median_RH)
    return {"network": list(known_NOK), "mixing": _join(list(recalled_NOK), list(error_N))}


def _forecast_origins(product: _Product, space: GrowthPanel) -> FloatArray:
    """Medians (N, O, K) from the last origins of every series; NaN where there are fewer."""
    features_BTF, shown_N = last_windows(space, product.start.preprocessing.window)
    time_T = np.arange(features_BTF.shape[1])
    origins_NT = (time_T < shown_N[:, None]) & (time_T >= shown_N[:, None] - PAST_ORIGINS - 1)
    output_RHQ = product.engine.predict_origins(features_BTF, origins_NT)
    median_NOK = PastForecasts.none(space.n_series, output_RHQ.shape[1]).forecast_NOK
    back_O = np.arange(median_NOK.shape[1])
    asked_NO = back_O >= median_NOK.shape[1] - origins_NT.sum(axis=1)[:, None]
    median_NOK[asked_NO] = output_RHQ[:, : median_NOK.shape[2], product.engine.spec.median]
    return median_NOK


def _look_at_training(
    product: _Product, split: GrowthPanel, panel: Panel, cutoff_N: IntArray
) -> dict[str, Arrays]:
    """The first batches of a training and, where a framework trains, its first losses."""
    start = _hold_out(product.start, panel, cutoff_N)
    try:
        batches = OriginBatches.from_training(split, start.spec.horizon, start.training)
    except DataError:  # no series is long enough to be trained on
        return {}
    shown = [np.ravel(part) for step in range(TRAINED_STEPS) for part in
             vars(batches.batch(step)).values()]  # fmt: skip
    seen = {"training batches": [np.concatenate(shown)]}
    if start.backend != "numpy":
        log = finetuning.fit_network(start, panel, Course(None, False, None, {})).log
        losses = [row.train_loss for row in log if row.train_loss is not None]
        seen["training"] = [np.array(losses)]
    return seen


class _Witness:
    """An engine that keeps what it was shown."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.shown = engine, [np.zeros(0, np.float32)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def predict_last(self, features_BTF: NDArray[Any], lengths_B: IntArray) -> NDArray[Any]:
        self.shown.append(features_BTF.ravel())
        return self._engine.predict_last(features_BTF, lengths_B)

    def predict_origins(self, features_BTF: NDArray[Any], origins_BT: NDArray[Any]) -> NDArray[Any]:
        self.shown.append(features_BTF.ravel())
        return self._engine.predict_origins(features_BTF, origins_BT)


def _look_at_judging(product: _Product, space: GrowthPanel, panel: Panel) -> Arrays:
    """What the network is shown while shares of a fine-tuning are judged by the last steps."""
    witness = _Witness(make_engine("numpy", product.start.spec, product.start.weights))
    tried = Trained(cast(Engine, witness), product.start.weights, space, ())
    finetuning.choose_share(product.start, tried, panel, product.h)
    return [np.concatenate(witness.shown)]
