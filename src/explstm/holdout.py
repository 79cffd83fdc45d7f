"""The end of every series held out from training, to judge the training by.

Contract: everything fitted (curve, seasonal indices, scale) sees only the steps before the cut.
"""

from collections.abc import Callable

import numpy as np

from explstm.config import TrainingConfig
from explstm.errors import DataError
from explstm.frame import Panel, drop_last
from explstm.growth import GrowthPanel, to_growth_space
from explstm.models.engine import Engine
from explstm.origins import holdout_batches
from explstm.prediction import Preprocessing

VALIDATED_HORIZONS = 4


def split_holdout(
    panel: Panel, preprocessing: Preprocessing, training: TrainingConfig, h: int
) -> tuple[GrowthPanel, Callable[[Engine], float] | None]:
    """Take ``val_size`` steps off the end of every series.

    Returns:
        The rest in growth space, and the loss of an engine on the held-out steps, forecast from the
        last step before them; None where nothing is held out.

    Raises:
        DataError: A series would have no step left, or none moved before the held-out steps.
    """
    kept = panel if training.val_size == 0 else drop_last(panel, training.val_size)
    space = to_growth_space(
        kept,
        growth=preprocessing.growth,
        season_length=preprocessing.season_length,
        n_features=preprocessing.n_features,
    )
    if training.val_size == 0:
        return space, None
    held_out = holdout_batches(
        space,
        panel,
        h,
        batch_size=training.batch_size,
        window=training.window,
        scale_weight=training.scale_weight,
    )
    if not held_out:
        raise DataError(
            "DATA_NO_VALIDATION",
            f"val_size={training.val_size} leaves no series that moved before the held-out steps; "
            "lower val_size or set it to 0.",
        )
    known = np.array([batch.weights_RH.sum() for batch in held_out])

    def validate(engine: Engine) -> float:
        """Mean loss over all held-out values, weighted as in training."""
        return float(np.average([engine.evaluate(batch) for batch in held_out], weights=known))

    return space, validate


def validation_size(shortest: int, h: int) -> int:
    """Steps to validate on: one horizon, or none where the shortest series holds less than four."""
    return h if shortest >= VALIDATED_HORIZONS * h else 0
