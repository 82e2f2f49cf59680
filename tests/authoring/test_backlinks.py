"""A page's own words and errata are those that the glossary and the errata page give to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenkit.authoring.backlinks import Backlinks, backlinks

GLOSSARY = """# Glossary

:::{glossary}
joule
焦耳
  Energy. Taught in {doc}`Units <../foundations/units>`, {doc}`Lab 01 <../../labs/01_a>`.

watt
瓦特
  The unit of power. Taught in {doc}`Units <../foundations/units>`.
:::
"""
ERRATA = "(e01)=\n### E01: Title\n\n**wrong** · section 1 · taught in {doc}`../foundations/units`\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "book/reference"
    folder.mkdir(parents=True)
    (folder / "glossary.md").write_text(GLOSSARY, encoding="utf-8")
    cells = [{"cell_type": "markdown", "source": [ERRATA]}]
    (folder / "errata.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("book/foundations/units", Backlinks(("joule", "watt"), ("E01",))),
        ("labs/01_a", Backlinks(("joule",), ())),
        ("book/foundations/other", Backlinks((), ())),
    ],
)
def test_a_page_has_what_the_reference_pages_give_to_it(
    root: Path, page: str, found: Backlinks
) -> None:
    assert backlinks(root, page) == found
