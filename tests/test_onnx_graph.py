"""The network as an ONNX graph, computed by ONNX Runtime, against NumPy in double precision."""

import numpy as np
import onnxruntime
import pytest

from contract.conftest import SPECS, draw_batch, draw_weights, reference
from explstm.errors import ModelFileError
from explstm.models.onnx_graph import OPSET, build_onnx
from explstm.models.spec import ACTIVATIONS, ModelSpec

BASE = {"n_features": 3, "horizon": 4, "quantiles": (0.1, 0.4, 0.5, 0.9)}
CELLS = {
    "lstm": {"cell": "lstm"},
    "slstm": {"cell": "slstm"},
    "slstm_exp": {"cell": "slstm", "forget_gate": "exp"},
    "slstm_heads": {"cell": "slstm", "n_heads": 2},
}


def compute(spec, weights, features_BTF, origins_BT):
    """Quantiles (R, H, Q) from ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    network = build_onnx(spec, weights).SerializeToString()
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    inputs = {"features": features_BTF, "origins": np.argwhere(origins_BT)}
    (quantiles_RHQ,) = session.run(["quantiles"], inputs)
    return quantiles_RHQ


def assert_equal(spec, weights, batch):
    expected = reference(spec, weights).predict_origins(batch.features_BTF, batch.origins_BT)
    found = compute(spec, weights, batch.features_BTF, batch.origins_BT)
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_every_network_of_the_contract(name):
    spec = SPECS[name]
    assert_equal(spec, draw_weights(spec), draw_batch(spec, 5, 9))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_with_every_activation(cell, activation):
    spec = ModelSpec(**BASE, **CELLS[cell], hidden_sizes=(6, 4), activation=activation)
    assert_equal(spec, draw_weights(spec), draw_batch(spec))
    spec = ModelSpec(**BASE, **CELLS[cell], hidden_sizes=(6,), recurrent_activation=activation)
    assert_equal(spec, draw_weights(spec), draw_batch(spec))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_every_activation_of_dense_blocks_and_outputs(activation, batch_norm):
    spec = ModelSpec(
        **BASE,
        hidden_sizes=(5,),
        output_activation=activation,
        dense_sizes=(6, 5),
        dense_activation=activation,
        batch_norm=batch_norm,
    )
    weights = draw_weights(spec)
    for i in range(2 if batch_norm else 0):
        weights[f"norm_{i}/moving_variance"] = np.linspace(
            0.01, 4, spec.dense_sizes[i], dtype=np.float32
        )
    assert_equal(spec, weights, draw_batch(spec))


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "hard_sigmoid", "softsign"])
@pytest.mark.parametrize("cell", CELLS)
def test_long_series_of_the_largest_features(cell, activation):
    """Gates far beyond what an exponential can carry; unbounded activations let rounding grow."""
    spec = ModelSpec(**BASE, **CELLS[cell], hidden_sizes=(6, 4), activation=activation)
    weights = {name: 8 * array for name, array in draw_weights(spec).items()}
    if spec.cell == "slstm":
        weights["slstm_0/bias"][:6] -= 200  # of all input gates: it cancels
    rng = np.random.default_rng(1)
    features_BTF = rng.choice([-10.0, 10.0], (3, 300, 3)).astype(np.float32)
    origins_BT = np.arange(300) % 50 == np.array([[49], [20], [0]])
    expected = reference(spec, weights).predict_origins(features_BTF, origins_BT)
    found = compute(spec, weights, features_BTF, origins_BT)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_quantiles_never_cross_and_end_on_either_side_of_the_median():
    for quantiles in ((0.5, 0.9), (0.1, 0.5), (0.05, 0.25, 0.5, 0.75, 0.95)):
        spec = ModelSpec(n_features=3, horizon=4, hidden_sizes=(4,), quantiles=quantiles)
        batch = draw_batch(spec)
        assert_equal(spec, draw_weights(spec), batch)
        found = compute(spec, draw_weights(spec), batch.features_BTF, batch.origins_BT)
        assert (np.diff(found, axis=2) >= 0).all()


def test_one_file_reads_any_number_of_series_steps_and_origins():
    spec = SPECS["slstm"]
    for n_series, n_steps in ((1, 3), (7, 40)):
        assert_equal(spec, draw_weights(spec), draw_batch(spec, n_series, n_steps))


def test_what_follows_a_series_changes_nothing():
    spec = SPECS["slstm"]
    batch, weights = draw_batch(spec), draw_weights(spec)
    filled = np.where(batch.features_BTF == 0, np.float32(1e6), batch.features_BTF)
    before = compute(spec, weights, batch.features_BTF, batch.origins_BT)
    np.testing.assert_array_equal(compute(spec, weights, filled, batch.origins_BT), before)


def test_the_file_needs_a_plain_runtime_and_is_always_the_same():
    spec = SPECS["slstm_heads"]
    model, again = (build_onnx(spec, draw_weights(spec), {"note": "one"}) for _ in range(2))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"note": "one"}
    assert model.SerializeToString(deterministic=True) == again.SerializeToString(
        deterministic=True
    )


def test_weights_of_another_network_are_refused():
    weights = draw_weights(SPECS["one_layer"])
    with pytest.raises(ModelFileError, match="lstm_0/kernel has shape"):
        build_onnx(SPECS["two_layers"], weights)
