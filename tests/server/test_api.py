"""The routes against the package itself, over HTTP."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explstm import ExpLSTM
from explstm.backtest import Task, run_backtest
from explstm.datasets import load_air_passengers
from explstm.frame import build_panel
from server.hostile_arrow import write_file, write_stream
from server.live import Live, start

AIR = load_air_passengers()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with start(tmp_path_factory.mktemp("service"), max_growth_series=3) as live:
        yield live


@pytest.fixture(scope="module")
def client(service: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{service.url}/api/v1", timeout=60) as client:
        yield client


def air_csv(header: str = "unique_id,ds,y") -> bytes:
    return AIR.to_csv(index=False).replace("unique_id,ds,y", header, 1).encode()


def columns(answer: httpx.Response) -> pd.DataFrame:
    assert answer.status_code == 200, answer.text
    return pd.DataFrame(answer.json()["forecast"])


def test_a_forecast_is_that_of_the_package(client: httpx.Client) -> None:
    expected = ExpLSTM().predict(AIR, h=12, level=[80, 95])
    table = {
        "unique_id": AIR["unique_id"].tolist(),
        "ds": AIR["ds"].dt.strftime("%Y-%m-%d").tolist(),
        "y": AIR["y"].tolist(),
    }
    found = columns(client.post("/forecast", json={"table": table, "h": 12}))
    assert list(found) == list(expected)
    assert found["ds"].tolist() == expected["ds"].dt.strftime("%Y-%m-%d").tolist()
    np.testing.assert_allclose(found.iloc[:, 2:], expected.iloc[:, 2:], rtol=1e-6)


@pytest.mark.parametrize("rows", [slice(None), slice(None, None, -1), [0, *range(144)]])
def test_one_series_needs_no_ids(client: httpx.Client, rows: Any) -> None:
    # As they are, out of order, and with a row twice; each is told alike with and without ids.
    some = AIR.iloc[rows]
    table = {"ds": some["ds"].dt.strftime("%Y-%m-%d").tolist(), "y": some["y"].tolist()}
    named = {**table, "unique_id": ["series"] * len(some)}
    asked = [{"table": each, "h": 12} for each in (table, named)]
    bare, with_ids = (client.post("/forecast", json=each).json() for each in asked)
    assert bare == with_ids
    assert len(bare["findings"]) == (0 if len(some) == 144 and rows == slice(None) else 1)
    expected = ExpLSTM().predict(AIR, h=12)
    np.testing.assert_allclose(bare["forecast"]["ExpLSTM"], expected["ExpLSTM"], rtol=1e-6)


def parquet_body() -> bytes:
    sink = io.BytesIO()
    AIR.to_parquet(sink)
    return sink.getvalue()


def arrow_table() -> pa.Table:
    return pa.Table.from_pandas(AIR, preserve_index=False)


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"sample": "air-passengers", "h": 6}},
        {"files": {"file": ("a.csv", air_csv())}, "data": {"h": "6"}},
        {"content": air_csv(), "headers": {"content-type": "text/csv"}, "params": {"h": 6}},
        {
            "content": parquet_body(),
            "headers": {"content-type": "application/octet-stream"},
            "params": {"h": 6, "level": [80, 95]},
        },
        {
            "content": write_stream(arrow_table()),
            "headers": {"content-type": "application/vnd.apache.arrow.stream"},
            "params": {"h": 6},
        },
        {
            "content": write_file(arrow_table(), "lz4"),
            "headers": {"content-type": "application/vnd.apache.arrow.file"},
            "params": {"h": 6},
        },
        {
            "files": {"file": ("a.arrow", write_stream(arrow_table(), compression="zstd"))},
            "data": {"h": "6"},
        },
        {
            "content": air_csv("Reihe,Monat,Fluggäste"),
            "headers": {"content-type": "text/csv"},
            "params": {"h": 6, "id_col": "Reihe", "time_col": "Monat", "target_col": "Fluggäste"},
        },
    ],
    ids=[
        *("sample", "form", "CSV", "Parquet", "Arrow stream", "Arrow file", "Arrow in a form"),
        "other columns",
    ],
)
def test_all_ways_to_send_data_give_one_forecast(
    client: httpx.Client, body: dict[str, Any]
) -> None:
    expected = ExpLSTM().predict(AIR, h=6, level=[80, 95])
    found = columns(client.post("/forecast", **body))
    np.testing.assert_allclose(found.iloc[:, 2:], expected.iloc[:, 2:], rtol=1e-6)


@pytest.mark.parametrize(
    ("accept", "read"),
    [
        ("text/csv", lambda body: pd.read_csv(io.BytesIO(body))),
        (
            "application/vnd.apache.parquet",
            lambda body: pq.read_table(io.BytesIO(body)).to_pandas(),
        ),
        (
            "application/vnd.apache.arrow.stream",
            lambda body: pa.ipc.open_stream(body).read_pandas(),
        ),
    ],
)
def test_tables_come_in_the_format_asked_for(client: httpx.Client, accept: str, read: Any) -> None:
    asked = {"sample": "sales", "h": 3}
    expected = columns(client.post("/forecast", json=asked))
    answer = client.post("/forecast", json=asked, headers={"accept": accept})
    assert answer.headers["content-type"].startswith(accept)
    assert answer.headers["content-disposition"].startswith('attachment; filename="forecast.')
    pd.testing.assert_frame_equal(read(answer.content), expected)


def test_requests_that_come_together_get_each_its_own_answer(client: httpx.Client) -> None:
    rng = np.random.default_rng(5)
    asked = [
        {
            "table": {"ds": list(range(30 + k)), "y": rng.uniform(5, 9, 30 + k).tolist()},
            "h": 3 + k % 3,
            "level": [80.0] if k % 2 else [50.0, 90.0],
        }
        for k in range(24)
    ]
    asked[7]["table"] = {"ds": [1, 2, 9], "y": [1.0, 2.0, 3.0]}  # irregular: refused, alone
    asked[8]["table"] = {"ds": [1, 2, 3], "y": [1e308, 1e300, 1e308]}

    def ask(body: dict[str, Any]) -> httpx.Response:
        return client.post("/forecast", json=body)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, asked))
    for body, answer in zip(asked, answers, strict=True):
        table = pd.DataFrame({"unique_id": "series", **body["table"]})
        if body is asked[7] or body is asked[8]:
            assert answer.status_code in (200, 422)
            continue
        expected = ExpLSTM().predict(table, h=body["h"], level=body["level"])
        found = columns(answer)
        assert list(found) == list(expected)
        np.testing.assert_allclose(found.iloc[:, 2:], expected.iloc[:, 2:], rtol=1e-5)
    assert answers[7].status_code == 422


def test_a_long_horizon_is_that_of_the_package(client: httpx.Client) -> None:
    asked = {"table": {"ds": list(range(60)), "y": np.arange(5.0, 65.0).tolist()}, "h": 400}
    expected = ExpLSTM().predict(pd.DataFrame({"unique_id": "series", **asked["table"]}), h=400)
    found = columns(client.post("/forecast", json=asked))
    np.testing.assert_allclose(found["ExpLSTM"], expected["ExpLSTM"], rtol=1e-5)


def test_inspect_finds_columns_and_keeps_the_data(client: httpx.Client) -> None:
    body = "shop;day;sold;note\n" + "".join(
        f"{shop};2024-01-{day:02d};{day}{',5' if day == 3 else ''};x\n"
        for shop in ("north", "south")
        for day in (1, 2, 3, 3, 5)
    )
    refused = client.post("/inspect", files={"file": ("<b>.csv", body.encode())})
    assert refused.status_code == 422
    upload = refused.json()["upload"]
    assert upload["name"] == "<b>.csv"
    assert upload["choice"] == {"id_col": "shop", "time_col": "day", "target_col": "sold"}
    assert [column["name"] for column in upload["columns"]] == ["shop", "day", "sold", "note"]
    again = {"data": upload["data"], "decimal": ",", "fill": "interpolate"}
    found = client.post("/inspect", json=again).json()
    assert found["data"] == upload["data"]
    assert (found["n_rows"], found["n_series"], found["freq"]) == (10, 2, "D")
    assert {finding["code"] for finding in found["findings"]} >= {"DUPLICATES_DROPPED"}
    assert any("north" in sentence for sentence in found["sentences"])
    assert found["page"]["series"][1] == {
        "unique_id": "south", "n": 5, "first": "2024-01-01", "last": "2024-01-05",
        "last_value": 5.0,
    }  # fmt: skip
    page = client.get(f"/data/{found['data']}/series", params={"search": "OUT"}).json()
    assert [row["unique_id"] for row in page["series"]] == ["south"]
    picked = columns(client.post("/forecast", json={**again, "series": ["south"], "h": 2}))
    assert picked["unique_id"].tolist() == ["south"] * 2
    assert client.delete(f"/data/{found['data']}").status_code == 204
    assert client.post("/inspect", json=again).status_code == 404


def test_history_comes_where_asked_for(client: httpx.Client) -> None:
    answer = client.post("/forecast", json={"sample": "air-passengers", "h": 2, "history": 3})
    assert answer.json()["history"] == {
        "unique_id": ["AirPassengers"] * 3,
        "ds": ["1960-10-01", "1960-11-01", "1960-12-01"],
        "y": [461.0, 390.0, 432.0],
    }


def test_growth_is_told_in_facts_and_words(client: httpx.Client) -> None:
    found = client.post("/growth", json={"sample": "air-passengers", "h": 12}).json()
    (facts,) = found["facts"]
    assert facts["unit"] == "growth" and 0 < facts["rate"] < 0.03
    assert facts["doubling_time"] == pytest.approx(np.log(2) / np.log1p(facts["rate"]))
    assert found["sentences"]["AirPassengers"]
    assert len(found["rates"]["rate"]) == 144 + 12
    many = client.post("/growth", json={"sample": "sales"})
    assert (many.status_code, many.json()["error"]["code"]) == (413, "GROWTH_TOO_LARGE")


def test_the_backtest_is_that_of_the_package(client: httpx.Client) -> None:
    asked = {"sample": "air-passengers", "h": 12, "n_windows": 4}
    found = client.post("/backtest", json=asked).json()
    task = Task(build_panel(AIR), 12, 4, 12, (12,), (80.0,))
    expected = run_backtest(task, ["Pretrained"])
    assert found["use"] == expected.judgement.use
    assert found["sentence"] == expected.judgement.sentence
    scores = {(row["model"], row["metric"]): row["value"] for row in found["scores"]}
    for row in expected.scores.itertuples():
        if np.isfinite(row.value):
            assert scores[row.model, row.metric] == pytest.approx(row.value, rel=1e-5)


def test_samples_are_described_and_sent(client: httpx.Client) -> None:
    for sample in client.get("/samples").json():
        answer = client.get(f"/samples/{sample['name']}", headers={"accept": "text/csv"})
        table = pd.read_csv(io.BytesIO(answer.content))
        assert (len(table), table["unique_id"].nunique()) == (sample["n_rows"], sample["n_series"])
    assert client.get("/samples/..%2f..%2fetc").status_code == 404


def test_formulas_in_ids_are_neutralised_in_csv_and_come_back(client: httpx.Client) -> None:
    ids = ["=cmd|' /C calc'!A0", "+x", "-x", "@SUM(1)", "\tx", "-5", "plain"]
    table = {
        "unique_id": [name for name in ids for _ in range(8)],
        "ds": list(range(8)) * len(ids),
        "y": [float(step) for step in range(1, 9)] * len(ids),
    }
    answer = client.post("/forecast", json={"table": table, "h": 2}, headers={"accept": "text/csv"})
    found = pd.read_csv(io.BytesIO(answer.content), dtype={"unique_id": str})
    assert set(found["unique_id"]) == {"'=cmd|' /C calc'!A0", "'+x", "'-x", "'@SUM(1)", "'\tx",
                                       "-5", "plain"}  # fmt: skip
    back = client.post("/forecast", files={"file": ("f.csv", answer.content)},
                       data={"target_col": "ExpLSTM", "h": 1})  # fmt: skip
    assert set(columns(back)["unique_id"]) == set(ids)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"sample": "sales", "h": 1001}, 422, "REQUEST_INVALID"),
        ({"sample": "sales", "level": [0.5]}, 422, "REQUEST_INVALID"),
        ({"sample": "sales", "model": "/etc/passwd"}, 422, "REQUEST_INVALID"),
        ({"sample": "sales", "encoding": "punycode"}, 422, "REQUEST_INVALID"),
        ({"sample": "sales", "encoding": "IDNA"}, 422, "REQUEST_INVALID"),
        ({"sample": "sales", "series": ["no such"]}, 422, "SERIES_UNKNOWN"),
        ({"sample": "nothing"}, 404, "SAMPLE_UNKNOWN"),
        ({"data": "A" * 22}, 404, "DATA_UNKNOWN"),
        ({}, 422, "DATA_SOURCE"),
        ({"sample": "sales", "data": "A" * 22}, 422, "DATA_SOURCE"),
        ({"table": {"ds": [1], "y": [1.0]}, "h": 2}, 422, "FREQ_UNKNOWN"),
    ],
)
def test_a_request_that_cannot_be_met_is_told_why(
    client: httpx.Client, body: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post("/forecast", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"sample": "sales", "h": True}, "h: true and false are no numbers; send a number; see"),
        ({"sample": "sales", "level": [True]}, "level[0]: true and false are no numbers"),
        ({"sample": "sales", "season_length": [True]}, "season_length[0]: true and"),
        ({"sample": "sales", "history": False}, "history: true and false"),
        ({"table": {"ds": ["x" * 101], "y": [1]}}, "table.ds[0]: String should have at most 100 c"),
        ({"table": {"ds": [1], "y": [1]}, "int": 1}, "int: Extra inputs"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    client: httpx.Client, body: dict[str, Any], said: str
) -> None:
    message = client.post("/forecast", json=body).json()["error"]["message"]
    assert message.startswith(said) and "(and" not in message


def test_the_description_offers_no_table_where_none_is_taken(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("FineTune", "Backtest", "Tune", "Report"):
        assert "table" not in schemas[name]["properties"] and "data" in schemas[name]["properties"]
    assert "table" in schemas["ForecastRequest"]["properties"]


def test_a_quick_backtest_takes_as_many_windows_as_the_data_allow(client: httpx.Client) -> None:
    for h, expected in ((12, 5), (20, 3), (90, 1)):  # of 96 months, of which 24 stay before
        answer = client.post("/backtest", json={"sample": "sales", "h": h})
        assert answer.status_code == 200, answer.text
        assert answer.json()["n_windows"] == expected
    refused = client.post("/backtest", json={"sample": "sales", "h": 96})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "DATA_TOO_SHORT")


def test_what_is_there_and_what_is_not(service: Live, client: httpx.Client) -> None:
    assert httpx.get(f"{service.url}/healthz", timeout=60).json() == {"status": "ok"}
    assert httpx.get(f"{service.url}/readyz", timeout=60).json() == {"status": "ok"}
    assert client.get("/nothing").json()["error"]["code"] == "NOT_FOUND"
    assert client.put("/forecast").status_code == 405
    metrics = httpx.get(f"{service.url}/metrics", timeout=60).text
    assert 'explstm_requests_total{method="GET",route="/healthz",status="200"}' in metrics
    assert "nothing" not in metrics, "what clients make up does not become a label"
    limits = client.get("/limits").json()
    assert limits["max_bytes"] == 32 * 1024**2
    for line in service.log.read_text().splitlines():
        assert json.loads(line)["level"] in ("info", "warning")


def test_the_description_is_a_page_that_needs_nothing_from_elsewhere(service: Live) -> None:
    page = httpx.get(f"{service.url}/docs", timeout=60)
    assert page.status_code == 200 and "/api/v1/forecast" in page.text
    assert "<script" not in page.text and "style=" not in page.text
    assert "http://" not in page.text and "https://" not in page.text
    style = httpx.get(f"{service.url}/docs.css", timeout=60)
    assert style.headers["content-type"].startswith("text/css")
