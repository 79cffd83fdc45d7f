"""The command: a folder with what was found, whether or not that is a leak."""

import json

import pandas as pd
import pytest

from explstm import finetuning
from explstm.commands.audit import audit_file
from explstm.datasets import load_air_passengers
from explstm.options import DataOptions


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "air.csv"
    load_air_passengers().tail(60).to_csv(path, index=False)
    return path


def test_a_clean_audit_is_written_down(file, tmp_path):
    report = audit_file(file, 6, tmp_path / "run", DataOptions(), windows=1)
    facts = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert facts == {
        "sentence": report.sentence,
        "leaks": False,
        "leaking": [],
        "checks": list(report.checks),
    }
    table = pd.read_csv(tmp_path / "run" / "audit.csv")
    assert len(table) == len(report.table) and not table["leaks"].any()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["command"] == "audit" and record["seeds"] == [1]
    assert record["arguments"]["windows"] == 1


def test_a_leak_is_written_down_too(file, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning, "keep_steps", lambda panel, begin_N, end_N: panel)
    report = audit_file(file, 6, tmp_path / "run", DataOptions(), windows=1)
    facts = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert report.leaks and facts["leaks"] and facts["leaking"] == ["fine-tuning"]
