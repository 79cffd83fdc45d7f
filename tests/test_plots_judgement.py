"""The figures that judge show the facts they are given, also at the width of a phone."""

import re

import numpy as np
import pandas as pd
import pytest

from explstm import plots


def lines_by_label(axis) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in axis.get_lines()}


@pytest.fixture
def windows() -> pd.DataFrame:
    """Six steps, of which the last four were forecast in two windows."""
    nan = np.nan
    past = pd.DataFrame({"unique_id": "a", "ds": range(1, 7), "y": [1, 2, 4, 8, 16, 32.0]})
    window = pd.DataFrame(
        {"unique_id": "a", "ds": [3, 4, 5, 6], "cutoff": [2, 2, 4, 4], "y": [4, 8, 16, 32.0],
         "M": [5.0, 9.0, 15.0, 30.0], "M-lo-80": [3, 6, 12, 20.0], "M-hi-80": [6, 11, 18, 40.0],
         "Naive": [2.0, 2.0, 8.0, 8.0]}
    )  # fmt: skip
    return pd.concat([past.assign(cutoff=nan), window], ignore_index=True)


def test_windows_are_drawn_apart_over_what_happened(windows):
    (axis,) = plots.draw_windows(windows, ["M", "Naive"]).axes
    drawn = [list(line.get_ydata()) for line in axis.get_lines()]
    assert [1, 2, 4, 8, 16, 32] in drawn
    assert [5, 9] in drawn and [15, 30] in drawn and [2, 2] in drawn and [8, 8] in drawn
    assert len(axis.collections) == 2  # the bands of M in both windows
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["actual", "M 80 %", "M", "Naive"]


def test_skill_is_drawn_as_bars_with_naive_at_the_line():
    facts = pd.DataFrame(
        {"model": ["M", "Naive", "Drift"], "ratio": [0.5, 1.0, 1.5], "naive": [False, True, True]}
    )
    (axis,) = plots.draw_skill(facts).axes
    assert [bar.get_width() for bar in axis.patches[:3]] == [0.5, 1.0, 1.5]
    assert [bar.get_hatch() or "" for bar in axis.patches[:3]] == ["", "//", "//"]
    assert [text.get_text() for text in axis.texts] == ["0.50", "1.00", "1.50"]
    assert list(axis.get_lines()[-1].get_xdata()) == [1, 1]


def test_calibration_shows_shares_in_per_cent_and_the_band_of_chance():
    facts = pd.DataFrame(
        {"model": ["M", "M", "B", "B"], "level": [80.0, 95.0] * 2, "coverage": [0.7, 0.9, 0.5, 0.8],
         "low": [0.6, 0.8] * 2, "high": [0.95, 1.0] * 2}
    )  # fmt: skip
    (axis,) = plots.draw_calibration(facts).axes
    lines = lines_by_label(axis)
    assert lines["M"] == [70, 90] and lines["B"] == [50, 80]
    band = [segment[:, 1].tolist() for segment in axis.collections[0].get_segments()]
    assert band == [[60, 95], [80, 100]]
    low, high = axis.get_ylim()
    assert low < 50 and high > 100


def test_coverage_is_drawn_by_step_and_level():
    facts = pd.DataFrame(
        {"step": [1, 2], "level": 80.0, "coverage": [0.75, 0.5], "low": 0.5, "high": 0.9}
    )
    (axis,) = plots.draw_coverage(facts).axes
    assert lines_by_label(axis)["80 % interval"] == [75, 50]


def test_residuals_are_drawn_against_what_is_asked_for():
    facts = pd.DataFrame(
        {"ds": [1, 2, 3], "forecast": [1.0, 10.0, 1000.0], "residual": [1, -2, 3.0]}
    )
    for x in ("ds", "forecast"):
        (axis,) = plots.draw_residuals_against(facts, x).axes
        assert list(axis.get_lines()[0].get_xdata()) == facts[x].tolist()
        assert list(axis.get_lines()[0].get_ydata()) == [1, -2, 3]
    assert axis.get_xscale() == "log"  # forecasts of very different size
    (axis,) = plots.draw_distribution(facts).axes
    assert sum(bar.get_height() for bar in axis.patches) == 3


def test_autocorrelations_stand_in_their_band():
    facts = pd.DataFrame({"lag": [1, 2], "autocorrelation": [0.5, -0.1], "bound": [0.3, 0.31]})
    (axis,) = plots.draw_autocorrelation(facts).axes
    assert [0.5, -0.1] in [list(line.get_ydata()) for line in axis.get_lines()]
    corners = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert {round(float(corner), 2) for corner in corners} == {-0.3, 0.3, -0.31, 0.31}


def test_a_narrow_drawing_leaves_the_figure_as_it_was(tmp_path, windows):
    figure = plots.draw_windows(windows, ["M"])
    before = list(figure.get_size_inches())
    narrow = plots.render_narrow(figure, 4.4).decode()
    assert re.search(r'width="316.8pt"', narrow)  # 4.4 inches of 72 points
    assert list(figure.get_size_inches()) == before
    plots.save_figure(figure, windows, tmp_path, "after")
    assert f'width="{72 * before[0]:g}pt"' in (tmp_path / "after.svg").read_text()
    assert re.search(r'width="316.8pt"', plots.render_narrow(figure, 4.4).decode())
