"""No typed measurement in the prose: a number with a unit is glued, cited, or named as given.

A paragraph (or table) with a number in a unit of energy, power, carbon or time needs a `{glue:…}`
or a `{cite…}` in it, or an HTML comment `<!-- given: 100 ms; 2 kW -->` in the same cell that names
the number as an input chosen by the author: an exact definition, a setting, an exercise's datum.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("book/**/*.md"), *ROOT.glob("book/**/*.ipynb"), *ROOT.glob("labs/*.ipynb")]
)
UNIT = (
    r"(?:[mkMGTpnµ]?J(?:/\w+)?|[mkMGT]?Wh|[mkMGTµ]?W|[mµk]?gCO2e(?:/kWh)?|tCO2e|(?:kg|g)/kWh"
    r"|[mµn]?s|min|h|seconds?|minutes?|hours?|days?|weeks?|months?|years?)"
)
NUMBER = re.compile(
    rf"(?<![\w.^{{])(~?\d[\d,.]*(?:\s?(?:to|–|×10\^\d+)\s?\d[\d,.]*)?\s?{UNIT})(?![\w/])"
)
GIVEN = re.compile(r"<!--\s*given:(.*?)-->", re.DOTALL)
CODE = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1\s*$|`[^`\n]*`(?!\w)", re.DOTALL | re.MULTILINE)
SOURCED = re.compile(r"\{cite|\{glue:")
TITLE = re.compile(r"^\s*(?:#+ |:{3,}\{|:\w+:|% )")


def cells(path: Path) -> list[str]:
    """The Markdown cells of a notebook, or a Markdown file as one cell."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return [text]
    found = json.loads(text)["cells"]
    return ["".join(c["source"]) for c in found if c["cell_type"] == "markdown"]


def typed(cell: str) -> list[str]:
    """Numbers with a unit that are neither glued, cited nor given."""
    given = {g.strip() for found in GIVEN.findall(cell) for g in found.split(";")}
    text = GIVEN.sub("", cell)
    roles = re.sub(r"(\{[\w:]+\})`([^`\n]*)`", r"\1", text)
    plain = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "", CODE.sub("", roles), flags=re.DOTALL)
    found: list[str] = []
    for block in re.split(r"\n\s*\n", plain):
        if SOURCED.search(block):
            continue
        lines = [line for line in block.splitlines() if not TITLE.match(line)]
        found += NUMBER.findall("\n".join(lines))
    return [number for number in found if number not in given]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_no_number_with_a_unit_is_typed(path: Path) -> None:
    assert [number for cell in cells(path) for number in typed(cell)] == []


@pytest.mark.parametrize(
    "prose",
    ["It took 3.5 kWh.", "| a | 1,287 MWh |", "about ~12 J/token", "in 20 minutes", "8 to 9 s"],
)
def test_a_typed_measurement_is_found(prose: str) -> None:
    assert len(typed(prose)) == 1


@pytest.mark.parametrize(
    "prose",
    [
        "It took {glue:text}`energy:.1f` kWh, and 3 s more.",
        "1,287 MWh {cite}`patterson2021carbon`",
        "A tick of 100 ms.\n\n<!-- given: 100 ms -->",
        "`sleep 10 s` and $E = 10\\,\\mathrm{s}$",
        "12 of 15 windows in 2021, the 3 sensors, Figure 5",
        ":::{dropdown} How long are 5 kWh?\nLong.\n:::",
    ],
)
def test_what_is_glued_cited_or_given_passes(prose: str) -> None:
    assert typed(prose) == []


def test_given_names_that_number_only() -> None:
    assert typed("Ticks of 100 ms took 3 J.\n<!-- given: 100 ms -->") == ["3 J"]
