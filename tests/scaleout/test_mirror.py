"""Checkpoints at a URL, here in memory: the newest ones, whole or passed over."""

import uuid
import warnings

import numpy as np
import pytest

from explstm.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from explstm.errors import ExpLSTMError, ModelFileError, UsageError

fsspec = pytest.importorskip("fsspec")

from explstm.scaleout.mirror import Mirror, is_url, show_place  # noqa: E402


def save(folder, step):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"weights": {"w": np.full(3, step, np.float32)}}
    save_checkpoint(folder, Checkpoint(step, {"n": 1}, tensors, {"is": "same"}, {}))


@pytest.fixture
def mirror():
    return Mirror(f"memory://{uuid.uuid4().hex}/run")


def names(mirror, part=""):
    fs = fsspec.filesystem("memory")
    root = mirror.shown.removeprefix("memory:/")
    return sorted(path.rsplit("/", 1)[1] for path in fs.ls(f"{root}/{part}".rstrip("/"), False))


def test_what_is_a_url():
    assert is_url("s3://bucket/run") and not is_url("runs/one") and not is_url("/runs/one")


@pytest.mark.parametrize("part", ["", "trial"])
def test_the_two_newest_checkpoints_come_back(mirror, tmp_path, part):
    assert not mirror.holds_any()
    here, there = tmp_path / "here", tmp_path / "there"
    for step in (5, 10, 15):
        save(here / part, step)
        mirror.push(here / part, here)
    assert names(mirror, part) == ["step-00000010", "step-00000015"] and mirror.holds_any()
    mirror.fetch(there)
    found = load_checkpoint(there / part)
    assert found.step == 15 and found.tensors["weights"]["w"].tolist() == [15, 15, 15]
    mirror.clear()
    assert not mirror.holds_any()


def test_who_lags_behind_removes_nothing_newer(mirror, tmp_path):
    for step in (10, 15):
        save(tmp_path / "new", step)
        mirror.push(tmp_path / "new", tmp_path / "new")
    save(tmp_path / "old", 5)
    mirror.push(tmp_path / "old", tmp_path / "old")
    assert names(mirror) == ["step-00000010", "step-00000015"]


def test_a_checkpoint_that_did_not_arrive_whole_is_passed_over(mirror, tmp_path):
    for step in (5, 10):
        save(tmp_path / "here", step)
        mirror.push(tmp_path / "here", tmp_path / "here")
    fs = fsspec.filesystem("memory")
    root = mirror.shown.removeprefix("memory:/")
    fs.rm(f"{root}/step-00000010/manifest.json")
    mirror.fetch(tmp_path / "there")
    with pytest.warns(UserWarning, match="checkpoint passed over"):
        assert load_checkpoint(tmp_path / "there").step == 5


def test_other_files_there_stay(mirror, tmp_path):
    fs = fsspec.filesystem("memory")
    root = mirror.shown.removeprefix("memory:/")
    fs.pipe(f"{root}/notes.txt", b"mine")
    fs.pipe(f"{root}/step-not/notes.txt", b"mine")
    save(tmp_path, 5)
    mirror.push(tmp_path, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mirror.fetch(tmp_path / "there")
    mirror.clear()
    assert names(mirror) == ["notes.txt", "step-not"]


@pytest.mark.parametrize("user", ["me:hunter2@", "me:hunt/er2@", ""])
def test_what_a_url_holds_of_secrets_is_not_told(user):
    url = f"nonsense://{user}host/run" + ("" if user else "?token=hunter2")
    assert show_place(url) == "nonsense://host/run"
    with pytest.raises(ExpLSTMError) as refused:
        Mirror(url)
    assert "er2" not in str(refused.value)


def test_a_place_that_cannot_be_used_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"CHECKPOINT_URL: nonsense://there cannot be used"):
        Mirror("nonsense://there")
    file = tmp_path / "file"
    file.write_text("")
    save(tmp_path / "here", 5)
    with pytest.raises(ModelFileError, match=r"CHECKPOINT_URL: .* cannot be read or written"):
        Mirror(f"file://{file}/run").push(tmp_path / "here", tmp_path / "here")
