"""What a training run took: seconds and joules, of the teacher and of the student apart.

A run is cut into stretches that meet without a gap, each named after who works in it. On the
meter's curve the stretches add up exactly, so the parts and the rest are the whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from greenkit.foundations import ProvenanceError, Quantity, Reading, total
from greenkit.foundations.formulas import break_even
from greenkit.metering import EnergyMeter, NotMeasuredError
from greenkit.metering.device import synchronize

TEACHER, STUDENT, REST = "teacher", "student", "rest"
PARTS = (TEACHER, STUDENT, REST)
NO_METER = "not measured: no meter was given"


@dataclass(frozen=True)
class Charges:
    """Seconds and energy of a run by part: "teacher", "student" and "rest".

    The teacher's part is its forward passes; the student's is forward, loss, backward and the
    optimizer's step; the rest is data, checkpoints and bookkeeping. `energy` is None where nothing
    was measured, and `reason` then says why. A run without a teacher charges it 0 J, because it
    never ran.
    """

    seconds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    energy: Reading | None = None
    parts: Mapping[str, Quantity] = field(default_factory=dict)
    reason: str = ""

    @property
    def total_s(self) -> float:
        """Wall time of the run, in seconds."""
        return sum(self.seconds.values())

    def then(self, later: Charges) -> Charges:
        """These charges and those of the stretch of the run that followed.

        Where one of the two has no energy, or they are of different provenance, the sum has none.
        """
        seconds = {part: self.seconds[part] + later.seconds[part] for part in PARTS}
        if self.energy is None or later.energy is None:
            return Charges(seconds, reason=self.reason or later.reason)
        try:
            energy = total([self.energy, later.energy])
        except ProvenanceError as error:
            return Charges(seconds, reason=str(error))
        parts = {part: _plus(self.parts[part], later.parts[part]) for part in PARTS}
        return Charges(seconds, energy, parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint or a record."""
        return {
            "seconds": dict(self.seconds),
            "energy": self.energy and self.energy.to_dict(),
            "parts": {name: vars(part).copy() for name, part in self.parts.items()},
            "reason": self.reason,
        }

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Charges:
        """Read them back."""
        return Charges(
            dict(record["seconds"]),
            Reading.from_dict(record["energy"]) if record["energy"] else None,
            {name: Quantity(**part) for name, part in record["parts"].items()},
            record["reason"],
        )

    def __str__(self) -> str:
        if self.energy is None:
            return f"{self.total_s:.3g} s; {self.reason}"
        parts = ", ".join(f"{name} {self.parts[name].text}" for name in PARTS)
        return f"{self.energy} ({parts}) in {self.total_s:.3g} s"


class Ledger:
    """Notes who works from which instant on, after waiting for what the device was given.

    `before` are the charges of the part of the run that a checkpoint ended.
    """

    def __init__(self, meter: EnergyMeter | None, before: Charges | None = None) -> None:
        self.meter, self.before = meter, before
        self._wait = synchronize if meter is None else meter.synchronize
        self._marks: list[tuple[float, str]] = []
        self.enter(REST)

    def enter(self, part: str) -> None:
        """From now on the time is this part's."""
        self._wait()
        self._marks.append((time.perf_counter(), part))

    @property
    def seconds(self) -> float:
        """Seconds from the run's beginning to the last mark."""
        own = self._marks[-1][0] - self._marks[0][0]
        return own + (self.before.total_s if self.before else 0.0)

    def known(self) -> Reading | None:
        """The energy up to the instant for which the curves are known, without waiting for it."""
        if self.meter is None or (self.before and self.before.energy is None):
            return None
        start_s = self._marks[0][0]
        end_s = max(start_s, min(self._marks[-1][0], self.meter.settled_s))
        try:
            own = self.meter.between(start_s, end_s)
            return total([self.before.energy, own]) if self.before and self.before.energy else own
        except (NotMeasuredError, ProvenanceError):
            return None

    def charges(self) -> Charges:
        """What the run took up to now, by part."""
        self.enter(REST)
        own = self._own()
        return self.before.then(own) if self.before else own

    def window(self, name: str, **work: float) -> None:
        """Leave the stretch from the first mark to the last in the meter, as one window."""
        if self.meter is not None:
            self.meter.draw(name, self._marks[0][0], self._marks[-1][0], **work)

    def _own(self) -> Charges:
        instants = [time_s for time_s, _ in self._marks]
        windows: dict[str, list[tuple[float, float]]] = {part: [] for part in PARTS}
        for (_, part), window in zip(self._marks, pairwise(instants), strict=False):
            windows[part].append(window)
        seconds = {part: math.fsum(e - s for s, e in windows[part]) for part in PARTS}
        if self.meter is None:
            return Charges(seconds, reason=NO_METER)
        try:
            whole = self.meter.between(instants[0], instants[-1])
        except NotMeasuredError as error:
            return Charges(seconds, reason=str(error))
        parts = {part: _energy(self.meter, whole, part, windows[part]) for part in PARTS}
        return Charges(seconds, whole, parts)


