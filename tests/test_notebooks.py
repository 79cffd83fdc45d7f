"""Every notebook runs from its first cell to its last, on small settings.

Notebooks are plain Python (no magics), so their cells are run here as such, one after the other in
one namespace: neither a kernel nor a package for notebooks is needed.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SMALL = {"CELLS_SERIES": "3", "CELLS_SEEDS": "1", "CELLS_STEPS": "4"}


def read_cells(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def source_of(cell):
    return "".join(cell["source"])


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs_from_the_first_cell_to_the_last(notebook, monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    namespace = {"__name__": "__main__"}
    for cell in read_cells(notebook):
        if cell["cell_type"] == "code":
            exec(compile(source_of(cell), f"{notebook.name}, {cell['id']}", "exec"), namespace)


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs(notebook):
    for cell in read_cells(notebook):
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell["id"]
