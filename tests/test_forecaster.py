"""The contract of ``ExpLSTM`` that users rely on, at the public surface."""

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from explstm import DataError, ExpLSTM, ModelFileError, ModelSpec, UsageError
from explstm.datasets import load_air_passengers
from explstm.frame import build_panel
from panels import grow

SMALL = ModelSpec(hidden_sizes=(5,))
SCRATCH = {"backend": "torch", "init": "random"}
H = 4


def make_model(**options):
    return ExpLSTM(**{**SCRATCH, "spec": SMALL, "max_steps": 2, "batch_size": 4, **options})


def make_table(*series, freq="MS", start="2020-01-01"):
    """A long table of series s0, s1, …"""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "unique_id": f"s{place}",
                    "ds": pd.date_range(start, periods=len(y), freq=freq),
                    "y": np.asarray(y, dtype=np.float64),
                }
            )
            for place, y in enumerate(series)
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def df():
    rng = np.random.default_rng(5)
    return make_table(*(grow(rng, n) for n in (40, 30, 60)))


@pytest.fixture(scope="module")
def fitted(df):
    """A fitted model; tests do not change it."""
    return make_model().fit(df, h=H)


def values(forecast):
    return forecast["ExpLSTM"].to_numpy()


# ------------------------------------------------------------------------------------ forecasting


def test_a_forecast_is_a_dated_table_with_levels_in_order(df, fitted):
    found = fitted.predict(h=H, level=[95, 80])
    assert list(found.columns) == [
        "unique_id", "ds", "ExpLSTM",
        "ExpLSTM-lo-95", "ExpLSTM-lo-80", "ExpLSTM-hi-80", "ExpLSTM-hi-95",
    ]  # fmt: skip
    assert found["unique_id"].tolist() == ["s0"] * H + ["s1"] * H + ["s2"] * H
    for name, history in df.groupby("unique_id"):
        dates = pd.date_range(history["ds"].max(), periods=H + 1, freq="MS")[1:]
        assert found.loc[found["unique_id"] == name, "ds"].tolist() == list(dates)
    order = ["ExpLSTM-lo-95", "ExpLSTM-lo-80", "ExpLSTM", "ExpLSTM-hi-80", "ExpLSTM-hi-95"]
    assert (np.diff(found[order].to_numpy(), axis=1) > 0).all()
    pd.testing.assert_frame_equal(found[["unique_id", "ds", "ExpLSTM"]], fitted.predict())


def test_any_horizon_can_be_asked_for(fitted):
    longer = fitted.predict(h=3 * H + 1, level=[80])
    for h in (1, H, H + 2):
        first = longer.groupby("unique_id").head(h).reset_index(drop=True)
        pd.testing.assert_frame_equal(fitted.predict(h=h, level=[80]), first)
    lo, hi = (longer[f"ExpLSTM-{end}-80"].to_numpy().reshape(3, -1) for end in ("lo", "hi"))
    width = np.log(hi / lo)
    for end in (H, 2 * H, 3 * H):
        assert (width[:, end] > width[:, end - 1]).all()


def test_other_histories_can_be_forecast(df, fitted):
    one = df[df["unique_id"] == "s1"]
    expected = fitted.predict(h=H).query("unique_id == 's1'").reset_index(drop=True)
    pd.testing.assert_frame_equal(fitted.predict(one, h=H), expected, rtol=1e-5)
    renamed = one.rename(columns={"unique_id": "shop", "ds": "month", "y": "sold"})
    found = fitted.predict(renamed, h=H, id_col="shop", time_col="month", target_col="sold")
    assert list(found.columns) == ["shop", "month", "ExpLSTM"]
    np.testing.assert_allclose(values(found), values(expected), rtol=1e-5)


def test_a_panel_is_taken_as_it_is(df, fitted):
    panel = build_panel(df)
    pd.testing.assert_frame_equal(fitted.predict(panel), fitted.predict(df))
    pd.testing.assert_frame_equal(
        make_model().fit(panel, h=3).predict(),
        make_model().fit(df, h=3).predict(),
    )
    with pytest.raises(DataError, match="freq='YS-JAN' and the model was trained on"):
        fitted.predict(build_panel(make_table(np.arange(1.0, 6.0), freq="YS")))


