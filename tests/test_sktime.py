"""The forecaster for sktime: its own checks on every engine, and what these do not look at."""

import importlib
import inspect
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.model_evaluation import evaluate
from sktime.split import ExpandingWindowSplitter, SlidingWindowSplitter
from sktime.utils.estimator_checks import check_estimator

from explstm import BackendNotInstalledError, DataError, ExpLSTM, ModelSpec, UsageError
from explstm.datasets import load_air_passengers
from explstm.sktime import ExpLSTMForecaster
from sktime_engines import FORECASTERS

FEWEST_CHECKS = 750
SMALL = ModelSpec(hidden_sizes=(4,), cell="slstm", quantiles=(0.1, 0.5, 0.9))
QUICK = {"init": "random", "spec": SMALL, "max_steps": 3, "horizon": 3}
ENGINES = {"numpy": {}, "torch": QUICK, "tensorflow": QUICK}

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def passengers():
    table = load_air_passengers()
    return pd.Series(
        table["y"].to_numpy(), index=pd.PeriodIndex(table["ds"], freq="M"), name="passengers"
    )


def grow(rate, start=100.0, n=60):
    return pd.Series(start * (1 + rate) ** np.arange(n), name="users")


def make_panel(*series):
    """A table of several series, as sktime has them."""
    return pd.concat({f"series {i}": y.to_frame("users") for i, y in enumerate(series)})


def forecast(forecaster, y):
    return forecaster.fit(y).predict(fh=[1, 2, 3])


@pytest.mark.slow
@pytest.mark.parametrize("engine", FORECASTERS)
def test_the_checks_of_sktime_pass_completely(engine):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(FORECASTERS[engine], raise_exceptions=False, verbose=False)
    failed = {name: found for name, found in results.items() if str(found) != "PASSED"}
    assert failed == {}
    assert len(results) >= FEWEST_CHECKS


# ------------------------------------------------------------------------ what the checks let pass


@pytest.mark.parametrize("engine", ENGINES)
def test_instances_share_no_state(engine):
    ours, theirs = grow(0.03), pd.Series(np.sin(np.arange(60.0)) * 50, name="waves")
    make = lambda: ExpLSTMForecaster(backend=engine, **ENGINES[engine])  # noqa: E731
    alone = forecast(make(), theirs)
    first, second = make(), make()
    before = forecast(first, ours)
    pd.testing.assert_series_equal(forecast(second, theirs), alone, check_exact=True)
    pd.testing.assert_series_equal(first.predict(fh=[1, 2, 3]), before, check_exact=True)


