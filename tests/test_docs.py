"""The documentation: its site builds without a warning, and its commands do what it shows.

Every ``sh`` and ``python`` block of the tutorial and of the how-to guides runs, page by page in an
empty folder, unless ``<!-- not run: why -->`` stands before it. A ``text`` block that follows at
once shows what it printed, ``...`` for what differs from run to run. Where a page speaks of the
service at its usual address, one of its own runs for it at another.
"""

import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from server.live import start

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "explstm"
PAGES = sorted((ROOT / "docs").glob("tutorial/*.md")) + sorted((ROOT / "docs").glob("how-to/*.md"))
BLOCK = re.compile(
    r"(?P<aside><!-- not run: .+? -->\n+)?^```(?P<language>sh|python)\n(?P<code>.*?)^```\n"
    r"(?:\n```text\n(?P<shown>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
ELIDED = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
UNLISTED = {"explstm.__main__"}
SERVICE = "127.0.0.1:8765"


def read_blocks(page):
    return [found for found in BLOCK.finditer(page.read_text("utf-8")) if not found["aside"]]


def run_shell(code):
    paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT / "src")}
    shell = ("bash", "-euo", "pipefail", "-c", code)
    done = subprocess.run(
        shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_python(code, namespace, name):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, name, "exec"), namespace)
    return printed.getvalue()


def name_modules():
    paths = [path.relative_to(SOURCES.parent) for path in SOURCES.rglob("*.py")]
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return names - UNLISTED


class Links(HTMLParser):
    """What a page loads, and the names of its places."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.places = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.places.add(values.get("id"))
        if tag in LOADING:
            self.loaded.add(values.get(LOADING[tag]) or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder))
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return {path: Links(path.read_text("utf-8")) for path in folder.rglob("*.html")}


@pytest.fixture
def address(page, tmp_path_factory):
    """Where the service is that a page speaks of."""
    if SERVICE not in page.read_text("utf-8"):
        yield SERVICE
        return
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with start(tmp_path_factory.mktemp("service")) as live:
        yield live.url.removeprefix("http://")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_commands_of_a_page_do_what_it_shows(page, address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for found in read_blocks(page):
        code = found["code"].replace(SERVICE, address)
        if found["language"] == "sh":
            printed = run_shell(code)
        else:
            printed = run_python(code, namespace, page.name)
        shown = found["shown"]
        if shown is not None:
            assert doctest.OutputChecker().check_output(shown, printed, ELIDED), (
                f"{code}\nprinted\n{printed}\nand the page shows\n{shown}"
            )


@pytest.mark.slow
def test_every_module_is_in_the_reference(site):
    places = set().union(*(links.places for links in site.values()))
    assert name_modules() - places == set()


@pytest.mark.slow
def test_the_site_loads_nothing_from_another_host(site):
    loaded = set().union(*(links.loaded for links in site.values()))
    assert loaded and {link for link in loaded if re.match(r"(\w+:)?//", link)} == set()


@pytest.mark.slow
def test_the_command_line_is_described_by_itself(site):
    from explstm.cli import app

    (links,) = (links for path, links in site.items() if path.parent.name == "command-line")
    commands = {command.callback.__name__ for command in app.registered_commands}
    assert {f"explstm-{name.replace('_', '-')}" for name in commands} <= links.places
