"""The space is a table that holds the model's own values, and that a caller narrows."""

import numpy as np
import pytest

from explstm import ExpLSTM, ModelSpec
from explstm.errors import UsageError
from explstm.search_space import (
    FINE_TUNING,
    FROM_SCRATCH,
    make_space,
    own_params,
    with_params,
)
from panels import make_panel

SCRATCH = ExpLSTM(backend="torch", init="random")
PRETRAINED = ExpLSTM(backend="torch")


def named(knobs):
    return {knob.name: knob for knob in knobs}


@pytest.mark.parametrize("model", [SCRATCH, PRETRAINED])
def test_the_table_holds_the_models_own_values(model):
    same, knobs = make_space(model)
    assert same.get_params() == model.get_params()
    assert knobs == (FROM_SCRATCH if model is SCRATCH else FINE_TUNING)
    own = own_params(model, knobs)
    assert all(knob.holds(own[knob.name]) for knob in knobs)


def test_every_value_of_the_tables_makes_a_model():
    for model, knobs in ((SCRATCH, FROM_SCRATCH), (PRETRAINED, FINE_TUNING)):
        for knob in knobs:
            for value in knob.ends():
                made = with_params(model, {knob.name: value})
                assert own_params(made, (knob,)) == {knob.name: value}


def test_defaults_follow_the_start():
    names = ("max_steps", "learning_rate", "window")
    assert [own_params(SCRATCH, named(FROM_SCRATCH))[name] for name in names] == [500, 5e-3, 128]
    assert [own_params(PRETRAINED, named(FINE_TUNING))[name] for name in names] == [200, 1e-3, None]


def test_a_models_own_value_joins_the_table():
    model = ExpLSTM(
        backend="torch",
        init="random",
        batch_size=48,
        learning_rate=0.05,
        spec=ModelSpec(hidden_sizes=(7,)),
    )
    knobs = named(make_space(model)[1])
    assert knobs["batch_size"].choices == (16, 32, 64, 128, 48)
    assert knobs["learning_rate"].high == 0.05
    assert (7,) in knobs["hidden_sizes"].choices


def test_parameters_reach_the_model_and_leave_the_rest():
    model = ExpLSTM(init="random", backend="torch", spec=ModelSpec(cell="slstm", forget_gate="exp"))
    made = with_params(model, {"hidden_sizes": (8, 4), "max_steps": 7})
    assert made.spec == ModelSpec(cell="slstm", forget_gate="exp", hidden_sizes=(8, 4))
    assert made.max_steps == 7
    assert model.spec.hidden_sizes == (64, 64)


def test_a_space_is_narrowed_widened_and_fixed():
    space = {
        "max_steps": {"low": 10, "high": 600, "log": True},
        "hidden_sizes": [[64, 64], [8]],
        "dense_sizes": [16],
        "cell": "slstm",
        "clip_norm": [0.5, 1.0],
        "growth": ["auto", "minmax"],
    }
    model, knobs = make_space(SCRATCH, space)
    found = named(knobs)
    assert (found["max_steps"].low, found["max_steps"].high) == (10, 600)
    assert found["hidden_sizes"].choices == ((64, 64), (8,))
    assert found["clip_norm"].choices == (0.5, 1.0)
    assert found["growth"].choices == ("auto", "minmax")
    assert "cell" not in found and "dense_sizes" not in found
    assert (model.spec.cell, model.spec.dense_sizes) == ("slstm", (16,))


@pytest.mark.parametrize(
    ("model", "space", "words"),
    [
        (SCRATCH, {"max_step": 3}, "did you mean max_steps"),
        (SCRATCH, {"random_seed": [1, 2]}, "random_seed is not an option"),
        (PRETRAINED, {"hidden_sizes": [[8], [64, 64]]}, "hidden_sizes is not an option"),
        (SCRATCH, {"max_steps": {"low": 9, "high": 3}}, "no range"),
        (SCRATCH, {"max_steps": {"low": 9}}, "no range"),
        (SCRATCH, {"learning_rate": {"low": 0.0, "high": 0.1, "log": True}}, "above 0 with log"),
        (SCRATCH, {"max_steps": {"low": 1, "hgih": 2}}, "hgih is not an option"),
        (SCRATCH, {"cell": []}, "no choice"),
        (SCRATCH, {"cell": ["lstm", "gru"]}, "gru"),
        (SCRATCH, {"dropout": {"low": 0.0, "high": 1.5}}, "1.5"),
        (SCRATCH, {"max_steps": [10, 20]}, "does not hold the model's own value 500"),
        (SCRATCH, {"max_steps": {"low": 10, "high": 20}}, "model's own value 500"),
    ],
)
def test_a_space_that_cannot_be_used_is_refused(model, space, words):
    with pytest.raises(UsageError, match=words):
        make_space(model, space)


def test_choices_that_the_models_other_settings_rule_out_are_left_out():
    exp = ExpLSTM(backend="torch", init="random", spec=ModelSpec(cell="slstm", forget_gate="exp"))
    assert "cell" not in named(make_space(exp)[1])
    heads = ModelSpec(cell="slstm", n_heads=3, hidden_sizes=(9,))
    found = named(make_space(ExpLSTM(backend="torch", init="random", spec=heads))[1])
    assert found["hidden_sizes"].choices == ((96, 96), (9,))


def test_choices_that_the_series_make_impossible_or_equal_are_left_out(rng):
    grows, falls = np.arange(1.0, 41.0), np.arange(20.0, -20.0, -1.0)
    knobs = named(make_space(SCRATCH, None, make_panel(grows, falls))[1])
    assert knobs["growth"].choices == ("auto", "asinh")
    assert knobs["window"].choices == (32, 64, 128)  # 64 sees all of 40 steps; 128 is its own
    knobs = named(make_space(PRETRAINED, None, make_panel(grows))[1])
    assert knobs["growth"].choices == ("auto", "log", "asinh")
    assert knobs["window"].choices == (None, 32, 64)
