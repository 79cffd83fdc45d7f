"""The command line: exit codes, sentences instead of tracebacks, one JSON object for machines."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import explstm
from explstm import cli, windows
from explstm.errors import BusyError, ModelFileError, TrainingError

SMALL = ["--set", "max_steps=2", "--set", "hidden_sizes=[4]"]
ROWS = [f"2024-{month:02d}-01,{100 + month}" for month in range(1, 13)]


LONG = 300 * "n"
"""A name that no file system takes."""


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """One year of one series; the current folder is that of the file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(explstm.__file__).parents[1]))
    path = tmp_path / "sales.csv"
    path.write_text("ds,y\n" + "\n".join(ROWS) + "\n")
    return path


def forecast(*more: str) -> list[str]:
    return ["forecast", "sales.csv", "--horizon", "2", "--backend", "torch", *SMALL, *more]


def run_process(*arguments: str, code: str = "", **options) -> subprocess.CompletedProcess:
    """Run the command in a fresh interpreter, after ``code``."""
    start = f"import sys; sys.argv = ['explstm', *{list(arguments)!r}]\n{code}\n"
    return subprocess.run(
        [sys.executable, "-c", f"{start}from explstm.cli import main; main()"],
        capture_output=True, text=True, timeout=120, **options,
    )  # fmt: skip


def test_a_forecast_is_written_and_shown(file, capsys):
    assert cli.run(forecast("--level", "80")) == 0
    shown = capsys.readouterr()
    written = Path("explstm-forecast/forecast.csv").read_text().splitlines()
    assert written[0] == "unique_id,ds,ExpLSTM,ExpLSTM-lo-80,ExpLSTM-hi-80"
    assert [line.split(",")[1] for line in written[1:]] == ["2025-01-01", "2025-02-01"]
    assert "2025-01-01" in shown.out and "wrote explstm-forecast" in shown.out
    assert shown.err == ""  # no progress where nobody watches


def test_a_model_is_fitted_and_used_without_its_framework(file):
    fit = ["fit", "sales.csv", "--horizon", "2", "--backend", "torch", "--out", "run", *SMALL]
    assert cli.run(fit) == 0
    no_frameworks = "sys.modules['torch'] = None; sys.modules['tensorflow'] = None"
    done = run_process(
        "forecast", "sales.csv", "--horizon", "2", "--model", "run", code=no_frameworks
    )
    assert done.returncode == 0, done.stderr
    assert len(Path("explstm-forecast/forecast.csv").read_text().splitlines()) == 3


def test_evaluation_shows_the_metrics(file, capsys):
    assert cli.run(forecast("--evaluate", "--season-length", "1")) == 0
    shown = capsys.readouterr().out
    for text in ("sMAPE", "ExpLSTM", "SeasonalNaive", "LogDrift"):
        assert text in shown


