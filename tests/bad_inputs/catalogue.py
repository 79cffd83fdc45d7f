"""The catalogue of bad input: 168 faults, what is done about each, and what proves it.

Contract: ``catalogue.toml`` is the one list. A line without a check of its own in this folder names
the tests that prove it, as ``file::test`` without the ``test_``. Run as a program, this module
writes the page of the documentation.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TABLES = {
    "A": "Files and tables",
    "B": "Configuration",
    "C": "Saved models",
    "D": "Command line",
    "E": "Interrupted training",
    "F": "Interrupted tuning",
    "G": "Upload and page",
    "H": "Report and exports",
    "I": "At the same time, and on many machines",
}


@dataclass(frozen=True)
class Line:
    """A fault.

    Attributes:
        id: Table and number.
        fault: What is wrong.
        answer: What the product does.
        proof: Tests that prove it, beside the check of that id in this folder, if there is one.
    """

    id: str
    fault: str
    answer: str
    proof: tuple[str, ...] = ()


def read_lines() -> tuple[Line, ...]:
    """The lines of the catalogue, in its order."""
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(
        Line(name, line["fault"], line["answer"], tuple(line.get("proof", ())))
        for name, line in content.items()
    )


LINES = read_lines()


def write_page(lines: Sequence[Line]) -> str:
    """The page of the documentation."""
    parts = [
        "# Bad input, and what becomes of it\n",
        f"{len(lines)} faults, each a test of `tests/test_bad_inputs.py` that is named after it. A",
        "fault of the data ends with exit code 3, of arguments and configuration with 2, of a",
        "saved model with 4, of a training with 5; over HTTP with a status of 4xx. The message is",
        "one sentence that says what was found, where, and what to do. Written from",
        "`tests/bad_inputs/catalogue.toml`, which names further tests that prove a line; a run of",
        "all tests says at its end which lines it could not prove, and why.\n",
    ]
    for table, title in TABLES.items():
        parts += [f"## {table}. {title}\n", "| | Fault | What is done |", "|---|---|---|"]
        parts += [
            f"| {line.id} | {line.fault} | {line.answer} |".replace("**", "\\*\\*")
            for line in lines
            if line.id.startswith(table)
        ]
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "bad-inputs.md"
    page.write_text(write_page(LINES))
