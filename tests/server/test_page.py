"""The page in a browser: everything a user does, with mouse, keys or a screen reader."""

import re
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pandas as pd
import pytest

from browsers import open_browser, open_page, serve, wait_until
from explstm import ExpLSTM
from explstm.datasets import load_air_passengers

pytest.importorskip("uvicorn", reason="the extra is not installed: explstm[serve]")
# Both widths and both colours: one says nothing of the other.
SCREENS = [(1440, "light"), (390, "dark")]
HOSTILE = "<img src=x onerror=alert(1)>"
LONG = "שלום עולם " * 99 + "א"  # from right to left, as long as an id may be
TORCH, TENSORFLOW = "Fine-tuned, PyTorch", "Fine-tuned, TensorFlow"
LEVELS = ("lo-80", "hi-80", "lo-95", "hi-95")


@pytest.fixture(scope="module")
def server():
    from page_api import make_page_app

    app = make_page_app()
    with serve(app) as address:
        yield SimpleNamespace(address=address, store=app.state.store)


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def store(server):
    """What the server does next; as it was, after the test."""
    before = {name: value for name, value in server.store.items() if name not in ("data", "jobs")}
    yield server.store
    for name in set(server.store) - {"data", "jobs"}:
        del server.store[name]
    server.store.update(before)


@pytest.fixture
def page(request, browser, server, store):
    width, scheme = getattr(request, "param", SCREENS[0])
    page = open_page(browser, width, scheme)
    page.goto(server.address)
    page.wait_for_selector("[data-sample]")
    yield page
    hosts = {urlsplit(url).netloc for url in page.asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(server.address).netloc}
    refused = [f"Failed to load resource: the server responded with a status of {status} "
               for status in getattr(page, "expected", [])]  # fmt: skip
    assert [said.partition("(")[0] for said in page.said] == refused
    page.close()


def choose_sample(page, name: str) -> None:
    page.click(f"[data-sample={name}]")
    wait_for_forecast(page)


def wait_for_forecast(page) -> None:
    page.wait_for_selector("#forecast[aria-busy=false] #chart.js-plotly-plot")
    page.wait_for_selector("#verdict:not([data-tone=wait])")
    page.wait_for_selector("#growth .growth")


def upload(page, text: str, name: str = "mine.csv") -> None:
    file = {"name": name, "mimeType": "text/csv", "buffer": text.encode()}
    page.set_input_files("#file", files=[file])


def find_wide(page) -> list[str]:
    """What reaches beyond the screen."""
    return page.evaluate(
        """() => {
          const limit = document.documentElement.clientWidth;
          const parts = [...document.querySelectorAll("body *:not(.scroll *, .skip, .hidden)")];
          return parts.filter(e => e.getBoundingClientRect().right > limit + 1)
            .map(e => e.tagName + e.className)
        }"""
    )


def wait_for_lines(page, *names: str) -> None:
    """Wait until exactly these fine-tuned forecasts are laid over."""
    found = "chart.data.map(t => t.name).filter(n => n?.startsWith('Fine-tuned')).sort().join()"
    wait_until(page, f"{found} === {','.join(sorted(names))!r}")


def read_chart(page) -> dict[str, list[float]]:
    """Values of the chart's lines by name."""
    traces = page.evaluate("document.getElementById('chart').data.map(t => [t.name, [...t.y]])")
    return dict(traces)


def read_table(page, place: str = "#numbers-table") -> pd.DataFrame:
    page.evaluate("document.getElementById('numbers').open = true")
    html = page.locator(place).evaluate("e => e.outerHTML")
    heads = re.findall(r'<th scope="col">(.*?)</th>', html)
    rows = re.findall(r"<tr><th.*?</tr>", html)[1:]
    cells = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in rows]
    return pd.DataFrame(cells, columns=heads)


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    """The forecast of the air passengers, made without the page."""
    return ExpLSTM().predict(load_air_passengers(), h=12, level=[80, 95])


# ----------------------------------------------------------------------------------- data, columns


def test_a_file_is_chosen_and_its_forecast_is_that_of_the_model(page, expected):
    upload(page, load_air_passengers().to_csv(index=False), "passengers.csv")
    wait_for_forecast(page)
    assert page.inner_text("#data-name") == "passengers.csv"
    assert page.inner_text("#data-shape") == "1 series, 144 rows, monthly"
    assert page.inner_text("#forecast-title") == "Forecast for Dec 1961"
    assert page.inner_text("#findings-list").splitlines() == [
        "144 values, one per month, from Jan 1949 to Dec 1960.",
        "A pattern that repeats every 12 months is looked for, and used where there is one.",
        "No gaps and no duplicates were found, and nothing was repaired.",
    ]
    assert page.inner_text("#headline") == f"About {expected.ExpLSTM.iloc[-1]:.1f}"
    lines = read_chart(page)
    assert lines["Past"] == load_air_passengers().y.tolist()
    assert lines["Forecast"][1:] == pytest.approx(expected.ExpLSTM.tolist())
    table = read_table(page)
    assert list(table) == ["month", "Forecast", "80 % from", "80 % to", "95 % from", "95 % to"]
    assert table.month.tolist()[:2] == ["Jan 1961", "Feb 1961"]
    for shown, name in zip(table.columns[2:], LEVELS, strict=True):
        assert table[shown].astype(float).tolist() == pytest.approx(
            expected[f"ExpLSTM-{name}"].tolist(), abs=0.06
        )


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_a_file_that_is_read_too_late_does_not_take_the_place_of_the_next(page, ends):
    held = []

    def hold_first(route):
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/v1/inspect", hold_first)
    text = load_air_passengers()[:48].to_csv(index=False) if ends == "well" else "nonsense"
    upload(page, text, "slow.csv")
    while not held:
        page.wait_for_timeout(20)
    choose_sample(page, "air-passengers")
    with page.expect_response("**/api/v1/inspect") as late:
        held[0].continue_()
    assert late.value.ok == (ends == "well")
    page.expected = [] if late.value.ok else [late.value.status]
    late.value.finished()
    page.wait_for_timeout(200)
    wait_for_forecast(page)
    assert page.inner_text("#data-name") == "Air passengers"
    assert page.inner_text("#data-shape") == "1 series, 144 rows, monthly"
    assert page.is_hidden("#problem")


