"""Which page covers which item of the source article, read from the pages' own markers.

A chapter or lab says in its first text what it covers and what it corrects, in two comments:
``% covers: S1.1 S1.2`` and ``% corrects: E01``. Nothing else claims anything for it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from greenkit.authoring.cells import read_notebook
from greenkit.course.show import markdown_table

SECTIONS = {
    "S0": "Front matter",
    "S1": "Background",
    "S2": "Core concepts",
    "S3": "Algorithms and steps",
    "S4": "Mathematics",
    "S5": "Project",
    "S6": "Applications",
    "S7": "Tools and resources",
    "S8": "Summary and outlook",
    "S9": "Questions and answers",
}
ERRATA_PAGE = "book/reference/errata.ipynb"

_LISTED = re.compile(r"^\s*- file: (\S+)", re.MULTILINE)
_MARKER = re.compile(r"^% (covers|corrects):(.*)$", re.MULTILINE)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_ENTRY = re.compile(
    r"^\((?P<anchor>e\d\d)\)=\n### (?P<name>E\d\d): (?P<title>.+)\n\n"
    r"\*\*(?P<grade>[^*]+)\*\* (?P<where>.+)$",
    re.MULTILINE,
)
_TO_COME = re.compile(r"^- \*\*(E\d\d)\*\* ", re.MULTILINE)
_CHAPTER = re.compile(r"\{doc\}`(?:[^`<]*<)?\.\./(\w[^>`]*)>?`")


class CoverageError(ValueError):
    """A marker, or an entry of the errata page, that cannot be read."""


@dataclass(frozen=True)
class Item:
    """One thing that the article says: id, what it is, the part that holds it, its errata."""

    name: str
    title: str
    part: str
    errata: tuple[str, ...]

    @property
    def section(self) -> str:
        """The article's section, such as "S4"."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Page:
    """A chapter or lab that exists: what it claims to cover and to correct, and its length."""

    path: str
    title: str
    covers: tuple[str, ...]
    corrects: tuple[str, ...]
    words: int

    @property
    def link(self) -> str:
        """A Markdown link to it from a page of the reference part, by its title up to a colon."""
        return f"[{self.title.partition(':')[0]}](../../{self.path})"


@dataclass(frozen=True)
class Erratum:
    """One entry of the errata page; `pages` are those that it names as teaching it."""

    name: str
    title: str
    grade: str
    pages: tuple[str, ...]


def items() -> tuple[Item, ...]:
    """All items of the source article, in its order."""
    table = files("greenkit.authoring").joinpath("article_items.csv").read_text(encoding="utf-8")
    return tuple(
        Item(row["id"], row["title"], row["part"], tuple(row["errata"].split()))
        for row in csv.DictReader(table.splitlines())
    )


def read_page(root: Path, path: str) -> Page:
    """The markers of one notebook below `root`.

    Raises CoverageError for a page without a title, and for a marker outside its first text,
    where no reader of the source would look for it.
    """
    cells = read_notebook(root / path)["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    if not texts or not (title := _TITLE.search(texts[0])):
        raise CoverageError(f"{path} does not begin with a title, such as '# Formulas'")
    if misplaced := [m[0] for text in texts[1:] for m in _MARKER.finditer(text)]:
        raise CoverageError(f"{path} has {misplaced[0]!r} outside its first text: move it there")
    marked: dict[str, tuple[str, ...]] = {}
    for kind, names in _MARKER.findall(texts[0]):
        marked[kind] = (*marked.get(kind, ()), *names.split())
    twice = [n for names in marked.values() for n, count in Counter(names).items() if count > 1]
    if twice:
        raise CoverageError(f"{path} names {', '.join(twice)} twice")
    return Page(
        path,
        title[1],
        marked.get("covers", ()),
        marked.get("corrects", ()),
        sum(len(text.split()) for text in texts),
    )


def read_pages(root: Path) -> list[Page]:
    """All notebooks that the table of contents lists and that exist, in its order."""
    listed = _LISTED.findall((root / "_toc.yml").read_text(encoding="utf-8"))
    paths = [f"{name}.ipynb" for name in listed]
    return [read_page(root, path) for path in paths if (root / path).is_file()]


def covered_by(pages: Sequence[Page]) -> dict[str, list[Page]]:
    """For each item that some page claims: those pages.

    Raises CoverageError for a marker that names no item of the article.
    """
    known = {item.name for item in items()}
    found: dict[str, list[Page]] = {}
    for page in pages:
        for name in page.covers:
            if name not in known:
                raise CoverageError(f"{page.path} covers {name!r}, which is no item of the article")
            found.setdefault(name, []).append(page)
    return found


def errata_text(root: Path) -> str:
    """The text of the errata page."""
    cells = read_notebook(root / ERRATA_PAGE)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def read_errata(root: Path) -> list[Erratum]:
    """The entries of the errata page, in its order.

    Raises CoverageError for an entry whose anchor is not its name.
    """
    found = []
    for entry in _ENTRY.finditer(errata_text(root)):
        if entry["anchor"] != entry["name"].lower():
            raise CoverageError(f"entry {entry['name']} has the anchor {entry['anchor']!r}")
        linked = [f"book/{name}.ipynb" for name in _CHAPTER.findall(entry["where"])]
        found.append(Erratum(entry["name"], entry["title"], entry["grade"], tuple(linked)))
    return found


def errata_to_come(root: Path) -> list[str]:
    """The errata that the page only announces."""
    return _TO_COME.findall(errata_text(root))


def errata_table(root: Path) -> str:
    """A Markdown table of the entries: what each is about, its grade, and where it is taught."""
    titles = {page.path: page.link for page in read_pages(root)}
    rows = [
        (
            f"[{entry.name}: {entry.title}](#{entry.name.lower()})",
            entry.grade,
            ", ".join(titles.get(path, "to come") for path in entry.pages),
        )
        for entry in read_errata(root)
    ]
    return markdown_table(("erratum", "grade", "taught in"), rows)


def section_table(root: Path, section: str) -> str:
    """A Markdown table of one section of the article: item, where it is covered, its errata."""
    covered = covered_by(read_pages(root))
    taught = {entry.name for entry in read_errata(root)}
    rows = []
    for item in items():
        if item.section != section:
            continue
        pages = ", ".join(page.link for page in covered.get(item.name, ()))
        errata = [f"[{name}](#{name.lower()})" if name in taught else name for name in item.errata]
        where = pages or f"to come with *{item.part}*"
        rows.append((f"{item.name} {item.title}", where, ", ".join(errata)))
    if not rows:
        raise CoverageError(f"the article has no section {section!r}; it has {list(SECTIONS)}")
    return markdown_table(("item", "where", "errata"), rows)


def counts(root: Path) -> dict[str, tuple[int, int]]:
    """For each section of the article: how many of its items are covered, and how many it has."""
    covered = covered_by(read_pages(root))
    total = Counter(item.section for item in items())
    there = Counter(item.section for item in items() if item.name in covered)
    return {section: (there[section], total[section]) for section in SECTIONS}


def counts_table(root: Path) -> str:
    """A Markdown table of `counts`, with a line for the whole article."""
    found = counts(root)
    rows = [
        (f"{section} {SECTIONS[section]}", f"{there} of {total}")
        for section, (there, total) in found.items()
    ]
    there, total = map(sum, zip(*found.values(), strict=True))
    return markdown_table(
        ("article", "items covered"), [*rows, ("**all**", f"**{there} of {total}**")]
    )
