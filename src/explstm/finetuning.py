"""Fine-tuning that is held to what it began with: the weights of both are mixed, or kept.

Contract: the last ``h`` steps of every series that is long enough are set aside, a first run trains
on the rest, and the final forecasts of every mixture ``(1 - share) * start + share * tuned`` are
scored on what was set aside: all quantiles, or the median where nothing else was trained. The
smallest share within one standard error of the best is taken
(Breiman, Friedman, Olshen & Stone 1984, section 3.4.3: prefer the simpler where the data do not
tell). A second run then trains on everything, and its weights are mixed by that share; where it is
0 the start stays as it is. Where no series is long enough nothing tells, and the share is a half.

Networks tuned from one start lie close enough for the mean of their weights to forecast between
them, so the mixture costs nothing in use.

Source: Wortsman et al. (2022), Robust fine-tuning of zero-shot models, section 3.

Axes: N series, J judged series, A choices (shares), H horizon, P probabilities.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from explstm.checkpoint import has_checkpoint
from explstm.config import BackendName, TrainingConfig
from explstm.errors import UsageError
from explstm.frame import Panel, keep_steps, take_series
from explstm.growth import GrowthPanel
from explstm.holdout import VALIDATED_HORIZONS, split_holdout
from explstm.models.engine import Engine, make_engine
from explstm.models.spec import MEDIAN, ModelSpec, Weights
from explstm.origins import OriginBatches
from explstm.prediction import Preprocessing, forecast_panel
from explstm.ragged import FloatArray, IntArray, mean_change
from explstm.team import Team
from explstm.training import LogRow, train

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
UNTESTED_SHARE = 0.5
PARTS = ("trial", "whole")
"""The two runs, and their folders of checkpoints."""
JUDGED_SERIES = 1024
"""Series that shares are judged on, evenly spaced where more are long enough."""


@dataclass(frozen=True)
class Start:
    """What training begins with.

    Attributes:
        backend: The framework.
        spec: The network.
        weights: Its weights.
        preprocessing: How series enter it.
        training: How it is trained.
    """

    backend: BackendName
    spec: ModelSpec
    weights: Weights
    preprocessing: Preprocessing
    training: TrainingConfig


@dataclass(frozen=True)
class Trained:
    """What training ends with.

    Attributes:
        engine: The network; it holds the weights.
        weights: Its weights.
        space: What it was trained on.
        log: One row per training step of the last run; where the share is 0, of the trial.
        share: How much of the trained weights is in them.
    """

    engine: Engine
    weights: Weights
    space: GrowthPanel
    log: tuple[LogRow, ...]
    share: float = 1.0


@dataclass(frozen=True)
class Course:
    """What goes along with a run, see :func:`explstm.training.train`."""

    checkpoint_dir: Path | None
    resume: bool
    on_step: Callable[[LogRow], None] | None
    identity: Mapping[str, Any]
    on_look: Callable[[Engine, LogRow], None] | None = None
    team: Team | None = None

    def part(self, name: str) -> "Course":
        """The same for one of several runs, with a folder of checkpoints of its own."""
        folder = None if self.checkpoint_dir is None else self.checkpoint_dir / name
        return replace(self, checkpoint_dir=folder, identity={**self.identity, "part": name})


def refuse_other_runs(course: Course, parts: Collection[str]) -> None:
    """Refuse a folder with checkpoints of a run in other parts; its own are looked at in each.

    Raises:
        UsageError: There are such checkpoints.
    """
    if course.checkpoint_dir is None:
        return
    for name in {"", *PARTS} - set(parts):
        if has_checkpoint(course.checkpoint_dir / name):
            raise UsageError(
                "CHECKPOINT_EXISTS",
                f"{course.checkpoint_dir} holds the checkpoints of a run on other data or with "
                "another init or val_size; resume with those, delete it (on the command line: "
                "--force), or use another folder.",
            )


def fit_network(start: Start, panel: Panel, course: Course) -> Trained:
    """Train on a panel, all but ``val_size`` steps at the end of every series."""
    spec, training = start.spec, start.training
    space, validate = split_holdout(panel, start.preprocessing, training, spec.horizon)
    engine = make_engine(start.backend, spec, start.weights)
    result = train(
        engine,
        OriginBatches.from_training(space, spec.horizon, training),
        training,
        validate=validate,
        checkpoint_dir=course.checkpoint_dir,
        resume=course.resume,
        on_step=course.on_step,
        on_look=course.on_look,
        identity=course.identity,
        team=course.team,
    )
    return Trained(engine, result.weights, space, result.log)


def fine_tune(start: Start, panel: Panel, h: int, course: Course) -> Trained:
    """Train on a panel as far as held-out ends of its series say that it helps.

    Args:
        start: What to begin with, and what to keep where nothing helps.
        panel: The series.
        h: Steps held out of every series that has ``VALIDATED_HORIZONS`` times as many.
        course: Checkpoints, and whom to tell.
    """
    share, judged_J = UNTESTED_SHARE, _find_long(panel, h, start.training.warm_up)
    has_trial = len(judged_J) * h > 1  # a single value tells nothing
    refuse_other_runs(course, PARTS if has_trial else PARTS[1:])
    if has_trial:
        kept_N = panel.lengths_N.copy()
        kept_N[judged_J] -= h
        tried = fit_network(start, keep_steps(panel, 0, kept_N), course.part(PARTS[0]))
        share = choose_share(start, tried, take_series(panel, _spread(judged_J)), h)
        share = share if course.team is None else course.team.agree(share)
        if share == 0:
            tried.engine.load_weights(start.weights)
            space, _ = split_holdout(panel, start.preprocessing, start.training, start.spec.horizon)
            return Trained(tried.engine, start.weights, space, tried.log, share)
    tuned = fit_network(start, panel, course.part(PARTS[1]))
    weights = mix_weights(start.weights, tuned.weights, share)
    tuned.engine.load_weights(weights)
    return Trained(tuned.engine, weights, tuned.space, tuned.log, share)


def choose_share(start: Start, tried: Trained, panel: Panel, h: int) -> float:
    """Find the smallest share whose forecasts of the last ``h`` steps are as good as any.

    Args:
        start: What training began with.
        tried: What it ended with, on the panel without these steps.
        panel: Series with these steps.
        h: How many.
    """
    past = keep_steps(panel, 0, panel.lengths_N - h)
    end_J1 = panel.starts_N1[1:, None]
    future_JH = panel.y_S[end_J1 - h + np.arange(h)]
    trained = start.spec.quantiles if start.training.loss == "pinball" else (MEDIAN,)
    losses_AJH = []
    for share in SHARES:
        tried.engine.load_weights(mix_weights(start.weights, tried.weights, share))
        y_JHP = forecast_panel(tried.engine, past, start.preprocessing, h, trained)
        losses_AJH.append(scaled_losses(past, future_JH, y_JHP, trained))
    return SHARES[pick_simplest(np.array(losses_AJH))]


def scaled_losses(
    past: Panel, future_NH: FloatArray, y_NHP: FloatArray, probabilities: tuple[float, ...]
) -> FloatArray:
    """Mean quantile loss (N, H) in units of each series' mean change per step; 0 without any."""
    error_NHP = future_NH[:, :, None] - y_NHP
    levels_P = np.array(probabilities)
    loss_NH = np.maximum(levels_P * error_NHP, (levels_P - 1) * error_NHP).mean(axis=2)
    change_N1 = mean_change(past.y_S, past.starts_N1)[:, None]
    return np.divide(loss_NH, change_N1, out=np.zeros_like(loss_NH), where=change_N1 > 0)


