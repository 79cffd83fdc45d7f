"""The audit of the product finds leaks planted in it, where they are, and none without them."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from explstm import finetuning, growth, holdout, windows
from explstm.stages import audit_product
from panels import grow, make_panel

H = 4
QUICK = {"season_length": 4, "n_windows": 2, "alterations": ["noise", "continued"]}
STAGES = (
    *("windows", "validation split", "curve", "seasonal part", "levels", "scale", "features"),
    *("network", "mixing", "training batches", "fine-tuning", "forecast"),
)


@pytest.fixture
def panel(rng):
    season = np.array([1.0, 1.5, 0.7, 1.1])
    return make_panel(*(grow(rng, n) * np.resize(season, n) for n in (30, 42)))


@pytest.fixture
def plant(monkeypatch):
    """Put a mutant in the place of a function, wherever the package has imported it."""

    def plant(original, mutant):
        for name, module in list(sys.modules.items()):
            if name.startswith("explstm") and vars(module).get(original.__name__) is original:
                monkeypatch.setattr(module, original.__name__, mutant)

    return plant


def test_no_stage_of_the_product_leaks(panel):
    report = audit_product(panel, H, season_length=4, n_windows=2)
    assert not report.leaks and report.leaking == ()
    assert report.checks == STAGES
    assert set(report.table["check"]) == set(STAGES)
    assert (report.table["change"] == 0).all()
    assert report.sentence.startswith("No leak found: with 8 other futures")


@pytest.mark.parametrize("curve", ["auto", "linear", "standard"])
def test_nor_does_it_on_series_of_any_sign_and_on_other_curves(rng, curve):
    walks = make_panel(*(np.cumsum(rng.normal(0, 1, n)) for n in (20, 25)), np.ones(20))
    assert not audit_product(walks, H, growth=curve, **QUICK).leaks


@pytest.mark.filterwarnings("ignore:.*fewer than 8 values")
def test_nor_on_series_too_short_to_be_trained_on():
    report = audit_product(make_panel([1.0, 2, 1, 3, 2, 4]), 3, season_length=1)
    assert not report.leaks and "training batches" not in report.checks


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_nor_does_a_training(panel, backend):
    report = audit_product(
        panel, H, backend=backend, **{**QUICK, "n_windows": 1, "alterations": ["noise"]}
    )
    assert not report.leaks and "training" in report.checks


# --------------------------------------------------------------------------------- four mutants


def test_a_scale_that_looks_ahead_is_found_in_the_scale(panel, plant):
    compute = growth.compute_features

    def mutant(z_S, raw_S, starts_N1, *rest):
        scale_S, features_SF, running = compute(z_S, raw_S, starts_N1, *rest)
        means = np.maximum.reduceat(scale_S, starts_N1[:-1])  # of the whole series
        return np.repeat(means, np.diff(starts_N1)), features_SF, running

    plant(compute, mutant)
    report = audit_product(panel, H, **QUICK)
    assert report.leaking[0] == "scale"
    assert "begins in: scale: series 's" in report.sentence


def test_a_feature_of_the_next_step_is_found_in_the_features(panel, plant):
    compute = growth.compute_features

    def mutant(z_S, raw_S, starts_N1, *rest):
        scale_S, features_SF, running = compute(z_S, raw_S, starts_N1, *rest)
        features_SF[:-1, 0] = features_SF[1:, 0]
        return scale_S, features_SF, running

    plant(compute, mutant)
    assert audit_product(panel, H, **QUICK).leaking[0] == "features"


def test_a_season_of_the_whole_series_is_found_in_the_seasonal_part(panel, plant):
    split, to_space = holdout.split_holdout, holdout.to_growth_space

    def mutant(panel, preprocessing, training, h):
        def fit_on_all(kept, **options):
            whole = to_space(panel, **options)
            ends_N = kept.lengths_N - panel.lengths_N
            return to_space(kept, seasonality=growth.carry_on(whole.seasonality, ends_N), **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(holdout, "to_growth_space", fit_on_all)
            return split(panel, preprocessing, training, h)

    plant(split, mutant)
    report = audit_product(panel, H, **QUICK)
    assert report.leaking[0] == "seasonal part"
    assert not {"windows", "validation split", "curve"} & set(report.leaking)


def test_a_training_on_the_held_out_steps_is_found_in_the_validation_split(panel, plant):
    split, to_space = holdout.split_holdout, holdout.to_growth_space

    def mutant(panel, preprocessing, training, h):
        _, validate = split(panel, preprocessing, training, h)
        options = {"growth": preprocessing.growth, "season_length": preprocessing.season_length}
        return to_space(panel, n_features=preprocessing.n_features, **options), validate

    plant(split, mutant)
    report = audit_product(panel, H, **QUICK)
    assert report.leaking[0] == "validation split"
    assert "training batches" in report.leaking
    leaks = report.table[report.table["leaks"]]
    assert set(leaks["unique_id"]) >= {"s0", "s1"} and set(leaks["cutoff"]) >= {"25", "37"}


# ---------------------------------------------------------------------- and leaks elsewhere


def test_series_smoothed_before_they_are_cut_are_found_in_the_windows(panel, plant):
    cut = windows.cut_windows

    def mutant(panel, h, n_windows, step_size):
        smooth_S = np.convolve(panel.y_S, np.ones(3) / 3, mode="same")
        return cut(replace(panel, y_S=smooth_S), h, n_windows, step_size)

    plant(cut, mutant)
    report = audit_product(panel, H, **QUICK)
    assert report.leaking[0] == "windows" and "forecast" in report.leaking


def test_a_judge_that_shows_the_held_out_steps_is_found_in_fine_tuning(panel, monkeypatch):
    monkeypatch.setattr(finetuning, "keep_steps", lambda panel, begin_N, end_N: panel)
    assert audit_product(panel, H, **QUICK).leaking == ("fine-tuning",)


def test_the_table_says_what_was_looked_at(panel):
    table = audit_product(panel, H, **QUICK).table
    assert list(table) == ["check", "alteration", "unique_id", "cutoff", "change", "leaks"]
    forecasts = table[table["check"] == "forecast"]
    pairs = set(zip(forecasts["unique_id"], forecasts["cutoff"], strict=True))
    assert pairs == {("s0", "24"), ("s0", "25"), ("s1", "36"), ("s1", "37")}
    assert set(table["alteration"]) == {"noise", "continued"}
    batches = table[table["check"] == "training batches"]
    assert (batches["unique_id"] == "").all() and isinstance(table, pd.DataFrame)
