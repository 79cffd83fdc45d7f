"""What a command is told about its data and its model.

Every option is written once, here: the command line makes its flags from these fields. Nothing
heavy is imported before it is needed, so that ``explstm --help`` answers at once.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_origin

from explstm.errors import UsageError

if TYPE_CHECKING:
    from explstm.frame import Panel

FROM_DATA = {"n_features", "horizon"}
"""Fields of a network's specification that follow from the data and the horizon."""


@dataclass(frozen=True)
class DataOptions:
    """How to read the file, and what its series are."""

    id_col: str = field(default="unique_id", metadata={"help": "Column of series ids."})
    time_col: str = field(default="ds", metadata={"help": "Column of dates."})
    target_col: str = field(default="y", metadata={"help": "Column of values."})
    sep: str | None = field(default=None, metadata={"help": "Separator; found if not given."})
    decimal: str = field(default=".", metadata={"help": "Decimal sign."})
    encoding: str = field(default="utf-8", metadata={"help": "Text encoding."})
    missing: list[str] | None = field(
        default=None,
        metadata={"help": "Text that stands for a missing value, beside an empty one. Repeatable."},
    )
    date_format: str | None = field(
        default=None, metadata={"help": "strptime format of the dates; ISO if not given."}
    )
    freq: str | None = field(
        default=None, metadata={"help": "pandas alias or integer step; found if not given."}
    )
    fill: Literal["error", "interpolate", "forward"] = field(
        default="error", metadata={"help": "What becomes of missing steps."}
    )
    season_length: list[int] | None = field(
        default=None,
        metadata={"help": "Steps in a season, repeatable; by frequency if not given."},
    )

    @property
    def typed_freq(self) -> str | int | None:
        """The frequency, as integer where it is one."""
        return int(self.freq) if self.freq and re.fullmatch(r"\d{1,18}", self.freq) else self.freq

    def read(self, path: Path) -> "Panel":
        """Read a file as a panel, whose tables have the columns unique_id, ds and y."""
        from explstm.frame import build_panel
        from explstm.reading import read_table
        from explstm.seasonality import check_season_lengths
        from explstm.tables import Layout

        if self.season_length:
            check_season_lengths(self.season_length)

        columns: dict[str, Any] = {
            "id_col": self.id_col,
            "time_col": self.time_col,
            "target_col": self.target_col,
        }
        table = read_table(
            path,
            **columns,
            sep=self.sep,
            decimal=self.decimal,
            encoding=self.encoding,
            date_format=self.date_format,
            missing=("", *(self.missing or ())),
        )
        panel = build_panel(table, **columns, freq=self.typed_freq, fill=self.fill)
        canonical = Layout()
        return replace(
            panel,
            layout=replace(
                panel.layout,
                id_col=canonical.id_col,
                time_col=canonical.time_col,
                target_col=canonical.target_col,
                id_type=canonical.id_type,
            ),
        )

    def first_season(self, panel: "Panel") -> int:
        """The season of the seasonal naive forecast and of MASE."""
        from explstm.calendar import default_season_length

        return (self.season_length or default_season_length(panel.freq))[0]


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Turn ``key=value`` texts into keyword arguments of :class:`explstm.ExpLSTM`.

    Keys are training arguments of ExpLSTM, fields of its network's specification, or ``growth``;
    values are JSON, or text.

    Raises:
        UsageError: Not ``key=value``, a repeated or unknown key, or a value that cannot be used.
    """
    if not texts:
        return {}
    from explstm.config import TrainingConfig, refuse_unknown
    from explstm.forecaster import ExpLSTM
    from explstm.models.spec import ModelSpec

    values = parse_pairs(texts, "--set", "max_steps=200")
    of_training = set(TrainingConfig.model_fields) & set(ExpLSTM.parameter_names()) - {
        "random_seed"
    }
    of_network = set(ModelSpec.model_fields) - FROM_DATA
    refuse_unknown(values, sorted(of_training | of_network | {"growth", "init"}))
    network = {key: _parse_field(key, values.pop(key)) for key in of_network & values.keys()}
    ExpLSTM(**values)  # refuses values that cannot be used before anything is read
    return values | ({"spec": ModelSpec(**network)} if network else {})


def parse_pairs(texts: Sequence[str], option: str, example: str) -> dict[str, Any]:
    """Turn ``key=value`` texts into a dictionary; values are JSON, or text.

    Raises:
        UsageError: Not ``key=value``, or a repeated key.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key in values:
            raise UsageError(
                "SETTING_FORM",
                f"{option} {text!r} must be key=value, each key once; write for example "
                f"{option} {example}.",
            )
        values[key] = _parse_value(value)
    return values


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _parse_field(key: str, value: Any) -> Any:
    """A value of the network's specification; one size needs no brackets."""
    from explstm.models.spec import ModelSpec

    many = get_origin(ModelSpec.model_fields[key].annotation) is tuple
    return [value] if many and not isinstance(value, list) else value
