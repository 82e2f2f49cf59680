"""Real prose for calibration, training and evaluation: Wikipedia articles, cleaned once."""

from __future__ import annotations

import bz2
import hashlib
import importlib.util
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from greenkit.inputs import cache
from greenkit.inputs.assets import ASSETS, AssetError
from greenkit.inputs.fetching import fetch
from greenkit.inputs.progress import progress_bar

Split = Literal["train", "calibration", "test"]

CLEANING = 1  # raise it when the cleaning below changes what it returns
SPLIT_SEED = 0
TEST_ARTICLES = 20
CALIBRATION_ARTICLES = 12
MIN_LINE_CHARACTERS = 80
MIN_ARTICLE_CHARACTERS = 1000
ROOM_BYTES = 10_000_000

_DROPPED_TAGS = {"gallery", "math", "ref", "references", "score", "table", "timeline"}
_DROPPED_LINKS = {"category", "file", "image"}
# Wikitext is written by people: where quotes or brackets do not match, some markup stays unparsed.
_LEFT_OVER_REFERENCE = re.compile(r"<ref\b[^>]*/>|<ref\b.*?</ref>", re.DOTALL)
_LEFT_OVER_QUOTES = re.compile(r"'{2,}")
_LEFT_OVER_MARKUP = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|</?ref")


@dataclass(frozen=True)
class Article:
    """One article: its title and its prose, a paragraph per line."""

    title: str
    text: str


@dataclass(frozen=True)
class Text:
    """One split of a text: whole articles, none of which is in another split."""

    split: Split
    articles: tuple[Article, ...]
    licence: str
    attribution: str

    @cached_property
    def text(self) -> str:
        """The articles one after the other, an empty line between two."""
        return "\n\n".join(article.text for article in self.articles)


def load_text(split: Split) -> Text:
    """One split of the Wikipedia extract, cleaned and kept in the cache at first use.

    "test" has 20 articles, "calibration" 12 and "train" the other 64. Wikipedia is very likely
    in the training data of any pretrained model: compare perplexities, do not quote one alone.
    Raises AssetError if the text cannot be fetched or cleaned, ValueError on another split.
    """
    if split not in get_args(Split):
        raise ValueError(f"There is no split {split!r}: use {', '.join(get_args(Split))}.")
    content = json.loads(prepare_text().read_text(encoding="utf-8"))
    asset = ASSETS["wikipedia"]
    articles = tuple(Article(**article) for article in content[split])
    return Text(split, articles, asset.licence, asset.attribution)


def prepare_text(*, progress: bool = True) -> Path:
    """The cached JSON file with all splits, fetched and cleaned first if it is not there."""
    asset = ASSETS["wikipedia"]
    entry, file = "texts/wikipedia", "articles.json"
    stamp = f"{asset.sha256}-{CLEANING}"
    folder = cache.cache_folder() / entry
    if cache.flaw(folder, stamp) is None:
        return folder / file
    if importlib.util.find_spec("mwparserfromhell") is None:
        raise AssetError(
            "The Wikipedia text is cleaned once, and that takes mwparserfromhell: run "
            "`pip install mwparserfromhell`, or copy the cache of a machine that has the text."
        )
    dump = fetch("wikipedia", progress=progress)

    def build(fresh: Path) -> dict[str, Any]:
        cache.say("cleaning the Wikipedia text, once (about 15 s)")
        articles = []
        with progress_bar("wikipedia", None, "article", shown=progress) as bar:
            for title, wikitext in encyclopedia_pages(dump):
                text = prose(wikitext)
                if len(text) >= MIN_ARTICLE_CHARACTERS:
                    articles.append(Article(title, text))
                bar.update()
        splits = {
            name: [{"title": article.title, "text": article.text} for article in chosen]
            for name, chosen in split_articles(articles).items()
        }
        (fresh / file).write_text(json.dumps(splits, ensure_ascii=False), encoding="utf-8")
        return {
            "text": "wikipedia",
            "source": asset.file,
            "source_sha256": asset.sha256,
            "licence": asset.licence,
            "attribution": asset.attribution,
            "method": f"cleaning {CLEANING}, split by article with seed {SPLIT_SEED}",
            "articles": {name: len(chosen) for name, chosen in splits.items()},
        }

    return cache.stored(entry, stamp, ROOM_BYTES, build) / file


def encyclopedia_pages(dump: Path) -> Iterator[tuple[str, str]]:
    """Title and wikitext of each page of a MediaWiki dump that is an article, not a redirect."""
    with bz2.open(dump) as file:
        for _, element in ElementTree.iterparse(file):
            if _local(element) != "page":
                continue
            parts = {_local(part): part for part in element.iter()}
            if parts["ns"].text == "0" and "redirect" not in parts:
                yield parts["title"].text or "", parts["text"].text or ""
            element.clear()


def _local(element: ElementTree.Element) -> str:
    """A tag without the namespace, which carries the version of the dump's format."""
    return element.tag.rpartition("}")[2]


def prose(wikitext: str) -> str:
    """The running text of a page: no references, tables, galleries, formulas, files or lists.

    Only lines of 80 characters or more are kept: shorter ones are headings and list items.
    """
    import mwparserfromhell
    from mwparserfromhell.nodes import Tag, Wikilink

    code = mwparserfromhell.parse(wikitext)
    for node in code.filter(forcetype=(Tag, Wikilink)):
        if isinstance(node, Tag):
            dropped = str(node.tag).strip().lower() in _DROPPED_TAGS
        else:
            space, colon, _ = str(node.title).partition(":")
            dropped = bool(colon) and space.strip().lower() in _DROPPED_LINKS
        if dropped:
            with suppress(ValueError):  # it went with the node that held it
                code.remove(node)
    plain = _LEFT_OVER_REFERENCE.sub("", str(code.strip_code()))
    plain = _LEFT_OVER_QUOTES.sub("", plain)
    lines = (" ".join(line.split()) for line in plain.splitlines())
    return "\n".join(
        line
        for line in lines
        if len(line) >= MIN_LINE_CHARACTERS and not _LEFT_OVER_MARKUP.search(line)
    )


def split_articles(articles: list[Article]) -> dict[Split, list[Article]]:
    """Deal articles out to the splits by a hash of seed and title, whatever their order."""

    def place(article: Article) -> str:
        return hashlib.sha256(f"{SPLIT_SEED}/{article.title}".encode()).hexdigest()

    rank = {article.title: n for n, article in enumerate(sorted(articles, key=place))}
    splits: dict[Split, list[Article]] = {"train": [], "calibration": [], "test": []}
    for article in articles:
        if rank[article.title] < TEST_ARTICLES:
            splits["test"].append(article)
        elif rank[article.title] < TEST_ARTICLES + CALIBRATION_ARTICLES:
            splits["calibration"].append(article)
        else:
            splits["train"].append(article)
    return splits
