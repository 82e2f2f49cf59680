"""Activation-aware scaling: give the inputs that carry much a finer share of the grid.

Input channels with large activations matter most. Their weights are multiplied by s > 1 before
rounding, and what feeds them is divided by s, so that the function stays and the rounding error of
just these channels shrinks by about s (Lin et al. 2024, AWQ). Derived in: Lab 05.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from greenkit.compressing.matrices import Matrix
from greenkit.compressing.moments import output_error
from greenkit.compressing.parts import (
    FUSED_BY_HEAD,
    VALUES,
    Part,
    attention_of,
    head_width,
    last_name,
    mlp_of,
)
from greenkit.compressing.quantization.quantizers import Scheme, quantize_tensor

STRENGTHS = tuple(step / 10 for step in range(10))
SMALLEST = 1e-4


@dataclass(frozen=True)
class Fold:
    """Matrices that read the same tensor, and the parameters before them that can take in 1 / s.

    `feeds` are views of these parameters, each with one row for each channel that the readers
    see. Where `heads` query heads of `head_size` read one key/value head, their channels come
    from the same row and share one s.
    """

    readers: tuple[Matrix, ...]
    feeds: tuple[torch.Tensor, ...]
    heads: int = 1
    head_size: int = 1

    def shared(self, channels: torch.Tensor) -> torch.Tensor:
        """Values of the readers' channels (in,) as one for each feeding row, by their mean."""
        return channels.view(-1, self.heads, self.head_size).mean(1).flatten()

    def spread(self, rows: torch.Tensor) -> torch.Tensor:
        """Values of the feeding rows as one for each of the readers' channels (in,)."""
        return rows.view(-1, 1, self.head_size).expand(-1, self.heads, -1).flatten()

    def apply(self, scales: torch.Tensor) -> None:
        """Multiply the readers' columns by s and divide the feeding rows by it.

        `scales` has one s for each feeding row. What the block computes stays.
        """
        with torch.no_grad():
            for matrix in self.readers:
                matrix.weight.mul_(self.spread(scales))
            for feed in self.feeds:
                feed.div_(scales.view(-1, *[1] * (feed.ndim - 1)))


def find_folds(block: nn.Module, matrices: Sequence[Matrix]) -> list[Fold]:
    """Where a block can be scaled without changing what it computes, if it is built as most are.

    A norm feeds the matrices after it (one norm all of them, where attention and MLP run side by
    side), the values feed attention's output matrix, and a gated MLP's up matrix feeds its down
    matrix. The second matrix of an MLP without gate stands behind an activation, through which no
    scale passes: it has no fold. Empty for a block with other parts; whether it computes the same
    with scales moved, `greenkit.compressing.trials` tries out.
    """
    attention, mlp, norms = attention_of(block, matrices), mlp_of(block, matrices), _norms(block)
    if attention is None or mlp is None or len(norms) not in (1, 2):
        return []
    readers = [attention.makers, mlp.makers]
    if len(norms) == 1:
        readers = [attention.makers + mlp.makers]
    folds = [Fold(own, _parameters(norm)) for own, norm in zip(readers, norms, strict=True)]
    made = attention.makers[0].weight.shape[0]
    if len(attention.makers) == 1 and last_name(attention.makers[0]) not in FUSED_BY_HEAD:
        keys = made - (made - attention.features) // 2  # the values come last
        feeds = tuple(part[keys:] for part in _feeds(attention.makers[0]))
        folds += _fold_of_values(attention, feeds)
    for matrix in attention.makers:
        if last_name(matrix) in VALUES:
            folds += _fold_of_values(attention, _feeds(matrix))
    for matrix in mlp.makers:
        if last_name(matrix) == "up_proj" and len(mlp.makers) == 2:
            folds.append(Fold((mlp.reader,), _feeds(matrix)))
    return folds


def _fold_of_values(attention: Part, feeds: tuple[torch.Tensor, ...]) -> list[Fold]:
    heads, size = attention.features // len(feeds[0]), head_width(attention.module)
    if heads == 1:
        return [Fold((attention.reader,), feeds)]
    return [] if size is None else [Fold((attention.reader,), feeds, heads, size)]


def _norms(block: nn.Module) -> list[nn.Module]:
    return [
        part
        for part in block.children()
        if type(part).__name__.lower().endswith("norm") and list(part.parameters())
    ]


def check_foldable(blocks: Iterable[nn.Module]) -> None:
    """Refuse norms that do not scale with their weight.

    Gemma's norm multiplies by 1 + weight: dividing its weight would change the function.
    """
    for block in blocks:
        for norm in _norms(block):
            halved = copy.deepcopy(norm)
            size = len(next(norm.parameters()))
            probe = torch.linspace(-1, 1, size).to(next(norm.parameters()))
            with torch.no_grad():
                for parameter in _parameters(halved):
                    parameter.div_(2)
                same = torch.allclose(2 * halved(probe), norm(probe), rtol=1e-2)
            if not same:
                raise ValueError(
                    f"method='awq' folds scales into norms, and {type(norm).__name__} does not "
                    "scale with its weight: use 'gptq' or 'rtn'."
                )


def search_scales(
    fold: Fold,
    moments: torch.Tensor,
    magnitudes: torch.Tensor,
    schemes: Mapping[str, Scheme],
) -> tuple[torch.Tensor, float]:
    """The s with the smallest output error among s = magnitude^strength, and that strength.

    Args:
        fold: the readers that share s.
        moments: (in, in), from `second_moments` of the readers' inputs.
        magnitudes: (in,), the mean |x| of each channel.
        schemes: by name, of those readers that will be quantized.

    Strength 0 is plain rounding, so on the calibration inputs this never does worse.
    """
    best = (torch.ones_like(fold.shared(magnitudes)), 0.0)
    least = float("inf")
    for strength in STRENGTHS:
        scales = fold.shared(magnitudes).clamp_min(SMALLEST) ** strength
        scales = scales / (scales.max() * scales.min()).sqrt()
        columns = fold.spread(scales)
        error = 0.0
        for matrix in fold.readers:
            if (scheme := schemes.get(matrix.name)) is not None:
                weight = matrix.weight.float()
                rounded = quantize_tensor(weight * columns, scheme).dequantize() / columns
                error += output_error(rounded - weight, moments)
        if error < least:
            least, best = error, (scales, strength)
    return best


def _parameters(norm: nn.Module) -> tuple[torch.Tensor, ...]:
    return tuple(parameter.detach() for parameter in norm.parameters())


def _feeds(matrix: Matrix) -> tuple[torch.Tensor, ...]:
    return (matrix.weight,) if matrix.bias is None else (matrix.weight, matrix.bias)
