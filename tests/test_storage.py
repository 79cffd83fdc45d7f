"""Sealed folders: whole under every kill, and never trusted."""

import contextlib
import json
import os
import shutil
import threading

import pytest

from explstm import storage
from explstm.errors import BusyError, ModelFileError
from explstm.storage import hold_lock, parse_json, read_sealed, replace_file, write_sealed
from kills import KilledError, kill_at

OLD = {"a.txt": b"old a", "b.txt": b"old b"}
NEW = {"a.txt": b"new a, longer", "b.txt": b"new b"}


def read(path, names=("a.txt", "b.txt")):
    return read_sealed(path, names, lambda sealed: {n: sealed.read(n, 100) for n in names})


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def count_calls(monkeypatch, path):
    with monkeypatch.context() as patch:
        calls = kill_at(patch, 10**6)
        write_sealed(path, NEW, {})
    return next(calls)


def test_what_is_written_is_read(tmp_path):
    write_sealed(tmp_path / "deep" / "m", OLD, {"kind": "test"})
    assert read(tmp_path / "deep" / "m") == OLD
    write_sealed(tmp_path / "deep" / "m", NEW, {"kind": "test"})
    assert read(tmp_path / "deep" / "m") == NEW
    assert leftovers(tmp_path / "deep") == []


def test_only_the_owner_may_look(tmp_path):
    write_sealed(tmp_path / "m", OLD, {})
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "m").iterdir()} == {0o600}


@pytest.mark.parametrize("exists", [False, True])
def test_a_kill_at_any_call_leaves_the_old_or_the_new_version(tmp_path, monkeypatch, exists):
    def prepare(name):
        if exists:
            write_sealed(tmp_path / name, OLD, {})
        return tmp_path / name

    n_calls = count_calls(monkeypatch, prepare("counted"))
    assert n_calls > 15
    seen = set()
    for n in range(n_calls):
        path = prepare(f"m{n}")
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            kill_at(patch, n)
            write_sealed(path, NEW, {})
        if exists or path.exists():
            found = read(path)
            assert found in (OLD, NEW)
            seen.add(found["a.txt"])
        write_sealed(path, NEW, {})
        assert read(path) == NEW
    assert seen == ({b"old a", b"new a, longer"} if exists else {b"new a, longer"})
    assert leftovers(tmp_path) == []


def test_a_save_killed_after_a_killed_save_still_leaves_a_version(tmp_path, monkeypatch):
    write_sealed(tmp_path / "counted", OLD, {})
    n_calls = count_calls(monkeypatch, tmp_path / "counted")
    for n in range(n_calls):
        write_sealed(tmp_path / "m", OLD, {})
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            kill_at(patch, n)
            write_sealed(tmp_path / "m", NEW, {})
        if not (tmp_path / "m").exists():
            break
    assert leftovers(tmp_path) == [".m.lock", ".m.previous", ".m.saving"]
    for path in tmp_path.glob(".m.*"):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / f"copy{path.name[2:]}")
    for n in range(n_calls + 10):
        for role in ("previous", "saving"):
            shutil.copytree(tmp_path / f"copy.{role}", tmp_path / f".k{n}.{role}")
        with monkeypatch.context() as patch, contextlib.suppress(KilledError):
            kill_at(patch, n)
            write_sealed(tmp_path / f"k{n}", NEW, {})
        assert read(tmp_path / f"k{n}") in (OLD, NEW)


def test_a_folder_replaced_while_it_is_read_is_read_again(tmp_path):
    write_sealed(tmp_path / "m", OLD, {})
    seen = []

    def parse(sealed):
        seen.append(sealed.read("a.txt", 100))
        if len(seen) == 1:
            # Twice, so that the new folder may get the number of the old one.
            write_sealed(tmp_path / "m", NEW, {})
            write_sealed(tmp_path / "m", NEW, {})
        return sealed.read("a.txt", 100), sealed.manifest["files"]["b.txt"]["bytes"]

    assert read_sealed(tmp_path / "m", OLD, parse) == (NEW["a.txt"], len(NEW["b.txt"]))
    assert seen == [OLD["a.txt"], NEW["a.txt"]]


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_at_any_call_keeps_what_stood_there(tmp_path, monkeypatch, exists):
    path = tmp_path / "m"
    for name in ("fsync", "rename"):
        for n in range(8):
            if exists:
                write_sealed(path, OLD, {})
            calls = iter(range(100))
            original = getattr(os, name)

            def fail_once(*args, calls=calls, n=n, original=original):
                if next(calls) == n:
                    raise OSError(28, "No space left on device")
                return original(*args)

            with monkeypatch.context() as patch:
                patch.setattr(storage.os, name, fail_once)
                try:
                    write_sealed(path, NEW, {})
                except ModelFileError as error:
                    assert error.code == "MODEL_NOT_SAVED"
                    assert "No space left" in error.message
                    if exists:
                        assert read(path) in (OLD, NEW)
            write_sealed(path, NEW, {})
            assert leftovers(tmp_path) == []


