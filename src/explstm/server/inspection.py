"""What data are, in words and figures: the answer of ``/inspect``.

Contract: nothing is computed that a panel does not hold; texts of the data are shown as they are
and escaped by whoever shows them.
"""

from collections import Counter
from typing import Any

import numpy as np

from explstm.panel import Panel
from explstm.server.answers import show_dates
from explstm.server.forecasting import SHOWN_FINDINGS, list_findings, season_of
from explstm.server.panels import Known
from explstm.server.schemas import DataRequest

FIRST_PAGE = 50


def describe(known: Known, request: DataRequest, data_id: str, name: str) -> dict[str, Any]:
    """The answer of ``/inspect``; see :class:`explstm.server.schemas.Inspection`."""
    panel = known.panel
    return {
        "data": data_id,
        "name": name,
        "columns": known.reading.columns,
        "choice": known.reading.choice,
        "n_rows": known.reading.n_rows,
        "n_series": panel.n_series,
        "freq": panel.plain_freq,
        "season_length": list(season_of(panel, request.season_length)),
        "findings": list_findings(panel),
        "n_findings": len(panel.findings),
        "sentences": describe_findings(panel),
        "page": list_series(panel, "", 0, FIRST_PAGE),
    }


def describe_findings(panel: Panel) -> list[str]:
    """One sentence for every kind of finding, with its total and one series as an example."""
    totals: Counter[str] = Counter()
    series: Counter[str] = Counter()
    example: dict[str, tuple[str, str]] = {}
    for finding in panel.findings[: 100 * SHOWN_FINDINGS]:
        totals[finding.code] += finding.count
        series[finding.code] += 1
        example.setdefault(finding.code, (finding.unique_id, finding.text))
    sentences = []
    for code, total in totals.items():
        name, text = example[code]
        where = f"in series {name}" if series[code] == 1 else (
            f"in {series[code]:,} series, such as {name}"
        )  # fmt: skip
        sentences.append(f"{text[:1].upper()}{text[1:]}: {total:,} {where}.")
    return sentences


def list_series(panel: Panel, search: str, offset: int, limit: int) -> dict[str, Any]:
    """Some of the series whose id contains a text, in any case."""
    wanted = search.casefold()
    ids = panel.ids_N.tolist()
    found = [at for at, name in enumerate(ids) if wanted in name.casefold()]
    shown = np.array(found[offset : offset + limit], dtype=np.int64)
    first = show_dates(panel.ds_S[panel.starts_N1[shown]], panel.time_zone)
    last = show_dates(panel.ds_S[panel.starts_N1[shown + 1] - 1], panel.time_zone)
    return {
        "total": len(found),
        "offset": offset,
        "series": [
            {
                "unique_id": ids[at],
                "n": int(panel.lengths_N[at]),
                "first": first[place],
                "last": last[place],
                "last_value": float(panel.y_S[panel.starts_N1[at + 1] - 1]),
            }
            for place, at in enumerate(shown.tolist())
        ],
    }
