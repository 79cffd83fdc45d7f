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

Contract: routes receive, choose who works, and answer; they compute nothing. What would take too
long is refused before, and what is large waits apart.
Tables come as CSV, Parquet or Arrow where the header Accept asks for one.
"""

from importlib.util import find_spec
from typing import Annotated, Any

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
from explstm.server.cases import as_plain, office_of, open_case, origin_of, reading_of, work_for
from explstm.server.data.samples import SAMPLES, load_sample
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
from explstm.server.judging import USUAL_WINDOWS, write_backtest, write_growth
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
from explstm.server.weighing import (
    STEPS_OF_GROWTH,
    count_steps,
    is_small,
    size_table,
    steps_of,
    weigh,
)

PREFIX = "/api/v1"
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure}
    for status in (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 501, 503, 507)
}
REQUESTS = (InspectRequest, ForecastRequest, GrowthRequest, BacktestRequest)
router = APIRouter(prefix=PREFIX, tags=["forecasts"])


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
                origin_of(source), plain, reading_of(request, source, plain)
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
    async with open_case(request, ForecastRequest, keep_table=True) as case:
        asked = case.asked
        if case.known is None:
            assert asked.table is not None
            n_rows, n_series = size_table(asked.table, asked.series)
            order = Order(asked, None, media_type)
        else:
            panel = case.known.pick(asked.series)
            n_rows, n_series = len(panel.y_S), panel.n_series
            order = Order(as_plain(asked), panel, media_type)
        if is_small(n_rows, n_series, asked.h, office.settings):
            return reply(await office.forecaster.forecast(order), media_type)
        rows = n_series * asked.h
        if rows > office.settings.max_answer_rows:
            raise ApiError(
                413,
                "FORECAST_TOO_LARGE",
                f"{n_series:,} series and h={asked.h} make {rows:,} rows, more than "
                f"{office.settings.max_answer_rows:,}; name some series.",
            )
        n_steps = count_steps(n_rows, n_series, asked.h, len(asked.level))
        what = f"a forecast of {n_series:,} series with {n_rows:,} rows and h={asked.h}"
        is_large = weigh(n_steps, what, "FORECAST_TOO_LARGE", office.settings)
        (body,) = await work_for(request, is_large, forecast_together, [order])
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
        n_steps = steps_of(panel, case.asked.h, 1) + STEPS_OF_GROWTH * panel.n_series
        what = f"growth of {len(panel.y_S):,} rows and h={case.asked.h}"
        is_large = weigh(n_steps, what, "GROWTH_TOO_LARGE", office.settings)
        body = await work_for(request, is_large, write_growth, panel, as_plain(case.asked))
    return reply(body, JSON)


@router.post("/backtest", responses=gives(BacktestAnswer), openapi_extra=takes(BacktestRequest))
async def backtest(request: Request) -> Response:
    """Hold the pretrained model against the naive forecasts on the past of the data."""
    office = office_of(request)
    async with open_case(request, BacktestRequest) as case:
        assert case.known is not None
        asked, settings = case.asked, office.settings
        panel = case.known.pick(asked.series)
        n_windows = asked.n_windows or USUAL_WINDOWS
        rows = panel.n_series * n_windows * asked.h
        if rows > settings.max_backtest_rows:
            raise ApiError(
                413,
                "BACKTEST_TOO_LARGE",
                f"{panel.n_series:,} series, {n_windows} windows and h={asked.h} make "
                f"{rows:,} forecasts, more than {settings.max_backtest_rows:,}; name some series, "
                "or ask for a job.",
            )
        n_steps = n_windows * steps_of(panel, asked.h, len(asked.level))
        what = f"{n_windows} windows of {len(panel.y_S):,} rows and h={asked.h}"
        is_large = weigh(n_steps, what, "BACKTEST_TOO_LARGE", settings)
        body = await work_for(request, is_large, write_backtest, panel, as_plain(asked))
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
                *("keep_uploads_for", "keep_jobs_for", "max_jobs_bytes"),
            )
        },
        max_horizon=MAX_HORIZON,
        backends=[name for name, module in frameworks.items() if find_spec(module) is not None],
        version=__version__,
    )
