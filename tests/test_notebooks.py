"""Every notebook runs in a kernel of its own, as in Jupyter, and shows what its prose says.

``nbclient`` runs the cells; a fresh kernel for each notebook finds what the process of the tests
would hide, such as a framework that another test has imported first. After the last cell the claims
of the notebook are run as one more: what its text says was seen, over the names its cells left.
A reader must see no warning, so nothing may be written to stderr.
"""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import explstm

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SMALL = {"CELLS_SERIES": "3", "CELLS_SEEDS": "1", "CELLS_STEPS": "4"}
SECONDS_PER_CELL = 600
CLAIMS = {
    "1-first-forecast.ipynb": """
assert scores["MAE"].idxmin() == "ExpLSTM"
assert (judged["y"] > judged["ExpLSTM"]).all()
summers = judged.groupby(judged["ds"].dt.year)["y"].idxmax()
peaks = judged.loc[summers]
assert (peaks["y"] > peaks["ExpLSTM-hi-80"]).all() and (peaks["y"] < peaks["ExpLSTM-hi-95"]).all()
assert (by_kind.loc[KINDS[:4]].idxmin(axis=1) == "ExpLSTM").all()
assert by_kind.loc["random_walk", "ExpLSTM"] > 0.8 * by_kind.loc["random_walk", "LogDrift"]
half_year, year, two_years, *_, last = weak.itertuples(index=False)
assert half_year[1] > 2 * two_years[1] and half_year[2] < 70 and year[2] < 80
assert weak["warned"].tolist() == [True, False, False, False, False]
assert two_years[1] / last[1] < 2
pd.testing.assert_frame_equal(pd.read_csv("forecast.csv", parse_dates=["ds"]), forecast)
""",
    "2-why-growth-breaks-lstms.ipynb": """
assert (ceilings.loc["forecast two years on"] > ceilings.loc["largest value seen"]).all()
assert (ceilings.loc["forecast two years on"] < ceilings.loc["series after two years"]).all()
heights = ceilings.loc[["told the truth, four years on", "after four years"]]
assert (heights.iloc[0] < 0.6 * heights.iloc[1]).all()
assert (ceilings.loc["ceiling of the weights"] > heights.iloc[0]).all()
slopes = answer.pivot(index="value told", columns="seed", values="change").to_numpy()
assert (slopes[:2] > 0.8).all() and (slopes[-1] < 0.2).all()
assert abs(growth_of_steady - 1).max() < 1e-5
means = errors.groupby(["series", "method"])["sMAPE"].mean().unstack()
steady = means.loc["exponential, together"]
assert 3 * steady["growth space"] < steady["difference"] < steady["min-max"]
assert means.loc["linear, together", ["growth space", "difference"]].max() < 3
assert means.loc["linear, together", "min-max"] > means.loc["linear, together", "Drift"]
assert means.drop(columns="pretrained").loc["logistic, together"].idxmin() == "growth space"
assert (means.idxmin(axis=1) == "pretrained").all()
alone = means.loc["logistic, alone"]
assert alone["growth space"] > alone["min-max"] > max(alone["difference"], alone["Naive"])
""",
    "3-pytorch-and-tensorflow.ipynb": """
assert table.columns.tolist() == ["unique_id", "ds", "y"] and layout["equal"].all()
assert parity.max() < 5e-6 and steps["moved"].iloc[-1] > 1e-2
parted = gap.groupby("step")["gap"].median()
assert parted[:10].max() < 1e-4 < 1e-3 < parted[-10:].median()
mase = accuracy["MASE"]
difference = abs(mase.loc["torch", "mean"] - mase.loc["tensorflow", "mean"])
assert difference < 2 * mase.loc[["torch", "tensorflow"], "spread"].max()
assert mase.loc["Pretrained", "mean"] < 1.5 * mase.loc["torch", "mean"]
assert largest < 1e-5
by_series = speed.pivot(index="series", columns="engine", values="ms a step and series")
assert (by_series.loc[256] < by_series.loc[1]).all()
""",
    "4-tuning.ipynb": """
assert (curse["looked at"].diff().dropna() <= 0).all() and curse["looked at"][24] < 0.97
assert curse["kept fresh"][24] > max(0.98, curse["kept fresh"][8], curse["looked at"][24] + 0.03)
better = relative[relative["looked at"] < 1]
assert (better["kept fresh"] > better["looked at"]).sum() >= 3
assert found.improved and found.params != found.own
assert 0 in found.finalists["number"].tolist()
assert complete["value"].rank()[0] > len(complete) / 2
assert complete["window_1"].corr(complete["window_2"]) > 0.5
assert not found_ready.improved and len(found_ready.finalists) > 1
finalists = found_ready.finalists.dropna()
assert (finalists["difference"].abs() < finalists["standard_error"]).all()
assert outcome.loc["from scratch", "tuned"] < outcome.loc["from scratch", "default"]
gain = 1 - outcome["tuned"] / outcome["default"]
final = found.finalists.set_index("number")["error"]
assert gain["from scratch"] < 1 - final[found.number] / final[0]
assert gain["from scratch"] < 1 - trials["value"][found.number] / trials["value"][0]
assert untouched < outcome.loc["from scratch", "tuned"] and gain["fine-tuned"] == 0
assert outcome.loc["fine-tuned", "best of the search"] > outcome.loc["fine-tuned", "default"]
""",
    "5-backtesting-and-honest-baselines.ipynb": """
years = by_window["Pretrained"]
assert years.max() > 3 * years.min()
assert (years > by_window["SeasonalNaive"]).sum() == 1
assert (flattered > 0.9).all(axis=None)
assert overall.loc["Naive", "R2"] < -1 and overall["MASE"].idxmin() == "Pretrained"
assert [found[name]["outcome"] for name in tried] == ["beats", "level", "beats"]
assert "do not use this model here" in tried["walks"].judgement.verdicts[0].sentence
assert found["passengers"]["p"] == found["passengers"]["p over windows"]
for name in ("walks", "exponential"):
    assert found[name]["p"] == max(found[name]["p over windows"], found[name]["p over series"])
reach = differences.groupby("series")["difference"].apply(lambda part: part.abs().max())
assert 4 * reach["walks"] < min(reach["passengers"], reach["exponential"])
ahead = luck["ahead of the last value"]
assert 40 < ahead[1] < 60 and 25 < ahead[8] < 42
assert luck["cannot be tested"].tolist() == [100, 100, 0, 0]
assert luck["verdict: beats"].max() < 3
assert overlap[names[0]].min() > 40 and overlap[names[1]][1:].min() > 12
assert overlap[names[2]].max() < 12 and overlap["that do not overlap"].tolist() == [1, 2, 4]
assert leak_verdicts["honest"].outcome == "level" and leak_verdicts["leaky"].outcome == "beats"
assert leak_verdicts["leaky"].skill > 0.5 and leak_verdicts["leaky"].p_value < 0.001
assert reports["leaky"].leaks and not reports["honest"].leaks and not own.leaks
assert (changes == 0).sum() == 2 and changes["cut"] == changes["continued"] == 0
""",
    "6-intervals-and-calibration.ipynb": """
near = by_step[(by_step["step"] == 1) & (by_step["level"] == 80)].set_index("kind")["coverage"]
assert near[["random_walk", "logistic"]].max() < 0.75
wide = by_step[(by_step["kind"] == "logistic") & (by_step["level"] == 95)]
assert wide["coverage"].max() < 0.95
middle = reliability[reliability["promised"] == 0.5].set_index("kind")["found"]
assert middle["exponential"] < 0.4 and middle["logistic"] > 0.55
assert (by_kind[list(widths)].idxmin(axis=1) == "as forecast").all()
rival = by_kind["last value"].div(by_kind["as forecast"])
assert rival.drop("logistic").min() > 1.5 and rival["logistic"] < 0.95
real_80 = real_steps[real_steps["level"] == 80].set_index("step")["coverage"]
assert real_80[1] < 0.8 < real_80[12]
assert ((history[6] - 80).abs() > (history[96] - 80).abs()).all()
assert history.loc[["random_walk", "exponential"], 6].max() < 80
alone, ready = own.itertuples(index=False)
assert alone[1] < 75 < ready[1] and alone[3] < ready[3]
""",
}
LONG = {"2-why-growth-breaks-lstms", "3-pytorch-and-tensorflow", "4-tuning"}
each_notebook = pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name
)
each_to_run = pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.long] if path.stem in LONG else [], id=path.name)
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    ],
)


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


@pytest.mark.slow
@each_to_run
def test_a_notebook_runs_and_shows_what_it_says(path, tmp_path, monkeypatch):
    # The kernel starts in another folder and must find the package that is under test.
    source = str(Path(explstm.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]))
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    notebook = read(path)
    notebook.cells.append(nbformat.v4.new_code_cell(CLAIMS.get(path.name, "")))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=SECONDS_PER_CELL, resources=resources).execute()
    outputs = [(cell.id, out) for cell in notebook.cells for out in cell.get("outputs", [])]
    warned = [(place, out.text) for place, out in outputs if out.get("name") == "stderr"]
    assert not warned
    drawn = sum("image/png" in out.get("data", {}) for _, out in outputs)
    assert drawn == sum("plt.show()" in cell.source for cell in notebook.cells)


@each_notebook
def test_a_notebook_is_well_formed_and_kept_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell.id


def test_every_claim_belongs_to_a_notebook():
    assert CLAIMS.keys() <= {path.name for path in NOTEBOOKS.glob("*.ipynb")}
