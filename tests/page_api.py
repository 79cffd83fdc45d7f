"""An API for the page alone: the core behind the routes of the service, and jobs that only count.

It answers as ``/api/v1`` is described, so that the page can be driven, and a job can be made to
stop, fail or be interrupted, without training anything. :func:`make_page_app` also sets the
policy that the service sets.
"""

import asyncio
import io
import json
import math
from dataclasses import asdict
from typing import Any

import pandas as pd
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from explstm import ExpLSTM
from explstm.backtest import Task, run_backtest
from explstm.calendar import default_season_length
from explstm.datasets import load_air_passengers, make_growth_series
from explstm.errors import ExpLSTMError
from explstm.frame import build_panel, panel_frame
from explstm.growth_report import report_growth
from explstm.server.pages import add_pages

POLICY = "default-src 'self'; img-src 'self' data: blob:; connect-src 'self'; object-src 'none'"
SAMPLES = {
    "air-passengers": ("Air passengers", "Monthly totals of an airline, 1949 to 1960.", 12),
    "epidemic": ("An epidemic", "Daily cases towards a ceiling, made up.", 14),
    "sales": ("Sales that grow", "Forty shops, monthly, made up.", 12),
}
JOB_STEPS = 40
SHARE = "the model holds 40% of what fine-tuning changed"


def make_page_app() -> FastAPI:
    app = FastAPI()
    store: dict[str, Any] = {"data": {}, "jobs": {}, "speed": 0.02, "ends": "done", "token": None}
    app.state.store = store

    @app.middleware("http")
    async def guard(request: Request, call_next):
        wanted = store["token"]
        shown = request.headers.get("authorization")
        if wanted and request.url.path.startswith("/api") and shown != f"Bearer {wanted}":
            store["wrong"] = store.get("wrong", 0) + (shown is not None)
            if store["wrong"] > 2:
                refusal = refuse(429, "TOKENS_WRONG", "too many wrong tokens came.")
                refusal.headers["Retry-After"] = "37"
                return refusal
            return refuse(401, "TOKEN", "this server asks for a token.")
        try:
            response = await call_next(request)
        except ExpLSTMError as error:
            response = refuse(422, error.code, error.message)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    add_pages(app)
    add_data_routes(app, store)
    add_forecast_routes(app, store)
    add_job_routes(app, store)
    return app


def refuse(status: int, code: str, message: str, upload: Any = None) -> JSONResponse:
    body = {"error": {"code": code, "message": message}, "request_id": "1", "upload": upload}
    return JSONResponse(body, status)


def jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)


# ------------------------------------------------------------------------------------------- data


def load_sample(name: str) -> pd.DataFrame:
    if name == "air-passengers":
        return load_air_passengers()
    if name == "epidemic":
        table = make_growth_series("logistic", 1, 90, 0.05, 3)[0]
        return table.assign(ds=pd.date_range("2024-01-01", periods=90))
    return make_growth_series("seasonal", 40, 72, 0.05, 2)[0]


def guess(table: pd.DataFrame) -> dict[str, str | None]:
    texts = [name for name in table if table[name].dtype == object]
    dates = [name for name in table if "date" in name or name in ("ds", "month")]
    numbers = [name for name in table if pd.api.types.is_numeric_dtype(table[name])]
    ids = [name for name in texts if name not in dates]
    return {
        "id_col": next(iter(ids), None),
        "time_col": next(iter(dates), None),
        "target_col": next(iter(numbers), None),
    }


