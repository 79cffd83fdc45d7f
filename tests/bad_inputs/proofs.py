"""Whether the tests that a line of the catalogue names have passed in this very session.

Contract: a plugin of pytest. At the end of a session it says which lines are not proved: those of
which a test failed or was left out, with the reason. A named test counts as passed if one of its
cases has and none failed. Of lines that did not run themselves it says nothing. In a run of the
whole suite a named test of which nothing was heard fails the session.
"""

from collections.abc import Iterator, Sequence

import pytest

from bad_inputs.catalogue import Line

RUN_TO_ITS_END = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
SELECTING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "collectonly")
NOT_RUN = "not run"
OWN = "test_bad_inputs.py::bad_input[{} ...]"
"""The test of a line, by its id."""


class Proofs:
    """What became of every test of the session, and of the lines that name them.

    Args:
        lines: Of the catalogue.
        folder: To which the names of files in the catalogue are relative, from pytest's root.
    """

    def __init__(self, lines: Sequence[Line], folder: str = "tests") -> None:
        self.lines, self.folder = lines, folder
        self.whole = False
        self.outcomes: dict[str, str] = {}  # by test or file; of its cases the worst but "skipped"
        self.ran: set[str] = set()  # ids of lines

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        asked = {(config.rootpath / name).resolve() for name in config.args}
        all_of_it = {(config.rootpath / name).resolve() for name in config.getini("testpaths")}
        selected = any(getattr(config.option, name, None) for name in SELECTING)
        self.whole = all_of_it <= asked and not selected

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report, heard=report.when == "call" or not report.passed)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report, heard=not report.passed)  # a file may be left out, or not be read

    def _note(self, report: pytest.TestReport | pytest.CollectReport, *, heard: bool) -> None:
        if not heard:
            return
        test, _, case = report.nodeid.partition("[")
        if test.endswith("::test_bad_input"):
            line = case.partition(" ")[0]
            self.ran.add(line)
            test = f"{self.folder}/{OWN.format(line).replace('::', '::test_')}"
        said = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            said = f"skipped: {report.longrepr[2].removeprefix('Skipped: ')}"
        before = self.outcomes.get(test)
        if before is None or report.failed or (before != "failed" and report.passed):
            self.outcomes[test] = said

    def _outcome(self, proof: str) -> str:
        """Of a test that the catalogue names; a file that is left out was perhaps not asked for."""
        name, _, test = proof.partition("::")
        file = f"{self.folder}/{name}"
        left_out = self.outcomes.get(file, NOT_RUN) if self.whole else NOT_RUN
        return self.outcomes.get(f"{file}::test_{test}", left_out)

    def unproved(self) -> Iterator[tuple[Line, str, str]]:
        """Lines that ran, each with a test of it that did not pass, and what became of that."""
        for line in self.lines:
            for proof in (OWN.format(line.id), *line.proof) if line.id in self.ran else ():
                said = self._outcome(proof)
                if said != "passed" and (self.whole or said != NOT_RUN):
                    yield line, proof, said

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        cut_off = exitstatus not in RUN_TO_ITS_END or session.shouldfail or session.shouldstop
        self.whole = self.whole and not cut_off
        if any(said == NOT_RUN for *_, said in self.unproved()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        told = list(self.unproved())
        if told:
            terminalreporter.section("lines of the catalogue of bad input that are not proved here")
        for line, proof, said in told:
            terminalreporter.line(f"not proved here: {line.id} {line.fault}: {proof} ({said})")
