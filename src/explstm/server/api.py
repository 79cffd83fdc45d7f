"""``/api/v1``: inspect, forecast, growth, backtest, samples.

    POST   /inspect                    InspectRequest  -> Inspection
    GET    /data/{data}/series         search, offset, limit -> SeriesPage
    DELETE /data/{data}
    POST   /forecast                   ForecastRequest -> ForecastAnswer, or a table by Accept
    POST   /growth                     GrowthRequest   -> GrowthAnswer
    POST   /backtest                   BacktestRequest -> BacktestAnswer
    GET    /samples                    -> list of Sample
    GET    /samples/{name}             -> columns, or a table by Accept
    GET    /limits                     -> Limits

Contract: routes receive, choose who works, and answer; they compute nothing. Tables come as CSV,
Parquet or Arrow where the header Accept asks for one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Query, Request, Response

from explstm import __version__
from explstm.server.answers import (
    FILE_NAMES,
    FORMATS,
    JSON,
    choose_format,
    dump_json,
    show_dates,
    write_table,
)
from explstm.server.data.reading import Source, read_source
from explstm.server.data.samples import SAMPLES, load_sample
from explstm.server.data.upload_store import Uploads
from explstm.server.data.uploads import (
    DESCRIBED,
    brings_file,
    choose_source,
    find_sample,
    keep_sample,
    parse_request,
    receive,
)
from explstm.server.errors import ApiError
from explstm.server.forecasting import Order, forecast_together
from explstm.server.inspection import describe, list_series
from explstm.server.judging import write_backtest, write_growth
from explstm.server.lanes import Forecaster, Reader
from explstm.server.panels import Known, Panels
from explstm.server.schemas import (
    MAX_HORIZON,
    BacktestAnswer,
    BacktestRequest,
    DataId,
    DataRequest,
    Failure,
    ForecastAnswer,
    ForecastRequest,
    GrowthAnswer,
    GrowthRequest,
    Inspection,
    InspectRequest,
    Limits,
    Sample,
    SeriesPage,
)
from explstm.server.settings import Settings

PREFIX = "/api/v1"
STRETCH = 24
"""Steps ahead after which the network reads a series again."""
Asked = TypeVar("Asked", bound=DataRequest)
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure}
    for status in (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 501, 503)
}
REQUESTS = (InspectRequest, ForecastRequest, GrowthRequest, BacktestRequest)
router = APIRouter(prefix=PREFIX, tags=["forecasts"])


@dataclass(frozen=True)
class Office:
    """What the routes work with."""

    settings: Settings
    uploads: Uploads
    panels: Panels
    reader: Reader
    forecaster: Forecaster


@dataclass(frozen=True)
class Case(Generic[Asked]):
    """One request with its data: a known panel, or a small table that is still to be read."""

    asked: Asked
    known: Known | None


def office_of(request: Request) -> Office:
    """That of the app."""
    office: Office = request.app.state.office
    return office


def takes(model: type[DataRequest]) -> dict[str, Any]:
    """The bodies of a route, for its description."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    raw = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "description": "The file, and the other fields of the request beside it.",
    }
    content = {JSON: {"schema": schema}, "multipart/form-data": {"schema": form}}
    content |= {media_type: raw for media_type in DESCRIBED}
    return {
        "requestBody": {"required": True, "content": content},
        "description": "With a raw file as the body, the fields of the request stand in the query.",
    }


def gives(model: type, *, tables: bool = False) -> dict[int | str, dict[str, Any]]:
    """The answers of a route, for its description."""
    success: dict[str, Any] = {"model": model}
    if tables:
        binary = {"schema": {"type": "string", "format": "binary"}}
        success["content"] = {media_type: binary for media_type in FORMATS[1:]}
    return {200: success, **FAILURES}


