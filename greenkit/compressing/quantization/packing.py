"""Small integers without gaps between them: what a file of low-bit weights really holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from greenkit.compressing.quantization.quantizers import QuantizedTensor, Scheme, packed_bytes


def pack(integers: torch.Tensor, bits: int) -> torch.Tensor:
    """Integers from 0 to 2^bits - 1 as one uint8 vector, the first in the lowest bits.

    Two 4-bit integers share a byte; those of 3, 5, 6 or 7 bits run across bytes.
    Raises ValueError for an integer that does not fit.
    """
    flat = integers.reshape(-1).int()  # 256 is no uint8
    if flat.numel() and (flat.min() < 0 or flat.max() >= 2**bits):
        raise ValueError(
            f"Integers from {flat.min()} to {flat.max()} do not fit into {bits} bits: they must "
            f"lie from 0 to {2**bits - 1}."
        )
    places = torch.arange(bits, dtype=torch.uint8, device=flat.device)
    stream = (flat.to(torch.uint8).unsqueeze(1) >> places & 1).reshape(-1)
    stream = torch.nn.functional.pad(stream, (0, -len(stream) % 8)).view(-1, 8)
    values = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=flat.device)
    return (stream * values).sum(1, dtype=torch.uint8)


def unpack(packed: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """The `count` integers, uint8, that `pack` made the vector from.

    Raises ValueError for a vector of another length.
    """
    if packed.shape != (packed_bytes(count, bits),):
        raise ValueError(
            f"{count} integers of {bits} bits take {packed_bytes(count, bits)} bytes, got a "
            f"tensor of shape {tuple(packed.shape)}."
        )
    places = torch.arange(8, dtype=torch.uint8, device=packed.device)
    stream = (packed.unsqueeze(1) >> places & 1).reshape(-1)[: count * bits].view(count, bits)
    values = 1 << torch.arange(bits, dtype=torch.uint8, device=packed.device)
    return (stream * values).sum(1, dtype=torch.uint8)


def to_file(quantized: QuantizedTensor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Packed tensors by the ending of their names, and the facts that `from_file` needs."""
    scheme = quantized.scheme
    tensors = {
        "integers": pack(quantized.integers.to(torch.int16) - scheme.lowest, scheme.bits),
        "scale": quantized.scale,
    }
    if quantized.zero is not None:
        whole = scheme.zero_point == "integer"
        tensors["zero"] = pack(quantized.zero, scheme.bits) if whole else quantized.zero
    return tensors, {**asdict(scheme), "shape": list(quantized.integers.shape)}


def from_file(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> QuantizedTensor:
    """The very tensor that `to_file` packed."""
    values = dict(facts)
    rows, width = values.pop("shape")
    scheme = Scheme(**values)
    integers = unpack(tensors["integers"], scheme.bits, rows * width).view(rows, width)
    if scheme.symmetric:
        integers = (integers.to(torch.int16) + scheme.lowest).to(torch.int8)
    zero = tensors.get("zero")
    if zero is not None and scheme.zero_point == "integer":
        zero = unpack(zero, scheme.bits, tensors["scale"].numel()).view_as(tensors["scale"])
    return QuantizedTensor(integers, tensors["scale"], zero, scheme)
