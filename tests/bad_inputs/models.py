"""Lines C1 to C20: saved models."""

import hashlib
import json
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bad_inputs.world import HEADER, World, check, text
from explstm import ExpLSTM, __version__, bundle
from explstm.errors import DataError, ModelFileError
from explstm.storage import dump_json, hold_lock

FIRST = Path(__file__).parents[1] / "fixtures" / "models-0.1.0"
"""What the first release saved, and what it forecast."""
PARTS = ("config.json", "weights.safetensors", "manifest.json")


def saved(world: World, name: str = "model") -> Path:
    """A saved model in the folder."""
    folder = world.folder / name
    ExpLSTM().save(folder)
    return folder


def reseal_manifest(folder: Path, **changes: Any) -> None:
    """Change the manifest so that its own digest holds."""
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_bytes()), **changes}
    manifest.pop("seal", None)
    path.write_bytes(
        dump_json({**manifest, "seal": hashlib.sha256(dump_json(manifest)).hexdigest()})
    )


def reseal(folder: Path, name: str, data: bytes) -> None:
    """Change a file so that the manifest holds."""
    (folder / name).write_bytes(data)
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    reseal_manifest(folder, files=files)


def refuse_model(world: World, folder: Path, code: str, *words: str) -> None:
    """A model is refused in Python and on the command line, which leaves nothing behind."""
    path = world.write(text(HEADER, world.rows()))
    before = sorted(os.listdir(world.folder))
    shown = world.forecast(path, "--model", folder)
    assert shown.exit_code == 4, shown
    assert shown.err.startswith(f"explstm: {code}: ") and "Traceback" not in shown.err, shown.err
    assert all(word in shown.err for word in words), shown.err
    assert sorted(os.listdir(world.folder)) == before
    with pytest.raises(ModelFileError, match=code):
        ExpLSTM.load(folder)


@check("C1")
def no_model(world: World) -> None:
    folder = world.folder / "empty"
    folder.mkdir()
    refuse_model(world, folder, "MODEL_CORRUPT", "manifest.json")
    refuse_model(
        world, world.write("a text", "text"), "MODEL_NOT_A_FOLDER", "text", "no other kind"
    )
    refuse_model(world, world.folder / "nowhere", "MODEL_NOT_FOUND", "nowhere")
    for name in PARTS:
        folder = saved(world, f"without {name}")
        (folder / name).write_bytes(b"")
        refuse_model(world, folder, "MODEL_CORRUPT", name)


