"""The text: what cleaning keeps, and that no article is in two splits."""

from __future__ import annotations

import bz2
import re
import sys
from pathlib import Path

import pytest

from greenkit.inputs import AssetError, Text, load_text, texts

LONG = "The quick brown fox jumps over the lazy dog and then goes on to write eighty characters"


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        (f"'''{LONG}'''<ref>Smith 2001</ref>.", f"{LONG}."),
        (f"{LONG} [[Fox (animal)|a fox]] ran [[home]].", f"{LONG} a fox ran home."),
        (f"{LONG}.\n{{| class=wikitable\n| {LONG}\n|}}", f"{LONG}."),
        (f"{LONG}<math>x^2 + {LONG}</math>.", f"{LONG}."),
        (f"<gallery>\nFile:A.jpg|{LONG}\n</gallery>\n{LONG}.", f"{LONG}."),
        (f"[[File:A.jpg|thumb|{LONG}]]\n{LONG}.", f"{LONG}."),
        (f"[[Category:{LONG}]]\n{LONG}.", f"{LONG}."),
        (f"{{{{Infobox|text={LONG}}}}}\n{LONG}.", f"{LONG}."),
        (f"== Heading ==\n* a short item\n{LONG}.", f"{LONG}."),
        (f"{LONG} [[unclosed", ""),
        (f"''{LONG}.<ref>an 'unmatched '' quote</ref>", f"{LONG}."),
    ],
)
def test_prose_keeps_running_text_only(wikitext: str, expected: str) -> None:
    pytest.importorskip("mwparserfromhell")
    assert texts.prose(wikitext) == expected


@pytest.mark.parametrize("version", ["0.10", "0.11"])
def test_only_articles_that_are_no_redirects_are_read(tmp_path: Path, version: str) -> None:
    page = "<page><title>{}</title><ns>{}</ns>{}<revision><text>{}</text></revision></page>"
    pages = [
        page.format("Fox", 0, "", "prose"),
        page.format("Foxes", 0, '<redirect title="Fox" />', "#REDIRECT"),
        page.format("Talk:Fox", 1, "", "chat"),
    ]
    namespace = f"http://www.mediawiki.org/xml/export-{version}/"
    dump = tmp_path / "dump.bz2"
    dump.write_bytes(
        bz2.compress(f'<mediawiki xmlns="{namespace}">{"".join(pages)}</mediawiki>'.encode())
    )
    assert list(texts.encyclopedia_pages(dump)) == [("Fox", "prose")]


def test_an_article_stays_in_its_split_whatever_the_order() -> None:
    articles = [texts.Article(f"title {n}", "") for n in range(96)]
    forward, backward = texts.split_articles(articles), texts.split_articles(articles[::-1])
    for name, chosen in forward.items():
        assert set(chosen) == set(backward[name])


def test_every_article_is_in_one_split() -> None:
    articles = [texts.Article(f"title {n}", "") for n in range(96)]
    dealt = [article for chosen in texts.split_articles(articles).values() for article in chosen]
    assert sorted(dealt, key=str) == sorted(articles, key=str)


def test_a_text_joins_its_articles_with_an_empty_line() -> None:
    articles = (texts.Article("A", "one"), texts.Article("B", "two"))
    assert Text("test", articles, "CC BY-SA 3.0", "").text == "one\n\ntwo"


def test_an_unknown_split_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="train, calibration, test"):
        load_text("validation")  # type: ignore[arg-type]


@pytest.mark.usefixtures("cache")
def test_without_the_parser_and_without_a_cache_the_error_names_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mwparserfromhell", None)
    with pytest.raises(AssetError, match="pip install mwparserfromhell"):
        load_text("test")


@pytest.mark.slow
class TestWikipedia:
    def test_the_splits_share_no_article_and_no_paragraph(self) -> None:
        seen: set[str] = set()
        for split in ("train", "calibration", "test"):
            text = load_text(split)
            lines = {line for article in text.articles for line in article.text.splitlines()}
            keys = {article.title for article in text.articles} | lines
            assert not keys & seen
            seen |= keys

    @pytest.mark.parametrize(
        ("split", "articles"), [("train", 64), ("calibration", 12), ("test", 20)]
    )
    def test_a_split_has_its_number_of_articles(self, split: texts.Split, articles: int) -> None:
        assert len(load_text(split).articles) == articles

    def test_no_markup_is_left(self) -> None:
        marks = re.compile(r"\{\{|\[\[|</?ref|\{\||''")
        for split in ("train", "calibration", "test"):
            assert not marks.search(load_text(split).text)

    def test_a_machine_without_the_parser_uses_the_cached_text(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load_text("test")
        monkeypatch.setitem(sys.modules, "mwparserfromhell", None)
        assert load_text("test").attribution.startswith("English Wikipedia")
