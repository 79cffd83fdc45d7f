"""A headless Chromium for tests that look at pages, a page that takes notes, and a server.

Needs Playwright (``pip install -e '.[dev]'``) and a Chromium of the system (Debian: ``apt-get
install chromium``), or the path of one in EXPLSTM_CHROMIUM; without them a test is skipped.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PATIENCE = 120  # seconds until something is held never to happen: trainings, and a busy machine
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    places = [os.environ.get("EXPLSTM_CHROMIUM"), *map(shutil.which, NAMES)]
    return next((place for place in places if place), None)


@contextmanager
def open_browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'"
    )
    path = find_chromium()
    if path is None:
        pytest.skip(f"no Chromium is installed (none of {', '.join(NAMES)}); set EXPLSTM_CHROMIUM")
    with playwright.sync_playwright() as started:
        # Root, as in a container, may not use Chromium's sandbox.
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Any, width: int = 1440, scheme: str = "light") -> Any:
    """A page; ``asked`` are the addresses it asks for, ``said`` is whatever it complains of."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(1000 * PATIENCE)
    page.asked, page.said = [], []
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("dialog", lambda dialog: (page.said.append(dialog.message), dialog.dismiss()))
    return page


def wait_until(page: Any, condition: str) -> None:
    """As wait_for_function, which would need the policy to allow eval."""
    until = time.monotonic() + PATIENCE
    while not page.evaluate(condition):
        assert time.monotonic() < until, condition
        page.wait_for_timeout(20)


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """The address of an app while it is served."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
