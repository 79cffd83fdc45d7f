"""The model in the package: a forecast of anything, at once, without a framework."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explstm import ExpLSTM, ModelSpec
from explstm.bundle import load_pretrained
from explstm.datasets import load_air_passengers, make_growth_series
from explstm.errors import DataError, ModelFileError, UsageError

LEVELS = [50, 80, 95]
MAX_BYTES = 2_000_000
FEW = pytest.mark.filterwarnings("ignore:.* have fewer than 8 values")


def forecast(y, h=12, freq="MS", **options):
    """Forecast of one series: the table, as NumPy columns by name."""
    dates = pd.date_range("2000-01-01", periods=len(y), freq=freq)
    table = ExpLSTM(freq=freq, **options).predict(
        pd.DataFrame({"ds": dates, "y": y}), h=h, level=LEVELS
    )
    return {name: table[name].to_numpy() for name in table.columns[2:]}


def check_sane(found):
    """Finite, and the quantiles in order."""
    order = [
        *(f"ExpLSTM-lo-{level}" for level in reversed(LEVELS)),
        "ExpLSTM",
        *(f"ExpLSTM-hi-{level}" for level in LEVELS),
    ]
    values = np.array([found[name] for name in order])
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=0) >= -1e-9 * np.abs(values[1:])).all()


def test_the_weights_are_small_enough_to_ship():
    bundle = load_pretrained()
    assert sum(array.nbytes for array in bundle.weights.values()) < MAX_BYTES


def test_it_needs_no_framework_and_no_training():
    code = (
        "import sys\n"
        "from explstm import ExpLSTM\n"
        "from explstm.datasets import load_air_passengers\n"
        "ExpLSTM().predict(load_air_passengers(), h=12, level=[80])\n"
        "assert not {'torch', 'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_it_beats_the_seasonal_naive_forecast_of_air_passengers():
    table = load_air_passengers()
    past, future = table[:-24], table["y"].to_numpy()[-24:]
    found = ExpLSTM().predict(past, h=24)["ExpLSTM"].to_numpy()
    seasonal = np.tile(past["y"].to_numpy()[-12:], 2)
    assert np.abs(found - future).mean() < 0.8 * np.abs(seasonal - future).mean()


@pytest.mark.parametrize("kind", ["exponential", "linear", "logistic", "gompertz", "damped"])
def test_it_beats_the_last_value_where_series_grow(kind):
    table, path = make_growth_series(kind, n_series=20, length=96, noise=0.02, seed=5)
    is_past = table.groupby("unique_id").cumcount() < 84
    found = ExpLSTM().predict(table[is_past], h=12)["ExpLSTM"].to_numpy()
    truth = path[~is_past]["y"].to_numpy()
    last = np.repeat(table[is_past].groupby("unique_id")["y"].last().to_numpy(), 12)
    assert np.abs(np.log(found / truth)).mean() < np.abs(np.log(last / truth)).mean()


def test_growth_of_30_per_cent_a_step_goes_on():
    y = 100 * 1.3 ** np.arange(46)
    found = forecast(y[:40], h=6, freq="YS")
    check_sane(found)
    np.testing.assert_allclose(found["ExpLSTM"], y[40:], rtol=0.2)


@pytest.mark.parametrize(("length", "warns"), [(3, True), (7, True), (8, False)])
def test_a_forecast_from_a_few_values_says_that_it_is_weak(length, warns):
    table = pd.DataFrame({"unique_id": "shop", "ds": range(length), "y": range(1, length + 1)})
    usual = pd.DataFrame({"unique_id": "usual", "ds": range(9), "y": np.arange(9.0)})
    table = pd.concat([table, table.assign(unique_id="stall"), usual])
    told = "2 of 3 series have fewer than 8 values, such as 'shop'"
    for forecasts in (ExpLSTM().predict, ExpLSTM().stream):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            forecasts(table)
        assert [str(w.message)[: len(told)] for w in said] == ([told] if warns else [])
        assert all(w.filename == __file__ for w in said)


def test_a_model_of_one_view_has_nothing_to_say_of_it():
    ExpLSTM(growth="log").predict(pd.DataFrame({"unique_id": "a", "ds": range(3), "y": [1, 2, 3]}))


@FEW
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_history_of_a_few_points_has_a_forecast_near_them(steps):
    found = forecast([100.0, 110.0, 118.0][:steps], h=6)
    check_sane(found)
    assert ((found["ExpLSTM"] > 80) & (found["ExpLSTM"] < 250)).all()


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0])
def test_a_constant_stays(value):
    found = forecast(np.full(30, value))
    np.testing.assert_allclose(found["ExpLSTM"], value)
    check_sane(found)


@pytest.mark.parametrize("unit", [1e-12, 1e15])
def test_units_do_not_matter(unit, rng):
    y = np.exp(np.cumsum(rng.normal(0.01, 0.05, 60)))
    plain, scaled = forecast(y), forecast(unit * y)
    for name, values in plain.items():
        np.testing.assert_allclose(scaled[name] / unit, values, rtol=1e-4)


def test_negative_values_are_forecast_on_their_own_scale(rng):
    found = forecast(np.cumsum(rng.normal(0, 1, 60)) - 5.0)
    check_sane(found)
    assert (np.abs(found["ExpLSTM"]) < 50).all()


def test_a_series_of_100_000_points_is_forecast(rng):
    y = 50 + np.cumsum(rng.normal(0, 0.01, 100_000))
    found = forecast(y, freq="h")
    check_sane(found)
    np.testing.assert_allclose(found["ExpLSTM"], y[-1], rtol=0.05)


def test_any_horizon_is_forecast_and_intervals_widen(rng):
    found = forecast(np.exp(np.cumsum(rng.normal(0.01, 0.05, 80))), h=100)
    check_sane(found)
    width = found["ExpLSTM-hi-80"] / found["ExpLSTM-lo-80"]
    assert width[99] > width[23] > width[0]


@FEW
@settings(max_examples=40)
@given(
    st.lists(st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False), min_size=1, max_size=40),
    st.integers(1, 40),
    st.sampled_from(["YS", "QS", "MS", "D", "h"]),
)
def test_any_finite_series_has_a_sane_forecast_or_is_refused(y, h, freq):
    """What is refused grows by so many orders of magnitude that no float64 holds its future."""
    try:
        check_sane(forecast(np.array(y), h=h, freq=freq))
    except DataError as error:
        assert error.code == "FORECAST_OVERFLOW"
        sizes = np.abs(y)[np.abs(y) > 0]
        assert sizes.max() > 1e4 * sizes.min()


def test_it_knows_any_frequency_and_its_season(rng):
    season = np.tile(10 + 5 * np.sin(np.arange(24) * np.pi / 12), 20)
    found = forecast(season * np.exp(rng.normal(0, 0.01, 480)), h=24, freq="h")
    np.testing.assert_allclose(found["ExpLSTM"], season[:24], rtol=0.1)


def test_a_curve_that_is_asked_for_is_used_alone():
    y = 100 * 1.1 ** np.arange(40)
    line = forecast(y, growth="linear")["ExpLSTM"]
    rate = forecast(y, growth="log")["ExpLSTM"]
    both = forecast(y)["ExpLSTM"]
    assert (line[1:] < both[1:]).all() and (both[1:] < rate[1:] * 1.0001).all()


def test_it_is_fine_tuned_in_either_framework_and_saved(tmp_path):
    table = load_air_passengers()
    past = table[:-12]
    for backend in ("torch", "tensorflow"):
        model = ExpLSTM(backend=backend, max_steps=2, val_size=12).fit(past, h=12)
        assert model.training_log_[0].valid_loss is not None  # step 0 is the pretrained model
        model.save(tmp_path / backend)
        loaded = ExpLSTM.load(tmp_path / backend)
        pd.testing.assert_frame_equal(
            loaded.predict(past, level=[80]), model.predict(level=[80]), rtol=1e-5
        )


def test_fine_tuning_that_does_not_help_leaves_the_pretrained_forecast():
    past = load_air_passengers()[:-12]
    careless = {"learning_rate": 0.5, "max_steps": 3, "val_check_steps": 1, "clip_norm": 100.0}
    model = ExpLSTM(backend="torch", **careless).fit(past, h=12)
    pd.testing.assert_frame_equal(model.predict(), ExpLSTM().predict(past, h=12), rtol=1e-5)


def test_a_network_of_ones_own_needs_training_from_scratch():
    with pytest.raises(UsageError, match="init='random'"):
        ExpLSTM(spec=ModelSpec(hidden_sizes=(4,))).predict(load_air_passengers(), h=3)


@FEW
@pytest.mark.parametrize("steps", [2, 3, 5])
def test_a_few_points_that_grow_are_continued_by_steps_rather_than_blown_up(steps):
    y = 10.0 * np.arange(1, steps + 1)
    found = forecast(y, h=12)
    check_sane(found)
    assert y[-1] < found["ExpLSTM"][-1] < 20 * y[-1]
    assert found["ExpLSTM-lo-95"].min() >= 0


def test_what_is_positive_is_forecast_positive(rng):
    for _ in range(10):
        y = 500 * np.exp(-0.05 * np.arange(48) + np.cumsum(rng.normal(0, 0.1, 48)))
        found = forecast(y, h=30)
        check_sane(found)
        assert found["ExpLSTM-lo-95"].min() > 0


def test_a_series_too_large_for_the_line_is_forecast_by_its_rate_and_changes_no_other():
    table = load_air_passengers()
    large = table.assign(unique_id="large", y=table["y"] * 1e240)
    both = ExpLSTM().predict(pd.concat([table, large]), h=6)
    alone = ExpLSTM().predict(table, h=6)
    found = both.groupby("unique_id")["ExpLSTM"].agg(list)
    np.testing.assert_allclose(found["AirPassengers"], alone["ExpLSTM"], rtol=1e-4)
    rate = ExpLSTM(growth="log").predict(large, h=6)
    np.testing.assert_allclose(found["large"], rate["ExpLSTM"], rtol=1e-4)


def test_parameters_changed_after_a_forecast_count_for_the_next_one():
    table, model = load_air_passengers(), ExpLSTM()
    model.predict(table, h=6)
    for changes in ({"growth": "linear"}, {"window": 24}, {"season_length": 6}):
        fresh = ExpLSTM(**changes).predict(table, h=6)
        found = model.set_params(**{**ExpLSTM().get_params(), **changes}).predict(table, h=6)
        pd.testing.assert_frame_equal(found, fresh)
    with pytest.raises(UsageError, match="no weights yet"):
        model.set_params(init="random").predict(table, h=6)


def test_a_used_model_is_saved_with_what_it_was_told(tmp_path):
    table, model = load_air_passengers(), ExpLSTM(season_length=6, growth="linear", freq="MS")
    expected = model.predict(table, h=6)
    model.save(tmp_path / "model")
    loaded = ExpLSTM.load(tmp_path / "model")
    assert (loaded.season_length, loaded.freq, loaded.growth) == ([6], "MS", "linear")
    pd.testing.assert_frame_equal(loaded.predict(table, h=6), expected)


def test_a_path_that_is_not_there_is_named():
    with pytest.raises(ModelFileError, match="pretraind"):
        ExpLSTM(init="pretraind").predict(load_air_passengers(), h=3)
