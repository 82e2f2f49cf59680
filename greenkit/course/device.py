"""What machine a run happened on: the name under which its record is kept."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("greenkit", "torch", "transformers", "numpy", "psutil", "nvidia-ml-py")


def device_facts() -> dict[str, Any]:
    """Name, kind, cores, memory and versions of this machine, as plain values for a record.

    The name is that of the first GPU whose sensor can be read, else the CPU's with its cores.
    Reads only; nothing that identifies one machine (serial, UUID, host name) is kept.
    """
    import psutil

    from greenkit.metering.estimate import cpu_name

    cores = os.cpu_count() or 1
    gpu = _gpu()
    name = gpu["name"] if gpu else f"{cpu_name()}, {cores} cores"
    return {
        "name": name,
        "slug": slug(name),
        "kind": "gpu" if gpu else "cpu",
        "cpu": cpu_name(),
        "cores": cores,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def peak_memory_mb() -> float:
    """The most main memory that this process has held so far, in MB."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def slug(name: str) -> str:
    """A folder name for a device, e.g. ``amd-epyc-2-cores``."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        module = sys.modules.get(package)
        return getattr(module, "__version__", None)


def _gpu() -> dict[str, Any] | None:
    from greenkit.metering import nvml

    found = nvml.discover()
    try:
        if not found.sensors:
            return None
        return {key: value for key, value in nvml.settings(0).items() if key != "uuid"}
    finally:
        for sensor in found.sensors:
            sensor.close()
