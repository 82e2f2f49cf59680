"""GPTQ: round one input column after the other, and let later ones make up for the error.

Derived in: Lab 05.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from greenkit.compressing.moments import DAMPING, factor_of
from greenkit.compressing.quantization.quantizers import (
    SMALLEST_SCALE,
    QuantizedTensor,
    Scheme,
    check_weight,
    choose_grid,
)
from greenkit.compressing.sizes import zeros_of

COLUMNS_AT_ONCE = 128


@dataclass(frozen=True)
class Compensation:
    """How later columns make up for the error of earlier ones, from the inputs alone.

    `order` (in,) has the column with the largest second moment first; `factor` (in, in) is the
    `factor_of` the moments in that order.
    """

    order: Tensor
    factor: Tensor


def compensation(moments: Tensor, *, damping: float = DAMPING) -> Compensation:
    """The order in which to round a layer's columns, and its factor; see `factor_of`."""
    order = moments.diagonal().argsort(descending=True, stable=True)
    return Compensation(order, factor_of(moments[order][:, order], damping=damping))


def gptq(
    weight: Tensor, moments: Tensor, scheme: Scheme, *, damping: float = DAMPING
) -> QuantizedTensor:
    """Integers for a weight that keep its outputs, not its entries, close.

    Args:
        weight: (out, in), any floating dtype.
        moments: H, (in, in), from `second_moments`.
        scheme: bits, groups and symmetry.
        damping: see `factor_of`.

    Zeros of a pruned weight stay zero where the grid holds zero; the others make up for theirs.

    Raises:
        ValueError: as `quantize_tensor`, or the moments do not fit or cannot be inverted.
    """
    width = weight.shape[-1]
    if moments.shape != (width, width):
        raise ValueError(
            f"A weight with {width} inputs needs second moments of shape {(width, width)}, got "
            f"{tuple(moments.shape)}."
        )
    check_weight(weight, scheme)
    return round_together([weight], compensation(moments, damping=damping), scheme)[0]


def round_columns(
    columns: Tensor,
    steps: Tensor,
    factor: Tensor,
    held: Tensor | None = None,
    *,
    lowest: int,
    highest: int,
) -> Tensor:
    """Round one column after the other, and let those still to come make up for its error.

    What a column should be follows from the errors of those before it, see `factor_of` (Frantar
    et al. 2023, algorithm 1, which is Babai's nearest plane: Chen et al. 2025). Columns of
    earlier groups come in by one matrix product.

    Args:
        columns: the weight, one row a column: (in, out), counted from where its grid has zero.
        steps: the step of each weight's grid, same shape.
        factor: see `Compensation`.
        held: true where a weight lies on its grid and stays there, same shape: what it should
            make up for is left to those behind.
        lowest, highest: integers of the grid.

    Returns:
        The integers (in, out), as floats.
    """
    errors, integers = torch.empty_like(columns), torch.empty_like(columns)
    unit = factor / factor.diagonal()
    own = None if held is None else (columns / steps).round_()
    for start in range(0, len(columns), COLUMNS_AT_ONCE):
        end = min(start + COLUMNS_AT_ONCE, len(columns))
        wanted = columns[start:end] + unit[:start, start:end].T @ errors[:start]
        for j in range(start, end):
            value = torch.addmv(wanted[j - start], errors[start:j].T, unit[start:j, j])
            torch.div(value, steps[j], out=integers[j]).round_().clamp_(lowest, highest)
            if own is not None and held is not None:
                integers[j] = torch.where(held[j], own[j], integers[j])
            torch.addcmul(columns[j], integers[j], steps[j], value=-1, out=errors[j])
    return integers


def round_together(
    weights: Sequence[Tensor],
    compensate: Compensation,
    scheme: Scheme,
    *,
    walk: Callable[..., Tensor] = round_columns,
) -> list[QuantizedTensor]:
    """GPTQ of matrices (out, in) that read the same inputs, in one walk over their columns.

    The columns that matter most come first, while many are left to make up for them. The grids
    are those of the weights as given, so that groups stay neighbors and no order need be stored.
    Where a weight was pruned and the scheme holds zero, its zeros stay.
    """
    order, back = compensate.order, compensate.order.argsort()
    grids = [choose_grid(weight, scheme) for weight in weights]
    columns, steps = [], []
    for weight, (scale, zero) in zip(weights, grids, strict=True):
        step, origin = _step_and_origin(scale, zero, scheme)
        spread = weight.shape[1] // scale.shape[1]  # inputs of a group
        columns.append((weight.float() - origin.repeat_interleave(spread, 1)).T[order])
        steps.append(step.repeat_interleave(spread, 1).expand_as(weight).T[order])
    zeros = [zeros_of(weight) if scheme.holds_zero else None for weight in weights]
    held = []
    if any(own is not None for own in zeros):
        pairs = zip(weights, zeros, strict=True)
        masks = [torch.zeros_like(w, dtype=torch.bool) if own is None else own for w, own in pairs]
        held = [torch.cat([mask.T[order] for mask in masks], 1)]
    found = walk(
        torch.cat(columns, 1),
        torch.cat(steps, 1),
        compensate.factor,
        *held,
        lowest=scheme.lowest,
        highest=scheme.highest,
    )
    kind = torch.int8 if scheme.symmetric else torch.uint8
    rows = [len(weight) for weight in weights]
    integers = torch.split(found.T[:, back].to(kind), rows)
    return [
        QuantizedTensor(own.contiguous(), *grid, scheme)
        for own, grid in zip(integers, grids, strict=True)
    ]


def _step_and_origin(scale: Tensor, zero: Tensor | None, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """The step of each group's grid and the weight that its integer 0 stands for, in float32."""
    step = scale.float().clamp_min(SMALLEST_SCALE)
    if zero is None:
        return step, torch.zeros_like(step)
    return step, zero.float() if scheme.zero_point == "float" else -zero.float() * step
