"""CPU energy from RAPL, as Linux shows it under /sys/class/powercap (Intel and AMD alike).

Packages and DRAM only: `psys` contains the packages, `core` and `uncore` lie inside them. Sources:
Linux documentation, power/powercap; Khan et al., "RAPL in Action", ACM TOMPECS 2018.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from greenkit.foundations import Domain, Provenance
from greenkit.metering.discovery import Discovery
from greenkit.metering.estimate import cpu_name
from greenkit.metering.sensor import Kind, SensorError, SensorInfo

POWERCAP = Path("/sys/class/powercap")
GAIN = 0.05
STALL_S = 0.5  # a live counter moves about every millisecond
HIGHEST_W = 5_000  # more than any package draws: what exceeds it is a reset, not a wrap
MIRROR_UJ = 1_000_000  # what a package may draw between two reads of the same counter
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))  # Docker's and Podman's
QUANTUM_J = 61e-6  # Intel; AMD counts finer


@dataclass(frozen=True)
class _Zone:
    """One folder of the tree: its domain, package number and place (``0`` or ``0-die-1``)."""

    folder: Path
    domain: Domain
    place: str

    @property
    def name(self) -> str:
        kind = "package" if self.domain is Domain.PACKAGE else "dram"
        return f"rapl:{kind}-{self.place}"

    @property
    def package(self) -> str:
        return self.place.split("-")[0]


class RaplSensor:
    """One RAPL counter, unwrapped: joules since the first read, exact to the microjoule."""

    def __init__(self, zone: _Zone, info: SensorInfo, range_uj: int) -> None:
        self.info = info
        self._energy = zone.folder / "energy_uj"
        self._range_uj = range_uj
        self._total_uj = 0
        self._last: tuple[float, int] | None = None
        self._moved_s = 0.0

    def read(self) -> float:
        """Joules since the first read. Raises SensorError; a failed read adds nothing."""
        now, value = perf_counter(), _read_uj(self._energy)
        if self._last is None:
            self._moved_s = now
        else:
            self._add(now, value, *self._last)
        self._last = now, value
        return self._total_uj / 1_000_000

    def _add(self, now: float, value: int, before: float, previous: int) -> None:
        if value == previous:
            if now - self._moved_s > STALL_S:
                raise SensorError(
                    f"{self.info.name} stands still at {value} µJ, as in a virtual machine that "
                    "has no real counter"
                )
            return
        self._moved_s = now
        step = value - previous
        if step < 0:
            step += self._range_uj
            if step < 0 or step > 1e6 * HIGHEST_W * max(now - before, 0.001):
                self._last = now, value
                raise SensorError(f"{self.info.name} was reset (by a sleep of the machine?)")
        self._total_uj += step

    def close(self) -> None:
        """Nothing to release."""


def discover(root: Path = POWERCAP) -> Discovery:
    """One sensor per CPU package and per DRAM of it, and one sentence for each that has none."""
    zones = list(_zones(root))
    if not zones:
        return Discovery((), (_absence(root),))
    sensors: list[RaplSensor] = []
    reasons: list[str] = []
    kept: list[_Zone] = []
    for zone in zones:
        try:
            range_uj = _read_uj(zone.folder / "max_energy_range_uj")
            _read_uj(zone.folder / "energy_uj")
            twin = next((other for other in kept if _mirrors(other, zone)), None)
        except SensorError as error:
            reasons.append(str(error))
            continue
        if twin is not None:
            reasons.append(f"{zone.name} repeats the counter of {twin.name}: counted once")
            continue
        kept.append(zone)
        sensors.append(RaplSensor(zone, _info(zone), range_uj))
    return Discovery(tuple(sensors), tuple(dict.fromkeys(reasons)))


def _zones(root: Path) -> Iterator[_Zone]:
    """Packages, then their DRAM, of the first interface that has any: `mmio` repeats the other."""
    for prefix in ("intel-rapl", "intel-rapl-mmio"):
        found = False
        for top in _folders(root, f"{prefix}:*"):
            match = re.fullmatch(r"package-(\d+(?:-die-\d+)?)", _name(top))
            if top.name.count(":") != 1 or match is None:
                continue
            found = True
            yield _Zone(top, Domain.PACKAGE, match[1])
            children = {f.name: f for p in (root, top) for f in _folders(p, f"{top.name}:*")}
            for child in children.values():
                if _name(child) == "dram":
                    yield _Zone(child, Domain.DRAM, match[1])
        if found:
            return


def _folders(parent: Path, pattern: str) -> list[Path]:
    try:
        return sorted(parent.glob(pattern), key=lambda f: [int(n) for n in f.name.split(":")[1:]])
    except (OSError, ValueError):
        return []


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return ""


def _mirrors(first: _Zone, second: _Zone) -> bool:
    """True where two dies of one package show one and the same counter (AMD Zen 1 and 2).

    Read in turn, one counter gives values that follow one another; two counters, which range over
    10⁵ J, do not lie within a joule of each other by chance. Source: mlco2/codecarbon issue 1274.
    """
    if first.domain is not second.domain or first.package != second.package:
        return False
    files = [zone.folder / "energy_uj" for zone in (first, second, first)]
    before, between, after = (_read_uj(file) for file in files)
    return min(before, between) > 0 and before - MIRROR_UJ <= between <= after + MIRROR_UJ


def _info(zone: _Zone) -> SensorInfo:
    return SensorInfo(
        name=zone.name,
        device=cpu_name(),
        domain=zone.domain,
        provenance=Provenance.MEASURED,
        method="counter",
        kind=Kind.COUNTER,
        gain=GAIN,
        poll_s=0.05,
        quantum_j=QUANTUM_J,
        highest_w=HIGHEST_W,
        note="package only" if zone.domain is Domain.PACKAGE else "memory only",
    )


def _leads_somewhere(link: Path) -> bool:
    try:
        return link.exists()
    except OSError:
        return False


def _read_uj(file: Path) -> int:
    try:
        return int(file.read_text())
    except PermissionError:
        raise SensorError(
            "RAPL may be read by root only, since its values can leak secrets to other users "
            "(CVE-2020-8694); on a machine of your own, allow it until the next boot with: "
            f"sudo chmod a+r {POWERCAP}/intel-rapl:*/energy_uj  -  or for good with this line in "
            '/etc/udev/rules.d/99-rapl.rules: ACTION=="add", SUBSYSTEM=="powercap", '
            'KERNEL=="intel-rapl:*", RUN+="/bin/chmod a+r /sys%p/energy_uj"'
        ) from None
    except FileNotFoundError:
        raise SensorError(
            f"{file} has vanished: was the kernel module intel_rapl_msr unloaded?"
        ) from None
    except OSError as error:
        raise SensorError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SensorError(f"{file} does not hold a number of microjoules") from None


_UNMASK = (
    "the default of Docker and Podman: start it as root with --security-opt systempaths=unconfined "
    "(Podman: unmask=/sys/devices/virtual/powercap), since mounting the folder does not lift the "
    "mask; the container then sees more of the machine"
)


def _absence(root: Path) -> str:
    try:
        entries = list(root.iterdir())
    except PermissionError:
        return f"no RAPL: this user may not list {root}; in a container it may be masked, {_UNMASK}"
    except OSError:
        return (
            f"no RAPL: {root} is not there, as in virtual machines, on macOS and on Windows; in a "
            f"container it may be masked, {_UNMASK}"
        )
    if any(entry.is_symlink() and not _leads_somewhere(entry) for entry in entries):
        return (
            f"no RAPL in this container, though its machine has it: the links in {root} lead to a "
            f"masked folder, {_UNMASK}"
        )
    if not entries and any(mark.exists() for mark in CONTAINER_MARKS):
        return f"no RAPL: {root} is empty in this container; it may be masked, {_UNMASK}"
    return (
        f"no RAPL: {root} lists no CPU package; this is a virtual machine, the CPU has no RAPL, or "
        "its kernel module is not loaded (sudo modprobe intel_rapl_msr)"
    )
