"""Readings as plain values, for JSON records and for other processes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from greenkit.foundations.provenance import Domain, ErrorSource, Provenance, Span
from greenkit.foundations.reading import Reading

NUMBERS = ("joules", "duration_s", "factor", "resolution_s", "random", "systematic", "low", "high")
WORDS = ("sensor", "device", "method", "note")
_number = itertools.count()


def reading_to_dict(reading: Reading) -> dict[str, object]:
    """Plain values for a JSON record."""
    return {
        **{name: getattr(reading, name) for name in (*NUMBERS, *WORDS)},
        "domain": reading.domain.name,
        "provenance": reading.provenance.value,
        "bounds": list(reading.bounds) if reading.bounds else None,
        "spans": [[s.curve, s.domain.name, s.start_s, s.end_s, s.machine] for s in reading.spans],
    }


def reading_from_dict(record: Mapping[str, Any]) -> Reading:
    """A reading from a record: one gain, shared by its sensor, and one random part of its own.

    Raises KeyError where a field is missing and ValueError where it is wrong.
    """
    for name in NUMBERS:
        if isinstance(record[name], bool) or not isinstance(record[name], int | float):
            raise ValueError(f"reading field {name!r} must be a number, got {record[name]!r}")
    try:
        domain = Domain[record["domain"]]
    except KeyError:
        raise ValueError(f"reading field 'domain' is none of {list(Domain.__members__)}") from None
    sensor, device = str(record["sensor"]), str(record["device"])
    bounds = record.get("bounds")
    return Reading(
        joules=float(record["joules"]),
        duration_s=float(record["duration_s"]),
        sensor=sensor,
        device=device,
        domain=domain,
        provenance=Provenance(record["provenance"]),
        method=str(record["method"]),
        errors={
            ErrorSource("gain", f"{sensor}@{device}"): float(record["systematic"]),
            ErrorSource("noise", f"record {next(_number)}"): float(record["random"]),
        },
        factor=float(record["factor"]),
        bounds=(float(bounds[0]), float(bounds[1])) if bounds else None,
        resolution_s=float(record["resolution_s"]),
        spans=tuple(
            Span(str(curve), Domain[name], float(start), float(end), str(machine))
            for curve, name, start, end, machine in record.get("spans", ())
        ),
        note=str(record.get("note", "")),
    )
