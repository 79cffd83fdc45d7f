"""Networks with their graphs, which engines hand on: nothing of an engine reaches the next one."""

import numpy as np
import pytest

from contract.conftest import ADAM, MSE, PINBALL, SPECS, draw_batch, draw_weights
from explstm.errors import ModelFileError
from explstm.models.tensorflow_engine import TensorFlowEngine
from explstm.models.tensorflow_machine import MOST_IDLE, _idle_machines

SPEC = SPECS["batch_norm"]


@pytest.fixture(autouse=True)
def _none_idle():
    _idle_machines.clear()


def train(engine, seed=1, optimizer=ADAM, loss=MSE):
    """Three steps; every number that a training leaves."""
    engine.compile(optimizer, loss, seed=seed)
    losses = [engine.train_batch(draw_batch(engine.spec, seed=step), 0.05) for step in range(3)]
    return losses, {**engine.dump_weights(), **engine.dump_optimizer()}


def assert_equal(ours, theirs):
    assert ours[0] == theirs[0]
    assert ours[1].keys() == theirs[1].keys()
    for name, array in ours[1].items():
        np.testing.assert_array_equal(array, theirs[1][name], err_msg=name)


def test_the_machine_of_an_engine_that_is_gone_is_used_again():
    engine = TensorFlowEngine(SPEC, draw_weights(SPEC))
    machine = engine._machine
    del engine
    assert TensorFlowEngine(SPEC, draw_weights(SPEC))._machine is machine


@pytest.mark.parametrize("name", ["batch_norm", "dropout", "slstm"])
def test_an_engine_on_a_used_machine_trains_as_on_a_new_one(name):
    spec = SPECS[name]
    fresh = train(TensorFlowEngine(spec, draw_weights(spec)))
    former = TensorFlowEngine(spec, draw_weights(spec, seed=2))
    train(former, seed=7)
    machine = former._machine
    del former
    engine = TensorFlowEngine(spec, draw_weights(spec))
    assert engine._machine is machine
    assert_equal(train(engine), fresh)
    assert_equal(train(TensorFlowEngine(spec, draw_weights(spec)), loss=PINBALL), train_new(spec))


def train_new(spec):
    _idle_machines.clear()
    return train(TensorFlowEngine(spec, draw_weights(spec)), loss=PINBALL)


def test_living_engines_never_share_a_machine():
    ours, theirs = (TensorFlowEngine(SPEC, draw_weights(SPEC, seed)) for seed in (1, 2))
    features, lengths = np.ones((1, 4, SPEC.n_features), np.float32), np.array([4])
    before = ours.predict_last(features, lengths)
    train(theirs)
    np.testing.assert_array_equal(ours.predict_last(features, lengths), before)
    assert not np.allclose(theirs.predict_last(features, lengths), before)


def test_a_refused_engine_gives_its_machine_back():
    with pytest.raises(ModelFileError, match="head/bias"):
        TensorFlowEngine(SPEC, {**draw_weights(SPEC), "head/bias": np.zeros(1)})
    assert len(_idle_machines) == 1


def test_few_machines_are_kept():
    engines = [TensorFlowEngine(SPEC, draw_weights(SPEC)) for _ in range(MOST_IDLE + 2)]
    latest = engines[-1]._machine
    while engines:
        engines.pop(0)
    assert len(_idle_machines) == MOST_IDLE
    assert _idle_machines[-1] is latest
