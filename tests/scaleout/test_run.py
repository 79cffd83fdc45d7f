"""Forecasts in parts: the same as in one piece, whatever the files; the bad set aside."""

import json
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explstm import ExpLSTM, __version__
from explstm.errors import BusyError, DataError, UsageError
from explstm.storage import hold_lock
from kills import KilledError, kill_at
from part_data import (
    LEVEL,
    N_STEPS,
    H,
    cut_rows,
    make_bad_series,
    make_series,
    read_bytes,
    read_forecasts,
    write_files,
)

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from explstm import scaleout  # noqa: E402
from explstm.scaleout import crew, cutting, parts, plan, rows, run  # noqa: E402
from explstm.scaleout.engines import do_task  # noqa: E402


class HereEngine:
    """Does tasks in this process, one after the other."""

    workers = 1

    def start(self, work, task):
        self.done = object(), do_task(__version__, work, task)
        return self.done[0]

    def wait(self, seconds):
        return [self.done]


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """Spawned processes take seconds to start; those are tested in test_kills."""

    @contextmanager
    def open_here(workers):
        yield HereEngine()

    monkeypatch.setattr(crew, "open_local", open_here)


def forecast(data: Path, out: Path, **options) -> scaleout.Batch:
    return scaleout.forecast(data, out, H, LEVEL, **{"rows_per_part": 400, **options})


def dead_letters(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "dead-letters.parquet")


# ------------------------------------------------------------------------------ the same forecasts


def test_forecasts_are_those_of_the_whole_table(tmp_path):
    df = make_series(50)
    batch = forecast(write_files(tmp_path / "data", cut_rows(df, 3)), tmp_path / "out")
    pd.testing.assert_frame_equal(
        read_forecasts(tmp_path / "out"),
        ExpLSTM().predict(df, H, LEVEL).astype({"ds": "datetime64[us]"}),
        rtol=1e-6,
    )
    assert (batch.n_series, batch.n_rows, batch.n_parts) == (50, 50 * H, 5)  # 2,000 rows by 400
    assert batch.freq == "MS" and batch.set_aside == {} and len(dead_letters(tmp_path / "out")) == 0
    assert sorted(os.listdir(tmp_path / "out")) == [
        "dead-letters.parquet", "forecast", "manifest.json", "ran.csv",
    ]  # fmt: skip
    names = [set(pd.read_parquet(path)["unique_id"]) for path in batch.forecasts.iterdir()]
    assert sum(map(len, names)) == len(set.union(*names)) == 50


def shuffle(df: pd.DataFrame) -> pd.DataFrame:
    return df.sample(frac=1, random_state=1)


