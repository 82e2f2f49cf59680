"""The errata page: complete, in step with the chapters, and its table not stale."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from greenkit.authoring import coverage

ROOT = Path(__file__).parents[2]
ALL = [f"E{number:02d}" for number in range(1, 51)]
TO_COME = (
    *("E11", "E12", "E13", "E15", "E16", "E17", "E20", "E36", "E37", "E39"),
    *("E41", "E42", "E43", "E44", "E45", "E46", "E48", "E49"),
)
GRADES = {"wrong", "inconsistent", "unsupported", "vague", "outdated"}


@pytest.fixture(scope="module")
def errata() -> list[coverage.Erratum]:
    return coverage.read_errata(ROOT)


@pytest.fixture(scope="module")
def bodies() -> dict[str, str]:
    """The text below each entry's heading, up to the next heading."""
    parts = re.split(r"^#{2,3} (?:(E\d\d): )?.*$", coverage.errata_text(ROOT), flags=re.MULTILINE)
    return {name: text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name}


def test_an_erratum_is_taught_or_to_come_and_never_both(errata: list[coverage.Erratum]) -> None:
    taught = [entry.name for entry in errata]
    assert sorted([*taught, *coverage.errata_to_come(ROOT)]) == ALL


def test_those_to_come_are_the_ones_of_later_parts() -> None:
    assert sorted(coverage.errata_to_come(ROOT)) == sorted(TO_COME)


def test_each_grade_is_a_word_that_the_page_explains(errata: list[coverage.Erratum]) -> None:
    assert {word for entry in errata for word in entry.grade.split(" and ")} == GRADES
    text = coverage.errata_text(ROOT)
    assert [grade for grade in GRADES if f"\n{grade}\n: " not in text] == []


def test_each_entry_says_what_is_wrong_and_what_is_right(bodies: dict[str, str]) -> None:
    labels = ("\nIt says\n: ", "\nWhat is wrong with it\n: ", "\nWhat is right\n: ")
    assert [n for n, text in bodies.items() if any(text.count(lb) != 1 for lb in labels)] == []


def test_each_entry_on_the_article_quotes_it_in_chinese_or_as_a_formula(
    bodies: dict[str, str],
) -> None:
    quoted = re.compile(r"“[^”]*[\u4e00-\u9fff][^”]*”|\$E|`model\.fit")
    assert [n for n, text in bodies.items() if not quoted.search(text)] == ["E50"]


def test_what_the_page_teaches_is_what_the_chapters_correct(
    errata: list[coverage.Erratum],
) -> None:
    claimed = {(name, p.path) for p in coverage.read_pages(ROOT) for name in p.corrects}
    assert {(entry.name, path) for entry in errata for path in entry.pages} == claimed


def test_the_table_at_the_top_is_not_stale() -> None:
    cells = json.loads((ROOT / coverage.ERRATA_PAGE).read_text(encoding="utf-8"))["cells"]
    (table,) = (c for c in cells if c["id"] == "glance-table")
    shown = "".join(table["outputs"][0]["data"]["text/markdown"])
    assert shown == coverage.errata_table(ROOT)


def test_an_entry_whose_anchor_is_not_its_name_is_refused(tmp_path: Path) -> None:
    entry = "(e02)=\n### E01: Title\n\n**wrong** · section 1 · taught in {doc}`../a/b`\n"
    page = tmp_path / coverage.ERRATA_PAGE
    page.parent.mkdir(parents=True)
    page.write_text(
        json.dumps({"cells": [{"cell_type": "markdown", "source": [entry]}]}), encoding="utf-8"
    )
    with pytest.raises(coverage.CoverageError, match="anchor 'e02'"):
        coverage.read_errata(tmp_path)
