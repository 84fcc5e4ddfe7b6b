"""A report opened in a real browser, on a phone and on a desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import PROGRAM, Page
from html_samples import animation, diagnosis

from stvd.diagnostics.html import render

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
WIDTHS = {"phone": 390, "desk": 1280}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    whole = diagnosis("a_product_with_a_very_long_name_and_no_place_to_break_it_anywhere_2001")
    path.write_text(render(whole, year=2001, animations={"animation": animation()}), "utf-8")
    return path


@pytest.fixture(scope="module", params=WIDTHS)
def page(request: pytest.FixtureRequest, report: Path) -> Iterator[Page]:
    with Page(WIDTHS[request.param], phone=request.param == "phone") as opened:
        opened.open(report)
        yield opened


def test_nothing_is_asked_for_and_nothing_complains(page: Page, report: Path) -> None:
    assert page.requests == [report.as_uri()]
    assert page.complaints == []


def test_every_picture_is_there(page: Page) -> None:
    widths = page.run("[...document.images].map(i => i.complete ? i.naturalWidth : 0)")
    assert len(widths) == 6
    assert min(widths) > 0


def test_the_page_is_no_wider_than_the_window(page: Page) -> None:
    page.act("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    outside = page.run(
        """[...document.querySelectorAll('main *, header *')].filter(e => !e.closest('.scroll')
             && !e.matches('.full') && e.getBoundingClientRect().right > innerWidth + 1)
           .map(e => e.tagName + '.' + e.className)"""
    )
    assert outside == []
    assert page.run("innerWidth") in WIDTHS.values()


def test_letters_are_large_and_dark_enough(page: Page) -> None:
    assert page.run("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    smallest = page.run(
        """Math.min(...[...document.querySelectorAll('main *')].map(
             e => parseFloat(getComputedStyle(e).fontSize)))"""
    )
    assert smallest >= 12
    contrast = page.run(
        """(() => { const light = c => { const v = c.match(/[0-9.]+/g).slice(0, 3).map(x => {
               x /= 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
               return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2] + 0.05; };
             return Math.min(...['.about', 'figcaption', '.range', 'dt', 'a', 'td'].map(s =>
               1.05 / light(getComputedStyle(document.querySelector(s)).color))); })()"""
    )
    assert contrast > 4.5  # WCAG 2, level AA, on white


def test_a_tap_shows_a_figure_at_full_size(page: Page) -> None:
    width = "document.querySelector('#panel img').getBoundingClientRect().width"
    fitted = page.run(width)
    page.act("document.querySelector('#panel .frame').click()")
    assert page.run(width) == 1100
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    page.act("document.querySelector('#panel .frame').click()")
    assert page.run(width) == fitted <= page.run("innerWidth")


def test_links_of_the_contents_work(page: Page) -> None:
    page.act("document.querySelector('nav a[href=\"#provenance\"]').click()")
    page.until("document.querySelector('#provenance').getBoundingClientRect().top < innerHeight")
    assert page.run("scrollY") > 0


def test_long_tables_are_folded_until_asked_for(page: Page) -> None:
    page.act("document.querySelectorAll('details').forEach(d => { d.open = false; })")
    hidden = (
        "document.querySelector('details table').checkVisibility({contentVisibilityAuto: true})"
    )
    assert not page.run(hidden)
    page.act("document.querySelector('details summary').click()")
    assert page.run(hidden)


def test_print_shows_what_is_folded(page: Page) -> None:
    page.act("document.querySelectorAll('details').forEach(d => { d.open = false; })")
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        height = "document.querySelector('details table').getBoundingClientRect().height"
        assert page.run(height) > 100
        assert page.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_it_can_be_photographed(page: Page, tmp_path: Path) -> None:
    page.screenshot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_the_browser_would_tell(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<img src='http://127.0.0.1:9/x.png'><div style='width: 900px'>wide</div>"
        "<script>console.error('no'); throw new Error('oh')</script>"
    )
    with Page(WIDTHS["phone"], phone=False) as opened:
        opened.call("Page.navigate", url=bad.as_uri())
        opened.act("1")
        assert "http://127.0.0.1:9/x.png" in opened.requests
        assert len(opened.complaints) >= 2
        assert opened.run("document.documentElement.scrollWidth > window.innerWidth")
