"""GPTQ: round one input column after the other, and let later ones make up for the error.

Derived in: Lab 05.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from greenkit.compressing.moments import DAMPING, inverse_factor
from greenkit.compressing.quantization.quantizers import (
    QuantizedTensor,
    Scheme,
    check_weight,
    choose_grid,
    from_integers,
    to_integers,
)

LAZY_COLUMNS = 128


@dataclass(frozen=True)
class Compensation:
    """How later columns make up for the error of earlier ones, from the inputs alone.

    `order` (in,) has the column with the largest second moment first; `factor` (in, in) is the
    `inverse_factor` of the moments in that order.
    """

    order: torch.Tensor
    factor: torch.Tensor


def compensation(moments: torch.Tensor, *, damping: float = DAMPING) -> Compensation:
    """The order in which to round a layer's columns, and its factor; see `inverse_factor`."""
    order = moments.diagonal().argsort(descending=True, stable=True)
    return Compensation(order, inverse_factor(moments[order][:, order], damping=damping))


def gptq(
    weight: torch.Tensor, moments: torch.Tensor, scheme: Scheme, *, damping: float = DAMPING
) -> QuantizedTensor:
    """Integers for a weight that keep its outputs, not its entries, close.

    Args:
        weight: (out, in), any floating dtype.
        moments: H, (in, in), from `second_moments`.
        scheme: bits, groups and symmetry.
        damping: see `inverse_factor`.

    Raises:
        ValueError: as `quantize_tensor`, or the moments do not fit or cannot be inverted.
    """
    width = weight.shape[-1]
    if moments.shape != (width, width):
        raise ValueError(
            f"A weight with {width} inputs needs second moments of shape {(width, width)}, got "
            f"{tuple(moments.shape)}."
        )
    return round_columns(weight, compensation(moments, damping=damping), scheme)


def round_columns(
    weight: torch.Tensor, compensate: Compensation, scheme: Scheme
) -> QuantizedTensor:
    """Round one column after the other, and let those still to come make up for its error.

    The error of a column, divided by its diagonal entry of the factor, is taken out of the later
    columns in proportion to the factor's row: at once within a block of columns, by one matrix
    product for all that follow (Frantar et al. 2023, algorithm 1).

    The columns that matter most come first, while many are left to make up for them. The grids
    are those of the weight as given, so that groups stay neighbors and no order need be stored.
    """
    check_weight(weight, scheme)
    scale, zero = choose_grid(weight, scheme)
    columns = weight.float().T[compensate.order].contiguous()  # a column is one row here
    factor = compensate.factor
    width = len(columns)
    groups = (compensate.order // scheme.width_of_group(width)).tolist()
    rounded: list[torch.Tensor] = []
    for start in range(0, width, LAZY_COLUMNS):
        end = min(start + LAZY_COLUMNS, width)
        errors = torch.empty_like(columns[start:end])
        for place in range(start, end):
            own = slice(groups[place], groups[place] + 1)
            step, origin = scale[:, own], None if zero is None else zero[:, own]
            wanted = columns[place].unsqueeze(1)
            rounded.append(to_integers(wanted, step, origin, scheme))
            missing = wanted - from_integers(rounded[-1], step, origin, scheme)
            error = missing.squeeze(1) / factor[place, place]
            columns[place + 1 : end].addr_(factor[place, place + 1 : end], error, alpha=-1)
            errors[place - start] = error
        columns[end:].addmm_(factor[start:end, end:].T, errors, alpha=-1)
    integers = torch.cat(rounded, 1)[:, compensate.order.argsort()].contiguous()
    return QuantizedTensor(integers, scale, zero, scheme)
