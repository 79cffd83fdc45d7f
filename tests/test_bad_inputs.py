"""Every line of the catalogue of bad input is a test, named after it, and holds."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import httpx
import numpy as np
import pytest

from bad_inputs import commands, configuration, models, service, tables, training
from bad_inputs.catalogue import LINES, Line, write_page
from bad_inputs.world import CHECKS, World
from server.live import Live, start

SEED = 168
TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "bad-inputs.md"
MODULES = (tables, configuration, models, commands, training, service)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with start(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def world(
    tmp_path: Path, live: Live, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[World]:
    line: Line = request.getfixturevalue("line")
    rng = np.random.default_rng([SEED, *line.id.encode()])
    with httpx.Client(base_url=live.url, timeout=60) as client:
        yield World(tmp_path, live, client, rng, monkeypatch, request)


@lru_cache
def names_in(name: str) -> frozenset[str]:
    tree = ast.parse((TESTS / name).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("line", LINES, ids=[f"{line.id} {line.fault}" for line in LINES])
def test_bad_input(line: Line, request: pytest.FixtureRequest) -> None:
    assert line.id in CHECKS or line.proof, "nothing proves this line"
    for proof in line.proof:
        name, _, test = proof.partition("::")
        assert f"test_{test}" in names_in(name), proof
    if line.id in CHECKS:
        CHECKS[line.id](request.getfixturevalue("world"))


def test_the_catalogue_is_whole() -> None:
    counts = {"A": 59, "B": 12, "C": 20, "D": 12, "E": 14, "F": 13, "G": 18, "H": 10, "I": 10}
    expected = [f"{table}{place + 1}" for table, n in counts.items() for place in range(n)]
    assert [line.id for line in LINES] == expected and len(expected) == 168
    assert set(CHECKS) <= set(expected)


def test_the_page_shows_the_catalogue() -> None:
    assert PAGE.read_text() == write_page(LINES), "write it: python tests/bad_inputs/catalogue.py"