@asynccontextmanager
async def open_case(
    request: Request, model: type[Asked], *, small_table: bool = False
) -> AsyncIterator[Case[Asked]]:
    """Receive a request and its data, which are gone on leaving unless they were kept.

    Args:
        request: The request.
        model: What it must be.
        small_table: Leave a table that is small unread.
    """
    office = office_of(request)
    async with office.uploads.spool(of_file=brings_file(request)) as path:
        received = await receive(request, path, office.settings)
        asked = parse_request(received, model)
        if small_table and asked.table is not None and received.name is None:
            alone = asked.data is None and asked.sample is None
            if alone and is_small(len(asked.table.ds), asked.table.n_series, asked, office):
                yield Case(asked, None)
                return
        source = await choose_source(received, asked, path, office.uploads)
        plain = as_plain(asked)
        can_return = asked.data is not None or asked.sample is not None
        known = await office.panels.get(
            origin_of(source) if can_return else None, plain, _reading_of(office, source, plain)
        )
        yield Case(asked, known)


def is_small(n_rows: int, n_series: int, asked: DataRequest, office: Office) -> bool:
    """Whether a forecast holds nobody up: few steps to read, as often as its horizon asks for."""
    h = getattr(asked, "h", 0)
    return (n_rows + n_series * h) * (1 + h // STRETCH) <= office.settings.small_rows


def as_plain(asked: Asked) -> Asked:
    """A request without its table, which is a file of our own by now."""
    if asked.table is None:
        return asked
    own = {name: None for name in ("id_col", "time_col", "target_col", "sep", "date_format")}
    without_ids = asked.table.unique_id is None
    fixed: dict[str, Any] = {"table": None, "decimal": ".", "encoding": "utf-8", "missing": []}
    columns = {"id_col": None if without_ids else "unique_id", "time_col": "ds", "target_col": "y"}
    return asked.model_copy(update={**own, **fixed, **columns, "one_series": without_ids})


def origin_of(source: Source) -> str:
    """What a panel is remembered by."""
    return f"{source.kind}:{source.path}:{source.name}"


def _reading_of(office: Office, source: Source, asked: DataRequest) -> Any:
    async def read() -> Any:
        return await office.reader.run(read_source, source, asked, office.settings)

    return read


def reply(body: bytes, media_type: str, name: str = "forecast") -> Response:
    """An answer; tables other than JSON are offered as files."""
    headers = {}
    if media_type in FILE_NAMES:
        headers["content-disposition"] = f'attachment; filename="{name}.{FILE_NAMES[media_type]}"'
    return Response(body, media_type=media_type, headers=headers)


@router.post("/inspect", responses=gives(Inspection), openapi_extra=takes(InspectRequest))
async def inspect(request: Request) -> Response:
    """Look at data, and keep them for an hour under the id ``data`` of the answer."""
    office = office_of(request)
    async with office.uploads.spool(of_file=brings_file(request)) as path:
        received = await receive(request, path, office.settings)
        asked = parse_request(received, InspectRequest)
        source = await choose_source(received, asked, path, office.uploads)
        if source.kind == "sample":
            keep_sample(path, source.name)
        if asked.data is None:
            data_id = office.uploads.keep(path, source.name)
            source = office.uploads.take(data_id).source
        else:
            data_id = asked.data
        plain = as_plain(asked)
        try:
            known = await office.panels.get(
                origin_of(source), plain, _reading_of(office, source, plain)
            )
        except ApiError as error:
            if error.upload is None:
                if asked.data is None:
                    office.uploads.drop(data_id)
                raise
            upload = {"data": data_id, "name": source.name, **error.upload}
            raise ApiError(error.status, error.code, error.message, None, upload) from None
    return reply(dump_json(describe(known, asked, data_id, source.name)), JSON)


@router.get("/data/{data}/series", responses=gives(SeriesPage))
async def show_series(
    request: Request,
    data: DataId,
    search: Annotated[str, Query(max_length=1000)] = "",
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """Some series of an upload by a part of their id, as it was last read."""
    office = office_of(request)
    known = office.panels.latest(origin_of(office.uploads.take(data).source))
    if known is None:
        raise ApiError(
            404, "DATA_UNREAD", "these data have not been read yet; send them to /inspect."
        )
    return reply(dump_json(list_series(known.panel, search, offset, limit)), JSON)


@router.delete("/data/{data}", status_code=204, responses=FAILURES)
async def forget(request: Request, data: DataId) -> Response:
    """Forget an upload before its time."""
    office = office_of(request)
    office.panels.forget(origin_of(office.uploads.take(data).source))
    office.uploads.drop(data)
    return Response(status_code=204)


@router.post(
    "/forecast", responses=gives(ForecastAnswer, tables=True), openapi_extra=takes(ForecastRequest)
)
async def forecast(request: Request) -> Response:
    """Forecast with the pretrained model."""
    office = office_of(request)
    media_type = choose_format(request.headers.get("accept", JSON))
    async with open_case(request, ForecastRequest, small_table=True) as case:
        asked = case.asked
        if case.known is None:
            body = await office.forecaster.forecast(Order(asked, None, media_type))
            return reply(body, media_type)
        panel = case.known.pick(asked.series)
        rows = panel.n_series * asked.h
        if rows > office.settings.max_answer_rows:
            raise ApiError(
                413,
                "FORECAST_TOO_LARGE",
                f"{panel.n_series:,} series and h={asked.h} make {rows:,} rows, more than "
                f"{office.settings.max_answer_rows:,}; name some series.",
            )
        order = Order(as_plain(asked), panel, media_type)
        if is_small(len(panel.y_S), panel.n_series, asked, office):
            return reply(await office.forecaster.forecast(order), media_type)
        (body,) = await office.reader.run(forecast_together, [order])
        if isinstance(body, ApiError):
            raise body
        return reply(body, media_type)


@router.post("/growth", responses=gives(GrowthAnswer), openapi_extra=takes(GrowthRequest))
async def growth(request: Request) -> Response:
    """Say how fast series grow, and how that compares with their past."""
    office = office_of(request)
    async with open_case(request, GrowthRequest) as case:
        assert case.known is not None
        panel = case.known.pick(case.asked.series)
        if panel.n_series > office.settings.max_growth_series:
            raise ApiError(
                413,
                "GROWTH_TOO_LARGE",
                f"growth is told of {office.settings.max_growth_series:,} series at once, found "
                f"{panel.n_series:,}; name some.",
            )
        body = await office.reader.run(write_growth, panel, as_plain(case.asked))
    return reply(body, JSON)


@router.post("/backtest", responses=gives(BacktestAnswer), openapi_extra=takes(BacktestRequest))
async def backtest(request: Request) -> Response:
    """Hold the pretrained model against the naive forecasts on the past of the data."""
    office = office_of(request)
    async with open_case(request, BacktestRequest) as case:
        assert case.known is not None
        panel = case.known.pick(case.asked.series)
        limit = office.settings.max_backtest_rows
        body = await office.reader.run(write_backtest, panel, as_plain(case.asked), limit)
    return reply(body, JSON)


@router.get("/samples", responses=FAILURES)
async def list_samples() -> list[Sample]:
    """Data to try the service on."""
    return [
        Sample(
            name=name,
            title=kind.title,
            description=kind.description,
            n_series=load_sample(name)["unique_id"].nunique(),
            n_rows=len(load_sample(name)),
            h=kind.h,
        )
        for name, kind in SAMPLES.items()
    ]


@router.get("/samples/{name}", responses=FAILURES)
async def send_sample(request: Request, name: str) -> Response:
    """The table of a sample."""
    source = find_sample(name)
    table = load_sample(source.name)
    media_type = choose_format(request.headers.get("accept", JSON))
    columns = {
        "unique_id": table["unique_id"].tolist(),
        "ds": show_dates(table["ds"].to_numpy(), None),
        "y": table["y"].to_numpy(),
    }
    return reply(write_table(columns, media_type), media_type, source.name)


@router.get("/limits", responses=FAILURES)
async def show_limits(request: Request) -> Limits:
    """What the server takes, and what it can do."""
    settings = office_of(request).settings
    frameworks = {"torch": "torch", "tensorflow": "keras"}
    return Limits(
        **{
            name: getattr(settings, name)
            for name in (
                *("max_bytes", "max_rows", "max_series", "max_columns"),
                "keep_uploads_for",
            )
        },
        max_horizon=MAX_HORIZON,
        backends=[name for name, module in frameworks.items() if find_spec(module) is not None],
        version=__version__,
    )
