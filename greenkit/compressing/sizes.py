"""What a model weighs in memory: parameters, bytes, zeros."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from greenkit.compressing.given import Model, torch_model

FEWEST_ZEROS = 0.05  # share of a matrix from which zeros are no chance but what pruning left


@dataclass(frozen=True)
class Size:
    """Parameters (tied ones count once) and the bytes that they and the buffers take in memory."""

    parameters: int
    bytes: int


def size_of(model: Model) -> Size:
    """Parameters and bytes of a model as it is now, packed tensors by what they really hold."""
    network = torch_model(model)
    tensors = [*network.parameters(), *network.buffers()]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Size(parameters, sum(tensor_bytes(tensor) for tensor in tensors))


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Bytes that a tensor holds; of a packed one (int4, 2:4) those of the tensors inside it."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(tensor_bytes(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()


def zero_share(weight: torch.Tensor) -> float:
    """The fraction of exact zeros."""
    return 1 - weight.count_nonzero().item() / weight.numel()


def zeros_of(weight: torch.Tensor) -> torch.Tensor | None:
    """Where a pruned weight (out, in) is zero; None where no more than chance is."""
    zeros = weight == 0
    return zeros if zeros.count_nonzero().item() >= FEWEST_ZEROS * weight.numel() else None


def zeros_in(weights: Iterable[torch.Tensor]) -> float:
    """The fraction of exact zeros in several weights together."""
    counts = [(weight.numel(), zero_share(weight)) for weight in weights]
    return sum(count * share for count, share in counts) / max(sum(n for n, _ in counts), 1)
