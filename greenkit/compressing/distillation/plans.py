"""How long, how fast and in which order a training run goes, as plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from greenkit.compressing.arguments import refuse_no_count, refuse_no_number
from greenkit.inputs.models import choose_dtype, has_bfloat16

PRECISIONS = ("float32", "bfloat16", "float16")
WARMUP = 0.1  # share of the run in which the learning rate rises
FLOOR = 0.1  # the learning rate at the end, as a share of its peak


@dataclass(frozen=True)
class Plan:
    """How to train, and when to stop: at whatever runs out first.

    Args:
        steps: optimizer steps, at most.
        batch: windows a step; `accumulate` divides them into so many parts, which saves memory
            and leaves the gradient as it is.
        learning_rate: its peak, reached after `warmup` steps; by default as a tenth of the steps,
            or of the budget that runs out first, is used up. It then falls on a cosine to a tenth
            of the peak, as the first of the budgets runs out.
        clip: the largest norm of a step's gradient.
        seed: of the order of the windows, and of dropout.
        precision: of the arithmetic: "float32", "bfloat16" or "float16", whatever the weights are
            kept in; by default see `default_precision`.
        tokens, seconds, joules: further budgets. A run that seconds or joules cut short is not
            reproducible bit for bit, because its schedule follows them.

    Raises ValueError for a number that makes no sense. Derived in: Lab 06.
    """

    steps: int
    batch: int = 4
    learning_rate: float = 5e-4
    warmup: int | None = None
    clip: float = 1.0
    accumulate: int = 1
    seed: int = 0
    precision: str | None = None
    tokens: float = math.inf
    seconds: float = math.inf
    joules: float = math.inf

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate"):
            refuse_no_count(name, getattr(self, name))
        refuse_no_count("seed", self.seed, least=None)
        if self.warmup is not None:
            refuse_no_count("warmup", self.warmup, least=None)
        for name in ("learning_rate", "clip", "tokens", "seconds", "joules"):
            refuse_no_number(name, getattr(self, name), "above 0")
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(
                f"precision is one of {', '.join(PRECISIONS)}; got {self.precision!r}."
            )
        if self.batch % self.accumulate:
            raise ValueError(
                f"a batch of {self.batch} windows cannot be accumulated in {self.accumulate} "
                "equal parts."
            )
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(
                f"warmup must be from 0 to below {self.steps} steps, got {self.warmup}."
            )

    @property
    def warmup_steps(self) -> int:
        """Steps until the learning rate is at its peak, at the latest."""
        return int(self.steps * WARMUP) if self.warmup is None else self.warmup

    def spent(self, step: int, tokens: int, seconds: float, joules: float) -> dict[str, float]:
        """The share of each budget that is used up; at 1 the run ends."""
        return {
            "steps": step / self.steps,
            "tokens": tokens / self.tokens,
            "seconds": seconds / self.seconds,
            "joules": joules / self.joules,
        }

    def rate(self, step: int, spent: float) -> float:
        """The learning rate of a step (counted from 0) when a share of the budget is spent.

        >>> plan = Plan(steps=100, learning_rate=1.0)
        >>> [round(plan.rate(step, step / 100), 3) for step in (0, 9, 55, 100)]
        [0.1, 1.0, 0.55, 0.1]
        """
        if step < self.warmup_steps:
            risen = (step + 1) / self.warmup_steps
            if self.warmup is None:
                risen = max(risen, spent / WARMUP)
            if risen < 1:
                return self.learning_rate * risen
        start = self.warmup_steps / self.steps
        fallen = min(max((spent - start) / (1 - start), 0.0), 1.0)
        share = FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * fallen)) / 2
        return self.learning_rate * share

    def windows_of(self, step: int, available: int) -> torch.Tensor:
        """The numbers of the windows that a step reads, out of so many.

        Each epoch has an order of its own, and what does not fill a batch waits for the next one.
        It depends on seed and step alone, so that a run which goes on reads what it would have.
        """
        epoch, place = divmod(step, available // self.batch)
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + epoch)
        order = torch.randperm(available, generator=generator)
        return order[place * self.batch : (place + 1) * self.batch]


def default_precision(device: torch.device | str) -> str:
    """The narrowest arithmetic that the device has in hardware and that training bears.

    bfloat16 on GPUs since Ampere and on CPUs with its instructions, float16 on older GPUs, else
    float32.
    """
    place = torch.device(device)
    if has_bfloat16(place):
        return "bfloat16"
    return str(choose_dtype(None, place)).removeprefix("torch.")
