"""The book's sources, without building it: citations exist, files exist, nothing is left out."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted([*ROOT.glob("book/**/*.md"), *ROOT.glob("book/**/*.ipynb")])
LABS = sorted(ROOT.glob("labs/*.ipynb"))
PLAIN_CODE = re.compile(r"^(`{3,})(?!\{)[^\n]*\n.*?^\1`*\s*$", re.DOTALL | re.MULTILINE)
CITATION = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")
BIB_KEY = re.compile(r"^@\w+\{([^,\s]+),", re.MULTILINE)
DOCUMENT = re.compile(r"\{doc\}`(?:[^`<]*<([^>`]+)>|([^`<]+))`")
FILE = re.compile(
    r"\]\((?!\w+:|#)([^)\s#]+)|^\s*[`:]{3,}\{(?:figure|image|include)\}\s*(\S+)", re.M
)


def prose(path: Path) -> str:
    """The Markdown of a chapter or of a notebook's text cells, without plain code blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return PLAIN_CODE.sub("", text)


def target(path: Path, name: str) -> Path:
    """The file that a name in `path` means; a leading slash starts at the repository's root."""
    return ROOT / name.lstrip("/") if name.startswith("/") else path.parent / name


def unknown_citations(path: Path, keys: set[str]) -> list[str]:
    """Cited keys that the bibliography does not have."""
    cited = [key.strip() for found in CITATION.findall(prose(path)) for key in found.split(",")]
    return [key for key in cited if key not in keys]


def missing_targets(path: Path) -> list[str]:
    """Documents, pictures and files that `path` points at and that do not exist."""
    text = prose(path)
    documents = ["".join(found) for found in DOCUMENT.findall(text)]
    missing = [
        name
        for name in documents
        if not any(target(path, name + suffix).is_file() for suffix in (".md", ".ipynb"))
    ]
    files = ["".join(found) for found in FILE.findall(text)]
    return missing + [name for name in files if not target(path, name).is_file()]


@pytest.fixture(scope="module")
def bibliography() -> list[str]:
    """The keys of the book's bibliography, in order."""
    return BIB_KEY.findall((ROOT / "book/references.bib").read_text(encoding="utf-8"))


def test_each_key_of_the_bibliography_is_defined_once(bibliography: list[str]) -> None:
    assert [key for key, count in Counter(bibliography).items() if count > 1] == []


def test_each_citation_is_in_the_bibliography(bibliography: list[str]) -> None:
    unknown = {p.name: unknown_citations(p, set(bibliography)) for p in [*CHAPTERS, *LABS]}
    assert {name: keys for name, keys in unknown.items() if keys} == {}


def test_each_document_and_picture_that_the_text_names_exists() -> None:
    missing = {p.name: missing_targets(p) for p in [*CHAPTERS, *LABS]}
    assert {name: names for name, names in missing.items() if names} == {}


def test_the_table_of_contents_lists_each_chapter_and_lab_once() -> None:
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:root|\s*-?\s*file): (\S+)$", toc, re.MULTILINE)
    listed += re.findall(r"\{file: ([^\s,}]+)", toc)
    there = [p.relative_to(ROOT).with_suffix("").as_posix() for p in [*CHAPTERS, *LABS]]
    assert sorted(listed) == sorted(there)


def test_the_checks_see_what_is_missing(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "{cite:p}`known, gone` {doc}`Text <gone/page>` [x](gone.md#here) [y](https://host/z)\n"
        "```{figure} gone.svg\n:alt: words\n```\n```python\na[0](b)\n```\n",
        encoding="utf-8",
    )
    assert unknown_citations(page, {"known"}) == ["gone"]
    assert missing_targets(page) == ["gone/page", "gone.md", "gone.svg"]
