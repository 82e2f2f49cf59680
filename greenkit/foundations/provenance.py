"""Where an energy value comes from, what part of the machine it is of, and why it may be wrong."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Provenance(StrEnum):
    """Where an energy value comes from; it travels with the value and is always printed."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    REPLAYED = "replayed"
    SIMULATED = "simulated"
    PUBLISHED = "published"


class ProvenanceError(ValueError):
    """Raised when readings are combined that do not mean the same thing."""


class Domain(StrEnum):
    """What part of the machine a sensor sees."""

    GPU = "GPU"
    MODULE = "GPU module"
    PACKAGE = "CPU package"
    DRAM = "DRAM"
    PROCESS = "CPU share of this process tree"
    MACHINE = "whole machine"
    PARTS = "several parts of the machine"

    def contains(self, other: Domain) -> bool:
        """True where energy seen by `other` is also seen by this domain."""
        return other in _INSIDE.get(self, ())


_INSIDE: dict[Domain, tuple[Domain, ...]] = {
    Domain.MODULE: (Domain.GPU, Domain.PACKAGE, Domain.DRAM, Domain.PROCESS),
    Domain.PACKAGE: (Domain.PROCESS,),
    Domain.MACHINE: (Domain.GPU, Domain.MODULE, Domain.PACKAGE, Domain.DRAM, Domain.PROCESS),
}


class ErrorSource(NamedTuple):
    """One independent cause of error; two readings that share it are correlated.

    `kind` is "gain" (systematic), or "edge", "noise" or "lag" (random). `curve` is the sensor for
    a gain and the curve for the others; `at` are the instants concerned, in seconds.
    """

    kind: str
    curve: str
    at: tuple[float, ...] = ()


class Span(NamedTuple):
    """A stretch of time on one energy curve, in seconds of the clock of its machine."""

    curve: str
    domain: Domain
    start_s: float
    end_s: float
    machine: str = ""

    def overlaps(self, other: Span) -> bool:
        """True where both spans see some of the same energy."""
        if self.machine != other.machine:
            return False
        shared = min(self.end_s, other.end_s) - max(self.start_s, other.start_s) > 1e-9
        related = (
            self.curve == other.curve
            or self.domain.contains(other.domain)
            or other.domain.contains(self.domain)
        )
        return shared and related
