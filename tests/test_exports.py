"""The public names, and what importing them costs."""

import subprocess
import sys

import pytest

import explstm

FRAMEWORKS = ("torch", "tensorflow", "keras", "matplotlib", "seaborn", "sklearn", "statsforecast")
LIGHT_ONLY = (*FRAMEWORKS, "pandas", "pydantic", "safetensors", "scipy", "pyarrow", "rich")


def loaded_after(code: str, modules: tuple[str, ...]) -> set[str]:
    """Which of the modules a fresh interpreter has loaded after running the code."""
    probe = f"{code}\nimport sys; print(*[name for name in {modules!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", explstm.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(explstm, name) is not None
    assert name in dir(explstm)


def test_public_names_are_the_ones_documented():
    assert {name for name in explstm.__all__ if not name.endswith(("Error", "Stopped"))} == {
        "ExpLSTM",
        "ModelSpec",
        "__version__",
    }


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = explstm.Nothing


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import explstm", LIGHT_ONLY) == set()


def test_the_command_line_answers_without_loading_anything_heavy():
    assert loaded_after("import explstm.cli", LIGHT_ONLY) <= {"rich"}


def test_the_forecaster_loads_no_framework():
    assert loaded_after("from explstm import ExpLSTM, ModelSpec; ExpLSTM()", FRAMEWORKS) == set()


def test_a_forecast_with_the_numpy_engine_loads_no_framework(tmp_path):
    code = (
        "from explstm import ModelSpec, pipeline\n"
        "from explstm.models.engine import make_engine\n"
        "from explstm.models.spec import init_weights\n"
        "spec = ModelSpec(hidden_sizes=(4,)); make_engine('numpy', spec, init_weights(spec, 1))"
    )
    assert loaded_after(code, FRAMEWORKS) == set()
