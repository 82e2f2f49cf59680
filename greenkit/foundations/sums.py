"""Adding readings without counting any energy twice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

from greenkit.foundations.provenance import Domain, ErrorSource, Provenance, ProvenanceError
from greenkit.foundations.reading import Reading


def total(readings: Iterable[Reading]) -> Reading:
    """The sum of readings of one provenance; refuses to count any energy twice.

    Raises ProvenanceError for mixed provenance, and ValueError for overlapping windows or for
    sensors of which one contains the other.
    """
    parts = tuple(readings)
    if not parts:
        raise ValueError("no reading to add: nothing was measured, which is not the same as 0 J")
    _refuse_mixture(parts)
    for one, other in itertools.combinations(parts, 2):
        if one.overlaps(other):
            raise ValueError(
                f"cannot add overlapping windows of {one.sensor} ({one.domain.value}) and "
                f"{other.sensor} ({other.domain.value}): some energy would count twice"
            )
    errors: dict[ErrorSource, float] = {}
    for part in parts:
        for cause, size in part.errors.items():
            errors[cause] = errors.get(cause, 0.0) + size
    bounds = None
    if not all(p.resolved for p in parts):
        edges = [p.bounds or (p.low, p.high) for p in parts]
        bounds = (sum(low for low, _ in edges), sum(high for _, high in edges))
    domains = {p.domain for p in parts}
    return Reading(
        joules=sum(p.joules for p in parts),
        duration_s=_seconds(parts),
        sensor=_join(p.sensor for p in parts),
        device=_join(p.device for p in parts),
        domain=domains.pop() if len(domains) == 1 else Domain.PARTS,
        provenance=parts[0].provenance,
        method=_join(p.method for p in parts),
        errors=errors,
        factor=max(p.factor for p in parts),
        bounds=bounds,
        resolution_s=max(p.resolution_s for p in parts),
        spans=tuple(span for p in parts for span in p.spans),
        note=_join(p.note for p in parts if p.note),
    )


def _refuse_mixture(parts: Iterable[Reading]) -> None:
    kinds = {p.provenance.value for p in parts}
    if kinds == {Provenance.REPLAYED.value}:  # a replayed model is no replayed measurement
        kinds = {"replayed" + (" model" if p.factor > 1 else " sensor") for p in parts}
    if len(kinds) > 1:
        raise ProvenanceError(
            f"cannot add {' and '.join(sorted(kinds))} energy: report them side by side, each "
            "with its name"
        )


def _join(names: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(names))


def _seconds(parts: Iterable[Reading]) -> float:
    """Seconds that the parts cover: sensors and machines side by side count once."""
    covered, reached, unplaced = dict[str, float](), dict[str, float](), 0.0
    for part in parts:
        unplaced += 0.0 if part.spans else part.duration_s
    spans = [span for part in parts for span in part.spans]
    for span in sorted(spans, key=lambda s: s.start_s):
        start = max(span.start_s, reached.get(span.machine, -math.inf))
        covered[span.machine] = covered.get(span.machine, 0.0) + max(0.0, span.end_s - start)
        reached[span.machine] = max(start, span.end_s)
    return unplaced + max(covered.values(), default=0.0)
