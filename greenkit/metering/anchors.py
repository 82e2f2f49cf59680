"""A curve through anchors, instants at which a counter told the energy, shaped by power samples."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from greenkit.metering.curve import EnergyCurve
from greenkit.metering.shape import Sample, Stretch, fit, stretches

SEEN = 0.25  # of its period, what a power sample sees (A100, H100: 25 of 100 ms)
LATELY = 10
LUMPS = 2.0  # what samples miss comes in lumps: more than a normal law would have it


class Anchor(NamedTuple):
    """Energy so far (J) at an instant (s) that is known to within `late_s`."""

    time_s: float
    joules: float
    late_s: float


class Anchors:
    """Draws a curve from anchor to anchor; in between it rises as the samples say."""

    def __init__(self, curve: EnergyCurve) -> None:
        self.curve = curve
        self.samples: list[Sample] = []
        self.last: Anchor | None = None
        # Of the latest stretches between anchors: J² that the samples lacked beyond what was
        # expected of them, and seconds.
        self._lately: deque[tuple[float, float]] = deque(maxlen=LATELY)

    def sample(self, time_s: float, watts: float) -> None:
        """A sample of power that came at an instant."""
        if not self.samples or time_s > self.samples[-1].time_s:
            self.samples.append(Sample(time_s, watts))

    def begin(self, anchor: Anchor) -> None:
        """The first anchor, or the first after a gap."""
        self.curve.knot(*anchor)
        self.last = anchor

    def put(self, anchor: Anchor, sample_period_s: float) -> None:
        """The next anchor, with the knots that lead to it."""
        before, self.last = self.last, anchor
        assert before is not None
        between = anchor.joules - before.joules
        level = Sample(anchor.time_s, between / (anchor.time_s - before.time_s))
        parts = stretches(
            self.samples or [level], before.time_s, anchor.time_s, SEEN * sample_period_s
        )
        self._knots(before, anchor, parts)
        self.curve.knot(*anchor)
        past = sum(sample.time_s <= anchor.time_s for sample in self.samples)
        del self.samples[: max(0, past - 1)]

    def _knots(self, before: Anchor, anchor: Anchor, parts: list[Stretch]) -> None:
        """What is uncertain between two anchors is certain at both: a bridge.

        What the samples lacked lately, beyond what was expected of them, came between them.
        """
        between, length_s = anchor.joules - before.joules, anchor.time_s - before.time_s
        expected = sum(part.variance for part in parts)
        lacked = (between - sum(part.joules for part in parts)) ** 2
        self._lately.append((LUMPS * lacked - expected, length_s))
        unseen = max(0.0, sum(j2 for j2, _ in self._lately) / sum(s for _, s in self._lately))
        whole = expected + unseen * length_s
        variance, joules = 0.0, before.joules
        for part, energy in zip(parts[:-1], fit(parts, between), strict=False):
            variance += part.variance + unseen * part.length_s
            joules += energy
            share = (part.end_s - before.time_s) / length_s
            late_s = before.late_s + share * (anchor.late_s - before.late_s)
            doubt = variance * (1 - variance / whole) if whole else 0.0
            self.curve.knot(part.end_s, joules, late_s, doubt=max(0.0, doubt))
