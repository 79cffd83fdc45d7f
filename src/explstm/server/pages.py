"""The page: one HTML document, and the scripts and styles it is made of, all from this machine.

Contract: :func:`add_pages` puts the page at ``/`` of an app and its files under ``/static/``. No
script or style stands in the document itself, so that a policy of ``default-src 'self'`` holds.
The chart library is the bundle that the installed plotly package carries; nothing of it is copied.
It would write two style sheets into the document: one for maps, which it leaves out where an
element has that sheet's id already (:func:`find_map_style`), and one of its own, which it writes
into the sheet of the page that has its id. It is large, so it is sent compressed to whoever can
unpack it.

Source of the headers: Fielding, Nottingham & Reschke (2022), RFC 9110, sections 8.4, 8.8, 12.5.3.
"""

import gzip
import re
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined

import explstm
from explstm.errors import BackendNotInstalledError

CHART_SCRIPT = "plotly.min.js"
MAP_STYLE = re.compile(r'getElementById\("([0-9a-f]{64})"\)')
PAGE = "page.html.j2"
CHECKED = {"Cache-Control": "no-cache"}
KEPT = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
"""Of the chart library, whose address holds its version."""
PACKED_LEVEL = 9


def add_pages(app: FastAPI) -> None:
    """Put the page and its files into an app.

    Args:
        app: The app; ``/`` and everything under ``/static/`` are the page's.

    Raises:
        BackendNotInstalledError: The chart library is not installed.
    """
    script = find_chart_script()
    base, chart_script = "/static/page", f"/static/plotly-{version('plotly')}.js"
    page = render_page(base, chart_script, find_map_style(script.read_text(encoding="utf-8")))
    folder = Path(str(resources.files(__package__).joinpath("static")))

    @app.get("/", include_in_schema=False)
    def show_page() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get(chart_script, include_in_schema=False)
    def send_chart_script(request: Request) -> Response:
        return send_script(script, request)

    app.mount(base, _PageFiles(directory=folder), name="static")


class _PageFiles(StaticFiles):
    """Files that a browser keeps, and asks for anew only where they have changed."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers.update(CHECKED)
        return response


def send_script(script: Path, request: Request) -> Response:
    """A script that never changes, packed where the client says that it can unpack it."""
    packed = accepts_gzip(request.headers.get("accept-encoding", ""))
    headers = {**KEPT, "ETag": f'"{version("plotly")}{"-gzip" if packed else ""}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if not packed:
        return FileResponse(script, media_type="text/javascript", headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(pack(script), media_type="text/javascript", headers=headers)


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with a weight of 0."""
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name == "gzip":
            return not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
    return False


@cache
def pack(script: Path) -> bytes:
    """A file, packed once: when it is first asked for, so that the start does not wait."""
    return gzip.compress(script.read_bytes(), PACKED_LEVEL, mtime=0)


def render_page(base: str, chart_script: str, map_style: str) -> str:
    """The document.

    Args:
        base: Address that its files stand under.
        chart_script: Address of the chart library.
        map_style: Id of the style sheet that the chart library must not write.
    """
    templates = Environment(
        loader=PackageLoader(__package__ or "explstm.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(PAGE).render(
        base=base, chart_script=chart_script, map_style=map_style, version=explstm.__version__
    )


@cache
def find_chart_script() -> Path:
    """The chart library's bundle in the installed plotly package.

    Raises:
        BackendNotInstalledError: There is none.
    """
    try:
        package = resources.files("plotly")
    except ModuleNotFoundError:
        package = None
    script = Path(str(package)) / "package_data" / CHART_SCRIPT
    if not script.is_file():
        raise BackendNotInstalledError(
            "CHARTS_NOT_INSTALLED",
            f"the page needs plotly's {CHART_SCRIPT}, which is not installed; run "
            "pip install 'explstm[serve]'.",
        )
    return script


def find_map_style(script: str) -> str:
    """Id of the style sheet for maps that a bundle writes; one that is not used where none is."""
    found = MAP_STYLE.search(script)
    return found.group(1) if found else "no-map-style"
