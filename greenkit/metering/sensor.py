"""The seam between the meter and whatever can tell watts or joules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import Protocol, TypeGuard, runtime_checkable

from greenkit.foundations import Domain, Provenance

HIGHEST_W = 10_000.0  # more than any one device draws: the largest boards of 2026 draw 1,400 W


class Kind(StrEnum):
    """What a sensor's `read()` returns."""

    TICKS = "ticks"  # cumulative joules that move in steps of some period (NVML's counter)
    COUNTER = "counter"  # cumulative joules, fresh at every read (RAPL, an estimate)
    POWER = "power"  # watts at this instant


class SensorError(RuntimeError):
    """A sensor could not be read; the message says why and what would allow it."""


@dataclass(frozen=True)
class SensorInfo:
    """What is known of a sensor before it is read.

    `gain` is its relative systematic error (one standard deviation), `factor` the 95 % factor of
    an estimate, `poll_s` how often to read it, `stall_s` how long a live counter may stand still
    (None: a counter that may rightly rest), `average_s` the width of the running mean behind a
    power value, `highest_w` what the device can never draw: a power above it, or a counter that
    leaps by more, is no sample. Raises ValueError for numbers that cannot be.
    """

    name: str
    device: str
    domain: Domain
    provenance: Provenance
    method: str
    kind: Kind
    gain: float = 0.0
    factor: float = 1.0
    poll_s: float = 0.02
    stall_s: float | None = None
    average_s: float = 0.0
    quantum_j: float = 0.0
    note: str = ""
    highest_w: float = HIGHEST_W

    def __post_init__(self) -> None:
        wrong = {
            "poll_s": not (self.poll_s > 0 and math.isfinite(self.poll_s)),
            "gain": not (self.gain >= 0 and math.isfinite(self.gain)),
            "factor": not (self.factor >= 1 and math.isfinite(self.factor)),
            "average_s": not (self.average_s >= 0 and math.isfinite(self.average_s)),
            "quantum_j": not (self.quantum_j >= 0 and math.isfinite(self.quantum_j)),
            "stall_s": self.stall_s is not None and not self.stall_s > 0,
            "highest_w": not self.highest_w > 0,
        }
        if any(wrong.values()):
            name = next(name for name in wrong if wrong[name])
            raise ValueError(
                f"sensor {self.name!r} has {name}={getattr(self, name)!r}: poll_s, stall_s and "
                "highest_w are above 0, factor is 1 or more, the others 0 or more"
            )


class Sensor(Protocol):
    """One physical or modelled source of energy data."""

    info: SensorInfo

    def read(self) -> float:
        """Joules so far (TICKS, COUNTER) or watts now (POWER); raises SensorError."""

    def close(self) -> None:
        """Release what the sensor holds; may be called twice."""


@runtime_checkable
class CounterWithPower(Sensor, Protocol):
    """A counter beside which the same device tells its power at little cost."""

    def watts(self) -> float | None:
        """Watts now, or None where the device does not tell; raises SensorError."""


def has_power_beside(sensor: Sensor) -> TypeGuard[CounterWithPower]:
    """True for a counter that ticks and whose device tells its power, too."""
    return sensor.info.kind is Kind.TICKS and isinstance(sensor, CounterWithPower)


def counter_fault(info: SensorInfo, leap_j: float, most_j: float) -> str:
    """Why a counter cannot move by `leap_j` where at most `most_j` was drawn; empty if it can."""
    if leap_j < 0:
        return f"the counter of {info.name} went backwards"
    if leap_j > most_j:
        return f"the counter of {info.name} leapt by {leap_j:.3g} J, more than it can draw"
    return ""


def number_from(sensor: Sensor, value: object) -> float:
    """What a sensor returned, as a float. Raises SensorError where it is no number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise SensorError(f"{sensor.info.name} returned {value!r:.40}, which is no number")
    return float(value)
