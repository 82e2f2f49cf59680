"""Exercises of lab 05: a grid with zero on it, bits a weight, int8 products, tokens that pay."""

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


@exercise(LAB, "dynamic_product")
def dynamic_product(answer: Callable[..., Any]) -> None:
    """Outputs of a matrix in int8 for inputs that are rounded as they come, a scale a token."""
    needs_function(answer)
    one = ([[1.0, 0.3]], [[100, -50]], [0.01])
    several = (
        [[0.02, -0.005, 0.011], [-80.0, 3.0, 40.6], [1.0, -0.998, 0.51]],
        [[127, -3, 40], [-90, 88, 5]],
        [0.02, 0.004],
    )
    for tokens, integers, scales in (one, several):
        wanted = _dynamic(tokens, integers, scales)
        got = _outputs(answer, tokens, integers, scales)
        if all_close(got, wanted):
            continue
        if all_close(got, _dynamic(tokens, integers, scales, steps=None)):
            raise NotRight("That is the product of the floats: round the inputs first.")
        if all_close(got, _dynamic(tokens, integers, [1.0] * len(scales))):
            raise NotRight("The scales of the rows are missing: each output takes its own row's.")
        if all_close(got, _dynamic(tokens, integers, scales, put_back=False)):
            raise NotRight("Put the scale of each token back too: its largest input / 127.")
        if all_close(got, _dynamic(tokens, integers, scales, shared=True)):
            raise NotRight("That is one scale for all tokens: a large one empties the small ones.")
        if all_close(got, _dynamic(tokens, integers, scales, steps=128)):
            raise NotRight("The largest input is point 127, so there are 127 steps up to it.")
        if all_close(got, _dynamic(tokens, integers, scales, to_integer=int)):
            raise NotRight("Round each input to the nearest point: int() cuts off.")
        raise NotRight(
            f"For the tokens {tokens}, the integers {integers} and the scales {scales} the outputs "
            f"are {[round(value, 4) for value in wanted]}, token by token; you have "
            f"{[round(value, 4) for value in got]}."
        )
    still = [[0.0, 0.0], [1.0, 0.3]]
    try:
        got = _outputs(answer, still, one[1], one[2])
    except ZeroDivisionError:
        got = [math.nan]
    if not all_close(got, [0.0, *_dynamic(*one)]):
        raise NotRight("A token of zeros has no step to divide by: its outputs are zeros.")


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
    scale, zero = numbers_of(answer, 2, "numbers (scale and zero point)")
    return scale, zero


def _outputs(answer: Callable[..., Any], tokens: Any, integers: Any, scales: Any) -> list[float]:
    """What the answer gives, token by token in one list."""
    got = answer([list(token) for token in tokens], [list(row) for row in integers], list(scales))
    if hasattr(got, "tolist"):
        got = got.tolist()
    if not isinstance(got, list | tuple) or len(got) != len(tokens):
        raise NotRight(f"Return one list of outputs for each of {len(tokens)} tokens: {got!r}.")
    each = [
        numbers_of(outputs, len(integers), "outputs (one a row) for each token") for outputs in got
    ]
    return [value for outputs in each for value in outputs]


def _dynamic(
    tokens: Sequence[Sequence[float]],
    integers: Sequence[Sequence[int]],
    scales: Sequence[float],
    *,
    steps: int | None = 127,
    shared: bool = False,
    put_back: bool = True,
    to_integer: Callable[[float], int] = round,
) -> list[float]:
    """The right outputs, token by token, and the wrong ones that have a reason of their own."""
    found = []
    for token in tokens:
        reach = max(abs(x) for other in (tokens if shared else [token]) for x in other)
        step = reach / steps if steps else 1.0
        rounded = [to_integer(x / step) if steps else x for x in token]
        for row, scale in zip(integers, scales, strict=True):
            product = sum(x * q for x, q in zip(rounded, row, strict=True))
            found.append(product * scale * (step if put_back else 1.0))
    return found
