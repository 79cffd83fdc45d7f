"""Figures, each drawn from a frame that is saved as CSV beside it.

Contract: ``draw_x(facts)`` takes a tidy frame and returns a figure; it computes nothing that is
not in the frame. ``save_figure`` writes PNG, SVG and CSV of one name. Colours are those of
seaborn's colour-blind-safe palette, and lines differ in dash or marker too. No global state of
matplotlib is touched; equal facts give equal bytes.
"""

from explstm.plots.style import MAX_LABEL, MAX_SERIES, render_narrow, save_figure  # isort: skip
from explstm.plots.diagnostics import (
    draw_autocorrelation,
    draw_distribution,
    draw_residuals_against,
)
from explstm.plots.forecast import draw_forecast, draw_windows
from explstm.plots.growth import draw_growth
from explstm.plots.judgement import (
    draw_calibration,
    draw_coverage,
    draw_horizon_error,
    draw_residuals,
    draw_skill,
)
from explstm.plots.training import draw_training
from explstm.plots.tuning import draw_history, draw_importance, draw_parallel, draw_slices

__all__ = [
    "MAX_LABEL",
    "MAX_SERIES",
    "draw_autocorrelation",
    "draw_calibration",
    "draw_coverage",
    "draw_distribution",
    "draw_forecast",
    "draw_growth",
    "draw_history",
    "draw_horizon_error",
    "draw_importance",
    "draw_parallel",
    "draw_residuals",
    "draw_residuals_against",
    "draw_skill",
    "draw_slices",
    "draw_training",
    "draw_windows",
    "render_narrow",
    "save_figure",
]