def pick_simplest(losses_ANH: FloatArray) -> int:
    """Return the first of some choices that is within one standard error of the best.

    The error is that of the mean difference to the best. The steps of one series count as one
    observation, since their errors go together. A single value has no such error and tells nothing,
    so that the first is picked.
    """
    if losses_ANH[0].size < 2:
        return 0
    best = int(losses_ANH.mean(axis=(1, 2)).argmin())
    worse_ANH = losses_ANH - losses_ANH[best]
    error_A = worse_ANH.std(axis=(1, 2), ddof=1) / np.sqrt(losses_ANH.shape[1])
    return int(np.argmax(worse_ANH.mean(axis=(1, 2)) <= error_A))


def mix_weights(start: Weights, tuned: Weights, share: float) -> Weights:
    """The weighted mean of two sets of weights; ``share`` is that of the second."""
    if share in (0.0, 1.0):
        return tuned if share else start
    return {
        name: ((1 - share) * start[name] + share * tuned[name]).astype(np.float32) for name in tuned
    }


def _find_long(panel: Panel, h: int, warm_up: int) -> IntArray:
    """The series that hold enough horizons, and have an origin before the last one."""
    before_N = panel.lengths_N - h - 1  # the last step kept has no future to learn
    long_N = (panel.lengths_N >= VALIDATED_HORIZONS * h) & (before_N > warm_up)
    long_J = np.flatnonzero(long_N)
    if len(long_J) == 0:
        return long_J
    series = keep_steps(take_series(panel, long_J), 0, before_N[long_J])
    return long_J[mean_change(series.y_S, series.starts_N1) > 0]


def _spread(judged_J: IntArray) -> IntArray:
    """At most ``JUDGED_SERIES`` of the series, evenly spaced."""
    places = np.linspace(0, len(judged_J) - 1, min(len(judged_J), JUDGED_SERIES))
    return judged_J[places.round().astype(np.int64)]
