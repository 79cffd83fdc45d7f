"""Lines B1 to B12: arguments and configuration."""

import sys
from pathlib import Path

import pytest

from bad_inputs.world import HEADER, World, check, text
from explstm import ExpLSTM, ModelSpec
from explstm.errors import BackendNotInstalledError, UsageError
from explstm.intervals import check_levels
from explstm.pretrain import read_config


def refuse_setting(world: World, setting: str, code: str, *words: str, **in_python: object) -> None:
    """A setting is refused on the command line, in Python, and as a job over HTTP."""
    path = world.write(text(HEADER, world.rows()))
    out = world.folder / "model"
    fit = ("fit", path, "--horizon", "2", "--backend", "torch", "--out", out, "--set", setting)
    world.refuse_arguments(code, *words, arguments=fit)
    with pytest.raises(UsageError, match=code) as refused:
        ExpLSTM(backend="torch", **in_python)
    assert all(word in refused.value.message for word in words), refused.value.message
    assert refused.value.exit_code == 2


@check("B1")
def unknown_key(world: World) -> None:
    path = world.write(text(HEADER, world.rows()))
    fit = ("fit", path, "--horizon", "2", "--backend", "torch", "--out", world.folder / "model")
    known = (*fit, "--set", "max_step=3")
    world.refuse_arguments("CONFIG_UNKNOWN_KEY", "max_step", "max_steps?", arguments=known)
    world.refuse_arguments("USAGE", "--horizn", arguments=("forecast", path, "--horizn", "2"))
    with pytest.raises(UsageError, match=r"max_step is not an option; did you mean max_steps\?"):
        ExpLSTM().set_params(max_step=3)
    answer = world.client.post("/api/v1/forecast", json={"sample": "sales", "horizon": 3})
    assert answer.status_code == 422 and "horizon" in answer.json()["error"]["message"]


@check("B2")
def wrong_type(world: World) -> None:
    words = ("max_steps='ten'", "valid integer")
    refuse_setting(world, "max_steps=ten", "CONFIG_VALUE", *words, max_steps="ten")
    answer = world.client.post("/api/v1/forecast", json={"sample": "sales", "h": "ten"})
    assert answer.status_code == 422 and "valid integer" in answer.json()["error"]["message"]


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
    for quantiles in ((0.9, 0.5, 0.1), (0.5, 0.5), (0.1, 0.9)):
        with pytest.raises(UsageError, match=r"SPEC_QUANTILES: .*sort them and add the median"):
            ModelSpec(n_features=8, quantiles=quantiles)
    with pytest.raises(UsageError, match="quantiles"):
        ModelSpec(n_features=8, quantiles=(0.0, 0.5))
    path = world.write(text(HEADER, world.rows()))
    found = [
        list(ExpLSTM().predict(world.panel(path), h=2, level=level))
        for level in ([95, 80, 80], [80, 95])
    ]
    assert found[0] == found[1] and len(found[0]) == 7
    twice = world.forecast(path, "--level", "95", "--level", "80", "--level", "80")
    assert twice.exit_code == 0 and twice.out.count("lo-80") == 1
    columns = world.post(path.read_bytes(), level=[95, 80, 80]).json()["forecast"]
    assert list(columns) == found[1]
    assert check_levels is not None
    for level in ("0", "100", "nan"):
        asked = ("forecast", path, "--horizon", "2", "--level", level)
        world.refuse_arguments("LEVEL_RANGE", "level=", arguments=asked)
        assert world.post(path.read_bytes(), level=level).status_code == 422


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
    path = world.write(text(HEADER, world.rows()))
    asked = (
        "fit",
        path,
        "--horizon",
        "2",
        "--backend",
        "torch",
        "--set",
        "max_steps=" + content.strip(),
    )
    world.refuse_arguments("CONFIG_VALUE", "max_steps", arguments=asked)
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
    path = world.write(text(HEADER, world.rows()))
    twice = ("fit", path, "--horizon", "2", "--set", "max_steps=1", "--set", "max_steps=2")
    world.refuse_arguments("SETTING_FORM", "max_steps", "each key once", arguments=twice)
    deep = '{"sample":' + "[" * 100_000
    answer = world.client.post(
        "/api/v1/forecast", content=deep, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422, answer.text


@check("B8")
def giant_network(world: World) -> None:
    words = ("hidden_sizes", "1000000000", "less than or equal to 4096")
    path = world.write(text(HEADER, world.rows()))
    for backend in ("torch", "tensorflow"):
        asked = (
            "fit",
            path,
            "--horizon",
            "2",
            "--backend",
            backend,
            "--set",
            "hidden_sizes=[1000000000]",
        )
        world.refuse_arguments("CONFIG_VALUE", *words, arguments=asked)
    with pytest.raises(UsageError, match="CONFIG_VALUE: hidden_sizes"):
        ModelSpec(n_features=8, hidden_sizes=(10**9,))
    with pytest.raises(UsageError) as refused:
        ModelSpec(n_features=8, hidden_sizes=(4096,) * 1000)
    assert refused.value.exit_code == 2


@check("B9")
def framework_absent(world: World) -> None:
    path = world.write(text(HEADER, world.rows()))
    for backend, extra in (("torch", "torch"), ("tensorflow", "tensorflow")):
        with world.monkeypatch.context() as patched:
            for module in ("torch", "keras", "tensorflow"):
                patched.setitem(sys.modules, module, None)
            for module in [name for name in sys.modules if f"explstm.models.{backend}_" in name]:
                patched.delitem(sys.modules, module)
            asked = (
                "fit",
                path,
                "--horizon",
                "2",
                "--backend",
                backend,
                "--out",
                world.folder / "m",
            )
            words = (f"pip install 'explstm[{extra}]'",)
            world.refuse_arguments("BACKEND_NOT_INSTALLED", *words, arguments=asked)
            with pytest.raises(BackendNotInstalledError):
                ExpLSTM(backend=backend).fit(world.panel(path), h=2)


@check("B10")
def newer_configuration(world: World) -> None:
    from bad_inputs.models import reseal_manifest, saved

    folder = saved(world)
    reseal_manifest(folder, format_version=99, package_version="99.1")
    shown = world.forecast(world.write(text(HEADER, world.rows())), "--model", folder)
    assert shown.exit_code == 4 and "MODEL_NEWER" in shown.err, shown
    assert "'99.1'" in shown.err and "upgrade explstm" in shown.err


@check("B12")
def bad_seeds(world: World) -> None:
    path = world.write(text(HEADER, world.rows()))
    for seed in ("one", "1.5", "-1", str(2**32)):
        asked = ("fit", path, "--horizon", "2", "--backend", "torch", "--seed", seed)
        world.refuse_arguments("USAGE", "--seed", arguments=asked)
    for value in (1.5, -1, 2**32, "one"):
        with pytest.raises(UsageError, match="CONFIG_VALUE: random_seed="):
            ExpLSTM(random_seed=value)
