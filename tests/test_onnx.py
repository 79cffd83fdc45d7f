"""Exported models: what ONNX Runtime computes, between our way in and out, is what we forecast."""

import json
import os
import stat
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from explstm import BackendNotInstalledError, ExpLSTM, ModelSpec, UsageError
from explstm.cli import run
from explstm.datasets import load_air_passengers
from explstm.frame import build_panel
from explstm.intervals import to_probabilities
from explstm.onnx import export_onnx
from explstm.prediction import Preprocessing, forecast_panel

LEVELS = (80, 95)


class RuntimeEngine:
    """The part of an engine that forecasts, computed from nothing but a file."""

    backend = "onnx"

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.about = json.loads(self._session.get_modelmeta().custom_metadata_map["explstm"])
        self.spec = ModelSpec(**self.about["spec"])

    def predict_origins(self, features_BTF, origins_BT):
        inputs = {"features": features_BTF, "origins": np.argwhere(origins_BT)}
        return self._session.run(["quantiles"], inputs)[0]

    def predict_last(self, features_BTF, lengths_B):
        return self.predict_origins(
            features_BTF, np.arange(features_BTF.shape[1]) == lengths_B[:, None] - 1
        )


def make_table():
    """Growth, decline, seasons, zeros among, signs, and a short series; monthly."""
    t = np.arange(70)
    rng = np.random.default_rng(3)
    series = {
        "growth": 20 * 1.04**t * np.exp(0.05 * rng.standard_normal(70)),
        "decline": 5e6 * 0.97**t,
        "seasons": (100 + t) * (1 + 0.3 * np.sin(t * np.pi / 6)) + rng.standard_normal(70),
        "zeros": rng.poisson(0.7, 70).astype(float),
        "signs": np.cumsum(rng.standard_normal(70)),
        "short": 3 * 1.1 ** np.arange(9),
        "flat": np.full(30, 7.0),
    }
    return pd.concat(
        pd.DataFrame(
            {"unique_id": name, "ds": pd.date_range("2015-01-01", periods=len(y), freq="MS")}
        ).assign(y=y)
        for name, y in series.items()
    )


TABLE = make_table()
SCRATCH = {"init": "random", "max_steps": 5}
MODELS = {
    "pretrained": {},
    "fine-tuned": {"backend": "torch", "max_steps": 3},
    "lstm in torch": {
        **SCRATCH,
        "backend": "torch",
        "spec": ModelSpec(
            hidden_sizes=(8, 6),
            activation="elu",
            recurrent_activation="hard_sigmoid",
            dense_sizes=(6,),
            dense_activation="silu",
            batch_norm=True,
            dropout=0.1,
        ),
    },
    "slstm in tensorflow": {
        **SCRATCH,
        "backend": "tensorflow",
        "growth": "asinh",
        "spec": ModelSpec(
            cell="slstm", hidden_sizes=(8,), n_heads=2, forget_gate="exp", residual=False
        ),
    },
    "standard scaling": {
        **SCRATCH,
        "backend": "torch",
        "growth": "standard",
        "spec": ModelSpec(hidden_sizes=(5,)),
    },
}


@pytest.mark.filterwarnings("ignore:.*have fewer than")
@pytest.mark.parametrize("name", MODELS)
def test_forecasts_are_the_same_through_onnx_runtime(name, tmp_path):
    model = ExpLSTM(**MODELS[name])
    if name != "pretrained":
        model.fit(TABLE, h=6)
    horizon = 30  # beyond the network: its own median path is read again
    expected = model.predict(TABLE, h=horizon, level=list(LEVELS))

    export_onnx(model, tmp_path / "model.onnx")
    engine = RuntimeEngine(tmp_path / "model.onnx")
    view = Preprocessing(**engine.about["preprocessing"])
    if name == "pretrained":
        view = Preprocessing(**{**engine.about["preprocessing"], "season_length": (12,)})
    found = forecast_panel(engine, build_panel(TABLE), view, horizon, to_probabilities(LEVELS))

    columns = ["lo-95", "lo-80", None, "hi-80", "hi-95"]
    for place, column in enumerate(columns):
        ours = expected["ExpLSTM" if column is None else f"ExpLSTM-{column}"].to_numpy()
        np.testing.assert_allclose(found[:, :, place].ravel(), ours, rtol=1e-5, atol=1e-5)


