"""What a saved model says of itself beside its network: the ``settings`` of its ``config.json``.

Contract: written by :meth:`explstm.ExpLSTM.save` and by the pretraining, read back by
:func:`read_settings`, which refuses what describes no forecaster in one sentence about the file.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from explstm.bundle import Bundle
from explstm.calendar import parse_freq
from explstm.config import Configuration, PositiveInt, TrainingConfig, choose
from explstm.errors import ModelFileError, UsageError
from explstm.growth import FEATURES, N_FEATURES
from explstm.prediction import Preprocessing
from explstm.scaling import GROWTH_NAMES
from explstm.seasonality import check_season_lengths
from explstm.storage import tell_versions


class Settings(Configuration):
    """How a saved model looks at series, and how it was trained.

    Attributes:
        parameters: Arguments of ``ExpLSTM`` that it was made with.
        freq: Frequency trained on; None for a model of any frequency.
        season_length: Season lengths it was trained with; None where they follow the data.
        trained_until: Last date that the training saw, ISO text or integer; None for none.
        horizon: Steps forecast when not told; None for those of the network.
        beside: The second curve of its forecasts.
        widen: What distances of quantiles from the median are multiplied by.
    """

    parameters: dict[str, Any]
    freq: str | int | None
    season_length: tuple[int, ...] | None
    trained_until: str | int | None = None
    horizon: PositiveInt | None = None
    beside: str | None = None
    widen: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0

    def model_post_init(self, _context: Any) -> None:
        """Refuse what belongs to no forecaster."""
        if self.freq is not None:
            parse_freq(self.freq)
            check_season_lengths(self.season_length or ())
        if (self.freq is None) < (self.season_length is None):
            raise UsageError("SETTINGS", "season_length is missing")
        if self.beside is not None:
            choose("beside", self.beside, GROWTH_NAMES)
        self.training()

    def training(self) -> TrainingConfig:
        """How it was trained."""
        known = TrainingConfig.model_fields
        return TrainingConfig(**{k: v for k, v in self.parameters.items() if k in known})

    def view(self, growth: str, window: int | None, n_features: int) -> Preprocessing:
        """How it looks at series, but for a curve or a window asked for."""
        return Preprocessing(
            growth,
            check_season_lengths(self.season_length or ()),
            self.training().window if window is None else window,
            self.beside if growth == "auto" else None,
            n_features,
            self.widen,
        )


def read_settings(bundle: Bundle, path: str | Path) -> Settings:
    """The settings of a saved model.

    Raises:
        ModelFileError: They describe no forecaster.
    """
    n_features = bundle.spec.n_features
    try:
        if not N_FEATURES <= n_features <= len(FEATURES):
            raise UsageError("SETTINGS", f"n_features={n_features} cannot be shown")
        return Settings(**bundle.config)
    except (TypeError, ValueError) as error:
        raise refuse_settings(bundle, path, error) from None


def refuse_settings(bundle: Bundle, path: str | Path, error: Exception) -> ModelFileError:
    """What is wrong with the settings of a saved model, as a sentence about its file."""
    return ModelFileError(
        "MODEL_CONFIG",
        f"{path}: config.json does not describe a forecaster ({error}); "
        f"{tell_versions(bundle.manifest)}; save it again with this one.",
    )