def test_a_table_with_other_names_keeps_them(df, fitted):
    renamed = df.rename(columns={"unique_id": "shop", "ds": "month", "y": "sold"})
    model = make_model().fit(renamed, h=H, id_col="shop", time_col="month", target_col="sold")
    found = model.predict()
    assert list(found.columns) == ["shop", "month", "ExpLSTM"]
    np.testing.assert_array_equal(values(found), values(fitted.predict()))


def test_polars_in_polars_out(df, fitted):
    model = make_model().fit(pl.from_pandas(df), h=H)
    found = model.predict(level=[80])
    assert isinstance(found, pl.DataFrame)
    expected = fitted.predict(level=[80])
    assert found.columns == list(expected.columns)
    assert found["ds"].to_list() == list(expected["ds"])
    np.testing.assert_array_equal(values(found), values(expected))
    assert isinstance(model.predict(df), pd.DataFrame)


def test_integer_dates_go_on_counting():
    y = grow(np.random.default_rng(1), 30)
    table = pd.DataFrame({"ds": np.arange(10, 70, 2), "y": y})
    found = make_model().fit(table, h=3).predict()
    assert found["ds"].tolist() == [70, 72, 74]


def test_one_series_needs_no_id():
    table = load_air_passengers().drop(columns="unique_id")
    found = make_model().fit(table, h=3).predict()
    assert len(found) == 3 and found["ds"].tolist()[0] == pd.Timestamp("1961-01-01")


def test_several_seasons_are_continued():
    """A day within a week, both pure, come back in the forecast of a network that knows neither."""
    hours = np.arange(24 * 7 * 4)
    y = 100 * (2 + np.sin(hours * 2 * np.pi / 24)) * (1 + 0.5 * (hours // 24 % 7 >= 5))
    table = make_table(y * np.exp(np.random.default_rng(1).normal(0, 0.01, len(y))), freq="h")
    model = make_model(max_steps=30).fit(table, h=24)
    assert model.preprocessing_.season_length == (24, 168)
    found = values(model.predict(h=7 * 24))
    assert np.median(np.abs(found / y[: 7 * 24] - 1)) < 0.2
    assert np.corrcoef(found, y[: 7 * 24])[0, 1] > 0.95


@pytest.mark.parametrize(
    ("freq", "expected"),
    [("MS", (12,)), ("QS", (4,)), ("YS", (1,)), ("D", (7,)), ("W", (52,)), ("h", (24, 168))],
)
def test_the_season_follows_from_the_frequency(freq, expected):
    table = make_table(grow(np.random.default_rng(1), 40), freq=freq)
    model = make_model(max_steps=1).fit(table, h=2)
    assert model.preprocessing_.season_length == expected


@pytest.mark.parametrize(
    ("asked", "expected"), [(6, (6,)), ([12, 4], (4, 12)), (1, ()), ([], ()), (np.int64(3), (3,))]
)
def test_the_season_can_be_set(df, asked, expected):
    model = make_model(max_steps=1, season_length=asked).fit(df, h=2)
    assert model.preprocessing_.season_length == expected


def test_frequencies_may_be_spelled_the_old_way():
    table = make_table(grow(np.random.default_rng(1), 30), freq="ME")
    found = make_model(freq="M").fit(table, h=2).predict()
    assert found["ds"].tolist() == [pd.Timestamp("2022-07-31"), pd.Timestamp("2022-08-31")]


def test_tables_are_not_changed(df):
    table = df.sample(frac=1, random_state=0)
    before = table.copy(deep=True)
    make_model().fit(table, h=H).predict(table)
    pd.testing.assert_frame_equal(table, before)


def test_a_column_can_be_named(df):
    model = make_model(alias="Mine").fit(df, h=2)
    assert list(model.predict(level=[80]).columns)[2:] == ["Mine", "Mine-lo-80", "Mine-hi-80"]
    with pytest.raises(UsageError, match="alias='ds' is a column of df already"):
        model.set_params(alias="ds").predict()


# ---------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_the_same_seed_gives_the_same_bits(df, backend):
    options = {"backend": backend, "spec": ModelSpec(hidden_sizes=(5,), dropout=0.2)}
    one, same = (make_model(**options).fit(df, h=H) for _ in range(2))
    np.testing.assert_array_equal(values(one.predict(h=9)), values(same.predict(h=9)))
    for name, array in one.weights_.items():
        np.testing.assert_array_equal(array, same.weights_[name])
    other = make_model(**options, random_seed=2).fit(df, h=H)
    assert not np.allclose(values(one.predict()), values(other.predict()), rtol=1e-4)


def test_training_lowers_the_loss():
    table = make_table(*(100 * 1.05 ** np.arange(n) for n in (30, 45, 60)))
    model = make_model(max_steps=60, reflection=0.0, learning_rate=0.02).fit(table, h=H)
    losses = [row.train_loss for row in model.training_log_]
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])
    continued = np.concatenate([100 * 1.05 ** np.arange(n, n + H) for n in (30, 45, 60)])
    np.testing.assert_allclose(values(model.predict()), continued, rtol=0.05)


