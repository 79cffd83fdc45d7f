"""A small real run of the fault script; docs/explanation/faults.md tells of all its kills."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")
pytest.importorskip("pyarrow")
pytest.importorskip("jinja2")
pytestmark = pytest.mark.slow
TOOLS = Path(__file__).parents[1] / "tools"


def run_faults(*arguments, break_it=""):
    """The script in a process of its own, which has no threads; ``break_it`` is run before it."""
    code = (
        f"import sys, runpy; sys.argv = {['faults.py', *arguments]!r}\n"
        f"{break_it}\nrunpy.run_path({str(TOOLS / 'faults.py')!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_three_kills_of_each_kind_of_run_lose_nothing():
    done = run_faults("--kills", "3", "--full", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"\| (\w+) \| [\d.]+ \| \d+ \| (\d+) \|.*\| (\d+) \|\n", done.stdout)
    assert rows == [(name, "3", "0") for name in ("fit", "tune", "report", "save", "batch")]


def test_the_script_finds_a_model_that_is_written_in_place():
    break_it = (
        "from explstm import storage\n"
        "def write(path, content):\n"
        "    path.mkdir(exist_ok=True)\n"
        "    for name, data in content.items(): (path / name).write_bytes(data)\n"
        "storage._swap_in = write"
    )
    done = run_faults("--kills", "8", "save", break_it=break_it)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "\nsave: after Blow" in done.stdout, done.stdout + done.stderr
