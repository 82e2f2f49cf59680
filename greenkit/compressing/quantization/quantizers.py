"""Quantizers written out: floats to small integers with scales, and back.

A weight has the shape (out, in). Its integers are shared out in groups along the input width: one
group for the whole tensor, one per row, or one per `group_size` inputs of a row. Derived in:
Lab 05.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

import torch

from greenkit.compressing.arguments import refuse_no_count, refuse_no_switch

Granularity = Literal["tensor", "channel", "group"]
ZeroPoint = Literal["float", "integer"]

BITS = range(2, 9)
SMALLEST_SCALE = torch.finfo(torch.float32).tiny
LARGEST_IN_GROUPS = 6e4  # scales and minimums of groups are kept in float16


@dataclass(frozen=True)
class Scheme:
    """How a weight becomes integers.

    Attributes:
        bits: of one integer, 2 to 8.
        granularity: what shares a scale: the whole "tensor", a "channel" (one output row), or a
            "group" of `group_size` inputs of one row.
        symmetric: integers from -(2^(bits-1) - 1) to 2^(bits-1) - 1 around zero; else from 0 to
            2^bits - 1 between the group's minimum and maximum, which takes a zero point.
        zero_point: of an asymmetric scheme: "float" keeps the group's minimum, weight = scale *
            integer + minimum, as GGUF's Q4_1 and torch's int4 kernels do; "integer" puts zero on
            the grid, weight = scale * (integer - zero_point), as torch's quantized tensors do.

    Raises ValueError for values that make no sense.
    """

    bits: int = 8
    granularity: Granularity = "channel"
    group_size: int | None = None
    symmetric: bool = True
    zero_point: ZeroPoint = "float"

    def __post_init__(self) -> None:
        refuse_no_switch("symmetric", self.symmetric)
        if not isinstance(self.bits, Integral) or self.bits not in BITS:
            raise ValueError(
                f"bits must be a whole number from {BITS[0]} to {BITS[-1]}, got {self.bits!r}."
            )
        if self.group_size is not None:
            refuse_no_count("group_size", self.group_size, least=None)
        if self.granularity not in get_args(Granularity):
            names = ", ".join(get_args(Granularity))
            raise ValueError(f"There is no granularity {self.granularity!r}: use {names}.")
        if self.zero_point not in get_args(ZeroPoint):
            names = ", ".join(get_args(ZeroPoint))
            raise ValueError(f"There is no zero point {self.zero_point!r}: use {names}.")
        if self.granularity == "group" and (self.group_size is None or self.group_size < 1):
            raise ValueError(f"Groups need a group_size of 1 or more, got {self.group_size!r}.")
        if self.granularity != "group" and self.group_size is not None:
            raise ValueError(
                f"group_size={self.group_size} means nothing with granularity "
                f"{self.granularity!r}: leave it out, or use granularity='group'."
            )

    @property
    def lowest(self) -> int:
        """The smallest integer of the grid."""
        return 1 - (1 << (self.bits - 1)) if self.symmetric else 0

    @property
    def highest(self) -> int:
        """The largest integer of the grid."""
        return (1 << (self.bits - 1)) - 1 if self.symmetric else (1 << self.bits) - 1

    @property
    def scale_dtype(self) -> torch.dtype:
        """Groups keep their many scales in 16 bits; a row's or a tensor's one scale takes 32."""
        return torch.float16 if self.granularity == "group" else torch.float32

    @property
    def holds_zero(self) -> bool:
        """Whether a weight of zero lies on every grid of this scheme."""
        return self.symmetric or self.zero_point == "integer"

    def width_of_group(self, width: int) -> int:
        """Inputs that share a scale in a row of `width`; ValueError if they do not divide it."""
        if self.group_size is None:
            return width
        if width % self.group_size:
            fitting = [size for size in (128, 96, 64, 32, 16) if width % size == 0]
            hint = f"; {', '.join(map(str, fitting))} would" if fitting else ""
            raise ValueError(
                f"group_size={self.group_size} does not divide an input width of {width}{hint}."
            )
        return self.group_size

    def __str__(self) -> str:
        shared = {"tensor": "per tensor", "channel": "per channel"}.get(
            self.granularity, f"groups of {self.group_size}"
        )
        return f"int{self.bits}, {'symmetric' if self.symmetric else 'asymmetric'}, {shared}"


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight as integers with what turns them back.

    Attributes:
        integers: (out, in), int8 if symmetric, else uint8.
        scale: (out, groups), or (1, 1) per tensor: the step of each group's grid.
        zero: None if symmetric, else of the scale's shape: the minimum (a float) or the integer
            that stands for zero.
    """

    integers: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None
    scheme: Scheme

    def dequantize(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The weights (out, in) that the integers stand for, computed in float32."""
        return from_integers(self.integers, self.scale, self.zero, self.scheme).to(dtype)

    @property
    def bytes(self) -> int:
        """Bytes if stored packed: the integers at their bits, the scales and the zero points."""
        total = packed_bytes(self.integers.numel(), self.scheme.bits)
        total += self.scale.numel() * self.scale.element_size()
        if self.zero is not None and self.scheme.zero_point == "integer":
            total += packed_bytes(self.zero.numel(), self.scheme.bits)
        elif self.zero is not None:
            total += self.zero.numel() * self.zero.element_size()
        return total

    @property
    def bits_per_weight(self) -> float:
        """All stored bits over the number of weights: 4.5 for int4 in groups of 32 with a scale."""
        return 8 * self.bytes / self.integers.numel()


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that `count` integers of `bits` each take without a gap."""
    return (count * bits + 7) // 8


def choose_grid(weight: torch.Tensor, scheme: Scheme) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The scale and the zero of each group, so that the grid reaches its largest weights.

    Weights that were int4 once (GGUF's Q4_1: minimum and scale in float16, groups of 32 that reach
    0 and 15) get their own minimum and scale back: to quantize them so again changes nothing.

    Args:
        weight: (out, in).

    Returns:
        scale of shape (out, groups) or (1, 1), in the scheme's dtype, and the zero or None.
        A group of zeros gets the scale 0.
    """
    grouped = _grouped(weight.float(), scheme)
    steps, dtype = scheme.highest - scheme.lowest, scheme.scale_dtype
    if scheme.symmetric:
        reach = grouped.abs().amax(-1)
        return _stored(reach / scheme.highest, reach, scheme.highest, dtype), None
    low, high = grouped.amin(-1), grouped.amax(-1)
    if scheme.zero_point == "integer":
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = _stored((high - low) / steps, high - low, steps, dtype)
        zero = torch.round(-low / scale.float().clamp_min(SMALLEST_SCALE)).clamp(0, steps)
        return scale, zero.to(torch.uint8)
    minimum = low.to(dtype)
    cuts = minimum.float() - low > (high - minimum.float()) / (2 * steps)
    minimum = torch.where(cuts, _neighbor(minimum, -1), minimum)
    reach = high - minimum.float()
    return _stored(reach / steps, reach, steps, dtype), minimum


def to_integers(
    weight: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, scheme: Scheme
) -> torch.Tensor:
    """The nearest integer of the grid for each weight: (out, in) in int8, or uint8."""
    grouped = weight.float().reshape(*scale.shape, -1)
    step = scale.float().unsqueeze(-1).clamp_min(SMALLEST_SCALE)
    if zero is None:
        places = grouped / step
    elif scheme.zero_point == "float":
        places = (grouped - zero.float().unsqueeze(-1)).div_(step)
    else:
        places = (grouped / step).add_(zero.float().unsqueeze(-1))
    integers = places.round_().clamp_(scheme.lowest, scheme.highest)
    return integers.to(torch.int8 if scheme.symmetric else torch.uint8).reshape(weight.shape)


def from_integers(
    integers: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, scheme: Scheme
) -> torch.Tensor:
    """The weights (out, in) that integers stand for, computed in float32."""
    grouped = integers.float().reshape(*scale.shape, -1)
    step = scale.float().unsqueeze(-1)
    if zero is None:
        values = grouped * step
    elif scheme.zero_point == "float":
        values = grouped * step + zero.float().unsqueeze(-1)
    else:
        values = (grouped - zero.float().unsqueeze(-1)) * step
    return values.reshape(integers.shape)


def quantize_tensor(weight: torch.Tensor, scheme: Scheme) -> QuantizedTensor:
    """Round each weight to the nearest point of its group's grid.

    No weight moves by more than half a step: |weight - dequantized| <= scale / 2 (with an
    integer zero point, one step where the zero was rounded).

    Args:
        weight: (out, in), any floating dtype.

    Raises:
        ValueError: the weight is not a matrix, holds NaN or infinity, or the groups do not divide
            its width.
    """
    check_weight(weight, scheme)
    scale, zero = choose_grid(weight, scheme)
    return QuantizedTensor(to_integers(weight, scale, zero, scheme), scale, zero, scheme)


def check_weight(weight: torch.Tensor, scheme: Scheme) -> None:
    """Refuse what has no grid, before any work."""
    if weight.ndim != 2 or weight.numel() == 0:
        raise ValueError(f"A weight is a matrix (out, in), got the shape {tuple(weight.shape)}.")
    if not weight.isfinite().all():
        raise ValueError("The weight holds NaN or infinity: it has no grid.")
    scheme.width_of_group(weight.shape[1])
    if scheme.granularity == "group" and weight.abs().max() > LARGEST_IN_GROUPS:
        raise ValueError(
            f"The weight reaches {weight.abs().max():.3g}, and groups keep their scales in "
            f"float16, up to {LARGEST_IN_GROUPS:.3g}: use granularity='channel'."
        )


def _grouped(weight: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """(out, groups, inputs of a group), or (1, 1, everything) per tensor."""
    if scheme.granularity == "tensor":
        return weight.reshape(1, 1, -1)
    rows, width = weight.shape
    return weight.reshape(rows, -1, scheme.width_of_group(width))


def _stored(
    scale: torch.Tensor, reach: torch.Tensor, steps: int, dtype: torch.dtype
) -> torch.Tensor:
    """The scale in the dtype it is kept in, rounded up where rounding would clip half a step."""
    kept = scale.to(dtype)
    clips = reach - steps * kept.float() > kept.float() / 2
    return torch.where(clips, _neighbor(kept, 1), kept)


def _neighbor(values: torch.Tensor, side: int) -> torch.Tensor:
    """The next number above (side 1) or below (-1) in the same dtype."""
    number = torch.finfo(values.dtype)
    wide = values.float()
    step = wide.abs() * number.eps + number.smallest_normal * number.eps
    return (wide + side * step).to(values.dtype)
