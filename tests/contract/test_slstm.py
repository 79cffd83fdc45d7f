"""The sLSTM cell against the paper's equations in arbitrary precision, without the stabiliser.

Axis letters: B series, T time, C channels.
"""

import mpmath
import numpy as np
import pytest

from contract.conftest import BACKENDS, MSE, SGD, TRAINING_BACKENDS, draw_batch
from explstm.models.engine import make_engine
from explstm.models.numpy_cells import part_gates, part_recurrent_kernel, run_cell, start_state
from explstm.models.spec import ModelSpec, init_weights


def run_paper(spec, kernel, recurrent_kernel, bias, inputs_TF):
    """Hidden states (T, C) by Beck et al. (2024), eqs. 8 to 14, in 60 digits.

    The exponents of mpmath have no bound, so nothing needs a stabiliser. Heads are indices here.
    """
    size = len(bias) // 4
    head = size // spec.n_heads
    W, R, b = (np.vectorize(mpmath.mpf)(a.astype(float)) for a in (kernel, recurrent_kernel, bias))
    sigmoid = lambda x: 1 / (1 + mpmath.exp(-x))  # noqa: E731
    forget = mpmath.exp if spec.forget_gate == "exp" else sigmoid
    h = c = n = [mpmath.mpf(0)] * size
    outputs = []
    for x in inputs_TF.astype(float):
        raw = [
            mpmath.fsum(
                [mpmath.mpf(x[j]) * W[j, k] for j in range(len(x))]
                + [h[(k % size) // head * head + r] * R[r, k] for r in range(head)]
                + [b[k]]
            )
            for k in range(4 * size)
        ]
        i, f = [mpmath.exp(a) for a in raw[:size]], [forget(a) for a in raw[size : 2 * size]]
        z = [mpmath.tanh(a) for a in raw[2 * size : 3 * size]]
        o = [sigmoid(a) for a in raw[3 * size :]]
        c = [f[k] * c[k] + i[k] * z[k] for k in range(size)]
        n = [f[k] * n[k] + i[k] for k in range(size)]
        h = [o[k] * c[k] / n[k] for k in range(size)]
        outputs.append([float(a) for a in h])
    return np.array(outputs)


def small(forget_gate="sigmoid", n_heads=1):
    return ModelSpec(
        n_features=2,
        cell="slstm",
        hidden_sizes=(4,),
        forget_gate=forget_gate,
        n_heads=n_heads,
        residual=False,
        horizon=4,
        quantiles=(0.5,),
    )


def open_weights(spec, size):
    """Weights whose forecasts are the hidden states, kernels of a given size."""
    rng = np.random.default_rng(5)
    weights = init_weights(spec, 0)
    for name in ("kernel", "recurrent_kernel", "bias"):
        key = f"slstm_0/{name}"
        weights[key] = (size * rng.standard_normal(weights[key].shape)).astype(np.float32)
    weights["head/kernel"] = np.eye(4, dtype=np.float32)
    weights["head/bias"] = np.zeros(4, np.float32)
    return weights


def expected_states(spec, weights, inputs_TF):
    parts = (weights[f"slstm_0/{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
    with mpmath.workdps(60):
        return run_paper(spec, *parts, inputs_TF)


@pytest.mark.parametrize("n_heads", [1, 2])
@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_hidden_states_are_the_papers(backend, forget_gate, n_heads):
    spec = small(forget_gate, n_heads)
    weights = open_weights(spec, size=1.0)
    inputs_TF = np.random.default_rng(6).standard_normal((12, 2)).astype(np.float32)
    engine = make_engine(backend, spec, weights)
    hidden_TC = engine.predict_origins(inputs_TF[None], np.ones((1, 12), bool))[..., 0]
    expected_TC = expected_states(spec, weights, inputs_TF)
    assert np.ptp(expected_TC) > 0.5  # there is something to compare
    np.testing.assert_allclose(hidden_TC, expected_TC, atol=1e-5, rtol=0)


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
def test_exponents_far_outside_the_range_of_floats_are_still_the_papers(forget_gate):
    # Gates of some thousands: exp of them is beyond float64, and beyond its logarithm's digits.
    spec = small(forget_gate)
    weights = open_weights(spec, size=1.0)
    inputs_TF = 1e3 * np.random.default_rng(7).standard_normal((12, 2))
    parts = [weights[f"slstm_0/{name}"] for name in ("kernel", "recurrent_kernel", "bias")]
    gates_4LTBC = part_gates(spec, (inputs_TF @ parts[0] + parts[2])[None, :, None])
    assert np.abs(gates_4LTBC).max() > 2000
    kernel_4LCC = part_recurrent_kernel(spec, parts[1])[:, None]
    state = tuple(part[None] for part in start_state(spec, 4, 1, np.float64))
    hidden_TLBC = np.empty((12, 1, 1, 4))
    run_cell(spec, gates_4LTBC, kernel_4LCC, state, hidden_TLBC)
    expected_TC = expected_states(spec, weights, inputs_TF)
    np.testing.assert_allclose(hidden_TLBC[:, 0, 0], expected_TC, atol=1e-9, rtol=0)


def test_one_unit_gives_the_values_worked_out_by_hand():
    # Gates that see the input alone: i = exp(x), f = sigmoid(0) = 1/2, z = tanh(x), o = 1/2.
    # x = 1: c/n = tanh(1) = 0.761594, h = 0.380797
    # x = -2: c = e/2 * 0.761594 + e**-2 * -0.964028 = 0.904647, n = e/2 + e**-2 = 1.494476,
    #         h = 0.302664
    spec = ModelSpec(
        n_features=1,
        cell="slstm",
        hidden_sizes=(1,),
        residual=False,
        horizon=1,
        quantiles=(0.5,),
    )
    weights = {
        "slstm_0/kernel": np.array([[1.0, 0.0, 1.0, 0.0]]),
        "slstm_0/recurrent_kernel": np.zeros((1, 4)),
        "slstm_0/bias": np.zeros(4),
        "head/kernel": np.ones((1, 1)),
        "head/bias": np.zeros(1),
    }
    for backend in BACKENDS:
        engine = make_engine(backend, spec, weights)
        features_BTF = np.array([[[1.0], [-2.0]]], np.float32)
        forecast = engine.predict_origins(features_BTF, np.ones((1, 2), bool))
        np.testing.assert_allclose(forecast[:, 0, 0], [0.380797, 0.302664], atol=1e-6)


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_huge_inputs_and_ten_thousand_steps_stay_finite(backend, forget_gate):
    spec = small(forget_gate)
    engine = make_engine(backend, spec, open_weights(spec, size=1.0))
    rng = np.random.default_rng(8)
    features_BTF = rng.uniform(-1e4, 1e4, (2, 10_000, 2)).astype(np.float32)
    features_BTF[1] = 1e4
    with np.errstate(all="raise", under="ignore"):
        forecast = engine.predict_origins(features_BTF, np.ones((2, 10_000), bool))
    assert np.isfinite(forecast).all()
    assert np.abs(forecast).max() <= 1  # a weighted mean of candidates within -1 and 1


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_the_bias_of_the_input_gate_cancels_and_has_no_gradient(backend):
    spec = small("exp")
    weights = open_weights(spec, size=1.0)
    moved = {**weights, "slstm_0/bias": weights["slstm_0/bias"] + np.repeat([3, 0, 0, 0], 4)}
    batch = draw_batch(spec)
    engine = make_engine(backend, spec, weights)
    expected = engine.predict_origins(batch.features_BTF, batch.origins_BT)
    engine.compile(SGD, MSE)
    gradient = engine.gradients(batch)["slstm_0/bias"]
    assert (gradient[:4] == 0).all()
    assert (gradient[4:] != 0).all()
    engine.load_weights(moved)
    forecast = engine.predict_origins(batch.features_BTF, batch.origins_BT)
    np.testing.assert_allclose(forecast, expected, atol=1e-5)
