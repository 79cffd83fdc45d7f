"""Saved models: whole, checked, and the same in every engine."""

import json
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from explstm import storage
from explstm.bundle import load_bundle, save_bundle
from explstm.errors import ExpLSTMError, ModelFileError
from explstm.models.engine import make_engine
from explstm.models.spec import ModelSpec, init_weights
from explstm.tensors import dump_tensors

SPEC = ModelSpec(n_features=3, hidden_sizes=(4,), horizon=2, quantiles=(0.1, 0.5, 0.9))
WEIGHTS = init_weights(SPEC, 1)
CONFIG = {"growth": "auto", "season_length": [12], "alias": "Ümläut"}


def save(path, weights=WEIGHTS):
    save_bundle(path, SPEC, weights, CONFIG, data_fingerprint="3 series")


def reseal(path, name, data):
    """What an attacker can do: change a file and make the manifest agree."""
    files = {n: (path / n).read_bytes() for n in ("config.json", "weights.safetensors")}
    storage.write_sealed(path, {**files, name: data}, {"kind": "model", "data_fingerprint": ""})


def test_a_model_survives(tmp_path):
    save(tmp_path / "m")
    bundle = load_bundle(tmp_path / "m")
    assert bundle.spec == SPEC
    assert bundle.config == CONFIG
    assert bundle.manifest["data_fingerprint"] == "3 series"
    assert set(bundle.weights) == set(WEIGHTS)
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(bundle.weights[name], array, strict=True)
    files = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert files == ["config.json", "manifest.json", "weights.safetensors"]


def test_equal_models_give_equal_bytes(tmp_path):
    save(tmp_path / "a")
    time.sleep(0.01)
    save(tmp_path / "b", dict(reversed(WEIGHTS.items())))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("backend", ["numpy", "torch", "tensorflow"])
def test_a_model_saved_by_any_engine_forecasts_the_same_in_numpy(tmp_path, backend, rng):
    engine = make_engine(backend, SPEC, WEIGHTS)
    features_BTF = rng.normal(size=(2, 5, 3)).astype(np.float32)
    expected = engine.predict_last(features_BTF, np.array([5, 3]))
    save(tmp_path / "m", engine.dump_weights())
    loaded = load_bundle(tmp_path / "m")
    found = make_engine("numpy", loaded.spec, loaded.weights)
    np.testing.assert_allclose(
        found.predict_last(features_BTF, np.array([5, 3])), expected, atol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("head/bias"), "head/bias"),
        (lambda w: w.update(extra=np.zeros(1, np.float32)), "extra"),
        (lambda w: w.update({"head/bias": np.zeros(7, np.float32)}), "head/bias"),
        (lambda w: w.update({"head/bias": w["head/bias"].astype(np.float64)}), "float64"),
        (lambda w: w.update({"head/bias": w["head/bias"] * np.nan}), "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, words):
    save(tmp_path / "m")
    weights = dict(WEIGHTS)
    change(weights)
    reseal(tmp_path / "m", "weights.safetensors", dump_tensors(weights))
    with pytest.raises(ModelFileError, match=words) as caught:
        load_bundle(tmp_path / "m")
    assert caught.value.exit_code == 4


def test_weights_far_beyond_the_network_are_not_even_read(tmp_path):
    save(tmp_path / "m")
    reseal(tmp_path / "m", "weights.safetensors", bytes(2 << 20))
    with pytest.raises(ModelFileError, match="plain file of at most"):
        load_bundle(tmp_path / "m")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "'spec' and 'settings'"),
        (b'{"spec": [], "settings": {}}', "'spec' and 'settings'"),
        (b'{"spec": {"n_features": 3, "depth": 9}, "settings": {}}', "depth"),
        (b'{"spec": {"n_features": 1e9}, "settings": {}}', "n_features"),
        (b'{"spec": {"n_features": 3, "cell": "xlstm"}, "settings": {}}', "cell"),
        (b"cos\nsystem\n(S'true'\ntR.", "not valid JSON"),
    ],
)
def test_a_config_that_describes_no_network_is_refused(tmp_path, content, words):
    save(tmp_path / "m")
    reseal(tmp_path / "m", "config.json", content)
    with pytest.raises(ModelFileError, match=words):
        load_bundle(tmp_path / "m")


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors", "manifest.json"])
def test_nothing_is_ever_unpickled(tmp_path, name):
    save(tmp_path / "m")
    data = pickle.dumps(Bomb(tmp_path / "boom"))
    if name == "manifest.json":
        (tmp_path / "m" / name).write_bytes(data)
    else:
        reseal(tmp_path / "m", name, data)
    with pytest.raises(ModelFileError):
        load_bundle(tmp_path / "m")
    assert not (tmp_path / "boom").exists()


