"""The coverage page: the article's items are counted right, and the markers tell the truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenkit.authoring import coverage

ROOT = Path(__file__).parents[2]
PARTS = (
    *("Foundations", "Metering", "Compressing", "Computing", "Hardware", "Managing", "Cases"),
    *("Project", "Reference"),
)
# The article's own numbering: section by section, how many items each group has.
GROUPS = {
    "S0": 2, "S1": 4, "S2": 4, "S3.1": 4, "S3.2.1": 3, "S3.2.2": 3, "S3.2.3": 3, "S3.2.4": 3,
    "S3.3": 2, "S3.4": 1, "S4.1": 2, "S4.2": 3, "S4.3": 2, "S4.4": 3, "S5.1": 2, "S5.2": 1,
    "S5.3": 1, "S5.4": 3, "S5.5": 2, "S5.6": 1, "S6.1": 1, "S6.2": 1, "S6.3": 1, "S6.4": 1,
    "S6.5": 3, "S7.1.1": 3, "S7.1.2": 3, "S7.2.1": 2, "S7.2.2": 2, "S7.2.3": 2, "S7.3.1": 3,
    "S7.3.2": 3, "S7.3.3": 3, "S8.1": 3, "S8.2": 4, "S8.3": 3, "S8.4": 4, "S9": 8,
}  # fmt: skip
COMPLETE = ("S0", "S1", "S2", "S3.1", "S4", "S5", "S9.1", "S9.3", "S9.5")
WORDS_FOR_AN_ITEM = 50
# E50 is about another text than the article, and E05 is taught twice.
NO_ITEM_OF_THEIRS = {"book/foundations/carbon.ipynb": {"E05", "E50"}}


def in_group(name: str, group: str) -> bool:
    """S3.1.2 is in S3.1 and in S3, S5.4a is in S5.4; S9.1 is not in S9.10."""
    rest = name.removeprefix(group)
    return rest != name and (rest == "" or rest[0] == "." or rest.isalpha())


@pytest.fixture(scope="module")
def pages() -> list[coverage.Page]:
    return coverage.read_pages(ROOT)


def notebook(folder: Path, path: str, *texts: str) -> None:
    """A notebook of these texts below a folder, and a table of contents that lists it."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "markdown", "source": text.splitlines(True)} for text in texts]
    (folder / path).write_text(json.dumps({"cells": cells}), encoding="utf-8")
    (folder / "_toc.yml").write_text(f"- file: {path.removesuffix('.ipynb')}\n", encoding="utf-8")


def test_the_article_has_99_items() -> None:
    names = [item.name for item in coverage.items()]
    assert len(names) == len(set(names)) == 99


def test_each_group_has_as_many_items_as_in_the_article() -> None:
    names = [item.name for item in coverage.items()]
    assert {g: sum(in_group(n, g) for n in names) for g in GROUPS} == GROUPS
    assert sum(GROUPS.values()) == 99


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [
        ("S8.1.1", "S8.1.3", 3),
        ("S8.2.1", "S8.2.4", 4),
        ("S3.1.1", "S3.1.4", 4),
        ("S9.1", "S9.8", 8),
    ],
)
def test_a_range_of_the_article_is_whole_and_in_order(first: str, last: str, count: int) -> None:
    names = [item.name for item in coverage.items()]
    between = names[names.index(first) : names.index(last) + 1]
    stem, number = first[:-1], int(first[-1])
    assert between == [f"{stem}{n}" for n in range(number, number + count)]


def test_each_item_has_a_title_a_part_and_known_errata() -> None:
    known = {f"E{number:02d}" for number in range(1, 50)}  # E50 is not the article's
    for item in coverage.items():
        assert item.title
        assert item.part in PARTS
        assert set(item.errata) <= known


def test_each_erratum_of_the_article_belongs_to_an_item() -> None:
    assigned = {name for item in coverage.items() for name in item.errata}
    assert assigned == {f"E{number:02d}" for number in range(1, 50)}


def test_each_marker_names_a_known_item_and_erratum(pages: list[coverage.Page]) -> None:
    coverage.covered_by(pages)
    known = {f"E{number:02d}" for number in range(1, 51)}
    assert [(p.path, n) for p in pages for n in p.corrects if n not in known] == []


@pytest.mark.parametrize("group", COMPLETE)
def test_the_parts_that_are_complete_cover_their_items(
    group: str, pages: list[coverage.Page]
) -> None:
    covered = coverage.covered_by(pages)
    wanted = [item.name for item in coverage.items() if in_group(item.name, group)]
    assert wanted
    assert [name for name in wanted if name not in covered] == []


def test_a_page_that_corrects_an_erratum_covers_an_item_with_it(
    pages: list[coverage.Page],
) -> None:
    of_item = {item.name: item.errata for item in coverage.items()}
    for page in pages:
        about = {erratum for name in page.covers for erratum in of_item[name]}
        strange = set(page.corrects) - about - NO_ITEM_OF_THEIRS.get(page.path, set())
        assert (page.path, strange) == (page.path, set())


def test_who_claims_items_has_text_for_them(pages: list[coverage.Page]) -> None:
    short = [p.path for p in pages if p.words < WORDS_FOR_AN_ITEM * len(p.covers)]
    assert short == []


def test_the_tables_of_the_page_are_not_stale() -> None:
    path = ROOT / "book/reference/coverage.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    shown = {
        c["id"].removesuffix("-table"): "".join(c["outputs"][0]["data"]["text/markdown"])
        for c in cells
        if c["id"].endswith("-table")
    }
    wanted = {s.lower(): coverage.section_table(ROOT, s) for s in coverage.SECTIONS}
    assert shown == {**wanted, "counts": coverage.counts_table(ROOT)}


def test_markers_are_read_from_the_first_text(tmp_path: Path) -> None:
    notebook(tmp_path, "book/a/b.ipynb", "# Title\n\n% covers: S1.1 S1.2\n% corrects: E01\n", "x")
    (page,) = coverage.read_pages(tmp_path)
    assert (page.title, page.covers, page.corrects) == ("Title", ("S1.1", "S1.2"), ("E01",))


def test_a_page_that_does_not_exist_claims_nothing(tmp_path: Path) -> None:
    notebook(tmp_path, "book/a/b.ipynb", "# Title\n\n% covers: S1.1\n")
    (tmp_path / "book/a/b.ipynb").unlink()
    assert coverage.read_pages(tmp_path) == []


def test_an_unknown_item_is_refused(tmp_path: Path) -> None:
    notebook(tmp_path, "book/a/b.ipynb", "# Title\n\n% covers: S1.9\n")
    with pytest.raises(coverage.CoverageError, match=r"'S1\.9', which is no item"):
        coverage.covered_by(coverage.read_pages(tmp_path))


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (("# Title\n", "% covers: S1.1\n"), "outside its first text"),
        (("Text\n",), "does not begin with a title"),
        (("# Title\n\n% covers: S1.1 S1.1\n",), "S1.1 twice"),
    ],
)
def test_a_page_that_would_be_misread_is_refused(
    tmp_path: Path, texts: tuple[str, ...], complaint: str
) -> None:
    notebook(tmp_path, "book/a/b.ipynb", *texts)
    with pytest.raises(coverage.CoverageError, match=complaint):
        coverage.read_pages(tmp_path)
