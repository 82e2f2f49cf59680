"""Run records: one schema for a learner's run.json and for the reference runs of named devices."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenkit.foundations import Quantity, Ratio, Reading
from greenkit.metering.replay import Trace, trace_from_dict

SCHEMA = 2
QUICK = ".quick.json"
FIELDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "lab": str,
    "size": str,
    "date": str,
    "device": dict,
    "seconds": (int, float),
    "memory_mb": (int, float),
    "fetched_mb": (int, float),
    "predictions": dict,
    "results": dict,
    "made_by": dict,
    "producers": dict,
    "claims": list,
    "decision": dict,
    "footprint": list,
    "traces": list,
}


class RunError(ValueError):
    """A run record does not have the form that the course expects."""


@dataclass(frozen=True)
class Run:
    """One recorded run of a lab."""

    record: Mapping[str, Any]

    @property
    def device(self) -> str:
        """The name of the machine it ran on."""
        return str(self.record["device"]["name"])

    @property
    def kind(self) -> str:
        """ "cpu" or "gpu"."""
        return str(self.record["device"]["kind"])

    @property
    def date(self) -> str:
        """ISO date of the run."""
        return str(self.record["date"])

    @property
    def label(self) -> str:
        """Device and date, as tables print them."""
        return f"{self.device}, {self.date}"

    def reading(self, name: str) -> Reading | None:
        """A recorded reading as `replayed`, or None where the run has no such result."""
        value = self.record["results"].get(name)
        if not isinstance(value, dict) or "joules" not in value:
            return None
        return Reading.from_dict(value, replayed_from=self.label)

    def traces(self) -> list[Trace]:
        """The raw traces of the run, to draw windows on."""
        return [
            trace_from_dict(t, recorded_on=self.device, date=self.date)
            for t in self.record["traces"]
        ]


def check_record(record: Mapping[str, Any]) -> None:
    """Raise RunError where a record lacks a field, has a wrong type, or is of another schema."""
    if record.get("schema") != SCHEMA:
        raise RunError(
            f"this greenkit reads run records of schema {SCHEMA}, got {record.get('schema')}"
        )
    for name, kind in FIELDS.items():
        if name not in record:
            raise RunError(f"the run record lacks the field {name!r}")
        if not isinstance(record[name], kind):
            raise RunError(f"field {name!r} of the run record must be {kind}, got {record[name]!r}")
    if record["size"] not in ("quick", "full"):
        raise RunError(f"size is 'quick' or 'full', got {record['size']!r}")
    for name, value in record["results"].items():
        if isinstance(value, dict) and "joules" in value:
            Reading.from_dict(value)
        elif not isinstance(value, int | float | str | bool | dict | list | None):
            raise RunError(f"result {name!r} is not a plain value: {value!r}")


def write_record(record: Mapping[str, Any], path: Path) -> Path:
    """Check a record and write it whole or not at all."""
    check_record(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1, ensure_ascii=False, allow_nan=False)
            file.write("\n")
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def read_record(path: Path) -> Run:
    """Read and check one record. Raises RunError with the file's name."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        check_record(record)
    except (json.JSONDecodeError, RunError, KeyError) as error:
        raise RunError(f"{path}: {error}") from error
    return Run(record)


def reference_folder() -> Path:
    """Where the reference runs lie: in the installed package, or in the repository."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "reference"
    return shipped if shipped.is_dir() else package.parent / "labs" / "reference"


def reference_runs(lab: str) -> list[Run]:
    """All recorded reference runs of a lab, GPUs first, then by device name."""
    return _runs(f"*/*_{lab}.json")


def quick_runs(lab: str) -> list[Run]:
    """Runs of a lab as a learner makes them, of the notebooks as they are committed."""
    return _runs(f"*/*_{lab}{QUICK}")


def _runs(pattern: str) -> list[Run]:
    runs = [read_record(path) for path in sorted(reference_folder().glob(pattern))]
    return sorted(runs, key=lambda run: (run.kind != "gpu", run.device))


def full_run(lab: str, name: str, kind: str) -> Run:
    """The full reference run of a lab with a result of that name, of this kind of device if any.

    Raises RunError where none is recorded.
    """
    runs = [
        run
        for run in reference_runs(lab)
        if run.record["size"] == "full" and name in run.record["results"]
    ]
    if not runs:
        raise RunError(
            f"no full run of the lab {lab} with {name!r} is recorded yet: write one with "
            "`greenkit record --full`."
        )
    return nearest(runs, kind)


def nearest(runs: Sequence[Run], kind: str) -> Run:
    """The first run on this kind of device ("cpu" or "gpu"), else the first of all."""
    return min(runs, key=lambda run: run.kind != kind)


def plain(value: Any) -> Any:
    """A result as plain values of the run schema; lists and dicts are gone through."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Reading):
        return value.to_dict()
    if isinstance(value, Quantity):
        return {
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "unit": value.unit,
            "label": value.label,
        }
    if isinstance(value, Ratio):
        return {"value": value.value, "low": value.low, "high": value.high, "label": value.label}
    if hasattr(value, "low") and hasattr(value, "high") and hasattr(value, "value"):
        return {"value": value.value, "low": value.low, "high": value.high}
    return value.to_dict() if hasattr(value, "to_dict") else value
