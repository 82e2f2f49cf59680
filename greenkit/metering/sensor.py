"""The seam between the meter and whatever can tell watts or joules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeGuard, runtime_checkable

from greenkit.foundations import Domain, Provenance


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
    power value, `clock` the curve's identity where two sensors share a name.
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
