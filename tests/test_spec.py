"""A specification says everything about a network, and refuses what is none in a sentence."""

import json
import math
from statistics import NormalDist

import numpy as np
import pytest

from explstm.errors import UsageError
from explstm.growth import N_FEATURES
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import ModelSpec, head_mask, init_weights


def test_the_table_of_parameters_of_a_small_network():
    spec = ModelSpec(
        n_features=3, hidden_sizes=(4, 5), dense_sizes=(6,), horizon=2, quantiles=(0.1, 0.5)
    )
    assert [(p.name, p.shape) for p in spec.parameters] == [
        ("lstm_0/kernel", (3, 16)),
        ("lstm_0/recurrent_kernel", (4, 16)),
        ("lstm_0/bias", (16,)),
        ("lstm_1/kernel", (4, 20)),
        ("lstm_1/recurrent_kernel", (5, 20)),
        ("lstm_1/bias", (20,)),
        ("dense_0/kernel", (8, 6)),  # 5 units and the 3 features that skip
        ("dense_0/bias", (6,)),
        ("head/kernel", (6, 4)),
        ("head/bias", (4,)),
    ]
    assert spec.n_weights == 48 + 64 + 16 + 80 + 100 + 20 + 48 + 6 + 24 + 4


def test_batch_norm_takes_the_place_of_the_bias_and_its_statistics_are_not_trained():
    plain = ModelSpec(n_features=3, hidden_sizes=(4,), dense_sizes=(6,), residual=False)
    normed = ModelSpec(**{**plain.model_dump(), "batch_norm": True})
    names = [p.name for p in normed.parameters if p.name[:4] in ("dens", "norm")]
    assert names == [
        "dense_0/kernel",
        "norm_0/gamma",
        "norm_0/beta",
        "norm_0/moving_mean",
        "norm_0/moving_variance",
    ]
    assert normed.n_weights == plain.n_weights + 6


def test_a_specification_survives_json():
    spec = ModelSpec(n_features=5, hidden_sizes=(7,), dense_sizes=(3, 2), quantiles=(0.3, 0.5))
    assert ModelSpec(**json.loads(spec.model_dump_json())) == spec
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    assert hash(spec) == hash(ModelSpec(**spec.model_dump()))


def test_looking_at_the_table_does_not_change_a_specification():
    seen, unseen = ModelSpec(n_features=5), ModelSpec(n_features=5)
    _ = seen.parameters
    assert seen == unseen
    assert hash(seen) == hash(unseen)
    assert seen.model_dump() == unseen.model_dump()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": (4,)}, "hidden_size is not an option; did you mean hidden_sizes?"),
        ({"n_features": 0}, "n_features=0 cannot be used: input should be greater than"),
        ({"hidden_sizes": ()}, "hidden_sizes=() cannot be used"),
        ({"hidden_sizes": (4, 0)}, "hidden_sizes.1=0 cannot be used"),
        ({"hidden_sizes": (10**9,)}, "hidden_sizes.0=1000000000 cannot be used"),
        ({"hidden_sizes": (4, True)}, "hidden_sizes=(4, True) cannot be used: true and false are"),
        ({"activation": "tahn"}, "activation='tahn' cannot be used: input should be 'linear'"),
        ({"dropout": 1.0}, "dropout=1.0 cannot be used"),
        ({"forget_gate": "exp"}, "forget_gate='exp' belongs to cell='slstm', found cell='lstm'"),
        ({"n_heads": 2}, "n_heads=2 belongs to cell='slstm', found cell='lstm'"),
        (
            {"cell": "slstm", "output_activation": "tanh"},
            "output_activation='tanh' belongs to cell='lstm', found cell='slstm'",
        ),
        (
            {"cell": "slstm", "n_heads": 3, "hidden_sizes": (6, 4)},
            "n_heads=3 must divide every hidden size, found hidden_sizes=(6, 4)",
        ),
        ({"cell": "gru"}, "cell='gru' cannot be used"),
        ({"quantiles": (0.1, 0.9)}, "quantiles=(0.1, 0.9) must rise strictly and contain 0.5"),
        ({"quantiles": (0.9, 0.5, 0.1)}, "must rise strictly"),
        ({"quantiles": (0.5, 0.5)}, "must rise strictly"),
        ({"quantiles": (0.5, 1.0)}, "quantiles.1=1.0 cannot be used"),
        ({"quantiles": ()}, "quantiles=() cannot be used"),
    ],
)
def test_what_is_no_network_is_refused_in_one_sentence(values, message):
    with pytest.raises(UsageError) as caught:
        ModelSpec(**{"n_features": 3, **values})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_reads_the_features_of_growth_space_by_default():
    assert ModelSpec().n_features == N_FEATURES


