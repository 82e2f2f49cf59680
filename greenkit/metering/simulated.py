"""Simulated sensors: power whose energy is known in closed form, seen through a chosen defect.

Public teaching material: build a bad sensor, meter it, and see what the meter makes of it. What
they yield is `simulated`, never measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from greenkit.foundations import Domain, Provenance
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.sensor import Kind, SensorError, SensorInfo


@dataclass(frozen=True)
class Wave:
    """Power over time as straight pieces (duration s, watts at its start, watts at its end).

    The pieces repeat for ever. `energy(t)` is exact.

    >>> square(60, 300, period_s=2).energy(2)
    360.0
    """

    pieces: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        sound = all(
            0 < d < math.inf and 0 <= min(p, q) <= max(p, q) < math.inf for d, p, q in self.pieces
        )
        if not self.pieces or not sound:
            raise ValueError("a wave needs pieces with a duration above 0 s and no negative watts")

    @property
    def period_s(self) -> float:
        """Length of one repetition, in seconds."""
        return sum(duration for duration, _, _ in self.pieces)

    def power(self, time_s: float) -> float:
        """Watts at an instant at or after 0."""
        _refuse_before_start(time_s)
        rest = time_s % self.period_s
        for duration, start, end in self.pieces:
            if rest < duration:
                return start + (end - start) * rest / duration
            rest -= duration
        return self.pieces[-1][2]

    def energy(self, time_s: float) -> float:
        """Joules from time 0 to an instant at or after it."""
        _refuse_before_start(time_s)
        whole, rest = divmod(time_s, self.period_s)
        joules = whole * sum(d * (p + q) / 2 for d, p, q in self.pieces)
        for duration, start, end in self.pieces:
            part = min(rest, duration)
            joules += part * (start + (start + (end - start) * part / duration)) / 2
            rest -= part
        return joules


def _refuse_before_start(time_s: float) -> None:
    if not 0 <= time_s < math.inf:
        raise ValueError(f"a wave begins at 0 s, and is asked for an instant of it: got {time_s} s")


def constant(watts: float) -> Wave:
    """Always the same power, in watts."""
    return Wave(((1.0, watts, watts),))


def square(low_w: float, high_w: float, *, period_s: float, duty: float = 0.5) -> Wave:
    """High power for a share `duty` of each period, low power for the rest."""
    if not 0 < duty < 1:
        raise ValueError(f"duty is a share between 0 and 1, got {duty}")
    return Wave(((period_s * duty, high_w, high_w), (period_s * (1 - duty), low_w, low_w)))


def ramp(low_w: float, high_w: float, *, period_s: float) -> Wave:
    """Power that climbs evenly from low to high in each period, then drops."""
    return Wave(((period_s, low_w, high_w),))


def steps(*pieces: tuple[float, float]) -> Wave:
    """Pieces of constant power, each (duration s, watts)."""
    return Wave(tuple((duration, watts, watts) for duration, watts in pieces))


class SimulatedSensor:
    """A sensor that looks at a wave through a defect.

    `kind` TICKS or COUNTER gives joules, refreshed every `tick_s` (0: always fresh); POWER gives
    watts, refreshed every `tick_s` and averaged over the last `average_s`. `gain` is the factor
    by which it reads wrong, and the meter is told how wrong that may be. `dies_at_s` makes every
    later read fail.
    """

    def __init__(
        self,
        wave: Wave,
        *,
        kind: Kind = Kind.TICKS,
        tick_s: float = 0.1,
        average_s: float = 0.0,
        gain: float = 1.0,
        dies_at_s: float = math.inf,
        poll_s: float = 0.02,
        name: str = "simulated:0",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not isinstance(wave, Wave):
            raise TypeError(f"a simulated sensor looks at a wave, e.g. constant(100); got {wave!r}")
        if not (0 <= tick_s < math.inf and 0 < gain < math.inf):
            raise ValueError(f"tick_s is 0 s or more, gain above 0: got {tick_s} and {gain}")
        kind = Kind(kind)
        self.wave, self.tick_s, self.gain, self.dies_at_s = wave, tick_s, gain, dies_at_s
        self.clock = clock
        self.start_s = clock()
        self.info = SensorInfo(
            name=name,
            device="simulated card",
            domain=Domain.GPU,
            provenance=Provenance.SIMULATED,
            method="sampled" if kind is Kind.POWER else "counter",
            kind=kind,
            gain=abs(gain - 1),
            poll_s=poll_s,
            average_s=average_s,
            highest_w=math.inf,  # whatever the wave is, it is the truth here
        )

    def read(self) -> float:
        """Joules so far or watts now, as the simulated card would report them."""
        return self.read_at(self.clock())

    def read_at(self, time_s: float) -> float:
        """The same at an instant of the reader's choosing."""
        elapsed = time_s - self.start_s
        if elapsed >= self.dies_at_s:
            raise SensorError(f"{self.info.name} fell off the bus")
        seen = math.floor(elapsed / self.tick_s) * self.tick_s if self.tick_s else elapsed
        if self.info.kind is not Kind.POWER:
            return self.gain * self.wave.energy(seen)
        width = self.info.average_s
        if not width:
            return self.gain * self.wave.power(seen)
        past = max(0.0, seen - width)
        if seen == past:
            return self.gain * self.wave.power(0.0)
        return self.gain * (self.wave.energy(seen) - self.wave.energy(past)) / (seen - past)

    def truth(self, start_s: float, end_s: float) -> float:
        """The exact joules between two instants of the sensor's clock."""
        return self.wave.energy(end_s - self.start_s) - self.wave.energy(start_s - self.start_s)

    def close(self) -> None:
        """Nothing to release."""


def watch(sensor: SimulatedSensor, seconds: float) -> EnergyCurve:
    """The curve that a meter draws in so many seconds, reading as its sampler does, at once."""
    curve, time_s = EnergyCurve(sensor.info), 0.0
    while time_s < seconds:
        curve.push(time_s, sensor.read_at(sensor.start_s + time_s))
        time_s = curve.next_read_s(time_s)
    return curve


def sample(sensor: SimulatedSensor, times_s: Sequence[float]) -> EnergyCurve:
    """The curve that a meter would draw if it read the sensor at these instants, without waiting.

    The instants are seconds after the sensor's start.
    """
    curve = EnergyCurve(sensor.info)
    for time_s in times_s:
        try:
            curve.push(time_s, sensor.read_at(sensor.start_s + time_s))
        except SensorError as error:
            curve.fail(time_s, str(error))
    return curve
