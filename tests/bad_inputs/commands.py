"""Lines D, F and I, as far as they need no process of their own: commands, tuning, concurrency."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

import explstm
from bad_inputs.world import HEADER, World, check, text
from explstm import ExpLSTM, search, study_storage
from explstm.datasets import download
from explstm.errors import TrainingError, UsageError
from toy_study import open_toy, run_toy
from toy_tuning import SPACE, H, make_toy, toy_model


@check("D1")
def no_arguments(world: World) -> None:
    shown = world.run()
    assert shown.exit_code == 2 and "Usage: explstm" in shown.out + shown.err
    for arguments, words in (
        (("--colour",), "No such option: --colour"),
        (("forecast", "--nothing"), "No such option: --nothing"),
        (("foresee",), "No such command 'foresee'"),
        (("forecast",), "Missing argument"),
    ):
        world.refuse_arguments("USAGE", words, arguments=arguments)


@check("D2")
def output_exists(world: World) -> None:
    path, out = world.write(text(HEADER, world.rows())), world.folder / "run"
    asked = ("forecast", path, "--horizon", "2", "--out", out)
    assert world.run(*asked).exit_code == 0
    before = (out / "forecast.csv").read_bytes()
    world.refuse_arguments("OUTPUT_EXISTS", "--force", arguments=asked)
    assert (out / "forecast.csv").read_bytes() == before
    assert world.run(*asked, "--force").exit_code == 0
    (world.folder / "mine").mkdir()
    (world.folder / "mine" / "letter.txt").write_text("dear")
    foreign = ("forecast", path, "--horizon", "2", "--out", world.folder / "mine", "--force")
    world.refuse_arguments("OUTPUT_FOREIGN", "never replaced", arguments=foreign)
    assert (world.folder / "mine" / "letter.txt").read_text() == "dear"


@check("D3")
def output_unwritable(world: World) -> None:
    path = world.write(text(HEADER, world.rows()))
    with world.monkeypatch.context() as patched:
        patched.setattr(ExpLSTM, "predict", lambda *_, **__: pytest.fail("forecast before"))
        patched.setattr(ExpLSTM, "fit", lambda *_, **__: pytest.fail("trained before"))
        for out, code in (
            (world.folder / "no" / "where", "OUTPUT_PARENT_MISSING"),
            (Path("/proc/run"), "OUTPUT_UNWRITABLE"),
            (path / "run", "OUTPUT_PARENT_MISSING"),
        ):
            asked = ("--horizon", "2", "--out", out)
            world.refuse_arguments(code, str(out), arguments=("forecast", path, *asked))
            fit = ("fit", path, "--backend", "torch", *asked)
            world.refuse_arguments(code, str(out), arguments=fit)


@check("D9")
def odd_names(world: World) -> None:
    data = text(HEADER, world.rows())
    for name in ("two words.csv", "数据.csv", "a\nb.csv", "-x.csv", "a\x1b[2Jb.csv"):
        path = world.write(data, name)
        assert world.forecast(path).exit_code == 0, name
        world.write("a,b\n1,2\n", name)
        shown = world.forecast(path)
        assert shown.exit_code == 3 and shown.err.count("\n") == 1 and "\x1b" not in shown.err
    world.write(data, "-x.csv")
    with world.monkeypatch.context() as patched:
        patched.chdir(world.folder)
        shown = world.run("forecast", "--horizon", "2", "--out", "dash", "--", "-x.csv")
    assert shown.exit_code == 0, shown


@check("D10")
def commands_of_a_terminal(world: World) -> None:
    name = "\x1b[2J\x1b]0;x\x07a"
    path = world.write(text(HEADER, world.rows(name=name)))
    shown = world.forecast(path)
    assert shown.exit_code == 0 and "\x1b" not in shown.out and "x1b[2J" in shown.out
    world.write(text(HEADER, [*world.rows(1, name), "a,2022-01-01,x"]))
    shown = world.forecast(path)
    assert shown.exit_code == 3 and "\x1b" not in shown.err
    kept = world.post(text(HEADER, world.rows(name=name)).encode()).json()["forecast"]["unique_id"]
    assert kept[0] == name  # JSON escapes it, and tells it whole


@check("D11")
def standard_input(world: World) -> None:
    with world.monkeypatch.context() as patched:
        patched.chdir(world.folder)
        world.refuse_path("-", "DATA_PATH", "'-'")
    reader, writer = os.pipe()
    try:
        world.refuse_path(f"/dev/fd/{reader}", "DATA_PATH", "is not a regular file")
    finally:
        os.close(reader)
        os.close(writer)


@check("D12")
def clock_set_back(world: World) -> None:
    path = world.write(text(HEADER, world.rows()))
    expected = ExpLSTM().predict(world.panel(path), h=2)
    clock = iter(range(10**9, 0, -(10**6)))
    with world.monkeypatch.context() as patched:
        patched.setattr("time.time", lambda: float(next(clock)))
        pd.testing.assert_frame_equal(ExpLSTM().predict(world.panel(path), h=2), expected)
        judged = ("backtest", path, "--horizon", "2", "--windows", "2", "--method", "Pretrained")
        shown = world.run(*judged, "--out", world.folder / "judged")
        assert shown.exit_code == 0, shown
    assert (pd.read_csv(world.folder / "judged" / "seconds.csv")["seconds"] >= 0).all()
    uses = [
        path.relative_to(Path(explstm.__file__).parent).as_posix()
        for path in Path(explstm.__file__).parent.rglob("*.py")
        if "time.time()" in path.read_text()
    ]
    service = {"server/jobs/keeping.py", "server/jobs/workers.py"}
    assert set(uses) <= service, "the clock only dates what the service did"


@check("F4")
def all_trials_fail(world: World) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise TrainingError("TRAINING_DIVERGED", "training diverged at step 1")

    with world.monkeypatch.context() as patched:
        patched.setattr(search, "train_and_score", diverge)
        found = toy_model().tune(make_toy(), H, n_trials=3, space=SPACE).tuning_
        assert not found.improved and "No trial came to an end" in found.verdict
        assert set(found.trials["state"]) == {"failed"}
        assert set(found.trials["reason"]) == {"TRAINING_DIVERGED: training diverged at step 1"}
        patched.setattr(ExpLSTM, "fit", diverge)
        with pytest.raises(TrainingError, match="TRAINING_DIVERGED") as refused:
            toy_model().tune(make_toy(), H, n_trials=3, space=SPACE)
    assert refused.value.exit_code == 5


@check("F6")
def garbage_in_a_study(world: World) -> None:
    path = world.folder / "tune.db"
    run_toy(path, 2)
    sound = path.read_bytes()
    for share in (0.0, 0.25, 0.5, 0.75):
        damaged, at = bytearray(sound), int(share * len(sound))
        damaged[at : at + 1500] = world.rng.bytes(1500)
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"STUDY_UNREADABLE: .*tune\.db is no study"):
            run_toy(path, 3)
        assert path.read_bytes() == damaged
    path.write_bytes(sound)
    run_toy(path, 3)


@check("F10")
def other_number_of_workers(world: World) -> None:
    assert world
    page = Path(__file__).parents[2] / "docs" / "how-to" / "tune.md"
    said = " ".join(page.read_text(encoding="utf-8").split())
    assert "One process tries the same trials again with the same `--seed`." in said
    assert "with another number of workers the trials differ" in said


@check("F9")
def storage_locked(world: World) -> None:
    path = world.folder / "tune.db"
    with open_toy(path):
        pass
    before = path.read_bytes()
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with world.monkeypatch.context() as patched:
            patched.setattr(study_storage, "BUSY_SECONDS", 0.1)
            locked = pytest.raises(UsageError, match=r"STUDY_UNREADABLE: .*tune\.db .*locked")
            with locked, open_toy(path):
                pass
    finally:
        other.close()
    assert path.read_bytes()[100:] == before[100:]
    data = world.write(text(HEADER, world.rows()))
    asked = ("tune", data, "--horizon", "2", "--storage", "mysql://host/db")
    world.refuse_arguments("STUDY_STORAGE", "mysql://", "sqlite:///", arguments=asked)


@check("I2")
def threads(world: World) -> None:
    model = ExpLSTM()
    panels = [world.panel(world.write(text(HEADER, world.rows(20 + i)))) for i in range(8)]
    alone = [model.predict(panel, h=3, level=[80]) for panel in panels]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            together = pool.map(lambda panel: model.predict(panel, h=3, level=[80]), panels)
            for one, other in zip(together, alone, strict=True):
                pd.testing.assert_frame_equal(one, other)


@check("I3")
def no_fork(world: World) -> None:
    assert world
    source = {path: path.read_text() for path in Path(explstm.__file__).parent.rglob("*.py")}
    for path, code in source.items():
        assert "os.fork(" not in code and 'get_context("fork' not in code, path
        if "from ray.train import get_context" not in code:  # which is no context of processes
            made = code.count("get_context(")
            assert made == code.count('get_context("spawn")'), path
        for word in ("multiprocessing.Process(", "multiprocessing.Pool(", "ProcessPoolExecutor()"):
            assert word not in code, path


@check("I9")
def two_first_starts(world: World) -> None:
    data, path = world.rng.bytes(100_000), world.folder / "cache" / "file"

    def provide(_: int) -> bytes:
        return download.provide_file("https://example.org/file", path, bytes, "get it")

    with world.monkeypatch.context() as patched:
        patched.setattr(download, "_download", lambda *_: data)
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(provide, range(16))) == {data}
    assert os.listdir(path.parent) == ["file"] and path.read_bytes() == data