def test_every_row_of_the_log_is_told_as_it_comes(df):
    told = []
    model = make_model(max_steps=5).fit(df, h=2, on_step=told.append)
    assert [row.step for row in told] == [1, 2, 3, 4, 5]
    assert tuple(told) == model.training_log_


def test_early_stopping_ends_a_training_that_no_longer_helps(df):
    model = make_model(
        max_steps=40, val_size=H, val_check_steps=1, early_stop_patience=2, learning_rate=0.5
    ).fit(df, h=H)
    losses = [row.valid_loss for row in model.training_log_]
    assert len(losses) < 41
    assert min(losses) not in losses[-2:]
    found = model.predict()  # from the end of the data, held-out steps included
    assert (
        found["ds"].tolist()[0]
        == df.query("unique_id == 's0'")["ds"].max() + pd.offsets.MonthBegin()
    )


def test_a_saved_model_can_be_trained_further(df, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    options = {"init": str(tmp_path / "model"), "spec": None}
    still = make_model(**options, max_steps=1, learning_rate=1e-12).fit(df, h=H)
    np.testing.assert_allclose(values(still.predict()), values(fitted.predict()), rtol=1e-6)
    further = make_model(**options, max_steps=5, learning_rate=0.01).fit(df, h=H)
    assert not np.allclose(values(further.predict()), values(fitted.predict()), rtol=1e-4)
    longer = make_model(**options, max_steps=1).fit(df, h=5)
    assert len(longer.predict()) == 5 * df["unique_id"].nunique()  # the network has 4 steps
    with pytest.raises(UsageError, match="spec does not fit the model"):
        make_model(init=tmp_path / "model", spec=ModelSpec(hidden_sizes=(7,))).fit(df, h=H)
    loaded = ExpLSTM.load(tmp_path / "model", backend="torch").fit(df, h=H)
    assert loaded.training_log_[-1].step == 2


def test_a_killed_training_is_resumed(df, tmp_path):
    def stop_at_three(row):
        if row.step == 3:
            raise KeyboardInterrupt

    options = {"max_steps": 5, "val_check_steps": 1, "random_seed": 7}
    whole = make_model(**options).fit(df, h=H)
    with pytest.raises(KeyboardInterrupt):
        make_model(**options).fit(df, h=H, on_step=stop_at_three, checkpoint_dir=tmp_path)
    resumed = make_model(**options).fit(df, h=H, checkpoint_dir=tmp_path, resume=True)
    np.testing.assert_array_equal(values(resumed.predict()), values(whole.predict()))
    with pytest.raises(UsageError, match="season_length"):
        make_model(**options, season_length=3).fit(df, h=H, checkpoint_dir=tmp_path, resume=True)


def test_findings_and_curves_are_told():
    table = make_table(grow(np.random.default_rng(1), 30), np.arange(30.0) - 9)
    model = make_model().fit(table.iloc[::-1], h=2)
    assert {finding.code for finding in model.findings_} == {"ROWS_SORTED"}
    assert model.growth_["curve"].tolist() == ["log", "linear"]
    assert model.growth_["reason"][1].startswith("linear: not every value is positive")


# -------------------------------------------------------------------------- saving and exchanging


@pytest.mark.parametrize("trained", ["torch", "tensorflow"])
def test_a_model_forecasts_the_same_in_every_engine(df, trained, tmp_path):
    spec = ModelSpec(hidden_sizes=(5, 4), dense_sizes=(6,), batch_norm=True)
    model = make_model(backend=trained, spec=spec).fit(df, h=H)
    model.save(tmp_path / "model")
    expected = model.predict(h=9, level=[80, 95])
    for backend in ("numpy", "torch", "tensorflow"):
        loaded = ExpLSTM.load(tmp_path / "model", backend=backend)
        pd.testing.assert_frame_equal(
            loaded.predict(df, h=9, level=[80, 95]), expected, rtol=1e-5, atol=0
        )


def test_a_loaded_model_is_the_one_saved(df, tmp_path):
    model = make_model(
        growth="linear", season_length=(3, 6), alias="Mine", window=16, learning_rate=0.02
    ).fit(df, h=H)
    model.save(tmp_path / "model")
    loaded = ExpLSTM.load(tmp_path / "model")
    assert loaded.preprocessing_ == model.preprocessing_
    assert (loaded.spec_, loaded.freq_, loaded.alias) == (model.spec_, "MS", "Mine")
    assert loaded.training_config() == model.training_config()
    assert loaded.data_fingerprint_ == model.data_fingerprint_
    loaded.save(tmp_path / "again")
    for name in ("config.json", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_what_is_set_after_the_fit_waits_for_the_next(df, tmp_path):
    """A saved model, and the intervals it gives, are those of the training."""
    model = make_model().fit(df, h=H)
    expected = model.predict(level=[80])
    model.set_params(growth="linear", window=5, season_length=3, loss="mae")
    pd.testing.assert_frame_equal(model.predict(level=[80]), expected)
    model.save(tmp_path / "model")
    found = ExpLSTM.load(tmp_path / "model").predict(df, level=[80])
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)


def test_numbers_of_numpy_can_be_saved(df, tmp_path):
    model = make_model(
        max_steps=np.int64(1), random_seed=np.int64(3), season_length=np.array([3, 6])
    ).fit(df, h=np.int64(2))
    model.save(tmp_path / "model")
    loaded = ExpLSTM.load(tmp_path / "model")
    assert (loaded.max_steps, loaded.random_seed, loaded.season_length) == (1, 3, [3, 6])
    assert "season_length=array([3, 6])" in repr(model)


def test_a_saved_model_forecasts_without_a_framework(df, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    df.to_csv(tmp_path / "data.csv", index=False)
    code = (
        "import sys, pandas as pd\n"
        "from explstm import ExpLSTM\n"
        "folder = sys.argv[1]\n"
        "df = pd.read_csv(folder + '/data.csv', parse_dates=['ds'])\n"
        "found = ExpLSTM.load(folder + '/model').predict(df, h=6, level=[80])\n"
        "found.to_csv(folder + '/forecast.csv', index=False)\n"
        "assert not {'torch', 'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    found = pd.read_csv(tmp_path / "forecast.csv", parse_dates=["ds"])
    expected = fitted.predict(h=6, level=[80])
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, check_dtype=False)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"max_steps": 0}},
        {"parameters": {"backend": "torch"}},
        {"parameters": {"colour": 1}},
        {"parameters": []},
        {"freq": [1]},
        {"season_length": [0]},
        {"season_length": "twelve"},
        {"season_length": None},
    ],
)
def test_settings_that_describe_no_forecaster_are_refused(fitted, change, tmp_path):
    from explstm.bundle import save_bundle

    settings = {"parameters": {}, "freq": "MS", "season_length": [12]} | change
    save_bundle(tmp_path / "m", fitted.spec_, fitted.weights_, settings, data_fingerprint="none")
    with pytest.raises(ModelFileError, match=r"MODEL_CONFIG.*does not describe a forecaster"):
        ExpLSTM.load(tmp_path / "m")


