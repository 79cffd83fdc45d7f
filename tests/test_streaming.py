"""A stream that is updated forecasts as one pass over all values would, and keeps no history."""

import pickle
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pandas as pd
import polars as pl
import pytest

from explstm import DataError, ExpLSTM, ModelSpec, UsageError
from explstm.bundle import save_bundle
from explstm.datasets import load_air_passengers
from explstm.growth import to_growth_space
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import init_weights
from explstm.settings import Settings
from panels import grow, make_panel

pytestmark = pytest.mark.filterwarnings("ignore:.* have fewer than 8 values")

LEVEL = [80]
PROBABILITIES = (0.1, 0.5, 0.9)
COLUMNS = ["ExpLSTM-lo-80", "ExpLSTM", "ExpLSTM-hi-80"]
YEAR = np.array([1.2, 0.9, 1.1, 1.0, 0.8, 1.3, 1.0, 0.9, 1.1, 0.7, 1.2, 0.8])


def make_model(path, spec, season_length=(1,), window=64, growth="auto", beside=None, widen=1.0):
    """A model with weights drawn, not trained, saved and loaded; four times as loud as usual."""
    weights = {name: 4 * array for name, array in init_weights(spec, 3).items()}
    settings = Settings(
        parameters={"growth": growth, "window": window},
        freq="MS",
        season_length=season_length,
        beside=beside,
        widen=widen,
    )
    save_bundle(path, spec, weights, settings.model_dump(mode="json"), data_fingerprint="none")
    return ExpLSTM.load(path)


def make_table(series, begin=None, freq="MS", start="2020-01-01"):
    """A long table of series by name, from the step that ``begin`` says of each."""
    begin = begin or {}
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "unique_id": name,
                    "ds": pd.date_range(start, periods=len(y), freq=freq)[begin.get(name, 0) :],
                    "y": np.asarray(y, dtype=np.float64)[begin.get(name, 0) :],
                }
            )
            for name, y in series.items()
        ],
        ignore_index=True,
    )


def cut(series, lengths):
    return {name: series[name][:length] for name, length in lengths.items()}


# --------------------------------------------------------------------- the fresh pass, by hand


class FreshView:
    """One series on one curve, read from its first step with what was fitted when a stream began.

    All in plain loops: every forecast is a pass over everything from the first step shown.
    """

    def __init__(self, engine, y, begun, view):
        self.engine, self.y, self.begun, self.view = engine, list(y), begun, view
        self.start = to_growth_space(
            make_panel(y[:begun]),
            growth=view.growth,
            season_length=view.season_length,
            n_features=view.n_features,
        )
        self.first_shown = max(begun - view.window, 0)

    def space(self):
        seasons = self.start.seasonality
        later = len(self.y) - self.begun
        rolled = tuple(np.roll(index, -later, axis=1) for index in seasons.indices)
        return to_growth_space(
            make_panel(self.y),
            transform=self.start.transform,
            seasonality=replace(seasons, indices=rolled),
            n_features=self.view.n_features,
        )

    def season(self, step):
        seasons = self.start.seasonality
        pairs = zip(seasons.lengths, seasons.indices, strict=True)
        return sum(index[0, (step - self.begun) % m] for m, index in pairs)

    def to_data(self, z):
        curve = self.start.transform
        inverse = {"log": np.exp, "asinh": np.sinh}.get(curve.names_N[0], lambda z: z)
        return inverse(z) * curve.unit_N[0] + curve.centre_N[0]

    def ask(self, space, origin):
        """Outputs (H, Q) from one step, with its level and scale."""
        features = space.features_SF[None, self.first_shown : origin + 1]
        output_HQ = self.engine.predict_last(features, np.array([features.shape[1]]))[0]
        return output_HQ.astype(float), space.anchor_S[origin], space.scale_S[origin]

    def past_error(self):
        """Mean error of the medians from the last twelve origins, but for the very first ones."""
        space, last, errors = self.space(), len(self.y) - 1, []
        median = self.engine.spec.median
        for origin in range(max(last - 12, self.first_shown + 6), last):
            output_HQ, z, scale = self.ask(space, origin)
            for k in range(1, min(self.engine.spec.horizon, last - origin) + 1):
                level = z + scale * output_HQ[k - 1, median] + self.season(origin + k)
                errors.append(abs(self.to_data(level) - self.y[origin + k]))
        return np.mean(errors) if errors else np.nan

    def forecast(self, h):
        """Quantiles (h, P)."""
        spec, rows = self.engine.spec, []
        score_P = np.array([NormalDist().inv_cdf(p) for p in PROBABILITIES])
        known_Q = [NormalDist().inv_cdf(q) for q in spec.quantiles]
        error = np.sqrt(sum(variance[0] for variance in self.start.seasonality.variances))
        gathered_P = np.abs(score_P) * error
        for done in range(0, h, spec.horizon):
            end = len(self.y)
            output_HQ, z, scale = self.ask(self.space(), end - 1)
            path = []
            for k in range(min(spec.horizon, h - done)):
                median = output_HQ[k, spec.median]
                spread_P = np.interp(score_P, known_Q, output_HQ[k]) - median
                spread_P = np.hypot(self.view.widen * spread_P * scale, gathered_P)
                season = self.season(end + k)
                rows.append(self.to_data(z + scale * median + np.sign(score_P) * spread_P + season))
                path.append(self.to_data(z + scale * median + season))
            gathered_P = spread_P
            self.y.extend(path)
        return np.array(rows)