def test_the_file_says_what_a_program_around_it_needs(tmp_path):
    about = export_onnx(ExpLSTM(), tmp_path / "model.onnx")
    assert RuntimeEngine(tmp_path / "model.onnx").about == json.loads(json.dumps(about))
    assert about["features"][:2] == ["growth", "smooth_0.1"]
    assert len(about["features"]) == about["spec"]["n_features"]
    assert about["horizon"] == 24
    assert about["preprocessing"]["widen"] > 0


def test_equal_models_give_equal_files(tmp_path):
    for name in ("one.onnx", "two.onnx"):
        export_onnx(ExpLSTM(), tmp_path / name)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.onnx", "two.onnx"]


def test_the_command_exports_a_saved_model(tmp_path, capsys):
    model = ExpLSTM(backend="torch", init="random", spec=ModelSpec(hidden_sizes=(3,)), max_steps=1)
    model.fit(load_air_passengers(), h=2).save(tmp_path / "model")
    out = tmp_path / "network.onnx"
    assert run(["export", str(tmp_path / "model"), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["out"] == str(out) and told["spec"]["hidden_sizes"] == [3]
    assert RuntimeEngine(out).spec == model.spec_

    assert run(["export", "--out", str(out)]) == 2
    assert "OUTPUT_EXISTS" in capsys.readouterr().err
    assert RuntimeEngine(out).spec == model.spec_
    assert run(["export", "--out", str(out), "--force"]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    assert RuntimeEngine(out).spec.cell == "slstm"


def test_what_cannot_be_exported_is_refused(tmp_path, capsys):
    assert run(["export", str(tmp_path / "nothing"), "--out", str(tmp_path / "x.onnx")]) == 4
    assert "MODEL_NOT_FOUND" in capsys.readouterr().err
    assert run(["export", "--out", str(tmp_path / "missing" / "x.onnx")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert run(["export", "--out", str(tmp_path), "--force"]) == 2
    assert "choose a file" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no weights yet"):
        export_onnx(ExpLSTM(init="random"), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes of a name")
@pytest.mark.parametrize("through_link", [False, True])
def test_what_is_no_file_is_never_replaced(tmp_path, capsys, through_link):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    out = tmp_path / "link" if through_link else pipe
    if through_link:
        out.symlink_to(pipe)
    before = pipe.stat()
    for more in ([], ["--force"]):
        assert run(["export", "--out", str(out), *more]) == 2
        assert "is no regular file; choose another place." in capsys.readouterr().err
    with pytest.raises(UsageError, match="is no regular file"):
        export_onnx(ExpLSTM(), out)
    assert os.path.samestat(before, pipe.stat()) and stat.S_ISFIFO(pipe.stat().st_mode)
    assert set(tmp_path.iterdir()) == {pipe, out}


@pytest.mark.parametrize("end", ["/", "/.", "/.."])
@pytest.mark.parametrize("more", [[], ["--force"]])
def test_the_name_of_a_folder_is_no_place_for_a_file(tmp_path, capsys, end, more):
    assert run(["export", "--out", f"{tmp_path}/new{end}", *more]) == 2
    assert "is the name of a folder; choose a file." in capsys.readouterr().err
    with pytest.raises(UsageError, match="is the name of a folder"):
        export_onnx(ExpLSTM(), f"{tmp_path}/new{end}")
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[onnx\]'"):
        export_onnx(ExpLSTM(), tmp_path / "x.onnx")
