"""The classical models forecast each series of a panel in its place."""

import numpy as np
import pytest

from explstm import BackendNotInstalledError
from explstm.classical import forecast_classical
from explstm.frame import take_series
from panels import grow, make_panel


def test_the_series_keep_the_order_of_the_panel():
    rng = np.random.default_rng(2)
    panel = make_panel(grow(rng, 20), 50 * grow(rng, 15))
    forwards = forecast_classical("AutoTheta", panel, 2, 1, [80])
    backwards = forecast_classical("AutoTheta", take_series(panel, [1, 0]), 2, 1, [80])
    assert list(backwards["unique_id"]) == ["s1", "s1", "s0", "s0"]
    numbers = ["ds", "AutoTheta", "AutoTheta-lo-80", "AutoTheta-hi-80"]
    for name in ("s0", "s1"):
        one, other = (table[table["unique_id"] == name][numbers] for table in (forwards, backwards))
        np.testing.assert_array_equal(one, other)


def test_a_series_that_a_model_cannot_fit_is_forecast_by_its_last_season():
    panel = make_panel([3.0, 5.0])
    table = forecast_classical("AutoARIMA", panel, 2, 1)
    assert np.isfinite(table["AutoARIMA"]).all()


def test_a_missing_library_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "statsforecast", None)
    with pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[baselines\]'"):
        forecast_classical("AutoETS", make_panel([1.0, 2.0, 3.0]), 1, 1)