def fresh_forecast(engine, series, begun, view, h):
    """Quantiles (series × h, P) of one pass over each series, on one curve or on two."""
    stretches = []
    for name in sorted(series):
        y = series[name]
        one = FreshView(engine, y, begun[name], view)
        if view.beside is None:
            stretches.append(one.forecast(h))
            continue
        two = FreshView(engine, y, begun[name], replace(view, growth=view.beside))
        errors = [one.past_error(), two.past_error()]
        weight = [1.0 if e == min(errors) else (min(errors) / e) ** 2 for e in errors]
        if np.isnan(errors).any():
            weight = [0.0, 1.0]
        y_HP, other_HP = one.forecast(h), two.forecast(h)
        if min(y) > 0:
            other_HP = np.maximum(other_HP, 0.0)
        mixed_HP = (weight[0] * y_HP + weight[1] * other_HP) / sum(weight)
        if min(y) > 0:
            mixed_HP = np.maximum(mixed_HP, np.minimum(y_HP, 1e-3 * max(y)))
        stretches.append(mixed_HP)
    return np.concatenate(stretches)


def assert_fresh(live, model, series, begun, h):
    """The stream forecasts what a fresh pass over all values forecasts."""
    engine = NumpyEngine(model.spec_, model.weights_)
    view = model.preprocessing_
    if model.freq_ is None:
        view = replace(view, season_length=(12,))
    expected = fresh_forecast(engine, series, begun, view, h)
    found = live.predict(h, LEVEL)[COLUMNS].to_numpy()
    size = np.repeat([np.abs(series[name]).max() for name in sorted(series)], h)[:, None]
    np.testing.assert_allclose(found / size, expected / size, rtol=1e-6, atol=1e-7)


# ------------------------------------------------------------------------- equal to a fresh pass

LSTM = {"hidden_sizes": (6,), "horizon": 4}
NETWORKS = {
    "lstm": ModelSpec(**LSTM),
    "lstm of two layers": ModelSpec(**{**LSTM, "hidden_sizes": (6, 5)}),
    "slstm": ModelSpec(**LSTM, cell="slstm"),
    "slstm of two layers, 8 features": ModelSpec(
        hidden_sizes=(6, 5), horizon=4, cell="slstm", n_features=8
    ),
    "long horizon": ModelSpec(hidden_sizes=(6,), horizon=15, n_features=8),
}
VIEWS = {
    "log": {"growth": "log"},
    "linear": {"growth": "linear", "widen": 1.3},
    "asinh": {"growth": "asinh", "season_length": (4,)},
    "seasonal": {"growth": "log", "season_length": (12,)},
    "difference": {"growth": "difference", "season_length": (12,)},
    "standard": {"growth": "standard"},
    "two seasons": {"growth": "log", "season_length": (3, 12), "window": 40},
    "two views": {"beside": "linear"},
    "two views of a season": {"beside": "linear", "season_length": (12,), "widen": 1.1},
}
CASES = [
    *(("lstm", view) for view in VIEWS),
    *(("long horizon", view) for view in ("two views", "two views of a season")),
    *(("slstm of two layers, 8 features", view) for view in VIEWS),
    *((network, "two views of a season") for network in ("lstm of two layers", "slstm")),
]
END = {"flat": 44, "long": 95, "middle": 61, "new": 19, "one": 3, "still": 40}
BEGUN = {"flat": 25, "long": 80, "middle": 48, "new": 4, "one": 1, "still": 40}


