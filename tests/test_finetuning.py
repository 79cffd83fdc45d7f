"""Fine-tuning goes as far as held-out ends say that it helps, and no further."""

import numpy as np
import pytest

from explstm import ExpLSTM, finetuning
from explstm.bundle import load_pretrained
from explstm.errors import UsageError
from explstm.finetuning import mix_weights, pick_simplest, scaled_losses
from explstm.training import LogRow
from panels import grow, make_panel

QUICK = {"backend": "torch", "season_length": 1, "max_steps": 4, "val_check_steps": 2}


def zigzag(rng, n, up=0.3, down=-0.2):
    """A step up, a step down: what no prior expects and any panel of it teaches."""
    return np.exp(np.cumsum(np.resize([up, down], n) + rng.normal(0, 0.01, n)) + rng.normal())


@pytest.fixture
def runs(monkeypatch):
    """The panels that networks are trained on, in their order."""
    panels, fit = [], finetuning.fit_network

    def fit_network(start, panel, course):
        panels.append(panel)
        return fit(start, panel, course)

    monkeypatch.setattr(finetuning, "fit_network", fit_network)
    return panels


def test_the_simplest_within_one_standard_error_of_the_best_is_picked():
    best, close, far = [[2.0, 1], [1, 2]], [[3.0, 1], [1, 2]], [[3.0, 2], [2, 3]]
    # far: 1 worse everywhere. close: 1 worse once in four, mean 0.25, deviation 0.5 over sqrt(2)
    assert pick_simplest(np.array([far, close, best])) == 1
    assert pick_simplest(np.array([far, best, close])) == 1
    assert pick_simplest(np.array([best, far, close])) == 0
    closer = np.tile([[1.0, 0], [0, 0]], (2, 1))  # four series: 0.463 over 2 is less than 0.25
    assert pick_simplest(np.array([closer + 1, np.ones((4, 2))])) == 1
    # the steps of one series: 1 and 3 better, mean 2, deviation sqrt(2); 0 and 3: 1.5 and 2.12
    assert pick_simplest(np.array([[[1.0, 3]], [[0.0, 0]]])) == 1
    assert pick_simplest(np.array([[[0.0, 3]], [[0.0, 0]]])) == 0
    assert pick_simplest(np.array([[[9.0]], [[0.0]]])) == 0, "a single value tells nothing"


def test_losses_are_pinball_in_units_of_the_mean_step():
    past = make_panel([10.0, 12, 11], [5.0, 5, 5, 5])
    y_NHP = np.array([[[12.0, 14.0]], [[4.0, 6.0]]])
    # 13 lies 1 above the 0.2 quantile and 1 below the 0.8 one: 0.2 each, over a mean step of 1.5
    found_NH = scaled_losses(past, np.array([[13.0], [9.0]]), y_NHP, (0.2, 0.8))
    np.testing.assert_allclose(found_NH, [[0.2 / 1.5], [0.0]])


def test_mixed_weights_are_weighted_means_and_the_ends_are_themselves():
    start = {"w": np.array([0.0, 4.0], np.float32)}
    tuned = {"w": np.array([1.0, 2.0], np.float32)}
    mixed = mix_weights(start, tuned, 0.25)["w"]
    np.testing.assert_allclose(mixed, [0.25, 3.5])
    assert mixed.dtype == np.float32
    assert mix_weights(start, tuned, 0.0) is start
    assert mix_weights(start, tuned, 1.0) is tuned


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_what_a_panel_teaches_is_learnt(rng, backend):
    series = [zigzag(rng, n) for n in range(40, 60)]
    past, future = [y[:-3] for y in series], np.array([y[-3:] for y in series])
    settings = QUICK | {"backend": backend, "max_steps": 40, "learning_rate": 0.01}
    model = ExpLSTM(**settings).fit(make_panel(*past), h=3)
    found = model.predict(h=3)["ExpLSTM"].to_numpy().reshape(-1, 3)
    plain = ExpLSTM(season_length=1).predict(make_panel(*past), h=3)
    plain = plain["ExpLSTM"].to_numpy().reshape(-1, 3)
    assert model.share_ >= 0.5
    assert np.abs(found - future).mean() < 0.7 * np.abs(plain - future).mean()


def test_training_that_harms_leaves_the_weights_as_they_were(rng, runs):
    panel = make_panel(*(grow(rng, n) for n in range(40, 52)))
    careless = {"learning_rate": 0.5, "clip_norm": 100.0}
    model = ExpLSTM(**QUICK, **careless).fit(panel, h=6)
    assert model.share_ == 0
    for name, array in load_pretrained().weights.items():
        np.testing.assert_array_equal(model.weights_[name], array)
    assert len(runs) == 1  # nothing to train for


