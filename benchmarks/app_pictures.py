"""Take the pictures of the app that the documentation shows.

    python benchmarks/app_pictures.py --out docs/images

Starts the service, opens its page in a headless Chromium, and writes ``app.png`` (sales: forecast
and verdict, 1440 pixels wide), ``app-phone.png`` (the same on a phone, dark) and
``app-fine-tuned.png`` (epidemic: both frameworks laid over the forecast, and tested). Needs
Playwright, Pillow and a Chromium of the system (``--chromium`` names one that is not found).
"""

import argparse
import shutil
import signal
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from load import start_server
from PIL import Image
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SHADES = 128
JOB_MS = 600_000
DRAWN_MS = 700
"""Until the chart has followed the width."""
WIDE, PHONE = {"width": 1440, "height": 1180}, {"width": 390, "height": 844}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chromium", default=next(filter(None, map(shutil.which, NAMES)), None))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        port, server = start_server(Path(folder))
        browser = playwright.chromium.launch(
            executable_path=arguments.chromium, args=["--no-sandbox"]
        )
        try:
            page = browser.new_page(viewport=WIDE)
            page.goto(f"http://127.0.0.1:{port}/")
            open_sample(page, "sales")
            save(page.screenshot(), arguments.out / "app.png")
            show_on_phone(page)
            save(page.screenshot(), arguments.out / "app-phone.png")
            page.set_viewport_size(WIDE)
            page.select_option("#theme", "light")
            page.click("#restart")
            open_sample(page, "epidemic")
            fine_tune(page)
            save(join(page, "figure", "#tune"), arguments.out / "app-fine-tuned.png")
        finally:
            browser.close()
            server.send_signal(signal.SIGTERM)
            server.wait()


def open_sample(page: Any, name: str) -> None:
    page.click(f"[data-sample={name}]")
    page.wait_for_selector("#forecast[aria-busy=false] #chart.js-plotly-plot")
    page.wait_for_selector("#verdict:not([data-tone=wait])")
    page.wait_for_selector("#growth .growth")
    page.wait_for_timeout(DRAWN_MS)


def show_on_phone(page: Any) -> None:
    page.set_viewport_size(PHONE)
    page.select_option("#theme", "dark")
    page.wait_for_timeout(DRAWN_MS)
    page.evaluate("document.getElementById('verdict').scrollIntoView()")


def fine_tune(page: Any) -> None:
    for backend in ("torch", "tensorflow"):
        page.click(f"button[data-backend={backend}]")
    for backend in ("torch", "tensorflow"):
        card = f"[data-card={backend}]"
        page.wait_for_selector(f"{card} .boxes", timeout=JOB_MS)
        page.click(f"{card} button:has-text('Test it')")
        page.wait_for_selector(f"{card} .tested", timeout=JOB_MS)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(DRAWN_MS)


def join(page: Any, *places: str) -> bytes:
    """Parts of the page, one below the other."""
    parts = [Image.open(BytesIO(page.locator(place).screenshot())) for place in places]
    size = max(part.width for part in parts), sum(part.height for part in parts)
    joined, top = Image.new("RGB", size, "white"), 0
    for part in parts:
        joined.paste(part, ((size[0] - part.width) // 2, top))
        top += part.height
    data = BytesIO()
    joined.save(data, "PNG")
    return data.getvalue()


def save(picture: bytes, path: Path) -> None:
    """Write a picture in few colours, which is a third of the bytes."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    image.quantize(SHADES, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
