"""Losses equal slow loops over single forecasts, in every array namespace."""

import numpy as np
import pytest

from explstm.config import TrainingConfig
from explstm.models.losses import LossConfig, huber, pinball, weighted_loss

LEVELS = (0.1, 0.5, 0.8)


def loss_of_one(name, error, level):
    if name == "pinball":
        return level * error if error >= 0 else (level - 1) * error
    if name == "mae":
        return abs(error)
    if name == "mse":
        return error**2
    return error**2 / 2 if abs(error) <= 0.7 else 0.7 * (abs(error) - 0.35)


def slow_loss(name, quantiles_QRH, targets_RH, weights_RH):
    total = weight = 0.0
    for r, k in np.ndindex(targets_RH.shape):
        columns = range(3) if name == "pinball" else [1]
        losses = [
            loss_of_one(name, targets_RH[r, k] - quantiles_QRH[j, r, k], LEVELS[j]) for j in columns
        ]
        total += weights_RH[r, k] * sum(losses) / len(losses)
        weight += weights_RH[r, k]
    return total / weight


def namespaces():
    import keras
    import torch

    return {
        "numpy": (np, np.asarray),
        "torch": (torch, torch.as_tensor),
        "keras": (keras.ops, keras.ops.convert_to_tensor),
    }


@pytest.mark.parametrize("name", ["pinball", "mae", "mse", "huber"])
@pytest.mark.parametrize("namespace", ["numpy", "torch", "keras"])
def test_losses_equal_a_slow_loop(rng, namespace, name):
    quantiles_QRH = rng.standard_normal((3, 5, 4)).astype(np.float32)
    targets_RH = rng.standard_normal((5, 4)).astype(np.float32)
    weights_RH = rng.integers(0, 3, (5, 4)).astype(np.float32)
    xp, convert = namespaces()[namespace]
    arrays = [
        convert(array)
        for array in (quantiles_QRH, targets_RH, weights_RH, np.array(LEVELS, np.float32))
    ]
    loss = weighted_loss(LossConfig(name, 0.7), *arrays, 1, xp)
    assert float(loss) == pytest.approx(slow_loss(name, quantiles_QRH, targets_RH, weights_RH))


def test_pinball_by_hand():
    # 2 above a 90% forecast costs 1.8, 2 below it costs 0.2.
    np.testing.assert_allclose(pinball(np.array([2.0, -2.0, 0.0]), 0.9, np), [1.8, 0.2, 0.0])


def test_huber_by_hand():
    np.testing.assert_allclose(huber(np.array([0.5, -3.0]), 1.0, np), [0.125, 2.5])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_quantile_minimises_the_pinball_loss(level):
    sample = np.arange(1, 102, dtype=float)
    losses = [pinball(sample - forecast, level, np).mean() for forecast in sample]
    assert sample[np.argmin(losses)] == pytest.approx(1 + 100 * level, abs=1)


def test_the_loss_comes_from_the_training_configuration():
    config = TrainingConfig(loss="huber", huber_delta=0.25)
    assert LossConfig.from_training(config) == LossConfig("huber", 0.25)
