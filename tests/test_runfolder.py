"""Run folders: whole or not at all, and never over something else."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from explstm import datasets
from explstm.errors import BusyError, UsageError
from explstm.reading import read_table
from explstm.runfolder import describe_run, find_run, open_run


def make_run(path: Path, text: str = "first", force: bool = False) -> None:
    with open_run(path, force=force) as run:
        run.write_json("run.json", {"text": text})


def read_text(path: Path) -> str:
    return json.loads((path / "run.json").read_text())["text"]


def test_the_folder_appears_only_when_the_block_has_ended(tmp_path):
    out = tmp_path / "out"
    with open_run(out) as run:
        run.write_json("run.json", {})
        assert not out.exists()
    assert sorted(os.listdir(tmp_path)) == ["out"]
    assert os.listdir(out) == ["run.json"]


def test_a_failure_leaves_the_parent_as_it_was(tmp_path):
    out = tmp_path / "out"
    make_run(out)
    with pytest.raises(ZeroDivisionError), open_run(out, force=True) as run:
        run.write_json("run.json", {"text": "second"})
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["out"]
    assert read_text(out) == "first"


def test_an_existing_run_is_replaced_as_a_whole_and_only_with_force(tmp_path):
    out = tmp_path / "out"
    with open_run(out) as run:
        run.write_json("run.json", {})
        run.write_table("forecast.csv", pd.DataFrame({"y": [1.0]}))
    with pytest.raises(UsageError, match="OUTPUT_EXISTS"):
        make_run(out)
    make_run(out, "second", force=True)
    assert os.listdir(out) == ["run.json"]
    assert os.listdir(tmp_path) == ["out"]


def test_force_never_replaces_what_is_no_run_folder(tmp_path):
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="OUTPUT_FOREIGN"):
        make_run(precious, force=True)
    with pytest.raises(UsageError, match="OUTPUT_FOREIGN"):
        make_run(precious / "thesis.tex", force=True)
    assert (precious / "thesis.tex").read_text() == "years of work"


def test_a_missing_parent_is_named_before_the_work_starts(tmp_path):
    with pytest.raises(UsageError, match="OUTPUT_PARENT_MISSING"):
        make_run(tmp_path / "missing" / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_parent_is_named_before_the_work_starts(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="OUTPUT_UNWRITABLE"):
        make_run(tmp_path / "out")


@pytest.mark.parametrize(
    ("place", "code"),
    [("/", "OUTPUT_FOREIGN"), ("/proc/out", "OUTPUT_UNWRITABLE"), ("o" * 300, "OUTPUT_UNWRITABLE")],
)
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="no /proc here")
def test_a_place_that_cannot_be_is_named_before_the_work_starts(tmp_path, monkeypatch, place, code):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=code):
        make_run(Path(place))
    assert os.listdir() == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fill)
    with (
        pytest.raises(UsageError, match=r"OUTPUT_UNWRITABLE: .*No space left on device"),
        open_run(tmp_path / "out") as run,
    ):
        run.write_table("t.csv", pd.DataFrame({"y": [1.0]}))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_disk_that_a_figure_fills_is_told_and_the_older_run_stays(tmp_path, number):
    make_run(tmp_path / "out")
    with (
        pytest.raises(UsageError, match=rf"OUTPUT_UNWRITABLE: .*{os.strerror(number)}.*with space"),
        open_run(tmp_path / "out", force=True),
    ):
        raise OSError(number, os.strerror(number))
    assert os.listdir(tmp_path) == ["out"] and read_text(tmp_path / "out") == "first"


def test_the_record_lists_every_file_but_those_that_a_manifest_lists(tmp_path):
    def make(name: str) -> bytes:
        with open_run(tmp_path / name) as run:
            run.write_json("run.json", {"text": "first"})
            run.write_table("t.csv", pd.DataFrame({"y": [1]}))
            for folder, file in (("figures", "a.csv"), ("model", "manifest.json")):
                (run.path / folder).mkdir()
                (run.path / folder / file).write_bytes(b"late")  # after the record
        return (tmp_path / name / "run.json").read_bytes()

    record = json.loads(make("out"))
    assert record["text"] == "first"
    assert record["files"] == {
        "t.csv": {"bytes": 4, "sha256": hashlib.sha256(b"y\n1\n").hexdigest()},
        "figures/a.csv": {"bytes": 4, "sha256": hashlib.sha256(b"late").hexdigest()},
    }
    assert make("again") == make("out2")


def test_every_id_comes_back_from_a_table(tmp_path):
    ids = ["a\rb", "a\nb", 'say "x"', " a,b "]
    table = pd.DataFrame({"unique_id": ids, "ds": 1, "y": 1.0})
    with open_run(tmp_path / "out") as run:
        run.write_table("t.csv", table)
    assert read_table(tmp_path / "out" / "t.csv")["unique_id"].tolist() == ids


def test_the_record_names_no_place_of_the_installation():
    file = Path(datasets.__file__).with_name("air_passengers.csv")
    record = describe_run("compare", {"file": file}, file, [1])
    assert record["arguments"] == {"file": "explstm/datasets/air_passengers.csv"}


def test_a_killed_run_is_cleaned_up_and_its_predecessor_kept(tmp_path):
    out = tmp_path / "out"
    code = (
        "import os, sys; from pathlib import Path; from explstm.runfolder import open_run\n"
        "with open_run(Path(sys.argv[1]), force=True) as run:\n"
        "    run.write_json('run.json', {}); os._exit(9)"
    )
    make_run(out)
    assert subprocess.run([sys.executable, "-c", code, str(out)]).returncode == 9
    assert read_text(out) == "first"
    make_run(out, "second", force=True)
    assert os.listdir(tmp_path) == ["out"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    out = tmp_path / "out"
    make_run(out)
    out.rename(tmp_path / ".out.replaced")
    with pytest.raises(ZeroDivisionError), open_run(out, force=True):
        raise ZeroDivisionError
    assert read_text(out) == "first"
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_run_was_made_from_goes_when_it_is_in_its_place(tmp_path, monkeypatch):
    (tmp_path / "checkpoint").write_text("hours")

    def make():
        with open_run(tmp_path / "out") as run:
            run.spent.append((tmp_path / "checkpoint").unlink)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make()
    assert os.listdir(tmp_path) == ["checkpoint"]
    make()
    assert os.listdir(tmp_path) == ["out"]


def test_between_the_two_renames_the_older_run_is_found(tmp_path):
    out = tmp_path / "out"
    make_run(out)
    assert find_run(out) == out
    out.rename(tmp_path / ".out.replaced")
    assert read_text(find_run(out)) == "first"
    assert find_run(Path()) == Path() and find_run(tmp_path / "other") == tmp_path / "other"


def test_a_failure_of_the_last_rename_puts_the_old_run_back(tmp_path, monkeypatch):
    out = tmp_path / "out"
    make_run(out)
    rename = os.rename

    def fail_last(source, target):
        if str(source).endswith(".writing"):
            raise OSError("disk on fire")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_last)
    with pytest.raises(OSError, match="disk on fire"):
        make_run(out, "second", force=True)
    assert read_text(out) == "first"


def test_two_runs_cannot_write_one_folder(tmp_path):
    out = tmp_path / "out"
    with open_run(out) as run:
        with pytest.raises(BusyError):
            make_run(out)
        run.write_json("run.json", {})
    assert os.listdir(out) == ["run.json"]


def test_tables_keep_all_digits_and_json_has_no_nan(tmp_path):
    with open_run(tmp_path / "out") as run:
        run.write_table("t.csv", pd.DataFrame({"unique_id": ["007"], "y": [0.1 + 0.2]}))
        run.write_json("m.json", {"MASE": float("nan"), "deep": [{"x": float("inf")}], "ok": 1.5})
    assert (tmp_path / "out" / "t.csv").read_text() == "unique_id,y\n007,0.30000000000000004\n"
    facts = json.loads((tmp_path / "out" / "m.json").read_text())
    assert facts == {"MASE": None, "deep": [{"x": None}], "ok": 1.5}


def test_the_record_names_data_versions_seeds_and_arguments(tmp_path):
    data = tmp_path / "sales.csv"
    data.write_bytes(b"ds,y\n2024-01-01,1\n")
    record = describe_run("forecast", {"horizon": 3, "file": data, "level": (80,)}, data, [7])
    assert record["data"] == {
        "file": "sales.csv",
        "bytes": 18,
        "sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
    }
    assert record["arguments"] == {"horizon": 3, "file": str(data), "level": [80]}
    assert record["seeds"] == [7]
    assert {"explstm", "python", "numpy", "pandas", "safetensors"} <= set(record["versions"])
    assert record == describe_run(
        "forecast", {"horizon": 3, "file": data, "level": (80,)}, data, [7]
    )