def add_data_routes(app: FastAPI, store: dict[str, Any]) -> None:
    @app.get("/api/v1/limits")
    def limits() -> Any:
        return {
            "max_bytes": 2**20, "max_rows": 10**6, "max_series": 10**5, "max_columns": 1000,
            "max_horizon": 1000, "keep_uploads_for": 3600, "keep_jobs_for": 60,
            "max_jobs_bytes": 9, "version": "0",
            "backends": ["torch", "tensorflow"],
        }  # fmt: skip

    @app.get("/api/v1/samples")
    def samples() -> Any:
        return [
            {"name": name, "title": title, "description": said, "h": h,
             "n_series": load_sample(name).unique_id.nunique(), "n_rows": len(load_sample(name))}
            for name, (title, said, h) in SAMPLES.items()
        ]  # fmt: skip

    @app.post("/api/v1/inspect")
    async def inspect(request: Request) -> Any:
        if request.headers["content-type"].startswith("multipart"):
            async with request.form() as form:
                data, name = await form["file"].read(), form["file"].filename
            table, wanted = pd.read_csv(io.BytesIO(data)), {}
        else:
            wanted = await request.json()
            name = wanted.get("sample", "")
            if not name and wanted["data"] not in store["data"]:
                return refuse(404, "DATA_UNKNOWN", "there is no such upload, or no longer.")
            table = load_sample(name) if name else store["data"][wanted["data"]]
        key = wanted.get("data") or f"upload-{len(store['data']):015d}"
        store["data"][key] = table
        return describe(key, name, table, wanted)

    @app.get("/api/v1/data/{data}/series")
    def series(data: str, search: str = "", offset: int = 0, limit: int = 50) -> Any:
        panel = read(store, {"data": data})
        names = [name for name in map(str, panel.ids_N) if search.lower() in name.lower()]
        rows = {row["unique_id"]: row for row in list_series(panel)}
        shown = [rows[name] for name in names[offset : offset + limit]]
        return {"total": len(names), "offset": offset, "series": shown}


def describe(key: str, name: str, table: pd.DataFrame, wanted: dict[str, Any]) -> Any:
    choice = guess(table)
    choice |= {k: wanted[k] for k in choice if k in wanted}
    if wanted.get("one_series"):
        choice["id_col"] = None
    columns = [{"name": c, "examples": table[c].astype(str).head(3).tolist()} for c in table]
    upload = {"data": key, "name": name, "columns": columns, "choice": choice}
    try:
        panel = build(table, choice, wanted)
    except ExpLSTMError as error:
        return refuse(422, error.code, error.message, upload)
    found = [f"{one.unique_id}: {one.count} {one.text}." for one in panel.findings]
    return {
        **upload, "n_rows": len(table), "n_series": panel.n_series, "freq": panel.plain_freq,
        "season_length": list(default_season_length(panel.freq)), "findings": [],
        "n_findings": len(found), "sentences": found,
        "page": {"total": panel.n_series, "offset": 0, "series": list_series(panel)[:50]},
    }  # fmt: skip


def build(table: pd.DataFrame, choice: dict[str, Any], wanted: dict[str, Any]) -> Any:
    """The panel, under the usual names, as the service has it."""
    taken = table.rename(columns={choice["time_col"]: "ds", choice["target_col"]: "y"})
    if not choice["id_col"]:
        taken = taken.drop(columns="unique_id", errors="ignore")
    elif choice["id_col"] != "unique_id":
        taken = taken.rename(columns={choice["id_col"]: "unique_id"})
    return build_panel(taken, fill=wanted.get("fill", "error"))


def list_series(panel: Any) -> list[dict[str, Any]]:
    return [
        {"unique_id": str(panel.ids_N[i]), "n": int(panel.lengths_N[i]), "last_value": 1.0,
         "first": str(panel.ds_S[panel.starts_N1[i]])[:10],
            "last": str(panel.ds_S[panel.starts_N1[i + 1] - 1])[:10],}
        for i in range(panel.n_series)
    ]  # fmt: skip


def read(store: dict[str, Any], wanted: dict[str, Any]) -> Any:
    table = store["data"][wanted["data"]]
    choice = guess(table) | {k: wanted.get(k) for k in ("time_col", "target_col") if k in wanted}
    if "id_col" in wanted or wanted.get("one_series"):
        choice["id_col"] = wanted.get("id_col")
    return build(table, choice, wanted)


# --------------------------------------------------------------------------------------- forecasts


