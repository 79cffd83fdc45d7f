"""Both training engines follow the true gradient, take the same steps, and resume to the bit.

Trajectories are never compared under the absolute error or the pinball loss: the sign of an error
near zero decides their gradients, so that rounding alone separates two correct engines.
"""

from dataclasses import replace

import numpy as np
import pytest

from contract.conftest import (
    ADAM,
    ADAMW,
    DETERMINISTIC,
    MSE,
    PINBALL,
    SGD,
    SPECS,
    TRAINING_BACKENDS,
    draw_batch,
    draw_weights,
    largest_difference,
    reference,
)
from explstm.errors import ModelFileError, UsageError
from explstm.models.engine import OptimizerConfig, make_engine
from explstm.models.losses import LossConfig
from explstm.models.spec import ACTIVATIONS, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, ModelSpec
from explstm.origins import Batch

TOLERANCE = 1e-5
HUBER = LossConfig("huber", 0.3)
MAE = LossConfig("mae", 1.0)


def true_gradients(spec, loss, batch):
    """Central differences of the loss that NumPy computes in double precision."""
    weights = {name: array.astype(np.float64) for name, array in draw_weights(spec).items()}
    engine = reference(spec, weights)
    engine.compile(SGD, loss)
    gradients = {}
    for name, array in weights.items():
        gradients[name] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            losses = []
            for step in (1e-6, -1e-6):
                nudged = array.copy()
                nudged[index] += step
                engine.load_weights({**weights, name: nudged})
                losses.append(engine.evaluate(batch))
            gradients[name][index] = (losses[0] - losses[1]) / 2e-6
    return gradients


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("one_layer", MAE),
        ("one_layer", HUBER),
        ("two_layers", PINBALL),
        ("custom_cell", MSE),
        ("dense", MSE),
    ],
)
def test_gradients_equal_finite_differences(engine_of, name, loss):
    spec = SPECS[name]
    batch = draw_batch(spec, n_series=3, n_steps=5)
    expected = true_gradients(spec, loss, batch)
    for backend in TRAINING_BACKENDS:
        engine = engine_of(backend, spec)
        engine.compile(SGD, loss)
        assert largest_difference(engine.gradients(batch), expected) < TOLERANCE


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_batch_norm_gradients_equal_finite_differences(engine_of, backend):
    # NumPy normalises with moving statistics only. Made equal to those of the batch and kept there
    # they leave the gradient of gamma, beta and all that follows as it is in training.
    spec = ModelSpec(
        n_features=2, hidden_sizes=(3,), dense_sizes=(4,), batch_norm=True, horizon=2,
        quantiles=(0.5,),
    )  # fmt: skip
    batch = draw_batch(spec)
    weights = {name: array.astype(np.float64) for name, array in draw_weights(spec).items()}
    probe = {**weights, "norm_0/moving_mean": np.zeros(4), "norm_0/moving_variance": np.ones(4)}
    mean, variance = batch_statistics(spec, probe, batch)
    weights |= {"norm_0/moving_mean": mean, "norm_0/moving_variance": variance}
    truth, engine = reference(spec, weights), engine_of(backend, spec)
    truth.compile(SGD, MSE)
    engine.compile(SGD, MSE)
    engine.load_weights(weights)
    gradients = engine.gradients(batch)
    for name in ("norm_0/gamma", "norm_0/beta", "head/kernel", "head/bias"):
        for index in np.ndindex(weights[name].shape):
            losses = []
            for step in (1e-6, -1e-6):
                nudged = weights[name].copy()
                nudged[index] += step
                truth.load_weights({**weights, name: nudged})
                losses.append(truth.evaluate(batch))
            slope = (losses[0] - losses[1]) / 2e-6
            assert gradients[name][index] == pytest.approx(slope, abs=TOLERANCE)


