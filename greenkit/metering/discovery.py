"""What a search for sensors found, and why it did not find more."""

from __future__ import annotations

from dataclasses import dataclass

from greenkit.metering.sensor import Sensor


@dataclass(frozen=True)
class Discovery:
    """Sensors that can be read now, and one sentence for each that cannot."""

    sensors: tuple[Sensor, ...]
    reasons: tuple[str, ...]
