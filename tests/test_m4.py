"""M4 comes from its published files: downloaded once, checked, kept, or refused in a sentence."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explstm import cli
from explstm.datasets import m4
from explstm.datasets.competitions import load_groups
from explstm.datasets.download import cache_folder
from explstm.datasets.m4 import FREQUENCIES, parse_wide
from explstm.errors import DataError, UsageError

WEEKLY = FREQUENCIES["M4-weekly"]
TRAIN, TEST = "/Train/Weekly-train.csv", "/Test/Weekly-test.csv"


def to_wide(ids: list[str], values: list[np.ndarray]) -> bytes:
    """A file as the competition writes it: every cell quoted, empty cells behind a series."""
    longest = max(map(len, values))
    lines = [",".join(f'"V{i}"' for i in range(1, longest + 2))]
    for name, y in zip(ids, values, strict=True):
        cells = [f'"{name}"', *(f'"{v:.10g}"' for v in y), *[""] * (longest - len(y))]
        lines.append(",".join(cells))
    return ("\n".join(lines) + "\n").encode()


class Server(ThreadingHTTPServer):
    """Serves ``pages``, bodies by path, of a length that is true unless ``stated`` otherwise."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, bytes] = {}
        self.stated: dict[str, int | None] = {}
        self.asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.pages.get(self.path)
        self.send_response(404 if body is None else 200)
        length = self.server.stated.get(self.path, len(body or b""))
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def series() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weekly series of 20 to 24 steps, and their futures."""
    rng = np.random.default_rng(0)
    walks = [
        100 * np.exp(np.cumsum(rng.normal(0, 0.05, 20 + number % 5 + WEEKLY.horizon)))
        for number in range(WEEKLY.n_series)
    ]
    rounded = [np.array([float(f"{v:.10g}") for v in walk]) for walk in walks]
    return [y[: -WEEKLY.horizon] for y in rounded], [y[-WEEKLY.horizon :] for y in rounded]


@pytest.fixture
def server(series, monkeypatch, tmp_path):
    """The publisher, in this process, and an empty cache."""
    monkeypatch.setenv("EXPLSTM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(m4, "FILES_URL", f"http://127.0.0.1:{server.server_port}")
        for place, values in zip((TRAIN, TEST), series, strict=True):
            server.pages[place] = to_wide(WEEKLY.ids, values)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def offline(monkeypatch, tmp_path) -> Path:
    """No publisher, and an empty cache; the folder where its files would be."""
    monkeypatch.setenv("EXPLSTM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(m4, "FILES_URL", "http://127.0.0.1:9")  # nobody listens there
    return tmp_path / "cache" / "m4"


def kept() -> list[str]:
    folder = cache_folder() / "m4"
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_files_are_downloaded_once_and_used_without_network(server, series, monkeypatch):
    (group,) = load_groups("M4-weekly")
    assert server.asked == [TRAIN, TEST]
    assert kept() == ["Weekly-test.csv", "Weekly-train.csv"]
    monkeypatch.setattr(m4, "FILES_URL", "http://127.0.0.1:9")
    (again,) = load_groups("M4-weekly")
    pd.testing.assert_frame_equal(group.train, again.train)
    pd.testing.assert_frame_equal(group.test, again.test)
    assert len(server.asked) == 2

    for table, values in zip((group.train, group.test), series, strict=True):
        assert table["unique_id"].unique().tolist() == WEEKLY.ids
        np.testing.assert_array_equal(table["y"], np.concatenate(values))
    first = group.train["unique_id"] == "W1"
    assert group.train.loc[first, "ds"].tolist() == list(range(1, 21))
    assert group.test.loc[group.test["unique_id"] == "W1", "ds"].tolist() == list(range(21, 34))


def test_seasons_horizons_and_scales_are_those_of_the_competition(offline):
    offline.mkdir(parents=True)
    hourly = FREQUENCIES["M4-hourly"]
    for part, steps in (("train", 50), ("test", 48)):
        data = to_wide(hourly.ids, [np.arange(1.0, steps + 1)] * 414)
        (offline / f"Hourly-{part}.csv").write_bytes(data)
        data = to_wide(WEEKLY.ids, [np.arange(1.0, (steps if part == "train" else 13) + 1)] * 359)
        (offline / f"Weekly-{part}.csv").write_bytes(data)
    (hours,), (weeks,) = load_groups("M4-hourly"), load_groups("M4-weekly")
    assert (hours.season_length, hours.longer_seasons, hours.horizon) == (24, (168,), 48)
    assert (weeks.season_length, weeks.longer_seasons, weeks.horizon) == (52, (), 13)
    assert (hours.mase_lag, weeks.mase_lag) == (24, 1)
    assert hours.name == "hourly" and hours.actuals_NH().shape == (414, 48)


def test_the_command_scores_it_by_the_competitions_rules(server, series, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.run(["benchmark", "m4-weekly", "--out", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {row["competition"] for row in answer["scores"]} == {"M4-weekly"}
    naive = next(row for row in answer["scores"] if row["model"] == "Naive")
    errors = [
        np.abs(future - past[-1]).mean() / np.abs(np.diff(past)).mean()
        for past, future in zip(*series, strict=True)
    ]
    assert naive["MASE"] == pytest.approx(np.mean(errors))
    coverage = pd.read_csv(out / "coverage.csv")
    assert len(coverage) == len(answer["coverage"]) == WEEKLY.horizon * 3
    assert (coverage["values"] == WEEKLY.n_series).all()


def test_without_network_one_sentence_says_which_files_go_where(offline, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.run(["benchmark", "m4-hourly", "--out", str(out)]) == 3
    shown = capsys.readouterr()
    words = ["DATA_DOWNLOAD", "Train/Hourly-train.csv", "Test/Hourly-test.csv", str(offline)]
    assert all(word in shown.err for word in [*words, "github.com/Mcompetitions/M4-methods"])
    assert shown.err.count("\n") == 1 and "Traceback" not in shown.err and shown.out == ""
    assert not offline.exists() and not out.exists()


def cut_line(data: bytes) -> bytes:
    return data[: data.rindex(b"\n", 0, -1) + 1]


@pytest.mark.parametrize(
    ("break_page", "reason"),
    [
        (lambda data: None, "HTTP 404"),
        (lambda data: b"", "header"),
        (lambda data: b"<!DOCTYPE html>\n<html>Sign in</html>\n", "header"),
        (lambda data: data[: len(data) // 2], "W1"),
        (lambda data: cut_line(data), "358 lines for the 359 series W1 to W359"),
        (lambda data: data[:-2], "CSV"),
        (lambda data: data[: data.rindex(b",")], "W359 has 13 cells and the header 14"),
        (lambda data: data.replace(b'"W', b'"D'), "0 of these"),
        (lambda data: b"\xff\xfe" + data, "CSV"),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(server, break_page, reason):
    sound = server.pages[TEST]
    broken = break_page(sound)
    server.pages.pop(TEST) if broken is None else server.pages.update({TEST: broken})
    with pytest.raises(DataError, match=r"Weekly-test\.csv could not be downloaded") as refused:
        load_groups("M4-weekly")
    assert reason in refused.value.message and refused.value.code == "DATA_DOWNLOAD"
    assert kept() == ["Weekly-train.csv"]
    server.pages[TEST] = sound
    assert len(load_groups("M4-weekly")) == 1


@pytest.mark.parametrize("stated", [None, 10**6])
def test_a_download_that_is_cut_off_is_refused_and_not_kept(server, stated):
    server.pages[TRAIN] = server.pages[TRAIN][:5000]
    server.stated[TRAIN] = stated
    with pytest.raises(DataError, match="could not be downloaded") as refused:
        load_groups("M4-weekly")
    assert kept() == []
    assert stated is None or "5000 of 1000000 bytes" in refused.value.message


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_stays(server, monkeypatch, fault):
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises((UsageError, KeyboardInterrupt)) as stopped:
        load_groups("M4-weekly")
    assert kept() == []
    if isinstance(stopped.value, UsageError):
        assert "No space left" in stopped.value.message and "EXPLSTM_CACHE" in stopped.value.message


def test_a_kept_file_that_is_not_sound_is_named_and_left_alone(offline):
    offline.mkdir(parents=True)
    (offline / "Weekly-train.csv").write_bytes(b"mine\n")
    with pytest.raises(DataError, match=r"Weekly-train\.csv is not the published file.*delete it"):
        load_groups("M4-weekly")
    assert (offline / "Weekly-train.csv").read_bytes() == b"mine\n"


def test_a_cache_folder_that_cannot_be_used_is_refused(offline):
    offline.parent.write_text("a file")
    with pytest.raises(UsageError, match="EXPLSTM_CACHE"):
        load_groups("M4-weekly")


@pytest.mark.skipif(os.name == "nt", reason="another place on Windows")
def test_downloads_lie_in_the_users_cache_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("EXPLSTM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == tmp_path / ".cache" / "explstm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "explstm"
    monkeypatch.setenv("EXPLSTM_CACHE", "~/data")
    assert cache_folder() == tmp_path / "data"
    monkeypatch.setenv("EXPLSTM_CACHE", "~nobody-of-this-name/data")
    with pytest.raises(UsageError, match="EXPLSTM_CACHE"):
        cache_folder()


@pytest.mark.parametrize("change", [
    lambda data: data,
    lambda data: data.replace(b'"', b""),
    lambda data: data.replace(b"\n", b"\r\n"),
    lambda data: b"\xef\xbb\xbf" + data + b"\n\n",
    lambda data: b"\n".join([data.split(b"\n")[0], *reversed(data.split(b"\n")[1:])]),
])  # fmt: skip
def test_a_file_is_read_however_it_is_written(change):
    values = [np.array([1.0, 2.5, 3e6]), np.array([0.25]), np.array([7.0, 8.0])]
    found = parse_wide(change(to_wide(["H1", "H2", "H3"], values)), ["H1", "H2", "H3"])
    for one, other in zip(found, values, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("H2,1,,3", "no number"),
        ("H2,1,x,3", "no number"),
        ("H2,1,nan,3", "no number"),
        ("H2,1,inf,3", "no number"),
        ("H2,,,", "0 values"),
        ("H2,1,2,3,4", "5 cells"),
        ("H1,1,2,3", "1 of these"),
        ("H3,1,2,3", "1 of these"),
        ("H2,1,2,3\nH2,1,2,3", "3 lines for the 2 series"),
    ],
)
def test_a_line_that_cannot_be_right_is_refused(line, reason):
    with pytest.raises(ValueError, match=reason):
        parse_wide(f"V1,V2,V3,V4\nH1,1,2,3\n{line}\n".encode(), ["H1", "H2"])


def test_a_future_has_as_many_values_as_the_horizon():
    data = b"V1,V2,V3\nH1,1,2\nH2,1,\n"
    assert len(parse_wide(data, ["H1", "H2"])) == 2
    with pytest.raises(ValueError, match="H2 has 1 values, not 2"):
        parse_wide(data, ["H1", "H2"], horizon=2)