LAYOUTS = {
    "one file": lambda folder, df: write_files(folder, [df]),
    "many files": lambda folder, df: write_files(folder, cut_rows(df, 13)),
    "shuffled rows": lambda folder, df: write_files(folder, cut_rows(shuffle(df), 4)),
    "a file a month": lambda folder, df: write_files(folder, (t for _, t in df.groupby("ds"))),
    "small row groups": lambda folder, df: write_files(folder, [df], row_group_size=70),
    "dictionaries": lambda folder, df: write_files(
        folder, [t.astype({"unique_id": "category"}) for t in cut_rows(df, 2)]
    ),
    "nanoseconds": lambda folder, df: write_files(
        folder, [df.assign(ds=df["ds"].astype("M8[ns]"))]
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_the_files_does_not_matter(tmp_path, layout, monkeypatch):
    monkeypatch.setattr(cutting, "ROWS_PER_ROUND", 150)
    df = make_series(20)
    forecast(write_files(tmp_path / "plain", [df]), tmp_path / "one")
    monkeypatch.setattr(plan, "ROWS_PER_CUT", 500)
    forecast(LAYOUTS[layout](tmp_path / "data", df), tmp_path / "other")
    one, other = read_bytes(tmp_path / "one"), read_bytes(tmp_path / "other")
    del one["manifest.json"], other["manifest.json"]
    assert one == other and len(one) == 3


def test_folders_can_name_series_and_dates(tmp_path):
    df = make_series(4).assign(ds=lambda t: t["ds"].dt.strftime("%Y-%m-%d"))
    for (series, date), day in df.groupby(["unique_id", "ds"]):
        write_files(tmp_path / "data" / f"unique_id={series}" / f"ds={date}", [day[["y"]]])
    forecast(tmp_path / "data", tmp_path / "out")
    found = read_forecasts(tmp_path / "out")
    expected = ExpLSTM().predict(df, H, LEVEL)
    assert found["ds"].tolist() == [date.isoformat() for date in expected["ds"]]  # text stays text
    np.testing.assert_allclose(found.iloc[:, 2:], expected.iloc[:, 2:], rtol=1e-6)
    assert found["unique_id"].tolist() == expected["unique_id"].tolist()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ids", lambda df: df.assign(unique_id=df["unique_id"].str[1:].astype("int32") * 97)),
        ("dates", lambda df: df.assign(ds=np.tile(np.arange(N_STEPS), len(df) // N_STEPS))),
        ("zone", lambda df: df.assign(ds=df["ds"].dt.tz_localize("Europe/Berlin"))),
        ("values", lambda df: df.assign(y=df["y"].round().astype("int64"))),
        ("text", lambda df: df.assign(y=df["y"].round(2).astype(str))),
        ("names", lambda df: df.set_axis(["shop", "day", "sales"], axis=1)),
    ],
)
def test_types_and_names_go_through(tmp_path, name, change):
    df = change(make_series(12))
    names = dict(zip(("id_col", "time_col", "target_col"), df.columns, strict=True))
    forecast(write_files(tmp_path / "data", cut_rows(df, 2)), tmp_path / "out", **names)
    expected = ExpLSTM().predict(df, H, LEVEL, **names).sort_values([*df.columns[:2]])
    found = pd.read_parquet(tmp_path / "out" / "forecast").sort_values([*df.columns[:2]])
    for column, kind in zip(df.columns[:2], ("ids", "dates"), strict=True):
        assert found[column].tolist() == expected[column].tolist()
        if kind == name:
            assert found[column].dtype == np.int64
    np.testing.assert_allclose(found.iloc[:, 2:], expected.iloc[:, 2:], rtol=1e-6)


def test_an_option_reaches_the_model(tmp_path):
    df = make_series(6)
    data = write_files(tmp_path / "data", [df.drop(df.index[5])])  # one gap
    batch = forecast(data, tmp_path / "out", fill="interpolate", season_length=1)
    assert batch.n_series == 6
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [part["findings"] for part in manifest["parts"]] == [{"GAPS_FILLED": 1}]
    expected = ExpLSTM(season_length=1).predict(df.drop(df.index[5]), H, fill="interpolate")
    found = read_forecasts(tmp_path / "out")["ExpLSTM"]
    np.testing.assert_allclose(found, expected["ExpLSTM"], rtol=1e-6)


def test_a_saved_model_forecasts(tmp_path):
    df = make_series(6)
    ExpLSTM(alias="Mine").save(tmp_path / "model")
    data = write_files(tmp_path / "data", [df])
    forecast(data, tmp_path / "out", model=tmp_path / "model")
    assert list(read_forecasts(tmp_path / "out"))[2:] == ["Mine", "Mine-lo-80", "Mine-hi-80"]
    ExpLSTM(alias="Other").save(tmp_path / "model")
    with pytest.raises(UsageError, match="its seal is"):
        forecast(data, tmp_path / "out", model=tmp_path / "model")


# ---------------------------------------------------------------------------------- the bad ones


def test_a_hundred_bad_series_are_set_aside_and_the_rest_is_complete(tmp_path):
    good, bad = make_series(200), make_bad_series(102)
    files = cut_rows(shuffle(pd.concat([good, bad])), 5)
    batch = forecast(write_files(tmp_path / "data", files), tmp_path / "out", rows_per_part=4000)
    assert batch.n_series == 200 and batch.set_aside == {
        "DATA_GAP": 17, "DATA_DUPLICATE": 17, "DATA_TRAILING_MISSING": 17, "DATA_INFINITE": 17,
        "DATA_IRREGULAR": 17, "DATA_ALL_MISSING": 17,
    }  # fmt: skip
    found = read_forecasts(tmp_path / "out")
    expected = ExpLSTM().predict(good, H, LEVEL)
    np.testing.assert_allclose(found.iloc[:, 2:], expected.iloc[:, 2:], rtol=1e-6)
    letters = dead_letters(tmp_path / "out").set_index("unique_id")
    assert set(letters.index) == set(bad["unique_id"])
    for name, series in bad.groupby("unique_id"):
        with pytest.raises(DataError) as raised:
            ExpLSTM(freq="MS").predict(series.sort_values(["ds", "y"]), H)
        assert letters.loc[name, "message"] == raised.value.message
        holds = [f"file-{i:03d}.parquet" for i, t in enumerate(files) if name in set(t.unique_id)]
        assert letters.loc[name, "file"] == holds[0]


def test_a_forecast_beyond_float64_is_set_aside(tmp_path):
    df = make_series(9)
    wild = df["unique_id"] == "s0004"
    df.loc[wild, "y"] = 10.0 ** np.linspace(0, 300, N_STEPS)
    batch = forecast(write_files(tmp_path / "data", [df]), tmp_path / "out")
    assert batch.n_series == 8
    assert dead_letters(tmp_path / "out")["unique_id"].tolist() == ["s0004"]


def test_bad_files_are_set_aside_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "ROWS_PER_CUT", 10**6)  # all in one cut
    good = make_series(40)
    data = write_files(tmp_path / "data", cut_rows(good, 4))
    other = make_series(5, "other")
    pq.write_table(
        pa.Table.from_pandas(make_series(50, "flipped")),
        data / "flipped.parquet", compression="none", write_page_checksum=True, row_group_size=400,
    )  # fmt: skip
    flipped = bytearray((data / "flipped.parquet").read_bytes())
    flipped[3 * len(flipped) // 4] ^= 1  # in a late row group
    (data / "flipped.parquet").write_bytes(flipped)
    other.to_parquet(data / "truncated.parquet")
    os.truncate(data / "truncated.parquet", 2000)
    (data / "empty.parquet").touch()
    (data / "words.txt").write_text("no Parquet at all")
    other.astype({"y": str}).to_parquet(data / "text.parquet")
    other.drop(columns="y").to_parquet(data / "less.parquet")
    other.assign(y=True).to_parquet(data / "flags.parquet")
    other.assign(unique_id=7).to_parquet(data / "numbers.parquet")
    other.iloc[:0].to_parquet(data / "no-rows.parquet")
    os.mkfifo(data / "pipe.parquet")
    os.symlink(data / "nowhere", data / "link.parquet")
    os.symlink(tmp_path, data / "round")
    (data / "_SUCCESS").touch()
    nameless = make_series(1, "known")
    pd.concat([nameless, nameless.assign(unique_id=None)]).to_parquet(data / "nameless.parquet")
    batch = forecast(data, tmp_path / "out")
    letters = dead_letters(tmp_path / "out").set_index("file")
    assert letters["code"].to_dict() == {
        "empty.parquet": "DATA_CORRUPT", "flags.parquet": "DATA_COLUMN_TYPE",
        "flipped.parquet": "DATA_CORRUPT", "less.parquet": "DATA_COLUMN_MISSING",
        "link.parquet": "DATA_PATH", "nameless.parquet": "DATA_BAD_ID",
        "numbers.parquet": "DATA_OTHER_SCHEMA", "pipe.parquet": "DATA_PATH", "round": "DATA_PATH",
        "text.parquet": "DATA_OTHER_SCHEMA", "truncated.parquet": "DATA_CORRUPT",
        "words.txt": "DATA_CORRUPT",
    }  # fmt: skip
    assert "40 rows have no id" in letters.loc["nameless.parquet", "message"]
    assert "its values are text, and those of most files numbers" in letters["message"].str.cat()
    assert letters["unique_id"].isna().all() and batch.n_series == 41
    assert set(read_forecasts(tmp_path / "out")["unique_id"]) == {*good["unique_id"], "known0000"}


def test_a_series_that_is_too_long_is_set_aside_without_being_read(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_SERIES", 60)
    monkeypatch.setattr(parts, "LONGEST_SERIES", 60)
    monkeypatch.setattr(cutting, "ROWS_PER_ROUND", 50)
    good, long = make_series(9), make_series(3, "long")
    again = long.assign(unique_id="long0001", ds=long["ds"] + pd.DateOffset(years=10))
    data = write_files(tmp_path / "data", [good, long, again])
    batch = forecast(data, tmp_path / "out")
    assert (batch.n_series, batch.set_aside) == (11, {"DATA_TOO_LONG": 1})
    [letter] = dead_letters(tmp_path / "out").to_dict("records")
    assert (letter["unique_id"], letter["file"]) == ("long0001", "file-001.parquet")
    assert "'long0001' has 160 rows, more than 60" in letter["message"]


def test_one_missing_date_among_integers_costs_one_series(tmp_path):
    df = make_series(9).assign(ds=np.tile(np.arange(N_STEPS), 9)).astype({"ds": "Int64"})
    df.loc[50, "ds"] = pd.NA
    batch = forecast(write_files(tmp_path / "data", [df]), tmp_path / "out")
    assert (batch.n_series, batch.set_aside) == (8, {"DATA_DATE_MISSING": 1})


def test_the_frequency_is_that_of_most_series_and_others_are_set_aside(tmp_path):
    days = make_series(3, "daily").assign(
        ds=np.tile(pd.date_range("2020-01-01", periods=N_STEPS), 3)
    )
    data = write_files(tmp_path / "data", [days, make_series(9), make_series(1, "a").head(1)])
    batch = forecast(data, tmp_path / "out")
    assert batch.freq == "MS" and batch.n_series == 10
    assert set(dead_letters(tmp_path / "out")["unique_id"]) == {f"daily{i:04d}" for i in range(3)}
    batch = forecast(data, tmp_path / "daily", freq="D")
    assert batch.freq == "D" and batch.n_series == 4


# ----------------------------------------------------------------------------- what is refused


def test_data_that_cannot_be_used_at_all_are_refused(tmp_path):
    data = write_files(
        tmp_path / "data", [t.head(1) for _, t in make_series(3).groupby("unique_id")]
    )
    with pytest.raises(DataError, match=r"FREQ_UNKNOWN: no series tells the frequency.*Pass freq"):
        forecast(data, tmp_path / "out")
    assert forecast(data, tmp_path / "monthly", freq="MS").n_series == 3
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.csv").write_text("unique_id,ds,y\n")
    with pytest.raises(DataError, match=r"DATA_CORRUPT: file 'a.csv' cannot be used"):
        forecast(tmp_path / "text", tmp_path / "none")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match=r"DATA_EMPTY: .*holds no files"):
        forecast(tmp_path / "void", tmp_path / "none")
    with pytest.raises(DataError, match=r"DATA_PATH: .*neither a file nor a folder"):
        forecast(tmp_path / "s3:" / "bucket", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_file_that_changes_meanwhile_ends_the_run(tmp_path, monkeypatch):
    data = write_files(tmp_path / "data", cut_rows(make_series(20), 2))
    begin_run = run.begin_run

    def change_and_begin(*of, **options):
        make_series(9).to_parquet(data / "file-001.parquet")
        return begin_run(*of, **options)

    monkeypatch.setattr(run, "begin_run", change_and_begin)
    with pytest.raises(DataError, match=r"DATA_CHANGED: 'file-001.parquet' has changed"):
        forecast(data, tmp_path / "out")
    with pytest.raises(UsageError, match=r"input 'file-001.parquet' is changed"):
        forecast(data, tmp_path / "out")


def test_a_series_belongs_to_one_part_everywhere_and_always():
    # The check value of CRC-32 (ISO 3309) is 0xCBF43926, that is 3,421,780,262.
    ids = pa.array(["123456789", "other", "123456789"])
    assert cutting._part_of(ids, 1000)[[0, 2]].tolist() == [262, 262]
    assert cutting._part_of(pa.array([123456789]), 1000).tolist() == [262]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"workers": 0}, "WORKERS_RANGE"),
        ({"engine": "spark"}, "CONFIG_VALUE"),
        ({"address": "10.0.0.1:6379"}, "CONFIG_CONFLICT"),
        ({"fill": "zero"}, "CONFIG_VALUE"),
        ({"freq": "fortnight"}, "FREQ"),
        ({"rows_per_part": 0}, "CONFIG_VALUE"),
        ({"id_col": "ds"}, "CONFIG_CONFLICT"),
        ({"season_length": 0}, "SEASON_LENGTH"),
    ],
)
def test_options_are_checked_before_anything_is_written(tmp_path, options, code):
    data = write_files(tmp_path / "data", [make_series(1)])
    with pytest.raises(UsageError, match=code):
        forecast(data, tmp_path / "out", **options)
    assert os.listdir(tmp_path) == ["data"]


