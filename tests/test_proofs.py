"""The end of a session says which lines of the catalogue of bad input it has not proved."""

import pytest

from bad_inputs.catalogue import Line
from bad_inputs.proofs import Proofs

pytest_plugins = ("pytester",)

LINES = tuple(
    Line(f"A{number}", "a fault", "an answer", proof)
    for number, proof in enumerate(
        [
            (),
            ("test_more.py::passes",),
            ("test_more.py::passes", "test_more.py::skips"),
            ("test_wrong.py::fails",),
            ("test_more.py::has_cases",),
            ("test_absent.py::left_out",),
            ("test_more.py::needs_what_is_not_there",),
        ]
    )
)
TREE = {
    "test_bad_inputs.py": """
import pytest

@pytest.mark.parametrize("line", [f"A{i} a fault" for i in range(7)], ids=str)
def test_bad_input(line): pass
""",
    "test_more.py": """
import pytest

@pytest.fixture
def nothing(): pytest.skip("not here")

def test_passes(): pass
def test_skips(): pytest.skip("no browser")
def test_needs_what_is_not_there(nothing): pass

@pytest.mark.parametrize("case", range(2))
def test_has_cases(case): case or pytest.skip("of the first")
""",
    "test_wrong.py": "def test_fails(): assert not 'this'",
    "test_absent.py": "import pytest\npytest.importorskip('no_such_package')\n",
}
UNPROVED = [
    "A2 a fault: test_more.py::skips (skipped: no browser)",
    "A3 a fault: test_wrong.py::fails (failed)",
    "A5 a fault: test_absent.py::left_out (skipped: could not import 'no_such_package': *",
    "A6 a fault: test_more.py::needs_what_is_not_there (skipped: not here)",
]


@pytest.fixture
def run(pytester: pytest.Pytester):
    """Run the small tree, with lines of its own."""
    pytester.makeini("[pytest]\ntestpaths = tests")
    pytester.mkdir("tests")
    for name, code in TREE.items():
        (pytester.path / "tests" / name).write_text(code)

    def run_tree(*arguments: str, lines=LINES) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*arguments, plugins=[Proofs(lines)])

    return run_tree


def told(result: pytest.RunResult) -> list[str]:
    start = "not proved here: "
    return [line.removeprefix(start) for line in result.outlines if line.startswith(start)]


@pytest.mark.parametrize("arguments", [(), ("-n1", "--dist=loadscope")], ids=["alone", "xdist"])
def test_what_was_left_out_or_failed_is_told(run, arguments):
    result = run(*arguments)
    assert len(told(result)) == len(UNPROVED)
    result.stdout.fnmatch_lines([f"not proved here: {line}" for line in UNPROVED])
    assert result.ret == 1


def test_a_test_that_is_not_there_fails_a_run_of_everything(run, pytester):
    (pytester.path / "tests" / "test_wrong.py").unlink()
    lost = Line("A1", "a fault", "an answer", ("test_more.py::passes", "test_more.py::pass"))
    result = run(lines=[lost])
    assert told(result) == ["A1 a fault: test_more.py::pass (not run)"]
    assert result.ret == 1
    result = run("tests/test_bad_inputs.py", "tests/test_more.py", lines=[lost])
    assert (told(result), result.ret) == ([], 0)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("tests/test_more.py", "tests/test_wrong.py"), []),  # no line ran
        (("tests/test_bad_inputs.py",), []),
        (("-k", "bad_input or passes"), []),
        (("-k", "bad_input or fails"), UNPROVED[1:2]),
        (("-k", "A2 or skips"), UNPROVED[:1]),
    ],
)
def test_of_what_was_not_chosen_nothing_is_told(run, arguments, found):
    result = run(*arguments)
    assert told(result) == found
    assert result.ret == (1 if "fails" in str(found) or "test_wrong" in str(arguments) else 0)


def test_of_what_a_run_that_was_cut_off_did_not_reach_nothing_is_told(run, pytester):
    last = pytester.path / "tests" / "test_zone.py"
    last.write_text("def test_last(): pass")
    line = Line("A1", "a fault", "an answer", ("test_zone.py::last", "test_wrong.py::fails"))
    assert told(run("-x", lines=[line])) == ["A1 a fault: test_wrong.py::fails (failed)"]
