"""Training configuration: every default of training lives here, and nowhere else.

Configurations are frozen value objects, built from plain keyword arguments. :class:`Configuration`
turns pydantic's findings into one sentence, which names the nearest known key.
"""

import difflib
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from explstm.errors import UsageError

LossName = Literal["pinball", "mae", "mse", "huber"]
OptimizerName = Literal["adam", "adamw"]
ScheduleName = Literal["constant", "cosine", "one_cycle", "reduce_on_plateau"]
BackendName = Literal["numpy", "torch", "tensorflow"]

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LARGEST = 10**12
"""Of any number of steps, series or batches: NumPy's integers hold what is computed from it."""
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Configuration(BaseModel):
    """A frozen value object that is refused in one sentence where it cannot be used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        """Build a configuration.

        Args:
            **values: Its fields.

        Raises:
            UsageError: An unknown key, a wrong type, a value out of range, or a contradiction.
        """
        refuse_unknown(values, tuple(type(self).model_fields))
        for name, value in values.items():
            _refuse_truth(name, value, type(self).model_fields[name].annotation)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _to_sentence(error) from None


class TrainingConfig(Configuration):
    """How a network is trained.

    Attributes:
        max_steps: Batches to train on.
        batch_size: Series per batch; each contributes all of its forecast origins.
        learning_rate: Peak learning rate.
        lr_schedule: Course of the learning rate over ``max_steps``.
        optimizer: ``"adam"`` (Kingma & Ba 2015) or ``"adamw"`` (Loshchilov & Hutter 2019).
        weight_decay: Decoupled weight decay of ``"adamw"``; must be 0 with ``"adam"``.
        beta_1: Decay of Adam's mean of gradients (Kingma & Ba 2015, algorithm 1).
        beta_2: Decay of its mean of squared gradients.
        epsilon: What it adds to the root of that mean.
        loss: ``"pinball"`` trains all quantiles; the others train the median output only.
        huber_delta: Error at which ``"huber"`` turns from a square into a straight line.
        clip_norm: Global gradient norm above which gradients are scaled down.
        val_size: Steps at the end of every series held out for validation; 0 for none.
        val_check_steps: Batches between two validations.
        early_stop_patience: Validations without improvement before stopping; -1 never stops.
        window: Longest stretch of a series that enters the network, in steps.
        warm_up: First steps of a series that are not forecast origins.
        reflection: Share of the series in a batch that are shown upside down in growth space, so
            that a few growing series do not teach that everything grows.
        scale_weight: Power of an origin's scale by which its loss is weighted: 0 counts errors in
            units of each series' own movement (as MASE does), 1 in log units (as sMAPE does).
        random_seed: Seed of the initial weights, of the order of series, and of dropout.
    """

    max_steps: PositiveInt = 500
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 5e-3
    lr_schedule: ScheduleName = "cosine"
    optimizer: OptimizerName = "adam"
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8
    loss: LossName = "pinball"
    huber_delta: PositiveFloat = 1.0
    clip_norm: PositiveFloat = 1.0
    val_size: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    val_check_steps: PositiveInt = 50
    early_stop_patience: Annotated[int, Field(ge=-1, le=LARGEST)] = -1
    window: PositiveInt = 128
    warm_up: PositiveInt = 3
    reflection: Annotated[float, Field(ge=0, le=0.5)] = 0.5
    scale_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    random_seed: Annotated[int, Field(ge=0, lt=2**32)] = 1

    def model_post_init(self, _context: Any) -> None:
        """Refuse values that contradict each other."""
        if self.weight_decay > 0 and self.optimizer == "adam":
            raise UsageError(
                "CONFIG_CONFLICT",
                f"weight_decay={self.weight_decay:g} needs optimizer='adamw', found 'adam'; "
                "set optimizer='adamw' or weight_decay=0.",
            )
        if self.early_stop_patience >= 0 and self.val_size == 0:
            raise UsageError(
                "CONFIG_CONFLICT",
                f"early_stop_patience={self.early_stop_patience} needs held-out steps, found "
                "val_size=0; set val_size (for example to the horizon) or early_stop_patience=-1.",
            )


FINE_TUNING: dict[str, Any] = {"max_steps": 200, "learning_rate": 1e-3, "val_check_steps": 20}
"""What differs by default where training starts from a model."""


def choose(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        UsageError: Names the argument and the nearest choice.
    """
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(choices)}."
        raise UsageError("CONFIG_VALUE", f"{name}={value!r} cannot be used; {hint}")


def check_whole(code: str, name: str, value: object, least: int = 1) -> None:
    """Refuse what is not a whole number from ``least``.

    Raises:
        UsageError: With that code; names the argument.
    """
    if _is_truth(value) or not isinstance(value, Integral) or value < least:
        raise UsageError(
            code, f"{name}={value!r} is not a whole number from {least}; pass such a one."
        )


def _refuse_truth(name: str, value: object, wanted: Any) -> None:
    """Refuse true and false where numbers are wanted; Python, and pydantic, take them for 1 and 0.

    Raises:
        UsageError: Names the argument.
    """
    found = value if isinstance(value, list | tuple) else (value,)
    if not any(map(_is_truth, found)):
        return
    kinds = _kinds_in(wanted)
    if bool not in kinds and (int in kinds or float in kinds):
        raise UsageError(
            "CONFIG_VALUE",
            f"{name}={value!r} cannot be used: true and false are no numbers; pass a number.",
        )


def _is_truth(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


def _kinds_in(annotation: Any) -> list[Any]:
    """The types that a type is made of."""
    return [annotation, *(kind for part in get_args(annotation) for kind in _kinds_in(part))]


def refuse_unknown(keys: Iterable[str], known: Sequence[str]) -> None:
    """Refuse the first key that is not known.

    Raises:
        UsageError: Names the key and the nearest one that is known.
    """
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}."
            raise UsageError("CONFIG_UNKNOWN_KEY", f"{key} is not an option; {hint}")


def _to_sentence(error: ValidationError) -> UsageError:
    """Pydantic's first finding; a refusal of ours that it has wrapped comes out as it was."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UsageError):
        return cause
    key = ".".join(str(part) for part in first["loc"])
    found = repr(first["input"])[:80]
    remedy = first["msg"][0].lower() + first["msg"][1:]
    return UsageError("CONFIG_VALUE", f"{key}={found} cannot be used: {remedy}.")