def test_ends_of_long_series_are_held_out_and_then_learnt_from(rng, runs, monkeypatch):
    """Short series, and long ones that stood still before the end, stay whole from the start."""
    still = np.r_[np.full(30, 2.0), 3.0, 4.0, 5.0]
    panel = make_panel(grow(rng, 24), grow(rng, 23), grow(rng, 60), still)
    monkeypatch.setattr(finetuning, "pick_simplest", lambda _: 4)
    model = ExpLSTM(**QUICK).fit(panel, h=6)
    assert [run.lengths_N.tolist() for run in runs] == [[18, 23, 54, 33], [24, 23, 60, 33]]
    assert model.share_ == 1
    whole = ExpLSTM(**QUICK, val_size=0).fit(panel, h=6)
    for name, array in whole.weights_.items():
        np.testing.assert_array_equal(model.weights_[name], array)


@pytest.mark.parametrize("loss", ["huber", "pinball"])
def test_shares_are_judged_by_what_is_trained(rng, monkeypatch, loss):
    """Quantiles that were not trained say nothing."""
    judged, score = [], finetuning.scaled_losses

    def scaled_losses(past, future_NH, y_NHP, probabilities):
        judged.append(probabilities)
        return score(past, future_NH, y_NHP, probabilities)

    monkeypatch.setattr(finetuning, "scaled_losses", scaled_losses)
    model = ExpLSTM(**QUICK, loss=loss).fit(make_panel(grow(rng, 40)), h=6)
    assert set(judged) == {(0.5,) if loss == "huber" else model.spec_.quantiles}


@pytest.mark.parametrize(
    ("series", "h"),
    [
        ([[1.0, 2, 3, 2, 4]], 1),  # after a hold-out too short to train on
        ([[3.0] * 6 + [4.0, 5.0]] * 3, 1),  # the only move is the last step that would be kept
        ([[1.0, 2, 3, 2, 4, 5, 4, 6]], 1),  # one value to judge by
    ],
)
def test_where_held_out_steps_cannot_tell_half_is_taken(series, h, runs):
    model = ExpLSTM(**QUICK).fit(make_panel(*series), h=h)
    assert model.share_ == 0.5
    assert len(runs) == 1


def test_what_is_left_as_it_was_is_told_of_the_whole_history(rng, monkeypatch):
    """The last value is negative, so the curve is not the logarithm."""
    monkeypatch.setattr(finetuning, "pick_simplest", lambda _: 0)
    model = ExpLSTM(**QUICK).fit(make_panel(np.r_[grow(rng, 60), -5.0]), h=6)
    assert model.share_ == 0
    assert model.growth_["curve"].tolist() == ["linear"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {"val_size": 0}),
        ({}, {"init": "random"}),
        ({"val_size": 0}, {}),
        ({}, {"steps": 20}),  # too short to hold anything out
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_checkpoints_of_another_kind_of_run_are_refused(rng, tmp_path, first, then, resume):
    y = grow(rng, 60)

    def fit(steps=60, resume=False, **changes):
        model = ExpLSTM(**QUICK, **changes)
        model.fit(make_panel(y[:steps]), h=6, checkpoint_dir=tmp_path, resume=resume)

    fit(**first)
    with pytest.raises(UsageError, match=r"CHECKPOINT_EXISTS: .*another init or val_size"):
        fit(**then, resume=resume)


def test_where_no_series_is_long_enough_half_is_taken(rng, runs):
    panel = make_panel(grow(rng, 20), grow(rng, 23))
    model = ExpLSTM(**QUICK).fit(panel, h=6)
    whole = ExpLSTM(**QUICK, val_size=0).fit(panel, h=6)
    assert model.share_ == 0.5
    for name, start in load_pretrained().weights.items():
        expected = (start.astype(np.float64) + whole.weights_[name]) / 2
        np.testing.assert_allclose(model.weights_[name], expected, atol=1e-6)
    again = model.predict(panel, h=6)["ExpLSTM"]
    np.testing.assert_allclose(again, model.predict(h=6)["ExpLSTM"], rtol=0)


def test_a_run_that_was_stopped_in_its_second_half_goes_on_to_the_same_weights(
    rng, tmp_path, monkeypatch
):
    panel = make_panel(*(grow(rng, n) for n in (40, 50)))
    monkeypatch.setattr(finetuning, "pick_simplest", lambda _: 2)
    expected = ExpLSTM(**QUICK).fit(panel, h=6)
    rows: list[LogRow] = []

    def stop(row):
        rows.append(row)
        if len(rows) == 7:  # step 3 of the second run
            raise InterruptedError

    with pytest.raises(InterruptedError):
        ExpLSTM(**QUICK).fit(panel, h=6, checkpoint_dir=tmp_path / "kept", on_step=stop)
    resumed = ExpLSTM(**QUICK).fit(panel, h=6, checkpoint_dir=tmp_path / "kept", resume=True)
    assert resumed.share_ == expected.share_ == 0.5
    for name, array in expected.weights_.items():
        np.testing.assert_array_equal(resumed.weights_[name], array)


def test_many_series_are_judged_by_some_of_them_evenly_spaced(rng, monkeypatch):
    monkeypatch.setattr(finetuning, "JUDGED_SERIES", 3)
    judged = []
    monkeypatch.setattr(finetuning, "pick_simplest", lambda losses: judged.append(losses) or 0)
    ExpLSTM(**QUICK).fit(make_panel(*(grow(rng, 40) for _ in range(9))), h=6)
    assert judged[0].shape == (5, 3, 6)
