"""The glossary: the course's own words are in it, in two languages, sorted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book/reference/glossary.md"
WORDS = (
    "energy",
    "power",
    "carbon",
    "carbon intensity",
    "PUE",
    "embodied",
    "prefill",
    "decode",
    "J/token",
    "perplexity",
    "sparsity",
    "group size",
    "teacher",
    "student",
    "energy to quality",
    "reading",
    "window",
    "trace",
    *("measured", "estimated", "replayed", "simulated", "published"),
)
PAGE_NAMED = re.compile(r"\{doc\}`[^`<]*<([^>]+)>`")
OTHER_FORM = {"energy to quality": "energy to a quality", "estimated": "estimate"}
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENTRY = re.compile(r"^(?P<english>\S.*)\n(?P<chinese>\S.*)\n  (?P<text>.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def entries() -> list[tuple[str, str, str]]:
    """English term, Chinese term and definition of each entry, in the page's order."""
    body = PAGE.read_text(encoding="utf-8").partition("{glossary}\n")[2].rpartition("\n:::")[0]
    blocks = body.strip().split("\n\n")
    found = [ENTRY.fullmatch(block) for block in blocks]
    unread = [block for block, entry in zip(blocks, found, strict=True) if entry is None]
    assert unread == []
    return [(e["english"], e["chinese"], e["text"]) for e in found if e is not None]


@pytest.mark.parametrize("word", WORDS)
def test_the_words_of_the_course_have_an_entry(
    word: str, entries: list[tuple[str, str, str]]
) -> None:
    assert word in [english for english, _, _ in entries]


def test_each_entry_has_a_chinese_term_and_an_english_one(
    entries: list[tuple[str, str, str]],
) -> None:
    assert [e for e, chinese, _ in entries if not CHINESE.search(chinese)] == []
    assert [e for e, _, _ in entries if CHINESE.search(e)] == []


def test_entries_are_sorted_and_none_stands_twice(entries: list[tuple[str, str, str]]) -> None:
    names = [english.lower() for english, _, _ in entries]
    assert names == sorted(set(names))


def test_no_chinese_term_stands_for_two_english_ones(entries: list[tuple[str, str, str]]) -> None:
    terms = [chinese for _, chinese, _ in entries]
    assert len(terms) == len(set(terms))


def test_each_entry_says_where_it_is_taught(entries: list[tuple[str, str, str]]) -> None:
    unplaced = [e for e, _, text in entries if "{doc}`" not in text and "to come" not in text]
    assert unplaced == []


def test_each_page_that_an_entry_names_uses_its_word(entries: list[tuple[str, str, str]]) -> None:
    named = {path for _, _, text in entries for path in PAGE_NAMED.findall(text)}
    prose = {path: page_text(path) for path in named}
    absent = [
        (english, path)
        for english, _, text in entries
        for path in PAGE_NAMED.findall(text)
        if OTHER_FORM.get(english, english).lower() not in prose[path]
    ]
    assert absent == []


def page_text(path: str) -> str:
    """Text and code of a notebook in lower case, on one line."""
    notebook = json.loads((PAGE.parent / f"{path}.ipynb").read_text(encoding="utf-8"))
    return " ".join(" ".join("".join(c["source"]).split()) for c in notebook["cells"]).lower()