def forecast(store: dict[str, Any], wanted: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The histories and their forecasts, both with ids as text."""
    panel = read(store, wanted)
    model = ExpLSTM(season_length=wanted.get("season_length"))
    tables = panel_frame(panel), model.predict(panel, h=wanted["h"], level=wanted["level"])
    return tuple(table.astype({"unique_id": str}) for table in tables)


def to_columns(table: pd.DataFrame, series: list[str] | None) -> dict[str, list[Any]]:
    kept = table if series is None else table[table.unique_id.isin(series)]
    dated = kept.assign(ds=kept.ds.map(lambda ds: ds if isinstance(ds, int) else ds.isoformat()))
    return dated.to_dict("list")


def add_forecast_routes(app: FastAPI, store: dict[str, Any]) -> None:
    @app.post("/api/v1/forecast")
    async def make_forecast(request: Request) -> Any:
        wanted = await request.json()
        await asyncio.sleep(store.get("slow", 0))
        if store.get("forecast_fails"):
            return refuse(503, "BUSY", "the server has too much to do.")
        histories, forecasts = forecast(store, wanted)
        if request.headers["accept"] == "text/csv":
            return Response(forecasts.to_csv(index=False), media_type="text/csv")
        series = wanted.get("series")
        return jsonable({
            "h": wanted["h"], "level": wanted["level"],
            "forecast": to_columns(forecasts, series), "history": to_columns(histories, series),
        })  # fmt: skip

    @app.post("/api/v1/growth")
    async def growth(request: Request) -> Any:
        wanted = await request.json()
        await asyncio.sleep(store.get("slow_growth", 0))
        panel = read(store, wanted)
        season = default_season_length(panel.freq)
        predicted = ExpLSTM().predict(panel, h=wanted["h"], level=[80])
        report = report_growth(panel, predicted, wanted["h"], season)
        facts = report.facts[report.facts.unique_id.astype(str).isin(wanted["series"])]
        sentences = {str(k): v for k, v in report.sentences.items() if str(k) in wanted["series"]}
        rows = [{k: clean(v) for k, v in row.items()} for row in facts.to_dict("records")]
        return {"h": wanted["h"], "level": 80, "facts": rows, "sentences": sentences, "rates": {}}

    @app.post("/api/v1/backtest")
    async def backtest(request: Request) -> Any:
        wanted = await request.json()
        result = backtest_pretrained(store, wanted)
        verdicts = [asdict(one) for one in result.judgement.verdicts]
        if store.get("outcome"):
            verdicts[0]["outcome"] = store["outcome"]
        return jsonable({
            "h": wanted["h"], "n_windows": wanted["n_windows"], "step_size": wanted["h"],
            "use": result.judgement.use, "sentence": result.judgement.sentence,
            "verdicts": verdicts, "scores": result.scores.to_dict("records"),
        })  # fmt: skip


def backtest_pretrained(store: dict[str, Any], wanted: dict[str, Any]) -> Any:
    panel = read(store, wanted)
    season = tuple(default_season_length(panel.freq))
    task = Task(panel, h=wanted["h"], n_windows=wanted["n_windows"], step_size=wanted["h"],
                season_length=season, level=(80,))  # fmt: skip
    return run_backtest(task, ("Pretrained",))


def judge(store: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The verdicts of a backtest job, whose fine-tuned method has four fifths of the error."""
    (plain,) = backtest_pretrained(store, wanted).judgement.verdicts
    _, tuned = wanted["methods"]
    return {
        "verdicts": [asdict(plain), asdict(plain) | {"method": tuned, "loss": 0.8 * plain.loss}]
    }


def clean(value: Any) -> Any:
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


# -------------------------------------------------------------------------------------------- jobs


def add_job_routes(app: FastAPI, store: dict[str, Any]) -> None:
    jobs = store["jobs"]

    def show(job: dict[str, Any]) -> dict[str, Any]:
        again = job["state"] in ("failed", "cancelled", "interrupted")
        failed = {"code": "FAILED", "message": "the training diverged; lower the learning rate."}
        return {
            **{key: job[key] for key in ("id", "kind", "state", "request")},
            "error": failed if job["state"] == "failed" else None,
            "created": 1.7e9, "files": ["forecast.csv"] if job["state"] == "done" else [],
            "can_resume": again, "can_continue": job["state"] == "interrupted",
        }  # fmt: skip

    @app.post("/api/v1/jobs", status_code=202)
    async def create(request: Request) -> Any:
        wanted = await request.json()
        key = f"job-{len(jobs):018d}"
        jobs[key] = {
            "id": key, "kind": wanted["kind"], "state": "queued", "request": wanted, "events": [],
            "ends": store["ends"],
        }  # fmt: skip
        jobs[key]["task"] = asyncio.create_task(work(jobs[key]))
        return show(jobs[key])

    async def work(job: dict[str, Any]) -> None:
        def tell(name: str, data: Any) -> None:
            job["events"].append((len(job["events"]) + 1, name, data))

        def become(state: str) -> None:
            job["state"] = state
            tell("state", {"state": state})

        become("running")
        for step in range(1, JOB_STEPS + 1):
            await asyncio.sleep(store["speed"])
            if job["state"] == "cancelled":
                return become("cancelled")
            part, at = divmod(step - 1, JOB_STEPS // 2)
            tell("progress", {"stage": "training", "step": at + 1, "of": JOB_STEPS // 2,
                              "part": part + 1, "parts": 2, "train_loss": 1 / step})  # fmt: skip
        become(job["ends"])

    @app.get("/api/v1/jobs/{key}/events")
    async def events(key: str, request: Request) -> Any:
        job, after = jobs[key], int(request.headers.get("last-event-id", 0))
        store.setdefault("followed", []).append(after)

        async def stream():
            seen = after
            while True:
                ended = job["task"].done()
                for number, name, data in job["events"][seen:]:
                    seen = number
                    yield f"event: {name}\nid: {number}\ndata: {json.dumps(data)}\n\n"
                    if store.get("cut") and seen - after >= store["cut"]:
                        return  # as a connection that breaks
                if ended:
                    return
                await asyncio.sleep(0.01)

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.get("/api/v1/jobs")
    async def list_jobs() -> Any:
        return {"jobs": [show(job) for job in reversed(jobs.values())]}

    @app.get("/api/v1/jobs/{key}")
    async def read_job(key: str) -> Any:
        return show(jobs[key])

    @app.delete("/api/v1/jobs/{key}", status_code=204)
    async def delete(key: str) -> Response:
        del jobs[key]
        return Response(status_code=204)

    @app.post("/api/v1/jobs/{key}/cancel", status_code=202)
    async def cancel(key: str) -> Any:
        jobs[key]["state"] = "cancelled"
        return show(jobs[key])

    @app.post("/api/v1/jobs/{key}/resume", status_code=202)
    async def resume(key: str) -> Any:
        jobs[key] |= {"state": "queued", "ends": "done"}
        jobs[key]["task"] = asyncio.create_task(work(jobs[key]))
        return show(jobs[key])

    @app.get("/api/v1/jobs/{key}/result")
    async def result(key: str, series: str) -> Any:
        if jobs[key]["kind"] == "backtest":
            return jsonable({"id": key, "summary": judge(store, jobs[key]["request"])})
        _, forecasts = forecast(store, jobs[key]["request"])
        values = [name for name in forecasts if name.startswith("ExpLSTM")]
        forecasts[values] *= 1.1
        summary = {"sentences": ["AirPassengers: dull (1)", SHARE]}
        return jsonable(
            {"id": key, "summary": summary, "forecast": to_columns(forecasts, [series])}
        )

    @app.get("/api/v1/jobs/{key}/files/{name}")
    async def file(key: str, name: str) -> Any:
        return PlainTextResponse(f"<!doctype html><title>{key}</title>", media_type="text/html")
