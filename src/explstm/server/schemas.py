"""What clients send and what they get, as one flat request for each endpoint.

Contract: a request names its data in one of four ways: a file in the body (CSV, Parquet or Arrow,
raw or as the field ``file`` of a form), ``data`` (the id that ``/inspect`` gave), ``sample``, or
``table`` (columns in JSON). With a file, the other fields stand in the query or the form, by the
same names; lists by repetition. Unknown fields are refused. No field is a path.
"""

import codecs
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

MAX_TEXT = 1000
"""Longest name, id or option, in characters."""
MAX_HORIZON = 1000
MAX_CELLS = 1_000_000
CODECS_OF_HOSTS = ("punycode", "idna")
"""Made for short names: their time grows with the square of the length."""
DATA_ID = r"^[A-Za-z0-9_-]{22}$"

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
DataId = Annotated[str, StringConstraints(pattern=DATA_ID)]


def _refuse_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers; send a number")
    return value


NUMBER = BeforeValidator(_refuse_truth)
"""Python, and pydantic with it, takes true for 1."""
Horizon = Annotated[int, Field(ge=1, le=MAX_HORIZON, description="Steps ahead."), NUMBER]
Level = Annotated[
    float,
    Field(ge=1, le=99.9, description="Coverage in per cent, to two decimals."),
    AfterValidator(lambda level: round(level, 2)),
    NUMBER,
]
Season = Annotated[int, Field(ge=1, le=10_000), NUMBER]
StepSize = Annotated[int, Field(ge=1, le=1000), NUMBER]


def _refuse_slow(encoding: str) -> str:
    try:
        is_slow = codecs.lookup(encoding).name in CODECS_OF_HOSTS
    except (LookupError, ValueError):  # the reader tells of it
        is_slow = False
    if is_slow:
        raise ValueError(f"{encoding!r} is for names of hosts, not for files; use another encoding")
    return encoding


Encoding = Annotated[str, StringConstraints(max_length=40), AfterValidator(_refuse_slow)]


