"""The report: what it shows is what the runs hold, and nothing in them can do harm."""

import base64
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explstm import cli, pipeline
from explstm.commands.report import make_report
from explstm.errors import BackendNotInstalledError, DataError, UsageError
from explstm.options import DataOptions
from explstm.plain_text import spell_out
from explstm.report.page import MAX_ROWS, make_table, say_column
from explstm.report.provenance import command_words, wrap_command
from explstm.report.runs import Record, read_run
from explstm.report.verdict import show_verdict
from report_runs import HOSTILE, LONG, write_data, write_runs

FIGURES = {
    "forecast", "growth", "skill", "windows", "error-by-horizon", "calibration", "coverage-by-step",
    "residuals-over-time", "residuals-by-forecast", "residual-distribution", "autocorrelation",
    "held-out", "training", "training-2", "tuning-history", "tuning-importance", "tuning-parallel",
    "tuning-slices",
}  # fmt: skip


class Tags(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "report"
    make_report(list(runs.values()), out)
    return out


@pytest.fixture
def copied(runs, tmp_path) -> dict[str, Path]:
    """The same runs as older versions left them, with no list of their files: to be damaged."""
    copies = {
        name: Path(shutil.copytree(run, tmp_path / f"copy-{name}")) for name, run in runs.items()
    }
    for run in copies.values():
        record = json.loads((run / "run.json").read_text())
        record.pop("files", None)
        (run / "run.json").write_text(json.dumps(record))
    return copies


def read_page(report: Path) -> str:
    return (report / "report.html").read_text(encoding="utf-8")


def change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_verdict_comes_first_and_every_part_has_its_figures(runs, report):
    tags = Tags(read_page(report))
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", read_page(report))
    assert headings == [
        "Verdict", "Forecast", "Growth", "Backtest", "Error by horizon", "Calibration", "Residuals",
        "Both frameworks on one held-out end", "Training, both frameworks", "Training", "Tuning",
        "Data", "How to make it again",
    ]  # fmt: skip
    assert len(tags.all("img")) == len(FIGURES)
    assert all(len(image["alt"] or "") > 20 for image in tags.all("img"))
    saved = {path.name for path in (report / "figures").iterdir()}
    assert saved == {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg", "csv")}
    said = " ".join(tags.text)
    verdict = json.loads((runs["backtest"] / "verdict.json").read_text())["sentence"]
    assert said.index(verdict.replace(" %", "\u00a0%")) < said.index("MASE")  # words come first


def test_the_table_holds_the_scores_of_the_backtest(runs, report):
    scores = pd.read_csv(runs["backtest"] / "scores.csv").set_index(["model", "metric"])["value"]
    page = read_page(report)
    row = re.search(r'<th scope="row">Pretrained</th>\n(.*?)</tr>', page[page.index("R²") :], re.S)
    cells = [
        float(cell.replace(",", ""))
        for cell in re.findall(r"<td[^>]*>(?:<strong>)?([0-9.,-]+)", row[1])
    ]
    names = ["MASE", "sMAPE", "MAE", "RMSE", "MAPE", "RMSLE", "growth_error", "quantile_loss"]
    for name, cell in zip(names, cells, strict=False):
        assert cell == pytest.approx(scores["Pretrained", name], rel=6e-3, abs=6e-4)
    assert cells[-1] == pytest.approx(scores["Pretrained", "R2"], rel=1e-2)  # last of all


def test_figures_show_what_the_tables_hold(runs, report):
    by_step = pd.read_csv(runs["backtest"] / "scores-by-horizon.csv")
    drawn = pd.read_csv(report / "figures" / "error-by-horizon.csv")
    own = by_step[(by_step["model"] == "Pretrained") & (by_step["metric"] == "MASE")]
    shown = drawn[drawn["model"] == "Pretrained"]
    assert shown["error"].tolist() == own["value"].tolist()
    covered = pd.read_csv(report / "figures" / "calibration.csv").set_index("level")["coverage"]
    scores = pd.read_csv(runs["backtest"] / "scores.csv").set_index(["model", "metric"])["value"]
    assert covered[80] == pytest.approx(scores["Pretrained", "coverage-80"])


def test_the_page_asks_for_nothing_and_states_the_hash_of_its_style(report):
    page = read_page(report)
    tags = Tags(page)
    assert not {name for name, _ in tags.tags} & {"script", "iframe", "object", "base", "form"}
    for _, attributes in tags.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "srcset", "href"):
            assert re.match(r"data:|#", attributes.get(name) or "#")
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = tags.all("meta")[1]["content"]
    assert f"style-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "\n@import" not in style and "url(" not in style


def test_a_hostile_name_is_shown_as_text(report):
    page = read_page(report)
    assert HOSTILE not in page
    assert HOSTILE in " ".join(Tags(page).text)


def test_markup_in_every_file_of_a_run_stays_text(copied, tmp_path):
    markup = '"><img src=x onerror=alert(2)>'
    for run in copied.values():
        for path in run.glob("*.csv"):
            table = pd.read_csv(path)
            for name in (
                "unique_id",
                "reason",
                "state",
                "course",
                "sentence",
                "doubling",
                "knob",
                "label",
            ):
                if name in table:
                    table[name] = markup + "\u202e\x07"
            if "n_undefined" in table:
                table["n_undefined"] = 1
            renamed = table.replace({"Pretrained": markup, "torch": markup})
            renamed.columns = [str(c).replace("Pretrained", markup) for c in table.columns]
            renamed.columns = [c.replace("torch", markup) for c in renamed.columns]
            renamed.drop_duplicates().to_csv(path, index=False)
        record = json.loads((run / "run.json").read_text())
        record["arguments"] |= {"file": markup, "backend": markup, markup: [markup]}
        record["data"]["file"] = markup
        record |= {"versions": {markup: markup}, "machine": {markup: markup}}
        (run / "run.json").write_text(json.dumps(record))
    verdict = json.loads((copied["backtest"] / "verdict.json").read_text())
    verdict["verdicts"][0] |= {"method": markup, "sentence": markup}
    change_json(
        copied["backtest"] / "verdict.json", use=markup, sentence=markup,
        verdicts=verdict["verdicts"],
    )  # fmt: skip
    change_json(copied["tune"] / "best.json", verdict=markup)
    change_json(copied["compare"] / "metrics.json", verdict=markup)
    make_report(list(copied.values()), tmp_path / "out")
    page = read_page(tmp_path / "out")
    tags = Tags(page)
    assert "<img src=x" not in page
    assert all((image["src"] or "").startswith("data:image/") for image in tags.all("img"))
    assert not [1 for _, attributes in tags.tags if "onerror" in attributes]
    assert "\u202e" not in page and "\x07" not in page
    assert " ".join(tags.text).count(markup) > 10


@pytest.mark.parametrize(
    ("use", "outcomes", "tone"),
    [
        ("Pretrained", [("beats", 0.3), ("loses", -0.2)], "good"),
        ("Naive", [("level", 0.3), ("loses", -0.2)], "open"),
        ("Naive", [("untestable", 0.3)], "open"),
        ("Naive", [("level", -0.1), ("loses", -0.2)], "bad"),
    ],
)
def test_the_verdict_looks_as_good_as_it_is(copied, tmp_path, use, outcomes, tone):
    verdicts = [
        {
            "method": f"M{place}",
            "outcome": outcome,
            "sentence": f"Said of M{place}.",
            "skill": skill,
        }
        for place, (outcome, skill) in enumerate(outcomes)
    ]
    change_json(copied["backtest"] / "verdict.json", use=use, sentence="Said.", verdicts=verdicts)
    section = show_verdict(read_run(copied["backtest"]))
    assert section is not None and section.tone == tone
    assert section.sentences == ("Said.", "Said of M0.")  # of the closest one


def test_without_a_backtest_it_says_that_nothing_is_known_and_what_would_tell(runs, tmp_path):
    make_report([runs["forecast"]], tmp_path / "out")
    said = " ".join(Tags(read_page(tmp_path / "out")).text)
    assert "Nothing here says yet whether this forecast is better" in said
    texts = Tags(read_page(tmp_path / "out")).text
    words = shlex.split(next(text for text in texts if text.startswith("explstm backtest")))
    assert words[2].endswith("sales & more.csv") and words[3:5] == ["--horizon", "3"]


def test_data_that_have_moved_are_asked_for_and_told_from_others(copied, tmp_path):
    data = write_data(tmp_path)
    for run in copied.values():
        record = json.loads((run / "run.json").read_text())
        record["arguments"]["file"] = "/dev/zero"  # never ends, and is never read
        (run / "run.json").write_text(json.dumps(record))
    make_report([copied["forecast"]], tmp_path / "without")
    assert "give it with --data FILE" in read_page(tmp_path / "without")
    assert not (tmp_path / "without" / "figures" / "forecast.png").exists()
    make_report([copied["forecast"]], tmp_path / "with", data_file=data)
    drawn = pd.read_csv(tmp_path / "with" / "figures" / "forecast.csv")
    known = pd.read_csv(data)["y"]
    assert drawn["y"].dropna().tolist() == pytest.approx(known.tolist())
    data.write_text(data.read_text().replace("2020-01-01", "2020-02-01", 1))
    with pytest.raises(UsageError, match="is not the file that the runs were made from"):
        make_report([copied["forecast"]], tmp_path / "other", data_file=data)


def test_runs_of_other_data_and_folders_that_are_no_runs_are_refused(copied, tmp_path):
    change_json(
        copied["fit"] / "run.json", data={"file": "b.csv", "bytes": 3, "sha256": "0" * 64}
    )  # fmt: skip
    with pytest.raises(UsageError, match="made from other data"):
        make_report([copied["forecast"], copied["fit"]], tmp_path / "out")
    with pytest.raises(UsageError, match="is no run folder"):
        make_report([tmp_path], tmp_path / "out")
    with pytest.raises(UsageError, match="name one or more"):
        make_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "damage", "found"),
    [
        ("forecasts.csv", lambda text: text.replace("2023-", "someday-", 1), "someday"),
        ("forecasts.csv", lambda text: text.replace("cutoff", "cut", 1), "cutoff"),
        ("scores.csv", lambda text: text.replace("value", "worth", 1), "value"),
        ("scores-by-horizon.csv", lambda text: text + "Pretrained,one,MASE,2\n", "one"),
        (
            "verdict.json",
            lambda text: re.sub(r'"outcome": "\w+"', '"outcome": "wins"', text),
            "outcome",
        ),
        ("verdict.json", lambda text: text[:-2], "no JSON object"),
        ("run.json", lambda text: text.replace('"backtest"', '"<b>"', 1), "command"),
        ("run.json", lambda text: "[" * 5000, "no JSON object"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_left(copied, tmp_path, name, damage, found):
    path = copied["backtest"] / name
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(DataError) as caught:
        make_report([copied["backtest"]], tmp_path / "out")
    assert str(path) in caught.value.message and found in caught.value.message
    assert "make the run again" in caught.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["forecasts.csv", "scores.csv", "verdict.json"])
def test_a_file_that_was_cut_changed_or_lost_since_the_run_is_named(runs, tmp_path, name):
    run = Path(shutil.copytree(runs["backtest"], tmp_path / "run"))
    whole = (run / name).read_bytes()
    lines = whole.splitlines(keepends=True)
    changed = whole.replace(b"1", b"2", 1)  # of the same size
    for damaged in (b"".join(lines[: len(lines) // 2]), changed):
        (run / name).write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{name} is not the file .*; make the run again\."):
            make_report([run], tmp_path / "out")
    (run / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing, .*; make the run again\."):
        make_report([run], tmp_path / "out")
    (run / name).write_bytes(whole)
    make_report([run], tmp_path / "out")


def test_a_file_that_the_run_did_not_write_is_named(runs, tmp_path):
    run = Path(shutil.copytree(runs["backtest"], tmp_path / "run"))
    change_json(run / "run.json", files={})
    with pytest.raises(DataError, match="is not the file that the run wrote"):
        make_report([run], tmp_path / "out")


@pytest.mark.parametrize("command", ["audit", "report"])
def test_a_run_that_a_report_has_no_part_for_is_refused(copied, tmp_path, command):
    change_json(copied["forecast"] / "run.json", command=command)
    said = f"explstm {command}, .* forecast, fit, compare, backtest, tune or growth has made"
    with pytest.raises(UsageError, match=said):
        make_report([copied["forecast"]], tmp_path / "out")


def test_a_link_in_a_run_folder_is_not_followed(copied, tmp_path):
    path = copied["forecast"] / "forecast.csv"
    path.rename(tmp_path / "elsewhere.csv")
    path.symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(DataError, match="not a plain file"):
        make_report([copied["forecast"]], tmp_path / "out")


def test_the_printed_command_gives_the_same_forecast(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(" ".join(command_words(read_run(runs["forecast"]).record)))
    place = words.index("--out") + 1
    words[place] = "again"
    assert words[0] == "explstm" and cli.run([*words[1:], "--json"]) == 0
    first, second = (
        (run / "forecast.csv").read_bytes() for run in (runs["forecast"], Path("again"))
    )
    assert first == second


def test_the_printed_command_of_a_training_holds_its_settings(runs):
    words = shlex.split(" ".join(command_words(read_run(runs["fit"]).record)))
    told = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert sorted(told) == ["hidden_sizes=[4]", "max_steps=2"]
    assert words[words.index("--backend") + 1] == "torch"


def test_a_command_line_cannot_be_broken_out_of():
    record = Record(command="forecast", arguments={"file": "a; rm -rf $HOME\n#", "horizon": 3})
    assert " ".join(command_words(record)) == "explstm forecast 'a; rm -rf $HOME\\n#' --horizon 3"


def test_a_long_command_goes_over_several_lines_and_stays_the_same_to_a_shell():
    arguments = {
        "file": "my --odd file.csv",
        "level": list(range(60, 99)),
        "settings": {"a": "--b"},
    }
    words = command_words(Record(command="forecast", arguments=arguments))
    wrapped = wrap_command(words)
    assert len(wrapped.splitlines()) > 3 and max(map(len, wrapped.splitlines()[1:])) < 90
    said = [
        subprocess.run(
            ["sh", "-c", f"printf '%s\\n' {one}"], capture_output=True, check=True
        ).stdout
        for one in (" ".join(words), wrapped)
    ]
    assert said[0] == said[1] and b"--odd file.csv\n" in said[0]


def test_the_same_runs_give_the_same_report_to_the_byte(runs, report, tmp_path):
    make_report(list(runs.values()), tmp_path / "again")
    for path in sorted(report.rglob("*")):
        if path.is_file() and path.name != "run.json":  # which says when it was
            assert (tmp_path / "again" / path.relative_to(report)).read_bytes() == path.read_bytes()


def test_ten_thousand_series_are_a_page_of_a_few_and_say_so(tmp_path):
    n, steps = 10_000, 8
    table = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i:05d}" for i in range(n)], steps),
            "ds": np.tile(pd.date_range("2020-01-01", periods=steps, freq="MS"), n),
            "y": np.tile(np.arange(1.0, steps + 1), n),
        }
    )
    table.to_csv(tmp_path / "many.csv", index=False)
    pipeline.forecast_file(tmp_path / "many.csv", 1, tmp_path / "run", DataOptions(), level=[80])
    make_report([tmp_path / "run"], tmp_path / "out")
    page = read_page(tmp_path / "out")
    assert len(page) < 3_000_000 and f"The first {MAX_ROWS} of 10,000 rows." in page
    assert "s00000" in page and "s09999" not in page


def test_long_tables_are_cut_and_say_so():
    frame = pd.DataFrame({"Series": [f"s{i}" for i in range(1234)], "Error": 1.5})
    table = make_table("Errors.", frame)
    assert len(table.rows) == MAX_ROWS
    assert table.caption == f"Errors. The first {MAX_ROWS} of 1,234 rows."


def test_of_a_long_name_the_start_is_shown_and_the_whole_is_a_tooltip(report):
    page = read_page(report)
    assert f'title="{spell_out(LONG)}">{spell_out(LONG)[:79]}…</th>' in page
    assert "\n" in LONG and not re.search(r"[א-ת]\n", page), "line ends are spelt out"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.5711, 2.3017], ["0.571", "2.302"]),
        ([12345.6, 0.2, float("nan")], ["12,346", "0", "–"]),
        ([5, 12], ["5", "12"]),
        ([1e-7], ["1e-07"]),
        ([3e15, 2.0], ["3e+15", "2"]),
        ([float("inf"), 1.0], ["–", "1"]),
    ],
)
def test_numbers_of_a_column_have_the_same_decimals(values, shown):
    assert say_column(values) == shown


def test_a_missing_library_is_named_with_the_command_that_installs_it(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[report\]'"):
        make_report([runs["forecast"]], tmp_path / "out")
    assert not (tmp_path / "out").exists()
