"""What a set of windows says of a meter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev


def summary(ratios: Sequence[float]) -> dict[str, float]:
    """Mean, sd, min, max of energy / truth, and the rms of the relative error."""
    return {
        "count": len(ratios),
        "mean": fmean(ratios),
        "sd": pstdev(ratios),
        "min": min(ratios),
        "max": max(ratios),
        "rms": math.sqrt(fmean((ratio - 1) ** 2 for ratio in ratios)),
    }
