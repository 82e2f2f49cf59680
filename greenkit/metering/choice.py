"""Which sensors a meter reads: those that its user chose, checked, or those that are found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from greenkit.metering.discovery import Discovery
from greenkit.metering.sensor import Sensor, SensorInfo


def choose(
    sensors: str | Iterable[Sensor], gpus: Sequence[int | str] | int | str | None
) -> Discovery:
    """The sensors behind "auto", "codecarbon" or a list of sensors, and why there are not more.

    Raises ValueError for another word or for GPUs that are named beside a list, TypeError for what
    is no sensor, and SensorError where a named GPU does not exist.
    """
    if gpus is not None and sensors != "auto":
        raise ValueError('gpus chooses among the sensors that are found: pass sensors="auto"')
    if not isinstance(sensors, str):
        return Discovery(_checked(sensors), ())
    if sensors == "auto":
        from greenkit.metering.machine import discover

        return discover(gpus=[gpus] if isinstance(gpus, int | str) else gpus)
    if sensors != "codecarbon":
        raise ValueError(f'sensors is "auto", "codecarbon" or a list of sensors, got {sensors!r}')
    from greenkit.metering.codecarbon import discover as second_opinion

    return second_opinion()


def _checked(sensors: object) -> tuple[Sensor, ...]:
    """The sensors as a tuple. Raises TypeError where one of them is none."""
    if not isinstance(sensors, Iterable):
        raise TypeError(f"sensors is a list of sensors, even of one: [sensor]; got {sensors!r:.60}")
    chosen = tuple(sensors)
    for sensor in chosen:
        whole = all(callable(getattr(sensor, name, None)) for name in ("read", "close"))
        if not (whole and isinstance(getattr(sensor, "info", None), SensorInfo)):
            raise TypeError(
                f"{sensor!r:.60} is no sensor: one has `info` (a SensorInfo), `read` and `close`"
            )
    return chosen
