"""Pretraining: batches from the prior, judged on real series, and a run that can be killed."""

import itertools

import numpy as np
import pandas as pd
import pytest

from explstm import ExpLSTM, ModelSpec, pretrain
from explstm.commands.pretrain import pretrain_network
from explstm.config import TrainingConfig
from explstm.datasets.competitions import Group
from explstm.errors import UsageError
from explstm.growth import to_growth_space
from explstm.models.engine import make_engine
from explstm.models.spec import init_weights
from explstm.origins import OriginBatches
from explstm.prediction import Preprocessing, forecast_panel
from explstm.pretrain import PretrainConfig, PriorBatches, judge_on, read_config, train_network
from explstm.synthetic import Prior, draw_levels
from panels import make_panel

SMALL = """
shapes = [[4, 20], [6, 9]]

[network]
cell = "slstm"
hidden_sizes = [4]
horizon = 5

[training]
max_steps = 6
val_check_steps = 2
learning_rate = 0.01
"""


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_configuration_is_read(config_file):
    config = read_config(config_file)
    assert config.shapes == ((4, 20), (6, 9))
    assert (config.network.cell, config.network.horizon) == ("slstm", 5)
    assert config.training.max_steps == 6 and config.prior == Prior()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shapes = [", "TOML"),
        ("shapes = []", "shapes"),
        ("steps = 3", "steps is not an option"),
        ("[prior]\nupward = 2", "upward"),
        ("[network]\ncell = 'gru'", "cell"),
        ("[network]\nn_features = 3", "n_features=3 cannot be shown"),
        ("[network]\nn_features = 12", "n_features=12 cannot be shown"),
        ("judges = ['M5']", "judges"),
        ("network = 3", "network"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(tmp_path, text, words):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_config(path)


def test_a_long_configuration_is_refused_before_it_is_taken_apart(tmp_path, monkeypatch):
    """A dotted key of 40 kB takes six seconds, a device has no end."""
    path = tmp_path / "long.toml"
    path.write_text(SMALL + "#" * 12_000)
    monkeypatch.setattr(pretrain.tomllib, "loads", lambda _: pytest.fail("it was taken apart"))
    size = f"{len(SMALL) + 12_000:,}"
    with pytest.raises(UsageError, match=f"PRETRAIN_CONFIG.*{size} bytes, more than 12,000"):
        read_config(path)
    with pytest.raises(UsageError, match="12,001 bytes, more than 12,000"):
        read_config("/dev/zero")


def test_batches_are_a_function_of_seed_and_step(config_file):
    config = read_config(config_file)
    one, two = PriorBatches(config), PriorBatches(config)
    two.batch(7)
    for field in ("features_BTF", "targets_RH", "origins_BT"):
        np.testing.assert_array_equal(getattr(one.batch(3), field), getattr(two.batch(3), field))
    shapes = {one.batch(step).features_BTF.shape[:2] for step in range(20)}
    assert shapes == {(4, 20), (6, 9)}


def test_a_batch_shows_made_series_as_training_shows_real_ones():
    """The same levels as data, through panel, growth space and origins."""
    network = ModelSpec(horizon=5)
    config = PretrainConfig(shapes=[[6, 30]], network=network)
    batch = PriorBatches(config).batch(0)
    rng = np.random.default_rng((1, 0))
    rng.integers(1)
    z_NT = draw_levels(config.prior, rng, 6, 35)
    space = to_growth_space(make_panel(*np.exp(z_NT)), growth="log", season_length=1)
    origins = OriginBatches(space, 5, batch_size=6, window=35, warm_up=3, seed=1).batch(0)
    # The supply of training shuffles its series: find each by its features.
    for row in range(6):
        same = [
            other
            for other in range(6)
            if np.allclose(
                batch.features_BTF[row], origins.features_BTF[other, :30], rtol=1e-3, atol=1e-3
            )
        ]
        assert len(same) == 1
        found = batch.targets_RH[np.nonzero(batch.origins_BT)[0] == row]
        expected = origins.targets_RH[np.nonzero(origins.origins_BT)[0] == same[0]][: len(found)]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert (batch.weights_RH == 1).all()


def test_without_competitions_nothing_is_judged():
    assert judge_on(PretrainConfig()) is None


def test_the_judge_is_the_geometric_mean_of_both_errors_on_the_last_three_ends(monkeypatch):
    """Two groups whose test part is missing; errors and scales counted series by series."""

    def table(*series):
        return pd.concat(
            pd.DataFrame({"unique_id": f"s{i}", "ds": np.arange(len(y)), "y": y})
            for i, y in enumerate(series)
        )

    rng = np.random.default_rng(0)
    walks = [np.exp(np.cumsum(rng.normal(0, 0.1, n))) for n in (40, 30, 14, 25, 11)]
    groups = (
        Group("a", 1, 3, table(*walks[:3]), None),
        Group("b", 12, 2, table(*walks[3:], np.full(20, 3.0)), None),
        Group("c", 1, 4, table(walks[2]), None),
    )
    monkeypatch.setattr(pretrain, "load_groups", lambda _: groups)
    config = PretrainConfig(judges=["M1"], network=ModelSpec(hidden_sizes=(3,), horizon=5))
    engine = make_engine("numpy", config.network, init_weights(config.network, 1))
    scores, parts, counts = [], [], []
    for group in groups:
        errors, h = [], group.horizon
        for _, y in group.train.groupby("unique_id")["y"]:
            for end in (len(y), len(y) - h, len(y) - 2 * h):
                past, future = y.to_numpy()[: end - h], y.to_numpy()[end - h : end]
                if len(past) < 8:
                    continue
                counts.append(group.name)
                lag = group.season_length if len(past) > group.season_length else 1
                scale = np.abs(past[lag:] - past[:-lag]).mean()
                view = Preprocessing("auto", (group.season_length,), 512, "linear")
                found = forecast_panel(engine, make_panel(past), view, h)[0, :, 0]
                if scale > 0:
                    errors.append(np.abs(found - future).mean() / scale)
                parts += list(200 * np.abs(found - future) / (np.abs(found) + np.abs(future)))
        scores.append(np.mean(errors))
    assert [counts.count(name) for name in "abc"] == [3 + 3 + 2, 3 + 1 + 3, 1]
    mase, smape = np.prod(scores) ** (1 / 3), np.mean(parts)
    assert judge_on(config)(engine) == pytest.approx(np.sqrt(mase * smape), rel=1e-5)


def test_a_run_leaves_a_model_of_any_frequency(config_file, tmp_path):
    out = tmp_path / "run"
    pretrain_network(config_file, out)
    assert sorted(path.name for path in out.iterdir()) == ["model", "run.json", "training.csv"]
    model = ExpLSTM.load(out / "model")
    assert model.horizon_ == 5 and model.freq_ is None
    for freq in ("MS", "YS", "D"):
        dates = pd.date_range("2000-01-01", periods=30, freq=freq)
        forecast = model.predict(pd.DataFrame({"ds": dates, "y": np.arange(1.0, 31)}), level=[80])
        assert len(forecast) == 5 and np.isfinite(forecast["ExpLSTM-hi-80"]).all()


def test_a_killed_run_is_resumed_to_the_same_bits(config_file, tmp_path):
    def stop_at_four(row):
        if row.step == 4:
            raise KeyboardInterrupt

    pretrain_network(config_file, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrain_network(config_file, tmp_path / "run", on_step=stop_at_four)
    pretrain_network(config_file, tmp_path / "run", resume=True)
    whole, resumed = (ExpLSTM.load(tmp_path / name / "model") for name in ("whole", "run"))
    for name, array in whole.weights_.items():
        np.testing.assert_array_equal(resumed.weights_[name], array)


def test_the_last_weights_are_kept_whatever_the_judge_says(config_file, tmp_path, monkeypatch):
    looks = itertools.count(1.0)
    monkeypatch.setattr(pretrain, "judge_on", lambda config: lambda engine: next(looks))
    config = read_config(config_file)
    result = train_network(config, backend="torch", checkpoint_dir=tmp_path / "checkpoints")
    assert result.best_step == config.training.max_steps
    judged = [row.valid_loss for row in result.log if row.valid_loss is not None]
    assert judged == [float(number) for number in range(1, len(judged) + 1)]


def test_a_run_learns():
    """Thirty steps on drifts take the loss of a fresh network down."""
    config = PretrainConfig(
        shapes=[[64, 40]],
        network=ModelSpec(hidden_sizes=(8,), horizon=6),
        training=TrainingConfig(max_steps=30, learning_rate=0.02),
    )
    from explstm.training import train

    engine = make_engine("torch", config.network, init_weights(config.network, 1))
    log = train(engine, PriorBatches(config), config.training).log
    losses = [row.train_loss for row in log]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
