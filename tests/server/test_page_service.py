"""The page on the service itself: what it shows is what the API answers, and jobs really train."""

import re
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from browsers import open_browser, open_page, serve, wait_until

pytest.importorskip("uvicorn", reason="the extra is not installed: explstm[serve]")
pytest.importorskip("explstm.server.app", reason="the service is not part of this checkout")
LINES = "Object.fromEntries(chart.data.map(t => [t.name, [...t.y]]))"
TUNED = {"torch": "Fine-tuned, PyTorch", "tensorflow": "Fine-tuned, TensorFlow"}
COLUMNS = ("ExpLSTM", "ExpLSTM-lo-95", "ExpLSTM-hi-95", "ExpLSTM-lo-80", "ExpLSTM-hi-80")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    from explstm.server.app import make_app
    from explstm.server.settings import Settings

    app = make_app(Settings(data=tmp_path_factory.mktemp("service")))
    with open_browser() as browser, serve(app) as address:
        yield SimpleNamespace(browser=browser, address=address)


@pytest.fixture(scope="module")
def page(service):
    page = open_page(service.browser)
    page.goto(service.address)
    yield page
    assert page.said == []
    assert all(url.startswith((service.address, "blob:", "data:")) for url in page.asked)
    page.close()


def wait_for_forecast(page) -> None:
    page.wait_for_selector("#forecast[aria-busy=false] #chart.js-plotly-plot")
    page.wait_for_selector("#verdict:not([data-tone=wait])")
    page.wait_for_selector("#growth .growth")


@pytest.fixture(scope="module")
def shown(page):
    """The page with a sample and its forecast."""
    page.click("[data-sample=air-passengers]")
    wait_for_forecast(page)
    return page


@pytest.fixture(scope="module")
def answer(shown):
    """What the API answers to the same question."""
    wanted = {"sample": "air-passengers", "h": int(shown.input_value("#horizon"))}
    return shown.request.post(f"{shown.url}api/v1/forecast", data=wanted | {"history": 5000}).json()


def fetch(page, button: str) -> bytes:
    with page.expect_download() as saved:
        page.click(button)
    return Path(saved.value.path()).read_bytes()


def test_a_file_as_germans_write_it_is_read(service):
    months = pd.date_range("2018-01-01", periods=48, freq="MS")
    lines = [f"{day:%d.%m.%Y};{100 + i},5" for i, day in enumerate(months)]
    file = {"name": "umsatz.csv", "mimeType": "text/csv",
            "buffer": "\n".join(["Monat;Umsatz", *lines]).encode()}  # fmt: skip
    page = open_page(service.browser)
    page.goto(service.address)
    page.wait_for_selector("[data-sample]")
    page.set_input_files("#file", files=[file])
    page.wait_for_selector("#problem:not([hidden])")
    assert "Choose under “Decimal sign” the comma" in page.inner_text("#problem")
    page.select_option("#decimal", ",")
    page.click("#columns-form button")
    said = "document.getElementById('problem').textContent"
    wait_until(page, f"{said}.includes('“Dates are written as”')")
    page.select_option("#date-format", "%d.%m.%Y")
    page.click("#columns-form button")
    wait_for_forecast(page)
    assert page.inner_text("#data-shape") == "1 series, 48 rows, monthly"
    assert page.evaluate(f"({LINES}).Past.at(-1)") == 147.5
    page.close()


def test_the_chart_is_what_the_api_answers(shown, answer):
    forecast = answer["forecast"]
    assert shown.evaluate(LINES)["Forecast"][1:] == pytest.approx(forecast["ExpLSTM"])
    table = pd.read_csv(StringIO(fetch(shown, "[data-take=csv]").decode()))
    for name in COLUMNS:
        assert table[name].tolist() == pytest.approx(forecast[name])


