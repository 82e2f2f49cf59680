"""Exercises of lab 05: a grid with zero on it, bits a weight, compensation, tokens that pay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from greenkit.course.exercises import NotRight, close, exercise, needs_function

LAB = "quantization"


@exercise(LAB, "zero_point")
def zero_point(answer: Callable[[list[float], int], Any]) -> None:
    """Scale and integer zero point of a row, with zero itself on the grid."""
    needs_function(answer)
    scale, zero = _pair(answer([-1.0, 0.5, 2.0], 4))
    if close(scale, 3 / 16):
        raise NotRight("Sixteen points have fifteen steps between them: divide by 2^bits - 1.")
    if close(scale, 2 / 7):
        raise NotRight("That is the symmetric grid. This one spans just the row, from -1 to 2.")
    if not close(scale, 0.2):
        raise NotRight(f"From -1 to 2 in 15 steps the scale is 0.2; you have {scale}.")
    if close(zero, -1.0):
        raise NotRight("That is the row's minimum. The zero point is the integer that means 0.")
    if close(zero, -5):
        raise NotRight("The sign is turned round: scale × (integer - zero) must be 0 at 5.")
    if not close(zero, 5):
        raise NotRight(f"0 lies five steps above -1, so the zero point is 5; you have {zero}.")
    cases = (
        ([3.0, 6.0, 4.5], 4, 6 / 15, 0, "all above zero"),
        ([-2.0, -0.5], 3, 2 / 7, 7, "all below zero"),
        ([-0.5, 1.0, 0.3], 4, 0.1, 5, "from -0.5 to 1"),
        ([-1.0, 1.1], 2, 0.7, 1, "from -1 to 1.1 in two bits"),
    )
    for row, bits, wanted, place, what in cases:
        scale, zero = _pair(answer(row, bits))
        if not close(scale, wanted):
            raise NotRight(
                f"For a row {what} the scale is {wanted:.3g}, and not {scale:.3g}: the grid must "
                "reach 0 as well, or no integer means 0."
            )
        if zero != round(zero):
            raise NotRight(f"For a row {what} your zero point is {zero}: round it to an integer.")
        if not close(zero, place):
            raise NotRight(f"For a row {what} the zero point is {place}; you have {zero}.")


@exercise(LAB, "stored_bits")
def stored_bits(answer: Callable[[int, int, bool], float]) -> None:
    """Bits that a weight takes with its share of the scale, and of the minimum."""
    needs_function(answer)
    got = answer(4, 64, True)
    if close(got, 4):
        raise NotRight("The 64 weights share a scale of 16 bits, and it is stored too.")
    if close(got, 20):
        raise NotRight("The scale is stored once for the group: each weight bears a 64th of it.")
    if close(got, 4.5):
        raise NotRight("A symmetric group has no minimum: its scale is all that is added.")
    if close(got, 4 * 64 + 16):
        raise NotRight("Those are the bits of the whole group: divide by its weights.")
    if not close(got, 4.25):
        raise NotRight(f"Int4 in symmetric groups of 64 takes 4.25 bits; your function says {got}.")
    got = answer(4, 32, False)
    if close(got, 4.5):
        raise NotRight("An asymmetric group keeps its minimum beside the scale, in 16 bits too.")
    if not close(got, 5.0):
        raise NotRight(f"Int4 in asymmetric groups of 32 takes 5 bits; your function says {got}.")
    if not close(answer(3, 128, False), 3.25):
        raise NotRight("Right for int4, but not for int3 in asymmetric groups of 128: 3.25 bits.")


@exercise(LAB, "make_up")
def make_up(answer: Callable[..., Any]) -> None:
    """The later weights of a row after they made up for the error of its first one."""
    needs_function(answer)
    cases: tuple[tuple[list[float], float, list[list[float]]], ...] = (
        ([1.0, -0.5], 0.2, [[0.5, 0.1, -0.2], [0.1, 0.8, 0.3], [-0.2, 0.3, 2.0]]),
        ([0.3, 0.6, -0.9], -0.05, _inverse_of_four()),
        ([2.0], 0.1, [[4.0, 0.0], [0.0, 1.0]]),
    )
    for later, error, inverse in cases:
        first = inverse[0]
        pairs = list(zip(later, first[1:], strict=True))
        wanted = [w - error * h / first[0] for w, h in pairs]
        got = _numbers(answer(list(later), error, [list(row) for row in inverse]), len(later))
        if _same(got, wanted):
            continue
        if _same(got, [w + error * h / first[0] for w, h in pairs]):
            raise NotRight(
                "The sign is turned round: that doubles the error. Where the rounded weight lost "
                "something, an input that goes along with it must gain."
            )
        if _same(got, [w - error * h for w, h in pairs]):
            raise NotRight("Divide the error by the first diagonal entry of the inverse.")
        if _same(got, [w - error for w in later]):
            raise NotRight("Each later weight takes its own part of the error, from the inverse.")
        own = [inverse[n + 1][n + 1] for n in range(len(later))]
        if _same(got, [w - error * h / d for (w, h), d in zip(pairs, own, strict=True)]):
            raise NotRight("Divide by the entry of the weight that was rounded: the first one.")
        if _same(got, later):
            raise NotRight("The later weights did not move: nothing makes up for the error.")
        raise NotRight(
            f"For the later weights {later}, the error {error} and the inverse's first row "
            f"{[round(h, 3) for h in first]} they become {[round(w, 4) for w in wanted]}; "
            f"you have {[round(w, 4) for w in got]}."
        )


@exercise(LAB, "paying_tokens")
def paying_tokens(answer: Callable[[float, float, float, float, float], float]) -> None:
    """The most tokens in one pass for which the smaller weights take less time."""
    needs_function(answer)
    cases = (
        (34e9, 2.0, 300e9, 0.5625, 100e9),
        (3.35e12, 2.0, 900e12, 0.5625, 300e12),
        (100.0, 2.0, 1000.0, 0.5, 300.0),
        (100.0, 2.0, 1000.0, 0.5, 40.0),
        (50e9, 4.0, 150e9, 1.0, 150e9),
    )
    for bandwidth, plain_bytes, plain_rate, small_bytes, small_rate in cases:
        crossing = small_rate * plain_bytes / (2 * bandwidth)
        wanted = max(0, math.ceil(crossing - 1e-9) - 1)
        got = answer(bandwidth, plain_bytes, plain_rate, small_bytes, small_rate)
        where = f"for {bandwidth:.3g} bytes/s and rates of {plain_rate:.3g} and {small_rate:.3g}"
        if close(got, wanted):
            continue
        if _near(got, small_rate * small_bytes / (2 * bandwidth)):
            raise NotRight(
                f"That is where the small weights stop waiting for memory {where}. They still "
                "win as long as the plain ones take longer to be read."
            )
        if _near(got, plain_rate * plain_bytes / (2 * bandwidth)):
            raise NotRight(f"That is the plain weights' own limit {where}: the small lose earlier.")
        if _near(got, small_rate * plain_bytes / bandwidth):
            raise NotRight("A weight and a token take two FLOPs: a multiplication, an addition.")
        if close(got, crossing):
            raise NotRight(
                f"Whole tokens, and strictly less time: {where} the two take equal time at "
                f"{crossing:.3g}, so the most is {wanted}."
            )
        if close(got, math.ceil(crossing)) or close(got, crossing + 1):
            raise NotRight(f"With that many tokens the small weights take no less time {where}.")
        raise NotRight(f"The most tokens {where} are {wanted}; your function says {got}.")
    if answer(34e9, 2.0, 100e9, 0.5625, 200e9) != math.inf:
        raise NotRight(
            "Where the small weights multiply faster as well, they pay for any number of tokens: "
            "return math.inf."
        )


def _near(got: float, edge: float) -> bool:
    """True for a limit, or for one of the two whole numbers around it."""
    return any(close(got, value) for value in (edge, math.floor(edge), math.ceil(edge)))


def _pair(answer: Any) -> tuple[float, float]:
    try:
        scale, zero = answer
    except (TypeError, ValueError):
        raise NotRight(f"Return two numbers, scale and zero point, and not {answer!r}.") from None
    return _number(scale), _number(zero)


def _numbers(answer: Any, count: int) -> list[float]:
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if not isinstance(answer, Sequence) or isinstance(answer, str) or len(answer) != count:
        raise NotRight(
            f"Return the {count} later weights as a list; the first one is rounded and stays."
        )
    return [_number(value) for value in answer]


def _number(value: Any) -> float:
    if hasattr(value, "item"):
        value = value.item()
    close(value, 0)  # refuses what is no number
    return float(value)


def _same(got: Sequence[float], wanted: Sequence[float]) -> bool:
    return all(math.isclose(g, w, abs_tol=1e-5) for g, w in zip(got, wanted, strict=True))


def _inverse_of_four() -> list[list[float]]:
    """A positive definite matrix whose entries all differ."""
    return [
        [0.8, -0.3, 0.15, 0.1],
        [-0.3, 1.2, -0.25, 0.2],
        [0.15, -0.25, 1.6, -0.4],
        [0.1, 0.2, -0.4, 2.4],
    ]
