"""Lines B1 to B12: arguments and configuration."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bad_inputs.models import refuse_model, reseal, reseal_manifest, saved
from bad_inputs.world import HEADER, World, check, text
from explstm import ExpLSTM, ModelSpec, __version__, forecaster
from explstm.errors import BackendNotInstalledError, ModelFileError, UsageError
from explstm.pretrain import read_config
from explstm.storage import dump_json

JOB = {"kind": "fine-tune", "sample": "sales", "h": 2}


def refuse_fit(world: World, code: str, *words: str, more: Sequence[str]) -> None:
    """``explstm fit`` refuses its further arguments, and makes no model."""
    path = world.write(text(HEADER, world.rows()))
    asked = ("fit", path, "--horizon", "2", "--out", world.folder / "model", *more)
    world.refuse_arguments(code, *words, arguments=asked)


def refuse_job(world: World, *words: str, **changes: object) -> None:
    """A job is refused because of what was changed in it, and none waits."""
    answer = world.client.post("/api/v1/jobs", json={**JOB, **changes})
    assert answer.status_code == 422, answer.text
    assert all(word in answer.json()["error"]["message"] for word in words), answer.text
    assert world.client.get("/api/v1/jobs").json()["jobs"] == []


def refuse_setting(world: World, setting: str, code: str, *words: str, **in_python: object) -> None:
    """A setting is refused on the command line and in Python."""
    refuse_fit(world, code, *words, more=("--backend", "torch", "--set", setting))
    with pytest.raises(UsageError, match=code) as refused:
        ExpLSTM(backend="torch", **in_python)
    assert all(word in refused.value.message for word in words), refused.value.message
    assert refused.value.exit_code == 2


@check("B1")
def unknown_key(world: World) -> None:
    more = ("--backend", "torch", "--set", "max_step=3")
    refuse_fit(world, "CONFIG_UNKNOWN_KEY", "max_step is", "mean max_steps?", more=more)
    path = world.folder / "data.csv"
    world.refuse_arguments("USAGE", "--horizn", arguments=("forecast", path, "--horizn", "2"))
    refuse_job(world, "max_step: Extra inputs are not permitted", max_step=3)
    with pytest.raises(UsageError, match=r"max_step is not an option; did you mean max_steps\?"):
        ExpLSTM().set_params(max_step=3)
    answer = world.client.post("/api/v1/forecast", json={"sample": "sales", "horizon": 3})
    assert answer.status_code == 422 and "horizon" in answer.json()["error"]["message"]


@check("B2")
def wrong_type(world: World) -> None:
    words = ("max_steps='ten'", "valid integer")
    refuse_setting(world, "max_steps=ten", "CONFIG_VALUE", *words, max_steps="ten")
    for name in ("max_steps", "h"):
        refuse_job(world, f"{name}: Input should be a valid integer", **{name: "ten"})


@check("B3")
def out_of_range(world: World) -> None:
    for name, value, words in (
        ("learning_rate", "NaN", "finite"),
        ("learning_rate", "0", "greater than 0"),
        ("learning_rate", "-1", "greater than 0"),
        ("batch_size", "0", "greater than or equal to 1"),
        ("reflection", "0.7", "less than or equal to 0.5"),
    ):
        given = {name: float(value)} if name != "batch_size" else {name: int(value)}
        refuse_setting(world, f"{name}={value}", "CONFIG_VALUE", name, words, **given)
        if name != "reflection" and value != "NaN":  # which JSON has no word for
            refuse_job(world, f"{name}: Input should be {words}", **given)
    for name, value in (("dropout", 1.5), ("horizon", 0)):
        with pytest.raises(UsageError, match=f"CONFIG_VALUE: {name}={value} cannot be used"):
            ModelSpec(n_features=8, **{name: value})
    path = world.write(text(HEADER, world.rows()))
    for horizon in ("0", "-3", "99999"):
        world.refuse_arguments(
            "USAGE", "--horizon", arguments=("forecast", path, "--horizon", horizon)
        )
        answer = world.post(path.read_bytes(), h=horizon)
        assert answer.status_code == 422 and "h: " in answer.json()["error"]["message"]


@check("B4")
def contradiction(world: World) -> None:
    words = ("early_stop_patience=3", "val_size=0")
    refuse_setting(
        world, "early_stop_patience=3", "CONFIG_CONFLICT", *words, early_stop_patience=3, val_size=0
    )
    path = world.write(text(HEADER, world.rows()))
    asked = ("forecast", path, "--horizon", "2", "--sep", ",", "--decimal", ",")
    world.refuse_arguments("CONFIG_CONFLICT", "sep=','", "decimal=','", arguments=asked)


@check("B5")
def quantiles_and_levels(world: World) -> None:
    wrong = ("SPEC_QUANTILES", "sort them and add the median")
    for quantiles, code, words in (
        ((0.9, 0.5, 0.1), *wrong),
        ((0.1, 0.5, 0.5), *wrong),
        ((0.1, 0.9), *wrong),
        ((0.0, 0.5), "CONFIG_VALUE", "greater than 0"),
        ((0.5, 1.0), "CONFIG_VALUE", "less than 1"),
    ):
        with pytest.raises(UsageError, match=f"{code}: quantiles.*{words}"):
            ModelSpec(n_features=8, quantiles=quantiles)
        more = ("--backend", "torch", "--set", f"quantiles={list(quantiles)}")
        refuse_fit(world, code, "quantiles", words, more=more)
    path = world.folder / "data.csv"
    ends = [f"ExpLSTM-{end}" for end in ("lo-95", "lo-80", "hi-80", "hi-95")]
    expected = ["unique_id", "ds", "ExpLSTM", *ends]
    for level in ([95, 80, 80], [80, 95]):
        assert list(ExpLSTM().predict(world.panel(path), h=2, level=level)) == expected
    twice = ("--level", "95", "--level", "80", "--level", "80")
    assert world.forecast(path, *twice).exit_code == 0
    assert (world.folder / "run1" / "forecast.csv").read_text().split()[0] == ",".join(expected)
    columns = world.post(path.read_bytes(), level=[95, 80, 80]).json()["forecast"]
    assert list(columns) == expected
    for level in ("0", "100", "nan"):
        asked = ("forecast", path, "--horizon", "2", "--level", level)
        world.refuse_arguments("LEVEL_RANGE", f"level={float(level):g}", arguments=asked)
        with pytest.raises(UsageError, match="LEVEL_RANGE: level="):
            ExpLSTM().predict(world.panel(path), h=2, level=[float(level)])
        answer = world.post(path.read_bytes(), level=level)
        assert answer.status_code == 422 and "level" in answer.json()["error"]["message"]


def refuse_config(world: World, content: str, code: str, *words: str) -> None:
    """A configuration of a pretraining is refused, and nothing in it has run."""
    path = world.write(content, "config.toml")
    out = world.folder / "trained"
    world.refuse_arguments(code, *words, arguments=("pretrain", "--config", path, "--out", out))
    with pytest.raises(UsageError, match=code):
        read_config(path)


@check("B6")
def yaml_object(world: World) -> None:
    trace = world.folder / "ran"
    content = f"!!python/object/apply:pathlib.Path.touch [{trace}]\n"
    refuse_config(
        world, content, "PRETRAIN_CONFIG", "config.toml", "is not a readable TOML", "line 1"
    )
    more = ("--backend", "torch", "--set", "max_steps=" + content.strip())
    refuse_fit(world, "CONFIG_VALUE", "max_steps", "valid integer", more=more)
    assert not trace.exists()


@check("B7")
def words_and_bombs(world: World) -> None:
    sound = (Path(__file__).parents[2] / "pretraining").glob("*.toml")
    whole = next(iter(sorted(sound))).read_text()
    assert read_config(world.write(whole, "sound.toml"))
    for content, code, words in (
        ("[training]\nmax_steps = 1\nmax_steps = 2\n", "PRETRAIN_CONFIG", "line 3"),
        ('[training]\nmax_steps = "NO"\n', "CONFIG_VALUE", "max_steps='NO'"),
        ("[training]\nmax_steps = 1e-3\n", "CONFIG_VALUE", "max_steps=0.001"),
        ("a = " + "[" * 5000 + "]" * 5000, "PRETRAIN_CONFIG", "config.toml"),
        ("\ufeff\0", "PRETRAIN_CONFIG", "config.toml"),
    ):
        refuse_config(world, content, code, words)
    twice = ("--set", "max_steps=1", "--set", "max_steps=2")
    refuse_fit(world, "SETTING_FORM", "max_steps", "each key once", more=twice)
    deep = '{"sample":' + "[" * 100_000
    answer = world.client.post(
        "/api/v1/forecast", content=deep, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422, answer.text


@check("B8")
def giant_network(world: World) -> None:
    setting = "hidden_sizes=[1000000000]"
    words = ("hidden_sizes", "=1000000000", "less than or equal to 4096")
    with world.monkeypatch.context() as patched:
        patched.setattr(forecaster, "init_weights", lambda *_: pytest.fail("was drawn"))
        for backend in ("torch", "tensorflow"):
            more = ("--backend", backend, "--set", setting, "--set", "init=random")
            refuse_fit(world, "CONFIG_VALUE", *words, more=more)
    with pytest.raises(UsageError, match=r"CONFIG_VALUE: hidden_sizes\.0=1000000000 .* 4096"):
        ModelSpec(n_features=8, hidden_sizes=(10**9,))
    with pytest.raises(
        UsageError, match=r"hidden_sizes=.* at most 16 items .* not 1000"
    ) as refused:
        ModelSpec(n_features=8, hidden_sizes=(4096,) * 1000)
    assert refused.value.exit_code == 2
    refuse_job(world, "hidden_sizes: Extra inputs are not permitted", hidden_sizes=[10**9])


def forget_engine(patched: pytest.MonkeyPatch, backend: str) -> None:
    """Have an engine imported anew."""
    for module in [name for name in sys.modules if f"explstm.models.{backend}_" in name]:
        patched.delitem(sys.modules, module)


@check("B9")
def framework_absent(world: World) -> None:
    for backend in ("torch", "tensorflow"):
        with world.monkeypatch.context() as patched:
            for module in ("torch", "keras", "tensorflow"):
                patched.setitem(sys.modules, module, None)
            forget_engine(patched, backend)
            words = (f"pip install 'explstm[{backend}]'",)
            refuse_fit(world, "BACKEND_NOT_INSTALLED", *words, more=("--backend", backend))
            with pytest.raises(BackendNotInstalledError, match=re.escape(*words)):
                ExpLSTM(backend=backend).fit(world.panel(world.folder / "data.csv"), h=2)
    config = world.write("[training]\nmax_steps = 1\n", "config.toml")
    asked = ("pretrain", "--config", config, "--out", world.folder / "model", "--device", "cuda:99")
    world.refuse_arguments("DEVICE", "device='cuda:99' cannot be used here", arguments=asked)
    refuse_job(world, "device: Extra inputs are not permitted", device="cuda:99")


@check("B10")
def newer_configuration(world: World) -> None:
    path = world.write(text(HEADER, world.rows()))
    for part in ("spec", "settings"):
        folder = saved(world, part)
        config = json.loads((folder / "config.json").read_bytes())
        config[part]["attention"] = 8
        reseal(folder, "config.json", dump_json(config))
        reseal_manifest(folder, package_version="99.1")
        words = ("attention is not an option", "'99.1'", f"this is explstm {__version__}")
        refuse_model(world, folder, "MODEL_CONFIG", *words)
        with pytest.raises(ModelFileError, match=r"attention is not an option.*'99\.1'"):
            ExpLSTM(init=str(folder)).predict(world.panel(path), h=2)
    words = ("config.toml", f"read by explstm {__version__}", "attention is not an option")
    refuse_config(world, "[network]\nattention = 8\n", "CONFIG_UNKNOWN_KEY", *words)


@check("B11")
def environment_variable(world: World) -> None:
    with world.monkeypatch.context() as patched:
        patched.setenv("KERAS_BACKEND", "jax")
        patched.delitem(sys.modules, "keras", raising=False)
        forget_engine(patched, "tensorflow")
        more = ("--backend", "tensorflow")
        refuse_fit(world, "KERAS_BACKEND", "Keras runs on 'jax'", more=more)
        with pytest.raises(UsageError, match=r"KERAS_BACKEND: .*'jax'"):
            ExpLSTM(backend="tensorflow").fit(world.panel(world.folder / "data.csv"), h=2)


@check("B12")
def bad_seeds(world: World) -> None:
    for seed in ("one", "1.5", "-1", str(2**32)):
        refuse_fit(
            world,
            "USAGE",
            "Invalid value for '--seed'",
            more=("--backend", "torch", "--seed", seed),
        )
    for value in (1.5, -1, 2**32, "one"):
        refuse_job(world, "seed: Input should be", seed=value)
        with pytest.raises(UsageError, match="CONFIG_VALUE: random_seed="):
            ExpLSTM(random_seed=value)
