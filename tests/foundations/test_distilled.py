"""Published students: worse than their teachers, and far cheaper to make."""

from __future__ import annotations

import pytest

from greenkit.foundations.distilled import BERT_BASE_H, DISTILBERT_H, perplexity_kept


def test_the_student_has_a_higher_perplexity_than_its_teacher() -> None:
    assert perplexity_kept() == pytest.approx(21.1 / 16.3)


def test_lessons_took_a_seventh_of_the_hours_of_a_training() -> None:
    assert DISTILBERT_H.vs(BERT_BASE_H, across=True) == pytest.approx(720 / 5056)
