"""The held-out end judges the training and takes no part in it."""

import numpy as np
import pytest

from explstm.config import TrainingConfig
from explstm.errors import DataError
from explstm.holdout import split_holdout, validation_size
from explstm.models.engine import OptimizerConfig
from explstm.models.losses import LossConfig
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import ModelSpec, init_weights
from explstm.prediction import Preprocessing
from panels import grow, make_panel

PLAIN = Preprocessing("log", (1,), 64)


def still_engine(config, horizon):
    """A point network that always forecasts the last value."""
    spec = ModelSpec(hidden_sizes=(3,), horizon=horizon, quantiles=(0.5,))
    weights = init_weights(spec, 1)
    weights["head/kernel"][:] = 0
    engine = NumpyEngine(spec, weights)
    engine.compile(OptimizerConfig.from_training(config), LossConfig.from_training(config))
    return engine


@pytest.mark.parametrize("val_size", [2, 3, 7])
def test_the_loss_is_the_mean_error_over_all_held_out_values(val_size, rng):
    """In three batches of unequal size; at most the horizon is compared, a still series never."""
    h = 4
    series = [grow(rng, n) for n in (30, 22, 41, 18, 35)]
    config = TrainingConfig(val_size=val_size, batch_size=2, scale_weight=0, loss="mae")
    _, validate = split_holdout(make_panel(*series, [5.0] * 20), PLAIN, config, h)
    errors = []
    for y in series:
        z = np.log(y[:-val_size])
        scale = np.average(np.abs(np.diff(z)), weights=0.97 ** np.arange(len(z) - 1.0)[::-1])
        held_out = np.log(y[-val_size:])[:h]
        errors += list(np.abs(held_out - z[-1]) / scale)
    assert validate(still_engine(config, h)) == pytest.approx(np.mean(errors), rel=1e-5)


def test_scale_weights_count_errors_as_in_training(rng):
    series = [grow(rng, 30, noise=0.3), grow(rng, 30, noise=0.01)]
    config = TrainingConfig(val_size=2, scale_weight=1, loss="mae")
    _, validate = split_holdout(make_panel(*series), PLAIN, config, 2)
    errors, weights = [], []
    for y in series:
        z = np.log(y)
        scale = np.average(np.abs(np.diff(z[:-2])), weights=0.97 ** np.arange(27.0)[::-1])
        errors += list(np.abs(z[-2:] - z[-3]) / scale)
        weights += [scale, scale]
    expected = np.average(errors, weights=weights)
    assert validate(still_engine(config, 2)) == pytest.approx(expected, rel=1e-5)


def test_what_is_trained_on_knows_nothing_of_the_held_out_values(rng):
    pasts = [grow(rng, n) * np.resize([1.3, 0.8, 1.0, 0.9], n) for n in (30, 41)]
    futures = [np.concatenate((y[:-3], [-7.0, 0.0, 1e9])) for y in pasts]
    cut = [y[:-3] for y in pasts]
    spaces = [
        split_holdout(
            make_panel(*series), Preprocessing("auto", (4,), 64), TrainingConfig(val_size=size), 3
        )[0]
        for series, size in ((pasts, 3), (futures, 3), (cut, 0))
    ]
    for other in spaces[1:]:
        for name in ("z_S", "anchor_S", "scale_S", "features_SF"):
            np.testing.assert_array_equal(getattr(spaces[0], name), getattr(other, name))


def test_without_held_out_steps_all_are_trained_on(rng):
    panel = make_panel(grow(rng, 30))
    space, validate = split_holdout(panel, PLAIN, TrainingConfig(), 3)
    assert validate is None and space.lengths_N.tolist() == [30]


def test_a_series_that_would_be_used_up_is_refused(rng):
    config = TrainingConfig(val_size=3)
    with pytest.raises(DataError, match="series 's1' has 3 steps, of which none would be left"):
        split_holdout(make_panel(grow(rng, 30), [1.0, 2.0, 3.0]), PLAIN, config, 3)


def test_nothing_to_judge_by_is_refused():
    config = TrainingConfig(val_size=3)
    with pytest.raises(DataError, match="val_size=3 leaves no series that moved before the held"):
        split_holdout(make_panel([5.0] * 20 + [6.0, 7.0, 8.0]), PLAIN, config, 3)


@pytest.mark.parametrize(("shortest", "expected"), [(32, 8), (31, 0)])
def test_one_horizon_is_validated_on_where_there_is_room(shortest, expected):
    assert validation_size(shortest, 8) == expected