def test_two_savers_do_not_meet(tmp_path):
    with hold_lock(tmp_path / "m"):
        with pytest.raises(BusyError) as caught:
            write_sealed(tmp_path / "m", OLD, {})
        assert caught.value.exit_code == 7
    write_sealed(tmp_path / "m", OLD, {})
    assert read(tmp_path / "m") == OLD


def test_many_savers_and_readers_at_once_see_whole_versions(tmp_path):
    path = tmp_path / "m"
    write_sealed(path, OLD, {})
    problems = []

    def save():
        for _ in range(20):
            try:
                write_sealed(path, NEW, {})
            except BusyError:
                continue
            except BaseException as error:
                problems.append(error)

    threads = [threading.Thread(target=save) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        try:
            assert read(path) in (OLD, NEW)
        except BusyError:
            continue
    assert problems == []


@pytest.mark.parametrize("name", ["notes.txt", "sub"])
def test_a_folder_with_anything_else_in_it_is_never_replaced(tmp_path, name):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / name).mkdir()
    with pytest.raises(ModelFileError, match=name):
        write_sealed(tmp_path / "thesis", OLD, {})
    assert (tmp_path / "thesis" / name).exists()
    assert leftovers(tmp_path) == []


def test_a_file_is_never_replaced(tmp_path):
    (tmp_path / "m").write_text("mine")
    with pytest.raises(ModelFileError, match="save to a new folder"):
        write_sealed(tmp_path / "m", OLD, {})
    assert (tmp_path / "m").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "m").mkdir()
    write_sealed(tmp_path / "m", OLD, {})
    assert read(tmp_path / "m") == OLD


def test_a_link_to_a_folder_is_followed_but_none_inside(tmp_path):
    write_sealed(tmp_path / "v1", OLD, {})
    (tmp_path / "current").symlink_to("v1")
    assert read(tmp_path / "current") == OLD
    write_sealed(tmp_path / "current", NEW, {})
    assert read(tmp_path / "v1") == NEW
    (tmp_path / "outside").write_bytes(NEW["b.txt"])
    (tmp_path / "v1" / "b.txt").unlink()
    (tmp_path / "v1" / "b.txt").symlink_to(tmp_path / "outside")
    with pytest.raises(ModelFileError, match=r"b\.txt cannot be opened as a plain file"):
        read(tmp_path / "v1")


def test_a_pipe_is_not_waited_for(tmp_path):
    write_sealed(tmp_path / "m", OLD, {})
    (tmp_path / "m" / "a.txt").unlink()
    os.mkfifo(tmp_path / "m" / "a.txt")
    with pytest.raises(ModelFileError, match="not a plain file"):
        read(tmp_path / "m")


def test_a_file_above_its_limit_is_not_read(tmp_path):
    write_sealed(tmp_path / "m", {"a.txt": b"x" * 101, "b.txt": b""}, {})
    with pytest.raises(ModelFileError, match="at most 100 bytes"):
        read(tmp_path / "m")


