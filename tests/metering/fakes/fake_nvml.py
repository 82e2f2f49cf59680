"""Builds the simulated NVML library and the environment in which programs find it.

The source, fake_nvml.c, says what can be simulated. The truth behind a wave is
`greenkit.metering.simulated.Wave.energy` at an instant of `time.perf_counter()`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
NAME = "libnvidia-ml.so.1"


def missing() -> str:
    """Why the library cannot be built or used here; empty where it can."""
    if not sys.platform.startswith("linux"):
        return "the simulated NVML library needs Linux (its clock, and how pynvml loads it)"
    if compiler() is None:
        return "the simulated NVML library needs a C compiler (cc, gcc or clang)"
    return ""


def compiler() -> str | None:
    """The C compiler of this machine, or None."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def build(folder: Path) -> Path:
    """Compile the library into a folder, beside an `nvidia-smi` that some tools look for."""
    library = folder / NAME
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    command = [compiler() or "cc", *options, "-o", str(library), str(SOURCE), "-lm"]
    subprocess.run(command, check=True)
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 0\n")
    smi.chmod(0o755)
    return library


def environment(library: Path, **settings: object) -> dict[str, str]:
    """os.environ for a subprocess that shall find the library; ``WAVE_1="150"`` sets card 1."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FAKE_NVML_", "CUDA_"))}
    return {
        **kept,
        "LD_LIBRARY_PATH": str(library.parent),
        "PATH": f"{library.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        **{f"FAKE_NVML_{key}": str(value) for key, value in settings.items()},
    }