def test_initial_weights_belong_to_the_seed_and_to_the_name():
    spec = ModelSpec(n_features=3, hidden_sizes=(4,), horizon=2)
    deeper = ModelSpec(n_features=3, hidden_sizes=(4, 4), horizon=2)
    weights = init_weights(spec, 1)
    again, other, longer = init_weights(spec, 1), init_weights(spec, 2), init_weights(deeper, 1)
    assert list(weights) == [p.name for p in spec.parameters]
    for name, array in weights.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, again[name])
        np.testing.assert_array_equal(array, longer[name])
    assert not np.array_equal(weights["lstm_0/kernel"], other["lstm_0/kernel"])


def test_initial_weights_leave_the_random_state_of_the_caller_alone():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    init_weights(ModelSpec(n_features=3), 1)
    assert np.random.random() == expected


def test_initial_kernels_are_glorot_and_orthogonal_and_the_forget_gates_open():
    weights = init_weights(ModelSpec(n_features=10, hidden_sizes=(40,)), 1)
    limit = math.sqrt(6 / (10 + 160))
    assert 0.95 * limit < np.abs(weights["lstm_0/kernel"]).max() <= limit
    recurrent = weights["lstm_0/recurrent_kernel"].astype(np.float64)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(40), atol=1e-6)
    gates = weights["lstm_0/bias"].reshape(4, 40)
    np.testing.assert_array_equal(gates, np.repeat([[0.0], [1.0], [0.0], [0.0]], 40, axis=1))


def test_heads_keep_the_rows_of_their_own_and_start_orthogonal():
    spec = ModelSpec(n_features=3, cell="slstm", hidden_sizes=(6,), n_heads=2)
    shapes = {p.name: p.shape for p in spec.parameters}
    assert shapes["slstm_0/kernel"] == (3, 24)
    assert shapes["slstm_0/recurrent_kernel"] == (3, 24)
    assert shapes["slstm_0/bias"] == (24,)
    kernel = init_weights(spec, 1)["slstm_0/recurrent_kernel"].reshape(3, 4, 2, 3)
    for head in range(2):
        rows = kernel[:, :, head].reshape(3, 12)
        np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=1e-6)


def test_the_mask_of_heads_lets_each_unit_see_all_gates_of_its_head():
    one_gate = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    np.testing.assert_array_equal(head_mask(4, 2), np.tile(one_gate, (1, 4)))
    np.testing.assert_array_equal(head_mask(3, 1), np.ones((3, 12)))


def test_a_network_starts_as_a_random_walk():
    spec = ModelSpec(n_features=2, hidden_sizes=(3,), horizon=9)
    weights = init_weights(spec, 1)
    weights["head/kernel"][:] = 0
    forecast_HQ = NumpyEngine(spec, weights).predict_last(np.zeros((1, 4, 2)), np.array([4]))[0]
    # The mean absolute step of a Gaussian walk is sqrt(2 / pi) of its standard deviation.
    for k in (1, 4, 9):
        walk = NormalDist(0, math.sqrt(k) * math.sqrt(math.pi / 2))
        expected = [walk.inv_cdf(level) for level in spec.quantiles]
        np.testing.assert_allclose(forecast_HQ[k - 1], expected, atol=1e-5)
