"""Every engine forecasts what NumPy forecasts, and NumPy what can be worked out by hand."""

import math

import numpy as np
import pytest

from contract.conftest import BACKENDS, SPECS, draw_batch, draw_weights, reference
from explstm.errors import UsageError
from explstm.models.engine import make_engine
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import ACTIVATIONS, ModelSpec, init_weights

TOLERANCE = 1e-5


def one_unit(**changes) -> ModelSpec:
    values = {"n_features": 1, "hidden_sizes": (1,), "horizon": 1, "quantiles": (0.5,)}
    return ModelSpec(**{**values, "residual": False, **changes})


def one_unit_weights(kernel, recurrent, bias, head=1.0):
    return {
        "lstm_0/kernel": np.array([kernel]),
        "lstm_0/recurrent_kernel": np.array([recurrent]),
        "lstm_0/bias": np.array(bias),
        "head/kernel": np.array([[head]]),
        "head/bias": np.zeros(1),
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_unit_gives_the_values_worked_out_by_hand(backend):
    # Only the candidate sees the input: every gate is sigmoid(0) = 1/2 and g = tanh(1) = 0.761594.
    # c1 = g/2 = 0.380797, h1 = tanh(c1)/2 = 0.181700
    # c2 = c1/2 + g/2 = 0.571196, h2 = tanh(c2)/2 = 0.258118
    weights = one_unit_weights([0.0, 0.0, 1.0, 0.0], [0.0] * 4, [0.0] * 4)
    engine = make_engine(backend, one_unit(), weights)
    everywhere = engine.predict_origins(np.ones((1, 2, 1), np.float32), np.ones((1, 2), bool))
    np.testing.assert_allclose(everywhere[:, 0, 0], [0.181700, 0.258118], atol=1e-6)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_reading_in_pieces_changes_nothing(name, monkeypatch):
    spec = SPECS[name]
    engine = NumpyEngine(spec, draw_weights(spec), dtype=np.float64)
    features_BTF = np.random.default_rng(1).normal(size=(3, 23, spec.n_features))
    origins_BT = np.ones((3, 23), dtype=bool)
    at_once = engine.predict_origins(features_BTF, origins_BT)
    monkeypatch.setattr("explstm.models.numpy_engine.GATES", 4 * max(spec.hidden_sizes) * 3 * 7)
    in_pieces = engine.predict_origins(features_BTF, origins_BT)
    np.testing.assert_allclose(in_pieces, at_once, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gates_are_input_forget_candidate_output(backend):
    kernel, recurrent = [0.5, -0.4, 0.9, 0.3], [0.2, 0.7, -0.6, 0.1]
    bias, inputs = [0.1, 1.0, -0.2, 0.4], [1.0, -2.0, 0.5, 3.0]
    hidden = cell = 0.0
    for x in inputs:
        i, f, g, o = (
            w * x + u * hidden + b for w, u, b in zip(kernel, recurrent, bias, strict=True)
        )
        i, f, o = (1 / (1 + math.exp(-gate)) for gate in (i, f, o))
        cell = f * cell + i * math.tanh(g)
        hidden = o * math.tanh(cell)
    engine = make_engine(backend, one_unit(), one_unit_weights(kernel, recurrent, bias, head=2.0))
    features_BTF = np.array(inputs, np.float32).reshape(1, -1, 1)
    forecast = engine.predict_last(features_BTF, np.array([4]))
    assert forecast.item() == pytest.approx(2 * hidden, abs=1e-6)


def test_quantiles_step_away_from_the_median_by_softplus():
    spec = one_unit(quantiles=(0.1, 0.25, 0.5, 0.75, 0.9))
    weights = one_unit_weights([0.0] * 4, [0.0] * 4, [0.0] * 4)
    weights["head/kernel"] = np.zeros((1, 5))
    weights["head/bias"] = np.array([0.0, 1.0, 5.0, 2.0, -1.0])
    softplus = [math.log(1 + math.exp(x)) for x in weights["head/bias"]]
    low, high = 5 - softplus[1], 5 + softplus[3]
    expected = [low - softplus[0], low, 5.0, high, high + softplus[4]]
    forecast = NumpyEngine(spec, weights).predict_last(np.ones((1, 1, 1)), np.array([1]))
    np.testing.assert_allclose(forecast[0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_norm_forecasts_with_its_moving_statistics(backend):
    spec = one_unit(dense_sizes=(1,), batch_norm=True, dense_activation="linear")
    weights = one_unit_weights([0.0, 0.0, 1.0, 0.0], [0.0] * 4, [0.0] * 4)
    weights["dense_0/kernel"] = np.array([[10.0]])
    parts = {"gamma": 3.0, "beta": 0.5, "moving_mean": 0.7, "moving_variance": 4.0}
    weights |= {f"norm_0/{part}": np.array([value]) for part, value in parts.items()}
    expected = (1.81700 - 0.7) / math.sqrt(4.0 + 1e-3) * 3.0 + 0.5
    forecast = make_engine(backend, spec, weights).predict_last(
        np.ones((1, 1, 1), np.float32), np.array([1])
    )
    assert forecast.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_forecasts_equal_the_double_precision_truth(engine_of, backend, name):
    spec = SPECS[name]
    engine, truth, batch = engine_of(backend, spec), reference(spec), draw_batch(spec)
    for ours, theirs in (
        (engine.predict_origins, truth.predict_origins),
        (engine.predict_last, truth.predict_last),
    ):
        where = batch.origins_BT if ours == engine.predict_origins else batch.lengths_B
        forecast = ours(batch.features_BTF, where)
        assert forecast.dtype == np.float32
        assert forecast.flags.writeable
        assert forecast.shape[1:] == (spec.horizon, len(spec.quantiles))
        np.testing.assert_allclose(
            forecast, theirs(batch.features_BTF, where), atol=TOLERANCE, rtol=0
        )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_activation_equals_the_truth(backend, activation):
    spec = ModelSpec(
        n_features=2,
        hidden_sizes=(3,),
        activation=activation,
        recurrent_activation=activation,
        dense_sizes=(3,),
        dense_activation=activation,
        horizon=2,
        quantiles=(0.5, 0.9),
    )
    batch = draw_batch(spec, n_series=3, n_steps=5)
    weights = draw_weights(spec)
    forecast = make_engine(backend, spec, weights).predict_last(batch.features_BTF, batch.lengths_B)
    expected = reference(spec, weights).predict_last(batch.features_BTF, batch.lengths_B)
    np.testing.assert_allclose(forecast, expected, atol=TOLERANCE, rtol=1e-6)


def test_activations_by_their_definitions():
    from explstm.models.numpy_cells import ACTIVATION_FUNCTIONS

    alpha, scale = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. (2017)
    definitions = {
        "linear": lambda x: x,
        "tanh": math.tanh,
        "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
        "hard_sigmoid": lambda x: min(max(x / 6 + 0.5, 0), 1),
        "relu": lambda x: max(x, 0.0),
        "elu": lambda x: x if x > 0 else math.exp(x) - 1,
        "selu": lambda x: scale * (x if x > 0 else alpha * (math.exp(x) - 1)),
        "softplus": lambda x: math.log(1 + math.exp(x)),
        "softsign": lambda x: x / (1 + abs(x)),
        "silu": lambda x: x / (1 + math.exp(-x)),
    }
    assert set(definitions) == set(ACTIVATIONS) == set(ACTIVATION_FUNCTIONS)
    for name, definition in definitions.items():
        x = np.linspace(-8, 8, 33)
        expected = [definition(value) for value in x]
        np.testing.assert_allclose(ACTIVATION_FUNCTIONS[name](x), expected, atol=1e-12)
        assert np.isfinite(ACTIVATION_FUNCTIONS[name](np.array([-1e4, 1e4]))).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_stands_right_of_a_series_changes_nothing(engine_of, backend):
    spec = SPECS["two_layers"]
    engine, batch = engine_of(backend, spec), draw_batch(spec)
    padding_BPF = np.full((4, 5, 3), 1e3, np.float32)
    padded_BTF = np.concatenate([batch.features_BTF, padding_BPF], axis=1)
    outside_BT = np.arange(12) >= batch.lengths_B[:, None]
    padded_BTF[outside_BT] = 1e3
    np.testing.assert_allclose(
        engine.predict_last(padded_BTF, batch.lengths_B),
        engine.predict_last(batch.features_BTF, batch.lengths_B),
        atol=1e-6,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_neighbours_and_later_steps_change_nothing(engine_of, backend):
    spec = SPECS["batch_norm"]
    engine, batch = engine_of(backend, spec), draw_batch(spec)
    together = engine.predict_origins(batch.features_BTF, batch.origins_BT)
    alone = [
        engine.predict_last(batch.features_BTF[b : b + 1, : t + 1], np.array([t + 1]))[0]
        for b, t in np.argwhere(batch.origins_BT)
    ]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_series_than_a_block_keep_their_order(engine_of, backend):
    spec = SPECS["one_layer"]
    batch = draw_batch(spec, n_series=300, n_steps=6)
    engine = engine_of(backend, spec)
    last = engine.predict_last(batch.features_BTF, batch.lengths_B)
    for b in (0, 127, 128, 299):
        one = engine.predict_last(batch.features_BTF[b : b + 1], batch.lengths_B[b : b + 1])
        np.testing.assert_allclose(last[b : b + 1], one, atol=1e-6)
    everywhere = engine.predict_origins(batch.features_BTF, batch.origins_BT)
    positions = np.cumsum(batch.origins_BT).reshape(batch.origins_BT.shape) - 1
    ends = [b for b in range(300) if batch.origins_BT[b, batch.lengths_B[b] - 1]]
    rows = [positions[b, batch.lengths_B[b] - 1] for b in ends]
    np.testing.assert_allclose(everywhere[rows], last[ends], atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_quantiles_never_cross_whatever_the_weights(engine_of, backend):
    spec = SPECS["two_layers"]
    engine, batch = engine_of(backend, spec), draw_batch(spec)
    rng = np.random.default_rng(0)
    for scale in (0.1, 3.0, 50.0):
        weights = {
            name: (scale * rng.standard_normal(array.shape)).astype(np.float32)
            for name, array in init_weights(spec, 0).items()
        }
        engine.load_weights(weights)
        forecast_RHQ = engine.predict_origins(batch.features_BTF, batch.origins_BT)
        assert np.isfinite(forecast_RHQ).all()
        assert (np.diff(forecast_RHQ, axis=-1) >= 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_series_give_no_forecasts(engine_of, backend):
    spec = SPECS["one_layer"]
    engine = engine_of(backend, spec)
    empty = engine.predict_last(np.zeros((0, 4, 3), np.float32), np.zeros(0, np.int64))
    assert empty.shape == (0, 4, 4)
    unasked = engine.predict_origins(np.zeros((2, 4, 3), np.float32), np.zeros((2, 4), bool))
    assert unasked.shape == (0, 4, 4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_inputs_are_refused_in_a_sentence(engine_of, backend):
    spec = SPECS["one_layer"]
    engine, good = engine_of(backend, spec), np.zeros((2, 4, 3), np.float32)
    with pytest.raises(UsageError, match=r"\(2, 4, 2\) where \(series, time, 3\)"):
        engine.predict_last(good[..., :2], np.array([4, 4]))
    with pytest.raises(UsageError, match="between 1 and 4"):
        engine.predict_last(good, np.array([4, 5]))
    with pytest.raises(UsageError, match="between 1 and 4"):
        engine.predict_last(good, np.array([0, 4]))
    with pytest.raises(UsageError, match=r"bool of shape \(2, 4\)"):
        engine.predict_origins(good, np.zeros((2, 4)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_are_left_as_they_were(engine_of, backend):
    spec = SPECS["two_layers"]
    engine, batch = engine_of(backend, spec), draw_batch(spec)
    before = batch.features_BTF.copy()
    batch.features_BTF.setflags(write=False)
    batch.origins_BT.setflags(write=False)
    engine.predict_last(batch.features_BTF, batch.lengths_B)
    engine.predict_origins(batch.features_BTF, batch.origins_BT)
    np.testing.assert_array_equal(batch.features_BTF, before)
