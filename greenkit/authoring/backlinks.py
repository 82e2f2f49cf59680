"""Links from a chapter or a lab back to the reference pages that link to it.

The glossary says of each word where it is taught, and the errata page of each entry; this turns
both around, so that nobody has to keep a second list.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

from greenkit.authoring.coverage import read_errata

GLOSSARY = "book/reference/glossary"
COVERAGE = "book/reference/coverage"
PARTS = ("book/foundations/", "book/metering/", "book/compressing/", "labs/")

_ENTRY = re.compile(r"^(?P<word>\S.*)\n\S.*\n  (?P<text>.+)$", re.MULTILINE)
_DOCUMENT = re.compile(r"\{doc\}`[^`<]*<([^>`]+)>`")


@dataclass(frozen=True)
class Backlinks:
    """The words of the glossary and the errata, such as "E07", that name one page."""

    words: tuple[str, ...]
    errata: tuple[str, ...]


def backlinks(root: Path, page: str) -> Backlinks:
    """What the glossary and the errata page below `root` say is taught in `page`.

    Args:
        root: folder of the book's sources.
        page: path of a chapter or lab below it, without its suffix.
    """
    glossary = (root / f"{GLOSSARY}.md").read_text(encoding="utf-8")
    words = [
        entry["word"]
        for entry in _ENTRY.finditer(glossary)
        if page in map(_from_glossary, _DOCUMENT.findall(entry["text"]))
    ]
    errata = [entry.name for entry in read_errata(root) if f"{page}.ipynb" in entry.pages]
    return Backlinks(tuple(words), tuple(errata))


def _from_glossary(path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(GLOSSARY), path))


class AddBacklinks(SphinxTransform):
    """End a chapter or lab with links to its words, to its errata and to the coverage page."""

    default_priority = 600

    def apply(self, **kwargs: Any) -> None:
        page = self.env.docname
        last = next(self.document.findall(nodes.section), None)
        if last is None or not page.startswith(PARTS):
            return
        found = backlinks(Path(self.env.srcdir), page)
        lines = [
            ("Words", [self._link("term", word, word) for word in found.words]),
            ("Errata", [self._link("ref", name.lower(), name) for name in found.errata]),
            ("Source article", [self._link("doc", f"/{COVERAGE}", "what it says and where")]),
        ]
        block = nodes.container(classes=["gk-backlinks"])
        block += [_line(title, links) for title, links in lines if links]
        last += block

    def _link(self, kind: str, target: str, text: str) -> nodes.Node:
        return addnodes.pending_xref(
            "",
            nodes.inline(text, text),
            refdomain="std",
            reftype=kind,
            reftarget=target,
            refdoc=self.env.docname,
            refexplicit=True,
            refwarn=True,
        )


def _line(title: str, links: list[nodes.Node]) -> nodes.Node:
    listed = nodes.inline()
    for i, link in enumerate(links):
        listed += [nodes.Text(", "), link] if i else [link]
    return nodes.paragraph("", "", nodes.strong(title, title), nodes.Text(" "), listed)
