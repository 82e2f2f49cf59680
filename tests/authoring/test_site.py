"""The book's Sphinx extension: runs of Chinese, aliases of pages that exist, descriptions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

nodes = pytest.importorskip("docutils.nodes")
pytest.importorskip("sphinx")

from docutils.utils import new_document  # noqa: E402

from greenkit.authoring import site  # noqa: E402

ROOT = Path(__file__).parents[2]


def document(*texts: Any) -> Any:
    """A document of one section with these paragraphs."""
    made = new_document("page")
    section = nodes.section()
    section += nodes.title("", "Title")
    for text in texts:
        section += text if isinstance(text, nodes.Node) else nodes.paragraph("", text)
    made += section
    return made


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("says “训练LLM模型的能耗” of it", ["训练LLM模型的能耗"]),
        ("能耗 and 能效", ["能耗", "能效"]),
        ("机器学习（ML）和", ["机器学习（ML）和"]),
        ("推荐使用3.7或以上", ["推荐使用3.7或以上"]),
        ("no “Chinese” – here", []),
    ],
)
def test_a_run_of_chinese_is_found_whole(text: str, runs: list[str]) -> None:
    assert site.RUN.findall(text) == runs


def test_chinese_gets_its_language_and_the_text_stays() -> None:
    made = document("says “能耗” twice: 能耗")
    site.MarkChinese(made).apply()
    marked = [n for n in made.findall(nodes.inline) if site.CHINESE in n["classes"]]
    assert [n.astext() for n in marked] == ["能耗", "能耗"]
    assert made.astext().endswith("says “能耗” twice: 能耗")


def test_code_with_chinese_stays_as_it_is() -> None:
    made = document(nodes.literal_block("", "x = '能耗'"))
    site.MarkChinese(made).apply()
    assert list(made.findall(nodes.inline)) == []


def test_aliases_are_of_pages_in_the_table_of_contents() -> None:
    listed = re.findall(r"- file: (\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
    assert [page for page in site.ALIASES if page not in listed] == []


def test_an_alias_stands_once_for_a_page() -> None:
    assert [w for w in site.ALIASES.values() if len({x.lower() for x in w}) < len(w)] == []


def test_a_chapter_is_described_by_its_question() -> None:
    question = nodes.paragraph("", "", nodes.strong("", "Who notices?"))
    assert site.description(document("First.", question, "Last.")) == "Who notices?"


def test_a_lab_is_described_by_its_question() -> None:
    assert (
        site.description(document("Open.", "Question. How many? And why?")) == "How many? And why?"
    )


def test_another_page_is_described_by_its_first_paragraph() -> None:
    assert site.description(document("First. Second.", "Third.")) == "First. Second."


def test_a_long_description_ends_with_a_sentence_or_a_word() -> None:
    sentences = site.description(document("A sentence of words. " * 20))
    words = site.description(document("word " * 100))
    assert len(sentences) <= site.LONGEST
    assert sentences.endswith("of words.")
    assert len(words) <= site.LONGEST
    assert words.endswith("word…")
