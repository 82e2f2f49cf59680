"""Tables and numbers as people read them."""

from __future__ import annotations

import pytest

from greenkit.course.show import markdown_table, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (5454.0, "5,450"),
        (0.00234, "0.00234"),
        (12.0, "12.0"),
        (-3.14159, "−3.14"),
        (1.59e8, "1.59 × 10⁸"),
        (9.732e-5, "9.73 × 10⁻⁵"),
        (999_999.0, "1,000,000"),
        (0.99999, "1.00"),
    ],
)
def test_a_number_has_three_digits_and_no_exponent_of_a_machine(value: float, text: str) -> None:
    assert number(value) == text


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    table = markdown_table(("model", "J"), [("a", "~1.2"), ("b", "3")])
    assert table.splitlines()[1] == "| --- | ---: |"


def test_a_word_of_provenance_becomes_a_badge() -> None:
    table = markdown_table(("a",), [("3 J, estimated",)])
    assert '<span class="gk-badge gk-estimated">estimated</span>' in table


def test_the_best_row_is_marked_and_empty_cells_stay_empty() -> None:
    table = markdown_table(("a", "b"), [("x", "1"), ("y", "")], best=1)
    assert table.splitlines()[3] == "| **y** |  |"


def test_a_note_and_a_fold_stand_around_the_table() -> None:
    table = markdown_table(("a",), [("1",)], note="Same for all.", fold="All rows")
    assert table.startswith("<details><summary>All rows</summary>\n\n| a |")
    assert table.endswith("Same for all.\n\n</details>")
