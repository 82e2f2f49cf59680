"""The landing page: one picture that is not stale, three buttons, and a map of the whole course."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from greenkit.authoring import landing
from greenkit.course.tools import tool_results

ROOT = Path(__file__).parents[2]
COLAB = "https://colab.research.google.com/github/joules-per-token/joules-per-token/blob/main/"


def burst_row(tool: str, joules: float | None, **more: Any) -> dict[str, Any]:
    """One row of the benchmark's record of the burst."""
    plain = {"interval_j": None, "provenance_in_result": [], "duration_s": 5.0, "parts_j": {}}
    return {"tool": tool, "total_j": joules, **plain, **more}


BURST = {
    "date": "2026-01-02",
    "machine": {"cpu": "Some <CPU>", "logical_cores": 2},
    "versions": {"A": "1", "B": "2", "C": "3", "CodeCarbon": "4", "carbontracker": "5"},
    "burst": [
        burst_row("B", 27.0, interval_j=[7.0, 106.0], provenance_in_result=["made"]),
        burst_row("A", 0),
        burst_row("A", 5.0),
        burst_row("C", None, error="TypeError: no value"),
        burst_row("CodeCarbon", 140.0, parts_j={"ram": 90.4}),
        burst_row("carbontracker", 474.4, parts_j={"PUE": 174.0}),
    ],
}


def listed_pages() -> list[str]:
    """Every page of the contents but the landing page itself."""
    return re.findall(r"^\s*- file: (\S+)$", (ROOT / "_toc.yml").read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def article(site: Path) -> Any:
    bs4 = pytest.importorskip("bs4")
    page = (site / "book/index.html").read_text("utf-8")
    return bs4.BeautifulSoup(page, "html.parser").find("article")


def test_it_has_one_first_heading(article: Any) -> None:
    assert len(article.find_all("h1")) == 1


def test_its_picture_has_words_for_it_and_a_caption_with_its_source(article: Any) -> None:
    figure = article.find("figure", class_="gk-hero")
    labels = {drawing["aria-label"] for drawing in figure.find_all("svg")}
    assert labels == {landing.alt_text(landing.answers(tool_results() or BURST))}
    assert "Recorded on" in figure.find("figcaption").find(class_="gk-source").get_text()


def test_the_picture_stands_before_the_map_and_the_personas_before_installing(
    article: Any,
) -> None:
    sections = [section["id"] for section in article.find_all("section")]
    wanted = ["the-course", "to-come", "where-to-begin", "run-locally"]
    assert [name for name in sections if name in wanted] == wanted
    assert article.find("figure").find_next("section")["id"] == "the-course"


def test_three_buttons_lead_to_what_is_there(article: Any, site: Path) -> None:
    read, colab, local = (link["href"] for link in article.select(".gk-actions a"))
    assert (site / "book" / read).is_file()
    assert (ROOT / colab.removeprefix(COLAB)).is_file()
    assert article.find(id=local.removeprefix("#"))


def test_the_map_links_every_page_of_the_contents(article: Any) -> None:
    links = [link["href"] for link in article.select("#the-course a[href]")]
    linked = {f"book/{link}".replace("book/../", "").removesuffix(".html") for link in links}
    assert [page for page in listed_pages() if page not in linked] == []


def test_the_map_has_the_order_of_the_contents(article: Any) -> None:
    order = [
        Path(link["href"]).stem for link in article.select("#the-course section a[href$=html]")
    ]
    assert order == [Path(page).name for page in listed_pages()]


def test_a_lab_stands_behind_the_chapter_that_it_belongs_to() -> None:
    pages = listed_pages()
    parts = {page: page.split("/")[1] for page in pages if page.startswith("book/")}
    before = {lab: pages[i - 1] for i, lab in enumerate(pages) if lab.startswith("labs/")}
    assert {lab: parts[chapter] for lab, chapter in before.items()} == {
        "labs/01_first_joule": "metering",
        "labs/02_formulas": "foundations",
        "labs/03_where_energy_goes": "metering",
        "labs/04_pruning": "compressing",
        "labs/05_quantization": "compressing",
        "labs/06_distillation": "compressing",
    }


def test_the_committed_picture_is_what_the_record_says() -> None:
    results = tool_results()
    assert results is not None
    committed = (ROOT / landing.PAGE_FIGURE).read_text("utf-8")
    assert committed == landing.page_figure(results), "run python -m greenkit.authoring.landing"


def test_answers_are_the_first_of_each_tool_in_order_and_errors_last() -> None:
    found = landing.answers(BURST)
    assert [(a.tool, a.joules) for a in found] == [
        *(("A", 0), ("B", 27.0), ("CodeCarbon", 140.0), ("carbontracker", 474.4), ("C", None)),
    ]


def test_an_answer_says_what_its_tool_said() -> None:
    labels = [answer.label for answer in landing.answers(BURST)]
    assert labels == [
        *("0 J", "~27 J (7.0 to 110), made", "140 J", "474 J", "no answer (TypeError)"),
    ]


def test_the_heading_gives_the_range_without_errors() -> None:
    assert landing.heading(landing.answers(BURST)) == "One load, five tools: from 0 J to 474 J"


def test_the_caption_is_computed_and_escaped() -> None:
    figure = landing.page_figure(BURST)
    assert "A found nothing to add up" in figure
    assert "only the result of B says so" in figure
    assert "90 J of CodeCarbon’s" in figure
    assert "Some &lt;CPU&gt;, 2 cores, 2026-01-02" in figure


def test_the_shared_picture_has_the_size_that_sites_ask_for() -> None:
    from PIL import Image

    with Image.open(ROOT / landing.SHARED) as picture:
        assert picture.size == (1200, 630)


def test_the_readme_says_of_the_picture_what_the_record_says() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    words = landing.alt_text(landing.answers(tool_results() or BURST))
    assert f"![{words}]({landing.SHARED})" in readme
