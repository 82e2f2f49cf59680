"""Parts of a block that can only be removed whole: key/value groups with their heads, MLP neurons.

Each unit is some rows of the matrices that make it and some columns of the one that reads it. A
unit whose columns are zero does nothing, so taking out rows and columns leaves the same function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from greenkit.compressing.matrices import Layout, Matrix, text_config
from greenkit.compressing.parts import FUSED_BY_HEAD, attention_of, head_width, last_name, mlp_of


@dataclass(frozen=True)
class Units:
    """All units of one kind in one block.

    `makers` are matrices with the row numbers of each unit, shape (units, rows); `columns` of
    shape (units, columns) are those of `reader`.
    """

    makers: tuple[tuple[Matrix, Tensor], ...] = field(repr=False)
    reader: Matrix
    columns: Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.columns)

    def weight_scores(self) -> Tensor:
        """The L2 norm of all weights that belong to each unit, shape (units,)."""
        total: Tensor = self.reader.weight.float().square().sum(0)[self.columns].sum(1)
        for matrix, rows in self.makers:
            total = total + matrix.weight.float().square().sum(1)[rows].sum(1)
        return total.sqrt()

    def moments(self, inputs: Tensor) -> Tensor:
        """Second moments of each unit's features, shape (units, columns, columns).

        `inputs` of shape (..., in) enter the reader; the sum runs over all tokens.
        """
        features = inputs.flatten(0, -2).float()[:, self.columns]
        return torch.einsum("tuc,tud->ucd", features, features)

    def activation_scores(self, moments: Tensor) -> Tensor:
        """The length of what each unit adds to the reader's outputs, shape (units,).

        Its square is tr(W M Wᵀ) with the unit's columns W and its `moments` M: the sum of
        ‖W x‖² over the tokens that the moments are of.
        """
        columns = self.reader.weight.float()[:, self.columns]
        return torch.einsum("ouc,ucd,oud->u", columns, moments, columns).sqrt()

    def keep(self, kept: Tensor) -> None:
        """Take all units out of the block but those numbered in `kept`."""
        for matrix, rows in self.makers:
            chosen = rows[kept].flatten().sort().values
            bias = None if matrix.bias is None else matrix.bias[chosen]
            _put(matrix, matrix.weight[chosen], bias)
        chosen = self.columns[kept].flatten().sort().values
        _put(self.reader, self.reader.weight[:, chosen], None)


def head_units(layout: Layout) -> list[Units]:
    """Per block: each key/value head with all the query heads that read it.

    Raises ValueError for a block whose attention is built otherwise.
    """
    config = text_config(layout.network)
    return [
        _heads(block, own, config)
        for block, own in zip(layout.blocks, layout.by_block, strict=True)
    ]


def neuron_units(layout: Layout) -> list[Units]:
    """Per block: each neuron of the MLP's hidden layer.

    Raises ValueError for a block whose MLP is built otherwise.
    """
    return [_neurons(block, own) for block, own in zip(layout.blocks, layout.by_block, strict=True)]


def _heads(block: nn.Module, own: Sequence[Matrix], config: Any) -> Units:
    part = attention_of(block, own)
    if part is None:
        raise ValueError(
            f"{type(block).__name__} has no attention made of matrices for queries, keys and "
            "values and one that reads what they make"
        )
    width = head_width(part.module, config) or 0
    columns = torch.arange(part.features)
    if len(part.makers) == 3:
        fewest = min(matrix.weight.shape[0] for matrix in part.makers)
        rows = [torch.arange(matrix.weight.shape[0]) for matrix in part.makers]
    else:  # one matrix makes queries, keys and values
        total = part.makers[0].weight.shape[0]
        fewest = (total - part.features) // 2
        rows = [torch.arange(total)]
    units = fewest // width if width else 0
    if not units or fewest % width or part.features % units:
        raise ValueError(
            f"{part.features} features of {part.reader.name} are no whole heads of width {width}"
        )
    if len(part.makers) == 1 and last_name(part.makers[0]) not in FUSED_BY_HEAD:
        split = torch.split(rows[0], [part.features, fewest, fewest])
        rows = [torch.cat([each.view(units, -1) for each in split], dim=1)]
    makers = tuple(
        (matrix, each.reshape(units, -1)) for matrix, each in zip(part.makers, rows, strict=True)
    )
    return Units(makers, part.reader, columns.view(units, -1))


def _neurons(block: nn.Module, own: Sequence[Matrix]) -> Units:
    part = mlp_of(block, own)
    if part is None:
        raise ValueError(
            f"what {type(block).__name__} holds beside attention is not an MLP of two matrices, or "
            "of three with a gate"
        )
    each = torch.arange(part.features).view(-1, 1)
    makers = []
    for matrix in part.makers:
        fused = matrix.weight.shape[0] // part.features  # gate and up matrix in one
        rows = torch.cat([each + half * part.features for half in range(fused)], dim=1)
        makers.append((matrix, rows))
    return Units(tuple(makers), part.reader, each)


def _put(matrix: Matrix, weight: Tensor, bias: Tensor | None) -> None:
    """Give a module another weight of shape (out, in), and another bias unless it is None."""
    trained = matrix.module.weight.requires_grad
    stored = weight.T if isinstance(matrix.module, Conv1D) else weight
    matrix.module.weight = nn.Parameter(stored.contiguous(), requires_grad=trained)
    if bias is not None:
        matrix.module.bias = nn.Parameter(bias, requires_grad=trained)
