"""Code on a page: what is visible fits a column, each fold says what it holds, none is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FOLDING = {"hide-input", "hide-cell"}
UNSEEN = {"remove-cell", "remove-input"}
COLUMNS = 72
KEY = "mystnb"
SEEN = ("text/html", "text/markdown", "image/png", "image/svg+xml")
LABELS = (
    ("How this is checked", ("lab.claim", "key_result(")),
    ("Code of this figure", ("plot.", "Figure(", "show_quality(")),
    ("Code of this table", ("table(",)),
    ("Code of this calculator", ("calculator(",)),
)


def label(source: str) -> str:
    """What a fold of that code is called on the page."""
    for words, signs in LABELS:
        if any(sign in source for sign in signs):
            return words
    return "Code of this output"


def name_folds(cells: Sequence[Mapping[str, Any]]) -> None:
    """Write into each folded cell what its bar says."""
    for cell in cells:
        metadata = cell["metadata"]
        if FOLDING & set(metadata.get("tags", [])):
            words = label("".join(cell["source"]))
            metadata[KEY] = {"code_prompt_show": words, "code_prompt_hide": words}
        else:
            metadata.pop(KEY, None)


def page_fault(cell: Mapping[str, Any]) -> str | None:
    """What is wrong with how an executed code cell looks on a page, if anything."""
    metadata = cell.get("metadata", {})
    tags = set(metadata.get("tags", []))
    if UNSEEN & tags:
        return None
    if not FOLDING & tags:
        longest = max(map(len, "".join(cell["source"]).splitlines()), default=0)
        return f"has a line of {longest} characters: {COLUMNS} fit" if longest > COLUMNS else None
    if "remove-output" in tags or not any(map(_is_seen, cell["outputs"])):
        return "is folded and shows nothing: tag it remove-cell, or remove-input if it is long"
    if metadata.get(KEY, {}).get("code_prompt_show") != label("".join(cell["source"])):
        return "has a fold without its label: run `make labs`"
    return None


def _is_seen(output: Mapping[str, Any]) -> bool:
    if output["output_type"] == "stream":
        return bool("".join(output["text"]).strip())
    return any(kind in output.get("data", {}) for kind in SEEN)
