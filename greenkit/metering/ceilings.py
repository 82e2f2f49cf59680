"""The ceilings of a device: how fast it multiplies matrices, moves bytes and takes operations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenkit.metering.device import synchronize
from greenkit.metering.launches import measure_launch_s

if TYPE_CHECKING:
    import torch

REPEATS, LEAST_S = 5, 0.3
WIDTH_GPU, WIDTH_CPU = 4096, 1024


@dataclass(frozen=True)
class Bounds:
    """Least times in s of one piece of work: no device that has these ceilings is faster."""

    arithmetic: float
    memory: float
    launches: float

    @property
    def binds(self) -> str:
        """The name of the largest: "arithmetic", "memory" or "launches"."""
        return max(vars(self), key=lambda name: getattr(self, name))

    @property
    def least_s(self) -> float:
        """The largest of the three, in s."""
        return max(self.arithmetic, self.memory, self.launches)


@dataclass(frozen=True)
class Ceilings:
    """What a device reached: FLOP/s of a matrix product, bytes/s of a copy, s of a launch."""

    flops_per_s: float
    bytes_per_s: float
    device: str
    dtype: str
    launch_s: float = 0.0

    @property
    def ridge(self) -> float:
        """FLOPs per byte at which the two rates meet; work below it waits for memory."""
        return self.flops_per_s / self.bytes_per_s

    def bounds(self, flops: float, bytes_moved: float, launches: float = 0) -> Bounds:
        """The three least times of that work on this device.

        Raises ValueError for work below 0. Source: Williams, Waterman and Patterson 2009 for the
        first two. Derived in: Lab 03.
        """
        if not min(flops, bytes_moved, launches) >= 0:
            raise ValueError(f"work is 0 or more: got {flops}, {bytes_moved} and {launches}")
        return Bounds(
            arithmetic=flops / self.flops_per_s,
            memory=bytes_moved / self.bytes_per_s,
            launches=launches * self.launch_s,
        )

    def best(self, other: Ceilings) -> Ceilings:
        """The better of each ceiling of two measurements of one device.

        A ceiling is what can be reached; a busy machine hides it for a while.
        """
        return replace(
            self,
            flops_per_s=max(self.flops_per_s, other.flops_per_s),
            bytes_per_s=max(self.bytes_per_s, other.bytes_per_s),
            launch_s=min(self.launch_s, other.launch_s),
        )

    def time_s(self, flops: float, bytes_moved: float, launches: float = 0) -> float:
        """Least time in s for that work on this device."""
        return self.bounds(flops, bytes_moved, launches).least_s


def measure_ceilings(
    device: torch.device | str,
    dtype: torch.dtype | str,
    *,
    width: int | None = None,
    megabytes: int = 256,
) -> Ceilings:
    """Measure the ceilings of a torch device in about a second.

    The product is of two square matrices of `width` (4096 on a GPU, else 1024); the copy moves
    `megabytes` and counts what it reads and what it writes; a launch is the smallest operation
    there is. The best of many runs counts: a ceiling is what can be reached. Raises ValueError
    for sizes below 1 and for a type that torch lacks. Derived in: Lab 03.
    """
    import torch

    place = torch.device(device)
    if width is None:
        width = WIDTH_CPU if place.type == "cpu" else WIDTH_GPU
    if width < 1 or megabytes < 1:
        raise ValueError(f"width and megabytes must be at least 1, got {width} and {megabytes}")
    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ValueError(f"torch has no type {dtype!r}; one is e.g. 'float32' or 'bfloat16'")
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
        launch_s=measure_launch_s(place),
    )


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of five runs or more: as many as 0.3 s allow."""
    work()
    times: list[float] = []
    while len(times) < REPEATS or sum(times) < LEAST_S:
        synchronize()
        start_s = time.perf_counter()
        work()
        synchronize()
        times.append(time.perf_counter() - start_s)
    return min(times)