def test_a_file_is_dropped_anywhere_on_the_page(page):
    text = load_air_passengers().to_csv(index=False)
    page.evaluate(
        """text => {
          const data = new DataTransfer();
          data.items.add(new File([text], "dropped.csv", {type: "text/csv"}));
          const options = {dataTransfer: data, bubbles: true, cancelable: true};
          document.querySelector("footer").dispatchEvent(new DragEvent("drop", options));
        }""",
        text,
    )
    wait_for_forecast(page)
    assert page.inner_text("#data-name") == "dropped.csv"
    assert page.evaluate("document.activeElement.id") == "data-name"
    assert page.inner_text("#announcer").startswith("Forecast for Dec 1961: About ")


def test_a_wrong_column_is_corrected(page):
    table = load_air_passengers().rename(columns={"y": "passengers"})
    table.insert(2, "price", 10.0)
    upload(page, table.drop(columns="unique_id").to_csv(index=False))
    wait_for_forecast(page)
    assert page.inner_text("#headline") == "About 10"
    assert page.inner_text("#columns-now") == "dates in “ds”, numbers in “price”"
    assert "Only “price” is forecast. Not used: “passengers”" in page.inner_text("#findings-list")
    page.click("#columns summary")
    page.select_option("#target-col", "passengers")
    page.click("#columns-form button")
    wait_until(page, "document.getElementById('headline').textContent !== 'About 10'")
    wait_for_forecast(page)
    assert page.inner_text("#columns-now") == "dates in “ds”, numbers in “passengers”"
    assert read_chart(page)["Past"][-1] == 432


def test_data_that_cannot_be_read_are_refused_with_the_columns_to_choose(page):
    page.expected = [422]
    table = load_air_passengers().rename(columns={"ds": "when"}).drop(columns="unique_id")
    upload(page, table.to_csv(index=False))
    page.wait_for_selector("#problem:not([hidden])")
    assert "ds" in page.inner_text("#problem")
    assert not page.is_visible("#forecast") and page.is_visible("#columns-form")
    page.select_option("#time-col", "when")
    page.select_option("#id-col", "")
    page.click("#columns-form button")
    wait_for_forecast(page)
    assert not page.is_visible("#problem")


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(page):
    upload(page, "ds,y\n" + "2020-01-01,1\n" * 100_000, "large.csv")
    page.wait_for_selector("#problem:not([hidden])")
    assert "large.csv is larger than the 1 MiB" in page.inner_text("#problem")
    assert not any(url.endswith("/inspect") for url in page.asked)


def test_missing_steps_are_filled_when_asked(page):
    page.expected = [422]
    table = load_air_passengers().drop(index=[50, 51])
    upload(page, table.to_csv(index=False))
    page.wait_for_selector("#problem:not([hidden])")
    page.select_option("#fill", "interpolate")
    page.click("#columns-form button")
    wait_for_forecast(page)
    assert "2 missing steps were interpolated" in page.inner_text("#findings-list")


def test_nothing_of_the_old_data_stands_under_the_name_of_the_new(page, store):
    choose_sample(page, "air-passengers")
    assert page.get_attribute("#verdict", "data-tone") == "good"
    store["slow"] = store["slow_growth"] = 1.0
    upload(page, load_air_passengers().assign(y=7.0).to_csv(index=False), "second.csv")
    wait_until(page, "document.getElementById('data-name').textContent === 'second.csv'")
    assert page.get_attribute("#verdict", "data-tone") == "wait"
    assert page.inner_text("#headline") == "Being worked out …"
    assert page.inner_text("#headline-more") == page.inner_text("#chart-text") == ""
    assert page.inner_text("#growth-body") == "Being worked out …"
    assert page.locator("#chart.js-plotly-plot").count() == 0
    assert page.locator("#numbers-table td").count() == 0
    wait_for_forecast(page)
    assert page.inner_text("#headline") == "About 7"


def test_old_verdict_and_growth_go_when_a_setting_changes(page, store):
    choose_sample(page, "air-passengers")
    store["slow"] = 0.5
    store["slow_growth"] = 0.5
    page.fill("#horizon", "6")
    page.wait_for_selector("#forecast[aria-busy=true]")
    assert page.get_attribute("#verdict", "data-tone") == "wait"
    assert page.inner_text("#growth-body") == "Being worked out …"
    assert page.get_attribute("#growth-body", "aria-busy") == "true"
    wait_for_forecast(page)
    assert page.get_attribute("#growth-body", "aria-busy") == "false"


def test_a_forecast_that_fails_leaves_none_of_the_one_before(page, store):
    page.expected = [503]
    choose_sample(page, "air-passengers")
    store["forecast_fails"] = True
    page.fill("#horizon", "6")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#headline") == "There is none"
    assert page.get_attribute("#verdict", "data-tone") == "open"
    assert "Not known" in page.inner_text("#growth-body")


def test_a_file_that_is_refused_leaves_the_data_before_as_they_are(page):
    page.expected = [422]
    choose_sample(page, "air-passengers")
    body = {"error": {"code": "DATA_CORRUPT", "message": "it is broken."}, "request_id": "1"}
    page.route("**/inspect", lambda route: route.fulfill(status=422, json=body), times=1)
    upload(page, "x", "broken.csv")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#data-name") == "Air passengers"
    assert page.get_attribute("#verdict", "data-tone") == "good"
    assert download(page, "csv")[0] == "Air-passengers-forecast.csv"


