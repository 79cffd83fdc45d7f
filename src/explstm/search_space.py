"""What tuning may change of a model: one table for each start, which a caller narrows.

Contract: a *knob* is an argument of :class:`explstm.ExpLSTM` or a field of its network with the
values it may take; parameters are a value for every knob. The model's own values are always among
them, so that the first trial can be the model as it is. Nothing here knows how values are chosen.

``loss`` is on no table: all but ``"pinball"`` leave the network without intervals, which an error
of the point forecast would not notice. The curves of the table are those of growth space.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from explstm.config import TrainingConfig, refuse_unknown
from explstm.errors import UsageError
from explstm.forecaster import ExpLSTM
from explstm.models.spec import ModelSpec
from explstm.panel import Panel

Part = Literal["network", "series", "training"]
Params = dict[str, Any]

OF_NETWORK = frozenset(ModelSpec.model_fields) - {"n_features", "horizon", "quantiles"}
OF_SERIES = frozenset({"growth", "window"})
OF_TRAINING = (frozenset(TrainingConfig.model_fields) & set(ExpLSTM.parameter_names())) - {
    "random_seed",
    "val_size",
    "val_check_steps",
    "early_stop_patience",
    "window",
}


@dataclass(frozen=True)
class Knob:
    """One thing that tuning may change: either a choice or a range.

    Attributes:
        name: Argument of the model or field of its network.
        choices: The values it may take; none for a range.
        low: Lower end of a range; of an integer range where it is an int.
        high: Upper end.
        log: Whether equal ratios count as equal steps.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def part(self) -> Part:
        """What it belongs to."""
        if self.name in OF_NETWORK:
            return "network"
        return "series" if self.name in OF_SERIES else "training"

    def holds(self, value: Any) -> bool:
        """Whether it may take a value."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def ends(self) -> tuple[Any, ...]:
        """The values that must be possible for all to be: the choices, or the ends of the range."""
        return self.choices or (self.low, self.high)

    def to_words(self) -> str:
        """Its values for people, and to tell whether two knobs are the same."""
        if self.choices:
            return " | ".join(map(show_value, self.choices))
        return f"{self.low:g} to {self.high:g}" + (", log" if self.log else "")


FROM_SCRATCH = (
    Knob("cell", ("lstm", "slstm")),
    Knob("hidden_sizes", ((32,), (64,), (32, 32), (64, 64), (96, 96))),
    Knob("activation", ("tanh", "elu")),
    Knob("dense_sizes", ((), (32,), (64,))),
    Knob("dropout", low=0.0, high=0.4),
    Knob("residual", (True, False)),
    Knob("growth", ("auto", "log", "asinh")),
    Knob("window", (32, 64, 128, 256)),
    Knob("reflection", low=0.0, high=0.5),
    Knob("scale_weight", low=0.0, high=1.0),
    Knob("learning_rate", low=1e-3, high=2e-2, log=True),
    Knob("lr_schedule", ("cosine", "one_cycle", "constant")),
    Knob("max_steps", low=100, high=1000, log=True),
    Knob("batch_size", (16, 32, 64, 128)),
)
"""The space of ``init="random"``."""

FINE_TUNING = (
    Knob("growth", ("auto", "log", "asinh")),
    Knob("window", (None, 32, 64, 128)),
    Knob("reflection", low=0.0, high=0.5),
    Knob("scale_weight", low=0.0, high=1.0),
    Knob("learning_rate", low=1e-4, high=5e-3, log=True),
    Knob("lr_schedule", ("cosine", "one_cycle", "constant")),
    Knob("max_steps", low=50, high=400, log=True),
    Knob("batch_size", (16, 32, 64, 128)),
)
"""The space of a start from a model, whose network is what it is."""


def show_value(value: Any) -> str:
    """A value as text, as JSON would have it."""
    return value if isinstance(value, str) else json.dumps(value)


def make_space(
    model: ExpLSTM, space: Mapping[str, Any] | None = None, panel: Panel | None = None
) -> tuple[ExpLSTM, tuple[Knob, ...]]:
    """The model to begin with and the knobs to turn.

    Args:
        model: The model as it is; it is not changed.
        space: Changes of the table by name: a list of choices, ``{"low": 1e-4, "high": 1e-2,
            "log": True}``, or a single value, which is fixed. Sizes are lists themselves:
            ``[64, 64]`` fixes them, ``[[64], [64, 64]]`` are choices.
        panel: The series. Knobs are not turned to where these make no difference or none is
            possible: logarithms of values that are not positive, windows that are all longer than
            the longest series.

    Raises:
        UsageError: An unknown name, values that cannot be used, a knob without the model's own
            value, or one of the network where that is fixed.
    """
    from_scratch = model.init == "random"
    knobs = {knob.name: knob for knob in (FROM_SCRATCH if from_scratch else FINE_TUNING)}
    allowed = OF_SERIES | OF_TRAINING | (OF_NETWORK if from_scratch else frozenset())
    changes = dict(space or {})
    refuse_unknown(changes, sorted(allowed))
    read = {name: _read_change(name, value) for name, value in changes.items()}
    fixed = {name: knob.choices[0] for name, knob in read.items() if len(knob.ends()) == 1}
    model = with_params(model, fixed)
    knobs |= read
    own = own_params(model, knobs)
    for name, change in read.items():
        _refuse_outside(model, change, own[name])
    fitted = [_fit_to_model(knob, own[name], model) for name, knob in knobs.items()]
    kept = [_fit_to_series(knob, own[knob.name], panel) for knob in fitted]
    return model, tuple(knob for knob in kept if len(knob.ends()) > 1)


def own_params(model: ExpLSTM, names: Mapping[str, Knob] | tuple[Knob, ...]) -> Params:
    """The values that a model has for some knobs."""
    wanted = names if isinstance(names, Mapping) else {knob.name: knob for knob in names}
    return {name: _own_value(model, name) for name in wanted}


def with_params(model: ExpLSTM, params: Mapping[str, Any]) -> ExpLSTM:
    """A new model with other values for some knobs.

    Raises:
        UsageError: Values that cannot be used, or not together.
    """
    network = {name: value for name, value in params.items() if name in OF_NETWORK}
    others = {name: value for name, value in params.items() if name not in OF_NETWORK}
    settings = {**model.get_params(), **others}
    if network:
        spec = {} if model.spec is None else model.spec.model_dump()
        settings["spec"] = ModelSpec(**{**spec, **network})
    return ExpLSTM(**settings)


def _own_value(model: ExpLSTM, name: str) -> Any:
    if name in OF_NETWORK:
        return getattr(model.spec or ModelSpec(), name)
    value = getattr(model, name)
    unset = value is None and not (name == "window" and model.init != "random")
    return getattr(model.training_config(), name) if unset else value


def _read_change(name: str, value: Any) -> Knob:
    """The knob that a caller asks for."""
    if isinstance(value, Mapping):
        keys = {"low", "high", "log"}
        refuse_unknown(value, sorted(keys))
        try:
            low, high = value["low"], value["high"]
            if isinstance(low, bool) or isinstance(high, bool) or not low < high:
                raise ValueError
            if type(low) is not type(high):
                low, high = float(low), float(high)
            log = bool(value.get("log", False))
            if log and low <= 0:
                raise ValueError
            return Knob(name, low=low, high=high, log=log)
        except (KeyError, TypeError, ValueError):
            raise UsageError(
                "SPACE_RANGE",
                f"space: {name}={dict(value)!r} is no range; give low below high, both numbers, "
                "and above 0 with log.",
            ) from None
    sizes = name.endswith("_sizes")
    many = isinstance(value, list | tuple) and not (
        sizes and all(isinstance(item, int) for item in value)
    )
    choices = tuple(value) if many else (value,)
    if sizes:
        choices = tuple(tuple(item) if isinstance(item, list) else item for item in choices)
    if not choices:
        raise UsageError("SPACE_EMPTY", f"space: {name} has no choice; give one, or leave it out.")
    return Knob(name, tuple(dict.fromkeys(choices)))


def _refuse_outside(model: ExpLSTM, knob: Knob, own: Any) -> None:
    for value in knob.ends():
        with_params(model, {knob.name: value})
    if not knob.holds(own):
        raise UsageError(
            "SPACE_WITHOUT_OWN",
            f"space: {knob.name} ({knob.to_words()}) does not hold the model's own value "
            f"{show_value(own)}, which tuning is measured by; add it, or give the model another.",
        )


def _fit_to_model(knob: Knob, own: Any, model: ExpLSTM) -> Knob:
    """The knob with the model's own value, without choices that its other settings rule out."""
    if not knob.choices:
        return replace(knob, low=min(knob.low, own), high=max(knob.high, own))
    choices = knob.choices if knob.holds(own) else (*knob.choices, own)
    return replace(knob, choices=tuple(c for c in choices if _is_possible(model, knob.name, c)))


def _is_possible(model: ExpLSTM, name: str, value: Any) -> bool:
    try:
        with_params(model, {name: value})
    except UsageError:
        return False
    return True


def _fit_to_series(knob: Knob, own: Any, panel: Panel | None) -> Knob:
    """The knob without choices that these series make impossible or all the same."""
    if panel is None or not knob.choices:
        return knob
    if knob.name == "growth" and (panel.y_S <= 0).any():
        return replace(knob, choices=tuple(c for c in knob.choices if c != "log" or c == own))
    if knob.name == "window":
        longest = int(np.max(panel.lengths_N))
        covering = [c for c in knob.choices if c is not None and c >= longest]
        dropped = {c for c in covering if c != min(covering)} - {own}
        return replace(knob, choices=tuple(c for c in knob.choices if c not in dropped))
    return knob