@pytest.fixture(scope="module")
def series():
    rng = np.random.default_rng(11)
    series = {name: grow(rng, n) * np.resize(YEAR, n) for name, n in END.items()}
    series["flat"][:30] = series["flat"][0]  # moves for the first time within an update
    return series


@pytest.mark.parametrize(("network", "view"), CASES)
def test_updates_of_one_and_of_many_steps_equal_a_fresh_pass(network, view, series, tmp_path):
    model = make_model(tmp_path / "model", NETWORKS[network], **VIEWS[view])
    live = model.stream(make_table(cut(series, BEGUN)))
    known = dict(BEGUN)
    for more in (
        {"long": 1},
        {"long": 1, "middle": 7, "new": 1, "flat": 4},
        {"middle": 1, "new": 13, "one": 1, "flat": 14},
        {"long": 13, "middle": 5, "new": 1, "one": 1, "flat": 1},
    ):
        later = {name: known[name] + more[name] for name in more}
        live.update(make_table(cut(series, later), known))
        known.update(later)
        assert_fresh(live, model, cut(series, known), BEGUN, 11)
    assert known == END


@pytest.mark.parametrize("beside", [None, "linear"])
def test_series_of_either_sign_go_on_under_the_curve_chosen_for_them(beside, rng, tmp_path):
    model = make_model(tmp_path / "model", NETWORKS["slstm"], beside=beside)
    series = {
        "asinh": np.sinh(np.cumsum(rng.normal(0.1, 0.7, 60))),
        "linear": 5 + np.cumsum(rng.normal(-0.3, 1.0, 60)),
        "log": grow(rng, 60),
    }
    begun = dict.fromkeys(series, 40)
    live = model.stream(make_table(cut(series, begun)))
    live.update(make_table(series, begun))
    assert_fresh(live, model, series, begun, 9)


@pytest.mark.parametrize(("window", "end"), [(20, 90), (10, 63)])
def test_a_history_longer_than_the_window_is_read_from_there_and_then_on(
    window, end, rng, tmp_path
):
    model = make_model(tmp_path / "model", NETWORKS["lstm"], window=window, beside="linear")
    series, begun = {"s": grow(rng, end)}, {"s": 60}
    live = model.stream(make_table(cut(series, begun)))
    live.update(make_table(series, begun))
    assert_fresh(live, model, series, begun, 6)


def test_an_update_longer_than_what_is_read_at_once_is_the_same_as_its_parts(
    rng, tmp_path, monkeypatch
):
    model = make_model(tmp_path / "model", NETWORKS["slstm"], beside="linear")
    series, begun = {"a": grow(rng, 70), "b": grow(rng, 50)}, {"a": 20, "b": 20}
    at_once = model.stream(make_table(cut(series, begun))).update(make_table(series, begun))
    monkeypatch.setattr("explstm.memory.STEPS_TOGETHER", 7)
    monkeypatch.setattr("explstm.memory.BLOCK", 1)
    in_parts = model.stream(make_table(cut(series, begun))).update(make_table(series, begun))
    pd.testing.assert_frame_equal(at_once.predict(9), in_parts.predict(9), rtol=1e-6)


def test_the_pretrained_model_follows_the_season_of_air_passengers():
    df = load_air_passengers()
    series = {"air": df["y"].to_numpy(dtype=float)}
    model, begun = ExpLSTM(), {"air": 101}
    live = model.stream(df[:101])
    for start, end in ((101, 102), (102, 125), (125, 126)):
        live.update(df[start:end])
        assert_fresh(live, model, {"air": series["air"][:end]}, begun, 30)


