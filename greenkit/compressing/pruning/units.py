"""Parts of a block that can only be removed whole: key/value groups with their heads, MLP neurons.

Each unit is some rows of the matrices that make it and some columns of the one that reads it. A
unit whose columns are zero does nothing, so taking out rows and columns leaves the same function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from greenkit.compressing.matrices import Layout, Matrix


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
    """Per block: each key/value head with all the query heads that read it."""
    return _per_block(layout, _heads)


def neuron_units(layout: Layout) -> list[Units]:
    """Per block: each neuron of the MLP's hidden layer."""
    return _per_block(layout, _neurons)


def _per_block(layout: Layout, find: Callable[[str, nn.Module], Units]) -> list[Units]:
    return [find(f"{layout.path}.{index}", block) for index, block in enumerate(layout.blocks)]


def _heads(path: str, block: nn.Module) -> Units:
    if hasattr(block, "attn"):  # GPT-2: one matrix makes queries, keys and values
        both, reader = (_matrix(path, block, f"attn.{name}") for name in ("c_attn", "c_proj"))
        width = int(block.get_submodule("attn").head_dim)  # type: ignore[arg-type]
        columns = torch.arange(reader.weight.shape[1]).view(-1, width)
        rows = torch.cat([columns + part * columns.numel() for part in range(3)], dim=1)
        return Units(((both, rows),), reader, columns)
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    q, k, v, reader = (_matrix(path, block, f"self_attn.{name}") for name in names)
    width = int(block.get_submodule("self_attn").head_dim)  # type: ignore[arg-type]
    units = k.weight.shape[0] // width
    query = torch.arange(q.weight.shape[0]).view(units, -1)
    key = torch.arange(k.weight.shape[0]).view(units, -1)
    return Units(((q, query), (k, key), (v, key)), reader, query)


def _neurons(path: str, block: nn.Module) -> Units:
    gpt2 = hasattr(block, "attn")
    names = ("c_fc",) if gpt2 else ("gate_proj", "up_proj")
    reader = _matrix(path, block, "mlp.c_proj" if gpt2 else "mlp.down_proj")
    each = torch.arange(reader.weight.shape[1]).view(-1, 1)
    return Units(tuple((_matrix(path, block, f"mlp.{n}"), each) for n in names), reader, each)


def _matrix(path: str, block: nn.Module, name: str) -> Matrix:
    return Matrix(f"{path}.{name}", block.get_submodule(name))


def _put(matrix: Matrix, weight: Tensor, bias: Tensor | None) -> None:
    """Give a module another weight of shape (out, in), and another bias unless it is None."""
    trained = matrix.module.weight.requires_grad
    stored = weight.T if isinstance(matrix.module, Conv1D) else weight
    matrix.module.weight = nn.Parameter(stored.contiguous(), requires_grad=trained)
    if bias is not None:
        matrix.module.bias = nn.Parameter(bias, requires_grad=trained)
