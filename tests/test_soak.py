"""The watch over the memory of processes for hours, in which some of them end."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import soak


@pytest.fixture
def ended():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        known = psutil.Process(process.pid)
    return known


def test_a_child_that_ends_while_it_is_measured_counts_for_nothing(ended, monkeypatch):
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: [ended])
    assert soak.measure(os.getpid()) == pytest.approx(soak.measure_alone(psutil.Process()), rel=0.1)


def test_a_process_that_ends_is_watched_to_its_end_and_the_others_further(ended, monkeypatch):
    monkeypatch.setattr(soak, "SAMPLE_SECONDS", 0.01)
    stop, memory = threading.Event(), {"gone": [], "here": []}

    class Here:
        @property
        def pid(self):
            if len(memory["here"]) == 2:
                stop.set()
            return os.getpid()

    soak.watch({"gone": ended, "here": Here()}, memory, stop)
    assert memory["gone"] == [] and len(memory["here"]) == 3
