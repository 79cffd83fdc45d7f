"""The packages: the same bytes from the same files, and a list of what they bring."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import build

from explstm import __version__


def run(monkeypatch, out):
    monkeypatch.setattr(sys, "argv", ["build.py", "--no-sbom", "--out", str(out)])
    return build.main()


@pytest.mark.slow
def test_two_builds_of_the_same_files_give_the_same_bytes(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, tmp_path / "dist") == 0
    sums = dict(
        reversed(line.split())
        for line in (tmp_path / "dist" / "SHA256SUMS").read_text().splitlines()
    )
    files = build.hash_files(tmp_path / "dist")
    del files["SHA256SUMS"]
    assert sums == files and len(files) == 2
    [wheel], [source] = (list((tmp_path / "dist").glob(end)) for end in ("*.whl", "*.tar.gz"))
    inside = zipfile.ZipFile(wheel).namelist()
    assert {"explstm/pretrained/weights.safetensors", "explstm/py.typed"} <= set(inside)
    assert all(name.startswith(("explstm/", "explstm-")) for name in inside)
    with tarfile.open(source) as file:
        names = file.getnames()
    assert f"explstm-{__version__}/tests/test_build.py" in names
    assert f"explstm-{__version__}/tests/fuzz/corpus/csv/plain" in names


@pytest.mark.slow
def test_a_build_that_depends_on_when_it_is_made_is_refused(tmp_path, monkeypatch, capsys):
    dates = iter(["1700000000", "1800000000"])
    monkeypatch.setattr(build, "find_date", lambda: next(dates))
    assert run(monkeypatch, tmp_path / "dist") == 1
    assert "not reproducible: explstm" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def test_the_bill_names_what_is_installed(tmp_path):
    pytest.importorskip("cyclonedx_py")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    [site] = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "demo-1.0.dist-info").mkdir()
    (site / "demo-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nLicense-Expression: MIT\n"
    )
    build.write_sbom(tmp_path / "env" / "bin" / "python", "1.2.3", tmp_path)
    bill = json.loads((tmp_path / "explstm-1.2.3.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert "timestamp" not in bill["metadata"] and "serialNumber" not in bill
    component = bill["metadata"]["component"]
    assert (component["name"], component["version"]) == ("explstm", "1.2.3")
    [demo] = bill["components"]
    assert (demo["name"], demo["version"], demo["purl"]) == ("demo", "1.0", "pkg:pypi/demo@1.0")