@pytest.mark.parametrize("n_features", [6, 8])
def test_what_is_fitted_when_the_stream_begins_is_kept(n_features, rng, tmp_path):
    """Values that would change the season fitted: a new stream forecasts something else."""
    spec = ModelSpec(hidden_sizes=(6,), horizon=12, n_features=n_features)
    model = make_model(tmp_path / "model", spec, season_length=(12,))
    y = grow(rng, 120) * np.concatenate((np.resize(YEAR, 60), np.resize(YEAR[::-1], 60)))
    series, begun = {"s": y}, {"s": 60}
    live = model.stream(make_table(cut(series, begun))).update(make_table(series, begun))
    assert_fresh(live, model, series, begun, 12)
    anew = model.stream(make_table(series)).predict(12)["ExpLSTM"]
    assert np.abs(live.predict(12)["ExpLSTM"] / anew - 1).max() > 0.01


# ----------------------------------------------------------------------------- as predict does


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize(("h", "season_length"), [(None, None), (3, (4, 12)), (24, None), (60, 1)])
def test_without_updates_a_stream_forecasts_as_the_model(h, season_length, kind, series):
    df = make_table(cut(series, BEGUN))
    df = df if kind == "pandas" else pl.from_pandas(df)
    model = ExpLSTM(season_length=season_length)
    tables = [model.stream(df).predict(h, [80, 95.5]), model.predict(df, h, [80, 95.5])]
    assert isinstance(tables[0], type(df))
    found, expected = (table.to_pandas() if kind == "polars" else table for table in tables)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("freq", "start"),
    [
        ("MS", "2020-01-31"),
        ("ME", "2020-01-31"),
        ("W-TUE", "2020-01-07"),
        ("B", "2020-01-02"),
        ("D", pd.Timestamp("2020-03-10 00:30", tz="Europe/Berlin")),
        ("h", pd.Timestamp("2020-03-28 12:00", tz="Europe/Berlin")),
        (2, 5),
    ],
)
def test_dates_go_on_as_those_of_the_whole_series_would(freq, start, rng):
    n = 40
    if isinstance(freq, int):
        ds = start + freq * np.arange(n)
    elif freq == "MS":
        ds = [pd.Timestamp(start) + pd.DateOffset(months=i) for i in range(n)]
    else:
        ds = pd.date_range(start, periods=n, freq=freq)
    df = pd.DataFrame({"when": ds, "shop": 7, "sales": grow(rng, n)})
    names = {"id_col": "shop", "time_col": "when", "target_col": "sales"}
    live = ExpLSTM().stream(df[:25], **names)
    for begin, end in ((25, 26), (26, n)):
        live.update(df[begin:end])
    found, whole = live.predict(5), ExpLSTM().predict(df, 5, **names)
    pd.testing.assert_frame_equal(found[["shop", "when"]], whole[["shop", "when"]])


def test_a_forecast_may_be_fed_back_across_an_hour_that_the_clock_skips():
    start = pd.Timestamp("2021-03-20 02:30", tz="Europe/Berlin")
    df = pd.DataFrame({"ds": pd.date_range(start, periods=7, freq="D"), "y": np.arange(1.0, 8)})
    live = ExpLSTM().stream(df)
    ahead = live.predict(4).rename(columns={"ExpLSTM": "y"})
    assert (ahead["ds"].dt.minute != 30).any()
    live.update(ahead)


@pytest.mark.parametrize("summer", [True, False])
def test_of_an_hour_that_the_clock_repeats_either_is_taken(summer):
    ds = pd.date_range("2021-10-25 02:30", periods=8, freq="D").tz_localize(
        "Europe/Berlin", ambiguous=np.full(8, summer)
    )
    df = pd.DataFrame({"ds": ds, "y": np.arange(1.0, 9)})
    live = ExpLSTM().stream(df[:6])
    found = live.update(df[6:7]).update(df[7:]).predict(2)
    assert found["ds"].dt.strftime("%d %H:%M").tolist() == ["02 02:30", "03 02:30"]