def _energy(
    meter: EnergyMeter, whole: Reading, part: str, windows: Sequence[tuple[float, float]]
) -> Quantity:
    """Energy of one part: the sum over its windows, on the sensors that the whole rests on."""
    label = f"{whole.label}; {part}'s part"
    if not windows:
        return Quantity(0.0, 0.0, 0.0, "J", whole.provenance.value, f"{label}, which never ran")
    sensors = set(whole.sensor.split(" + "))
    readings = [
        reading
        for start_s, end_s in windows
        for reading in meter.readings(start_s, end_s)
        if reading.sensor in sensors
    ]
    joules = math.fsum(reading.joules for reading in readings)
    if whole.factor > 1:
        low, high = joules / whole.factor, joules * whole.factor
    else:
        random = math.hypot(*(reading.random for reading in readings))
        half = 2 * math.hypot(random, sum(reading.systematic for reading in readings))
        low, high = max(0.0, joules - half), min(whole.high, joules + half)
    if not all(reading.resolved for reading in readings):
        label += ", attributed by time within the sensor's ticks"
    return Quantity(joules, low, high, "J", whole.provenance.value, label, whole.factor > 1)


def _plus(first: Quantity, second: Quantity) -> Quantity:
    """The sum of two parts that follow each other."""
    known = first if first.value else second
    return Quantity(
        first.value + second.value,
        first.low + second.low,
        first.high + second.high,
        "J",
        known.provenance,
        known.label,
        known.approximate,
    )


def break_even_tokens(spent: Reading, dense: Reading, small: Reading, *, tokens: int) -> Quantity:
    """How many served tokens pay back the joules spent on making a smaller model.

    Args:
        spent: the energy of making it, the teacher's included.
        dense, small: the energy of serving the same number of tokens with either model.
        tokens: that number.

    The errors that all three share, such as the gain of the sensor, cancel; the interval holds the
    others, each taken where it hurts. Its upper end is infinite where the difference of dense and
    small is not sure to be a saving.

    Raises ValueError where the small model saves nothing, and ProvenanceError where the three
    energies do not mean the same thing. Derived in: Lab 06.
    """
    if tokens < 1:
        raise ValueError(
            f"tokens is the number that both readings served, at least 1; got {tokens}"
        )
    ratio = small.vs(dense)  # refuses what does not compare
    if spent.provenance is not dense.provenance or spent.device != dense.device:
        raise ProvenanceError(
            f"cannot pay back {spent.label} on {spent.device} with {dense.label} on "
            f"{dense.device}: meter making and serving with the same sensor."
        )
    if ratio.value >= 1:
        raise ValueError(
            f"the small model takes {ratio.text} of the dense model's energy: it saves nothing, "
            "so no number of tokens pays it back."
        )
    noise = 2 * spent.random / spent.joules

    def at(share: float, spent_share: float) -> float:
        saved = dense.joules / tokens * (1 - share)
        return break_even(spent.joules * spent_share, saved) if saved > 0 else math.inf

    return Quantity(
        at(ratio.value, 1.0),
        at(ratio.low, 1 - noise),
        at(ratio.high, 1 + noise),
        "token",
        spent.provenance.value,
        f"{spent.label}; {spent.text} spent, {1 - ratio.value:.1%} saved",
        approximate=True,
    )
