"""The book's own Sphinx extension: Chinese is marked as such, a search knows other spellings, and
a page is described by the question that it opens with.

`_config.yml` names it among the extensions; nothing else imports it.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

from greenkit.authoring.backlinks import AddBacklinks

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CHINESE = "language-zh-Hans"  # docutils writes a class language-X as the attribute lang="X"
# What people type, by the page that answers it. A page's own words are found without this.
ALIASES = {
    "book/foundations/carbon": ("CO2", "carbon dioxide", "carbon footprint", "greenhouse gas"),
    "book/foundations/concepts": ("energy efficiency", "green AI", "rebound effect"),
    "book/foundations/formulas": ("equations", "units", "kilowatt-hour", "kWh", "MFU"),
    "book/metering/anatomy": ("roofline", "memory bound", "compute bound", "KV cache"),
    "book/metering/joules_per_token": ("energy per token", "J/token", "tokens per joule"),
    "book/metering/sensors": ("RAPL", "NVML", "nvidia-smi", "power meter", "energy meter"),
    "book/compressing/pruning": ("prune", "sparse", "sparsification", "Wanda", "SparseGPT"),
    "book/compressing/quantization": ("quantisation", "quantise", "quantize", "int4", "GPTQ"),
    "book/compressing/distillation": ("distil", "distill", "knowledge distillation"),
    "book/reference/glossary": ("dictionary", "terms", "vocabulary"),
    "labs/01_first_joule": ("energy per token", "getting started", "first measurement"),
    "labs/04_pruning": ("prune",),
    "labs/05_quantization": ("quantisation", "quantise"),
    "labs/06_distillation": ("distil",),
}
ALIAS_ANCHOR = "gk-page"
LONGEST = 200  # characters of a description; search engines cut longer ones
QUESTION = "Question."

_HAN = r"[\u2e80-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]"
# A run goes on over what stands between two Chinese characters without a space, such as LLM.
RUN = re.compile(rf"({_HAN}(?:[\w.,%+·-]*{_HAN})*)")


class MarkChinese(SphinxTransform):
    """Put each run of Chinese characters into an element with its language."""

    default_priority = 700

    def apply(self, **kwargs: Any) -> None:
        for text in list(self.document.findall(nodes.Text)):
            parent = text.parent
            if isinstance(parent, nodes.FixedTextElement | nodes.Invisible | nodes.raw):
                continue
            pieces = RUN.split(text.astext())
            if len(pieces) == 1:
                continue
            marked = [
                nodes.inline(piece, piece, classes=[CHINESE]) if i % 2 else nodes.Text(piece)
                for i, piece in enumerate(pieces)
                if piece
            ]
            parent.replace(text, marked)


class AddAliases(SphinxTransform):
    """Give a page the index entries of `ALIASES`; the search page looks through the index."""

    default_priority = 700  # the index is collected at 850

    def apply(self, **kwargs: Any) -> None:
        words = ALIASES.get(self.env.docname, ())
        first = next(self.document.findall(nodes.section), None)
        if not words or first is None:
            return
        # A main entry comes before what the words of other pages match.
        entries = [("single", word, ALIAS_ANCHOR, "main", None) for word in words]
        first.insert(1, addnodes.index(entries=entries))
        first["ids"].append(ALIAS_ANCHOR)


def description(document: nodes.document) -> str:
    """What a page is about in at most `LONGEST` characters: its question, else its first sentence.

    Chapters open with their question in bold, labs with "Question." before it.
    """
    paragraphs = [
        p
        for p in document.findall(nodes.paragraph)
        if isinstance(p.parent, nodes.section | nodes.container)
    ]
    for paragraph in paragraphs:
        text = " ".join(paragraph.astext().split())
        if text.startswith(QUESTION):
            return _short(text.removeprefix(QUESTION).lstrip())
        if isinstance(paragraph[0], nodes.strong) and text.endswith("?"):
            return _short(text)
    return _short(" ".join(paragraphs[0].astext().split())) if paragraphs else ""


def _short(text: str) -> str:
    """Whole sentences as far as they fit, else whole words and an ellipsis."""
    if len(text) <= LONGEST:
        return text
    sentences = text[:LONGEST].rpartition(". ")[0]
    return f"{sentences}." if sentences else text[: LONGEST - 1].rpartition(" ")[0] + "…"


def describe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None
) -> None:
    """Say what a page is about, to search engines and, through sphinxext-opengraph, elsewhere."""
    if page == app.config.root_doc:
        context["docstitle"] = "energy-efficient language models, measured"  # behind its title
    if document is None or not (text := description(document)):
        return
    kind = "lab" if page.startswith("labs/") else "page"
    whole = f"{text} A {kind} of {app.config.project}, an open course on efficient language models."
    if page != app.config.root_doc and len(whole) <= LONGEST:
        text = whole
    context["metatags"] += f'<meta name="description" content="{html.escape(text)}" />\n'
    context["meta"] = {**(context["meta"] or {}), "og:description": html.escape(text)}


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_transform(MarkChinese)
    app.add_transform(AddAliases)
    app.add_transform(AddBacklinks)
    app.connect("html-page-context", describe, priority=400)  # before sphinxext-opengraph
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