def test_a_folder_that_lacks_a_part_of_the_settings_is_refused(fitted, tmp_path):
    from explstm.bundle import save_bundle

    save_bundle(tmp_path / "m", fitted.spec_, fitted.weights_, {}, data_fingerprint="none")
    with pytest.raises(ModelFileError, match="does not describe a forecaster"):
        ExpLSTM.load(tmp_path / "m")
    with pytest.raises(UsageError, match="backend='pytorch' cannot be used; did you mean 'torch'"):
        ExpLSTM.load(tmp_path / "m", backend="pytorch")


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_forecasts_the_same(fitted, duplicate):
    copied = duplicate(fitted)
    pd.testing.assert_frame_equal(copied.predict(h=6, level=[80]), fitted.predict(h=6, level=[80]))
    assert copied is not fitted and repr(copied) == repr(fitted)
    blank = duplicate(make_model(max_steps=3))
    assert blank.max_steps == 3 and not hasattr(blank, "weights_")


# -------------------------------------------------------------------------------------- parameters


def test_parameters_can_be_got_set_and_cloned(fitted):
    model = make_model(growth="log", season_length=[6])
    assert model.get_params()["growth"] == "log"
    assert ExpLSTM(**model.get_params()).get_params() == model.get_params()
    assert model.set_params(max_steps=9, growth="auto") is model
    assert (model.max_steps, model.growth) == (9, "auto")
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params() and not hasattr(copied, "weights_")
    assert repr(ExpLSTM(max_steps=3)) == "ExpLSTM(max_steps=3)"


