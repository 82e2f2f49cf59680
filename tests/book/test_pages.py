"""The built pages as a reader sees them: figures, tables, folds and numbers made for people."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

bs4 = pytest.importorskip("bs4")
PARTS = ("foundations", "metering", "compressing")
COLUMNS = 4
MACHINE_NUMBER = re.compile(r"(?<![\w.#])\d(?:\.\d+)?[eE][+-]?\d+\b|[-−]0\.0+(?!\d)")
RAW_REPR = re.compile(r"\b[A-Z]\w+\(\w+=|<\w+ object at")


@pytest.fixture(scope="session")
def articles(pages: list[Path]) -> dict[str, Any]:
    """The article of each page by its path in the site, without the site's folder."""
    found = {}
    for path in pages:
        soup = bs4.BeautifulSoup(path.read_text("utf-8"), "html.parser")
        if (article := soup.find("article")) is not None:
            found["/".join(path.parts[-2:])] = article
    return found


@pytest.fixture(scope="session")
def chapters(articles: dict[str, Any]) -> dict[str, Any]:
    return {name: page for name, page in articles.items() if name.split("/")[0] in PARTS}


@pytest.fixture(scope="session")
def labs(articles: dict[str, Any]) -> dict[str, Any]:
    return {name: page for name, page in articles.items() if name.startswith("labs/")}


def test_each_chapter_opens_with_a_figure(chapters: dict[str, Any]) -> None:
    late = [name for name, page in chapters.items() if page.find(["figure", "h2"]).name != "figure"]
    assert chapters
    assert late == []


def test_each_figure_says_what_it_teaches_and_where_it_comes_from(articles: dict[str, Any]) -> None:
    bare = [
        (name, str(figure.find(attrs={"aria-label": True}))[:120])
        for name, page in articles.items()
        for figure in page.find_all("figure", class_="gk-figure")
        if figure.find("figcaption") is None or figure.find(class_="gk-source") is None
    ]
    assert bare == []


def test_no_fold_of_code_stands_over_nothing(articles: dict[str, Any]) -> None:
    empty = []
    for name, page in articles.items():
        for fold in page.select("div.cell details.hide"):
            shown = fold.find_parent("div", class_="cell").find("div", class_="cell_output")
            if shown is None or not (shown.get_text(strip=True) or shown.find(["img", "svg"])):
                empty.append((name, fold.get_text()[:80]))
    assert empty == []


def test_a_table_has_at_most_four_columns(articles: dict[str, Any]) -> None:
    wide = [
        (name, row.get_text(" ", strip=True)[:80])
        for name, page in articles.items()
        for table in page.find_all("table")
        if len((row := table.find("tr")).find_all(["th", "td"])) > COLUMNS
    ]
    assert wide == []


def seen_numbers(page: Any) -> str:
    """What cells print and tables hold; not code, nor how a calculator writes its formula."""
    parts = []
    for part in page.select("div.cell_output, table, figcaption, p"):
        if part.find_parent("details", class_="hide") or part.find_parent(class_="gk-calculator"):
            continue
        code = {id(text) for each in part.select("p code, li code") for text in each.strings}
        inside = {id(text) for each in part.select(".gk-calculator") for text in each.strings}
        parts += [text for text in part.strings if id(text) not in code | inside]
        parts.append(" ")
    return "".join(parts)


def test_numbers_are_written_for_people(articles: dict[str, Any]) -> None:
    raw = {
        name: found
        for name, page in articles.items()
        if (found := MACHINE_NUMBER.findall(text := seen_numbers(page)) + RAW_REPR.findall(text))
    }
    assert raw == {}


@pytest.mark.parametrize("text", ["1.59e+08×", "5.45e+03", "-0.000", "−0.00 nats", "3e-05"])
def test_a_machine_number_is_seen(text: str) -> None:
    assert MACHINE_NUMBER.search(text)


@pytest.mark.parametrize("text", ["4b9e1f02", "-0.001", "E12 and S3.1", "1.5 × 10⁸", "a1e3"])
def test_other_words_are_no_machine_numbers(text: str) -> None:
    assert not MACHINE_NUMBER.search(text)


def test_chapters_and_labs_link_each_other(chapters: dict[str, Any], labs: dict[str, Any]) -> None:
    def targets(page: Any) -> str:
        return " ".join(link.get("href", "") for link in page.find_all("a"))

    assert [name for name, page in chapters.items() if "labs/" not in targets(page)] == []
    assert [name for name, page in labs.items() if "book/" not in targets(page)] == []
    order = sorted(labs)
    dead_ends = [
        name
        for name, following in itertools.pairwise(order)
        if Path(following).name not in targets(labs[name])
    ]
    assert dead_ends == []
