"""A recorded trace: raw ticks and event marks of a named device, to draw windows on elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenkit.foundations import Domain, Provenance, Reading
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.sensor import Kind, SensorInfo

MARGIN = 4  # knots on either side of the recorded stretch, which the edges of its windows need
Marks = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Trace:
    """What one sensor said during a recorded run, and the instants at which things happened.

    `marks` maps a name to (start s, end s) windows. Windows drawn here are `replayed` and keep
    the label of the recording.
    """

    curve: EnergyCurve
    marks: Marks
    recorded_on: str
    date: str

    @property
    def label(self) -> str:
        """Device and date of the recording; of a simulated card, that it is one."""
        recorded = f"recorded on {self.recorded_on}, {self.date}"
        return recorded if self.date else self.recorded_on

    @property
    def duration_s(self) -> float:
        """Seconds between the first and the last knot."""
        return self.curve.times[-1] - self.curve.times[0]

    def between(self, start_s: float, end_s: float) -> Reading:
        """The energy between two instants of the recording. Raises SensorError outside of it."""
        return self.curve.reading(start_s, end_s)

    def window(self, name: str, index: int = 0) -> Reading:
        """The energy of a marked block. Raises KeyError for one that was not marked."""
        if name not in self.marks:
            raise KeyError(f"no mark {name!r} in this trace; there are: {', '.join(self.marks)}")
        if not -len(self.marks[name]) <= index < len(self.marks[name]):
            raise KeyError(f"{name!r} was marked {len(self.marks[name])} times, not {index + 1}")
        return self.between(*self.marks[name][index])


def trace_to_dict(
    curve: EnergyCurve, marks: Marks, *, origin_s: float, end_s: float = math.inf
) -> dict[str, Any]:
    """A curve and its marks as plain values, with `origin_s` as time 0, up to `end_s`.

    A few knots on either side are kept, because a window's edges need them.
    """
    info, part = curve.info, curve.part(origin_s, end_s, margin=MARGIN)
    return {
        "sensor": info.name,
        "device": info.device,
        "domain": info.domain.name,
        "provenance": info.provenance.value,
        "method": info.method,
        "kind": info.kind.value,
        "note": info.note,
        "gain": info.gain,
        "factor": info.factor,
        "poll_s": info.poll_s,
        "average_s": info.average_s,
        "quantum_j": info.quantum_j,
        "tick_s": part.tick_s if math.isfinite(part.tick_s) else None,
        "times_s": [round(t - origin_s, 6) for t in part.times],
        "lateness_s": [round(late, 6) for late in part.lateness],
        "joules": [round(j, 6) for j in part.joules],
        "noise_j2": [round(n, 9) for n in part.noise],
        "doubt_j2": [round(d, 9) for d in part.doubt] if any(part.doubt) else [],
        "watts": [round(w, 6) for w in part.watts],
        "gaps": [[round(a - origin_s, 6), round(b - origin_s, 6), why] for a, b, why in part.gaps],
        "marks": {
            name: [[round(a - origin_s, 6), round(b - origin_s, 6)] for a, b in spans]
            for name, spans in marks.items()
        },
    }


def trace_from_dict(record: Mapping[str, Any], *, recorded_on: str, date: str) -> Trace:
    """Read a trace back as `replayed`; what was simulated stays so.

    Raises KeyError where a field is missing and ValueError where the lists of knots do not match.
    """
    inner = Provenance(record["provenance"])
    note = f"{inner.value} on {recorded_on}, {date}"
    info = SensorInfo(
        name=record["sensor"],
        device=record["device"],
        domain=Domain[record["domain"]],
        provenance=inner if inner is Provenance.SIMULATED else Provenance.REPLAYED,
        method=record["method"],
        kind=Kind(record["kind"]),
        gain=record["gain"],
        factor=record["factor"],
        poll_s=record.get("poll_s", 0.02),
        average_s=record["average_s"],
        quantum_j=record["quantum_j"],
        note=", ".join(filter(None, (note, record.get("note", "")))),
    )
    curve = EnergyCurve(info, f"{info.name}@{recorded_on}, {date}")
    curve.times, curve.joules = list(record["times_s"]), list(record["joules"])
    curve.lateness, curve.noise = list(record["lateness_s"]), list(record["noise_j2"])
    curve.doubt = list(record.get("doubt_j2", ())) or [0.0] * len(curve.times)
    curve.watts = list(record.get("watts", ()))
    lists = (
        curve.times,
        curve.joules,
        curve.lateness,
        curve.noise,
        curve.doubt,
        curve.watts or curve.times,
    )
    if len({len(values) for values in lists}) > 1:
        raise ValueError(f"the trace of {info.name} has lists of different lengths")
    if record.get("tick_s"):
        curve.beat(record["tick_s"])
    curve.gaps = [(a, b, why) for a, b, why in record["gaps"]]
    marks = {
        name: tuple((float(a), float(b)) for a, b in spans)
        for name, spans in record["marks"].items()
    }
    return Trace(curve, marks, recorded_on, date)
