"""Exercises of lab 03: attention's FLOPs, bytes of the cache, what binds, the batch that pays."""

from __future__ import annotations

import math
from collections.abc import Callable

from greenkit.course.exercises import NotRight, close, exercise, needs_function

LAB = "where_energy_goes"


@exercise(LAB, "attention_flops")
def attention_flops(answer: Callable[[int, int, int, int], float]) -> None:
    """FLOPs of the products without weights: queries with keys, scores with values."""
    needs_function(answer)
    wanted = 4 * 30 * 9 * 64 * 256**2
    got = answer(30, 9, 64, 256)
    if close(got, wanted / 2):
        raise NotRight(
            "That is half. Either one of the two products is missing (queries with keys, and "
            "scores with values), or you counted multiplications without their additions."
        )
    if close(got, wanted / 4):
        raise NotRight("Two products, and two FLOPs for each pair that is multiplied: four times.")
    if close(got, wanted / 256) or close(got, wanted / 512):
        raise NotRight(
            "Every token asks every token: the products grow with the square of the tokens."
        )
    if close(got, wanted / 9):
        raise NotRight("That is one head in each layer; all of them ask.")
    if close(got, wanted / 30):
        raise NotRight("That is one layer.")
    if close(got, wanted / 64):
        raise NotRight("Each score is a sum over the width of a head.")
    if not close(got, wanted):
        raise NotRight(f"For our model and 256 tokens it is {wanted:,} FLOPs; you have {got}.")
    if not close(answer(12, 12, 64, 10), 4 * 12 * 12 * 64 * 10**2):
        raise NotRight("Right for our model and 256 tokens, but not for GPT-2 and 10.")


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


@exercise(LAB, "what_binds")
def what_binds(answer: Callable[..., tuple[str, float]]) -> None:
    """The largest of three least times, and its name."""
    needs_function(answer)
    cases = (
        ((6e9, 2e9, 100, 2e12, 1e12, 1e-5), ("arithmetic", 3e-3), (3e-3, 2e-3, 1e-3)),
        ((0.27e9, 538e6, 1000, 200e9, 50e9, 2e-6), ("memory", 10.76e-3), (1.35e-3, 10.76e-3, 2e-3)),
        ((0.3e9, 300e6, 1000, 700e12, 3e12, 6e-6), ("launches", 6e-3), (0.43e-6, 1e-4, 6e-3)),
    )
    for given, (name, least_s), each in cases:
        got = answer(*given)
        where = f"of what_binds({', '.join(f'{number:g}' for number in given)})"
        if not isinstance(got, tuple | list) or len(got) != 2 or not isinstance(got[0], str):
            raise NotRight(
                f"Give two things, the name and the time: ('memory', 0.01); not {got!r}."
            )
        if close(got[1], sum(each), 1e-3):
            raise NotRight(
                "You added the three times. They can pass at once, so the least time is that of "
                "the longest."
            )
        if close(got[1], min(each), 1e-3):
            raise NotRight(
                "The shortest of the three binds nothing: the pass waits for the longest."
            )
        if close(got[1], max(each[:2]), 1e-3) and name == "launches":
            raise NotRight(f"Look at the launches {where}: many small ones in a row take longest.")
        if not close(got[1], least_s, 1e-3):
            raise NotRight(
                f"The least time {where} is {least_s:g} s; you have {got[1]:g}. Work over rate for "
                "the first two, launches times the seconds of each for the third."
            )
        if got[0] != name:
            raise NotRight(f"The time {where} is right; it is that of {name!r}, not of {got[0]!r}.")


@exercise(LAB, "smallest_batch")
def smallest_batch(answer: Callable[..., int | None]) -> None:
    """The smallest whole batch whose arithmetic takes as long as its memory, if there is one."""
    needs_function(answer)
    cases = (
        (2e9, 2e9, 0, 989.4e12, 3.35e12),
        (0.27e9, 538e6, 5.9e6, 200e9, 36e9),
        (100.0, 400.0, 10.0, 10.0, 10.0),
        (100.0, 5.0, 0.0, 10.0, 100.0),
        (0.27e9, 538e6, 380e6, 200e9, 36e9),
        (100.0, 400.0, 100.0, 10.0, 10.0),
    )
    for flops, weights, cache, flops_per_s, bytes_per_s in cases:
        each_s = flops / flops_per_s - cache / bytes_per_s
        without = weights / bytes_per_s * flops_per_s / flops
        got = answer(flops, weights, cache, flops_per_s, bytes_per_s)
        given = f"({flops:.4g}, {weights:.4g}, {cache:.4g}, {flops_per_s:.4g}, {bytes_per_s:.4g})"
        where = f"for smallest_batch{given}"
        if each_s <= 0:
            if got is None:
                continue
            raise NotRight(
                f"No batch is large enough {where}: each sequence brings a cache that takes at "
                "least as long to read as its arithmetic takes. Return None there."
            )
        exact = weights / bytes_per_s / each_s
        wanted = max(1, math.ceil(exact - 1e-9))
        if got is None:
            raise NotRight(f"There is such a batch {where}: {wanted}.")
        if close(got, wanted):
            continue
        forgot = close(got, max(1, math.ceil(without - 1e-9))) or close(got, without, 1e-3)
        if cache and forgot:
            raise NotRight(
                f"You left out the cache {where}: each sequence of the batch brings its own bytes."
            )
        if close(got, exact, 1e-3) or close(got, math.floor(exact)):
            raise NotRight(f"A batch is a whole number, at least 1: round up {where}.")
        ridge = flops_per_s / bytes_per_s
        if close(got, ridge, 1e-3) or close(got, math.ceil(ridge)):
            raise NotRight(f"That is the ridge itself {where}, in FLOP/byte and not in sequences.")
        raise NotRight(f"The smallest batch {where} is {wanted}; your function says {got}.")
