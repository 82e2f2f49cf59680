"""Activation-aware scaling: give the inputs that carry much a finer share of the grid.

Input channels with large activations matter most. Their weights are multiplied by s > 1 before
rounding, and what feeds them is divided by s, so that the function stays and the rounding error of
just these channels shrinks by about s (Lin et al. 2024, AWQ). Derived in: Lab 05.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from greenkit.compressing.matrices import Matrix
from greenkit.compressing.moments import output_error
from greenkit.compressing.quantization.quantizers import Scheme, quantize_tensor

STRENGTHS = tuple(step / 10 for step in range(10))
SMALLEST = 1e-4
NORM_READERS = {
    "input_layernorm": ("q_proj", "k_proj", "v_proj"),
    "post_attention_layernorm": ("gate_proj", "up_proj"),
    "ln_1": ("c_attn",),
    "ln_2": ("c_fc",),
}


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


def find_folds(block: nn.Module, matrices: Collection[Matrix]) -> list[Fold]:
    """Where a block of a Llama-style model or of GPT-2 can be scaled without changing it.

    A norm feeds the matrices after it, the values feed attention's output matrix, and Llama's up
    matrix feeds its down matrix. GPT-2's second MLP matrix stands behind a GELU, through which no
    scale passes: it has no fold.
    """
    own = {}
    for matrix in matrices:
        parts = matrix.name.split(".")
        own[parts[-1]] = own[".".join(parts[-2:])] = matrix
    folds = []
    for name, readers in NORM_READERS.items():
        norm = getattr(block, name, None)
        if norm is not None:
            folds.append(Fold(tuple(own[reader] for reader in readers), _parameters(norm)))
    if "c_attn" in own:
        width = own["c_attn"].weight.shape[0] // 3
        feeds = tuple(part[2 * width :] for part in _feeds(own["c_attn"]))
        folds.append(Fold((own["attn.c_proj"],), feeds))
    if "v_proj" in own:
        heads = own["o_proj"].weight.shape[1] // own["v_proj"].weight.shape[0]
        size: Any = block.get_submodule("self_attn").head_dim
        folds.append(Fold((own["o_proj"],), _feeds(own["v_proj"]), heads, size))
    if "up_proj" in own:
        folds.append(Fold((own["down_proj"],), _feeds(own["up_proj"])))
    return folds


def check_foldable(blocks: Iterable[nn.Module]) -> None:
    """Refuse a model whose blocks have other parts, or norms that do not scale with their weight.

    Gemma's norm multiplies by 1 + weight: dividing its weight would change the function.
    """
    for block in blocks:
        norms = [getattr(block, name) for name in NORM_READERS if hasattr(block, name)]
        for norm in norms:
            halved = copy.deepcopy(norm)
            probe = torch.linspace(-1, 1, len(norm.weight)).to(norm.weight)
            with torch.no_grad():
                for parameter in _parameters(halved):
                    parameter.div_(2)
                same = torch.allclose(2 * halved(probe), norm(probe), rtol=1e-2)
            if not same:
                raise ValueError(
                    f"method='awq' folds scales into norms, and {type(norm).__name__} does not "
                    "scale with its weight: use 'gptq' or 'rtn'."
                )
        if len(norms) != 2:
            raise ValueError(
                f"method='awq' knows the blocks of Llama-style models and of GPT-2, not "
                f"{type(block).__name__}: use 'gptq' or 'rtn'."
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
