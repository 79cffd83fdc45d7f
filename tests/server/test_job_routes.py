"""The routes of jobs, through a client: what it may ask, what it gets, and what it never gets."""

import json
import socket
import time
from pathlib import Path

import httpx
import pytest

from server.live import start

QUICK = {"kind": "fine-tune", "sample": "air-passengers", "h": 4, "max_steps": 5}
ENDED = ("done", "failed", "cancelled", "interrupted")
JOBS = "/jobs"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with start(
        tmp_path_factory.mktemp("service"),
        forecasters=1,
        readers=1,
        queue_length=3,
        read_seconds=3.0,
    ) as live:
        yield live


@pytest.fixture(scope="module")
def client(service):
    with httpx.Client(base_url=f"{service.url}/api/v1", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def data_id(client) -> str:
    rows = [f"=cmd()|{name},2020-{m:02d}-01,{10 + m}" for name in "ab" for m in range(1, 13)]
    content = "\n".join(["unique_id,ds,y", *rows])
    answer = client.post("/inspect", content=content, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def wait(client, job_id: str, states=ENDED) -> dict:
    deadline = time.monotonic() + 240
    while (job := client.get(f"{JOBS}/{job_id}").json())["state"] not in states:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    return job


def read_events(client, job_id: str, after: str = "") -> list[dict]:
    answer = client.get(f"{JOBS}/{job_id}/events", headers={"Last-Event-ID": after})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in answer.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            events.append(fields | {"data": json.loads(fields["data"])})
    return events


@pytest.fixture(scope="module")
def trained(client, data_id) -> dict:
    asked = {"kind": "fine-tune", "data": data_id, "h": 3, "max_steps": 5, "level": [80]}
    answer = client.post(JOBS, json=asked)
    assert answer.status_code == 202 and answer.json()["state"] == "queued"
    assert answer.headers["location"] == f"/api/v1{JOBS}/{answer.json()['id']}"
    job = wait(client, answer.json()["id"])
    assert job["state"] == "done", job
    return job


def test_a_job_is_described_with_what_was_asked_and_when_it_goes(trained, data_id):
    assert trained["request"]["data"] == data_id and trained["request"]["backend"] == "torch"
    assert trained["deleted"] > trained["ended"] >= trained["started"] >= trained["created"]
    assert trained["error"] is None and not trained["can_resume"] and trained["attempts"] == 1


def test_events_are_told_once_in_order_and_the_last_is_the_end(client, trained):
    events = read_events(client, trained["id"])
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["event"] == "state" and events[-1]["data"]["state"] == "done"
    assert any(event["event"] == "progress" and "train_loss" in event["data"] for event in events)
    third = read_events(client, trained["id"], after="2")
    assert third == events[2:]
    late = read_events(client, trained["id"], after=str(len(events)))
    assert [event["data"]["state"] for event in late] == ["done"]
    assert read_events(client, trained["id"], after="nonsense") == events
    assert read_events(client, trained["id"], after="9" * 30) == events


@pytest.mark.parametrize("says_length", [False, True])
def test_json_about_a_job_is_no_longer_than_any_other(client, says_length):
    body = b'{"kind": "backtest", "sample": "' + b"a" * 3 * 2**20 + b'"}'
    kind = {"content-type": "application/json"}
    content = body if says_length else iter([body[: 2**20], body[2**20 :]])
    answer = client.post(JOBS, content=content, headers=kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "JSON_TOO_LONG")


def test_json_about_a_job_that_does_not_come_is_not_waited_for(service):
    head = "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=120) as line:
        line.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        assert line.recv(65_536).split()[1] == b"408"


def test_the_result_has_the_series_asked_for(client, trained):
    plain = client.get(f"{JOBS}/{trained['id']}/result").json()
    assert plain["forecast"] is None and plain["summary"]["training"]["step"] == 5
    unknown = client.get(
        f"{JOBS}/{trained['id']}/result", params={"series": ["=cmd()|b", "no such series"]}
    )
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (422, "SERIES_UNKNOWN")
    params = {"series": ["=cmd()|b"]}
    asked = client.get(f"{JOBS}/{trained['id']}/result", params=params).json()
    assert set(asked["forecast"]) == {
        *("unique_id", "ds", "ExpLSTM"),
        *("ExpLSTM-lo-80", "ExpLSTM-hi-80"),
    }
    assert asked["forecast"]["unique_id"] == ["=cmd()|b"] * 3
    assert asked["forecast"]["ds"] == ["2021-01-01", "2021-02-01", "2021-03-01"]
    low, high = asked["forecast"]["ExpLSTM-lo-80"], asked["forecast"]["ExpLSTM-hi-80"]
    assert all(a < b for a, b in zip(low, high, strict=True))


def test_files_are_saved_not_shown_and_hold_no_formula(client, trained):
    for name in trained["files"]:
        answer = client.get(f"{JOBS}/{trained['id']}/files/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        if name.endswith(".csv"):
            lines = answer.text.splitlines()
            assert not any(line.startswith(("=", "+", "@")) for line in lines)
    table = client.get(f"{JOBS}/{trained['id']}/files/forecast.csv").text
    assert table.count("'=cmd()|a,2021-") == 3


@pytest.mark.parametrize(
    "name", ["data.csv", "process.log", "result.json", "..%2Fjobs.db", "%2e%2e", "run.json%00"]
)
def test_only_files_of_the_list_are_given(client, trained, name):
    answer = client.get(f"{JOBS}/{trained['id']}/files/{name}")
    assert answer.status_code == 404


def test_no_answer_holds_a_path_of_the_server(service, client, trained):
    folder = str(service.data)
    texts = [client.get(f"{JOBS}/{trained['id']}{end}").text for end in ("", "/result", "/events")]
    texts += [client.get(f"{JOBS}/{trained['id']}/files/{name}").text for name in trained["files"]]
    assert not any(folder in text or str(Path.home()) in text for text in texts)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"kind": "delete"}, "kind"),
        ({"h": 0}, "h"),
        ({"backend": "../../torch"}, "backend"),
        ({"max_steps": 10**9}, "max_steps"),
        ({"h": True}, "h: true and false are no numbers"),
        ({"max_steps": True}, "max_steps: true and false are no numbers"),
        ({"learning_rate": True}, "learning_rate: true and false are no numbers"),
        ({"out": "/etc"}, "out"),
        ({"init": "/etc/passwd"}, "init"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"sample": None}, "fine-tune"),
        ({"data": "d" * 22}, "fine-tune"),
        ({"sample": None, "table": {"ds": [1, 2], "y": [1, 2]}}, "fine-tune.table: Extra"),
        ({"sample": None, "data": "../../../etc/passwd..."}, "data"),
    ],
)
def test_what_cannot_be_used_is_refused_before_it_waits(client, change, where):
    content = json.dumps({**QUICK, **change})
    headers = {"Content-Type": "application/json"}
    n_before = len(client.get(JOBS).json()["jobs"])
    answer = client.post(JOBS, content=content, headers=headers)
    assert answer.status_code == 422 and where in answer.json()["error"]["message"]
    assert len(client.get(JOBS).json()["jobs"]) == n_before