def test_a_benchmark_shows_scores_and_coverage_near_and_far(file, capsys):
    rows = [f"{100 * 1.02**month:.6g}" for month in range(30)]
    dates = [f"{2024 + month // 12}-{month % 12 + 1:02d}-01" for month in range(30)]
    lines = [f"{date},{value}" for date, value in zip(dates, rows, strict=True)]
    Path("train.csv").write_text("\n".join(["ds,y", *lines[:24]]))
    Path("test.csv").write_text("\n".join(["ds,y", *lines[24:]]))
    assert cli.run(["benchmark", "mine", "--train", "train.csv", "--test", "test.csv"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("sMAPE", "first step", "middle step", "last step"))
    lines = Path("explstm-benchmark/coverage.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 * 3  # steps and levels


def test_a_season_for_a_competition_that_has_its_own_is_refused(file, capsys):
    assert cli.run(["benchmark", "m1", "--season-length", "5"]) == 2
    assert "--season-length is for files of your own" in capsys.readouterr().err


def test_json_is_one_object_with_the_forecast(file, capsys):
    assert cli.run(forecast("--json")) == 0
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert answer["out"] == "explstm-forecast" and answer["metrics"] is None
    assert [row["unique_id"] for row in answer["forecast"]] == ["series", "series"]
    assert shown.err == ""


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["forecast", "sales.csv"], 2, ["--horizon"]),
        (["forecast", "sales.csv", "--horizon", "0"], 2, ["--horizon", "1"]),
        (["forecast", "sales.csv", "--horizn", "2"], 2, ["--horizn"]),
        (["foresee"], 2, ["foresee"]),
        (["forecast", "sales.csv", "--horizon", "2", "--set", "cell=slstm"], 2, ["--backend"]),
        (["fit", "sales.csv", "--horizon", "2"], 2, ["only forecasts", "torch"]),
        (["pretrain", "--config", "sales.csv"], 2, ["sales.csv", "TOML"]),
        (["forecast", "sales.csv", "--horizon", "2", "--backend", "jax"], 2, ["backend='jax'"]),
        (["forecast", "none.csv", "--horizon", "2", "--backend", "torch"], 3, ["none.csv"]),
        (["forecast", "sales.csv", "--horizon", "2", "--model", "sales.csv"], 4, ["sales.csv"]),
        (["forecast", "sales.csv", "--horizon", "2", "--model", "none"], 4, ["none"]),
        ([*forecast(), "--set", "max_step=1"], 2, ["did you mean max_steps"]),
        ([*forecast(), "--out", "no/where"], 2, ["no"]),
        ([*forecast(), "--target-col", "z"], 3, ["'z'"]),
        ([*forecast(), "--set", f"window={10**30}"], 2, [f"window={10**30}", "less than"]),
        ([*forecast(), "--set", f"val_size={10**30}"], 2, [f"val_size={10**30}", "less than"]),
        (["forecast", "sales.csv", "--horizon", "2", "--model", LONG], 4, [LONG, "does not exist"]),
        ([*forecast(), "--out", LONG], 2, [LONG, "cannot be written"]),
        (["export", LONG], 4, [LONG, "does not exist"]),
        (["export", "--out", LONG], 2, [LONG, "cannot be written"]),
        (["report", LONG], 2, [LONG, "is no run folder"]),
        (["report", "sales.csv", "--out", LONG], 2, [LONG, "cannot be written"]),
        (["compare", "sales.csv", "--horizon", "40"], 3, ["series"]),
        (["benchmark", "m4-daily"], 2, ["m4-daily", "m4-weekly"]),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_its_exit_code(
    file, capsys, arguments, exit_code, words
):
    assert cli.run(arguments) == exit_code
    shown = capsys.readouterr()
    assert all(word in shown.err for word in words)
    assert "Traceback" not in shown.err and shown.out == ""
    assert os.listdir() == ["sales.csv"]

    assert cli.run([*arguments, "--json"]) == exit_code
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["exit_code"] == exit_code and error["code"].isupper()
    assert all(word in error["message"] for word in words)


def test_no_arguments_show_the_help(capsys):
    assert cli.run([]) == 2
    shown = capsys.readouterr()
    assert all(name in shown.out + shown.err for name in ("forecast", "fit", "compare", "demo"))


def test_help_and_version_are_no_failures(capsys):
    assert cli.run(["--help"]) == 0
    assert cli.run(["forecast", "--help"]) == 0
    assert "--season-length" in capsys.readouterr().out
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == "0.1.0\n"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ModelFileError("A", "a."), 4),
        (TrainingError("A", "a."), 5),
        (BusyError("A", "a."), 7),
        (ZeroDivisionError("deep inside"), 1),
        (MemoryError(), 1),
    ],
)
def test_every_failure_has_its_exit_code(file, monkeypatch, capsys, error, exit_code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("explstm.pipeline.forecast_file", fail)
    assert cli.run(forecast()) == exit_code
    assert "Traceback" not in capsys.readouterr().err
    assert cli.run(forecast("--debug")) == exit_code
    assert "Traceback" in capsys.readouterr().err


def test_too_little_memory_is_told_with_what_to_lower(file, monkeypatch, capsys):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("explstm.pipeline.forecast_file", fail)
    assert cli.run(forecast()) == 1
    told = capsys.readouterr().err
    assert told.startswith("explstm: OUT_OF_MEMORY: ") and "lower batch_size" in told
    assert "our fault" not in told and os.listdir(file.parent) == [file.name]


def test_ctrl_c_is_told_in_one_word(file, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("explstm.pipeline.forecast_file", interrupt)
    assert cli.run(forecast()) == 130
    assert capsys.readouterr().err == "explstm: INTERRUPTED: interrupted.\n"
    assert cli.run(forecast("--json")) == 130
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 130


def test_an_existing_run_is_replaced_only_with_force(file, capsys):
    assert cli.run(forecast()) == 0
    assert cli.run(forecast()) == 2
    assert "--force" in capsys.readouterr().err
    assert cli.run(forecast("--force")) == 0


def test_the_place_is_checked_before_training(file, capsys):
    Path("out").write_text("mine")
    assert cli.run(["forecast", "none.csv", "--horizon", "2", "--out", "out"]) == 2
    assert "none.csv" not in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_missing_framework_is_told_with_the_command_that_installs_it(file, backend):
    done = run_process(
        "forecast", "sales.csv", "--horizon", "2", "--backend", backend,
        code=f"sys.modules[{backend!r}] = None",
    )  # fmt: skip
    assert done.returncode == 2
    assert f"pip install 'explstm[{backend}]'" in done.stderr
    assert os.listdir() == ["sales.csv"]


def test_control_characters_do_not_reach_the_terminal(file, capsys):
    Path("evil\x1b[31m\n.csv").write_text("ds,y\n2024-01-01,\x1b[2Jx\n")
    assert cli.run(["forecast", "evil\x1b[31m\n.csv", "--horizon", "1", "--backend", "torch"]) == 3
    shown = capsys.readouterr().err
    assert "\x1b" not in shown and shown.count("\n") == 1

    rows = "\n".join(f"\x1b[2J[red]a,{row}" for row in ROWS)
    Path("sales.csv").write_text(f"unique_id,ds,y\n{rows}\n")
    assert cli.run(forecast()) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\\x1b[2J[red]a" in shown


def test_a_reader_that_leaves_early_is_no_failure(file):
    command = shlex.join([sys.executable, "-m", "explstm", *forecast()])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("explstm-forecast/forecast.csv").exists()


def test_ctrl_c_stops_training_quietly_and_leaves_nothing(file):
    interrupt = (
        "import os, signal, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from explstm import pipeline, training\n"
        "train = training._Run._advance\n"
        "def advance(self):\n"
        "    train(self)\n"
        "    if self.step == 3: os.kill(os.getpid(), signal.SIGINT)\n"
        "training._Run._advance = advance"
    )
    arguments = ["sales.csv", "--horizon", "2", "--backend", "torch", "--set", "max_steps=100000"]
    done = run_process("forecast", *arguments, code=interrupt)
    assert done.returncode == 130
    assert done.stderr == "explstm: INTERRUPTED: interrupted.\n"
    assert os.listdir() == ["sales.csv"]

    done = run_process("fit", *arguments, code=interrupt)
    assert done.returncode == 130
    assert "resume" in done.stderr and "Traceback" not in done.stderr
    assert sorted(os.listdir()) == ["explstm-model.checkpoint", "sales.csv"]
    short = [*arguments[:-1], "max_steps=100000"]
    done = run_process("fit", *short, "--resume", code=interrupt.replace("== 3", "== 5"))
    assert done.returncode == 130
    assert "step 5" in done.stderr


def test_being_ended_leaves_nothing(file):
    end = (
        "import os, signal\n"
        "from explstm import pipeline\n"
        "pipeline.new_model = lambda *_: os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = run_process(*forecast("--json"), code=end)
    assert done.returncode == 143
    assert json.loads(done.stdout)["error"]["code"] == "TERMINATED"
    assert os.listdir() == ["sales.csv"]


NO_NETWORK = (
    "import os, socket\nsocket.socket.connect = socket.getaddrinfo = lambda *_, **__: os._exit(99)"
)


def test_it_works_in_ascii_without_home_network_colour_or_wide_terminal(file):
    file.write_text("unique_id,ds,y\n" + "".join(f"Köln,{row}\n" for row in ROWS), "utf-8")
    env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH")}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # ASCII and no more
    env |= {"NO_COLOR": "1", "COLUMNS": "40"}
    done = run_process(*forecast(), code=NO_NETWORK, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii() and "\x1b" not in done.stdout and "\r" not in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["K\\xf6ln", "|", "2025-01-01"] in [row[:3] for row in rows], done.stdout


def test_it_works_without_network_where_home_is_read_only(file):
    env = {**os.environ, "HOME": "/proc"}  # where root can write nothing either
    for name in [name for name in env if name.startswith(("XDG_", "MPL"))]:
        del env[name]
    done = run_process("growth", "sales.csv", "--horizon", "2", code=NO_NETWORK, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("explstm-growth/growth-figure.png").stat().st_size > 1000
    assert sorted(os.listdir()) == ["explstm-growth", "sales.csv"]


def test_the_demo_compares_both_frameworks_and_closes_with_a_sentence(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["demo", "--seeds", "1", *SMALL]) == 0
    shown = capsys.readouterr()
    last = shown.out.splitlines()[-1]
    assert last.startswith("By mean MASE over the 24 held-out steps, the LSTM in torch")
    assert last.endswith(".")
    for name in ("torch", "tensorflow", "SeasonalNaive", "seconds_per_step", "peak_memory_mib"):
        assert name in shown.out
    assert (tmp_path / "explstm-demo" / "predictions.png").exists()


def test_the_module_runs_as_the_command(file):
    done = subprocess.run(
        [sys.executable, "-m", "explstm", "--version"], capture_output=True, text=True
    )
    assert done.stdout == "0.1.0\n"


def test_a_backtest_says_whether_the_model_beats_the_last_value(file, capsys):
    file.write_text("ds,y\n" + "\n".join(f"{step},{100 + step}" for step in range(20)))
    arguments = ["backtest", "sales.csv", "--horizon", "2", "--windows", "3"]
    assert cli.run([*arguments, "--method", "pretrained", "--season-length", "1"]) == 0
    shown = capsys.readouterr().out
    verdict = json.loads(Path("explstm-backtest/verdict.json").read_text())
    assert verdict["verdicts"][0]["method"] == "Pretrained"
    assert shown.rstrip().endswith(verdict["sentence"])
    assert "SeasonalNaive" in shown and "coverage-80" in shown
    cli.run([*arguments, "--method", "pretrained", "--json", "--force"])
    out = json.loads(capsys.readouterr().out)
    assert {row["model"] for row in out["scores"]} >= {"Pretrained", "LogDrift"}
    assert out["judgement"]["verdicts"][0]["method"] == "Pretrained"


def test_a_backtest_of_too_short_a_series_says_so(file, capsys):
    assert cli.run(["backtest", "sales.csv", "--horizon", "2", "--method", "pretrained"]) == 3
    assert "8 windows of 2 steps, 2 apart, take 16" in capsys.readouterr().err
    assert cli.run(["backtest", "sales.csv", "--horizon", "2", "--set", "init=random"]) == 2
    assert "--method Scratch/torch" in capsys.readouterr().err
    assert not Path("explstm-backtest").exists()


def test_an_audit_finds_nothing_in_the_product_and_a_leak_ends_with_an_exit_code(
    file, capsys, monkeypatch
):
    file.write_text("ds,y\n" + "\n".join(f"{step},{100 + step**2}" for step in range(20)))
    arguments = ["audit", "sales.csv", "--horizon", "2", "--windows", "1", "--season-length", "1"]
    assert cli.run(arguments) == 0
    assert "No leak found" in capsys.readouterr().out
    keep = windows.keep_steps

    def keep_scaled_by_all(panel, begin, end):
        past = keep(panel, begin, end)
        return replace(past, y_S=past.y_S / panel.y_S.mean())

    monkeypatch.setattr(windows, "keep_steps", keep_scaled_by_all)
    assert cli.run([*arguments, "--force", "--json"]) == 1
    assert "windows" in json.loads(capsys.readouterr().out)["leaking"]
    assert Path("explstm-audit/audit.csv").exists()


def test_intervals_are_calibrated_where_asked(file, capsys):
    file.write_text("ds,y\n" + "\n".join(f"{step},{100 + step**2 % 7}" for step in range(40)))
    found = {}
    for intervals in ("model", "conformal"):
        arguments = ["forecast", "sales.csv", "--horizon", "2", "--level", "80", "--force"]
        assert cli.run([*arguments, "--intervals", intervals, "--json"]) == 0
        found[intervals] = json.loads(capsys.readouterr().out)["forecast"]
    for own, calibrated in zip(found["model"], found["conformal"], strict=True):
        assert own["ExpLSTM"] == pytest.approx(calibrated["ExpLSTM"], rel=1e-12)
        assert own["ExpLSTM-hi-80"] != pytest.approx(calibrated["ExpLSTM-hi-80"], rel=1e-5)
    assert cli.run(["forecast", "sales.csv", "--horizon", "2", "--intervals", "wide"]) == 2


def test_growth_is_told_in_words_and_kept_as_facts(file, capsys):
    rows = [f"{2000 + step},{100 * 1.02**step:.6f}" for step in range(30)]
    file.write_text("ds,y\n" + "\n".join(rows))
    arguments = ["growth", "sales.csv", "--horizon", "3", "--no-plot"]
    assert cli.run(arguments) == 0
    assert "% per step" in capsys.readouterr().out
    assert cli.run([*arguments, "--json", "--force"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["facts"][0]["recent_rate"] == pytest.approx(0.02, rel=1e-4)
    assert (
        found["sentences"]["series"][0] in Path("explstm-growth/growth-sentences.csv").read_text()
    )


def test_a_report_puts_runs_on_one_page_and_says_what_is_left_out(file, capsys):
    file.write_text("ds,y\n" + "\n".join(f"{step},{100 + step}" for step in range(20)))
    cli.run(["forecast", "sales.csv", "--horizon", "2"])
    assert cli.run(["report", "explstm-forecast"]) == 0
    assert "left out: " in capsys.readouterr().out
    assert "<h1>" in Path("explstm-report/report.html").read_text()
    assert cli.run(["report", "explstm-forecast", "--json", "--force"]) == 0
    assert "Forecast" in json.loads(capsys.readouterr().out)["sections"]
    assert cli.run(["report", ".", "--force"]) == 2
    assert "run folder" in capsys.readouterr().err


def test_a_tuning_shows_its_trials_and_its_verdict(file, capsys):
    file.write_text("ds,y\n" + "\n".join(f"{step},{100 + step**1.5:.4f}" for step in range(40)))
    arguments = ["tune", "sales.csv", "--horizon", "2", "--trials", "2", "--no-plot", "--json"]
    narrowed = ["--set", "max_steps=60", "--space", "batch_size=[32,64]", "--space", "max_steps=60"]
    assert cli.run([*arguments, *narrowed]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [trial["number"] for trial in found["trials"]] == [0, 1]
    assert {trial["batch_size"] for trial in found["trials"]} <= {"32", "64", 32, 64}
    assert found["verdict"] and Path("explstm-tune/model/weights.safetensors").exists()
    assert cli.run([*arguments, "--space", "batch_size"]) == 2
    assert (
        "--space 'batch_size' must be key=value"
        in json.loads(capsys.readouterr().out)["error"]["message"]
    )
