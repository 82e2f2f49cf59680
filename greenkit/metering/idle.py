"""What part of the energy of a piece of work the machine would have drawn while idle."""

from __future__ import annotations

import math
import statistics

from greenkit.foundations import Ratio
from greenkit.foundations.small_samples import t95
from greenkit.metering.compare import Comparison
from greenkit.metering.meter import NotMeasuredError


def idle_share(comparison: Comparison, name: str, *, idle: str = "idle") -> Ratio:
    """Power of the idle machine over power during a variant, paired by round, with its interval.

    `idle` is a variant of the same comparison that only sleeps. As the sensor's gain cancels, the
    share is surer than either power. It lies near 1 where nearly all energy is the machine being
    on. Raises NotMeasuredError where energy is estimated, since an estimate from CPU time does not
    know what waiting draws, and where the rounds are too short for the sensor. Derived in: Lab 03.
    """
    label = comparison.ratio(idle, to=name).label
    if not label.startswith("energy"):
        raise NotMeasuredError(f"the share of idle power is not measured: {label}")
    powers = zip(
        *(comparison.joules(idle), comparison.seconds(idle)),
        *(comparison.joules(name), comparison.seconds(name)),
        strict=True,
    )
    logs = [
        math.log((idle_j / idle_s) / (own_j / own_s)) for idle_j, idle_s, own_j, own_s in powers
    ]
    edges = [
        math.hypot(a.random / a.joules, b.random / b.joules)
        for a, b in zip(comparison.readings[idle], comparison.readings[name], strict=True)
    ]
    middle = statistics.mean(logs)
    scatter = t95(len(logs)) * statistics.stdev(logs) / math.sqrt(len(logs))
    half = max(scatter, 2 * math.hypot(*edges) / len(edges))
    ends = (math.exp(middle), math.exp(middle - half), math.exp(middle + half))
    return Ratio(*ends, label.replace("energy ratio", "idle power over power"))