def test_the_svg_is_drawn_from_what_the_api_answers(shown, answer):
    root = ElementTree.fromstring(fetch(shown, "[data-take=svg]"))
    paths = [e.get("d") for e in root.iter() if e.get("class") == "js-line" and "L" in e.get("d")]
    lines = [np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", path), float).T for path in paths]
    past, forecast = answer["history"], answer["forecast"]
    drawn_x, drawn_y = lines[-2]
    days = pd.to_datetime([*past["ds"], *forecast["ds"]]).to_series().sub(pd.Timestamp(0)).dt.days
    x = drawn_x[0] + (days - days.iloc[0]) * np.ptp(drawn_x) / np.ptp(days[: len(past["ds"])])
    then, later = np.split(x.to_numpy(), [len(past["ds"])])
    # The past says how many pixels a value is; by that the forecast is read off. A line leaves out
    # points that lie on it.
    slope, offset = np.polyfit(np.interp(then, drawn_x, drawn_y), past["y"], 1)
    assert slope < 0
    for (at_x, at_y), name in zip([lines[-1], *lines], COLUMNS, strict=False):
        read = slope * np.interp(later, at_x, at_y) + offset
        assert read == pytest.approx(forecast[name], abs=0.5), name


def test_the_png_is_the_same_picture(shown):
    image = pytest.importorskip("PIL.Image").open(BytesIO(fetch(shown, "[data-take=png]")))
    assert image.size == (2400, 1280)
    colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert {(255, 255, 255), (0x0B, 0x5F, 0xA5), (0x1D, 0x20, 0x25)} <= colours


def test_the_verdict_is_that_of_the_service(shown):
    tone = shown.get_attribute("#verdict", "data-tone")
    shown.click("#verdict-details summary")
    said = shown.inner_text("#verdict-how")
    assert (" beats the best naive forecast " in said) == (tone == "good")


@pytest.mark.slow
def test_a_training_is_followed_cancelled_and_goes_on(shown):
    shown.fill("#steps", "60")
    shown.click("button[data-backend=torch]")
    card = "[data-card=torch]"
    shown.wait_for_selector(f"{card} .hint:has-text('of 60')")
    assert shown.evaluate(f"document.querySelector('{card} progress').max") == 120
    shown.click(f"{card} button:has-text('Cancel')")
    shown.wait_for_selector(f"{card}[data-state=cancelled]")
    shown.click(f"{card} button")
    wait_until(shown, f"chart.data.some(t => t.name === {TUNED['torch']!r})")
    lines = shown.evaluate(LINES)
    assert len(lines[TUNED["torch"]]) == len(lines["Forecast"])


@pytest.mark.slow
def test_the_report_holds_what_the_api_answers(shown, answer, service, tmp_path):
    place = tmp_path / "report.html"
    place.write_bytes(fetch(shown, "[data-take=report]"))
    report = open_page(service.browser, 390)
    report.goto(place.as_uri())
    table = report.locator("table:has(caption:has-text('The forecast, step by step'))").first
    rows = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
    values = np.array([[float(cell.replace(",", "")) for cell in row[1:]] for row in rows])
    wanted = [answer["forecast"][name] for name in ("ExpLSTM", *COLUMNS[3:])]
    assert values == pytest.approx(np.transpose(wanted), abs=0.06)
    assert [row[0] for row in rows] == [ds[:10] for ds in answer["forecast"]["ds"]]
    assert report.evaluate("document.scripts.length") == 0 and report.said == []
    report.close()


# ------------------------------------------------------------------ both frameworks, really trained


def make_pattern() -> pd.DataFrame:
    """Series of a pattern that the pretrained model does not know and a few steps teach."""
    rng = np.random.default_rng(0)
    t = np.arange(80)
    pattern = np.array([0.3, -0.2, 0.1, -0.3, 0.1])[t % 5]
    tables = [
        pd.DataFrame(
            {
                "unique_id": f"shop-{i}",
                "ds": t + 1,
                "y": (100 * np.exp(0.01 * t + pattern + 0.02 * rng.normal(size=80))).round(2),
            }
        )
        for i in range(12)
    ]
    return pd.concat(tables)


@pytest.fixture(scope="module")
def tuned(service):
    """A page where both frameworks have trained, a hundred steps each."""
    page = open_page(service.browser)
    page.goto(service.address)
    text = make_pattern().to_csv(index=False).encode()
    page.set_input_files("#file", [{"name": "a.csv", "mimeType": "text/csv", "buffer": text}])
    page.fill("#horizon", "10")
    page.fill("#steps", "100")
    wait_until(page, "chart.data?.find(t => t.name === 'Forecast').y.length === 11")
    for backend in TUNED:
        page.click(f"button[data-backend={backend}]")
    wait_until(page, "document.querySelectorAll('#jobs .boxes').length === 2")
    yield page
    assert page.said == []
    page.close()


@pytest.mark.slow
def test_both_frameworks_train_and_are_laid_over_each_other(tuned, service):
    api = f"{service.address}/api/v1/jobs"
    jobs = {job["request"].get("backend"): job["id"] for job in
            tuned.request.get(api).json()["jobs"] if job["request"]["h"] == 10}  # fmt: skip
    lines, traces = tuned.evaluate(LINES), tuned.evaluate("chart.data.map(t => [...t.y])")
    for backend, name in TUNED.items():
        result = tuned.request.get(f"{api}/{jobs[backend]}/result?series=shop-0").json()
        forecast = result["forecast"]
        assert lines[name][1:] == pytest.approx(forecast["ExpLSTM"])
        for column in COLUMNS[1:]:
            assert any(trace[1:] == pytest.approx(forecast[column]) for trace in traces), column
        table = pd.read_csv(
            StringIO(fetch(tuned, f"[data-card={backend}] button:has-text('CSV')").decode())
        )
        assert table.unique_id.nunique() == 12
        mine = table[table.unique_id == "shop-0"]
        for column in COLUMNS:
            assert mine[column].tolist() == pytest.approx(forecast[column])
    assert lines[TUNED["torch"]] == pytest.approx(lines[TUNED["tensorflow"]], rel=1e-3)
    assert lines[TUNED["torch"]][1:] != pytest.approx(lines["Forecast"][1:], rel=1e-3)


@pytest.mark.slow
def test_the_verdict_of_what_was_fine_tuned_is_that_of_its_test(tuned, service):
    tuned.click("[data-card=torch] button:has-text('Test it')")
    tuned.wait_for_selector("[data-card=torch] .tested")
    api = f"{service.address}/api/v1/jobs"
    job = tuned.request.get(api).json()["jobs"][0]
    assert job["kind"] == "backtest" and job["request"]["max_steps"] == 100
    summary = tuned.request.get(f"{api}/{job['id']}/result").json()["summary"]
    plain, verdict = summary["verdicts"]
    assert (plain["method"], verdict["method"]) == ("Pretrained", "FineTuned/torch")
    said = tuned.inner_text("[data-card=torch]")
    beats = "Yes: it beats the simple forecasts" in said
    assert beats == (verdict["outcome"] == "beats")
    assert f"(MASE {verdict['loss']:.4g} and {plain['loss']:.4g})" in said
