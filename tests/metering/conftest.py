"""Simulated hardware for the tests of this folder."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "fakes"))

import fake_nvml as simulated_driver


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated libnvidia-ml.so.1; skipped, or failed where all is required, without it."""
    if reason := simulated_driver.missing():
        if os.environ.get("GREENKIT_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return simulated_driver.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake_nvml(nvml_library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """The simulated library behind this process's pynvml; call it to set its variables.

    It carries the library itself as `.library`.
    """
    pynvml = pytest.importorskip("pynvml")
    library = ctypes.CDLL(str(nvml_library))
    for function in (library.fake_nvml_energy_j, library.fake_nvml_power_w):
        function.argtypes, function.restype = [ctypes.c_int, ctypes.c_double], ctypes.c_double
    for name in [n for n in os.environ if n.startswith(("FAKE_NVML_", "CUDA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def use(**settings: object) -> None:
        for key, value in settings.items():
            monkeypatch.setenv(f"FAKE_NVML_{key}", str(value))
        library.fake_nvml_reload()

    use.library = library  # type: ignore[attr-defined]
    use()
    yield use
    if library.fake_nvml_references():  # of sensors that the test forgot
        gc.collect()
    while library.fake_nvml_references():
        library.nvmlShutdown()
