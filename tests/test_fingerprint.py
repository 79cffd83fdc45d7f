"""Fingerprints of data: equal for equal data, different for any change."""

import dataclasses

import numpy as np
import pytest

from explstm.fingerprint import fingerprint_panel
from panels import make_panel

PANEL = make_panel([1.0, 2.0, 3.0], [4.0, 5.0])


def test_it_can_be_read():
    text = fingerprint_panel(PANEL)
    assert text.startswith("2 series, 5 steps, SHA-256 ")
    assert text == fingerprint_panel(make_panel([1.0, 2.0, 3.0], [4.0, 5.0]))


@pytest.mark.parametrize(
    "changes",
    [
        {"y_S": np.nextafter(PANEL.y_S, np.inf)},
        {"ds_S": PANEL.ds_S + 1},
        {"ids_N": PANEL.ids_N[::-1]},
        {"starts_N1": np.array([0, 2, 5])},
        {"freq": 2},
    ],
)
def test_any_change_changes_it(changes):
    assert fingerprint_panel(dataclasses.replace(PANEL, **changes)) != fingerprint_panel(PANEL)


def test_the_unit_of_dates_does_not_matter():
    days = np.array(["2024-01-01", "2024-01-02", "2024-01-03", "9999-01-01", "9999-01-02"])
    fingerprints = {
        fingerprint_panel(dataclasses.replace(PANEL, ds_S=days.astype(f"datetime64[{unit}]")))
        for unit in ("s", "ms", "us")
    }
    assert len(fingerprints) == 1
