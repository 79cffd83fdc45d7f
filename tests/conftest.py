"""What every test can rely on: one thread, no network of warnings, repeatable randomness."""

import contextlib
import os
from pathlib import Path

# Before the frameworks are imported: they read these once. One thread each keeps parallel test
# processes from crowding each other out, and makes sums add up in one order.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["NO_COLOR"] = "1"
os.environ["COLUMNS"] = "200"

# TensorFlow first and torch second can crash the process; tests choose the safe order once.
with contextlib.suppress(ImportError):
    import torch  # noqa: F401

import numpy as np
import pytest
from hypothesis import settings

from bad_inputs.catalogue import LINES
from bad_inputs.proofs import Proofs
from databases import serve_postgresql

LONGEST = (
    "scaleout/test_train_on_ray",
    "test_notebooks",
    "server/test_job_kill",
    "test_sktime",
    "test_docs",
    "scaleout/test_ray",
    "server/test_openapi",
    "server/test_page",
    "scaleout/test_kills",
    "test_faults",
    "test_bad_inputs",
    "scaleout/test_trials",
    "server/test_workers",
    "test_cli",
    "contract/test_training",
    "scaleout/test_engines",
    "server/test_page_service",
    "test_report",
    "server/test_lanes",
    "server/test_job_routes",
    "server/test_protocol",
    "test_training",
    "scaleout/test_command",
    "server/test_job_openapi",
)
"""Modules of more than half a minute; two that begin clusters do not follow one another."""

settings.register_profile("explstm", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("hunt", deadline=None, derandomize=False, max_examples=5000)
settings.load_profile("explstm")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests that are marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long, unless it is asked for; order the rest.

    Each process of several takes the longest modules first, so that none is left with one at last.
    """
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long: make test-all runs it"))
    if not hasattr(config, "workerinput"):
        return
    here = Path(__file__).parent
    places = {name: place for place, name in enumerate(LONGEST)}
    name_of = lambda item: item.path.relative_to(here).with_suffix("").as_posix()  # noqa: E731
    items.sort(key=lambda item: places.get(name_of(item), len(LONGEST)))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that hears of every test
        config.pluginmanager.register(Proofs(LINES))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    np.random.seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def database_server():
    with serve_postgresql() as server:
        yield server


@pytest.fixture
def database(database_server) -> str:
    """The address of an empty PostgreSQL database, with a password."""
    return database_server.create()
