"""The last part of a report: the command that made each run, and with what."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from explstm.models.spec import ModelSpec
from explstm.options import FROM_DATA, DataOptions
from explstm.plain_text import spell_out
from explstm.report.page import Section, Table, make_table
from explstm.report.runs import Record, Run, find_data

OPTIONS = {"saved": "model", "methods": "method"}
"""Options that are called otherwise than the argument."""
UNSAID = {"file", "data", "settings", "force", "resume"}
"""What is no option of its own, or does not change the result."""
DEMO_FILE = "explstm/datasets/air_passengers.csv"
MAX_VALUES = 50
LINE = 64


def command_words(record: Record) -> list[str]:
    """The command that makes a run again, word by word, each quoted for a shell."""
    arguments, command, words = record.arguments, record.command, []
    file = arguments.get("file")
    if file == DEMO_FILE and command == "compare":
        command, arguments = "demo", {**arguments, "horizon": None}
    elif file is not None:
        words.append(str(file))
    data = arguments.get("data")
    told = {name: value for name, value in arguments.items() if name not in UNSAID}
    for name in sorted(told, key=lambda name: (name != "horizon", name == "out", name)):
        words += _to_words(OPTIONS.get(name, name), told[name])
    if isinstance(data, Mapping):
        usual = vars(DataOptions())
        for name, value in data.items():
            if name in usual and value != usual[name]:
                words += _to_words(name, value)
    settings = arguments.get("settings")
    if isinstance(settings, Mapping):
        words += [word for pair in _to_settings(settings) for word in ("--set", pair)]
    return [spell_out(shlex.quote(word)) for word in ("explstm", command, *words)]


def wrap_command(words: Sequence[str]) -> str:
    """A long command on several lines, as a shell takes it: broken before options."""
    lines = [""]
    for word in words:
        if word.startswith("--") and len(lines[-1]) + len(word) > LINE:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return " \\\n    ".join(lines)


def _to_words(name: str, value: Any) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return [option]
    if value is False and name == "plot":
        return ["--no-plot"]
    if value is None or value is False:
        return []
    if isinstance(value, Mapping):
        value = [f"{key}={json.dumps(one)}" for key, one in value.items()]
    values = value[:MAX_VALUES] if isinstance(value, list) else [value]
    return [word for one in values for word in (option, str(one))]


def _to_settings(settings: Mapping[str, Any]) -> Iterator[str]:
    """Pairs for ``--set``; of a network those that are not as usual."""
    network = settings.get("spec")
    usual = ModelSpec().model_dump(mode="json")
    for name, value in settings.items():
        if name != "spec":
            yield f"{name}={json.dumps(value)}"
    if isinstance(network, Mapping):
        for name, value in network.items():
            if name in usual and name not in FROM_DATA and value != usual[name]:
                yield f"{name}={json.dumps(value)}"


def show_provenance(runs: list[Run], data_file: Path | None) -> Section:
    """Commands, seeds, versions, machine and data of all runs."""
    lines = [wrap_command(command_words(run.record)) for run in runs]
    return Section(
        "How to make it again",
        "These commands, with these versions, seeds and data, give these numbers again.",
        tuple(_say_data(runs, data_file)),
        (_table_runs(runs), _table_versions(runs)),
        code="\n".join(lines),
    )


def _say_data(runs: list[Run], data_file: Path | None) -> Iterator[str]:
    run = next((run for run in runs if run.record.data is not None), None)
    if run is not None and run.record.data is not None:
        known = run.record.data
        state = (
            "The file is unchanged since."
            if find_data(run, data_file)
            else "The file was not found, or has changed since."
        )
        yield (f"Made from {known.file}, {known.bytes:,} bytes, SHA-256 {known.sha256}. {state}")


def _table_runs(runs: list[Run]) -> Table:
    rows = [
        {
            "Run": run.path.name or str(run.path),
            "Command": run.record.command,
            "Seeds": ", ".join(str(seed) for seed in run.record.seeds[:10]) or "none",
        }
        for run in runs
    ]
    return make_table("The runs.", pd.DataFrame(rows))


def _table_versions(runs: list[Run]) -> Table:
    columns: dict[str, dict[str, str]] = {}
    for run in runs:
        name = run.path.name or str(run.path)
        columns[name] = {**run.record.versions, **run.record.machine}
    frame = pd.DataFrame(columns).fillna("").rename_axis("Package or machine").reset_index()
    alike = len({tuple(sorted(column.items())) for column in columns.values()}) == 1
    if alike:
        frame = frame.iloc[:, :2].set_axis(["Package or machine", "All runs"], axis=1)
    return make_table("Versions and machine.", frame)
