"""The windows of a tuning lie where they should, and know nothing of what comes after them."""

import numpy as np
import pytest

from explstm import ExpLSTM, ModelSpec
from explstm.errors import DataError, UsageError
from explstm.objective import SHORTEST_PAST, cut_folds, train_and_score
from panels import grow, make_panel

TINY = ExpLSTM(backend="torch", init="random", max_steps=8, spec=ModelSpec(hidden_sizes=(3,)))


def test_windows_lie_before_the_last_horizon():
    panel = make_panel(np.arange(40.0))
    folds = cut_folds(panel, h=3, n_windows=2, step_size=2, lag=1)
    pasts = [fold.past.y_S[-1] for fold in folds.search]
    futures = [fold.future_NH.tolist() for fold in folds.search]
    assert pasts == [31.0, 33.0]
    assert futures == [[[32.0, 33.0, 34.0]], [[34.0, 35.0, 36.0]]]
    assert folds.final.past.y_S[-1] == 36.0
    assert folds.final.future_NH.tolist() == [[37.0, 38.0, 39.0]]


def test_a_series_takes_part_where_enough_is_left_of_it():
    h, least = 3, SHORTEST_PAST
    series = [np.arange(float(n)) for n in (least + h - 1, least + h, least + 2 * h, least + 3 * h)]
    folds = cut_folds(make_panel(*series), h, n_windows=2, step_size=h, lag=1)
    assert [list(fold.past.ids_N) for fold in folds.search] == [["s3"], ["s2", "s3"]]
    assert list(folds.final.past.ids_N) == ["s1", "s2", "s3"]


def test_errors_are_in_units_of_the_mean_change_over_a_season():
    y = np.array([1.0, 5.0, 2.0, 7.0, 3.0, 9.0, 4.0, 11.0, 5.0, 13.0, 0.0, 0.0])
    folds = cut_folds(make_panel([*y, 9.0, 9.0], np.ones(14)), 2, 1, 2, lag=2)
    (fold,) = folds.search
    changes = [abs(y[t] - y[t - 2]) for t in range(2, 10)]
    assert list(fold.past.ids_N) == ["s0"], "a series that never changes has no unit"
    np.testing.assert_allclose(fold.scale_N, [np.mean(changes)], rtol=1e-12)
    found = fold.score(np.array([[3.0, -1.0]]))
    np.testing.assert_allclose(found, [2.0 / np.mean(changes)], rtol=1e-12)


def test_too_short_series_are_told_with_the_remedy():
    with pytest.raises(DataError, match=r"fewer or shorter windows") as raised:
        cut_folds(make_panel(np.arange(20.0)), 4, 3, 4, lag=1)
    assert raised.value.code == "DATA_TOO_SHORT"
    with pytest.raises(UsageError, match="n_windows=0"):
        cut_folds(make_panel(np.arange(20.0)), 4, 0, 4, lag=1)


def test_a_model_is_trained_once_before_all_windows(rng):
    panel = make_panel(*(grow(rng, 30) for _ in range(3)))
    folds = cut_folds(panel, 3, 2, 3, lag=1)
    found = train_and_score(TINY, folds.search, 3)
    model = ExpLSTM(**TINY.get_params()).fit(folds.search[0].past, h=3)
    for errors_N, fold in zip(found, folds.search, strict=True):
        forecast_NH = model.predict(fold.past)["ExpLSTM"].to_numpy().reshape(3, 3)
        np.testing.assert_allclose(errors_N, fold.score(forecast_NH), rtol=1e-12)


def test_looking_at_a_training_changes_nothing_and_ends_with_what_it_shows(rng):
    panel = make_panel(*(grow(rng, 30) for _ in range(3)))
    folds = cut_folds(panel, 3, 2, 3, lag=1).search
    seen = []
    looked = train_and_score(TINY, folds, 3, on_look=lambda part, error: seen.append((part, error)))
    plain = train_and_score(ExpLSTM(**TINY.get_params()), folds, 3)
    for one, other in zip(looked, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [part for part, _ in seen] == [1, 2, 3]
    half = ExpLSTM(**{**TINY.get_params(), "lr_schedule": "constant"})
    seen.clear()
    train_and_score(half, folds, 3, on_look=lambda part, error: seen.append(error))
    stopped = ExpLSTM(**{**half.get_params(), "max_steps": 4})
    errors = train_and_score(stopped, folds, 3)
    assert seen[1] == pytest.approx(np.mean([error.mean() for error in errors]), rel=1e-6)
