"""The corpus of the fuzzer, run through without it; ``python tools/fuzz.py`` goes on from there."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
sys.path.insert(0, str(TOOLS))
import fuzz_targets  # noqa: E402

import fuzz  # noqa: E402

CORPUS = Path(__file__).with_name("fuzz") / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus_is_read_or_refused(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short series are warned of
        fuzz_targets.TARGETS[path.parent.name](path.read_bytes())


def test_the_corpus_is_small_and_holds_sound_files_of_every_kind():
    assert {path.parent.name for path in INPUTS} == set(fuzz_targets.TARGETS)
    assert len(INPUTS) < 200 and sum(path.stat().st_size for path in INPUTS) < 100_000


@pytest.mark.parametrize("name", ["lstm", "slstm"])
def test_a_target_of_models_goes_as_far_as_a_forecast(name, monkeypatch):
    seen = []
    monkeypatch.setattr(fuzz_targets.ExpLSTM, "predict", lambda *_, **__: seen.append(1))
    with pytest.raises(TypeError):  # what stands in gives no table
        fuzz_targets.load_model((CORPUS / "model" / name).read_bytes())
    assert seen == [1]


def test_a_target_tells_what_is_no_error_of_ours(monkeypatch):
    def fail(*_, **__):
        raise KeyError("y")

    monkeypatch.setattr(fuzz_targets.reading, "parse_table", fail)
    with pytest.raises(KeyError):
        fuzz_targets.read_csv(b"\0ds,y\n1,1\n")


@pytest.mark.parametrize(("seconds", "each"), [(1, 1), (2, 1), (60, 20)])
def test_fuzzing_has_an_end(tmp_path, monkeypatch, seconds, each):
    asked = []
    monkeypatch.setattr(fuzz.subprocess, "call", lambda command: asked.append(command) or 0)
    monkeypatch.setattr(
        sys, "argv", ["fuzz", "--seconds", str(seconds), "--findings", str(tmp_path / "found")]
    )
    assert fuzz.main() == 0
    assert len(asked) == 3 and all(f"-max_total_time={each}" in command for command in asked)


@pytest.mark.parametrize("flags", [[], ["--keep"]])
def test_new_inputs_of_a_target_go_into_a_folder_of_its_own(tmp_path, monkeypatch, flags):
    taken = {}

    def call(command):
        folders = [Path(part) for part in command[4:] if not part.startswith("-")]
        taken[command[3]] = folders
        assert all(folder.is_dir() for folder in folders)
        return 0

    monkeypatch.setattr(fuzz.subprocess, "call", call)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--findings", str(tmp_path / "found"), *flags])
    assert fuzz.main() == 0
    assert len({folders[0] for folders in taken.values()}) == len(fuzz.NAMES)
    for name, folders in taken.items():
        assert folders[-1] == fuzz.CORPUS / name and len(folders) == (1 if flags else 2)


@pytest.mark.parametrize("seconds", ["0", "-1"])
def test_fuzzing_for_no_time_is_refused(monkeypatch, capsys, seconds):
    monkeypatch.setattr(fuzz.subprocess, "call", lambda _: pytest.fail("it was begun"))
    monkeypatch.setattr(sys, "argv", ["fuzz", "--seconds", seconds])
    with pytest.raises(SystemExit, match="2"):
        fuzz.main()
    assert "at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_a_few_seconds_of_fuzzing_find_nothing(tmp_path):
    pytest.importorskip("atheris")
    command = [sys.executable, str(TOOLS / "fuzz.py"), "--seconds", "3", "--findings"]
    done = subprocess.run([*command, str(tmp_path / "found")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (tmp_path / "found").exists()
    assert done.stderr.count("stat::number_of_executed_units") == 3