def test_a_stream_of_a_trained_model_begins_with_the_training_data_and_runs_without_it(rng):
    series = {"a": grow(rng, 40), "b": grow(rng, 30)}
    options = {"backend": "torch", "init": "random", "spec": ModelSpec(hidden_sizes=(5,))}
    model = ExpLSTM(**options, max_steps=2, batch_size=2).fit(make_table(series), h=4)
    live, expected = model.stream(), model.predict(level=LEVEL)
    pd.testing.assert_frame_equal(live.predict(level=LEVEL), expected, rtol=1e-5)
    model.fit(make_table({"c": series["a"] ** 2}), h=2)
    pd.testing.assert_frame_equal(live.predict(level=LEVEL), expected, rtol=1e-5)


def test_forecasting_changes_nothing(series):
    live = ExpLSTM().stream(make_table(cut(series, BEGUN)))
    before = live.predict(5, LEVEL)
    live.predict(60)
    pd.testing.assert_frame_equal(live.predict(5, LEVEL), before)


def test_a_series_that_outgrows_the_second_curve_goes_on_with_the_first(tmp_path):
    model = make_model(tmp_path / "model", NETWORKS["lstm"], beside="linear")
    series = {"s": 10.0 ** np.linspace(140, 155, 61), "t": np.linspace(1.0, 9.0, 61)}
    begun = {"s": 30, "t": 30}
    live = model.stream(make_table(cut(series, begun)))
    for end in (50, 61):
        live.update(make_table(cut(series, dict.fromkeys(series, end)), begun))
        begun = dict.fromkeys(series, end)
    alone = make_model(tmp_path / "alone", NETWORKS["lstm"], growth="log")
    expected = alone.predict(make_table(series), 3, LEVEL)
    found = live.predict(3, LEVEL)
    pd.testing.assert_frame_equal(found[found["unique_id"] == "s"], expected[:3], rtol=1e-6)


# --------------------------------------------------------------------------- cost and size


def count_steps_read(monkeypatch):
    """A list that grows by the shape of every stretch that the network reads."""
    shapes, read = [], NumpyEngine.stream

    def spy(self, features_BTF, *arguments):
        shapes.append(features_BTF.shape[:2])
        return read(self, features_BTF, *arguments)

    monkeypatch.setattr(NumpyEngine, "stream", spy)
    return shapes


def test_an_update_reads_the_new_steps_alone(series, monkeypatch):
    live = ExpLSTM().stream(make_table(cut(series, BEGUN)))
    shapes = count_steps_read(monkeypatch)
    later = {"long": 82, "new": 5}
    live.update(make_table(cut(series, later), BEGUN)).predict(12)
    assert sum(n_series * n_steps for n_series, n_steps in shapes) == 2 * 3  # two views


def test_a_thousand_values_leave_a_stream_as_large_as_it_was(rng):
    y = grow(rng, 1200, noise=0.02)
    ds = pd.date_range("2020-01-01", periods=len(y), freq="D")
    df = pd.DataFrame({"ds": ds, "y": y})
    live = ExpLSTM().stream(df[:100])
    size, arrays = len(pickle.dumps(live)), sizes_of(live)
    assert sum(arrays) > 5000
    for begin, end in ((100, 101), (101, 1100), (1100, 1101)):
        live.update(df[begin:end])
        assert len(pickle.dumps(live)) == size
        assert sizes_of(live) == arrays


def sizes_of(thing):
    """Bytes that every array held by an object keeps alive, those under a view included."""
    if isinstance(thing, np.ndarray):
        while isinstance(thing.base, np.ndarray):
            thing = thing.base
        return [thing.nbytes]
    parts = thing.values() if isinstance(thing, dict) else thing
    if hasattr(thing, "__dict__"):
        parts = vars(thing).values()
    elif not isinstance(thing, dict | list | tuple):
        return []
    return [size for part in parts for size in sizes_of(part)]


def test_neither_history_nor_update_is_changed_or_needed_again(series):
    history, update = make_table(cut(series, BEGUN)), make_table({"long": series["long"]}, BEGUN)
    copies = history.copy(), update.copy()
    live = ExpLSTM().stream(history)
    live.update(update)
    pd.testing.assert_frame_equal(history, copies[0])
    pd.testing.assert_frame_equal(update, copies[1])
    expected = live.predict(30, LEVEL)
    history["y"], update["y"] = 1.0, 1.0
    pd.testing.assert_frame_equal(live.predict(30, LEVEL), expected)