class Strict(BaseModel):
    """A request of which no field is ignored, and no number infinite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


# ----------------------------------------------------------------------------------- what is sent


class Table(Strict):
    """Columns of a long table. Without ``unique_id`` it is one series; null is a missing value."""

    unique_id: list[Name | int] | None = Field(default=None, max_length=MAX_CELLS)
    ds: list[Annotated[str, StringConstraints(max_length=100)] | int] = Field(
        min_length=1, max_length=MAX_CELLS, description="ISO dates, or integers."
    )
    y: list[float | None] = Field(min_length=1, max_length=MAX_CELLS)

    @property
    def n_series(self) -> int:
        """How many different ids there are."""
        return 1 if self.unique_id is None else len(set(self.unique_id))


class ReadRequest(Strict):
    """Which data the server has, and how to read them. Columns that are not named are found."""

    data: DataId | None = Field(default=None, description="What POST /inspect called the upload.")
    sample: Name | None = Field(default=None, description="A name from GET /samples.")
    id_col: Name | None = Field(
        default=None, description="Column of ids; see one_series for files without."
    )
    time_col: Name | None = None
    target_col: Name | None = None
    one_series: bool = Field(default=False, description="There is no column of ids.")
    sep: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."
    encoding: Encoding = "utf-8"
    date_format: Annotated[str, StringConstraints(max_length=100)] | None = None
    missing: list[Annotated[str, StringConstraints(max_length=100)]] = Field(
        default=[], max_length=20, description="Texts that stand for a missing value."
    )
    freq: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        default=None, description="pandas alias or integer step; found if not given."
    )
    fill: Literal["error", "interpolate", "forward"] = "error"
    season_length: list[Season] | None = Field(
        default=None, min_length=1, max_length=4, description="By frequency if not given."
    )


class DataRequest(ReadRequest):
    """The same of data that may come with the request."""

    table: Table | None = None


class InspectRequest(DataRequest):
    """Look at data before they are forecast."""


class ForecastRequest(DataRequest):
    """Forecast with the pretrained model."""

    h: Horizon = 12
    level: list[Level] = Field(default=[80.0, 95.0], max_length=10)
    series: list[Name] | None = Field(
        default=None, min_length=1, max_length=10_000, description="Ids; all if not given."
    )
    history: Annotated[int, Field(ge=0, le=100_000), NUMBER] = Field(
        default=0, description="Last steps of each series to send along."
    )


class GrowthRequest(DataRequest):
    """How fast the forecast grows, and how that compares with the past."""

    h: Horizon = 12
    level: Level = 80.0
    series: list[Name] | None = Field(default=None, min_length=1, max_length=1000)


class BacktestRequest(DataRequest):
    """The pretrained model against the naive forecasts, on the past of the data."""

    h: Horizon = 12
    n_windows: Annotated[int, Field(ge=1, le=20), NUMBER] | None = Field(
        default=None, description="As many as the data allow, up to 5, if not given."
    )
    step_size: StepSize | None = Field(default=None, description="h if not given.")
    level: list[Level] = Field(default=[80.0], max_length=10)
    series: list[Name] | None = Field(default=None, min_length=1, max_length=10_000)


# ------------------------------------------------------------------------------------ what is got


class Problem(BaseModel):
    """One sentence: what was found, where, and what to do."""

    code: str
    message: str


class Column(BaseModel):
    """A column of the file: its first cells, as they stand there."""

    name: str
    examples: list[str]


class Choice(BaseModel):
    """Which columns were taken, or would be; null where none fits."""

    id_col: str | None
    time_col: str | None
    target_col: str | None


class Upload(BaseModel):
    """What is known of a file before its rows are read."""

    data: str
    name: str = Field(description="As the client called it; for display only.")
    columns: list[Column]
    choice: Choice


class Failure(BaseModel):
    """Every answer that is not a success. ``upload`` comes where other columns may help."""

    error: Problem
    request_id: str
    upload: Upload | None = None


class FindingAnswer(BaseModel):
    """Something repaired in the data, or worth a look."""

    code: str
    unique_id: str
    count: int
    text: str


class SeriesRow(BaseModel):
    """One series of the data."""

    unique_id: str
    n: int
    first: str | int
    last: str | int
    last_value: float


class SeriesPage(BaseModel):
    """Some of the series, in order of their ids."""

    total: int = Field(description="How many match.")
    offset: int
    series: list[SeriesRow]


class Inspection(Upload):
    """The data as they will be forecast."""

    n_rows: int
    n_series: int
    freq: str | int
    season_length: list[int]
    findings: list[FindingAnswer] = Field(description="The first 1000.")
    n_findings: int
    sentences: list[str] = Field(description="The same in words, for people.")
    page: SeriesPage


class ForecastAnswer(BaseModel):
    """Columns ``unique_id, ds, ExpLSTM, ExpLSTM-lo-80, ExpLSTM-hi-80, ...``, series by series."""

    h: int
    level: list[float]
    freq: str | int
    season_length: list[int]
    n_series: int
    findings: list[FindingAnswer]
    forecast: dict[str, list[Any]]
    history: dict[str, list[Any]] | None = Field(
        default=None, description="unique_id, ds, y, where asked for."
    )


class GrowthAnswer(BaseModel):
    """Facts (one row per series), rates by step (columns), and the same in sentences."""

    h: int
    level: float
    facts: list[dict[str, Any]]
    sentences: dict[str, list[str]]
    rates: dict[str, list[Any]]


class VerdictAnswer(BaseModel):
    """Whether a method beats the best naive forecast."""

    method: str
    outcome: Literal["beats", "level", "loses", "untestable"]
    sentence: str
    naive: str
    loss: float | None
    naive_loss: float | None
    skill: float | None
    p_value: float | None
    n_series: int
    n_windows: int


class Score(BaseModel):
    """One metric of one method over all series and windows; null where it is undefined."""

    model: str
    metric: str
    value: float | None


class BacktestAnswer(BaseModel):
    """Which method to use, and what each one scored."""

    h: int
    n_windows: int
    step_size: int
    use: str
    sentence: str
    verdicts: list[VerdictAnswer]
    scores: list[Score]


class Sample(BaseModel):
    """Data to try things on."""

    name: str
    title: str
    description: str
    n_series: int
    n_rows: int
    h: int = Field(description="A horizon that suits it.")


class Limits(BaseModel):
    """What the server takes, and what it can do."""

    max_bytes: int
    max_rows: int
    max_series: int
    max_columns: int
    max_horizon: int
    keep_uploads_for: float = Field(description="Seconds.")
    keep_jobs_for: float = Field(description="Seconds after their end.")
    max_jobs_bytes: int = Field(description="All kept jobs together; the oldest go first.")
    backends: list[str] = Field(description="Frameworks that a job can train in.")
    version: str


class Health(BaseModel):
    """Whether the server works."""

    status: Literal["ok", "starting", "stopping"]
