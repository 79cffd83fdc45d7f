"""What is asked of a forecast in parts, checked before anything is read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from explstm.bundle import Bundle, load_bundle, load_pretrained
from explstm.calendar import Freq, parse_freq
from explstm.config import choose
from explstm.errors import UsageError
from explstm.forecaster import PRETRAINED, ExpLSTM
from explstm.frame import FILLS, Fill
from explstm.intervals import check_levels
from explstm.pipeline import find_model
from explstm.prediction import check_horizon
from explstm.seasonality import check_season_lengths
from explstm.settings import read_settings
from explstm.tables import DEFAULT_ID_COL

ROWS_PER_PART = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How data are read.

    Attributes:
        freq: Frequency of all series; None for the one that most of them take.
        fill: What becomes of missing steps.
        id_col: Column of series ids: text or integers.
        time_col: Column of dates.
        target_col: Column of values.
    """

    freq: Freq | None
    fill: Fill
    id_col: str
    time_col: str
    target_col: str

    @property
    def columns(self) -> tuple[str, str, str]:
        """Names of the columns of ids, dates and values."""
        return self.id_col, self.time_col, self.target_col

    def check(self) -> None:
        """Refuse what cannot be used.

        Raises:
            UsageError: As said.
        """
        choose("fill", self.fill, FILLS)
        if len(set(self.columns)) < 3:
            raise UsageError(
                "CONFIG_CONFLICT",
                f"id_col={self.id_col!r}, time_col={self.time_col!r} and "
                f"target_col={self.target_col!r} must be three columns; give each its own.",
            )
        if self.freq is not None:
            parse_freq(self.freq)


@dataclass(frozen=True, kw_only=True)
class Options(Reading):
    """What decides the bytes of the forecasts, beside the data.

    Attributes:
        h: Steps to forecast.
        level: Central intervals, in per cent, rising.
        model: ``"pretrained"``, or the folder of a saved model.
        seal: Digest of that model's manifest, so that every worker has the same one.
        season_length: Steps in a season; None by frequency.
        rows_per_part: Rows that a part has on average.
    """

    h: int
    level: tuple[float, ...]
    model: str
    seal: str
    season_length: tuple[int, ...] | None
    rows_per_part: int

    def to_dict(self) -> dict[str, Any]:
        """The options by name."""
        return asdict(self)

    def load_model(self) -> ExpLSTM:
        """The model, on NumPy."""
        if self.model != PRETRAINED:
            return ExpLSTM.load(self.model)
        seasons = None if self.season_length is None else list(self.season_length)
        return ExpLSTM(season_length=seasons)


def check_options(
    h: int,
    level: Sequence[float] | None,
    *,
    model: str | Path = PRETRAINED,
    freq: Freq | None = None,
    season_length: int | Sequence[int] | None = None,
    fill: Fill = "error",
    id_col: str = DEFAULT_ID_COL,
    time_col: str = "ds",
    target_col: str = "y",
    rows_per_part: int = ROWS_PER_PART,
) -> Options:
    """Check what was asked; the model gives its frequency where it knows only one.

    Raises:
        UsageError: An option that cannot be used.
        ModelFileError: A model that cannot be loaded.
    """
    h = check_horizon(h)
    reading = Reading(freq=freq, fill=fill, id_col=id_col, time_col=time_col, target_col=target_col)
    reading.check()
    if type(rows_per_part) is not int or rows_per_part < 1:
        raise UsageError(
            "CONFIG_VALUE", f"rows_per_part={rows_per_part!r} cannot be used; pass a whole number."
        )
    if season_length is not None and model != PRETRAINED:
        raise UsageError(
            "CONFIG_CONFLICT",
            f"season_length would not change the saved model {model}; leave one of them away.",
        )
    model = PRETRAINED if model == PRETRAINED else str(find_model(Path(model).absolute()))
    bundle = _load_bundle(model)
    settings = read_settings(bundle, model)
    return Options(
        h=h,
        # The same question in the same bytes, whether it was asked as 80 or as 80.0.
        level=tuple(map(float, check_levels(level, bundle.spec, settings.training().loss))),
        model=model,
        seal=bundle.manifest["seal"],
        freq=settings.freq if freq is None else freq,
        season_length=None if season_length is None else check_season_lengths(season_length),
        fill=fill,
        id_col=id_col,
        time_col=time_col,
        target_col=target_col,
        rows_per_part=rows_per_part,
    )


def read_seal(model: str) -> str:
    """Digest of the manifest of a model.

    Raises:
        ModelFileError: It cannot be loaded.
    """
    return str(_load_bundle(model).manifest["seal"])


def _load_bundle(model: str) -> Bundle:
    return load_pretrained() if model == PRETRAINED else load_bundle(model)
