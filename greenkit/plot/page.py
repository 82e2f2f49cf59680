"""Pieces of a page in HTML: the badge of a provenance, and a drawing with its caption."""

from __future__ import annotations

import html
import re

from greenkit.foundations import Provenance

_WORD = re.compile(rf"\b({'|'.join(Provenance)})\b(?!\*|</)")


def badge(word: str) -> str:
    """A provenance as a badge: the word, with a swatch told apart by its pattern."""
    return f'<span class="gk-badge gk-{word}">{word}</span>'


def badged(text: str) -> str:
    """A text, already HTML or Markdown, with a badge in place of each word of provenance."""
    return _WORD.sub(lambda found: badge(found[1]), text)


def framed(drawing: str, caption: str = "", source: str = "") -> str:
    """A drawing as an HTML figure with what it teaches and where its numbers come from."""
    words = html.escape(caption, quote=False)
    if source:
        words += f' <span class="gk-source">{badged(html.escape(source, quote=False))}</span>'
    below = f"<figcaption>{words}</figcaption>" if words else ""
    return f'<figure class="gk-figure">{drawing}{below}</figure>'
