"""Saved models of the first release, and of strangers: loaded alike, or refused in a sentence."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explstm import ExpLSTM
from explstm.errors import ModelFileError
from explstm.storage import write_sealed

FIRST = Path(__file__).with_name("fixtures") / "models-0.1.0"
NAMES = ("lstm", "slstm-dense", "elu-keras", "minmax-mae")
FILES = ("config.json", "weights.safetensors", "manifest.json")


@pytest.fixture(scope="module")
def series():
    return pd.read_csv(FIRST / "series.csv", parse_dates=["ds"])


@pytest.mark.parametrize("backend", ["numpy", "torch", "tensorflow"])
@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_first_release_forecasts_what_it_did_then(name, backend, series):
    if backend != "numpy":
        pytest.importorskip(backend)
    expected = pd.read_csv(FIRST / f"{name}.csv", parse_dates=["ds"])
    level = [80] if "ExpLSTM-lo-80" in expected else None
    found = ExpLSTM.load(FIRST / name, backend).predict(series, h=4, level=level)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6 if backend == "numpy" else 1e-5)


def test_the_models_of_the_first_release_are_as_that_release_wrote_them():
    for name in NAMES:
        manifest = json.loads((FIRST / name / "manifest.json").read_text())
        assert (manifest["package_version"], manifest["format_version"]) == ("0.1.0", 1)


@pytest.mark.parametrize("name", FILES)
def test_a_file_swapped_with_that_of_another_model_is_noticed(tmp_path, name):
    shutil.copytree(FIRST / "lstm", tmp_path / "m")
    shutil.copy(FIRST / "elu-keras" / name, tmp_path / "m" / name)  # its sizes are the same
    with pytest.raises(ModelFileError, match=r"SHA-256 in its manifest|its manifest says"):
        ExpLSTM.load(tmp_path / "m")


@pytest.mark.parametrize("keep", [0, 1, 7, 0.5, -1])
@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_off_anywhere_is_noticed(tmp_path, name, keep):
    shutil.copytree(FIRST / "lstm", tmp_path / "m")
    data = (tmp_path / "m" / name).read_bytes()
    kept = data[: int(keep * len(data)) if keep == 0.5 else keep]
    # Without the line end after it, JSON says the same.
    kept = kept[:-1] if kept == data[:-1] and name == "manifest.json" else kept
    (tmp_path / "m" / name).write_bytes(kept)
    with pytest.raises(ModelFileError, match="MODEL_CORRUPT"):
        ExpLSTM.load(tmp_path / "m")


# ------------------------------------------------------------------------ values of a stranger

CONFIG = json.loads((FIRST / "lstm" / "config.json").read_text())
WEIGHTS = (FIRST / "lstm" / "weights.safetensors").read_bytes()


def with_spec(**changes):
    return json.dumps({**CONFIG, "spec": {**CONFIG["spec"], **changes}}).encode()


def with_settings(**changes):
    return json.dumps({**CONFIG, "settings": {**CONFIG["settings"], **changes}}).encode()


def with_header(**entries):
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header


def with_parameters(**changes):
    return with_settings(parameters={**CONFIG["settings"]["parameters"], **changes})


def fill_weights(value):
    start = 8 + int.from_bytes(WEIGHTS[:8], "little")
    return WEIGHTS[:start] + np.full((len(WEIGHTS) - start) // 4, value, "<f4").tobytes()


HOSTILE = {
    "a layer of a billion": (with_spec(hidden_sizes=[10**9]), WEIGHTS),
    "the largest layers there can be": (with_spec(hidden_sizes=[4096] * 16), WEIGHTS),
    "a hundred thousand layers": (with_spec(hidden_sizes=[4] * 100_000), WEIGHTS),
    "a horizon of a billion": (with_spec(horizon=10**9), WEIGHTS),
    "a quantile for every series": (with_spec(quantiles=[0.1] * 100_000), WEIGHTS),
    "a size that is no number": (with_spec(hidden_sizes=["four"]), WEIGHTS),
    "a number of 400 digits": (with_spec(horizon=10**400), WEIGHTS),
    "a field of a later version": (with_spec(attention=True), WEIGHTS),
    "a window of a billion": (with_parameters(window=10**12), WEIGHTS),
    "a window beyond all integers": (with_parameters(window=10**30), WEIGHTS),
    "a name that cannot be written": (with_parameters(alias="\ud800"), WEIGHTS),
    "a season of a billion": (with_settings(season_length=[10**12]), WEIGHTS),
    "a frequency that is none": (with_settings(freq="__import__('os')"), WEIGHTS),
    "a horizon below one": (with_settings(horizon=-5), WEIGHTS),
    "a curve that is none": (with_parameters(growth="exec"), WEIGHTS),
    "settings of another": (json.dumps({**CONFIG, "settings": []}).encode(), WEIGHTS),
    "JSON too deep for Python": (b'{"spec":' + b"[" * 200_000 + b"]" * 200_000 + b"}", WEIGHTS),
    "JSON of a megabyte": (b'{"spec": "' + b"x" * (1 << 20) + b'"}', WEIGHTS),
    "a tensor beyond the file": (
        with_spec(),
        with_header(a={"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}),
    ),
    "a tensor of nothing": (
        with_spec(),
        with_header(a={"dtype": "F32", "shape": [0, 10**18], "data_offsets": [0, 0]}),
    ),
    "a header without end": (with_spec(), struct.pack("<Q", 2**63) + b"{}"),
    "weights that are no numbers": (with_spec(), fill_weights(np.nan)),
    "weights without bound": (with_spec(), fill_weights(np.inf)),
    "weights near the largest number": (with_spec(), fill_weights(3e38)),
}
HARMLESS = {"a window of a billion"}  # more steps than there are are never looked at
LOAD_ALL = """
import resource, sys, warnings
from pathlib import Path
import pandas as pd
from explstm import ExpLSTM
from explstm.errors import ExpLSTMError

series = pd.read_csv(sys.argv[2], parse_dates=["ds"])
ExpLSTM().predict(series, h=4)  # all is imported that will be
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
warnings.simplefilter("ignore")
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        forecast = ExpLSTM.load(path).predict(series, h=4)
        print(path.name, "gives", forecast["ExpLSTM"].abs().lt(float("inf")).all())
    except ExpLSTMError as error:
        print(path.name, "refused:", error)
print("MiB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited as on Linux")
def test_hostile_values_are_refused_in_a_sentence_within_bounded_memory(tmp_path):
    for name, (config, weights) in HOSTILE.items():
        files = {"config.json": config, "weights.safetensors": weights}
        write_sealed(tmp_path / name, files, {"kind": "model", "data_fingerprint": ""})
    command = [sys.executable, "-c", LOAD_ALL, str(tmp_path), str(FIRST / "series.csv")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *lines, memory = done.stdout.splitlines()
    said = {name: line for line in lines for name in HOSTILE if line.startswith(f"{name} ")}
    assert len(lines) == len(said) == len(HOSTILE)
    for name, line in said.items():
        assert ("gives True" if name in HARMLESS else "refused:") in line, line
        assert len(line) < 700, line
    assert int(memory.split()[1]) < 64
