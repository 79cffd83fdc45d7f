"""``explstm forecast FOLDER --engine ...``: what is shown, told and refused."""

import json
import subprocess
import sys

import pytest

from explstm import cli
from part_data import make_bad_series, make_series, pd, write_files

pytest.importorskip("pyarrow")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Forty good series and one bad; the current folder is that of the data."""
    monkeypatch.chdir(tmp_path)
    return write_files(tmp_path / "data", [make_series(40), make_bad_series(1)])


def command(*more: str) -> list[str]:
    few = ("--workers", "1", "--rows-per-part", "1000", "--out", "out")
    return ["forecast", "data", "--horizon", "3", "--engine", "local", *few, *more]


def test_a_folder_is_forecast_and_the_second_time_nothing_is_done(folder, capsys):
    assert cli.run(command("--level", "80")) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "40 series (freq=MS) forecast in 2 parts",
        "1 set aside: DATA_GAP",
        "why, one by one: out/dead-letters.parquet",
        "wrote out",
    ]
    assert shown.err == ""  # no progress where nobody watches
    columns = list(pd.read_parquet("out/forecast"))
    assert columns == ["unique_id", "ds", "ExpLSTM", "ExpLSTM-lo-80", "ExpLSTM-hi-80"]
    assert cli.run(command("--level", "80", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n_series"], told["n_parts"], told["n_before"]) == (40, 2, 2)
    assert told["set_aside"] == {"DATA_GAP": 1}
    assert cli.run(command()) == 2
    assert "OUTPUT_EXISTS: --out" in capsys.readouterr().err


def test_progress_tells_the_throughput_where_somebody_watches(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert cli.run(command()) == 0
    assert "40 series, " in (told := capsys.readouterr().err) and "/s, 1 set aside" in told


@pytest.mark.parametrize(
    "more",
    [
        ("--backend", "torch"), ("--intervals", "conformal"), ("--evaluate",), ("--seed", "2"),
        ("--set", "max_steps=2"), ("--plot",), ("--sep", ";"), ("--missing", "NA"),
        ("--date-format", "%Y"), ("--encoding", "latin-1"), ("--decimal", ","),
    ],
)  # fmt: skip
def test_options_that_would_change_nothing_are_refused(folder, capsys, more):
    assert cli.run(command(*more)) == 2
    told = capsys.readouterr().err
    assert f"CONFIG_CONFLICT: {more[0]} does not go with --engine" in told


@pytest.mark.parametrize(
    "more", [("--workers", "2"), ("--address", "a:1"), ("--rows-per-part", "9")]
)
def test_options_of_parts_need_an_engine(folder, capsys, more):
    assert cli.run(["forecast", "data", "--horizon", "3", *more]) == 2
    assert f"CONFIG_CONFLICT: {more[0]} belongs to --engine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "engine", "remedy"),
    [("ray", "ray", "explstm[ray]"), ("pyarrow", "local", "explstm[parquet]")],
)
def test_without_the_extra_the_message_says_what_to_install(folder, missing, engine, remedy):
    asked = [*command(), "--engine", engine]
    code = (
        "import importlib.util as util, sys; "
        "find = util.find_spec; "
        f"util.find_spec = lambda name, *of: None if name == {missing!r} else find(name, *of); "
        f"sys.modules[{missing!r}] = None; "
        f"from explstm import cli; sys.exit(cli.run({asked!r}))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2 and f"run: pip install '{remedy}'" in done.stderr
    assert not (folder.parent / "out").exists()


def test_the_package_is_imported_without_what_it_needs():
    code = (
        "import sys, explstm.scaleout\n"
        "assert not {'pyarrow', 'ray', 'pandas', 'numpy'} & set(sys.modules)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.stderr == b""