def test_the_cards_of_jobs_are_there_again_when_the_server_is(page, store):
    page.expected = []
    store["speed"] = 0.1
    choose_sample(page, "air-passengers")
    card = begin(page, "torch")
    page.wait_for_selector(f"{card}[data-state=running]")
    page.route("**/api/v1/**", lambda route: route.abort())
    page.uncheck("input[value='95']", force=True)
    page.wait_for_selector("#problem:not([hidden])")
    page.fill("#horizon", "6")
    page.wait_for_timeout(1000)
    assert page.locator(card).count() == 1
    page.fill("#horizon", "12")
    page.wait_for_timeout(600)
    page.unroute("**/api/v1/**")
    wait_for_forecast(page)
    page.wait_for_selector("#problem", state="hidden")
    wait_for_lines(page, TORCH)
    page.said[:] = [said for said in page.said if "ERR_FAILED" not in said]


def refuse_next(page, code: str, message: str) -> None:
    """Let the next file be refused, as the service does."""
    columns = [{"name": name, "examples": []} for name in ("ds", "y")]
    choice = {"id_col": None, "time_col": "ds", "target_col": "y"}
    upload = {"data": "upload-0", "name": "mine.csv", "columns": columns, "choice": choice}
    body = {"error": {"code": code, "message": message}, "request_id": "1", "upload": upload}
    page.route("**/inspect", lambda route: route.fulfill(status=422, json=body), times=1)


REFUSED = [
    ("DATA_NOT_A_NUMBER", "line 2: '1,5' is not a finite number; write.", "decimal", "comma"),
    ("DATA_NOT_A_NUMBER", "line 2: '$1,500.2' is not a finite number; write.", "decimal",
     "without signs of money"),
    ("DATA_NOT_A_NUMBER", "line 2: 'n/a' is not a finite number; write.", "target-col",
     "Leave cells of missing values empty"),
    ("DATA_BAD_DATE", "line 2: 'x' is not written as ISO date; correct it.", "date-format",
     "how they are written"),
    ("DATA_DUPLICATE", "series A has two values; keep one.", "restart", "keep one."),
    ("DATA_MIXED_OFFSETS", "line 3 has another zone; write all in UTC.", "restart", "in UTC."),
]  # fmt: skip


def test_a_refusal_names_what_helps(page):
    page.expected = [422] * len(REFUSED)
    for code, message, field, said in REFUSED:
        refuse_next(page, code, message)
        upload(page, "ds,y\n2020-01-01,1\n")
        wait_until(page, f"document.getElementById('problem').textContent.includes({said!r})")
        assert "Choose the columns below" not in page.inner_text("#problem")
        assert page.evaluate("document.activeElement.id") == field


def test_the_decimal_sign_and_the_dates_go_with_every_request(page, server):
    page.expected = [422]
    refuse_next(page, "DATA_BAD_DATE", "line 2: '01.01.2020' is not written as ISO date; so.")
    upload(page, "ds,y\n2020-01-01,1\n")
    page.wait_for_selector("#problem:not([hidden])")
    server.store["data"]["upload-0"] = load_air_passengers()
    sent = []
    page.on("request", lambda asked: sent.append((asked.url, asked.post_data)))
    page.select_option("#decimal", ",")
    page.select_option("#date-format", "%d.%m.%Y")
    page.click("#columns-form button")
    wait_for_forecast(page)
    begin(page, "torch")
    wait_for_lines(page, TORCH)
    posted = {url.rpartition("/")[2]: body for url, body in sent if body}
    assert set(posted) == {"inspect", "forecast", "growth", "backtest", "jobs"}
    for body in posted.values():
        assert '"decimal":","' in body and '"date_format":"%d.%m.%Y"' in body


def test_only_files_that_the_server_reads_are_offered(page):
    offered = page.get_attribute("#file", "accept").split(",")
    assert {".csv", ".tsv", ".txt", ".parquet", ".arrow"} <= set(offered)
    assert ".gz" not in offered


def test_names_are_shown_as_text(page):
    table = load_air_passengers().assign(unique_id=HOSTILE)
    more = load_air_passengers().assign(unique_id=LONG)
    upload(page, pd.concat([table, more]).to_csv(index=False), f"{HOSTILE}.csv")
    wait_for_forecast(page)
    assert page.inner_text("#data-name") == f"{HOSTILE}.csv"
    assert page.input_value("#series") == HOSTILE
    page.click("#series")
    page.wait_for_selector("[role=option]")
    assert HOSTILE in page.inner_text("#series-list")
    assert page.locator("main img").count() == 0
    assert find_wide(page) == []
    page.locator("[role=option]", has_text=LONG[:9]).click()
    wait_until(page, f"document.getElementById('series').value === {LONG!r}")
    wait_for_forecast(page)
    assert find_wide(page) == []


# -------------------------------------------------------------------------------- chart, settings


def test_the_scale_is_logarithmic_when_asked(page):
    choose_sample(page, "air-passengers")
    assert page.evaluate("document.getElementById('chart').layout.yaxis.type") == "linear"
    page.check("input[value=log]", force=True)
    wait_until(page, "document.getElementById('chart').layout.yaxis.type === 'log'")
    assert page.evaluate("document.getElementById('chart')._fullLayout.yaxis.type") == "log"
    assert "straight line" in page.inner_text("#scale-note")


def test_a_log_scale_says_what_it_cannot_show(page):
    table = load_air_passengers()
    table.loc[[3, 7], "y"] = 0.0
    upload(page, table.to_csv(index=False))
    wait_for_forecast(page)
    page.check("input[value=log]", force=True)
    wait_until(page, "document.getElementById('scale-note').textContent.includes('2 values')")


def test_a_log_scale_that_can_show_nothing_is_not_taken(page):
    upload(page, load_air_passengers().assign(y=lambda t: -t.y).to_csv(index=False))
    wait_for_forecast(page)
    page.click("input[value=log]", force=True)
    wait_until(page, "document.getElementById('scale-note').textContent.includes('stays linear')")
    assert page.is_checked("input[value=linear]")
    assert page.evaluate("chart._fullLayout.yaxis.type") == "linear"


