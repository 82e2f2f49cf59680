"""The two parts of a decoder block, found by their structure: attention and the MLP.

Each is some matrices that read the hidden states, the makers, and one that reads what they made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from greenkit.compressing.matrices import Matrix

HEAD_WIDTHS = ("head_dim", "attention_head_size", "head_size")
VALUES = ("v_proj", "value", "v_lin")
FUSED_BY_HEAD = ("query_key_value",)  # rows lie head by head, which no shape tells


@dataclass(frozen=True)
class Part:
    """Matrices that make features out of the hidden states, and the one that reads these."""

    makers: tuple[Matrix, ...]
    reader: Matrix
    module: nn.Module = field(repr=False, compare=False)

    @property
    def features(self) -> int:
        """How many numbers a token has between makers and reader."""
        return self.reader.weight.shape[1]


def attentions(block: nn.Module) -> list[nn.Module]:
    """The block's attention modules, by the names of their classes."""
    return [part for part in block.children() if "attention" in type(part).__name__.lower()]


def attention_of(block: nn.Module, matrices: Sequence[Matrix]) -> Part | None:
    """Attention with matrices for queries, keys and values, or with one for the three.

    `matrices` are the block's own. None where the block has no attention, two, or one that is
    built otherwise (latent, gated, linear).
    """
    found = attentions(block)
    if len(found) != 1:
        return None
    inside = set(found[0].modules())
    return _part([matrix for matrix in matrices if matrix.module in inside], _attends, found[0])


def mlp_of(block: nn.Module, matrices: Sequence[Matrix]) -> Part | None:
    """The MLP: gate and up matrix, these two in one, or a single one, before the last matrix.

    None where the matrices outside attention are others, as in a mixture of experts.
    """
    inside = {module for part in attentions(block) for module in part.modules()}
    return _part([m for m in matrices if m.module not in inside], _is_mlp, block)


def _part(
    found: list[Matrix], fits: Callable[[list[int], int], bool], module: nn.Module
) -> Part | None:
    """The matrices with the one that reads the others, most often the last, set apart."""
    for place in reversed(range(len(found))):
        reader, makers = found[place], (*found[:place], *found[place + 1 :])
        sees, gives = {matrix.weight.shape[1] for matrix in makers}, reader.weight.shape[0]
        rows = [matrix.weight.shape[0] for matrix in makers]
        if sees == {gives} and fits(rows, reader.weight.shape[1]):
            return Part(makers, reader, module)
    return None


def _attends(rows: list[int], features: int) -> bool:
    if len(rows) == 1:  # queries as wide as what is read, then keys and values
        return rows[0] > features and (rows[0] - features) % 2 == 0
    return len(rows) == 3 and max(rows) == features and sorted(rows)[0] == sorted(rows)[1]


def _is_mlp(rows: list[int], features: int) -> bool:
    return rows in ([features], [2 * features], [features, features])


def head_width(attention: nn.Module, config: Any = None) -> int | None:
    """How many features a head has, as attention says, or else the configuration."""
    for module in attention.modules():
        for name in HEAD_WIDTHS:
            if isinstance(width := getattr(module, name, None), int):
                return width
    if config is None:
        return None
    own = getattr(config, "head_dim", None)
    return own if isinstance(own, int) else config.hidden_size // config.num_attention_heads


def last_name(matrix: Matrix) -> str:
    """The last part of a matrix's name."""
    return matrix.name.rpartition(".")[2]
