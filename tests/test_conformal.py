"""Calibrated intervals: by hand with a model that repeats itself, and of the real one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from explstm import DataError, ExpLSTM, ModelSpec, UsageError
from explstm.conformal import METHODS, ConformalForecaster, calibrate
from explstm.datasets import load_air_passengers
from explstm.frame import forecast_frame, keep_steps
from explstm.leakage import audit_leakage
from explstm.windows import cut_windows, forecast_windows, window_frame
from panels import grow, make_panel

H = 3


@dataclass
class LastValue:
    """Repeats the last value, one below and two above it as interval of any level."""

    alias: str = "last"
    backend: str = "numpy"
    season_length: int = 1
    freq: int | None = None
    fitted: int = 0

    def fit(self, df, h):
        self.fitted = int(df.lengths_N[0])

    def predict(self, df, h, level):
        last_NH = np.repeat(df.y_S[df.starts_N1[1:] - 1][:, None], h, axis=1)
        columns = {"last": last_NH}
        for percent in level or ():
            columns |= {f"last-lo-{percent}": last_NH - 1, f"last-hi-{percent}": last_NH + 2}
        return forecast_frame(df, h, columns)

    def cross_validation(self, df, h, n_windows, step_size, *, level):
        pasts = cut_windows(df, h, n_windows, step_size)
        found = forecast_windows(pasts, h, lambda past: self.predict(past, h, level))
        return window_frame(df, pasts, h, found)


@pytest.fixture
def walks(rng):
    return make_panel(*(np.cumsum(rng.normal(0, 1, n)) - 1000 for n in (30, 40, 25)))


def by_hand(panel, h, n_windows, step, rank):
    """Scores of LastValue on any sign: rises in units of 2, falls in units of 1."""
    scores = [[] for _ in range(h)]
    for i in range(panel.n_series):
        y = panel.y_S[panel.starts_N1[i] : panel.starts_N1[i + 1]]
        for window in range(n_windows):
            cutoff = len(y) - h - window * step
            for k in range(h):
                away = y[cutoff + k] - y[cutoff - 1]
                scores[k].append(away / 2 if away >= 0 else -away)
    return [sorted(step_scores)[rank - 1] for step_scores in scores]


def test_scores_of_all_series_and_windows_are_pooled_by_step(walks):
    found = calibrate(LastValue(), walks, H, level=[80], n_windows=4, step_size=2)
    assert found.n_series == 3 and found.n_windows == 4
    assert found.n_scores_GH.tolist() == [[12, 12, 12]]
    expected = by_hand(walks, H, 4, 2, rank=11)  # 13 * 0.8 = 10.4
    np.testing.assert_allclose(found.factor_LGH[0, 0], expected)
    table = ConformalForecaster(LastValue(), n_windows=4, step_size=2).predict(walks, H, [80])
    last = np.repeat(walks.y_S[walks.starts_N1[1:] - 1], H)
    np.testing.assert_allclose(table["last"], last)
    np.testing.assert_allclose(table["last-lo-80"], last - np.tile(expected, 3))
    np.testing.assert_allclose(table["last-hi-80"], last + 2 * np.tile(expected, 3))


def test_series_that_do_not_share_have_scores_of_their_own(walks):
    found = calibrate(LastValue(), walks, H, level=[50], n_windows=5, pooled=False)
    assert found.factor_LGH.shape == (1, 3, H)
    for i in range(3):
        alone = calibrate(
            LastValue(),
            make_panel(walks.y_S[walks.starts_N1[i] : walks.starts_N1[i + 1]]),
            H,
            level=[50],
            n_windows=5,
        )
        np.testing.assert_array_equal(alone.factor_LGH[0, 0], found.factor_LGH[0, i])


def test_series_too_short_for_the_windows_give_no_scores_and_get_intervals(rng):
    panel = make_panel(np.cumsum(rng.normal(0, 1, 30)), [1.0, 2, 1, 2])
    found = calibrate(LastValue(), panel, H, level=[80], n_windows=6)
    assert found.n_series == 1 and found.n_scores_GH.tolist() == [[6] * H]
    table = ConformalForecaster(LastValue(), n_windows=6).predict(panel, H, [80])
    assert table.notna().all(axis=None) and len(table) == 2 * H


def test_as_many_windows_are_taken_as_the_highest_level_needs():
    panel = make_panel(grow(np.random.default_rng(1), 60))
    assert calibrate(LastValue(), panel, H, level=[80]).n_windows == 8
    assert calibrate(LastValue(), panel, H, level=[80, 95]).n_windows == 19
    many = make_panel(*(grow(np.random.default_rng(i), 20) for i in range(10)))
    assert calibrate(LastValue(), many, H, level=[95]).n_windows == 8
    mixed = make_panel(*(grow(np.random.default_rng(i), 14 + 30 * (i == 0)) for i in range(10)))
    assert calibrate(LastValue(), mixed, H, level=[80]).n_windows == 4  # 40 scores; of 8: 8
    short = make_panel(*(grow(np.random.default_rng(i), 12) for i in range(10)))
    assert calibrate(LastValue(), short, H, level=[80]).n_windows == 2


def test_too_few_are_refused_with_what_is_needed():
    panel = make_panel(grow(np.random.default_rng(1), 20))
    with pytest.raises(DataError, match="95 % needs 19 past forecasts, and 0 of 1 series hold"):
        calibrate(LastValue(), panel, H, level=[95])
    with pytest.raises(DataError, match="95 % needs 19 past forecasts, and 1 of 1"):
        calibrate(LastValue(), panel, H, level=[95], n_windows=5)
    both = make_panel(*(grow(np.random.default_rng(i), n) for i, n in enumerate((60, 20))))
    with pytest.raises(DataError, match="of every series, and 1 of 2"):
        calibrate(LastValue(), both, H, level=[95], pooled=False)
    with pytest.raises(UsageError, match="method='conformal_distribution'"):
        calibrate(LastValue(), panel, H, level=[80], method="conformal_distribution")
    for level in (0, 100, "80"):
        with pytest.raises(UsageError, match="is not a coverage in per cent"):
            calibrate(LastValue(), panel, H, level=[level])
    with pytest.raises(UsageError, match="n_windows=0"):
        calibrate(LastValue(), panel, H, level=[80], n_windows=0)


def test_series_that_stand_still_give_no_scores(walks):
    still = make_panel(np.ones(30))
    with pytest.raises(DataError, match="series that move, and there are 0"):
        calibrate(LastValue(), still, H, level=[50], method="conformal_error")


# --------------------------------------------------------------------------- the real one


@pytest.fixture(scope="module")
def air():
    return load_air_passengers()


@pytest.mark.parametrize("method", METHODS)
def test_levels_nest_positive_series_stay_positive_and_the_forecast_stays(method):
    panel = make_panel(*(grow(np.random.default_rng(i), 40, noise=0.6) for i in range(12)))
    levels = [50, 80, 95, 97]
    table = ConformalForecaster(ExpLSTM(), method).predict(panel, 30, levels)
    own = ExpLSTM().predict(panel, h=30, level=levels)
    assert list(table) == list(own)
    pd.testing.assert_frame_equal(table.iloc[:, :3], own.iloc[:, :3])
    names = [f"ExpLSTM-lo-{level}" for level in reversed(levels)]
    names += ["ExpLSTM", *(f"ExpLSTM-hi-{level}" for level in levels)]
    assert (np.diff(table[names], axis=1) >= 0).all() and (table[names[0]] > 0).all()


def test_a_forecast_knows_nothing_of_what_follows(air):
    report = audit_leakage(
        air.tail(72),
        6,
        forecast=lambda *args: ConformalForecaster(ExpLSTM()).cross_validation(*args, level=[80]),
        n_windows=2,
        step_size=6,
        alterations=["noise", "continued"],
    )
    assert not report.leaks


def test_a_window_is_calibrated_as_its_past_alone_would_be(air):
    judged = ConformalForecaster(ExpLSTM(), n_windows=5)
    cv = judged.cross_validation(air, 6, n_windows=2, step_size=3, level=[80])
    assert list(cv.columns[:4]) == ["unique_id", "ds", "cutoff", "y"]
    past = air.head(len(air) - 9)
    first = cv[cv["cutoff"] == past["ds"].iloc[-1]]
    alone = judged.predict(past, 6, level=[80])
    np.testing.assert_array_equal(first.iloc[:, 4:], alone.iloc[:, 2:])


def test_intervals_come_up_where_they_were_too_narrow(rng):
    """Random walks with an interval that holds a third: calibrated, four in five."""
    shares = []
    for _ in range(8):
        series = [np.cumsum(rng.normal(0, 3, 20)) for _ in range(200)]
        whole = make_panel(*series)
        past = keep_steps(whole, 0, whole.lengths_N - H)
        came = np.stack([y[-H:] for y in series]).ravel()
        for forecaster in (LastValue(), ConformalForecaster(LastValue())):
            table = forecaster.predict(past, H, [80])
            within = (table["last-lo-80"] <= came) & (came <= table["last-hi-80"])
            shares.append(within.mean())
    own, calibrated = np.reshape(shares, (-1, 2)).mean(axis=0)
    assert own < 0.4 and calibrated == pytest.approx(0.8, abs=0.04)


@pytest.mark.slow
def test_a_network_without_quantiles_gets_intervals_from_its_errors(air):
    model = ExpLSTM(
        backend="torch",
        init="random",
        spec=ModelSpec(hidden_sizes=(4,)),
        max_steps=2,
        loss="mae",
    )
    judged = ConformalForecaster(model, "conformal_error")
    cv = judged.cross_validation(air, 6, n_windows=1, level=[80])
    assert (cv["ExpLSTM-lo-80"] < cv["ExpLSTM"]).all() and (cv["ExpLSTM-hi-80"] > cv["y"] * 0).all()
    assert not hasattr(model, "weights_")


def test_a_model_that_has_seen_the_windows_is_refused(air, tmp_path):
    model = ExpLSTM(backend="torch", init="random", spec=ModelSpec(hidden_sizes=(4,)), max_steps=1)
    model.fit(air, h=6).save(tmp_path / "model")
    saved = ExpLSTM.load(tmp_path / "model")
    with pytest.raises(UsageError, match="trained on steps up to 1960-12-01"):
        ConformalForecaster(saved).predict(air, 6, level=[80])
    assert len(ConformalForecaster(saved).predict(air, 6)) == 6
