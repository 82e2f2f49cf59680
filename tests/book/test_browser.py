"""The built pages in a real Chromium: from disk and by http, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.slow

HARMLESS = ("Got invalid theme mode",)  # the theme, on a reader's first visit
DESKTOP, PHONE = {"width": 1366, "height": 900}, {"width": 390, "height": 844}
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
AXE_OPTIONS = {
    "runOnly": {"type": "tag", "values": AXE_TAGS},
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
}
SETTLED = "() => window.MathJax?.startup ? MathJax.startup.promise.then(() => true) : true"


@contextmanager
def watched_page(chromium: Any, **context: Any) -> Iterator[tuple[Any, list[str], list[str]]]:
    """A page in a new profile, with its console errors and the addresses that it asked for."""
    errors: list[str] = []
    asked: list[str] = []

    def on_console(message: Any) -> None:
        if message.type == "error" and not message.text.startswith(HARMLESS):
            errors.append(f"{message.text} ({message.location.get('url', '')})")

    profile = chromium.new_context(**context)
    page = profile.new_page()
    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))
    page.on("request", lambda request: asked.append(request.url))
    try:
        yield page, errors, asked
    finally:
        profile.close()


def open_settled(page: Any, address: str) -> None:
    """Open an address and wait until MathJax, where the page has it, is done."""
    page.goto(address)
    page.wait_for_function(SETTLED)


@pytest.fixture(params=["disk", "http"])
def address(request: pytest.FixtureRequest, site: Path, server: str) -> Callable[[Path], str]:
    """How a reader comes to a page: opened from disk, or asked from a server."""
    if request.param == "disk":
        return lambda path: path.as_uri()
    return lambda path: f"{server}/{path.relative_to(site).as_posix()}"


def test_pages_load_without_error_or_foreign_request(
    chromium: Any, pages: list[Path], address: Callable[[Path], str]
) -> None:
    for path in pages:
        with watched_page(chromium) as (page, errors, asked):
            open_settled(page, address(path))
            here = urlsplit(address(path))[:2]
            foreign = [a for a in asked if urlsplit(a)[:2] != here and not a.startswith("data:")]
            assert (path.name, errors, foreign) == (path.name, [], [])


def test_the_root_leads_to_the_landing_page(
    chromium: Any, site: Path, address: Callable[[Path], str]
) -> None:
    with watched_page(chromium) as (page, _, _):
        page.goto(address(site / "index.html"))
        page.wait_for_url("**/book/index.html")
        assert page.inner_text("h1").startswith("Joules per Token")


def test_maths_renders(chromium: Any, pages: list[Path], address: Callable[[Path], str]) -> None:
    with_maths = [p for p in pages if 'class="math ' in p.read_text("utf-8")]
    assert with_maths
    for path in with_maths:
        with watched_page(chromium) as (page, _, _):
            open_settled(page, address(path))
            formulas = page.locator(".math").count()
            drawn = page.locator(".math mjx-container > svg").count()
            broken = page.locator("[data-mml-node=merror]").count()
            assert drawn >= formulas > 0 == broken, f"{path.name}: {drawn} of {formulas} drawn"


def test_search_finds_a_word(chromium: Any, site: Path, address: Callable[[Path], str]) -> None:
    with watched_page(chromium) as (page, errors, _):
        page.goto(address(site / "search.html") + "?q=provenance")
        page.locator("#search-results li a", has_text="Joules per Token").first.wait_for()
        page.wait_for_load_state("networkidle")
        assert errors == []


def axe_faults(page: Any, **rules: Any) -> str:
    """What axe finds on a page as it looks now, as text; empty where it finds nothing."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"], **rules})
    return found.generate_report() if found.violations_count else ""


@pytest.mark.parametrize("half", [0, 1], ids=["first half", "second half"])
def test_axe_finds_no_violation(chromium: Any, pages: list[Path], half: int) -> None:
    """All rules on a desktop in the light; what the dark and a phone can change, again there."""
    but_contrast = {**AXE_OPTIONS["rules"], "color-contrast": {"enabled": False}}
    contrast = {"type": "rule", "values": ["color-contrast"]}
    with watched_page(chromium, color_scheme="light", viewport=PHONE) as (page, _, _):
        for path in pages[half::2]:
            page.emulate_media(color_scheme="light")
            page.set_viewport_size(PHONE)
            open_settled(page, path.as_uri())
            page.add_style_tag(content="* { transition: none !important }")  # no color half-way
            assert page.get_attribute("html", "data-theme") == "light"
            faults = axe_faults(page, runOnly=AXE_OPTIONS["runOnly"], rules=but_contrast)
            page.set_viewport_size(DESKTOP)
            faults += axe_faults(page, runOnly=AXE_OPTIONS["runOnly"], rules=AXE_OPTIONS["rules"])
            page.emulate_media(color_scheme="dark")
            page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
            faults += axe_faults(page, runOnly=contrast)
            assert not faults, f"{path.name}: {faults}"


def test_axe_checks_the_size_of_tap_targets(chromium: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with watched_page(chromium, viewport=PHONE) as (page, _, _):
        small = '<button style="width:9px;height:9px;padding:0" aria-label="{}"></button>'
        page.set_content(f"<main>{small.format('one')}{small.format('two')}</main>")
        found = Axe().run(page, options=AXE_OPTIONS).response["violations"]
        assert "target-size" in [violation["id"] for violation in found]


CUT = """() => {
  const article = document.querySelector('article') || document.body;
  const cut = element => {
    for (let box = element; box && box !== article; box = box.parentElement) {
      const look = getComputedStyle(box);
      if (box.clientWidth && box.scrollWidth > box.clientWidth + 1 && look.overflowX !== 'visible')
        return !look.backgroundImage.includes('gradient');
    }
    return false;
  };
  const wide = 'table, mjx-container[display="true"], .gk-card, .gk-claim, figure, pre';
  return [...article.querySelectorAll(wide)].filter(cut).map(e => e.outerHTML.slice(0, 80));
}"""


def test_a_phone_cuts_nothing_without_a_cue(chromium: Any, pages: list[Path]) -> None:
    with watched_page(chromium, viewport=PHONE) as (page, _, _):
        for path in pages:
            open_settled(page, path.as_uri())
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], f"{path.name} is {width} px wide"
            assert (path.name, page.evaluate(CUT)) == (path.name, [])