def test_a_finished_run_is_left_as_it_is(tmp_path):
    data = write_files(tmp_path / "data", [make_series(20)])
    first = forecast(data, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = forecast(data, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times
    assert (first.n_before, again.n_before, again.n_series) == (0, 2, first.n_series)
    part = next(first.forecasts.iterdir())
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(UsageError, match=rf"OUTPUT_CHANGED: .*{part.name} is not what"):
        forecast(data, tmp_path / "out")


def test_another_run_is_thrown_away_only_with_force(tmp_path):
    data = write_files(tmp_path / "data", [make_series(20)])
    forecast(data, tmp_path / "out")
    before = read_bytes(tmp_path / "out")
    with pytest.raises(UsageError, match=r"OUTPUT_EXISTS: .*its fill is 'error', and now 'f"):
        forecast(data, tmp_path / "out", fill="forward")
    write_files(data, [make_series(21)])
    with pytest.raises(UsageError, match=r"input 'file-000.parquet' is changed"):
        forecast(data, tmp_path / "out")
    assert read_bytes(tmp_path / "out") == before
    assert forecast(data, tmp_path / "out", force=True, rows_per_part=10**6).n_series == 21
    assert os.listdir(tmp_path / "out" / "forecast") == ["part-000000.parquet"]


def test_a_place_that_is_taken_or_busy_is_refused(tmp_path):
    data = write_files(tmp_path / "data", [make_series(2)])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(UsageError, match="OUTPUT_FOREIGN"):
            forecast(data, tmp_path / "mine", force=force)
    assert os.listdir(tmp_path / "mine") == ["thesis.txt"]
    ExpLSTM().save(tmp_path / "model")  # has a manifest as well
    for force in (False, True):
        with pytest.raises(UsageError, match="OUTPUT_FOREIGN"):
            forecast(data, tmp_path / "model", force=force)
    ExpLSTM.load(tmp_path / "model")
    with pytest.raises(UsageError, match="OUTPUT_PARENT_MISSING"):
        forecast(data, tmp_path / "not" / "there")
    with pytest.raises(UsageError, match="OUTPUT_IN_DATA"):
        forecast(data, data / "out")
    with hold_lock(tmp_path / "out"), pytest.raises(BusyError, match="FOLDER_BUSY"):
        forecast(data, tmp_path / "out")
    if os.path.isdir("/proc"):
        with pytest.raises(UsageError, match="OUTPUT_UNWRITABLE"):
            forecast(data, Path("/proc/out"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused_before_the_work(tmp_path):
    data = write_files(tmp_path / "data", [make_series(2)])
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="OUTPUT_UNWRITABLE"):
        forecast(data, tmp_path / "locked" / "out")


# ------------------------------------------------------------------------------- interruptions


CHANGES = ("mkdir", "replace", "unlink", "rmdir")


def test_a_kill_at_any_change_is_gone_on_with_and_no_half_run_calls_itself_complete(
    tmp_path, monkeypatch
):
    data, out = write_files(tmp_path / "data", [make_series(2)]), tmp_path / "out"
    whole = []
    for fill in ("error", "forward"):
        forecast(data, out, fill=fill, force=True, rows_per_part=40)
        whole.append(read_bytes(out))
    with monkeypatch.context() as patch:
        calls = kill_at(patch, 10**6, CHANGES)
        forecast(data, out, force=True, rows_per_part=40)
        n_calls = next(calls)
    assert n_calls > 20
    for n in range(n_calls):
        shutil.rmtree(out)
        if n % 2:  # another run stands there
            forecast(data, out, fill="forward", rows_per_part=40)
        with monkeypatch.context() as patch, suppress(KilledError):
            kill_at(patch, n, CHANGES)
            forecast(data, out, force=True, rows_per_part=40)
        manifest = out / "manifest.json"
        if manifest.exists() and json.loads(manifest.read_bytes())["complete"]:
            left = {k: v for k, v in read_bytes(out).items() if not k.startswith("work-")}
            assert left in whole
        forecast(data, out, force=True, rows_per_part=40)
        assert read_bytes(out) == whole[0]


class StopError(Exception):
    pass


def interrupt(data: Path, out: Path, done: int) -> None:
    """Begin a run, and break off after so many parts."""

    def stop(now: scaleout.Progress) -> None:
        if now.stage == "forecasting" and now.done == done:
            raise StopError

    with pytest.raises(StopError):
        forecast(data, out, on_progress=stop)


def test_finished_parts_are_not_computed_again_and_a_damaged_one_is(tmp_path):
    df = pd.concat([make_series(40), make_bad_series(5)])
    data = write_files(tmp_path / "data", cut_rows(df, 3))
    forecast(data, tmp_path / "whole")
    interrupt(data, tmp_path / "out", 3)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["complete"] is False and len(list((tmp_path / "out").glob("work-*"))) == 1
    done = sorted((tmp_path / "out" / "forecast").iterdir())
    assert len(done) == 3
    damaged = bytearray(done[0].read_bytes())
    damaged[100] ^= 1
    done[0].write_bytes(damaged)
    kept = [path.stat().st_mtime_ns for path in done[1:]]
    batch = forecast(data, tmp_path / "out")
    assert batch.n_before == 2
    assert [path.stat().st_mtime_ns for path in done[1:]] == kept
    assert read_bytes(tmp_path / "out") == read_bytes(tmp_path / "whole")


def test_a_process_of_a_run_that_was_thrown_away_can_put_nothing_in_place(tmp_path, monkeypatch):
    data = write_files(tmp_path / "data", [make_series(20)])
    tasks = []
    with monkeypatch.context() as patch:
        patch.setattr(run, "forecast_part", lambda task: tasks.append(task) or 1 / 0)
        with pytest.raises(RuntimeError):
            forecast(data, tmp_path / "out")

    def forecast_more(out):
        scaleout.forecast(data, out, H + 1, rows_per_part=400, force=True)

    other_run = iter([lambda: forecast_more(tmp_path / "out")])

    def list_findings(_):  # another run comes and goes while the first process still computes
        next(other_run, lambda: None)()
        return []

    monkeypatch.setattr(parts, "_list_findings", list_findings)
    with pytest.raises(FileNotFoundError):
        parts.forecast_part(tasks[0])
    forecast_more(tmp_path / "alone")
    assert read_bytes(tmp_path / "out") == read_bytes(tmp_path / "alone")


class LateEngine:
    """Does two tasks at once, and notes those that are given up."""

    workers = 2

    def __init__(self):
        self.busy, self.given_up = [], []

    def start(self, work, task):
        self.busy.append(task)
        return task

    def wait(self, seconds):
        return [(done := self.busy.pop(0), done)]

    def abandon(self, name):
        self.given_up.append(name)


def test_who_watches_ends_the_tasks_while_their_engine_is_there():
    engine = LateEngine()

    def stop(now):
        if now.done:
            raise StopError

    with pytest.raises(StopError) as held:  # what is held keeps generators from being collected
        list(run._Driver(engine, 60, stop)._do("reading", str, [1, 2, 3]))
    assert engine.given_up == [2] and held


def test_every_task_says_where_it_ran(tmp_path):
    data = write_files(tmp_path / "data", [make_series(20)])
    forecast(data, tmp_path / "out")
    ran = pd.read_csv(tmp_path / "out" / "ran.csv")
    assert ran["task"].tolist() == ["cut-000000", "part-000000", "part-000001"]
    assert (ran["process"] == os.getpid()).all() and (ran["peak_mib"] > 10).all()
    assert ran["host"].tolist() == [os.uname().nodename] * 3 and (ran["seconds"] >= 0).all()
