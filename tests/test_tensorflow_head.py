"""The quantiles of the TensorFlow head are the shared ones, and so is their gradient.

Axis letters: R origins, H horizon, Q quantiles.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from explstm.models import tensorflow_engine  # noqa: F401  # prepares the environment
from explstm.models.head import order_quantiles as order_shared
from explstm.models.numpy_cells import softplus
from explstm.models.tensorflow_head import order_quantiles, tf

REPEAT = """
import numpy as np
from contract.conftest import ADAM, PINBALL, draw_batch, draw_weights
from explstm.models.engine import make_engine
from explstm.models.spec import ModelSpec
spec = ModelSpec(hidden_sizes=(64, 64))
engine = make_engine("tensorflow", spec, draw_weights(spec))
engine.compile(ADAM, PINBALL)
batch = draw_batch(spec, 200, 40)
first = engine.gradients(batch)
for _ in range(40):
    for name, gradient in engine.gradients(batch).items():
        np.testing.assert_array_equal(gradient, first[name], err_msg=name)
"""


@pytest.mark.parametrize(("n_quantiles", "median"), [(1, 0), (3, 0), (3, 2), (7, 3)])
def test_quantiles_and_their_gradient_are_those_of_the_shared_head(rng, n_quantiles, median):
    raw_QRH = 3 * rng.standard_normal((n_quantiles, 2, 3))
    raw_QRH[:, 0, 0] = 50 * (-1) ** np.arange(n_quantiles)
    slope_QRH = rng.standard_normal(raw_QRH.shape)
    raw = tf.constant(raw_QRH)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        quantiles_QRH = order_quantiles(raw, median)
        total = tf.reduce_sum(quantiles_QRH * slope_QRH)
    expected_QRH = order_shared(raw_QRH, median, softplus, np)
    np.testing.assert_allclose(quantiles_QRH, expected_QRH, rtol=1e-12, atol=1e-12)
    gradient_QRH = np.zeros_like(raw_QRH)
    for index in np.ndindex(raw_QRH.shape):
        step = np.zeros_like(raw_QRH)
        step[index] = 1e-6
        rise = order_shared(raw_QRH + step, median, softplus, np)
        rise -= order_shared(raw_QRH - step, median, softplus, np)
        gradient_QRH[index] = np.sum(rise / 2e-6 * slope_QRH)
    np.testing.assert_allclose(tape.gradient(total, raw), gradient_QRH, atol=1e-7)


def test_gradients_repeat_to_the_bit_on_several_threads():
    # TensorFlow merges two additions in a row into one of three, and adds those as they come.
    threads = {"TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2"}
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", REPEAT]
    subprocess.run(command, env={**os.environ, **threads, **path}, check=True, timeout=300)
