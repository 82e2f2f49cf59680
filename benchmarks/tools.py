"""The five meters, each unmodified and through its own public API, behind one small interface."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from greenkit.metering import Window

JOULES_PER_KWH = 3.6e6
IDENTITY = ("timestamp", "run_id", "experiment_id", "os")  # of CodeCarbon's record, not kept

# Tool -> (distribution, the module that a user imports first).
PACKAGES = {
    "CodeCarbon": ("codecarbon", "codecarbon"),
    "Zeus": ("zeus", "zeus.monitor"),
    "carbontracker": ("carbontracker", "carbontracker.tracker"),
    "pyJoules": ("pyJoules", "pyJoules.energy_meter"),
    "greenkit": ("greenkit", "greenkit.metering"),
}


def versions() -> dict[str, str | None]:
    """The installed version of each tool, None where it is not installed."""
    found: dict[str, str | None] = {}
    for tool, (package, _) in PACKAGES.items():
        try:
            found[tool] = version(package)
        except PackageNotFoundError:
            found[tool] = None
    return found


@dataclass(frozen=True)
class Result:
    """What a tool handed over for one window: joules by part, and its result as it prints.

    `interval_j` is the interval that the tool states, `random_j` the same without the error that
    all windows of a sensor share; both None where the tool states none.
    """

    parts_j: dict[str, float]
    said: str
    interval_j: tuple[float, float] | None = None
    random_j: tuple[float, float] | None = None

    @property
    def total_j(self) -> float:
        """The headline value."""
        return sum(self.parts_j.values())

    @property
    def gpu_j(self) -> float | None:
        """Energy of the GPUs, None where the tool names none."""
        gpus = [joules for part, joules in self.parts_j.items() if part.startswith("gpu")]
        return sum(gpus) if gpus else None


class Tool(Protocol):
    """An open meter. Windows follow one another; `close` gives their results in order."""

    def begin(self) -> None:
        """Open a window."""

    def end(self) -> None:
        """Close the window."""

    def close(self) -> list[Result]:
        """Stop metering and hand the results over."""


class CodeCarbon:
    """One task per window; the tracker's own period stays at its default of 15 s."""

    def __init__(self, windows: int) -> None:
        from codecarbon import OfflineEmissionsTracker

        self.results: list[Result] = []
        self.tracker = OfflineEmissionsTracker(country_iso_code="FRA", save_to_file=False)

    def begin(self) -> None:
        self.tracker.start_task()

    def end(self) -> None:
        data = self.tracker.stop_task()
        kwh = {"cpu": data.cpu_energy, "ram": data.ram_energy, "gpu": data.gpu_energy}
        parts = {part: JOULES_PER_KWH * value for part, value in kwh.items()}
        said = {key: value for key, value in vars(data).items() if key not in IDENTITY}
        self.results.append(Result(parts, f"EmissionsData {said}"))

    def close(self) -> list[Result]:
        self.tracker.stop()
        return self.results


class Zeus:
    """One window after the other, without waiting for torch: this load runs on no GPU."""

    def __init__(self, windows: int) -> None:
        from zeus.monitor import ZeusMonitor

        self.results: list[Result] = []
        self.monitor = ZeusMonitor()

    def begin(self) -> None:
        self.monitor.begin_window("window", sync_execution=False)

    def end(self) -> None:
        data = self.monitor.end_window("window", sync_execution=False)
        parts = {f"gpu:{i}": float(joules) for i, joules in data.gpu_energy.items()}
        for part, zones in (("cpu", data.cpu_energy), ("ram", data.dram_energy)):
            if zones:
                parts[part] = float(sum(zones.values()))
        self.results.append(Result(parts, f"{data}, total_energy={data.total_energy}"))

    def close(self) -> list[Result]:
        return self.results


class Carbontracker:
    """One epoch per window; results from its own log parser, which rounds time to 10 ms."""

    def __init__(self, windows: int) -> None:
        from carbontracker.tracker import CarbonTracker

        self.windows = windows
        self.folder = tempfile.TemporaryDirectory()
        self.tracker = CarbonTracker(
            epochs=windows, epochs_before_pred=0, log_dir=self.folder.name, verbose=0
        )

    def begin(self) -> None:
        self.tracker.epoch_start()

    def end(self) -> None:
        self.tracker.epoch_end()

    def close(self) -> list[Result]:
        from carbontracker import parser

        self.tracker.stop()
        with self.folder as folder:
            log = parser.parse_all_logs(folder)[0]
        energies = {
            part: values["avg_energy_usages (J)"] for part, values in log["components"].items()
        }
        results = []
        for i in range(self.windows):
            parts = {part: float(joules[i].sum()) for part, joules in energies.items()}
            results.append(Result(parts, f"{parts}"))
        if self.windows > 1:
            return results
        # The total that it prints contains a data centre's overhead; the parts do not.
        actual = log["actual"]
        overhead = JOULES_PER_KWH * actual["energy (kWh)"] - results[0].total_j
        said = f"Actual consumption: Time {actual['duration (s)']} s, "
        said += f"Energy: {actual['energy (kWh)']:.12f} kWh"
        return [Result({**results[0].parts_j, "PUE": overhead}, said)]


class PyJoules:
    """Start and stop per window, on all devices that it finds."""

    def __init__(self, windows: int) -> None:
        from pyJoules.device import DeviceFactory
        from pyJoules.energy_meter import EnergyMeter

        self.results: list[Result] = []
        self.meter = EnergyMeter(DeviceFactory.create_devices())

    def begin(self) -> None:
        self.meter.start(tag="window")

    def end(self) -> None:
        self.meter.stop()
        energy: dict[str, float] = self.meter.get_trace()[0].energy
        parts = {}
        for name, value in energy.items():  # mJ on a GPU, µJ from RAPL
            gpu = name.startswith("nvidia_gpu_")
            parts[f"gpu:{name.rsplit('_', 1)[1]}" if gpu else name] = value * (
                1e-3 if gpu else 1e-6
            )
        self.results.append(Result(parts, str(energy)))

    def close(self) -> list[Result]:
        return self.results


class Greenkit:
    """Windows on one meter; energies are looked up after the last of them."""

    def __init__(self, windows: int) -> None:
        from greenkit.metering import EnergyMeter

        self.meter = EnergyMeter()
        self.meter.__enter__()
        self.window: Window | None = None

    def begin(self) -> None:
        self.window = self.meter.window("window")
        self.window.__enter__()

    def end(self) -> None:
        assert self.window is not None
        self.window.__exit__()

    def close(self) -> list[Result]:
        self.meter.__exit__()
        return [_greenkit_result(window) for window in self.meter.windows]


def _greenkit_result(window: Window) -> Result:
    """The GPUs of a window where there are any, else its headline reading."""
    from greenkit.foundations import Domain, total
    from greenkit.metering import NotMeasuredError

    try:
        gpus = [reading for reading in window.readings if reading.domain is Domain.GPU]
        reading = total(gpus) if gpus else window.reading
    except NotMeasuredError as error:
        return Result({}, str(error))
    parts = {gpu.sensor.replace("nvml", "gpu"): gpu.joules for gpu in gpus}
    spread = 2 * reading.random
    return Result(
        parts or {reading.domain.value: reading.joules},
        repr(reading),
        (reading.low, reading.high),
        reading.bounds or (reading.joules - spread, reading.joules + spread) if gpus else None,
    )


OPEN: dict[str, Callable[[int], Tool]] = {
    "CodeCarbon": CodeCarbon,
    "Zeus": Zeus,
    "carbontracker": Carbontracker,
    "pyJoules": PyJoules,
    "greenkit": Greenkit,
}
