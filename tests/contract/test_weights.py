"""Weights go in and out of every engine unchanged, and only the right ones go in."""

import random

import numpy as np
import pytest

from contract.conftest import ADAM, BACKENDS, MSE, SPECS, draw_batch, draw_weights
from explstm.errors import BackendNotInstalledError, ModelFileError, UsageError
from explstm.models.engine import make_engine
from explstm.models.spec import init_weights


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_loading_and_dumping_is_the_identity(engine_of, backend, name):
    spec = SPECS[name]
    engine, weights = engine_of(backend, spec), draw_weights(spec, seed=7)
    engine.load_weights(weights)
    dumped = engine.dump_weights()
    assert {n: a.shape for n, a in dumped.items()} == {p.name: p.shape for p in spec.parameters}
    for key, array in dumped.items():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous and array.flags.owndata
        np.testing.assert_array_equal(array, weights[key])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_shares_no_memory_with_the_caller(engine_of, backend):
    spec = SPECS["one_layer"]
    engine, weights = engine_of(backend, spec), draw_weights(spec)
    engine.load_weights(weights)
    for array in (*weights.values(), *engine.dump_weights().values()):
        array.fill(99.0)
    for key, array in engine.dump_weights().items():
        np.testing.assert_array_equal(array, draw_weights(spec)[key])


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_weights_are_refused_by_name_and_change_nothing(engine_of, backend):
    spec = SPECS["dense"]
    engine, good = engine_of(backend, spec), draw_weights(spec)
    bad = {
        "dense_1/kernel of shape (6, 5) is missing": {
            name: array for name, array in good.items() if name != "dense_1/kernel"
        },
        "lstm_0/kernel has shape (16, 3) where the model needs (3, 16)": {
            **good,
            "lstm_0/kernel": good["lstm_0/kernel"].T,
        },
        "stray does not belong": {**good, "stray": np.zeros(1)},
        "head/bias holds values that are not finite": {**good, "head/bias": np.full(16, np.nan)},
        "lstm_0/bias holds values that are not finite numbers": {
            **good,
            "lstm_0/bias": np.full(16, "x"),
        },
    }
    for message, weights in bad.items():
        with pytest.raises(ModelFileError) as caught:
            engine.load_weights(weights)
        assert message in str(caught.value)
        with pytest.raises(ModelFileError):
            make_engine(backend, spec, weights)
    for key, array in engine.dump_weights().items():
        np.testing.assert_array_equal(array, good[key])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_random_state_and_the_threads_of_the_caller_stay_untouched(backend):
    import torch

    spec, threads = SPECS["dropout"], torch.get_num_threads()
    make_engine(backend, SPECS["one_layer"], draw_weights(SPECS["one_layer"]))  # first import
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    engine = make_engine(backend, spec, init_weights(spec, 3))
    batch = draw_batch(spec)
    engine.predict_last(batch.features_BTF, batch.lengths_B)
    engine.compile(ADAM, MSE, seed=1)
    if backend != "numpy":
        engine.train_batch(batch, 0.01)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_an_unknown_backend_is_refused():
    spec = SPECS["one_layer"]
    with pytest.raises(UsageError, match="'jax' is not an engine"):
        make_engine("jax", spec, draw_weights(spec))


@pytest.mark.parametrize(("backend", "framework"), [("torch", "torch"), ("tensorflow", "keras")])
def test_a_missing_framework_names_the_line_that_installs_it(monkeypatch, backend, framework):
    monkeypatch.setitem(__import__("sys").modules, framework, None)
    for part in ("engine", "machine"):
        monkeypatch.delitem(
            __import__("sys").modules, f"explstm.models.{backend}_{part}", raising=False
        )
    spec = SPECS["one_layer"]
    with pytest.raises(BackendNotInstalledError, match=f"pip install 'explstm\\[{backend}\\]'"):
        make_engine(backend, spec, draw_weights(spec))


def test_the_numpy_engine_says_that_it_does_not_train(engine_of):
    spec = SPECS["one_layer"]
    engine = engine_of("numpy", spec)
    for refused in (
        lambda: engine.train_batch(draw_batch(spec), 0.1),
        lambda: engine.gradients(draw_batch(spec)),
        engine.dump_optimizer,
        lambda: engine.load_optimizer({}),
    ):
        with pytest.raises(UsageError, match="does not train"):
            refused()