@pytest.mark.parametrize("name", ["a.txt", "b.txt", "manifest.json"])
def test_every_flipped_bit_and_every_other_length_is_noticed(tmp_path, name):
    write_sealed(tmp_path / "m", OLD, {"kind": "test"})
    path = tmp_path / "m" / name
    sound = path.read_bytes()
    damaged = [sound[:-1], sound + b"\0", b"", sound[: len(sound) // 2]]
    for position in range(0, len(sound), 1 + len(sound) // 200):
        for bit in (1, 128):
            flipped = bytearray(sound)
            flipped[position] ^= bit
            damaged.append(bytes(flipped))
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(ModelFileError):
            read(tmp_path / "m")
    path.write_bytes(sound)
    assert read(tmp_path / "m") == OLD


def rewrite_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    manifest.update(changes)
    del manifest["seal"]
    manifest["seal"] = storage._seal(manifest)
    (path / "manifest.json").write_bytes(storage.dump_json(manifest))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"format_version": 2, "package_version": "9.9"},
            "MODEL_NEWER",
            "written by explstm '9.9'",
        ),
        ({"format_version": 0}, "MODEL_CORRUPT", "altered"),
        ({"format_version": True}, "MODEL_CORRUPT", "altered"),
        ({"format_version": "1"}, "MODEL_CORRUPT", "altered"),
        ({"files": {"../a.txt": {"bytes": 5, "sha256": ""}}}, "MODEL_CORRUPT", "does not state"),
        ({"files": []}, "MODEL_CORRUPT", "does not state"),
        ({"files": {"a.txt": 5, "b.txt": 5}}, "MODEL_CORRUPT", "does not state"),
        (
            {"files": {n: {"bytes": "5", "sha256": ""} for n in OLD}},
            "MODEL_CORRUPT",
            "does not state",
        ),
    ],
)
def test_a_resealed_but_wrong_manifest_is_refused(tmp_path, changes, code, words):
    write_sealed(tmp_path / "m", OLD, {})
    rewrite_manifest(tmp_path / "m", **changes)
    with pytest.raises(ModelFileError, match=words) as caught:
        read(tmp_path / "m")
    assert caught.value.code == code


def test_a_missing_folder_and_a_file_are_told_apart(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        read(tmp_path / "m")
    (tmp_path / "model.pt").write_bytes(b"\x80\x04")
    with pytest.raises(ModelFileError, match="no other kind of file is ever loaded"):
        read(tmp_path / "model.pt")


def test_a_folder_that_anyone_may_change_is_warned_of(tmp_path):
    write_sealed(tmp_path / "m", OLD, {})
    (tmp_path / "m").chmod(0o777)
    with pytest.warns(UserWarning, match="anyone on this machine may change"):
        read(tmp_path / "m")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1]",
        b"nul",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"a": ' + b"[" * 400_000 + b"]" * 400_000 + b"}",
        b'{"a": ' + b"1" * 10_000 + b"}",
        b'{"a": "' + b"x" * (1 << 20) + b'"}',
    ],
    ids=lambda data: repr(data[:20]),
)
def test_json_from_a_stranger_is_refused(data):
    with pytest.raises(ModelFileError) as caught:
        parse_json(data, "config.json")
    assert caught.value.code == "MODEL_CORRUPT"


def test_json_of_modest_depth_is_read():
    data = b'{"a": ' + b"[" * 30 + b"]" * 30 + b"}"
    assert set(parse_json(data, "config.json")) == {"a"}


# -------------------------------------------------------------------------------- single files


def test_a_file_that_another_is_writing_is_not_touched(tmp_path, monkeypatch):
    path = tmp_path / "f"
    begun, go_on, failures = threading.Event(), threading.Event(), []

    def wait_and_sync(descriptor):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            assert go_on.wait(60)
        fsync(descriptor)

    def write():
        try:
            replace_file(path, b"first, and long")
        except BaseException as error:
            failures.append(error)

    fsync = os.fsync
    monkeypatch.setattr(storage.os, "fsync", wait_and_sync)
    first = threading.Thread(target=write)
    first.start()
    try:
        assert begun.wait(60)
        with pytest.raises(BusyError, match="is being written by another"):
            replace_file(path, b"second")
        assert not path.exists()
    finally:
        go_on.set()
        first.join()
    assert failures == [] and path.read_bytes() == b"first, and long"
    replace_file(path, b"second")
    assert path.read_bytes() == b"second" and leftovers(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes of a name")
def test_only_a_regular_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("pipe", "folder", "loop"):
        with pytest.raises(FileExistsError, match="no regular file"):
            replace_file(tmp_path / name, b"x")
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "folder", "loop"}
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for data in (b"old", b"new"):
        replace_file(tmp_path / "link", data)
        assert (tmp_path / "file").read_bytes() == data and (tmp_path / "link").is_symlink()