def batch_statistics(spec, weights, batch):
    """Mean and biased variance of what enters the first normalisation, by an obvious route."""
    bare = ModelSpec(
        n_features=spec.n_features,
        hidden_sizes=spec.hidden_sizes,
        horizon=spec.dense_sizes[0],
        quantiles=(0.5,),
    )
    names = {p.name for p in bare.parameters}
    kept = {name: array for name, array in weights.items() if name in names}
    kept |= {"head/kernel": weights["dense_0/kernel"], "head/bias": np.zeros(spec.dense_sizes[0])}
    x_RC = reference(bare, kept).predict_origins(batch.features_BTF, batch.origins_BT)[..., 0]
    return x_RC.mean(0), ((x_RC - x_RC.mean(0)) ** 2).mean(0)


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_moving_statistics_move_by_a_tenth_towards_the_biased_ones(engine_of, backend):
    spec, weights = SPECS["batch_norm"], draw_weights(SPECS["batch_norm"])
    engine, batch = engine_of(backend, spec), draw_batch(spec)
    engine.compile(SGD, MSE)
    engine.train_batch(batch, 0.0)
    mean, variance = batch_statistics(spec, weights, batch)
    after = engine.dump_weights()
    assert (BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON) == (0.9, 1e-3)
    for name, now in (("moving_mean", mean), ("moving_variance", variance)):
        expected = 0.9 * weights[f"norm_0/{name}"] + 0.1 * now
        np.testing.assert_allclose(after[f"norm_0/{name}"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        *((SGD, name) for name in DETERMINISTIC),
        *((ADAM, name) for name in DETERMINISTIC),
        (ADAMW, "batch_norm"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_ten_steps_end_at_the_same_weights_in_both(engine_of, name, optimizer):
    spec = SPECS[name]
    rate = 0.05 if optimizer is SGD else 0.005
    engines = [engine_of(backend, spec) for backend in TRAINING_BACKENDS]
    for engine in engines:
        engine.compile(optimizer, MSE)
    if optimizer is SGD:
        gradients = [engine.gradients(draw_batch(spec)) for engine in engines]
        assert largest_difference(*gradients) < TOLERANCE
    for step in range(10):
        batch = draw_batch(spec, n_series=3 + step % 3, n_steps=5 + step, seed=step)
        losses = [engine.train_batch(batch, rate / (1 + step)) for engine in engines]
        assert losses[0] == pytest.approx(losses[1], abs=TOLERANCE)
    ours, theirs = (engine.dump_weights() for engine in engines)
    assert largest_difference(ours, theirs) < TOLERANCE
    assert largest_difference(*(engine.dump_optimizer() for engine in engines)) < TOLERANCE
    moved = largest_difference(ours, draw_weights(spec))
    assert moved > 100 * TOLERANCE
    batch = draw_batch(spec, seed=99)
    forecasts = [e.predict_last(batch.features_BTF, batch.lengths_B) for e in engines]
    np.testing.assert_allclose(forecasts[0], forecasts[1], atol=TOLERANCE)


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_steps_follow_the_published_formula(engine_of, backend):
    spec, weights = SPECS["one_layer"], draw_weights(SPECS["one_layer"])
    optimizer = OptimizerConfig("adamw", 0.8, 0.95, 1e-3, 0.5, 0.01)
    engine = engine_of(backend, spec)
    engine.compile(optimizer, MSE)
    m = {name: np.zeros_like(array) for name, array in weights.items()}
    v = {name: np.zeros_like(array) for name, array in weights.items()}
    for t in (1, 2, 3):
        batch = draw_batch(spec, seed=t)
        gradients = engine.gradients(batch)
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients.values()))
        assert norm > 0.01  # so that clipping is at work
        engine.train_batch(batch, 0.02)
        for name, gradient in gradients.items():
            clipped = gradient * 0.01 / norm
            m[name] = 0.8 * m[name] + 0.2 * clipped
            v[name] = 0.95 * v[name] + 0.05 * clipped**2
            rate = 0.02 * np.sqrt(1 - 0.95**t) / (1 - 0.8**t)
            decay = 0.02 * 0.5 * weights[name] if weights[name].ndim == 2 else 0
            weights[name] = weights[name] - decay - rate * m[name] / (np.sqrt(v[name]) + 1e-3)
        assert largest_difference(engine.dump_weights(), weights) < 1e-6


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_has_one_gradient_and_takes_the_same_ten_steps(activation):
    spec = ModelSpec(
        n_features=2,
        hidden_sizes=(3,),
        activation=activation,
        recurrent_activation=activation,
        dense_sizes=(3,),
        dense_activation=activation,
        horizon=2,
        quantiles=(0.1, 0.5),
    )
    gradients, ends = [], []
    for backend in TRAINING_BACKENDS:
        engine = make_engine(backend, spec, draw_weights(spec))
        engine.compile(ADAM, MSE)
        for step in range(10):
            engine.train_batch(draw_batch(spec, n_steps=5, seed=step), 0.01)
            if step == 0:  # m is a tenth of the first gradient; a graph of its own would cost more
                state = engine.dump_optimizer()
        gradients.append({n: 10 * array for n, array in state.items() if n.startswith("m/")})
        ends.append(engine.dump_weights())
    assert np.abs(gradients[0]["m/lstm_0/kernel"]).max() > 1e-3  # there is something to compare
    assert largest_difference(*gradients) < TOLERANCE
    assert largest_difference(*ends) < TOLERANCE


@pytest.mark.parametrize("clip_norm", [1e-3, 1e3])
def test_clipping_scales_all_gradients_together_or_leaves_them(engine_of, clip_norm):
    spec, batch = SPECS["dense"], draw_batch(SPECS["dense"])
    steps = []
    for backend in TRAINING_BACKENDS:
        engine = engine_of(backend, spec)
        engine.compile(replace(SGD, clip_norm=clip_norm), MSE)
        gradients, before = engine.gradients(batch), engine.dump_weights()
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients.values()))
        engine.train_batch(batch, 1.0)
        after = engine.dump_weights()
        steps.append({name: before[name] - after[name] for name in gradients})
        scale = min(1.0, clip_norm / norm)
        expected = {name: scale * gradient for name, gradient in gradients.items()}
        assert largest_difference(steps[-1], expected) < 1e-6
    assert largest_difference(*steps) < 1e-6


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=lambda optimizer: optimizer.name)
@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_a_resumed_run_equals_an_unbroken_one_to_the_bit(engine_of, backend, optimizer):
    spec = SPECS["dropout"]
    batches = [draw_batch(spec, seed=step) for step in range(6)]
    engine = engine_of(backend, spec)
    engine.compile(optimizer, PINBALL, seed=3)
    for batch in batches[:3]:
        engine.train_batch(batch, 0.01)
    weights, state = engine.dump_weights(), engine.dump_optimizer()
    losses = [engine.train_batch(batch, 0.01) for batch in batches[3:]]
    unbroken = engine.dump_weights()

    engine.load_weights(draw_weights(spec, seed=9))
    engine.compile(optimizer, PINBALL, seed=3)
    engine.load_weights(weights)
    engine.load_optimizer(state)
    assert state["step"] == 3
    assert losses == [engine.train_batch(batch, 0.01) for batch in batches[3:]]
    assert largest_difference(engine.dump_weights(), unbroken) == 0.0


