"""Exercises of lab 06: a lesson's price, stored answers, blocks to keep, the reverse gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from greenkit.course.exercises import (
    NotRight,
    all_close,
    close,
    exercise,
    needs_function,
    numbers_of,
)

LAB = "distillation"


@exercise(LAB, "lesson")
def lesson(answer: Callable[[float, float], float]) -> None:
    """Operations of a training step with a teacher over one without."""
    needs_function(answer)
    teacher, student = 3.0, 1.5
    got = answer(teacher, student)
    if close(got, 1 + teacher / student):
        raise NotRight(
            "Either the teacher goes back as well, or the student only forward. The teacher "
            "answers: one pass. The student is trained: forward, and back at twice the cost."
        )
    if close(got, 1 + teacher / (2 * student)):
        raise NotRight("Back costs twice forward, and forward is to be counted as well: three.")
    if close(got, 3 * student / (teacher + 3 * student)):
        raise NotRight("That is the step without a teacher over the lesson: turn it round.")
    if close(got, teacher / (3 * student)):
        raise NotRight("That is what the teacher adds to a step of 1: the step itself is missing.")
    if close(got, teacher / (teacher + 3 * student)):
        raise NotRight("That is the teacher's share of a lesson: divide by a step without one.")
    for teacher, student in ((3.0, 1.5), (3.0, 1.0), (8e8, 6e8), (2.0, 40.0)):
        wanted = 1 + teacher / (3 * student)
        if not close(got := answer(teacher, student), wanted):
            raise NotRight(
                f"With {teacher:g} operations of the teacher and {student:g} of the student for a "
                f"pass forward expected {wanted:.4g}; got {got:.4g}."
            )


@exercise(LAB, "stored_answers")
def stored_answers(answer: Callable[[float, float, int, float, float], float]) -> None:
    """Tokens that each of several students serves until it has paid its share."""
    needs_function(answer)
    student_j, teacher_j, students, dense_j, small_j = 600.0, 300.0, 3, 0.3, 0.25
    got = answer(student_j, teacher_j, students, dense_j, small_j)
    saved = dense_j - small_j
    if close(got, (student_j + teacher_j) / saved):
        raise NotRight("The teacher answers once for all: each student owes a share of it.")
    if close(got, (student_j + teacher_j) / students / saved):
        raise NotRight("Each student is trained by itself: only the teacher's joules are shared.")
    if close(got, student_j / saved):
        raise NotRight("The teacher worked too: its joules are shared, and not forgotten.")
    if close(got, (students * student_j + teacher_j) / saved):
        raise NotRight("Those are the tokens of all students together: how many has each?")
    if close(got, (student_j + students * teacher_j) / saved):
        raise NotRight("The stored answers cost once, however many students read them: divide.")
    if close(got, (student_j + teacher_j / students) / dense_j):
        raise NotRight(
            "A served token does not save all that the dense model takes for it: the student "
            "takes joules too. Only the difference pays back."
        )
    if not close(got, (student_j + teacher_j / students) / saved):
        raise NotRight(
            "700 J for each student and 0.05 J saved for each token are paid back after 14,000 "
            f"tokens; your function says {got}."
        )
    for values, wanted in (((50.0, 30.0, 1, 2.0, 1.0), 80.0), ((50.0, 0.0, 4, 2.0, 1.0), 50.0)):
        if not close(got := answer(*values), wanted):
            raise NotRight(f"Right for the example; for {values} expected {wanted:g}, got {got}.")
    for small in (0.3, 0.4):
        if _infinite(answer, student_j, teacher_j, students, dense_j, small):
            continue
        raise NotRight(
            f"A student that takes {small} J a token where the dense model takes {dense_j} J never "
            "pays back: return math.inf."
        )


@exercise(LAB, "blocks_to_keep")
def blocks_to_keep(answer: Callable[[list[float], int], Any]) -> None:
    """Numbers of the most influential blocks, the first and the last among them."""
    needs_function(answer)
    influence = [0.5, 0.1, 0.3, 0.05, 0.2, 0.4]
    got = _whole(answer(list(influence), 4))
    if sorted(got) in ([1, 2, 3, 4], [0, 1, 3, 5]):
        raise NotRight(
            "Those have the least influence. It says how much a block turns what passes through "
            "it: keep the highest."
        )
    if got == [1, 3]:
        raise NotRight("Those are the blocks that go: return the blocks that stay.")
    if sorted(got) == [0, 2, 4, 5] and got != sorted(got):
        raise NotRight(
            f"The right blocks, but in the order {got}: a student runs them in their old order."
        )
    if got != [0, 2, 4, 5]:
        raise NotRight(f"For {influence} and 4 blocks expected [0, 2, 4, 5]; got {got}.")
    cases = (
        ([0.01, 0.4, 0.3, 0.2, 0.5], 3, [0, 1, 4], "the first block stays whatever its influence"),
        ([0.5, 0.4, 0.3, 0.01], 2, [0, 3], "the last block stays whatever its influence"),
        ([0.2, 0.1, 0.3, 0.1, 0.4], 4, [0, 1, 2, 4], "of two equal blocks keep the earlier one"),
        ([0.9, 0.1, 0.2, 0.3, 0.4, 0.8], 3, [0, 4, 5], "the count includes the first and the last"),
    )
    for values, blocks, wanted, rule in cases:
        if (got := _whole(answer(list(values), blocks))) != wanted:
            raise NotRight(
                f"Right for the first example, but {rule}: for {values} and {blocks} blocks "
                f"expected {wanted}; got {got}."
            )


@exercise(LAB, "reverse_gradient")
def reverse_gradient(answer: Callable[[list[float], list[float]], Any]) -> None:
    """Gradient of KL(student ‖ teacher) with respect to the student's logits."""
    needs_function(answer)
    mine, theirs = [2.0, 0.0, 1.0], [0.5, 1.5, -1.0]
    got = numbers_of(answer(list(mine), list(theirs)), len(mine), "numbers, one a token")
    p, q = _softmax(theirs), _softmax(mine)
    wanted = _reverse(mine, theirs)
    surplus = [math.log(b / a) for a, b in zip(p, q, strict=True)]
    if all_close(got, [-slope for slope in wanted]):
        raise NotRight(
            "The sign is turned: this is the way down, and the gradient points up. The student's "
            "surplus over its teacher is ln q - ln p."
        )
    if all_close(got, [b - a for a, b in zip(p, q, strict=True)]):
        raise NotRight("That is the gradient of the forward divergence, KL(teacher ‖ student).")
    if all_close(got, [b * one for b, one in zip(q, surplus, strict=True)]):
        raise NotRight(
            "Those are the terms of the divergence. Raising one logit lowers all other "
            "probabilities: subtract what that costs, the divergence itself, within each term."
        )
    if all_close(got, [b * (one + 1) for b, one in zip(q, surplus, strict=True)]):
        raise NotRight(
            "That is q times the derivative with respect to q_i. But a logit moves every q_j: sum "
            "over all of them, with dq_i/dz_j = q_i (1 if i = j else 0) - q_i q_j."
        )
    if all_close(got, _reverse(theirs, mine)):
        raise NotRight("Teacher and student are swapped: the first argument is the student's.")
    for student, teacher in (
        (mine, theirs),
        ([1.0, 2.0], [1.0, 2.0]),
        ([0.0, 1.0, 2.0, 3.0], [3.0, 1.0, 0.0, 1.0]),
    ):
        got = numbers_of(answer(list(student), list(teacher)), len(student), "numbers, one a token")
        if not all_close(got, wanted := _reverse(student, teacher)):
            raise NotRight(
                f"For a student with {student} and a teacher with {teacher} expected "
                f"{_list(wanted)}; got {_list(got)}."
            )


def _reverse(student: Sequence[float], teacher: Sequence[float]) -> list[float]:
    """The gradient of KL(q ‖ p): q_i (ln q_i / p_i - KL)."""
    p, q = _softmax(teacher), _softmax(student)
    surplus = [math.log(b / a) for a, b in zip(p, q, strict=True)]
    divergence = sum(b * one for b, one in zip(q, surplus, strict=True))
    return [b * (one - divergence) for b, one in zip(q, surplus, strict=True)]


def _softmax(logits: Sequence[float]) -> list[float]:
    largest = max(logits)
    powers = [math.exp(z - largest) for z in logits]
    return [power / sum(powers) for power in powers]


def _whole(got: Any) -> list[int]:
    """An answer as a list of whole numbers."""
    if hasattr(got, "tolist"):
        got = got.tolist()
    if not isinstance(got, list | tuple) or not all(type(value) is int for value in got):
        raise NotRight(f"The answer must be a list of block numbers, but it is {got!r}.")
    return list(got)


def _list(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"


def _infinite(answer: Callable[..., float], *values: float) -> bool:
    """Whether the answer is infinity; a division by zero is none."""
    try:
        got = answer(*values)
    except ZeroDivisionError:
        return False
    close(got, 0.0)
    return got == math.inf
