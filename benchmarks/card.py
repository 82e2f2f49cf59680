"""Simulated NVIDIA cards whose energy is known in closed form, as a library that any tool loads.

The library is the one that greenkit's own tests use, tests/metering/fakes/fake_nvml.c.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "tests" / "metering" / "fakes" / "fake_nvml.c"
LIBRARY = "libnvidia-ml.so.1"
TICK_S = 0.1
UUID = "GPU-{0}{0}f2a3b1-0000-4000-8000-000000000000"


class CannotBuildError(RuntimeError):
    """The simulated cards cannot be built here; the message says why."""


def build(folder: Path) -> None:
    """Compile the library into a folder, beside an `nvidia-smi` that CodeCarbon looks for.

    Raises CannotBuildError on a system other than Linux and where there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux"):
        raise CannotBuildError(f"simulated cards need Linux, this is {sys.platform}")
    if compiler is None:
        raise CannotBuildError("simulated cards need a C compiler (cc), and there is none")
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", folder / LIBRARY, SOURCE, "-lm"], check=True
    )
    stub = folder / "nvidia-smi"
    stub.write_text("#!/bin/sh\necho simulated\n")
    stub.chmod(0o755)


def environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """What a process needs to see the cards; `settings` are the library's own variables."""
    return {
        "LD_LIBRARY_PATH": str(folder),
        "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "FAKE_NVML_TICK_S": str(TICK_S),
        **settings,
    }


def wave(low_w: float, high_w: float, period_s: float, high_s: float) -> str:
    """A square wave in the library's notation, high first."""
    return f"{low_w:g}:{high_w:g}:{period_s!r}:{high_s / period_s!r}"


class Truth:
    """The energy that the cards of this process really draw, told by the library itself."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.fake_nvml_energy_j.restype = ctypes.c_double
        self._library.fake_nvml_energy_j.argtypes = [ctypes.c_int, ctypes.c_double]
        self._library.fake_nvml_reload()

    def joules(self, card: int, start_s: float, end_s: float) -> float:
        """Joules of one card between two instants of ``time.perf_counter()``."""
        energy = self._library.fake_nvml_energy_j
        return float(energy(card, end_s) - energy(card, start_s))