def test_large_numbers_are_told_as_people_say_them(page):
    table = load_air_passengers().assign(y=lambda t: 1e6 * t.y)
    upload(page, table.to_csv(index=False))
    wait_for_forecast(page)
    assert re.fullmatch(r"About [\d.]+ million", page.inner_text("#headline"))
    ticks = page.locator("#chart .ytick text").all_text_contents()
    assert "400M" in ticks and not any("e" in tick for tick in ticks)
    texts = page.evaluate("chart.data.find(t => t.name === 'Past').text")
    assert texts[-1] == "432 million"
    page.check("input[value=log]", force=True)
    wait_until(page, "chart._fullLayout.yaxis.type === 'log'")
    assert not any("e" in tick for tick in page.locator("#chart .ytick text").all_text_contents())


WRITTEN = {
    "9e8": "900 million", "-8.94e14": "−894 trillion", "8.94e20": "8.94 × 10²⁰",
    "2e-7": "2 × 10⁻⁷", "1234000": "1,234,000", "0.01234": "0.01234", "0": "0",
}  # fmt: skip


def test_a_number_is_written_for_people(page):
    words = "document.querySelector('script[type=module]').src.replace('app.js', 'words.js')"
    numbers = f"[{', '.join(WRITTEN)}]"
    written = page.evaluate(f"import({words}).then(words => {numbers}.map(words.number))")
    assert written == [*WRITTEN.values()]


def test_settings_act_at_once(page):
    choose_sample(page, "air-passengers")
    page.uncheck("input[value='95']", force=True)
    page.fill("#horizon", "6")
    wait_until(
        page, "document.getElementById('forecast-title').textContent === 'Forecast for Jun 1961'"
    )
    wait_for_forecast(page)
    table = read_table(page)
    assert list(table) == ["month", "Forecast", "80 % from", "80 % to"] and len(table) == 6
    season = ExpLSTM(season_length=1).predict(load_air_passengers(), h=6)
    page.fill("#season", "1")
    end = f"About {season.ExpLSTM.iloc[-1]:.1f}"
    wait_until(page, f"document.getElementById('headline').textContent === {end!r}")


def test_a_horizon_that_is_none_is_not_sent(page):
    choose_sample(page, "air-passengers")
    asked = len(page.asked)
    page.fill("#horizon", "0")
    page.wait_for_timeout(600)
    assert len(page.asked) == asked
    assert page.evaluate("document.getElementById('horizon').validity.valid") is False


# ------------------------------------------------------------------------------------- the series