def test_unknown_data_samples_and_jobs_are_404(client):
    for change in ({"sample": None, "data": "x" * 22}, {"sample": "nothing"}):
        assert client.post(JOBS, json={**QUICK, **change}).status_code == 404
    for path in ("x" * 22, "..%2f..%2fetc", "a" * 5000):
        for end in ("", "/events", "/result", "/files/run.json"):
            assert client.get(f"{JOBS}/{path}{end}").status_code == 404
        assert client.post(f"{JOBS}/{path}/cancel").status_code == 404


def test_a_running_job_is_followed_live_cancelled_and_not_resumed_meanwhile(client):
    job_id = client.post(JOBS, json={**QUICK, "max_steps": 20_000}).json()["id"]
    wait(client, job_id, ["running"])
    assert client.post(f"{JOBS}/{job_id}/resume").status_code == 409
    assert client.get(f"{JOBS}/{job_id}/result").status_code == 409
    assert client.get(f"{JOBS}/{job_id}/files/training.csv").status_code == 404
    assert client.post(f"{JOBS}/{job_id}/cancel").status_code == 202
    assert read_events(client, job_id)[-1]["data"]["state"] == "cancelled"
    assert client.post(f"{JOBS}/{job_id}/cancel").status_code == 409
    job = wait(client, job_id)
    assert job["can_resume"] and job["files"] == []


