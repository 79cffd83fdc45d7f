"""The three ways into the product, and what each must say of a fault.

Contract: :meth:`World.refuse` sends one file through the command line, Python and HTTP, and asserts
on each that it is refused with one code and one sentence that says where; that no trace is shown,
the file stays as it was and nothing is left behind. :meth:`World.take` asserts that all three give
one forecast, and returns it.
"""

import hashlib
import http.client
import io
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from explstm import ExpLSTM, cli
from explstm.errors import ExpLSTMError
from explstm.frame import Panel, build_panel
from explstm.reading import read_table
from server.live import Live

COLUMNS = ("id_col", "time_col", "target_col")
OF_READING = (*COLUMNS, "sep", "decimal", "encoding", "date_format", "missing")


@dataclass(frozen=True)
class Shown:
    """What a command ended with and printed."""

    exit_code: int
    out: str
    err: str


@dataclass
class World:
    """A folder, a service, and one source of randomness for a line of the catalogue."""

    folder: Path
    live: Live
    client: httpx.Client
    rng: np.random.Generator
    monkeypatch: pytest.MonkeyPatch
    request: pytest.FixtureRequest
    _runs: list[int] = field(default_factory=list)

    # ------------------------------------------------------------------------------ making files

    def values(self, n: int = 24) -> list[float]:
        """A series that grows, to three digits after the point."""
        y = 100 * np.exp(np.cumsum(self.rng.normal(0.02, 0.05, n)))
        return [round(float(value), 3) for value in y]

    def rows(self, n: int = 24, name: str = "a", start: str = "2022-01") -> list[str]:
        """Rows of a sound monthly series."""
        months = np.datetime64(start, "M") + np.arange(n)
        return [f"{name},{month}-01,{y}" for month, y in zip(months, self.values(n), strict=True)]

    def place(self, n: int = 24) -> int:
        """A row that is neither the first nor the last; its line in a file is 2 later."""
        return int(self.rng.integers(1, n - 1))

    # -------------------------------------------------------------------------------- the ways in

    def run(self, *arguments: str | Path) -> Shown:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
            warnings.simplefilter("default")
            exit_code = cli.run([str(argument) for argument in arguments])
        return Shown(exit_code, out.getvalue(), err.getvalue())

    def forecast(self, path: Path | str, *more: str | Path) -> Shown:
        """``explstm forecast`` into a folder of its own."""
        self._runs.append(1)
        out = self.folder / f"run{len(self._runs)}"
        return self.run("forecast", path, "--horizon", "2", "--out", out, *more)

    def panel(self, path: Path | str, **options: Any) -> Panel:
        """What Python makes of a file."""
        reading = {name: options[name] for name in OF_READING if name in options}
        building = {name: options[name] for name in (*COLUMNS, "freq", "fill") if name in options}
        return build_panel(read_table(path, **reading), **building)

    def post(self, data: bytes, *, route: str = "forecast", **options: Any) -> httpx.Response:
        """Send a file over HTTP."""
        query = {"h": 2, **options} if route == "forecast" else options
        for role, name in zip(COLUMNS, ("unique_id", "ds", "y"), strict=True):
            if not query.get("one_series") and role != "id_col":
                query.setdefault(role, name)
        kind = {"content-type": "application/octet-stream"}
        return self.client.post(f"/api/v1/{route}", params=query, content=data, headers=kind)

    def raw(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, bytes]:
        """Status and body of a request whose headers need not be true."""
        connection = http.client.HTTPConnection("127.0.0.1", self.live.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was all sent
            connection.endheaders(body or None)
        try:
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    # ---------------------------------------------------------------------------------- judgement

    def write(self, data: bytes | str, name: str = "data.csv") -> Path:
        """Put a file into the folder."""
        path = self.folder / name
        path.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
        return path

    def refuse(
        self,
        data: bytes | str,
        code: str,
        *words: str,
        exit_code: int = 3,
        flags: Sequence[str] = (),
        over_http: str | None = "same",
        status: int | None = None,
        name: str = "data.csv",
        **options: Any,
    ) -> None:
        """A file is refused in every way with one code, and sentences that hold the words.

        Args:
            data: The file.
            code: What every way calls the fault.
            words: What every message holds, beside the name of the file where there is one.
            exit_code: Of the command line.
            flags: Further ones of the command line, for the options.
            over_http: Code over HTTP, "same", or None where HTTP has no such thing.
            status: Of HTTP; any of 4xx if not given.
            name: Of the file.
            options: Of reading, in Python and over HTTP.
        """
        path = self.write(data, name)
        before = hashlib.sha256(path.read_bytes()).hexdigest()
        self.refuse_path(path, code, *words, exit_code=exit_code, flags=flags, **options)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before
        if over_http is not None:
            answer = self.post(path.read_bytes(), **options)
            assert 400 <= answer.status_code < 500, answer.text
            assert status in (None, answer.status_code)
            error = answer.json()["error"]
            assert error["code"] == (code if over_http == "same" else over_http), error
            if over_http == "same":
                message = error["message"]
                assert all(word in message for word in words if word != name), message
            assert "Traceback" not in answer.text and "/explstm/" not in answer.text

    def refuse_path(
        self,
        path: Path | str,
        code: str,
        *words: str,
        exit_code: int = 3,
        flags: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """The same of a path, which HTTP does not take."""
        before = sorted(os.listdir(self.folder))
        shown = self.forecast(path, *flags)
        assert shown.exit_code == exit_code, shown
        assert shown.err.startswith(f"explstm: {code}: "), shown.err
        assert all(word in shown.err for word in words), shown.err
        assert "Traceback" not in shown.err + shown.out and shown.err.strip()[-1] in ".?"
        assert sorted(os.listdir(self.folder)) == before, "something was left behind"
        told = json.loads(self.forecast(path, "--json", *flags).out)["error"]
        assert told["code"] == code and told["exit_code"] == exit_code
        assert told["message"].split()[:6] == shown.err.split()[2:8]
        with pytest.raises(ExpLSTMError) as refused, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ExpLSTM().predict(self.panel(path, **options), h=2)
        assert refused.value.code == code
        assert all(word in refused.value.message for word in words), refused.value.message

    def take(
        self,
        data: bytes | str,
        *,
        flags: Sequence[str] = (),
        name: str = "data.csv",
        over_http: bool = True,
        **options: Any,
    ) -> pd.DataFrame:
        """A file is forecast in every way alike; the forecast of Python, ids as text."""
        path = self.write(data, name)
        panel = self.panel(path, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = ExpLSTM().predict(panel, h=2)
        assert np.isfinite(expected["ExpLSTM"]).all()
        shown = self.forecast(path, *flags)
        assert shown.exit_code == 0, shown.err
        written = read_table(
            self.folder / f"run{len(self._runs)}" / "forecast.csv", target_col="ExpLSTM"
        )
        np.testing.assert_allclose(written["ExpLSTM"], expected["ExpLSTM"], rtol=1e-12)
        assert written["unique_id"].astype(str).tolist() == expected.iloc[:, 0].astype(str).tolist()
        if over_http:
            answer = self.post(path.read_bytes(), **options)
            assert answer.status_code == 200, answer.text
            columns = answer.json()["forecast"]
            np.testing.assert_allclose(columns["ExpLSTM"], expected["ExpLSTM"], rtol=1e-9)
            found = [codes["code"] for codes in answer.json()["findings"]]
            assert sorted(found) == sorted(item.code for item in panel.findings)
        for finding in panel.findings:  # what was repaired is never silent
            assert finding.text in shown.out + shown.err, shown
        return expected

    def refuse_arguments(self, code: str, *words: str, arguments: Sequence[str | Path]) -> None:
        """A command refuses its arguments or its configuration with exit code 2."""
        before = sorted(os.listdir(self.folder))
        shown = self.run(*arguments)
        assert shown.exit_code == 2, shown
        assert (f"explstm: {code}: " in shown.err) or code == "USAGE", shown.err
        flat = " ".join(shown.err.replace("│", " ").split())
        assert all(word in flat for word in words), shown.err
        assert "Traceback" not in shown.err
        assert sorted(os.listdir(self.folder)) == before


CHECKS: dict[str, Callable[[World], None]] = {}


def check(line: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Register what proves a line of the catalogue."""

    def register(function: Callable[[World], None]) -> Callable[[World], None]:
        assert line not in CHECKS, line
        CHECKS[line] = function
        return function

    return register


def text(header: str, rows: Sequence[str]) -> str:
    """A file of a header and rows."""
    return "\n".join([header, *rows, ""])


HEADER = "unique_id,ds,y"
