"""Exercises of lab 04: bytes of CSR, blocks to remove, a 2:4 mask by use, removing with repair."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from greenkit.course.exercises import NotRight, close, exercise, needs_function

LAB = "pruning"


@exercise(LAB, "csr_bytes")
def csr_bytes(answer: Callable[[float, int, int], float]) -> None:
    """Bytes of a CSR matrix over those of the dense one, row pointers aside."""
    needs_function(answer)
    got = answer(0.5, 4, 8)
    if close(got, 2 / 3):
        raise NotRight("That is dense over CSR: turn it over.")
    if close(got, 0.5):
        raise NotRight("Each value that is left also needs the number of its column.")
    if close(got, 1.0):
        raise NotRight("The column numbers alone take that: the values are kept as well.")
    if not close(got, 1.5):
        raise NotRight(f"Half zeros, 4 and 8 bytes, take 1.5 times as much; you have {got}.")
    got = answer(0.9, 2, 4)
    if close(got, 0.9 * 3):
        raise NotRight(
            "A sparsity of 0.9 means that a tenth is left, and not that a tenth is zero."
        )
    if not close(got, 0.1 * 3):
        raise NotRight(
            f"Right for half zeros, but with 90 % zeros, 2 and 4 bytes it is 0.3, not {got}."
        )


@exercise(LAB, "fewest_blocks")
def fewest_blocks(answer: Callable[[float, int, float, float], float]) -> None:
    """The fewest blocks to remove so that the model has so large a fraction of weights fewer."""
    needs_function(answer)
    cases = ((0.5, 10, 1e6, 3e6), (0.1, 30, 3.54e6, 28.3e6), (0.5, 10, 1e6, 0.0))
    for fraction, blocks, own, others in cases:
        exact = fraction * (blocks * own + others) / own
        wanted = math.ceil(exact - 1e-9)
        got = answer(fraction, blocks, own, others)
        where = f"for {fraction:g} of {blocks} blocks of {own:g} weights and {others:g} others"
        if close(got, wanted):
            continue
        if close(got, exact) or close(got, math.floor(exact)):
            raise NotRight(
                f"Blocks go whole, and the model must lose *at least* that much: round up {where}."
            )
        if close(got, math.ceil(fraction * blocks - 1e-9)) or close(got, fraction * blocks):
            raise NotRight(
                "That is the fraction of the blocks. Embedding and head stay, so the blocks must "
                f"give up more than their share {where}."
            )
        raise NotRight(f"The answer {where} is {wanted}; your function says {got}.")


@exercise(LAB, "wanda_2_4")
def wanda_2_4(answer: Callable[[Any, Any], Any]) -> None:
    """A 2:4 mask by |weight| times the length of its input."""
    import torch

    from greenkit.compressing.pruning.criteria import keep_n_of_m

    needs_function(answer)
    generator = torch.Generator().manual_seed(4)
    weights = torch.randn(6, 16, generator=generator)
    loudness = torch.tensor([1.0, 6.0, 1.0, 0.2] * 4)
    inputs = torch.randn(50, 16, generator=generator) * loudness
    lengths = inputs.norm(dim=0)
    got = _boolean(answer(weights.clone(), inputs.clone()), weights.shape)
    if (got == keep_n_of_m(weights.abs() * lengths, 2, 4)).all():
        return
    if (got == ~keep_n_of_m(weights.abs() * lengths, 2, 4)).all():
        raise NotRight("That is true for the weights that go; it should be true where one stays.")
    kept = got.reshape(-1, 4).sum(dim=1)
    if (kept != 2).any():
        raise NotRight(
            f"Of four neighbors in a row two stay, but in yours between {int(kept.min())} and "
            f"{int(kept.max())} do: look at each four by themselves, `reshape(-1, 4)`."
        )
    slips = {
        "Those are the largest weights. Multiply by the length of each input.": weights.abs(),
        "Take the absolute value: a large negative weight matters too.": weights * lengths,
        "You used the sum of the inputs; loud inputs of both signs cancel in it. Take the length, "
        "`inputs.norm(dim=0)`.": weights.abs() * inputs.sum(dim=0).abs(),
        "The inputs alone decide in yours; the score is |weight| times the length.": lengths
        * torch.ones_like(weights),
    }
    for message, scores in slips.items():
        if (got == keep_n_of_m(scores, 2, 4)).all():
            raise NotRight(message)
    raise NotRight("Two of each four stay, but not those with the highest |weight| · length.")


@exercise(LAB, "repair")
def repair(answer: Callable[[Any, Any, int], Any]) -> None:
    """A row without one weight, the others changed for the least output error."""
    import torch

    needs_function(answer)
    generator = torch.Generator().manual_seed(6)
    mix = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    inputs = torch.randn(200, 5, generator=generator, dtype=torch.float64) @ mix
    row = torch.randn(5, generator=generator, dtype=torch.float64)
    moments = inputs.T @ inputs
    for removed in (2, 0):
        got = answer(row.clone(), moments.clone(), removed)
        if not isinstance(got, torch.Tensor) or got.shape != row.shape:
            raise NotRight(f"Return a tensor of the row's shape {tuple(row.shape)}.")
        got = got.double()
        if abs(float(got[removed])) > 1e-6:
            raise NotRight(
                f"Weight {removed} should be zero in the end, and it is {float(got[removed]):.3g}."
            )
        least, own = (_error(new - row, moments) for new in (_best(row, moments, removed), got))
        if own <= least * (1 + 1e-6):
            continue
        dropped = row.clone()
        dropped[removed] = 0
        if own >= _error(dropped - row, moments) * (1 - 1e-9):
            raise NotRight(
                "The other weights do not make up for it: the output error is no smaller than "
                "without any repair. With H = moments and q = removed the change is −w_q / "
                "[H⁻¹]_qq times column q of H⁻¹."
            )
        raise NotRight(
            f"The repair helps, but it is not the best one: an output error of {own:.3g} where "
            f"{least:.3g} is possible (weight {removed}). Do not round or damp the moments."
        )


def _error(change: Any, moments: Any) -> float:
    return float(change @ moments @ change)


def _best(row: Any, moments: Any, removed: int) -> Any:
    """By the normal equations of the inputs that are left, and not by the formula of the hint."""
    import torch

    left = [number for number in range(len(row)) if number != removed]
    new = torch.zeros_like(row)
    new[left] = torch.linalg.solve(moments[left][:, left], moments[left] @ row)
    return new


def _boolean(got: Any, shape: Any) -> Any:
    import torch

    if not isinstance(got, torch.Tensor) or got.shape != shape:
        raise NotRight(f"Return a tensor of the weights' shape {tuple(shape)}.")
    if got.dtype != torch.bool and not ((got == 0) | (got == 1)).all():
        raise NotRight("Return the mask, true or false for each weight, and not the weights.")
    return got.bool()
