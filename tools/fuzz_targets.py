"""What is fuzzed: bytes of a stranger, as CSV, as a saved model, and as configuration.

Contract: whatever the bytes, a target returns, or what it calls raises an :class:`ExpLSTMError`,
which is caught here. Anything else is a finding: another exception, a table that the quick reader
and the exact one read differently, a forecast that is not finite.
"""

import struct
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from explstm import ExpLSTM, reading
from explstm.bundle import CONFIG, WEIGHTS, load_bundle
from explstm.calendar import parse_freq
from explstm.config import TrainingConfig
from explstm.errors import ExpLSTMError
from explstm.frame import build_panel
from explstm.models.spec import ModelSpec
from explstm.options import parse_settings
from explstm.pretrain import read_config
from explstm.storage import MANIFEST, parse_json, write_sealed
from explstm.tensors import load_tensors

SEPARATORS = (None, ",", ";", "\t", "|")
ENCODINGS = ("utf-8", "latin-1", "utf-16", "cp1252", "utf-8-sig")
FORMATS = (None, "%d.%m.%Y", "%Y%m", "%b %Y")
FILLS = ("error", "interpolate", "forward")
LARGEST_PANEL = 100_000
"""Steps of a panel; one missing year of seconds would take the time of a thousand inputs."""
HISTORY = pd.DataFrame(
    {"ds": range(12), "y": [1.0, 2, 4, 8, 16, 30, 60, 130, 250, 500, 1000, 2000]}
)


def read_csv(data: bytes) -> None:
    """One byte of options, then a table, to a panel."""
    if not data:
        return
    how, data = data[0], data[1:]
    options = {
        "sep": SEPARATORS[how % 5],
        "decimal": ",."[how // 5 % 2],
        "encoding": ENCODINGS[how // 10 % 5 if how >= 128 else 0],
        "date_format": FORMATS[how // 64],
    }
    quick, exact = (_parse(data, options, exactly) for exactly in (False, True))
    if isinstance(quick, pd.DataFrame) and isinstance(exact, pd.DataFrame):
        pd.testing.assert_frame_equal(quick, exact, check_categorical=False)
    elif type(quick) is not type(exact) or quick.code != exact.code:
        raise AssertionError(f"the quick reader says {quick}, the exact one {exact}")
    if isinstance(quick, pd.DataFrame) and len(quick) < LARGEST_PANEL:
        with suppress(ExpLSTMError):
            panel = build_panel(quick, fill=FILLS[how % 3])
            assert panel.n_series > 0


def _parse(data: bytes, options: dict, exactly: bool) -> pd.DataFrame | ExpLSTMError:
    quick = reading.split_fast
    if exactly:
        reading.split_fast = lambda *_: None
    try:
        return reading.parse_table(data, "fuzz.csv", **options)
    except ExpLSTMError as error:
        return error
    finally:
        reading.split_fast = quick


def load_model(data: bytes) -> None:
    """One byte that says what the rest is: JSON, tensors, a manifest, or files under a seal."""
    if not data:
        return
    how, data = data[0] % 4, data[1:]
    with suppress(ExpLSTMError):
        if how == 0:
            parse_json(data, "fuzz.json")
        elif how == 1:
            for array in load_tensors(data, "fuzz.safetensors").values():
                assert array.nbytes <= len(data)
        else:
            _load_folder(data, sealed=how == 2)


def _load_folder(data: bytes, sealed: bool) -> None:
    """The length of the configuration, the configuration, the weights; or any manifest to them."""
    length = struct.unpack("<H", data[:2].ljust(2, b"\0"))[0]
    files = {CONFIG: data[2 : 2 + length], WEIGHTS: data[2 + length :]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        if sealed:
            write_sealed(path, files, {"kind": "model", "data_fingerprint": ""})
        else:
            path.mkdir(mode=0o700)
            (path / MANIFEST).write_bytes(data)
            (path / CONFIG).write_bytes(b"{}")
            (path / WEIGHTS).write_bytes(b"")
        load_bundle(path)
        model = ExpLSTM.load(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = model.predict(HISTORY, h=2)
        assert np.isfinite(table[model.alias].to_numpy()).all(), "a forecast that is not finite"


def read_settings(data: bytes) -> None:
    """One byte that says what the rest is: --set, JSON of a training or network, TOML, a freq."""
    if not data:
        return
    how, data = data[0] % 5, data[1:]
    text = data.decode("utf-8", "replace")
    with suppress(ExpLSTMError):
        if how == 0:
            parse_settings(text.split("\n"))
        elif how in (1, 2):
            (TrainingConfig, ModelSpec)[how - 1](**parse_json(data, "fuzz.json"))
        elif how == 3:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "config.toml").write_bytes(data)
                read_config(Path(folder, "config.toml"))
        else:
            parse_freq(text)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "csv": read_csv,
    "model": load_model,
    "configuration": read_settings,
}
