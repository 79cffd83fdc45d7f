"""Other libraries' own tools on our classes and our tables, taken as they are."""

import inspect
import warnings
from functools import partial

import matplotlib
import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks
from utilsforecast.evaluation import evaluate
from utilsforecast.losses import coverage, mae, mase, smape
from utilsforecast.plotting import plot_series

from explstm import ExpLSTM, ModelSpec, UsageError
from explstm.datasets import load_air_passengers
from explstm.sktime import ExpLSTMForecaster

CHANGED = {
    "backend": "torch",
    "init": "random",
    "spec": ModelSpec(hidden_sizes=(8,), activation="elu"),
    "growth": "asinh",
    "season_length": [24, 168],
    "freq": "h",
    "max_steps": 7,
    "learning_rate": 0.01,
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "val_size": 12,
    "early_stop_patience": 2,
    "window": 48,
}
PARAMETER_CHECKS = (
    "check_get_params_invariance",
    "check_set_params",
    "check_parameters_default_constructible",
    "check_no_attributes_set_in_init",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_mixin_order",
)


# ----------------------------------------------------------------------------------- scikit-learn


@pytest.mark.parametrize("check", PARAMETER_CHECKS)
@pytest.mark.parametrize("parameters", [{}, CHANGED], ids=["defaults", "changed"])
def test_scikit_learn_finds_the_parameters_sound(check, parameters):
    with warnings.catch_warnings():
        # It would rather have us refuse later, in fit; a wrong argument is refused where it stands.
        warnings.filterwarnings("ignore", "UsageError occurred during set_params")
        getattr(estimator_checks, check)("ExpLSTM", ExpLSTM(**parameters))


@pytest.mark.parametrize("cls", [ExpLSTM, ExpLSTMForecaster])
def test_a_clone_has_the_parameters_and_nothing_that_was_fitted(cls):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        original = cls(**CHANGED)
        copied = clone(original)
    assert type(copied) is cls and copied is not original
    assert copied.get_params() == original.get_params()
    assert set(inspect.signature(cls).parameters) == set(copied.get_params())
    assert not hasattr(copied, "weights_") and not hasattr(copied, "model_")


def test_a_clone_of_a_fitted_model_starts_anew():
    fitted = ExpLSTM(**CHANGED, alias="Hourly").set_params(freq=None, season_length=None)
    fitted.set_params(val_size=0, early_stop_patience=-1)
    fitted.fit(load_air_passengers(), h=3)
    copied = clone(fitted)
    with pytest.raises(UsageError, match="no weights yet"):
        copied.predict(load_air_passengers())
    expected = fitted.predict(h=3)["Hourly"]
    np.testing.assert_array_equal(
        copied.fit(load_air_passengers(), h=3).predict()["Hourly"], expected
    )


@pytest.mark.parametrize("cls", [ExpLSTM, ExpLSTMForecaster])
def test_parameters_are_set_by_name_and_refused_by_name(cls):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = cls().set_params(window=32, growth="log")
        assert (model.get_params()["window"], model.growth) == (32, "log")
        with pytest.raises(ValueError, match="windw"):
            model.set_params(windw=3)


# ---------------------------------------------------------------------------------- utilsforecast


@pytest.fixture(scope="module")
def judged():
    df = load_air_passengers()
    return df, ExpLSTM().cross_validation(df, h=12, n_windows=2, step_size=12, level=[80])


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_utilsforecast_evaluates_our_cross_validation(judged, kind):
    _, cv = judged
    given = cv if kind == "pandas" else pl.from_pandas(cv)
    scores = evaluate(given, metrics=[mae, smape, coverage], level=[80])
    assert sorted(scores["metric"]) == [
        "coverage_level80",
        "coverage_level80",
        "mae",
        "mae",
        "smape",
        "smape",
    ]
    found = dict(
        zip(zip(scores["cutoff"], scores["metric"], strict=True), scores["ExpLSTM"], strict=True)
    )
    for cutoff, rows in cv.groupby("cutoff"):
        y, forecast = rows["y"].to_numpy(), rows["ExpLSTM"].to_numpy()
        inside = (rows["ExpLSTM-lo-80"] <= y) & (y <= rows["ExpLSTM-hi-80"])
        at = cutoff if kind == "pandas" else cutoff.to_pydatetime()
        assert found[at, "mae"] == pytest.approx(np.abs(y - forecast).mean())
        assert found[at, "smape"] == pytest.approx((np.abs(y - forecast) / (y + forecast)).mean())
        assert found[at, "coverage_level80"] == pytest.approx(inside.mean())


def test_utilsforecast_evaluates_our_forecast_beside_the_truth(judged):
    df, _ = judged
    past, future = df.iloc[:-12], df.iloc[-12:]
    forecast = ExpLSTM().predict(past, h=12)
    scores = evaluate(
        forecast.merge(future, on=["unique_id", "ds"]),
        metrics=[partial(mase, seasonality=12)],
        train_df=past,
    )
    y = past["y"].to_numpy()
    error = np.abs(future["y"].to_numpy() - forecast["ExpLSTM"].to_numpy()).mean()
    assert scores["ExpLSTM"].item() == pytest.approx(error / np.abs(y[12:] - y[:-12]).mean())


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_utilsforecast_plots_our_forecast(judged, kind):
    matplotlib.use("Agg")
    df, _ = judged
    df = df if kind == "pandas" else pl.from_pandas(df)
    forecast = ExpLSTM().predict(df, h=12, level=[80])
    figure = plot_series(df, forecast, level=[80])
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    np.testing.assert_array_equal(lines["y"][: len(df)], df["y"].to_numpy())
    np.testing.assert_array_equal(lines["ExpLSTM"][-12:], forecast["ExpLSTM"].to_numpy())
    assert len(axes.collections) == 1  # the band of the interval
    matplotlib.pyplot.close(figure)
