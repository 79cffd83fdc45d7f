"""Fingerprints of data: readable, short, and different whenever the data are."""

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from explstm.frame import Panel


def fingerprint_panel(panel: "Panel") -> str:
    """Say which data these are: the numbers of series and steps, and a SHA-256 of everything.

    Equal ids, dates, frequency and values give equal fingerprints, on any machine.
    """
    digest = hashlib.sha256(json.dumps([*panel.ids_N, str(panel.freq)]).encode())
    is_dated = panel.ds_S.dtype.kind == "M"
    ds_S = panel.ds_S.astype("datetime64[us]").astype(np.int64) if is_dated else panel.ds_S
    for array, dtype in ((panel.starts_N1, "<i8"), (ds_S, "<i8"), (panel.y_S, "<f8")):
        digest.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
    return f"{len(panel.ids_N)} series, {len(panel.y_S)} steps, SHA-256 {digest.hexdigest()}"
