"""What reading costs, and when the next read is within the share of one core that may be spent."""

from __future__ import annotations

OVERHEAD = 0.01  # of one core, that a sensor may cost unless the user says otherwise
AT_FIRST_S = 8.0  # so many seconds' allowance may be spent at once, to find what is to be found


class Allowance:
    """A share of one core for all reads of a sensor, from an instant on.

    What is spent pushes `free_s` on by its cost over the share: before that instant nothing but
    the cheapest reads should follow. Costs and instants in seconds.
    """

    def __init__(self, share: float, now_s: float) -> None:
        self.share = share
        self.free_s = now_s - AT_FIRST_S

    def spend(self, now_s: float, cost_s: float) -> None:
        """Note the cost of a read: what it kept a core busy."""
        self.free_s = max(self.free_s, now_s - AT_FIRST_S) + cost_s / self.share