def test_a_wrong_parameter_changes_nothing():
    model = make_model()
    before = model.get_params()
    with pytest.raises(UsageError, match=r"max_step is not an option; did you mean max_steps\?"):
        model.set_params(max_step=3)
    with pytest.raises(UsageError, match="max_steps=0 cannot be used"):
        model.set_params(learning_rate=0.1, max_steps=0)
    assert model.get_params() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "pytorch"}, "backend='pytorch' cannot be used; did you mean 'torch'?"),
        ({"growth": "logs"}, "growth='logs' cannot be used; did you mean 'log'?"),
        ({"spec": {"hidden_sizes": (4,)}}, "cannot be used; pass a ModelSpec, such as"),
        ({"init": None}, "init=None cannot be used; pass 'pretrained', 'random', or the path"),
        ({"alias": 3}, "alias=3 cannot be used; pass the name of a column"),
        ({"season_length": 0}, "season_length needs whole numbers from 1 to 1000000, found 0"),
        ({"season_length": -12}, "found -12"),
        ({"season_length": 12.0}, "found 12.0"),
        ({"season_length": [12, "4"]}, "found '4'"),
        ({"freq": "monthly"}, "freq='monthly' is not a frequency"),
        ({"freq": 0}, "freq=0 is not a frequency"),
        ({"random_seed": 2**32}, "random_seed=4294967296 cannot be used"),
        ({"window": 0}, "window=0 cannot be used"),
        ({"early_stop_patience": 3}, "early_stop_patience=3 needs held-out steps"),
        ({"weight_decay": 0.1}, "weight_decay=0.1 needs optimizer='adamw'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_read(options, message):
    with pytest.raises(UsageError) as caught:
        ExpLSTM(**options)
    assert message in str(caught.value)


# ---------------------------------------------------------------------------------------- refusals


def test_nothing_is_forecast_or_saved_before_the_fit(df, tmp_path):
    for attempt in (lambda m: m.predict(df), lambda m: m.save(tmp_path / "model")):
        with pytest.raises(UsageError, match=r"NOT_FITTED: .*call fit\(df\) or ExpLSTM.load"):
            attempt(make_model())


def test_numpy_does_not_train(df):
    with pytest.raises(UsageError, match="backend='numpy' only forecasts; set backend='torch'"):
        make_model(backend="numpy").fit(df, h=2)


@pytest.mark.parametrize("h", [0, -1, 2.5, "3", True, 100_001, 10**9, None])
def test_a_horizon_that_is_no_count_is_refused(df, fitted, h):
    with pytest.raises(UsageError, match="is not a horizon; pass a whole number from 1 to 100,000"):
        make_model().fit(df, h=h)
    if h is not None:
        with pytest.raises(UsageError, match="is not a horizon"):
            fitted.predict(h=h)


def test_a_loaded_model_needs_data(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    with pytest.raises(
        UsageError, match=r"this model holds no data of its own; call predict\(df=\.\.\.\)"
    ):
        ExpLSTM.load(tmp_path / "model").predict()


def test_intervals_need_quantiles(df):
    model = make_model(loss="mae").fit(df, h=2)
    assert len(model.predict()) == 6
    with pytest.raises(UsageError, match="needs a model trained on quantiles, found loss='mae'"):
        model.predict(level=[80])
    with pytest.raises(UsageError, match="level=120 is not a coverage"):
        model.predict(level=[120])


def test_another_frequency_is_refused_unless_the_season_was_set(df, fitted):
    daily = make_table(grow(np.random.default_rng(1), 30), freq="D")
    with pytest.raises(
        DataError, match="the data have freq='D' and the model was trained on freq="
    ):
        fitted.predict(daily)
    free = make_model(season_length=1).fit(df, h=2)
    assert free.predict(daily)["ds"].tolist()[0] == pd.Timestamp("2020-01-31")


def test_the_same_frequency_may_start_on_another_day():
    rng = np.random.default_rng(1)
    for trained, other in (("W-MON", "W-SUN"), ("QS", "QE"), ("MS", "ME"), ("YS", "YE-JUN")):
        model = make_model(max_steps=1).fit(make_table(grow(rng, 30), freq=trained), h=2)
        history = make_table(grow(rng, 20), freq=other)
        dates = pd.date_range(history["ds"].max(), periods=3, freq=other)[1:]
        assert model.predict(history)["ds"].tolist() == list(dates)


def test_a_single_value_is_forecast_in_the_frequency_trained_on(fitted):
    found = fitted.predict(make_table([5.0]), h=3, level=[80])
    assert found["ds"].tolist() == list(pd.date_range("2020-02-01", periods=3, freq="MS"))
    np.testing.assert_allclose(found.iloc[:, 2:], 5.0, rtol=1e-12)


def test_data_without_any_change_cannot_be_trained_on():
    with pytest.raises(DataError, match=r"no series can be trained on.*give series that move"):
        make_model().fit(make_table([5.0] * 30, [1.0, 2.0]), h=2)
    with pytest.raises(DataError, match="the longest has 2; give longer series"):
        make_model().fit(make_table([5.0, 6.0], [1.0, 2.0]), h=2)


def test_hard_series_among_usual_ones_are_forecast_finitely():
    rng = np.random.default_rng(2)
    table = make_table(
        grow(rng, 80), [7.3] * 30, [4.0], [4.0, 5.0], [1.0, 2.0, 3.0], [0.0] * 20, [-2.5] * 9,
        rng.normal(size=40), np.r_[np.zeros(20), rng.poisson(1, 20)],
        1e300 * np.exp(rng.normal(0, 0.1, 30)), 1e-300 * grow(rng, 30), rng.standard_cauchy(40),
    )  # fmt: skip
    model = make_model(max_steps=5).fit(table, h=H)
    found = model.predict(h=2 * H, level=[80, 95])
    assert np.isfinite(found.iloc[:, 2:].to_numpy()).all()
    constant = found.set_index("unique_id").drop(columns="ds")
    for name, value in (("s1", 7.3), ("s2", 4.0), ("s5", 0.0), ("s6", -2.5)):
        np.testing.assert_allclose(constant.loc[name].to_numpy(), value, rtol=1e-12)


def test_config_json_is_readable(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "config.json").read_text())["settings"]
    assert settings["freq"] == "MS" and settings["season_length"] == [12]
    assert settings["parameters"]["season_length"] is None


def test_deep_copies_hold_the_weights_once_and_train_apart():
    fitted = ExpLSTM(backend="torch", max_steps=1, val_size=0).fit(load_air_passengers(), h=2)
    before = fitted.predict(h=2)
    copied = copy.deepcopy(fitted)
    assert all(copied.weights_[name] is array for name, array in fitted.weights_.items())
    copied.set_params(learning_rate=0.1).fit(load_air_passengers(), h=2)
    assert not np.array_equal(copied.predict(h=2)["ExpLSTM"], before["ExpLSTM"])
    pd.testing.assert_frame_equal(copy.deepcopy(fitted).predict(h=2), before)
    assert copied.panel_ is not fitted.panel_


def test_a_fitted_model_goes_on_in_the_engine_that_it_is_told():
    fitted = ExpLSTM(backend="torch", max_steps=1, val_size=0).fit(load_air_passengers(), h=2)
    expected = fitted.predict(h=2)["ExpLSTM"]
    copied = copy.copy(fitted).set_params(backend="numpy")
    assert copied._engine.backend == "numpy"
    np.testing.assert_allclose(copied.predict(h=2)["ExpLSTM"], expected, rtol=1e-5)
    assert fitted._engine.backend == "torch"
