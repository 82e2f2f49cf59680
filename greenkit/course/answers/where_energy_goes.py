"""Exercises of lab 03: FLOPs of a product, bytes of the cache, intensity, the batch that pays."""

from __future__ import annotations

import math
from collections.abc import Callable

from greenkit.course.exercises import NotRight, close, exercise, needs_function

LAB = "where_energy_goes"


@exercise(LAB, "product_flops")
def product_flops(answer: Callable[[int, int, int], float]) -> None:
    """FLOPs of a (rows × inner) by (inner × columns) product."""
    needs_function(answer)
    got = answer(3, 4, 5)
    if close(got, 60):
        raise NotRight("You counted multiplications only. Each comes with an addition: two FLOPs.")
    if close(got, 2 * (3 * 4 + 4 * 5)) or close(got, 3 * 4 + 4 * 5):
        raise NotRight(
            "That counts the numbers in both matrices. Each of the rows × columns results needs "
            "a whole row and a whole column."
        )
    if close(got, 30):
        raise NotRight("Every one of the 15 results is a sum over the inner dimension.")
    if close(got, 105):
        raise NotRight(
            "You left out one addition for each result. It is exact, but the field counts a "
            "multiplication and an addition for each pair: 2 × rows × inner × columns."
        )
    if not close(got, 120):
        raise NotRight(f"A 3 × 4 matrix times a 4 × 5 matrix is 120 FLOPs; you have {got}.")
    if not close(answer(1, 576, 1536), 2 * 576 * 1536):
        raise NotRight("Right for 3 × 4 × 5, but not for one token through 576 × 1536 weights.")


@exercise(LAB, "cache_bytes")
def cache_bytes(answer: Callable[[int, int, int, int, int], float]) -> None:
    """Bytes of the KV cache of a number of tokens."""
    needs_function(answer)
    wanted = 2 * 30 * 3 * 64 * 1000 * 4
    got = answer(30, 3, 64, 1000, 4)
    if close(got, wanted / 2):
        raise NotRight("Keys *and* values are kept: twice that.")
    if close(got, wanted / 4):
        raise NotRight("That is how many numbers are kept; each takes 4 bytes here.")
    if close(got, wanted / 30):
        raise NotRight("That is the cache of one layer.")
    if close(got, wanted * 3):
        raise NotRight(
            "Nine heads ask, but only the three key/value heads are kept: that is what grouped "
            "attention is for."
        )
    if not close(got, wanted):
        raise NotRight(f"1,000 tokens in fp32 take {wanted:,} bytes here; you have {got}.")
    if not close(answer(12, 12, 64, 1, 2), 2 * 12 * 12 * 64 * 2):
        raise NotRight("Right for the course's model, but not for GPT-2 in 16 bits and one token.")


@exercise(LAB, "decode_intensity")
def decode_intensity(answer: Callable[[int, int], float]) -> None:
    """FLOPs per byte of a decode step for a batch, with the weights as the only traffic."""
    needs_function(answer)
    got = answer(1, 4)
    if close(got, 2.0) or close(got, 8.0):
        raise NotRight(
            "FLOPs per *byte*: divide by the bytes of a number, do not multiply by them."
            if got == 8.0
            else "Per weight there are 2 FLOPs, but a weight in fp32 has 4 bytes."
        )
    if close(got, 0.25):
        raise NotRight("A multiplication and an addition are two FLOPs for each weight.")
    if not close(got, 0.5):
        raise NotRight(f"One sequence in fp32 has 0.5 FLOP per byte; your function says {got}.")
    if not close(answer(8, 4), 4.0):
        raise NotRight(
            "All sequences of a batch use a weight that was read once: with 8 of them the "
            f"intensity is 4 FLOP per byte, and not {answer(8, 4)}."
        )
    if not close(answer(1, 2), 1.0):
        raise NotRight("In 16 bits half the bytes carry the same FLOPs: 1 FLOP per byte.")


@exercise(LAB, "least_batch")
def least_batch(answer: Callable[[float, float, int], float]) -> None:
    """The smallest whole batch for which arithmetic takes as long as reading the weights."""
    needs_function(answer)
    cases = ((200e9, 36e9, 4), (989.4e12, 3.35e12, 2), (100.0, 50.0, 4), (10.0, 100.0, 4))
    for flops_per_s, bytes_per_s, width in cases:
        ridge = flops_per_s / bytes_per_s
        wanted = max(1, math.ceil(ridge * width / 2 - 1e-9))
        got = answer(flops_per_s, bytes_per_s, width)
        where = f"for {flops_per_s:.4g} FLOP/s, {bytes_per_s:.4g} bytes/s and {width} bytes"
        if close(got, wanted):
            continue
        if close(got, ridge, 1e-3) or close(got, math.ceil(ridge)):
            raise NotRight(
                f"That is the ridge itself {where}. A batch of b has 2·b FLOPs for each weight, "
                "and a weight has several bytes."
            )
        if close(got, ridge * width / 2, 1e-3) or close(got, math.floor(ridge * width / 2)):
            raise NotRight(f"A batch is a whole number, at least 1: round up {where}.")
        raise NotRight(f"The smallest batch {where} is {wanted}; your function says {got}.")
