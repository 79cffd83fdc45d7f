"""The competitions: scored as by hand, on the part that was asked for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from explstm import ExpLSTM, benchmark
from explstm.benchmark import SCALED_LOSS, run_benchmark, score_group, to_coverage_table, to_table
from explstm.commands.benchmark import benchmark_competition
from explstm.datasets.competitions import Group, load_groups
from explstm.errors import DataError, UsageError

SIZES = {"M1": 1001, "M3": 3003, "Tourism": 1311}


@pytest.fixture(scope="module")
def group() -> Group:
    """Three yearly series of M3."""
    found = next(g for g in load_groups("M3") if g.name == "yearly")
    ids = found.train["unique_id"].unique()[:3]
    few = [table[table["unique_id"].isin(ids)] for table in (found.train, found.test)]
    return Group(found.name, found.season_length, found.horizon, *few)


@pytest.mark.parametrize("name", SIZES)
def test_a_competition_has_all_its_series_and_their_futures(name):
    groups = load_groups(name)
    assert sum(g.train["unique_id"].nunique() for g in groups) == SIZES[name]
    for g in groups:
        assert g.actuals_NH().shape == (g.train["unique_id"].nunique(), g.horizon)
        last = g.train.groupby("unique_id", sort=False)["ds"].last()
        assert (g.test.groupby("unique_id", sort=False)["ds"].first() == last + 1).all()


def test_another_competition_is_refused():
    with pytest.raises(UsageError, match="did you mean 'M3'"):
        load_groups("M33")


def test_held_out_ends_come_from_the_training_part(group):
    part = group.held_out(least=20)
    lengths = group.train.groupby("unique_id").size()
    assert set(part.train["unique_id"]) == set(lengths[lengths >= 20 + group.horizon].index)
    joined = pd.concat([part.train, part.test]).sort_values(["unique_id", "ds"])
    whole = group.train[group.train["unique_id"].isin(part.train["unique_id"])]
    pd.testing.assert_frame_equal(
        joined.reset_index(drop=True),
        whole.sort_values(["unique_id", "ds"]).reset_index(drop=True),
    )


def test_scores_are_means_over_series_of_what_one_counts_by_hand(group):
    scores = {s.model: s for s in score_group("M3", group, ExpLSTM(), classical=False)}
    assert list(scores) == ["ExpLSTM", "Naive", "SeasonalNaive", "Drift"]
    histories = [y.to_numpy() for _, y in group.train.groupby("unique_id", sort=False)["y"]]
    actual = group.actuals_NH()
    naive = np.array([np.repeat(y[-1], group.horizon) for y in histories])
    scale = np.array([np.abs(np.diff(y)).mean() for y in histories])
    mase = np.mean(np.abs(actual - naive).mean(axis=1) / scale)
    assert scores["Naive"].metrics["MASE"] == pytest.approx(mase)
    assert scores["Naive"].forecasts == actual.size

    levels = list(benchmark.LEVELS)
    forecast = ExpLSTM(season_length=1).predict(group.train, h=group.horizon, level=levels)
    columns = [f"ExpLSTM-{side}-{level}" for level in levels for side in ("lo", "hi")]
    chances = [(50 - s * level / 2) / 100 for level in levels for s in (1, -1)]
    quantiles = forecast[["ExpLSTM", *columns]].to_numpy().reshape(*actual.shape, -1)
    error = actual[:, :, None] - quantiles
    chances = np.array([0.5, *chances])
    loss = np.maximum(chances * error, (chances - 1) * error).mean(axis=(1, 2))
    assert scores["ExpLSTM"].metrics[SCALED_LOSS] == pytest.approx(np.mean(loss / scale))


def test_the_command_writes_scores_and_what_was_run(group, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "load_groups", lambda name: (group,))
    found = benchmark_competition("m3", tmp_path / "out", held_out=True)
    for name in ("scores", "coverage"):
        written = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        pd.testing.assert_frame_equal(written, getattr(found, name))
    assert set(found.scores["model"]) == {"ExpLSTM", "Naive", "SeasonalNaive", "Drift"}
    with pytest.raises(UsageError, match="competition='m5'"):
        benchmark_competition("m5", tmp_path / "other")


def test_coverage_by_step_adds_up_to_that_of_the_group(group):
    short = replace(
        group,
        name="short",
        test=group.test[group.test.groupby("unique_id").cumcount() < 2],
        horizon=2,
    )
    scores = run_benchmark("mine", groups=[group, short])
    table = to_coverage_table(scores)
    assert set(table["model"]) == {"ExpLSTM"}  # the others have no intervals
    for score in scores[0], scores[4]:
        for level in benchmark.LEVELS:
            rows = table[(table["group"] == score.group) & (table["level"] == level)]
            assert rows["step"].tolist() == list(range(1, len(rows) + 1))
            assert rows["values"].sum() == score.forecasts
            share = rows["covered"].sum() / rows["values"].sum()
            assert score.metrics[f"coverage-{level}"] == pytest.approx(share)
    together = table[(table["group"] == "all") & (table["level"] == 80)]
    assert together["values"].tolist() == [6, 6, 3, 3, 3, 3]


def test_errors_are_scaled_as_the_competition_says(group):
    model = ExpLSTM()
    as_seasons = replace(group, season_length=4)
    own = replace(as_seasons, own_mase_lag=1)
    histories = [y.to_numpy() for _, y in group.train.groupby("unique_id", sort=False)["y"]]
    error = np.abs(group.actuals_NH() - np.array([y[-1:] for y in histories])).mean(axis=1)
    for part, lag in ((as_seasons, 4), (own, 1)):
        naive = {s.model: s for s in score_group("mine", part, model, classical=False)}["Naive"]
        scale = np.array([np.abs(y[lag:] - y[:-lag]).mean() for y in histories])
        assert naive.metrics["MASE"] == pytest.approx(np.mean(error / scale))


@pytest.mark.slow
def test_the_classical_models_take_part_on_the_same_series(group, monkeypatch):
    monkeypatch.setattr(benchmark, "load_groups", lambda name: (group,))
    table = to_table(run_benchmark("M3", classical=True)).set_index("model")
    both = table.loc[["AutoETS", "AutoTheta", "Median of both"]]
    assert (both["forecasts"] == group.actuals_NH().size).all()
    assert both["MASE"].between(0, 10).all() and "coverage-80" in both


def test_files_of_ones_own_are_scored_with_their_seasons(tmp_path, rng):
    dates = pd.date_range("2024-01-01", periods=600, freq="h")
    day = 10 + 5 * np.sin(np.arange(600) * np.pi / 12)
    table = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": dates, "y": day * np.exp(rng.normal(0, 0.02, 600))})
        for name in ("a", "b")
    )
    is_test = table.groupby("unique_id").cumcount() >= 576
    table[~is_test].to_csv(tmp_path / "train.csv", index=False)
    table[is_test].to_csv(tmp_path / "test.csv", index=False)
    parts = (tmp_path / "train.csv", tmp_path / "test.csv")
    scores = benchmark_competition("mine", tmp_path / "out", parts=parts).scores
    wide = scores.set_index("model")
    assert wide.loc["ExpLSTM", "MASE"] < wide.loc["Naive", "MASE"]
    assert set(wide["group"]) == {"mine"} and (wide["forecasts"] == 48).all()

    table[is_test & (table["unique_id"] == "a")].to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="2 series of the training part"):
        benchmark_competition("mine", tmp_path / "other", parts=parts)


def write_parts(folder, steps, begin):
    """Two monthly series of 30 steps, and a test part of ``steps`` daily or monthly ones."""
    future = begin if isinstance(begin, list) else pd.date_range(begin, periods=steps, freq="MS")
    past = pd.date_range("2020-01-01", periods=30, freq="MS")
    for name, dates in (("train", past), ("test", future)):
        y = 100 + np.arange(len(dates)) % 7
        table = pd.concat(pd.DataFrame({"unique_id": i, "ds": dates, "y": y + 0.5}) for i in "ab")
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder / "train.csv", folder / "test.csv"


@pytest.mark.parametrize("begin", ["2022-08-01", "2022-06-01"])
def test_a_test_part_that_does_not_follow_is_refused(tmp_path, begin):
    parts = write_parts(tmp_path, 6, begin)
    with pytest.raises(DataError, match=f"'a' has {begin} as step 1 .*2022-07-01 follows"):
        benchmark_competition("mine", tmp_path / "out", parts=parts)
    assert not (tmp_path / "out").exists()


def test_daily_steps_after_monthly_ones_are_refused(tmp_path):
    parts = write_parts(tmp_path, 6, [f"2022-07-0{day}" for day in range(1, 7)])
    with pytest.raises(DataError):
        benchmark_competition("mine", tmp_path / "out", parts=parts)
    assert not (tmp_path / "out").exists()


def test_a_test_part_of_one_step_is_scored(tmp_path):
    parts = write_parts(tmp_path, 1, "2022-07-01")
    scores = benchmark_competition("mine", tmp_path / "out", parts=parts).scores
    assert (scores["forecasts"] == 2).all()


@pytest.mark.slow
def test_the_classical_models_know_dates(tmp_path):
    parts = write_parts(tmp_path, 3, "2022-07-01")
    options = {"parts": parts, "classical": True, "season_length": [1]}
    scores = benchmark_competition("mine", tmp_path / "out", **options).scores
    assert (scores["forecasts"] == 6).all() and "AutoETS" in set(scores["model"])