def test_a_series_is_found_by_typing_and_chosen_by_keys(page):
    choose_sample(page, "sales")
    assert page.inner_text("label[for=series]") == "Series (one of 40)"
    before = page.inner_text("#headline")
    page.focus("#series")
    page.keyboard.type("l-3")
    wait_until(page, "document.querySelectorAll('[role=option]').length === 10")
    assert page.get_attribute("#series", "aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    active = page.get_attribute("#series", "aria-activedescendant")
    assert page.get_attribute(f"#{active}", "aria-selected") == "true"
    page.keyboard.press("Enter")
    wait_until(page, f"document.getElementById('headline').textContent !== {before!r}")
    assert page.input_value("#series") == "seasonal-31"
    assert not page.is_visible("#series-list")
    read_table(page)
    assert page.inner_text("#numbers-table caption") == "Forecast of seasonal-31"


def test_escape_leaves_the_series_as_it_was(page):
    choose_sample(page, "sales")
    page.fill("#series", "nothing like this")
    page.wait_for_selector("#series-list .more")
    page.keyboard.press("Escape")
    assert page.input_value("#series") == "seasonal-00"
    assert not page.is_visible("#series-list")


# ----------------------------------------------------------------------------- verdict and growth


def test_a_yes_says_by_how_much(page):
    choose_sample(page, "air-passengers")
    assert page.get_attribute("#verdict", "data-tone") == "good"
    said = page.inner_text("#verdict-more")
    assert "8 tests on your past" in said and "55 % lower" in said and "1 in 100 cases" in said
    page.click("#verdict-details summary")
    rows = page.inner_text("#verdict-table").splitlines()
    assert rows[0] == "Mean error of each (MASE)" and rows[2].startswith("This model")


@pytest.mark.parametrize(
    ("outcome", "tone", "title"),
    [
        ("loses", "bad", "No: repeating the value of one season ago is better. Do not use"),
        ("level", "bad", "Not proven: repeating the value of one season ago may be as good. Do"),
        ("untestable", "open", "Not known: there is too little past to tell"),
    ],
)
def test_a_no_is_as_large_as_a_forecast(page, store, outcome, tone, title):
    store["outcome"] = outcome
    choose_sample(page, "air-passengers")
    assert page.get_attribute("#verdict", "data-tone") == tone
    assert page.inner_text("#verdict-title").startswith(title)
    sizes = page.evaluate(
        "[...document.querySelectorAll('.headline')].map(e => getComputedStyle(e).fontSize)"
    )
    assert len(sizes) == 2 and len(set(sizes)) == 1
    boxes = page.evaluate(
        "[...document.querySelectorAll('.head')].map(e => e.getBoundingClientRect().width)"
    )
    assert boxes[0] == pytest.approx(boxes[1], abs=1)


def test_growth_is_told_with_its_ceiling(page):
    choose_sample(page, "epidemic")
    said = page.inner_text("#growth-body")
    assert "Growth rate per day" in said and "Growth is nearing a ceiling" in said
    page.click("#growth-body summary")
    assert "Growth saturates: a curve with a ceiling near" in page.inner_text("#growth-body")


# ------------------------------------------------------------------------------------ fine-tuning


def begin(page, backend: str) -> str:
    page.click(f"button[data-backend={backend}]")
    return f"[data-card={backend}]"


def test_fine_tuning_shows_its_progress_and_is_laid_over(page, expected):
    choose_sample(page, "air-passengers")
    card = begin(page, "torch")
    steps = set()
    while page.get_attribute(card, "data-state") != "done":
        bar = page.locator(f"{card} progress")
        steps.add(bar.evaluate("e => [e.max, e.value, e.getAttribute('aria-valuetext')].join()"))
        page.wait_for_timeout(20)
    told = [step.split(",") for step in steps if "Round" in step]
    assert len(told) >= 3
    for most, done, text in told:  # two rounds of half the steps make one bar
        of = re.fullmatch(r"Round (\d) of at most 2: Step (\d+) of 20; error [\d.]+", text)
        assert (int(most), int(done)) == (40, 20 * (int(of[1]) - 1) + int(of[2]))
    wait_for_lines(page, TORCH)
    begin(page, "tensorflow")
    wait_for_lines(page, TORCH, TENSORFLOW)
    assert "The model holds 40% of what fine-tuning changed." in page.inner_text(card)
    lines = read_chart(page)
    tuned = (1.1 * expected.ExpLSTM).tolist()  # what the server's job makes of it
    assert lines[TORCH][1:] == pytest.approx(tuned)
    assert lines[TENSORFLOW][1:] == pytest.approx(tuned)
    assert read_table(page)[TORCH].astype(float).tolist() == pytest.approx(tuned, abs=0.06)
    page.uncheck(f"{card} input >> nth=0")
    wait_for_lines(page, TENSORFLOW)


def test_what_was_fine_tuned_follows_the_series_and_goes_with_the_horizon(page):
    choose_sample(page, "sales")
    begin(page, "torch")
    wait_for_lines(page, TORCH)
    page.fill("#series", "seasonal-07")
    page.wait_for_selector("[role=option]")
    page.keyboard.press("Enter")
    wait_until(page, "document.getElementById('series').value === 'seasonal-07'")
    wait_for_forecast(page)
    lines = read_chart(page)
    assert lines[TORCH][1:] == pytest.approx([1.1 * y for y in lines["Forecast"][1:]])
    page.fill("#horizon", "3")
    wait_for_lines(page)
    assert page.locator("#jobs .job").count() == 0


def test_what_is_begun_before_the_new_forecast_is_there_is_laid_over_it(page):
    choose_sample(page, "air-passengers")
    forecasts, jobs = [], []
    page.route("**/api/v1/forecast", lambda route: forecasts.append(route))
    page.route("**/api/v1/jobs", lambda route: jobs.append(route))
    page.fill("#horizon", "6")
    card = begin(page, "torch")
    while not forecasts or not jobs:
        page.wait_for_timeout(20)
    assert [route.request.post_data_json["h"] for route in (*forecasts, *jobs)] == [6, 6]
    forecasts[0].continue_()
    wait_for_forecast(page)
    jobs[0].continue_()
    page.wait_for_selector(f"{card}[data-state=done]")
    wait_for_lines(page, TORCH)


def test_fine_tuning_is_cancelled(page, store):
    store["speed"] = 0.2
    choose_sample(page, "air-passengers")
    card = begin(page, "torch")
    page.wait_for_selector(f"{card}[data-state=running]")
    page.click(f"{card} button")
    page.wait_for_selector(f"{card}[data-state=cancelled]")
    assert "Cancelled" in page.inner_text(card)
    assert page.inner_text("#announcer") == "Fine-tuned, PyTorch: Cancelled."
    assert page.evaluate("document.getElementById('chart').data.length") == 6
    store["speed"] = 0.02
    page.click(f"{card} button:has-text('Start again')")
    page.wait_for_selector(f"{card}[data-state=done]")


def test_an_interrupted_job_goes_on(page, store):
    store["ends"] = "interrupted"
    choose_sample(page, "air-passengers")
    card = begin(page, "tensorflow")
    page.wait_for_selector(f"{card}[data-state=interrupted]")
    assert "the server stopped meanwhile" in page.inner_text(card)
    page.click(f"{card} button:has-text('Go on from where it stopped')")
    page.wait_for_selector(f"{card}[data-state=done]")


def be_interrupted_and_come_back(page, store) -> None:
    store["ends"] = "interrupted"
    choose_sample(page, "air-passengers")
    card = begin(page, "torch")
    page.wait_for_selector(f"{card}[data-state=interrupted]")
    page.reload()
    page.wait_for_selector(f"{card}[data-state=interrupted]")


def test_work_is_found_again_by_who_comes_back(page, store):
    be_interrupted_and_come_back(page, store)
    page.click("#restart")
    item = "#earlier-jobs li:first-child"
    page.wait_for_selector(f"{item}[data-state=interrupted]")
    assert page.inner_text(f"{item} strong") == (
        "Fine-tuning in PyTorch of Air passengers (1 series), 12 steps ahead"
    )
    page.click(f"{item} button:has-text('Go on from where it stopped')")
    page.wait_for_selector(f"{item}[data-state=done]")
    with page.expect_download() as saved:
        page.click(f"{item} button:has-text('Forecast as CSV')")
    assert saved.value.suggested_filename == "forecast.csv"


def test_a_list_that_comes_late_does_not_undo_what_was_pressed(page, store):
    be_interrupted_and_come_back(page, store)
    held = []
    page.route("**/api/v1/jobs", lambda route: held.append((route, route.fetch())))
    page.click("#restart")
    item = "#earlier-jobs li:first-child"
    page.wait_for_selector(f"{item}[data-state=interrupted]")
    while not held:
        page.wait_for_timeout(20)
    page.click(f"{item} button:has-text('Go on from where it stopped')")
    page.wait_for_selector(f"{item}:not([data-state=interrupted])")
    ((route, late),) = held
    route.fulfill(response=late)
    page.wait_for_selector(f"{item}[data-state=done]", timeout=20_000)


def test_earlier_work_is_deleted_when_that_was_meant(page, server):
    choose_sample(page, "sales")
    card = begin(page, "torch")
    page.wait_for_selector(f"{card}[data-state=done]")
    page.click("#restart")
    job = list(server.store["jobs"])[-1]
    item = f"[data-earlier={job}]"
    page.wait_for_selector(item)
    assert "of Sales that grow (40 series)" in page.inner_text(f"{item} strong")
    page.click(f"{item} button:has-text('Delete')")
    assert job in server.store["jobs"]
    page.click(f"{item} button:has-text('Delete for good')")
    page.wait_for_selector(item, state="detached")
    assert job not in server.store["jobs"]


def test_a_job_that_fails_says_why(page, store):
    store["ends"] = "failed"
    choose_sample(page, "air-passengers")
    card = begin(page, "torch")
    page.wait_for_selector(f"{card}[data-state=failed]")
    assert "lower the learning rate" in page.inner_text(card)


def test_a_stream_that_breaks_is_taken_up_where_it_broke(page, store):
    store["cut"], store["speed"], store["followed"] = 15, 0.06, []
    choose_sample(page, "air-passengers")
    card = begin(page, "torch")
    page.wait_for_selector(f"{card}[data-state=done]")
    assert store["followed"][:2] == [0, 15]


def tune_both(page) -> None:
    choose_sample(page, "air-passengers")
    for backend in ("torch", "tensorflow"):
        begin(page, backend)
    wait_for_lines(page, TORCH, TENSORFLOW)


def test_fine_tuned_ranges_are_told_apart_without_their_colours(page, expected):
    tune_both(page)
    traces = page.evaluate(
        """chart.data.map(t => ({name: t.name, y: [...t.y], fill: t.fill, dash: t.line.dash,
            hatch: t.fillpattern?.shape, marker: t.marker?.symbol, group: t.legendrank}))"""
    )
    for of, place in (("PyTorch", 20), ("TensorFlow", 30)):
        upper = [i for i, t in enumerate(traces) if place < (t["group"] or 0) < place + 10]
        ends = [traces[i - lower]["y"][1:] for i in upper for lower in (1, 0)]
        wanted = [1.1 * expected[f"ExpLSTM-{e}"] for e in ("lo-95", "hi-95", "lo-80", "hi-80")]
        for y, want in zip(ends, wanted, strict=True):
            assert y == pytest.approx(want.tolist()), of
    medians = [t for t in traces if (t.get("name") or "").startswith(("Fine", "Forecast"))]
    assert len({(t["dash"], t["marker"]) for t in medians}) == 3
    assert len({t["dash"] for t in medians}) == 3
    hatches = {t["hatch"] for t in traces if t["fill"] == "tonexty"}
    assert hatches == {None, "/", "\\"}
    page.uncheck("[data-card=torch] input >> nth=1")
    wait_until(page, "!chart.data.some(t => t.name === 'Ranges, PyTorch')")
    wait_for_lines(page, TORCH, TENSORFLOW)


def test_levels_chosen_later_hold_for_what_was_fine_tuned(page):
    tune_both(page)
    page.check("input[value='50']", force=True)
    page.uncheck("input[value='95']", force=True)
    ranges = "chart.data.map(t => t.name).filter(n => n?.endsWith('% range')).join()"
    wait_until(page, f"{ranges} === '80 % range,50 % range'")
    table = read_table(page, "[data-numbers=torch]")
    assert list(table) == ["month", "Forecast", "50 % from", "50 % to", "80 % from", "80 % to"]


def test_the_numbers_of_what_was_fine_tuned_are_in_a_table(page, expected):
    tune_both(page)
    for backend in ("torch", "tensorflow"):
        table = read_table(page, f"[data-numbers={backend}]")
        for shown, name in zip(table.columns[2:], LEVELS, strict=True):
            assert table[shown].astype(float).tolist() == pytest.approx(
                (1.1 * expected[f"ExpLSTM-{name}"]).tolist(), abs=0.06
            )
    end = 1.1 * expected.ExpLSTM.iloc[-1]
    said = page.inner_text("[data-card=torch] .job-body")
    assert said.startswith(f"About {end:.4g} for Dec 1961, without fine-tuning {end / 1.1:.4g}.")
    assert f"{TENSORFLOW}, ends at about {end:.4g}" in page.inner_text("#chart-text")


def test_whether_fine_tuning_is_better_is_not_said_before_it_was_tested(page):
    tune_both(page)
    card = "[data-card=torch]"
    assert "Not tested yet" in page.inner_text(card) and "beats the simple" not in page.inner_text(
        card
    )
    page.click(f"{card} button:has-text('Test it')")
    page.wait_for_selector("[data-card=test-torch] button:has-text('Cancel')")
    page.wait_for_selector(f"{card} .tested")
    said = page.inner_text(card)
    assert "Yes: it beats the simple forecasts" in said and "Not tested yet" not in said
    assert "It was 20 % lower than that of the forecast without fine-tuning" in said
    assert "whether that is more than luck was not tested" in said
    assert page.locator("[data-card=test-torch]").count() == 0
    assert "Not tested yet" in page.inner_text("[data-card=tensorflow]")


def test_what_was_fine_tuned_is_taken_along(page, server):
    tune_both(page)
    card = "[data-card=tensorflow]"
    with page.expect_download() as saved:
        page.click(f"{card} button:has-text('CSV')")
    assert saved.value.suggested_filename == "Air-passengers-fine-tuned-TensorFlow-forecast.csv"
    job = next(key for key in reversed(server.store["jobs"]))
    assert job in Path(saved.value.path()).read_text()
    with page.expect_download() as saved:
        page.click(f"{card} button:has-text('SVG')")
    texts = {text.strip() for text in ElementTree.parse(saved.value.path()).getroot().itertext()}
    assert {"Past", TENSORFLOW, "Ranges, TensorFlow"} <= texts
    assert not {"Forecast", TORCH} & texts
    with page.expect_download() as saved:
        page.click(f"{card} button:has-text('PNG')")
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


def test_steps_are_as_many_as_were_asked_for(page, server):
    choose_sample(page, "air-passengers")
    page.fill("#steps", "7")
    begin(page, "torch")
    page.wait_for_selector("[data-card=torch][data-state=done] input")
    page.click("[data-card=torch] button:has-text('Test it')")
    page.wait_for_selector("[data-card=torch] .tested")
    tuned, tested = [job["request"] for job in list(server.store["jobs"].values())[-2:]]
    assert tuned["max_steps"] == tested["max_steps"] == 7
    assert tested["methods"] == ["Pretrained", "FineTuned/torch"]
    jobs = len(server.store["jobs"])
    page.fill("#steps", "0")
    page.click("button[data-backend=torch]")
    page.wait_for_timeout(200)
    assert len(server.store["jobs"]) == jobs


# ------------------------------------------------------------------------------- theme and reloads


@pytest.mark.parametrize("page", SCREENS, indirect=True, ids=str)
def test_the_theme_is_chosen_and_stays(page):
    system = page.evaluate("document.documentElement.dataset.theme")
    other = {"light": "dark", "dark": "light"}[system]
    choose_sample(page, "air-passengers")
    ground = "getComputedStyle(document.body).backgroundColor"
    before, ink = page.evaluate(ground), page.evaluate("chart.layout.font.color")
    page.select_option("#theme", other)
    wait_until(page, f"chart.layout.font.color !== {ink!r}")
    assert page.evaluate(ground) != before
    page.add_init_script(
        """new MutationObserver(() => { window.themed ??= [document.documentElement.dataset.theme,
          document.body === null]; }).observe(document, {attributes: true, subtree: true,
          attributeFilter: ["data-theme"]})"""
    )
    page.reload()
    wait_for_forecast(page)
    assert page.evaluate("window.themed[0]") == other
    assert page.evaluate("document.querySelector('head script').src").endswith("/theme.js")
    assert page.evaluate("document.querySelector('head script').async") is False
    assert page.input_value("#theme") == other
    page.emulate_media(color_scheme=other)
    page.select_option("#theme", "system")
    assert page.evaluate("document.documentElement.dataset.theme") == other
    page.emulate_media(color_scheme=system)
    wait_until(page, f"document.documentElement.dataset.theme === {system!r}")
    assert page.evaluate(ground) == before


def test_a_reload_shows_the_same_again(page):
    table = load_air_passengers().rename(columns={"y": "passengers"})
    table.insert(2, "price", 10.0)
    upload(page, table.drop(columns="unique_id").to_csv(index=False))
    wait_for_forecast(page)
    page.click("#columns summary")
    page.select_option("#target-col", "passengers")
    page.click("#columns-form button")
    wait_until(page, "document.getElementById('headline').textContent !== 'About 10'")
    page.fill("#horizon", "6")
    page.uncheck("input[value='95']", force=True)
    page.check("input[value=log]", force=True)
    begin(page, "torch")
    wait_until(page, "chart.data?.some(t => t.name === 'Fine-tuned, PyTorch')")
    page.click("[data-card=torch] button:has-text('Test it')")
    page.wait_for_selector("[data-card=torch] .tested")
    places = ("#headline", "#data-name", "#data-shape", "#columns-now", "#forecast-title", "#jobs")
    before = {place: page.inner_text(place) for place in places}
    page.reload()
    wait_for_forecast(page)
    page.wait_for_selector("[data-card=torch] .tested")
    assert {place: page.inner_text(place) for place in places} == before
    assert page.evaluate("chart.layout.yaxis.type") == "log"
    assert not page.is_visible("#start")
    assert page.title() == "mine.csv – Exponential LSTM"
    page.click("#restart")
    page.reload()
    page.wait_for_selector("[data-sample]")
    assert page.is_visible("#start") and not page.is_visible("#result")


def test_a_reload_shows_the_series_that_was_chosen(page):
    choose_sample(page, "sales")
    page.fill("#series", "l-31")
    page.wait_for_selector("[role=option]")
    page.keyboard.press("Enter")
    wait_until(page, "document.getElementById('headline-more').textContent.length > 0")
    page.reload()
    wait_for_forecast(page)
    assert page.input_value("#series") == "seasonal-31"


def test_data_that_are_gone_after_a_reload_are_said_to_be_gone(page, server):
    page.expected = [404]
    choose_sample(page, "air-passengers")
    kept = dict(server.store["data"])
    server.store["data"].clear()
    try:
        page.reload()
        page.wait_for_selector("#problem:not([hidden])")
    finally:
        server.store["data"].update(kept)
    assert "no longer has the data of Air passengers" in page.inner_text("#problem")
    assert page.is_visible("#start") and not page.is_visible("#result")
    page.click("[data-sample=epidemic]")
    wait_for_forecast(page)
    assert not page.is_visible("#problem")


# -------------------------------------------------------------------------------------- downloads


def download(page, what: str) -> tuple[str, bytes]:
    with page.expect_download() as saved:
        page.click(f"[data-take={what}]")
    return saved.value.suggested_filename, Path(saved.value.path()).read_bytes()


def test_the_csv_is_the_forecast(page, expected):
    choose_sample(page, "air-passengers")
    name, data = download(page, "csv")
    assert name == "Air-passengers-forecast.csv"
    table = pd.read_csv(StringIO(data.decode()))
    assert list(table) == list(expected)
    assert table.iloc[:, 2:].to_numpy() == pytest.approx(expected.iloc[:, 2:].to_numpy())


def test_files_are_called_after_the_data_without_their_ending(page):
    upload(page, load_air_passengers().to_csv(index=False), "s200.csv")
    wait_for_forecast(page)
    assert download(page, "csv")[0] == "s200-forecast.csv"
    assert download(page, "svg")[0] == "s200-forecast.svg"


def test_the_pictures_hold_the_chart(page):
    choose_sample(page, "air-passengers")
    _, png = download(page, "png")
    assert png.startswith(b"\x89PNG")
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (2400, 1280)
    name, svg = download(page, "svg")
    assert name == "Air-passengers-forecast.svg"
    root = ElementTree.fromstring(svg)
    texts = {text.strip() for text in root.itertext()}
    assert {"Past", "Forecast", "80 % range", "95 % range", "1960"} <= texts
    assert b"<script" not in svg


def test_the_report_is_made_as_a_job(page, server):
    choose_sample(page, "air-passengers")
    begin(page, "torch")
    wait_for_lines(page, TORCH)
    name, data = download(page, "report")
    assert name == "Air-passengers-report.html" and data.startswith(b"<!doctype html>")
    asked = list(server.store["jobs"].values())[-1]["request"]
    assert asked["kind"] == "report" and asked["h"] == 12 and asked["n_windows"] == 8
    assert asked["jobs"] == [list(server.store["jobs"])[-2]]


# ------------------------------------------------------------------------ security, accessibility


def test_a_server_with_a_token_asks_for_it_once(page, store):
    store["token"] = "a-long-secret-token"
    page.expected = [401]
    page.click("[data-sample=air-passengers]")
    page.wait_for_selector("#token[open]")
    page.fill("#token-value", store["token"])
    page.keyboard.press("Enter")
    wait_for_forecast(page)
    begin(page, "torch")
    page.wait_for_selector("#jobs .job[data-state=done]")


def test_a_wrong_token_is_said_to_be_wrong(page, store):
    store["token"], store["wrong"] = "a-long-secret-token", 0
    page.expected = [401, 401, 401, 429]
    page.click("[data-sample=air-passengers]")
    page.wait_for_selector("#token[open]")
    assert not page.is_visible("#token-wrong")
    for _ in range(2):
        page.fill("#token-value", "another")
        page.keyboard.press("Enter")
        page.wait_for_selector("#token-wrong", state="visible")
        assert page.inner_text("#token-wrong") == "That was not the right token."
        assert page.input_value("#token-value") == ""
    page.fill("#token-value", "a third")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem").startswith("Too many wrong tokens came from here. Wait 37 s")


def test_the_document_holds_no_script_and_no_style(page):
    choose_sample(page, "air-passengers")
    assert page.evaluate("[...document.scripts].every(s => s.src && !s.textContent)")
    assert page.locator("style").count() == 0
    html = page.request.get(page.url).text()
    assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:", html)


@pytest.mark.parametrize("page", SCREENS, indirect=True, ids=str)
def test_axe_finds_no_serious_problem(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    problems = []

    def look() -> None:
        found = axe.run(page).response["violations"]
        problems.extend(
            (one["id"], one["impact"], [node["target"] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        )

    look()
    choose_sample(page, "sales")
    for backend in ("torch", "tensorflow"):
        begin(page, backend)
    wait_until(page, "document.querySelectorAll('#jobs .boxes').length === 2")
    page.click("[data-card=torch] button:has-text('Test it')")
    page.wait_for_selector("[data-card=torch] .tested")
    for details in page.locator("details").all():
        details.evaluate("e => { e.open = true; }")
    look()
    page.click("#series")
    page.wait_for_selector("[role=option]")
    look()
    assert problems == []


@pytest.mark.parametrize("page", SCREENS, indirect=True, ids=str)
def test_nothing_is_wider_than_the_screen(page):
    assert find_wide(page) == []
    choose_sample(page, "sales")
    begin(page, "tensorflow")
    page.wait_for_selector("#jobs .boxes")
    for details in page.locator("details").all():
        details.evaluate("e => { e.open = true; }")
    assert find_wide(page) == []


def test_who_works_by_keys_keeps_the_place(page, store):
    store["speed"] = 0.2
    choose_sample(page, "air-passengers")
    page.focus("button[data-backend=torch]")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-card=torch][data-state=running]")
    assert page.evaluate("document.activeElement.dataset.backend") == "torch"
    page.focus("[data-card=torch] button")
    page.keyboard.press("Space")
    page.wait_for_selector("[data-card=torch] button:has-text('Start again')")
    assert page.evaluate("document.activeElement.ariaLabel") == f"Start again, {TORCH}"
    store["speed"] = 0.01
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-card=torch] button:has-text('CSV')")
    assert page.evaluate("document.activeElement.closest('[data-card=torch]') !== null")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-card=torch]') !== null")


def test_progress_is_said_to_who_does_not_see_it(page, store):
    page.evaluate(
        """() => {
          window.told = [];
          const announcer = document.getElementById("announcer");
          new MutationObserver(() => window.told.push(announcer.textContent))
            .observe(announcer, {childList: true, characterData: true, subtree: true});
        }"""
    )
    choose_sample(page, "air-passengers")
    begin(page, "torch")
    wait_for_lines(page, TORCH)
    told = page.evaluate("window.told")
    assert told[0] == "Reading Air passengers."
    assert f"{TORCH}: Learning." in told
    assert 1 <= sum(text.startswith(f"{TORCH}: Round") for text in told) <= 3
    assert told[-1] == f"{TORCH}: the forecast is laid over the chart."


def test_everything_is_reached_by_keys_in_the_order_of_the_page(page):
    choose_sample(page, "sales")
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.focus(".skip")
    places = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, top, ring = page.evaluate(
            """() => {
              const e = document.activeElement, box = e.getBoundingClientRect();
              const seen = e.matches("label input") ? e.nextElementSibling : e;
              const style = getComputedStyle(seen ?? e);
              return [e.id || e.dataset.take || e.dataset.backend || e.value || e.tagName,
                      box.top + scrollY, style.outlineStyle];
            }"""
        )
        if name == "BODY":
            break
        assert ring != "none", name
        places.append((name, top))
    names = [name for name, _ in places]
    for wanted in ("restart", "series", "linear", "horizon", "80", "season", "torch", "csv"):
        assert wanted in names
    order = [names.index(name) for name in ("restart", "series", "linear", "horizon", "torch")]
    assert order == sorted(order)