@pytest.mark.parametrize("engine", ["torch", "tensorflow"])
def test_a_clone_that_is_pretrained_further_leaves_the_first_as_it_was(engine):
    panel = make_panel(grow(0.02), grow(0.05, start=9))
    eager = {**QUICK, "val_size": 0, "learning_rate": 0.05}
    first = ExpLSTMForecaster(backend=engine, **eager).pretrain(panel)
    before = forecast(first, grow(0.01))
    second = first.clone().pretrain(make_panel(grow(-0.02), grow(-0.01)))
    assert not np.allclose(forecast(second, grow(0.01)), before, rtol=1e-6)
    pd.testing.assert_series_equal(first.predict(fh=[1, 2, 3]), before, check_exact=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rate", [0.04, -0.02])
def test_growth_goes_on(engine, rate):
    """Zeros, the mean or the last value would be off by 10 % and more."""
    forecaster = ExpLSTMForecaster(backend=engine, max_steps=2).fit(grow(rate))
    predicted = forecaster.predict(fh=range(1, 9))
    expected = grow(rate, n=68).iloc[60:]
    np.testing.assert_allclose(predicted, expected, rtol=0.03)
    interval = forecaster.predict_interval(coverage=0.9)
    assert (interval.iloc[:, 0] <= predicted).all() and (predicted <= interval.iloc[:, 1]).all()


def test_seasons_go_on(passengers):
    past, future = passengers.iloc[:-12], passengers.iloc[-12:]
    predicted = ExpLSTMForecaster().fit(past).predict(fh=future.index)
    assert (predicted / future - 1).abs().mean() < 0.06
    assert (past.iloc[-1] / future - 1).abs().mean() > 0.12


@pytest.mark.parametrize("engine", ENGINES)
def test_random_states_of_the_caller_are_left_alone(engine):
    np.random.seed(5)
    torch.manual_seed(5)
    expected = np.random.RandomState(5).rand(), torch.rand(1, generator=_generator(5))
    forecast(ExpLSTMForecaster(backend=engine, **ENGINES[engine], random_state=9), grow(0.01))
    assert np.random.rand() == expected[0]
    assert torch.rand(1) == expected[1]


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- the same numbers as from ExpLSTM


def test_arguments_are_those_of_the_forecaster():
    ours, theirs = (
        {name: p.default for name, p in inspect.signature(cls).parameters.items()}
        for cls in (ExpLSTMForecaster, ExpLSTM)
    )
    assert ours.pop("random_state") is None
    assert ours.pop("trainer") == "torch"
    assert ours.pop("horizon") is None
    for renamed in ("random_seed", "alias"):
        del theirs[renamed]
    assert ours == theirs


def test_quantiles_are_the_ends_of_intervals(passengers):
    table = load_air_passengers()
    expected = ExpLSTM().predict(table, h=4, level=[80, 95])
    forecaster = ExpLSTMForecaster().fit(passengers)
    found = forecaster.predict_quantiles(fh=[2, 4], alpha=[0.9, 0.025, 0.5])
    assert list(found.columns) == [("passengers", 0.9), ("passengers", 0.025), ("passengers", 0.5)]
    assert list(found.index) == list(passengers.index[-1] + np.array([2, 4]))
    columns = ["ExpLSTM-hi-80", "ExpLSTM-lo-95", "ExpLSTM"]
    np.testing.assert_array_equal(found, expected[columns].iloc[[1, 3]])


def test_fine_tuning_is_that_of_the_forecaster(passengers):
    tuned = {"backend": "torch", "max_steps": 2, "window": 24}
    expected = ExpLSTM(**tuned, random_seed=4).fit(load_air_passengers(), h=6)
    forecaster = ExpLSTMForecaster(**tuned, random_state=4).fit(passengers, fh=range(1, 7))
    assert forecaster.model_.share_ == expected.share_
    np.testing.assert_array_equal(forecaster.predict(), expected.predict()["ExpLSTM"])


def test_pretraining_trains_one_network_that_forecasts_in_numpy():
    series = [grow(0.02), grow(0.05, start=9), grow(-0.01)]
    panel = make_panel(*series)
    long = panel.reset_index().set_axis(["unique_id", "ds", "y"], axis=1)
    expected = ExpLSTM(backend="torch", **{k: v for k, v in QUICK.items() if k != "horizon"})
    expected = expected.fit(long, h=3).predict(h=3)["ExpLSTM"]
    forecaster = ExpLSTMForecaster(backend="numpy", trainer="torch", **QUICK)
    predicted = forecaster.pretrain(panel).fit(panel).predict(fh=[1, 2, 3])
    np.testing.assert_allclose(predicted["users"], expected, rtol=1e-5)
    networks = {id(one.model_.weights_["head/bias"]) for one in forecaster.forecasters_.iloc[:, 0]}
    assert len(networks) == 1


def test_pretrained_on_months_it_does_not_take_quarters_for_gaps():
    months, quarters = (
        grow(0.03).set_axis(pd.period_range("2010-01", periods=60, freq=freq)) for freq in "MQ"
    )
    forecaster = ExpLSTMForecaster(trainer="torch", **QUICK).pretrain(make_panel(months, months))
    with pytest.raises(DataError, match="data have freq='QS' and the model was trained on"):
        forecast(forecaster, quarters)


def test_a_saved_model_forecasts_the_same(passengers, tmp_path):
    forecaster = ExpLSTMForecaster().fit(passengers)
    forecaster.model_.save(tmp_path / "model")
    loaded = ExpLSTMForecaster(init=str(tmp_path / "model"))
    pd.testing.assert_series_equal(forecast(loaded, passengers), forecaster.predict(fh=[1, 2, 3]))


def test_the_last_step_counts_where_series_end_apart():
    long, short = grow(0.03), grow(0.03, n=40)
    predicted = ExpLSTMForecaster().fit(make_panel(long, short)).predict(fh=[2])
    assert list(predicted.index.get_level_values(-1)) == [61, 41]
    np.testing.assert_allclose(predicted["users"], 100 * 1.03 ** np.array([61, 41]), rtol=0.02)


# ------------------------------------------------------------------------------------ in use


@pytest.mark.parametrize("update_params", [True, False])
def test_an_update_adds_to_the_history(update_params):
    forecaster = ExpLSTMForecaster().fit(grow(0.03, n=50))
    forecaster.update(grow(0.03).iloc[50:], update_params=update_params)
    expected = forecast(ExpLSTMForecaster(), grow(0.03))
    pd.testing.assert_series_equal(forecaster.predict(fh=[1, 2, 3]), expected)


@pytest.mark.parametrize("update_params", [True, False])
def test_an_update_within_the_history_forecasts_from_its_end(update_params):
    """Two months in the middle, twice their old values: the months after them are forgotten."""
    index = pd.period_range("2020-01", periods=40, freq="M")
    series = grow(0.03, n=40).set_axis(index)
    forecaster = ExpLSTMForecaster().fit(series)
    forecaster.update(2 * series["2022-04":"2022-05"], update_params=update_params)
    expected = series[:"2022-05"].copy()
    expected["2022-04":"2022-05"] *= 2
    pd.testing.assert_series_equal(
        forecaster.predict(fh=[1]), ExpLSTMForecaster().fit(expected).predict(fh=[1])
    )
    forecaster.update(series["2022-04":"2022-05"], update_params=update_params)
    np.testing.assert_allclose(forecaster.predict(fh=[1]), series["2022-06"], rtol=0.01)


def test_moving_windows_over_known_values_do_not_see_what_follows():
    series = grow(0.03, n=40)
    cv = SlidingWindowSplitter(fh=[1], window_length=5, step_length=5)
    predicted = ExpLSTMForecaster().fit(series.iloc[:30]).update_predict(series.iloc[20:], cv=cv)
    assert list(predicted.index) == [25, 30, 35]
    np.testing.assert_allclose(predicted, series[predicted.index], rtol=0.01)


def test_an_update_trains_again_only_where_asked():
    forecaster = ExpLSTMForecaster(backend="torch", **QUICK).fit(grow(0.03, n=50))
    weights = forecaster.model_.weights_["head/bias"]
    forecaster.update(grow(0.03).iloc[50:55], update_params=False)
    np.testing.assert_array_equal(forecaster.model_.weights_["head/bias"], weights)
    forecaster.update(grow(0.03).iloc[55:], update_params=True)
    assert not np.array_equal(forecaster.model_.weights_["head/bias"], weights)
    expected = forecast(ExpLSTMForecaster(backend="torch", **QUICK), grow(0.03))
    pd.testing.assert_series_equal(forecaster.predict(fh=[1, 2, 3]), expected)


@pytest.mark.parametrize("fh", [[1, 5], pd.Index([60, 64])])
def test_training_is_for_the_largest_step_asked_for(fh):
    fh = ForecastingHorizon(fh, is_relative=isinstance(fh, list))
    trained = {**QUICK, "horizon": None}
    forecaster = ExpLSTMForecaster(backend="torch", **trained).fit(grow(0.03), fh=fh)
    assert forecaster.model_.horizon_ == 5
    panel = make_panel(grow(0.03), grow(0.02))
    pretrained = ExpLSTMForecaster(backend="torch", **trained).pretrain(panel, fh=fh)
    assert pretrained.pretrained_.horizon_ == 5
    assert len(pretrained.fit(panel, fh=fh).predict()) == 4


@pytest.mark.parametrize("first", ["1200", "2400"])
def test_periods_that_nanoseconds_cannot_count(first):
    index = pd.period_range(first, periods=62, freq="Y")
    series = grow(0.03).set_axis(index[:60])
    predicted = ExpLSTMForecaster().fit(series).predict(fh=[1, 2])
    assert list(predicted.index) == list(index[60:])
    np.testing.assert_allclose(predicted, forecast(ExpLSTMForecaster(), grow(0.03))[:2])
    panel = make_panel(series, series)
    forecaster = ExpLSTMForecaster(trainer="torch", **QUICK).pretrain(panel).fit(panel)
    assert list(forecaster.predict(fh=[1]).index.get_level_values(-1)) == [index[60]] * 2


@pytest.mark.filterwarnings("ignore:1 of 1 series have fewer than 8 values:UserWarning")
@pytest.mark.parametrize("alias", ["Y-MAR", "Q", "2M", "W-WED", "D", "15min", "MS", "B"])
def test_one_value_is_forecast_at_the_steps_of_its_index(alias):
    make = pd.date_range if alias == "MS" else pd.period_range
    index = make("2021-03-01", periods=3, freq=alias)
    predicted = ExpLSTMForecaster().fit(pd.Series([7.0], index=index[:1])).predict(fh=[1, 2])
    assert list(predicted.index) == list(index[1:])
    assert predicted.between(3.5, 14.0).all()


def test_sktime_evaluates_it(passengers):
    cv = ExpandingWindowSplitter(initial_window=96, step_length=24, fh=range(1, 13))
    table = evaluate(ExpLSTMForecaster(), cv=cv, y=passengers, error_score="raise")
    assert len(table) == 2
    assert (table["test_MeanAbsolutePercentageError"] < 0.1).all()


def test_without_quantiles_there_are_no_intervals():
    point = ExpLSTMForecaster(backend="torch", **{**QUICK, "loss": "mae"}).fit(grow(0.03))
    assert point.get_tag("capability:pred_int") is False
    with pytest.raises(NotImplementedError):
        point.predict_interval(fh=[1])


# ------------------------------------------------------------------------------------ refusals


def test_numpy_does_not_train():
    with pytest.raises(UsageError, match="call pretrain first, or use backend='torch'"):
        ExpLSTMForecaster(init="random").fit(grow(0.03))


def test_the_past_is_not_forecast():
    with pytest.raises(NotImplementedError, match=r"ask for a fh from 1|in-sample"):
        ExpLSTMForecaster().fit(grow(0.03)).predict(fh=[-1, 1])


def test_gaps_between_integers_are_refused():
    with pytest.raises(DataError, match=r"every step has a value.*Imputer") as caught:
        ExpLSTMForecaster().fit(grow(0.03).iloc[::2]).predict(fh=[1])
    assert "fill=" not in str(caught.value)
    with pytest.raises(DataError, match="Imputer"):
        ExpLSTMForecaster(backend="torch", **QUICK).fit(grow(0.03).iloc[::2])


def test_every_third_month_is_not_a_month():
    """Growth of a quarter would be put on the month after."""
    months = grow(0.03).set_axis(pd.period_range("2020-01", periods=60, freq="M"))
    with pytest.raises(DataError, match=r"20 of 58 steps.*every step has a value"):
        ExpLSTMForecaster().fit(months.iloc[::3]).predict(fh=[1])
    with pytest.raises(UsageError, match=r"freq='QS' is not the step of this index.*'MS'"):
        ExpLSTMForecaster(freq="QS").fit(months.iloc[::3])
    pd.testing.assert_series_equal(
        forecast(ExpLSTMForecaster(freq="M"), months), forecast(ExpLSTMForecaster(), months)
    )


def test_integers_are_counted_by_ones():
    """With freq=2, sktime would put the forecast of 120 on 119."""
    with pytest.raises(UsageError, match="freq=2 is not the step of this index"):
        ExpLSTMForecaster(freq=2).fit(grow(0.03).iloc[::2])


@pytest.mark.parametrize("seed", ["x", 1.7, np.random.RandomState(1), -1, True])
def test_a_random_state_that_is_no_seed_is_refused(seed):
    with pytest.raises(UsageError, match="random_state="):
        ExpLSTMForecaster(random_state=seed)


def test_a_seed_of_numpy_is_a_seed():
    make = lambda seed: ExpLSTMForecaster(backend="torch", **QUICK, random_state=seed)  # noqa: E731
    pd.testing.assert_series_equal(
        forecast(make(np.int64(3)), grow(0.03)), forecast(make(3), grow(0.03)), check_exact=True
    )


@pytest.mark.parametrize(
    "arguments", [{"trainer": "numpy"}, {"backend": "jax"}, {"horizon": 0}, {"window": -1}]
)
def test_arguments_are_refused_when_given(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        ExpLSTMForecaster(**arguments)


def test_without_sktime_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "explstm.sktime")
    for name in [name for name in sys.modules if name.split(".")[0] == "sktime"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[sktime\]'"):
        importlib.import_module("explstm.sktime")
