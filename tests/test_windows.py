"""Rolling origins: which steps a window holds, what a forecast knew, how often it is trained."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from explstm import DataError, ExpLSTM, ModelSpec, UsageError
from explstm.windows import cut_windows, forecast_windows, is_seen, window_frame
from panels import grow, make_panel

H = 3


@pytest.fixture(scope="module")
def df():
    rng = np.random.default_rng(3)
    dates = {"a": pd.date_range("2015-01-01", periods=60, freq="MS")}
    dates["b"] = pd.date_range("2016-05-01", periods=40, freq="MS")
    return pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": ds, "y": grow(rng, len(ds))})
            for name, ds in dates.items()
        ],
        ignore_index=True,
    )


def test_windows_are_counted_back_from_the_end_of_each_series():
    panel = make_panel(np.arange(10.0), np.arange(20.0))
    pasts = cut_windows(panel, h=3, n_windows=3, step_size=2)
    assert [list(past.lengths_N) for past in pasts] == [[3, 13], [5, 15], [7, 17]]
    table = window_frame(panel, pasts, 3, {})
    assert list(table) == ["unique_id", "ds", "cutoff", "y"]
    first = table[(table["unique_id"] == "s0") & (table["cutoff"] == 2)]
    assert list(first["ds"]) == list(first["y"]) == [3, 4, 5]
    assert list(table[table["unique_id"] == "s1"].groupby("cutoff")["y"].min()) == [13, 15, 17]


def test_the_columns_stay_with_their_series_window_and_step():
    panel = make_panel(np.arange(10.0), 100 + np.arange(12.0))
    pasts = cut_windows(panel, h=2, n_windows=3, step_size=1)
    last_NW = np.stack([past.y_S[past.starts_N1[1:] - 1] for past in pasts], axis=1)
    ahead_NWH = last_NW[:, :, None] + np.array([1, 2])
    table = window_frame(panel, pasts, 2, {"line": ahead_NWH})
    assert (table["line"] == table["y"]).all() and len(table) == 2 * 3 * 2


def test_a_series_without_a_step_before_its_first_window_is_refused():
    panel = make_panel(np.arange(30.0), np.arange(9.0))
    with pytest.raises(DataError, match="'s1' has 9 steps, and 3 windows of 3 steps, 3 apart"):
        cut_windows(panel, h=3, n_windows=3, step_size=3)
    assert cut_windows(panel, h=3, n_windows=2, step_size=3)[0].lengths_N[1] == 3
    with pytest.raises(DataError, match="1 window of 12 steps takes 12 and leaves no history"):
        cut_windows(panel, h=12, n_windows=1, step_size=12)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("n_windows", 0), ("n_windows", 1.5), ("step_size", 0), ("step_size", True), ("refit", 0)],
)
def test_numbers_that_are_not_whole_from_one_are_refused(df, argument, value):
    with pytest.raises(UsageError, match=f"{argument}={value}"):
        ExpLSTM().cross_validation(df, h=2, **{argument: value})


def test_a_window_is_forecast_as_predict_forecasts_its_past(df):
    cv = ExpLSTM().cross_validation(df, h=H, n_windows=4, step_size=2, level=[80])
    assert list(cv) == [
        *("unique_id", "ds", "cutoff", "y"),
        *("ExpLSTM", "ExpLSTM-lo-80", "ExpLSTM-hi-80"),
    ]
    for (name, cutoff), rows in cv.groupby(["unique_id", "cutoff"]):
        past = df[(df["unique_id"] == name) & (df["ds"] <= cutoff)]
        alone = ExpLSTM().predict(past, h=H, level=[80])
        assert list(rows["ds"]) == list(alone["ds"])
        np.testing.assert_allclose(rows.iloc[:, 4:], alone.iloc[:, 2:], rtol=1e-6)
        known = df[(df["unique_id"] == name)].set_index("ds")["y"]
        assert list(rows["y"]) == list(known[rows["ds"]])


def test_the_table_comes_back_in_the_kind_and_the_names_of_the_one_given(df):
    other = pl.from_pandas(df.rename(columns={"unique_id": "shop", "ds": "month", "y": "sales"}))
    cv = ExpLSTM().cross_validation(
        other, h=2, n_windows=2, id_col="shop", time_col="month", target_col="sales"
    )
    assert cv.columns == ["shop", "month", "cutoff", "sales", "ExpLSTM"]
    assert cv.schema["cutoff"] == cv.schema["month"] == other.schema["month"]


def test_a_column_that_cannot_be_told_from_one_of_the_result_is_refused(df):
    with pytest.raises(UsageError, match="alias='cutoff'"):
        ExpLSTM(alias="cutoff").cross_validation(df, h=2)
    with pytest.raises(UsageError, match="is called 'cutoff'"):
        renamed = df.rename(columns={"y": "cutoff"})
        ExpLSTM().cross_validation(renamed, h=2, target_col="cutoff")


class _Counter:
    """Forecasts how many steps it was fitted on."""

    fitted = 0

    def fit(self, past):
        self.fitted = len(past.y_S)

    def predict(self, past):
        return pd.DataFrame({"unique_id": 0, "ds": 0, "steps": [self.fitted] * 2})


@pytest.mark.parametrize(
    ("fits", "refit", "expected"),
    [
        (False, False, [0, 0, 0, 0]),
        (True, False, [7, 7, 7, 7]),
        (True, True, [7, 8, 9, 10]),
        (True, 2, [7, 7, 9, 9]),
        (True, 1, [7, 8, 9, 10]),
    ],
)
def test_a_model_is_trained_as_often_as_asked(fits, refit, expected):
    panel = make_panel(np.arange(12.0))
    pasts = cut_windows(panel, h=2, n_windows=4, step_size=1)
    counter = _Counter()
    fit = counter.fit if fits else None
    found = forecast_windows(pasts, 2, counter.predict, fit=fit, refit=refit)
    assert found["steps"][0, :, 0].tolist() == expected


def test_a_framework_trains_before_the_first_window_and_leaves_the_model_as_it_was(df):
    model = ExpLSTM(
        backend="torch", init="random", spec=ModelSpec(hidden_sizes=(5,)), max_steps=3, batch_size=2
    )
    cv = model.cross_validation(df, h=2, n_windows=2, step_size=2)
    assert not hasattr(model, "weights_")
    past = df.drop(df.groupby("unique_id").tail(4).index)
    trained = model.fit(past, h=2)
    first = cv.groupby("unique_id").head(2)
    np.testing.assert_allclose(first["ExpLSTM"], trained.predict(h=2)["ExpLSTM"], rtol=1e-6)


def test_a_model_that_has_seen_the_windows_is_refused(df, tmp_path):
    model = ExpLSTM(
        backend="torch", init="random", spec=ModelSpec(hidden_sizes=(5,)), max_steps=1, batch_size=2
    )
    model.fit(df, h=2).save(tmp_path / "model")
    for backend in ("numpy", "torch"):
        loaded = ExpLSTM.load(tmp_path / "model", backend=backend)
        with pytest.raises(UsageError, match="trained on steps up to 2019-12-01"):
            loaded.cross_validation(df, h=2)
    later = df.assign(ds=df["ds"] + pd.DateOffset(years=6))
    assert len(ExpLSTM.load(tmp_path / "model").cross_validation(later, h=2)) == 4


def test_what_a_training_saw_is_told_by_dates_of_one_kind():
    past = make_panel(np.arange(5.0), np.arange(9.0))
    assert is_seen(past, 8) and is_seen(past, 5) and not is_seen(past, 4)
    assert not is_seen(past, "2020-01-01") and not is_seen(past, None)
