"""How code looks on a page: no fold over nothing, each with a label, visible lines that fit."""

from __future__ import annotations

from typing import Any

import pytest

from greenkit.authoring.folds import label, name_folds, page_fault

STREAM = {"output_type": "stream", "name": "stdout", "text": "42\n"}
GLUED = {"output_type": "display_data", "data": {"application/papermill.record/text/plain": "1"}}


def cell(source: str, *tags: str, outputs: Any = (STREAM,)) -> dict[str, Any]:
    return {"source": source, "metadata": {"tags": list(tags)}, "outputs": list(outputs)}


def named(found: dict[str, Any]) -> dict[str, Any]:
    name_folds([found])
    return found


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gk.plot.show(figure, alt='x')", "Code of this figure"),
        ("lab.show_table(header, rows)", "Code of this table"),
        ("lab.claim('x', True, kind='exact')", "How this is checked"),
        ("key_result('x', True)", "How this is checked"),
        ("print(1)", "Code of this output"),
    ],
)
def test_a_fold_says_what_it_holds(source: str, words: str) -> None:
    assert label(source) == words
    assert page_fault(named(cell(source, "hide-input"))) is None


def test_a_fold_without_its_label_is_a_fault() -> None:
    assert "without its label" in str(page_fault(cell("print(1)", "hide-input")))


@pytest.mark.parametrize("outputs", [(), (GLUED,), ({**STREAM, "text": "\n"},)])
def test_a_fold_over_nothing_is_a_fault(outputs: Any) -> None:
    assert "shows nothing" in str(page_fault(named(cell("x = 1", "hide-input", outputs=outputs))))


def test_a_fold_whose_output_is_removed_is_a_fault() -> None:
    assert "shows nothing" in str(page_fault(named(cell("x = 1", "hide-input", "remove-output"))))


def test_visible_code_wider_than_a_column_is_a_fault() -> None:
    wide = f"x = '{'a' * 70}'"
    assert "72 fit" in str(page_fault(cell(wide)))
    assert page_fault(cell(wide, "remove-input")) is None
    assert page_fault(named(cell(wide, "hide-input"))) is None


def test_a_cell_that_is_no_longer_folded_loses_its_label() -> None:
    once = named(cell("print(1)", "hide-input"))
    once["metadata"]["tags"] = []
    assert "mystnb" not in named(once)["metadata"]