def test_a_job_is_deleted_once_it_has_ended(service, client):
    asked = {**QUICK, "max_steps": 20_000}
    job_id = client.post(JOBS, json=asked).json()["id"]
    wait(client, job_id, ["running"])
    refused = client.delete(f"{JOBS}/{job_id}")
    assert refused.status_code == 409 and "cancel it first" in refused.json()["error"]["message"]
    assert 'explstm_jobs{state="running"} 1.0' in httpx.get(f"{service.url}/metrics", timeout=60).text
    client.post(f"{JOBS}/{job_id}/cancel")
    wait(client, job_id)
    assert (service.data / "jobs" / job_id).is_dir()
    deleted = client.delete(f"{JOBS}/{job_id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert not (service.data / "jobs" / job_id).exists()
    assert client.get(f"{JOBS}/{job_id}").status_code == 404
    assert client.delete(f"{JOBS}/{job_id}").status_code == 404
    assert 'explstm_jobs{state="running"} 0.0' in httpx.get(f"{service.url}/metrics", timeout=60).text


def test_a_full_queue_says_when_to_come_back(client):
    ids = [client.post(JOBS, json={**QUICK, "max_steps": 20_000}).json()["id"]]
    wait(client, ids[0], ["running"])
    ids += [client.post(JOBS, json=QUICK).json()["id"] for _ in range(3)]
    answer = client.post(JOBS, json=QUICK)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"] == "QUEUE_FULL"
    for job_id in reversed(ids):
        client.post(f"{JOBS}/{job_id}/cancel")
    assert {wait(client, job_id)["state"] for job_id in ids} == {"cancelled"}


def test_a_report_shows_other_jobs_and_opens_without_a_network(client, trained, data_id):
    refused = client.post(
        JOBS, json={"kind": "report", "data": data_id, "h": 3, "jobs": ["x" * 22]}
    )
    assert refused.status_code == 422 and refused.json()["error"]["code"] == "JOB_NOT_DONE"
    asked = {"kind": "report", "data": data_id, "h": 3, "n_windows": 2, "jobs": [trained["id"]]}
    job = wait(client, client.post(JOBS, json=asked).json()["id"])
    assert job["state"] == "done", job["error"]
    page = client.get(f"{JOBS}/{job['id']}/files/report.html").text
    assert "explstm fit data.csv" in page and 'src="http' not in page
    assert client.get(f"{JOBS}/{job['id']}/result").json()["summary"]["sentence"]


def test_a_backtest_judges_the_methods_asked_for(client):
    asked = {
        "kind": "backtest",
        "sample": "air-passengers",
        "n_windows": 3,
        "methods": ["Pretrained"],
    }
    job = wait(client, client.post(JOBS, json=asked).json()["id"])
    assert job["state"] == "done", job["error"]
    summary = client.get(f"{JOBS}/{job['id']}/result").json()["summary"]
    assert [verdict["method"] for verdict in summary["verdicts"]] == ["Pretrained"]
    scores = client.get(f"{JOBS}/{job['id']}/files/scores.csv").text
    assert "SeasonalNaive" in scores


def test_a_tuning_leaves_its_trials_and_a_forecast(client):
    asked = {"kind": "tune", "sample": "air-passengers", "n_trials": 2, "max_steps": 3}
    job = wait(client, client.post(JOBS, json=asked).json()["id"])
    assert job["state"] == "done", job["error"]
    assert {"trials.csv", "forecast.csv", "weights.safetensors"} <= set(job["files"])
    done = [event["data"].get("done") for event in read_events(client, job["id"])]
    assert {1, 2} & set(done)  # told only as often as anybody can look


def months(n: int) -> bytes:
    days = [f"{2010 + m // 12}-{m % 12 + 1:02d}-01" for m in range(n)]
    rows = [f"{day},{100 + m + m % 12}" for m, day in enumerate(days)]
    return "\n".join(["ds,y", *rows]).encode()


def send(client, content: bytes) -> str:
    answer = client.post("/inspect", content=content, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.mark.parametrize(
    ("content", "asked", "expected"),
    [
        (None, {"kind": "report", "sample": "sales", "h": 12}, 6),  # 96 steps: 24 + 6 * 12
        (months(48), {"kind": "report", "h": 6}, 4),  # 24 + 4 * 6
        (months(48), {"kind": "backtest", "h": 6, "methods": ["Pretrained"]}, 4),
        (months(48), {"kind": "backtest", "h": 6, "step_size": 3, "methods": ["Pretrained"]}, 7),
    ],
)
def test_as_many_windows_are_taken_as_the_data_allow(client, content, asked, expected):
    source = {} if content is None else {"data": send(client, content)}
    job = wait(client, client.post(JOBS, json={**asked, **source}).json()["id"])
    assert job["state"] == "done", job["error"]
    summary = client.get(f"{JOBS}/{job['id']}/result").json()["summary"]
    assert summary["n_windows"] == summary["verdicts"][0]["n_windows"] == expected


@pytest.mark.parametrize("kind", ["report", "backtest"])
def test_windows_that_do_not_fit_are_refused_at_once(client, kind):
    data = send(client, months(48))
    for source in ({"data": data, "h": 48}, {"data": data, "h": 6, "n_windows": 8},
                   {"sample": "sales", "h": 96}):  # fmt: skip
        refused = client.post(JOBS, json={"kind": kind, **source})
        assert refused.status_code == 422, refused.text
        assert refused.json()["error"]["code"] == "DATA_TOO_SHORT"
