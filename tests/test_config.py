"""Settings are refused in one sentence that names the key, what was found, and the remedy."""

import numpy as np
import pytest

from explstm.config import TrainingConfig, choose, refuse_unknown
from explstm.errors import UsageError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_steps": 0}, "max_steps=0 cannot be used: input should be greater than or equal to"),
        ({"batch_size": 0}, "batch_size=0 cannot be used"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 cannot be used: input should be greater"),
        ({"learning_rate": float("nan")}, "learning_rate=nan cannot be used"),
        ({"learning_rate": float("inf")}, "learning_rate=inf cannot be used"),
        ({"lr_schedule": "cosinus"}, "lr_schedule='cosinus' cannot be used: input should be"),
        ({"optimizer": "sgd"}, "optimizer='sgd' cannot be used: input should be 'adam' or"),
        ({"weight_decay": -0.1, "optimizer": "adamw"}, "weight_decay=-0.1 cannot be used"),
        ({"beta_1": 1.0}, "beta_1=1.0 cannot be used"),
        ({"beta_2": 1.0}, "beta_2=1.0 cannot be used"),
        ({"epsilon": 0.0}, "epsilon=0.0 cannot be used"),
        ({"loss": "rmse"}, "loss='rmse' cannot be used: input should be 'pinball'"),
        ({"huber_delta": 0.0}, "huber_delta=0.0 cannot be used"),
        ({"clip_norm": 0.0}, "clip_norm=0.0 cannot be used"),
        ({"val_size": -1}, "val_size=-1 cannot be used"),
        ({"val_check_steps": 0}, "val_check_steps=0 cannot be used"),
        ({"early_stop_patience": -2}, "early_stop_patience=-2 cannot be used"),
        ({"window": 0}, "window=0 cannot be used"),
        ({"warm_up": 0}, "warm_up=0 cannot be used"),
        ({"reflection": 0.6}, "reflection=0.6 cannot be used"),
        ({"scale_weight": 1.5}, "scale_weight=1.5 cannot be used"),
        ({"random_seed": -1}, "random_seed=-1 cannot be used"),
        ({"random_seed": 2**32}, "random_seed=4294967296 cannot be used"),
        (
            {"random_seed": True},
            "random_seed=True cannot be used: true and false are no numbers; pass a number.",
        ),
        ({"max_steps": np.True_}, "max_steps=np.True_ cannot be used: true and false are no"),
        ({"learning_rate": True}, "learning_rate=True cannot be used: true and false are no"),
        ({"loss": True}, "loss=True cannot be used: input should be 'pinball'"),
        ({"window": 10**30}, f"window={10**30} cannot be used: input should be less than or equal"),
        ({"val_size": 10**30}, f"val_size={10**30} cannot be used"),
        ({"max_steps": 10**13}, "max_steps=10000000000000 cannot be used"),
        ({"batch_size": 10**30}, f"batch_size={10**30} cannot be used"),
        ({"val_check_steps": 10**30}, f"val_check_steps={10**30} cannot be used"),
        ({"early_stop_patience": 10**30}, f"early_stop_patience={10**30} cannot be used"),
        ({"warm_up": 10**30}, f"warm_up={10**30} cannot be used"),
        ({"max_steps": "many"}, "max_steps='many' cannot be used: input should be a valid integer"),
        ({"max_steps": 2.5}, "max_steps=2.5 cannot be used"),
        ({"max_steps": None}, "max_steps=None cannot be used"),
        ({"weight_decay": 0.1}, "weight_decay=0.1 needs optimizer='adamw', found 'adam'; set"),
        ({"early_stop_patience": 3}, "early_stop_patience=3 needs held-out steps, found val_size="),
        ({"max_step": 5}, "CONFIG_UNKNOWN_KEY: max_step is not an option; did you mean max_steps?"),
        ({"zzz": 5}, "zzz is not an option; known: max_steps, batch_size"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(values, message):
    with pytest.raises(UsageError) as caught:
        TrainingConfig(**values)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text and ".." not in text and "value error" not in text
    assert len(text) < 300


def test_a_configuration_cannot_be_changed_and_is_worth_its_values():
    config = TrainingConfig(max_steps=7)
    with pytest.raises(ValueError, match="frozen"):
        config.max_steps = 8
    assert config == TrainingConfig(max_steps=7) != TrainingConfig()
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_numbers_of_numpy_become_numbers_of_python():
    config = TrainingConfig(max_steps=np.int64(7), learning_rate=np.float64(0.25))
    assert (type(config.max_steps), type(config.learning_rate)) == (int, float)


def test_a_choice_names_the_nearest():
    choose("backend", "torch", ("numpy", "torch"))
    with pytest.raises(UsageError, match="backend='tensor' cannot be used; did you mean 'tenso"):
        choose("backend", "tensor", ("torch", "tensorflow"))
    with pytest.raises(UsageError, match=r"backend=3 cannot be used; use one of numpy, torch\."):
        choose("backend", 3, ("numpy", "torch"))
    refuse_unknown(["a"], ["a", "b"])
