"""The same seed, the same forecast: again, on more threads, and in every engine.

Kept apart from one process, where what was compiled or drawn before could make things equal.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import toy_determinism
from explstm import ExpLSTM
from explstm.apart import THREADS
from part_data import make_series

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """What a training in a process of its own forecasts."""
    folder = tmp_path_factory.mktemp("forecasts")

    def run(backend, n_threads, again=""):
        pytest.importorskip(backend)
        path = folder / f"{backend}-{n_threads}{again}.npy"
        if not path.exists():
            threads = dict.fromkeys(THREADS, str(n_threads))
            environment = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(sys.path)}
            command = [sys.executable, "-W", "ignore", toy_determinism.__file__, backend, path]
            subprocess.run(command, env=environment, check=True)
        return np.load(path)

    return run


def test_another_process_forecasts_the_same_bits(train):
    one, other = train("torch", 1), train("torch", 1, "-again")
    assert one.shape == (40 * 6, 3) and np.isfinite(one).all()
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_two_threads_forecast_what_one_does(train, backend):
    np.testing.assert_allclose(train(backend, 2), train(backend, 1), rtol=1e-6)


def test_another_seed_forecasts_something_else(train):
    df = make_series(40)
    model = ExpLSTM(backend="torch", init="random", max_steps=5, random_seed=5)
    other = model.fit(df, h=6).predict(df, h=6)["ExpLSTM"].to_numpy()
    assert np.abs(other / train("torch", 1)[:, 0] - 1).max() > 1e-3


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_model_forecasts_the_same_in_every_engine_again_and_again(backend):
    pytest.importorskip(backend)
    df = make_series(40)
    expected = ExpLSTM().predict(df, h=6, level=[80, 95]).select_dtypes("number")
    model = ExpLSTM(backend=backend)
    found = [model.predict(df, h=6, level=[80, 95]).select_dtypes("number") for _ in range(2)]
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
