"""What jobs can be asked for, and the files that each leaves behind.

Contract: a request is checked here, once; what it says is kept as JSON and read back with the same
models. :data:`FILES` is the fixed list of what can be downloaded: a name of a kind, and where it
lies in the folder of the job. No name of a client is ever part of a path.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from explstm.backtest import CHOOSABLE
from explstm.commands.report import PAGE
from explstm.pipeline import MODEL
from explstm.server.schemas import NUMBER, Horizon, Level, ReadRequest, StepSize

JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")]
Framework = Literal["torch", "tensorflow"]
Method = Annotated[str, StringConstraints(max_length=40)]
Windows = Annotated[
    Annotated[int, Field(ge=1, le=100), NUMBER] | None,
    Field(description="As many as the data allow, up to 8, if not given."),
]
Seed = Annotated[int, Field(ge=0, lt=2**32), NUMBER]
Steps = Annotated[int, Field(ge=1, le=20_000, description="Of every training."), NUMBER]

DATA = "data.csv"
"""The series as they were read, with the columns unique_id, ds and y."""
FIT, TUNE, BACKTEST, FORECAST, GROWTH, REPORT = (
    *("fit", "tune", "backtest", "forecast", "growth", "report"),
)
"""Run folders within the folder of a job."""


class _Job(ReadRequest):
    """What all jobs are asked for: data that the server has, and a horizon."""

    h: Horizon = 12
    seed: Seed = 1

    @model_validator(mode="after")
    def _name_data_once(self) -> "_Job":
        if (self.data is None) == (self.sample is None):
            raise ValueError(
                "a job takes either data (what POST /inspect called the upload) or sample"
            )
        return self


class FineTune(_Job):
    """Train in one framework and forecast with what came of it."""

    kind: Literal["fine-tune"]
    backend: Framework = "torch"
    init: Literal["pretrained", "random"] = "pretrained"
    level: list[Level] = Field(default=[80.0, 95.0], max_length=10)
    max_steps: Steps | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1), NUMBER] | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096), NUMBER] | None = None


class Backtest(_Job):
    """Every method on the past of the data, and a verdict."""

    kind: Literal["backtest"]
    n_windows: Windows = None
    step_size: StepSize | None = Field(default=None, description="h if not given.")
    methods: list[Method] = Field(
        default=[], max_length=len(CHOOSABLE), description="All that are installed if not given."
    )
    max_steps: Steps | None = None
    level: list[Level] = Field(default=[80.0, 95.0], max_length=10)


class Tune(_Job):
    """Search for a better configuration and train with it."""

    kind: Literal["tune"]
    backend: Framework = "torch"
    n_trials: Annotated[int, Field(ge=1, le=1000), NUMBER] = 20
    n_windows: Annotated[int, Field(ge=1, le=20), NUMBER] = 3
    level: list[Level] = Field(default=[80.0, 95.0], max_length=10)
    max_steps: Steps | None = None


class Report(_Job):
    """Forecast, growth and backtest of the pretrained model, and other jobs, on one page."""

    kind: Literal["report"]
    n_windows: Windows = None
    level: list[Level] = Field(default=[80.0, 95.0], max_length=10)
    jobs: list[JobId] = Field(
        default=[], max_length=8, description="Jobs on the same data that are done."
    )


JobRequest = Annotated[FineTune | Backtest | Tune | Report, Field(discriminator="kind")]
REQUEST: TypeAdapter[JobRequest] = TypeAdapter(JobRequest)

_MODEL_FILES = ("config.json", "weights.safetensors", "manifest.json")


def _places(run: str, *names: str) -> dict[str, str]:
    return {name: f"{run}/{name}" for name in names}


_OF_MODEL = {run: {name: f"{run}/{MODEL}/{name}" for name in _MODEL_FILES} for run in (FIT, TUNE)}
_OF_BACKTEST = _places(
    BACKTEST,
    *("forecasts.csv", "scores.csv", "scores-by-series.csv", "scores-by-horizon.csv"),
    *("seconds.csv", "verdict.json"),
)
FILES: dict[str, dict[str, str]] = {
    "fine-tune": {
        **_places(FORECAST, "forecast.csv"),
        **_places(FIT, "training.csv", "run.json"),
        **_OF_MODEL[FIT],
    },
    "backtest": {**_OF_BACKTEST, **_places(BACKTEST, "run.json")},
    "tune": {
        **_places(FORECAST, "forecast.csv"),
        **_places(TUNE, "trials.csv", "finalists.csv", "importance.csv", "best.json", "run.json"),
        **_OF_MODEL[TUNE],
    },
    "report": {
        **_places(REPORT, PAGE, "run.json"),
        **_places(FORECAST, "forecast.csv"),
        **_places(GROWTH, "growth.csv", "growth-sentences.csv"),
        **_OF_BACKTEST,
    },
}
RUNS = {"fine-tune": (FIT, FORECAST), "backtest": (BACKTEST,), "tune": (TUNE,), "report": ()}
"""Run folders of a job that a report can show."""
RESUMED = (f"{FIT}.checkpoint", f"{TUNE}.tune.db")
"""What an unfinished job goes on from, where it has come so far."""
