"""The report in a browser: no script, no request, no error, and a width that fits a phone."""

import shutil
from pathlib import Path

import pytest

from browsers import open_browser, open_page
from explstm.commands.report import make_report
from explstm.plain_text import spell_out
from report_runs import HOSTILE, LONG, write_runs


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory, browser) -> str:
    folder = tmp_path_factory.mktemp("browser")
    runs = write_runs(folder)
    make_report(list(runs.values()), folder / "report")
    alone = folder / "alone.html"  # without the folder it was made in
    shutil.move(folder / "report" / "report.html", alone)
    return Path(alone).as_uri()


@pytest.fixture(params=[(1440, "light"), (390, "light"), (390, "dark")], ids=str)
def page(request, browser, address):
    width, scheme = request.param
    page = open_page(browser, width, scheme)
    page.goto(address)
    yield page
    page.close()


def test_it_opens_without_error_request_or_script(page, address):
    page.wait_for_load_state("networkidle")
    assert [url for url in page.asked if not url.startswith("data:")] == [address]
    assert page.said == []
    assert page.evaluate("document.scripts.length") == 0


def test_every_figure_is_drawn_and_styled(page):
    widths = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(widths) == 18 and all(widths)
    # The style sheet is applied: its hash is the one the policy allows.
    assert page.evaluate("getComputedStyle(document.querySelector('nav ul')).display") == "flex"


def test_nothing_is_wider_than_the_screen_but_tables_in_their_own_box(page):
    wide = page.evaluate(
        """() => {
          const limit = document.documentElement.clientWidth;
          const parts = [...document.querySelectorAll("body *:not(.scroll *, pre *)")];
          return parts.filter(e => e.getBoundingClientRect().right > limit + 1).map(e => e.tagName)
        }"""
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_figure_for_phones_is_narrow_enough_to_read(page):
    phone = page.viewport_size["width"] == 390
    shrunk = page.evaluate(
        "[...document.images].map(i => i.getBoundingClientRect().width / i.naturalWidth)"
    )
    # Text of 10 points in the drawing is 13 pixels high at full size.
    assert min(shrunk) > (0.75 if phone else 0.85)


def test_a_hostile_name_is_shown_as_text(page):
    assert HOSTILE in page.inner_text("main")
    assert page.evaluate("document.querySelectorAll('main script').length") == 0


def test_a_long_name_is_cut_off_and_told_whole_by_a_tooltip(page):
    shown = page.locator("tbody th[title]", has_text=LONG[:9]).all()
    assert shown
    for name in shown:
        assert len(name.inner_text()) == 80 and name.get_attribute("title") == spell_out(LONG)
        assert name.bounding_box()["height"] < 300


def test_on_paper_no_figure_is_cut(browser, address):
    page = browser.new_page()
    page.goto(address)
    page.emulate_media(media="print")
    kept = page.evaluate(
        "[...document.querySelectorAll('figure')].map(f => getComputedStyle(f).breakInside)"
    )
    assert kept and set(kept) == {"avoid"}
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.pdf().startswith(b"%PDF")
    page.close()
