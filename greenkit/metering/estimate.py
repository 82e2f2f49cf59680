"""The estimate for a CPU without a sensor: watts per logical core, with an honest factor.

P/TDP = 0.15 + 0.67 u fits 86 points of RAPL against load (CodeCarbon's calibration data, four
CPUs) without bias; leaving one CPU out it is off by a factor of 1.7 (one standard deviation). It
is linear in the load, so it adds up over windows and processes.
"""

from __future__ import annotations

import math
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean

import psutil

from greenkit.foundations import Domain, Provenance
from greenkit.metering.sensor import Kind, SensorInfo

IDLE_SHARE = 0.15
BUSY_SHARE = 0.67
FACTOR_KNOWN = 2.9
FACTOR_UNKNOWN = 4.0

# Thermal design power (W) and logical cores of one chip. TDP: CodeCarbon 3.3.2, cpu_power.csv;
# logical cores: two per core, for the i9 two per P-core and one per E-core (makers' data sheets).
CHIPS: dict[str, tuple[float, int]] = {
    "Xeon E5-2699 v3": (145, 36),
    "Xeon Platinum 8380": (270, 80),
    "Xeon Platinum 8480+": (350, 112),
    "Xeon Platinum 8570": (350, 112),
    "EPYC 7543": (225, 64),
    "EPYC 7763": (280, 128),
    "EPYC 9654": (360, 192),
    "Ryzen 9 7950X": (170, 32),
    "Core i9-13900K": (125, 32),
}


@dataclass(frozen=True)
class CpuModel:
    """Watts per logical core at full load, the row it comes from, and its 95 % factor."""

    cpu: str
    row: str
    core_w: float
    factor: float


def cpu_name() -> str:
    """The CPU's name as the operating system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cpu_model(name: str | None = None) -> CpuModel:
    """The row of the table for a CPU; an unknown one gets the table's middle and a wider factor.

    A row counts for its very chip only: the 7950X is not the 7950X3D.
    """
    name = name or cpu_name()
    plain = name.replace("(R)", "").replace("(TM)", "").replace(" CPU", "")
    for row, (tdp_w, cores) in CHIPS.items():
        if re.search(rf"{re.escape(row)}(?![\w+])", plain, re.IGNORECASE):
            return CpuModel(name, f"{row}, TDP {tdp_w:g} W / {cores}", tdp_w / cores, FACTOR_KNOWN)
    middle = geometric_mean(tdp_w / cores for tdp_w, cores in CHIPS.values())
    return CpuModel(name, f"default, middle of {len(CHIPS)} chips", middle, FACTOR_UNKNOWN)


class CpuEstimate:
    """Cumulative estimated joules of this process and its children.

    E = W per logical core × (0.67 × CPU-seconds of the process tree + 0.15 × logical cores × wall
    time): the idle share is that of the whole CPU, busy or not. Derived in: Lab 01.
    """

    def __init__(self, model: CpuModel | None = None) -> None:
        self.model = model or cpu_model()
        self._cores = os.cpu_count() or 1
        self._start_s = time.perf_counter()
        self._tree = _ProcessTree()
        self.info = SensorInfo(
            name="cpu-estimate",
            device=f"{self.model.cpu}, {self._cores} logical cores (watts: {self.model.row})",
            domain=Domain.PROCESS,
            provenance=Provenance.ESTIMATED,
            method=f"CPU time × {self.model.core_w:.2g} W per logical core",
            kind=Kind.COUNTER,
            factor=self.model.factor,
            poll_s=0.1,
            highest_w=math.inf,  # CPU time of children that end is booked all at once
        )

    def read(self) -> float:
        """Estimated joules since the sensor was made."""
        wall_s = time.perf_counter() - self._start_s
        busy_s = self._tree.cpu_seconds()
        return self.model.core_w * (BUSY_SHARE * busy_s + IDLE_SHARE * self._cores * wall_s)

    def close(self) -> None:
        """Nothing to release."""


class _ProcessTree:
    """CPU-seconds of this process and its descendants, ended ones included; never decreases."""

    LOOK_FOR_CHILDREN_S = 1.0
    LOOK_SHARE = 1 / 1000  # of the time, at most: the search walks all processes of the machine

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._children: set[psutil.Process] = set()
        self._next_look_s = -math.inf
        self._so_far_s = 0.0
        self._at_start_s = self._now_s()

    def cpu_seconds(self) -> float:
        """CPU-seconds since this object was made."""
        self._so_far_s = max(self._so_far_s, self._now_s() - self._at_start_s)
        return self._so_far_s

    def _now_s(self) -> float:
        start_s = time.perf_counter()
        if start_s >= self._next_look_s:
            self._children.update(self._process.children(recursive=True))
            took_s = time.perf_counter() - start_s
            self._next_look_s = start_s + max(self.LOOK_FOR_CHILDREN_S, took_s / self.LOOK_SHARE)
        ended = os.times()  # of children that ended and were waited for, however short they lived
        used_s = time.process_time() + ended.children_user + ended.children_system
        for child in tuple(self._children):
            try:
                used_s += sum(child.cpu_times()[:4])
            except psutil.Error:
                self._children.discard(child)
        return used_s