def test_random_damage_under_a_valid_seal_gives_our_errors_only(tmp_path, rng):
    save(tmp_path / "m")
    sound = {n: (tmp_path / "m" / n).read_bytes() for n in ("config.json", "weights.safetensors")}
    for name, data in sound.items():
        for _ in range(60):
            damaged = bytearray(data)
            damaged[rng.integers(min(len(data), 700))] = rng.integers(256)
            reseal(tmp_path / "m", name, bytes(damaged))
            try:
                load_bundle(tmp_path / "m")
            except ExpLSTMError as error:
                assert error.exit_code == 4
        reseal(tmp_path / "m", name, data)


def test_a_checkpoint_is_not_a_model(tmp_path):
    save(tmp_path / "m")
    files = {n: (tmp_path / "m" / n).read_bytes() for n in ("config.json", "weights.safetensors")}
    storage.write_sealed(tmp_path / "m", files, {"kind": "checkpoint"})
    with pytest.raises(ModelFileError, match="'checkpoint', not a model"):
        load_bundle(tmp_path / "m")


def test_a_model_that_cannot_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(ModelFileError, match="not finite"):
        save(tmp_path / "m", {**WEIGHTS, "head/bias": WEIGHTS["head/bias"] + np.float32(np.inf)})
    with pytest.raises(ModelFileError, match="not JSON"):
        save_bundle(tmp_path / "m", SPEC, WEIGHTS, {"x": object()}, data_fingerprint="")
    with pytest.raises(ModelFileError, match="not JSON"):
        save_bundle(tmp_path / "m", SPEC, WEIGHTS, {"x": float("nan")}, data_fingerprint="")
    assert list(tmp_path.iterdir()) == []


def test_a_saver_killed_at_random_moments_leaves_a_whole_model(tmp_path, rng):
    script = (
        "import sys, numpy as np\n"
        "from explstm.bundle import save_bundle\n"
        "from explstm.models.spec import ModelSpec, init_weights\n"
        f"spec = ModelSpec(**{SPEC.model_dump(mode='json')!r})\n"
        "weights = init_weights(spec, 1)\n"
        "for i in range(10**6):\n"
        "    shifted = {name: array + np.float32(i) for name, array in weights.items()}\n"
        "    save_bundle(sys.argv[1], spec, shifted, {'i': i}, data_fingerprint='')\n"
        "    print(i, flush=True)\n"
    )
    for _ in range(5):
        command = [sys.executable, "-c", script, str(tmp_path / "m")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            child.send_signal(signal.SIGKILL)
        bundle = load_bundle(tmp_path / "m")
        for name, array in WEIGHTS.items():
            np.testing.assert_array_equal(
                bundle.weights[name], array + np.float32(bundle.config["i"])
            )
    save(tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_the_manifest_tells_the_truth(tmp_path):
    save(tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    size = (tmp_path / "m" / "weights.safetensors").stat().st_size
    assert manifest["files"]["weights.safetensors"]["bytes"] == size
    assert manifest["format_version"] == 1
