"""Figures show the facts they are given, survive hostile names, and leave no global state."""

import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from explstm import plots


@pytest.fixture
def forecast_facts() -> pd.DataFrame:
    """Six months, of which the last two are forecast by two models, one of them with intervals."""
    nan = np.nan
    return pd.DataFrame(
        {
            "unique_id": "air",
            "ds": pd.date_range("2024-01-01", periods=6, freq="MS"),
            "y": [1.0, 2.0, 4.0, 8.0, nan, nan],
            "torch": [nan, nan, nan, nan, 16.0, 32.0],
            "tensorflow": [nan, nan, nan, nan, 15.0, 31.0],
            "torch-lo-80": [nan, nan, nan, nan, 14.0, 25.0],
            "torch-hi-80": [nan, nan, nan, nan, 18.0, 41.0],
        }
    )


def lines_by_label(axis) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in axis.get_lines()}


def legend_of(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_a_forecast_figure_holds_actuals_forecasts_and_intervals(forecast_facts):
    (axis,) = plots.draw_forecast(forecast_facts, ["torch", "tensorflow"]).axes
    assert lines_by_label(axis) == {
        "actual": [1, 2, 4, 8],
        "torch": [16, 32],
        "tensorflow": [15, 31],
    }
    assert legend_of(axis) == ["actual", "torch 80 %", "torch", "tensorflow"]
    (band,) = axis.collections
    corners = {float(value) for value in band.get_paths()[0].vertices[:, 1]}
    assert corners == {14, 25, 18, 41}


def test_colours_are_the_colour_blind_safe_ones_and_dashes_differ(forecast_facts):
    (axis,) = plots.draw_forecast(forecast_facts, ["torch", "tensorflow"]).axes
    by_label = {line.get_label(): line for line in axis.get_lines()}
    assert to_hex(by_label["torch"].get_color()) == "#0173b2"
    assert to_hex(by_label["tensorflow"].get_color()) == "#de8f05"
    assert by_label["torch"].get_linestyle() != by_label["tensorflow"].get_linestyle()


def test_many_series_are_cut_to_the_first_and_the_figure_says_so(forecast_facts):
    many = pd.concat([forecast_facts.assign(unique_id=f"s{i}") for i in range(9)])
    figure = plots.draw_forecast(many, ["torch"])
    assert [axis.get_title() for axis in figure.axes] == ["s0", "s1", "s2", "s3"]
    assert figure.get_supxlabel() == "the first 4 of 9 series"


def test_training_curves_are_drawn_once_per_seed_and_named_once_per_engine():
    facts = pd.DataFrame(
        {
            "engine": ["torch"] * 4 + ["tensorflow"] * 2,
            "seed": [1, 1, 2, 2, 1, 1],
            "step": [1, 2, 1, 2, 1, 2],
            "train_loss": [1.0, 0.5, 0.9, 0.4, 1.1, 0.6],
            "valid_loss": [np.nan, 0.7, np.nan, 0.8, np.nan, 0.9],
        }
    )
    (axis,) = plots.draw_training(facts).axes
    drawn = [list(line.get_ydata()) for line in axis.get_lines() if len(line.get_ydata())]
    assert drawn == [[1.0, 0.5], [0.7], [0.9, 0.4], [0.8], [1.1, 0.6], [0.9]]
    assert legend_of(axis) == ["torch", "tensorflow", "validation"]
    assert axis.get_yscale() == "log"
    axis.figure.canvas.draw()
    ticks = [tick.get_text() for tick in axis.get_yticklabels() if tick.get_text()]
    assert ticks and all(float(tick) > 0 for tick in ticks)  # "0.5", not "$10^{-1}$"


def test_losses_that_are_not_positive_are_drawn_on_a_linear_axis():
    facts = pd.DataFrame(
        {
            "engine": "torch",
            "seed": 1,
            "step": [1, 2],
            "train_loss": [0.0, 1.0],
            "valid_loss": np.nan,
        }
    )
    (axis,) = plots.draw_training(facts).axes
    assert axis.get_yscale() == "linear"
    assert legend_of(axis) == ["torch"]


def test_residuals_and_errors_by_horizon_show_their_facts():
    residuals = pd.DataFrame(
        {"model": ["a", "a", "b", "b"], "ds": [1, 2, 1, 2], "residual": [1.0, -1.0, 2.0, -2.0]}
    )
    over_time, spread = plots.draw_residuals(residuals).axes
    assert lines_by_label(over_time)["a"] == [1.0, -1.0]
    assert lines_by_label(over_time)["b"] == [2.0, -2.0]
    assert sum(bar.get_height() for bar in spread.patches) == 4  # every residual is in one bar

    errors = pd.DataFrame({"model": "a", "horizon": [2, 1], "mae": [3.0, 1.0]})
    (axis,) = plots.draw_horizon_error(errors).axes
    assert lines_by_label(axis) == {"a": [1.0, 3.0]}
    assert axis.get_ylim()[0] == 0


def test_a_figure_is_saved_with_the_facts_it_shows_and_the_same_bytes_twice(
    tmp_path, forecast_facts
):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        figure = plots.draw_forecast(forecast_facts, ["torch"])
        plots.save_figure(figure, forecast_facts, folder, "forecast")
    assert (tmp_path / "one" / "forecast.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "one" / "forecast.svg").read_text().startswith("<?xml")
    saved = pd.read_csv(tmp_path / "one" / "forecast.csv", parse_dates=["ds"])
    pd.testing.assert_frame_equal(saved, forecast_facts)
    for suffix in ("png", "svg", "csv"):
        one, two = (tmp_path / name / f"forecast.{suffix}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    "name", ["$\\frac{1}$", "$", "_hidden", "\ud800", "日本", "a\x1b[31m\nb", "x" * 5000, ""]
)
def test_hostile_names_neither_break_a_figure_nor_vanish(tmp_path, forecast_facts, name):
    facts = forecast_facts.rename(columns={"tensorflow": name}).assign(unique_id=name)
    figure = plots.draw_forecast(facts, ["torch", name])
    assert len(legend_of(figure.axes[0])) == 4
    shown = legend_of(figure.axes[0])[-1] + figure.axes[0].get_title()
    assert shown.isprintable() and len(shown) <= 2 * plots.MAX_LABEL
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.save_figure(figure, facts[["ds", "y"]], tmp_path, "hostile")


@pytest.mark.parametrize(
    "values",
    [[1e-300, 1.0, 1e150, 1e300], [0.0, 0.0, 0.0, 0.0], [-1e300, 0.0, 5.0, 1e300],
     [np.nan, 2.0, np.nan, 3.0], [5e-324, 1e-320, 1e-310, 1e-308]],
    ids=["from end to end", "nothing", "both signs", "gaps", "below normal"],
)  # fmt: skip
def test_values_at_the_ends_of_what_numbers_hold_are_drawn(tmp_path, forecast_facts, values):
    facts = forecast_facts.copy()
    facts.loc[:3, "y"] = values
    facts.loc[4:, "torch"] = values[2:]
    facts["torch-lo-80"] = facts["torch-hi-80"] = facts["torch"]
    figure = plots.draw_forecast(facts, ["torch"])
    (axis,) = figure.axes
    low, high = axis.get_ylim()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.save_figure(figure, facts, tmp_path, "ends")
    assert np.isfinite([low, high]).all() and low < high
    known = np.array(values)[np.isfinite(values)]
    np.testing.assert_array_equal(lines_by_label(axis)["actual"], known)
    assert (low <= known).all() and (known <= high).all()


def test_drawing_leaves_settings_and_pyplot_untouched(tmp_path, forecast_facts):
    before = dict(matplotlib.rcParams)
    figure = plots.draw_forecast(forecast_facts, ["torch"])
    plots.save_figure(figure, forecast_facts, tmp_path, "forecast")
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_a_missing_plotting_library_is_named_with_the_command_that_installs_it():
    code = (
        "import sys; sys.modules['seaborn'] = None\n"
        "from explstm.errors import BackendNotInstalledError\n"
        "try:\n    import explstm.plots\n"
        "except BackendNotInstalledError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "seaborn" in done.stdout and "pip install 'explstm[plots]'" in done.stdout


def test_a_growth_figure_shows_rates_above_and_the_level_below():
    nan = np.nan
    facts = pd.DataFrame(
        {
            "unique_id": "air", "ds": pd.date_range("2024-01-01", periods=4, freq="MS"),
            "y": [1.0, 2.0, 4.0, nan], "forecast": [nan, nan, nan, 6.0],
            "lo": [nan, nan, nan, 5.0], "hi": [nan, nan, nan, 7.0], "unit": "growth",
            "rate": [nan, 1.0, 1.0, 0.5], "rate_lo": [nan, nan, nan, 0.25],
            "rate_hi": [nan, nan, nan, 0.75], "ceiling": 8.0,
            "broken": [False, False, True, False],
        }
    )  # fmt: skip
    rates, level = plots.draw_growth(facts).axes
    assert lines_by_label(rates)["forecast"] == [0.5]
    assert lines_by_label(rates)["past"][1:] == [1.0, 1.0]
    assert legend_of(level) == ["actual", "forecast", "ceiling", "change of pace"]
    assert lines_by_label(level)["ceiling"] == [8.0] * 4
    assert level.get_yscale() == "log"
    rates.figure.canvas.draw()
    assert any(tick.get_text().endswith(" %") for tick in rates.get_yticklabels())
    changes = facts.assign(unit="change", ceiling=nan, broken=False)
    many = pd.concat([changes.assign(unique_id=f"s{i}") for i in range(6)])
    figure = plots.draw_growth(many)
    assert [axis.get_title() for axis in figure.axes[::2]] == ["s0", "s1", "s2", "s3"]
    assert figure.get_supxlabel() == "the first 4 of 6 series"
    assert figure.axes[1].get_yscale() == "linear"
    assert figure.axes[0].get_ylabel().startswith("change per period")
