"""Parts of the reference that are made from the code whenever the site is built.

Contract: in a page, ``<!-- commands -->`` becomes the description of the command line by Typer;
``<!-- defaults: DOTTED.NAME -->`` a table of the fields of a configuration, with their defaults and
meanings; ``<!-- constants: MODULE -->`` a table of the constants of a module. Nothing here has to
be changed when a command, an option, a field or a constant is added. ``<!-- readme: HEADING -->``
becomes the text under that heading of the README. Links to files of the repository that are no
pages are shown as their text.
"""

import ast
import dataclasses
import html
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import griffe
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"
COMMANDS = "<!-- commands -->"
DEFAULTS = re.compile(r"<!-- defaults: ([\w.]+)\.(\w+) -->")
CONSTANTS = re.compile(r"<!-- constants: ([\w.]+) -->")
README = re.compile(r"<!-- readme: (.+) -->")
HEADING = re.compile(r"^##? (.+)\n", re.MULTILINE)
LEAVING = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:notebooks|benchmarks|src|tests)/[^)]*\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what a page asks for."""
    to_docs = "../" * page.file.src_uri.count("/")
    markdown = README.sub(lambda found: read_readme(found[1], to_docs), markdown)
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, describe_commands())
    markdown = DEFAULTS.sub(lambda found: tabulate_defaults(*found.groups()), markdown)
    markdown = CONSTANTS.sub(lambda found: tabulate_constants(found[1]), markdown)
    return LEAVING.sub(r"\1", markdown)


def read_readme(heading: str, to_docs: str) -> str:
    """The text under a heading of the README, its links led from the page to the same files."""
    _, *parts = HEADING.split((ROOT / "README.md").read_text("utf-8"))
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    return sections[heading].strip().replace("](docs/", f"]({to_docs}")


def describe_commands() -> str:
    """Describe every command and option, as ``typer utils docs`` does."""
    typer = (sys.executable, "-m", "typer", "explstm.cli", "utils", "docs", "--name", "explstm")
    done = subprocess.run(typer, capture_output=True, encoding="utf-8", check=True)
    # The title is the page's own, and the list of commands, cut short by Typer, its contents.
    return re.sub(
        r"^# .*\n|\*\*Commands\*\*:\n(?:\n|\* .*\n)+", "", done.stdout, flags=re.MULTILINE
    )


def tabulate_defaults(module: str, name: str) -> str:
    """Tabulate the fields of a configuration; meanings come from its docstring or metadata."""
    kind = getattr(import_module(module), name)
    if isinstance(kind, dict):
        return _tabulate((key, repr(value), "") for key, value in kind.items())
    if dataclasses.is_dataclass(kind):
        return _tabulate(
            (field.name, repr(field.default), field.metadata["help"])
            for field in dataclasses.fields(kind)
        )
    about = read_meanings(module, name)
    values = {
        name: field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }
    return _tabulate(
        (name, repr(value), about.get(name, ""))
        for name, value in values.items()
        if not isinstance(value, BaseModel)  # has a table of its own
    )


def tabulate_constants(module: str) -> str:
    """Tabulate the public constants of a module, as they are written there."""
    return _tabulate(
        (name, str(member.value), member.docstring.value if member.docstring else "")
        for name, member in read_source(module).members.items()
        if name.isupper() and not name.startswith("_") and _is_literal(member)
    )


def read_meanings(module: str, name: str) -> dict[str, str]:
    """What the docstring of a class says about its attributes."""
    for section in read_source(f"{module}.{name}").docstring.parse("google"):
        if section.kind is griffe.DocstringSectionKind.attributes:
            return {item.name: item.description for item in section.value}
    return {}


def read_source(path: str) -> Any:
    """What griffe finds at a dotted path, without importing it."""
    return griffe.load(path, search_paths=[SOURCES])


def _is_literal(member: Any) -> bool:
    try:
        ast.literal_eval(str(member.value))
    except (AttributeError, SyntaxError, ValueError):
        return False
    return True


def _tabulate(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = ["| name | value | meaning |", "|---|---|---|"]
    for name, value, meaning in rows:
        shown = html.escape(" ".join(value.split())).replace("|", "&#124;")
        lines.append(f"| `{name}` | <code>{shown}</code> | {' '.join(meaning.split())} |")
    return "\n".join(lines)