@check("C2")
def cut_off(world: World) -> None:
    for name in PARTS:
        for cut in (0.5, None):
            folder = saved(world, f"{name} {cut}")
            data = (folder / name).read_bytes()
            (folder / name).write_bytes(data[: len(data) // 2] if cut else data[:-1])
            refuse_model(world, folder, "MODEL_CORRUPT", name)


@check("C3")
def one_bit(world: World) -> None:
    for name in PARTS:
        folder = saved(world, name)
        data = bytearray((folder / name).read_bytes())
        data[int(world.rng.integers(len(data)))] ^= 1
        (folder / name).write_bytes(bytes(data))
        refuse_model(world, folder, "MODEL_CORRUPT", name)


@check("C4")
def appended(world: World) -> None:
    for name in PARTS[:2]:
        folder = saved(world, name)
        with (folder / name).open("ab") as file:
            file.write(b"x" * 64)
        refuse_model(world, folder, "MODEL_CORRUPT", name)


@check("C6")
def keras_files(world: World) -> None:
    for name in ("model.keras", "model.h5", "model.pt", "model.pkl", "model.npz"):
        refuse_model(world, world.write(world.rng.bytes(500), name), "MODEL_NOT_A_FOLDER", name)
        folder = saved(world, f"of {name}")
        (folder / "weights.safetensors").rename(folder / name)
        refuse_model(world, folder, "MODEL_CORRUPT", "weights.safetensors")


@check("C7")
def other_containers(world: World) -> None:
    for name, magic in (("weights.h5", b"\x89HDF\r\n\x1a\n"), ("weights.zip", b"PK\x03\x04")):
        refuse_model(world, world.write(magic + bytes(200), name), "MODEL_NOT_A_FOLDER")
        folder = saved(world, f"as {name}")
        reseal(folder, "weights.safetensors", magic + bytes(200))
        refuse_model(world, folder, "MODEL_CORRUPT", "is damaged")


@check("C8")
def hostile_header(world: World) -> None:
    entry = '"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    giant = '"w": {"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4398046511104]}'
    for header, size in (
        (b"{}", 2**60),
        (("{" + entry + "," + entry + "}").encode(), None),
        (("{" + giant + "}").encode(), None),
        (b"[" * 100_000, None),
    ):
        folder = saved(world, f"header {len(os.listdir(world.folder))}")
        data = struct.pack("<Q", len(header) if size is None else size) + header + bytes(4)
        reseal(folder, "weights.safetensors", data)
        refuse_model(world, folder, "MODEL_CORRUPT", "weights.safetensors")


@check("C9")
def other_tensors(world: World) -> None:
    weights = dict(bundle.load_pretrained().weights)
    name = sorted(weights)[int(world.rng.integers(len(weights)))]
    for change in (
        {name: weights[name][..., :-1]},
        {name: weights[name].astype(np.float64)},
        {"more": weights[name]},
    ):
        folder = saved(world, f"other {len(os.listdir(world.folder))}")
        data = bundle.dump_tensors({**weights, **change})
        reseal(folder, "weights.safetensors", data)
        refuse_model(world, folder, "MODEL_WEIGHTS", next(iter(change)))


@check("C10")
def no_numbers(world: World) -> None:
    for value in (np.nan, np.inf):
        folder = saved(world, str(value))
        weights = {key: array.copy() for key, array in bundle.load_pretrained().weights.items()}
        name = sorted(weights)[int(world.rng.integers(len(weights)))]
        weights[name].flat[0] = value
        reseal(folder, "weights.safetensors", bundle.dump_tensors(weights))
        refuse_model(world, folder, "MODEL_WEIGHTS", name, "not finite")


@check("C11")
def manifest_altered(world: World) -> None:
    folder = saved(world, "gone")
    (folder / "manifest.json").unlink()
    refuse_model(world, folder, "MODEL_CORRUPT", "manifest.json")
    folder = saved(world, "climbs")
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    reseal_manifest(folder, files={"../config.json": files["config.json"], **files})
    refuse_model(world, folder, "MODEL_CORRUPT", "does not state exactly")
    folder = saved(world, "altered")
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"kind": "model"', b'"kind": "Model"'))
    refuse_model(world, folder, "MODEL_CORRUPT", "was altered")
    folder = saved(world, "linked")
    weights = folder / "weights.safetensors"
    weights.rename(world.folder / "elsewhere")
    weights.symlink_to(world.folder / "elsewhere")
    refuse_model(world, folder, "MODEL_CORRUPT", "plain file")


@check("C12")
def newer_format(world: World) -> None:
    folder = saved(world)
    reseal_manifest(folder, format_version=2, package_version="9.0")
    refuse_model(
        world, folder, "MODEL_NEWER", "format 2", "up to format 1", "'9.0'", __version__, "upgrade"
    )


@check("C13")
def older_version(world: World) -> None:
    for name in ("lstm", "slstm-dense", "elu-keras", "minmax-mae"):
        said = pd.read_csv(FIRST / f"{name}.csv", parse_dates=["ds"])
        out = world.folder / name
        asked = ("--model", FIRST / name, "--horizon", "4", "--out", out)
        shown = world.run("forecast", FIRST / "series.csv", *asked)
        assert shown.exit_code == 0, shown.err
        found = pd.read_csv(out / "forecast.csv", parse_dates=["ds"])
        pd.testing.assert_frame_equal(found, said[list(found)], rtol=1e-6)


@check("C15")
def other_data(world: World) -> None:
    model = ExpLSTM(backend="torch", max_steps=1).fit(
        world.panel(world.write(text(HEADER, world.rows(40)))), h=2
    )
    model.save(world.folder / "model")
    days = [f"a,{np.datetime64('2024-01-01') + i},{y}" for i, y in enumerate(world.values())]
    daily = world.write(text(HEADER, days), "daily.csv")
    shown = world.forecast(daily, "--model", world.folder / "model")
    assert shown.exit_code == 3 and "freq='D'" in shown.err and "freq='MS'" in shown.err, shown
    missing = world.write(text("unique_id,ds,z", world.rows()))
    shown = world.forecast(missing, "--model", world.folder / "model")
    assert shown.exit_code == 3 and "DATA_COLUMN_MISSING" in shown.err, shown
    unknown = world.write(text(HEADER, world.rows(name="never seen")))
    shown = world.forecast(unknown, "--model", world.folder / "model")
    assert shown.exit_code == 0 and "never seen" in shown.out, shown
    with pytest.raises(DataError, match="DATA_FREQUENCY"):
        ExpLSTM.load(world.folder / "model").predict(world.panel(daily))


@check("C16")
def disk_full(world: World) -> None:
    folder = saved(world)
    before = {name: (folder / name).read_bytes() for name in PARTS}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with world.monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(ModelFileError, match=r"MODEL_NOT_SAVED: .*No space left"):
            ExpLSTM(alias="other").save(folder)
    assert {name: (folder / name).read_bytes() for name in PARTS} == before
    assert os.listdir(world.folder) == ["model"]
    with pytest.raises(ModelFileError, match=r"MODEL_NOT_SAVED: .*/proc/model"):
        ExpLSTM().save("/proc/model")  # where nobody may write


@check("C18")
def two_savers(world: World) -> None:
    from explstm.errors import BusyError

    folder = saved(world)
    with hold_lock(folder), pytest.raises(BusyError, match="FOLDER_BUSY") as refused:
        ExpLSTM().save(folder)
    assert refused.value.exit_code == 7
    path = world.write(text(HEADER, world.rows()))
    with hold_lock(world.folder / "run"):
        shown = world.run("forecast", path, "--horizon", "2", "--out", world.folder / "run")
    assert shown.exit_code == 7 and "FOLDER_BUSY" in shown.err, shown


@check("C19")
def replaced_meanwhile(world: World) -> None:
    folder = saved(world)
    path = world.write(text(HEADER, world.rows()))
    model = ExpLSTM.load(folder)
    expected = model.predict(world.panel(path), h=2)
    for name in PARTS:
        (folder / name).write_bytes(b"")
    pd.testing.assert_frame_equal(model.predict(world.panel(path), h=2), expected)


@check("C20")
def open_to_all(world: World) -> None:
    folder = saved(world)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in PARTS} == {0o600}
    folder.chmod(0o777)
    with pytest.warns(UserWarning, match="anyone on this machine may change"):
        ExpLSTM.load(folder)
    shown = world.forecast(world.write(text(HEADER, world.rows())), "--model", folder)
    assert shown.exit_code == 0 and "anyone on this machine may change" in shown.err, shown