def test_an_optimizer_state_moves_to_the_other_framework(engine_of):
    spec = SPECS["two_layers"]
    ours, theirs = (engine_of(backend, spec) for backend in TRAINING_BACKENDS)
    ours.compile(ADAM, MSE)
    theirs.compile(ADAM, MSE)
    for step in range(3):
        ours.train_batch(draw_batch(spec, seed=step), 0.01)
    theirs.load_weights(ours.dump_weights())
    theirs.load_optimizer(ours.dump_optimizer())
    for step in range(3, 6):
        for engine in (ours, theirs):
            engine.train_batch(draw_batch(spec, seed=step), 0.01)
    assert largest_difference(ours.dump_weights(), theirs.dump_weights()) < TOLERANCE


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_dropout_is_a_function_of_seed_and_step(engine_of, backend):
    spec, batch = SPECS["dropout"], draw_batch(SPECS["dropout"])
    engine = engine_of(backend, spec)

    def run(seed):
        engine.load_weights(draw_weights(spec))
        engine.compile(ADAM, MSE, seed=seed)
        return [engine.train_batch(batch, 0.0) for _ in range(4)]

    first = run(1)
    assert len(set(first)) == 4
    assert run(1) == first
    assert not set(run(2)) & set(first)
    engine.compile(ADAM, MSE, seed=1)
    assert largest_difference(engine.gradients(batch), engine.gradients(batch)) == 0.0


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_dropout_keeps_the_mean_and_is_absent_outside_training(engine_of, backend):
    spec = ModelSpec(
        n_features=1, hidden_sizes=(32,), residual=False, dropout=0.25, horizon=1, quantiles=(0.5,)
    )
    engine = engine_of(backend, spec)
    weights = {name: np.zeros_like(array) for name, array in draw_weights(spec).items()}
    weights["lstm_0/bias"][64:96] = 1.0  # every unit gives the same h at the first step
    weights["head/kernel"][:] = 1 / 32
    engine.load_weights(weights)
    features_BTF, origins_BT = np.zeros((500, 1, 1), np.float32), np.ones((500, 1), bool)
    clean = engine.predict_origins(features_BTF, origins_BT)
    assert np.ptp(clean) == 0
    ones = np.ones((500, 1), np.float32)
    batch = Batch(features_BTF, np.ones(500, np.int64), origins_BT, clean[..., 0] * ones, ones)
    engine.compile(SGD, MSE)
    assert engine.evaluate(batch) == 0.0
    # Bernoulli(3/4)/(3/4) has variance 1/3; the mean of 32 units has (1/3)/32 of h squared.
    noise = engine.train_batch(batch, 0.0) / float(clean[0, 0, 0]) ** 2
    assert noise == pytest.approx(1 / 96, rel=0.25)


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_the_same_start_gives_the_same_bits(engine_of, backend):
    spec = SPECS["batch_norm"]
    runs = []
    for _ in range(2):
        engine = engine_of(backend, spec)
        engine.compile(ADAM, PINBALL, seed=1)
        for step in range(5):
            engine.train_batch(draw_batch(spec, 8, 12, seed=step), 0.01)
        runs.append(engine.dump_weights())
    assert largest_difference(*runs) == 0.0


