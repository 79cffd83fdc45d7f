"""The page on the service itself: what it shows is what the API answers, and jobs really train."""

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from browsers import open_browser, open_page, serve, wait_until

pytest.importorskip("uvicorn", reason="the extra is not installed: explstm[serve]")
pytest.importorskip("explstm.server.app", reason="the service is not part of this checkout")
LINES = "Object.fromEntries(document.getElementById('chart').data.map(t => [t.name, [...t.y]]))"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from explstm.server.app import make_app
    from explstm.server.settings import Settings

    app = make_app(Settings(data=tmp_path_factory.mktemp("service")))
    with open_browser() as browser, serve(app) as address:
        page = open_page(browser)
        page.set_default_timeout(60_000)
        page.goto(address)
        yield page
        assert page.said == []
        assert all(url.startswith((address, "blob:", "data:")) for url in page.asked)
        page.close()


@pytest.fixture(scope="module")
def shown(page):
    """The page with a sample and its forecast."""
    page.click("[data-sample=air-passengers]")
    page.wait_for_selector("#forecast[aria-busy=false] #chart.js-plotly-plot")
    page.wait_for_selector("#verdict:not([data-tone=wait])")
    page.wait_for_selector("#growth .growth")
    return page


def test_the_chart_is_what_the_api_answers(shown):
    wanted = {"sample": "air-passengers", "h": int(shown.input_value("#horizon"))}
    answer = shown.request.post(f"{shown.url}api/v1/forecast", data=wanted)
    forecast = answer.json()["forecast"]
    assert shown.evaluate(LINES)["Forecast"][1:] == pytest.approx(forecast["ExpLSTM"])
    with shown.expect_download() as saved:
        shown.click("[data-take=csv]")
    table = pd.read_csv(StringIO(Path(saved.value.path()).read_text(encoding="utf-8")))
    for name in ("ExpLSTM", "ExpLSTM-lo-95", "ExpLSTM-hi-80"):
        assert table[name].tolist() == pytest.approx(forecast[name])


def test_the_verdict_is_that_of_the_service(shown):
    tone = shown.get_attribute("#verdict", "data-tone")
    shown.click("#verdict-details summary")
    said = shown.inner_text("#verdict-how")
    assert (" beats the best naive forecast " in said) == (tone == "good")


@pytest.mark.slow
def test_a_training_is_followed_cancelled_and_goes_on(shown):
    shown.click("button[data-backend=torch]")
    card = "[data-card=torch]"
    shown.wait_for_selector(f"{card} .hint:has-text('steps')")
    shown.click(f"{card} button:has-text('Cancel')")
    shown.wait_for_selector(f"{card}[data-state=cancelled]")
    shown.click(f"{card} button")
    wait_until(shown, "document.getElementById('chart').data.length === 7", 300)
    lines = shown.evaluate(LINES)
    assert len(lines["Fine-tuned, PyTorch"]) == len(lines["Forecast"])


@pytest.mark.slow
def test_the_report_is_made(shown):
    with shown.expect_download(timeout=300_000) as saved:
        shown.click("[data-take=report]")
    text = Path(saved.value.path()).read_text(encoding="utf-8")
    assert text.lower().startswith("<!doctype html>") and "<script" not in text
