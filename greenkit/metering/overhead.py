"""What reading costs, and when the next read is within the share of one core that may be spent."""

from __future__ import annotations

import math

SAVED_S = 5.0  # how much of an unused allowance may be spent at once
FRESH = 0.2  # weight of the latest cost in the mean


class Allowance:
    """A share of one core for the reads of one kind.

    Each read pushes `free_s` on by its cost over the share; reads that were not taken are saved
    for `SAVED_S` seconds. Costs and instants in seconds.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.cost_s = 0.0
        self.free_s = -math.inf

    def spend(self, now_s: float, cost_s: float) -> None:
        """Note the cost of a read: its CPU time, or what it kept the others waiting."""
        self.cost_s += (cost_s - self.cost_s) * (FRESH if self.cost_s else 1.0)
        self.free_s = max(self.free_s, now_s - SAVED_S) + cost_s / self.share

    @property
    def spacing_s(self) -> float:
        """How far apart reads may lie in the long run."""
        return self.cost_s / self.share