@pytest.mark.parametrize("loss", [MSE, MAE, HUBER, PINBALL], ids=lambda loss: loss.name)
def test_scoring_equals_the_truth_and_changes_nothing(engine_of, loss):
    spec, batch = SPECS["batch_norm"], draw_batch(SPECS["batch_norm"])
    truth = reference(spec)
    truth.compile(SGD, loss)
    for backend in TRAINING_BACKENDS:
        engine = engine_of(backend, spec)
        engine.compile(ADAM, loss)
        assert engine.evaluate(batch) == pytest.approx(truth.evaluate(batch), abs=TOLERANCE)
        engine.gradients(batch)
        assert largest_difference(engine.dump_weights(), draw_weights(spec)) == 0.0
        assert engine.dump_optimizer()["step"] == 0


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_training_learns_and_unknown_targets_teach_nothing(engine_of, backend):
    spec, batch = SPECS["two_layers"], draw_batch(SPECS["two_layers"])
    spoiled = np.where(batch.weights_RH > 0, batch.targets_RH, np.nan).astype(np.float32)
    ends = []
    for targets_RH in (batch.targets_RH, spoiled):
        engine = engine_of(backend, spec)
        engine.compile(ADAM, PINBALL)
        losses = [
            engine.train_batch(replace(batch, targets_RH=targets_RH), 0.02) for _ in range(40)
        ]
        assert losses[-1] < 0.6 * losses[0]
        ends.append(engine.dump_weights())
    assert largest_difference(*ends) == 0.0


@pytest.mark.parametrize("backend", TRAINING_BACKENDS)
def test_what_cannot_be_trained_on_is_refused(engine_of, backend):
    spec, batch = SPECS["three_layers"], draw_batch(SPECS["three_layers"])
    engine = engine_of(backend, spec)
    engine._training = None
    with pytest.raises(UsageError, match=r"call compile\(optimizer, loss\) first"):
        engine.train_batch(batch, 0.1)
    engine.compile(ADAM, MSE)
    with pytest.raises(UsageError, match="no known target"):
        engine.train_batch(replace(batch, weights_RH=0 * batch.weights_RH), 0.1)
    with pytest.raises(UsageError, match=r"targets_RH has shape \(\d+, 3\)"):
        engine.train_batch(replace(batch, targets_RH=batch.targets_RH[:, :3]), 0.1)
    state = engine.dump_optimizer()
    with pytest.raises(ModelFileError, match=r"m/head/bias of shape .* is missing"):
        engine.load_optimizer({n: a for n, a in state.items() if n != "m/head/bias"})
    with pytest.raises(ModelFileError, match="v/head/bias has shape"):
        engine.load_optimizer({**state, "v/head/bias": np.zeros(1)})


def test_graphs_are_traced_once_whatever_the_shapes(engine_of):
    spec = SPECS["one_layer"]
    engine = engine_of("tensorflow", spec)
    network = engine._machine.network
    engine.compile(replace(ADAM, epsilon=3e-8), MSE)
    traces, call = [], network.call
    network.call = lambda *args, **kwargs: traces.append(1) or call(*args, **kwargs)
    for size in (2, 3, 5):
        engine.train_batch(draw_batch(spec, size, size + 3), 0.01)
    network.call = call
    assert len(traces) == 1
