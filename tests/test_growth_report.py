"""The report of a panel: tables that agree with each other, for any series, in any table."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from explstm.calendar import default_season_length
from explstm.errors import DataError, UsageError
from explstm.frame import build_panel, take_series
from explstm.growth_report import report_growth
from panels import grow, make_panel


def forecast_of(panel, h, *, kind=pd.DataFrame, level="80"):
    """Flat forecasts with an interval of a tenth."""
    last = np.repeat(panel.y_S[panel.starts_N1[1:] - 1], h)
    columns = {f"X-lo-{level}": last - 0.1 * np.abs(last), "X": last,
               f"X-hi-{level}": last + 0.1 * np.abs(last)}  # fmt: skip
    return kind({"unique_id": np.repeat(panel.ids_N, h).tolist(), **columns})


@pytest.fixture
def panel(rng):
    return make_panel(
        grow(rng, 60), [1.0, 2.0, 3.0], [0.0] * 30, [5.0] * 25, np.arange(30) - 5.0,
        1e300 * 1.001 ** np.arange(40), 1e-300 * 1.3 ** np.arange(60), 1.3 ** np.arange(60), [7.0],
        100 / (1 + np.exp(-0.1 * (np.arange(80) - 50))) * np.exp(rng.normal(0, 0.03, 80)),
    )  # fmt: skip


def test_every_series_has_facts_rates_and_three_to_six_sentences(panel):
    report = report_growth(panel, forecast_of(panel, 4), 4, 1)
    assert list(report.facts["unique_id"]) == list(panel.ids_N) == list(report.sentences)
    assert all(3 <= len(told) <= 6 for told in report.sentences.values())
    assert not any("nan" in sentence for sentence in report.words["sentence"])
    assert len(report.rates) == len(panel.y_S) + 4 * panel.n_series
    finite = report.facts[["rate", "rate_lo", "rate_hi", "end", "beyond_share"]]
    assert np.isfinite(finite.to_numpy(dtype=float)).all()
    missing = report.facts["recent_rate"].isna()
    assert report.facts.loc[missing, "reasons"].str.contains("past rates: ").all()
    assert report.facts["course"].iloc[-1] == "saturating"
    assert report.rates["ceiling"].notna().sum() == 84


def test_rates_by_step_end_at_the_forecast_rate_and_pass_the_recent_one(panel):
    report = report_growth(panel, forecast_of(panel, 4), 4, 1)
    rows = report.rates[report.rates["unique_id"] == "s0"].reset_index(drop=True)
    facts = report.facts.iloc[0]
    assert rows["rate"].iloc[-1] == pytest.approx(facts["rate"])
    assert rows["rate_lo"].iloc[-1] == pytest.approx(facts["rate_lo"])
    assert rows["rate"].iloc[59] == pytest.approx(facts["recent_rate"])
    y = rows["y"]
    assert rows["rate"].iloc[:4].isna().all()
    assert rows["rate"].iloc[30] == pytest.approx((y[30] / y[26]) ** 0.25 - 1)
    # Between past and future a stretch has its beginning in one and its end in the other.
    assert rows["rate"].iloc[61] == pytest.approx((rows["forecast"][61] / y[57]) ** 0.25 - 1)


def test_polars_and_pandas_give_the_same_report(panel):
    one = report_growth(panel, forecast_of(panel, 3), 3, 1)
    other = report_growth(panel, forecast_of(panel, 3, kind=pl.DataFrame), 3, 1)
    pd.testing.assert_frame_equal(one.facts, other.facts)
    assert one.sentences == other.sentences


def test_a_series_is_reported_alike_alone_and_among_others(panel):
    among = report_growth(panel, forecast_of(panel, 4), 4, 1)
    alone = take_series(panel, [9])
    report = report_growth(alone, forecast_of(alone, 4), 4, 1)
    assert report.sentences["s9"] == among.sentences["s9"]


def test_dates_of_the_rates_go_on_after_the_last_one(rng):
    ds = pd.date_range("2020-01-31", periods=30, freq="ME", tz="Europe/Berlin")
    table = pd.DataFrame({"ds": ds, "y": grow(rng, 30)})
    panel = build_panel(table)
    report = report_growth(panel, forecast_of(panel, 2), 2, default_season_length(panel.freq))
    assert str(report.rates["ds"].iloc[-1]) == "2022-08-31 00:00:00+02:00"


def test_a_forecast_without_the_interval_or_of_other_series_is_refused(panel):
    with pytest.raises(UsageError, match=r"level=\[90\]"):
        report_growth(panel, forecast_of(panel, 4), 4, 1, level=90)
    with pytest.raises(UsageError, match="40 rows for 10 series and h=5"):
        report_growth(panel, forecast_of(panel, 4), 5, 1)
    two = forecast_of(panel, 4).assign(**{"Y-lo-80": 1.0, "Y": 1.0, "Y-hi-80": 1.0})
    with pytest.raises(UsageError, match="has 2 columns"):
        report_growth(panel, two, 4, 1)


def test_other_levels_are_read_by_their_name(panel):
    report = report_growth(panel, forecast_of(panel, 4, level="97.5"), 4, 1, level=97.5)
    assert "97.5 % interval" in report.sentences["s0"][0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_forecast_that_is_not_finite_is_refused(panel, value):
    forecast = forecast_of(panel, 3)
    forecast.loc[forecast.index[-1], "X"] = value
    with pytest.raises(DataError, match=f"series '{panel.ids_N[-1]}' holds a value"):
        report_growth(panel, forecast, 3, 1)
