"""What this machine can measure: all its sensors, and why there are not more."""

from __future__ import annotations

from collections.abc import Sequence

from greenkit.foundations import Domain
from greenkit.metering import battery, nvml, rapl
from greenkit.metering.discovery import Discovery
from greenkit.metering.estimate import CpuEstimate
from greenkit.metering.sensor import Sensor


def discover(*, gpus: Sequence[int | str] | None = None) -> Discovery:
    """The sensors of this machine, best first, and one sentence for each that is missing.

    The CPU is estimated where no sensor measures it. The battery joins only where neither GPU nor
    CPU can be measured. `gpus` names GPUs by index or UUID; raises SensorError for one that does
    not exist.
    """
    sensors: list[Sensor] = []
    reasons: list[str] = []
    for found in (nvml.discover(gpus), rapl.discover()):
        sensors += found.sensors
        reasons += found.reasons
    if not sensors:
        found = battery.discover()
        sensors += found.sensors
        reasons += found.reasons
    if not any(s.info.domain is Domain.PACKAGE for s in sensors):
        estimate = CpuEstimate()
        sensors.append(estimate)
        reasons.append(
            "the CPU has no readable sensor: its energy is estimated from CPU time, with watts per "
            f"core from the table of chips ({estimate.model.row})"
        )
    return Discovery(tuple(sensors), tuple(reasons))
