"""The two ceilings of a device: how fast it multiplies matrices, and how fast it moves bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenkit.foundations.formulas import roofline_time
from greenkit.metering.device import synchronize

if TYPE_CHECKING:
    import torch

REPEATS = 5


@dataclass(frozen=True)
class Ceilings:
    """Rates that a device reached: FLOP/s of a matrix product and bytes/s of a copy."""

    flops_per_s: float
    bytes_per_s: float
    device: str
    dtype: str

    @property
    def ridge(self) -> float:
        """FLOPs per byte at which the two ceilings meet; work below it waits for memory."""
        return self.flops_per_s / self.bytes_per_s

    def time_s(self, flops: float, bytes_moved: float) -> float:
        """Least time in s for that work on this device."""
        return roofline_time(flops, bytes_moved, self.flops_per_s, self.bytes_per_s)


def measure_ceilings(
    device: torch.device | str, dtype: torch.dtype | str, *, width: int = 1024, megabytes: int = 256
) -> Ceilings:
    """Measure both ceilings of a torch device in about a second.

    The product is of two square matrices of `width`; the copy moves `megabytes` and counts what
    it reads and what it writes. The best of several runs counts: a ceiling is what can be
    reached. Raises ValueError for sizes below 1. Derived in: Lab 03.
    """
    import torch

    if width < 1 or megabytes < 1:
        raise ValueError(f"width and megabytes must be at least 1, got {width} and {megabytes}")
    place = torch.device(device)
    number = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    a, b = (torch.rand(width, width, device=place).to(number) for _ in range(2))
    source = torch.ones(megabytes * 250_000, device=place)
    target = torch.empty_like(source)
    product_s = _fastest(lambda: torch.mm(a, b))
    copy_s = _fastest(lambda: target.copy_(source))
    return Ceilings(
        flops_per_s=2 * width**3 / product_s,
        bytes_per_s=2 * source.numel() * source.element_size() / copy_s,
        device=str(place),
        dtype=str(number).removeprefix("torch."),
    )


def _fastest(work: Callable[[], object]) -> float:
    work()
    best_s = float("inf")
    for _ in range(REPEATS):
        synchronize()
        start_s = time.perf_counter()
        work()
        synchronize()
        best_s = min(best_s, time.perf_counter() - start_s)
    return best_s
