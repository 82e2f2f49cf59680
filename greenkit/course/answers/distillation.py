"""Exercises of lab 06: softened probabilities, break-even, blocks to keep, the soft gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from greenkit.course.exercises import NotRight, close, exercise, needs_function

LAB = "distillation"


@exercise(LAB, "softened")
def softened(answer: Callable[[list[float], float], Any]) -> None:
    """Probabilities of logits at a temperature."""
    needs_function(answer)
    logits = [3.0, 1.0, -1.0]
    wanted = _softmax(logits, 2.0)
    got = _numbers(answer(list(logits), 2.0), len(logits))
    if _same(got, _softmax(logits, 1.0)):
        raise NotRight("That is the softmax at temperature 1: divide the logits by temperature.")
    if _same(got, _softmax(logits, 0.5)):
        raise NotRight(
            "You multiplied by the temperature, and so a higher one sharpens. It should soften: "
            "divide the logits by it."
        )
    if _same(got, [p / 2 for p in _softmax(logits, 1.0)]):
        raise NotRight("Divide the logits by the temperature, not the probabilities.")
    if _same(got, [math.exp(z / 2) for z in logits]):
        raise NotRight("Probabilities add up to 1: divide each power by the sum of all.")
    if not _same(got, wanted):
        raise NotRight(f"For {logits} at temperature 2 expected {_list(wanted)}; got {_list(got)}.")
    large = [1000.0, 998.0, 0.0]
    try:
        got = _numbers(answer(list(large), 1.0), len(large))
    except OverflowError:
        got = [math.nan]
    if not _same(got, _softmax(large, 1.0)):
        raise NotRight(
            f"Right for small logits, but the exponential of {large[0]:g} overflows. Subtract the "
            "largest logit from all of them first: that changes no probability."
        )


@exercise(LAB, "pay_back")
def pay_back(answer: Callable[[float, float, float, float], float]) -> None:
    """Served tokens that pay back a distillation, the teacher's part charged."""
    needs_function(answer)
    student_j, teacher_j, dense_j, small_j = 600.0, 300.0, 0.3, 0.25
    got = answer(student_j, teacher_j, dense_j, small_j)
    saved = dense_j - small_j
    if close(got, student_j / saved):
        raise NotRight("The teacher worked too: its joules belong to the student's training.")
    if close(got, (student_j - teacher_j) / saved):
        raise NotRight("The teacher's joules are spent as well: add them, do not subtract them.")
    if close(got, (student_j + teacher_j) / dense_j):
        raise NotRight(
            "A served token does not save all that the dense model takes for it: the student "
            "takes joules too. Only the difference pays back."
        )
    if close(got, (student_j + teacher_j) / small_j):
        raise NotRight("Divide by what a token *saves*, not by what the student takes for it.")
    if not close(got, (student_j + teacher_j) / saved):
        raise NotRight(
            "900 J of training and 0.05 J saved for each token are paid back after 18,000 tokens; "
            f"your function says {got}."
        )
    if not close(answer(50.0, 0.0, 2.0, 1.0), 50.0):
        raise NotRight("Right with a teacher, but not for plain fine-tuning, where it takes 0 J.")
    for small in (0.3, 0.4):
        if _infinite(answer, student_j, teacher_j, dense_j, small):
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


@exercise(LAB, "gradient")
def gradient(answer: Callable[[list[float], list[float], float], Any]) -> None:
    """Gradient of T² · KL(teacher ‖ student) with respect to the student's logits."""
    needs_function(answer)
    mine, theirs, hot = [2.0, 0.0, 1.0], [0.5, 1.5, -1.0], 4.0
    got = _numbers(answer(list(mine), list(theirs), hot), len(mine))
    p, q = _softmax(theirs, hot), _softmax(mine, hot)
    bare = [b - a for a, b in zip(p, q, strict=True)]
    if _same(got, [-hot * d for d in bare]):
        raise NotRight(
            "The sign is turned: where the student gives a token more than its teacher (q > p) the "
            "loss grows with that logit."
        )
    if _same(got, bare):
        raise NotRight(
            "That is q - p. The loss carries T², and the logits are divided by T within it: one "
            "factor T is left."
        )
    if _same(got, [d / hot for d in bare]):
        raise NotRight("That is the gradient of the KL divergence alone: the loss carries T².")
    if _same(got, [hot**2 * d for d in bare]):
        raise NotRight(
            "The logits are divided by T within the loss, so one of the two factors T goes: the "
            "chain rule."
        )
    cold = [b - a for a, b in zip(_softmax(theirs, 1.0), _softmax(mine, 1.0), strict=True)]
    if _same(got, cold) or _same(got, [hot * d for d in cold]):
        raise NotRight("Both probabilities are taken at the temperature, and not at 1.")
    hard = [float(z == max(theirs)) for z in theirs]
    if _same(got, [hot * (b - a) for a, b in zip(hard, q, strict=True)]):
        raise NotRight("That is the gradient for the likeliest token alone: use all of p.")
    for student, teacher, temperature in (
        (mine, theirs, hot),
        ([1.0, 2.0], [1.0, 2.0], 3.0),
        ([0.0, 1.0, 2.0, 3.0], [3.0, 1.0, 0.0, 1.0], 0.5),
    ):
        got = _numbers(answer(list(student), list(teacher), temperature), len(student))
        p, q = _softmax(teacher, temperature), _softmax(student, temperature)
        wanted = [temperature * (b - a) for a, b in zip(p, q, strict=True)]
        if not _same(got, wanted):
            raise NotRight(
                f"For a student with {student}, a teacher with {teacher} and T = {temperature:g} "
                f"expected {_list(wanted)}; got {_list(got)}."
            )


def _softmax(logits: Sequence[float], temperature: float) -> list[float]:
    largest = max(logits)
    powers = [math.exp((z - largest) / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


def _numbers(got: Any, count: int) -> list[float]:
    """An answer as a list of plain numbers; lists, tuples, arrays and tensors will do."""
    if hasattr(got, "tolist"):
        got = got.tolist()
    if not isinstance(got, list | tuple) or len(got) != count:
        raise NotRight(f"The answer must be {count} numbers, one a token, but it is {got!r}.")
    for value in got:
        close(value, 0.0)
    return [float(value) for value in got]


def _whole(got: Any) -> list[int]:
    """An answer as a list of whole numbers."""
    if hasattr(got, "tolist"):
        got = got.tolist()
    if not isinstance(got, list | tuple) or not all(type(value) is int for value in got):
        raise NotRight(f"The answer must be a list of block numbers, but it is {got!r}.")
    return list(got)


def _same(got: Sequence[float], wanted: Sequence[float]) -> bool:
    """True where all numbers agree; float32 of torch is precise enough."""
    return len(got) == len(wanted) and all(
        math.isclose(mine, theirs, rel_tol=1e-4, abs_tol=1e-6)
        for mine, theirs in zip(got, wanted, strict=True)
    )


def _list(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"


def _infinite(answer: Callable[[float, float, float, float], float], *values: float) -> bool:
    """Whether the answer is infinity; a division by zero is none."""
    try:
        got = answer(*values)
    except ZeroDivisionError:
        return False
    close(got, 0.0)
    return got == math.inf
