"""Importing an engine in a fresh process: silent, and only where it can work."""

import os
import subprocess
import sys

QUIET = """
import random
state = random.getstate()
from explstm.models.engine import make_engine
from explstm.models.spec import ModelSpec, init_weights
spec = ModelSpec(hidden_sizes=(2,))
make_engine("tensorflow", spec, init_weights(spec, 1))
assert random.getstate() == state
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    kept.pop("KERAS_BACKEND", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_tensorflow_starts_silently_and_leaves_the_random_state_alone():
    done = run(QUIET)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_keras_on_another_backend_is_refused_in_a_sentence():
    done = run("import explstm.models.tensorflow_engine", KERAS_BACKEND="jax")
    assert done.returncode == 1
    assert "Keras runs on 'jax' in this process where 'tensorflow' is needed" in done.stderr


def test_neither_the_package_nor_numpy_loads_a_framework():
    code = (
        "import sys, explstm.models.numpy_engine, explstm.models.engine\n"
        "assert not {'torch', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    assert run(code).stderr == ""