def test_an_update_of_some_series_leaves_the_others_as_they_were(series):
    live = ExpLSTM().stream(make_table(cut(series, BEGUN)))
    before = live.predict(30, LEVEL)
    after = live.update(make_table({"middle": series["middle"]}, BEGUN)).predict(30, LEVEL)
    others = before["unique_id"] != "middle"
    pd.testing.assert_frame_equal(after[others], before[others], rtol=1e-6)
    assert (after["ds"][~others] != before["ds"][~others]).all()


# ------------------------------------------------------------------------------- refusals

NEXT = {"a": "2021-09-01", "b": "2021-07-01"}  # of series of 20 and 18 months


def rows(*cells):
    table = pd.DataFrame(cells, columns=["unique_id", "ds", "y"])
    return table.assign(ds=pd.to_datetime(table["ds"]))


@pytest.mark.parametrize(
    ("new", "code", "names"),
    [
        (rows(("a", NEXT["a"], 1.0), ("c", NEXT["a"], 1.0)), "STREAM_SERIES", "'c'"),
        (rows(("b", NEXT["b"], 1.0), ("a", "2021-10-01", 1.0)), "STREAM_DATE", "2021-09-01"),
        (rows(("b", NEXT["b"], 1.0), ("b", "2021-09-01", 1.0)), "STREAM_DATE", "2021-08-01"),
        (rows(("a", NEXT["a"], 1.0), ("a", NEXT["a"], 1.0)), "STREAM_DATE", "2021-10-01"),
        (rows(("a", NEXT["a"], 1.0), ("a", NEXT["a"], 1.0)), "STREAM_DATE", "is given twice"),
        (rows(("a", "2021-08-01", 1.0)), "STREAM_DATE", "'a' at ds=2021-08-01"),
        (rows(("a", "2021-09-02", 1.0)), "STREAM_DATE", "2021-09-01"),
        (rows(("a", NEXT["a"], 1.0)).assign(ds=21), "STREAM_DATE", "integers"),
        (
            rows(("a", NEXT["a"], 1.0)).assign(ds=lambda t: t["ds"].dt.tz_localize("UTC")),
            "STREAM_DATE",
            "without a zone",
        ),
        (rows(("b", NEXT["b"], 2.0), ("a", NEXT["a"], np.nan)), "STREAM_MISSING", "'a'"),
        (rows(("b", NEXT["b"], 2.0), ("a", NEXT["a"], np.inf)), "DATA_INFINITE", "inf"),
        (rows(("b", NEXT["b"], 2.0), ("a", NEXT["a"], 0.0)), "STREAM_VALUE", "above 0"),
        (rows(("a", NEXT["a"], 2.0), ("a", "2021-10-01", -3.0)), "STREAM_VALUE", "2021-10-01"),
        (rows(("a", NEXT["a"], 2.0), ("b", NEXT["b"], -1e200)), "STREAM_VALUE", "1e+150"),
        (rows(("a", NEXT["a"], 2.0)).rename(columns={"y": "v"}), "DATA_COLUMN_MISSING", "'y'"),
        (rows(("a", NEXT["a"], 2.0))[:0], "DATA_NO_ROWS", "no rows"),
        ([1.0, 2.0], "TABLE_TYPE", "list"),
    ],
)
def test_what_does_not_continue_the_series_is_refused_and_changes_nothing(new, code, names, rng):
    walk = np.cumsum(rng.normal(size=18))
    live = ExpLSTM().stream(make_table({"a": grow(rng, 20), "b": walk}))
    before, state = live.predict(30, LEVEL), pickle.dumps(live)
    with pytest.raises((DataError, UsageError)) as caught:
        live.update(new)
    assert caught.value.code == code
    assert names in caught.value.message and ";" in caught.value.message
    pd.testing.assert_frame_equal(live.predict(30, LEVEL), before)
    assert pickle.dumps(live) == state


def test_a_stream_needs_data_and_a_horizon(rng):
    with pytest.raises(UsageError, match=r"call stream\(df=\.\.\.\)"):
        ExpLSTM().stream()
    live = ExpLSTM().stream(make_table({"a": grow(rng, 20)}))
    with pytest.raises(UsageError, match="HORIZON_RANGE"):
        live.predict(0)
    with pytest.raises(UsageError, match="LEVEL_RANGE"):
        live.predict(2, [101])
