"""CodeCarbon as a second opinion: its model of the whole machine, beside the meter's own values.

Always offline: no network, no file, no lock. Its energy is read, its carbon never. What it finds
no sensor for it models: a CPU as TDP × (0.1 + 0.9 load³), memory as watts per module.
"""

from __future__ import annotations

import logging
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from greenkit.foundations import Domain, Provenance
from greenkit.metering.discovery import Discovery
from greenkit.metering.sensor import Kind, SensorError, SensorInfo

OLDEST = "3.3.2"  # earlier: a failed read of RAPL becomes 262 kJ, mirrored dies count twice
FACTOR = 2.9  # 95 %: a load model of the CPU against 86 points of RAPL
JOULES_PER_KWH = 3.6e6
HIGHEST_W = 100_000  # several times the largest machine of eight GPUs
POLL_S = 1.0  # its model is not linear in the load: this is the pace of its own monitor


class CodeCarbonSensor:
    """Joules that a tracker counts from the first read on; `close` stops it and its threads."""

    def __init__(self) -> None:
        self._tracker: Any = None
        self._last: Any = None  # what CodeCarbon calls EmissionsData, at the last read
        self.read()
        self.info = _info(self._tracker, self._last)
        self.close()

    def read(self) -> float:
        """Joules since the first read. Raises SensorError where the tracker fails."""
        if self._tracker is None:
            self._tracker = _tracker(self._keep)
            self._tracker.start()
        self._last = None
        self._tracker.flush()  # measures, unless it did so in the last 50 ms
        if self._last is None:
            raise SensorError("CodeCarbon gave no value; its log says why")
        return float(self._last.energy_consumed) * JOULES_PER_KWH

    def close(self) -> None:
        """Stop the tracker; may be called twice. The next read starts one that counts from 0."""
        if self._tracker is not None:
            self._tracker.stop()
            self._tracker = None

    def _keep(self, total: Any) -> None:
        self._last = total


def discover() -> Discovery:
    """CodeCarbon as one sensor, or one sentence why not. The first call takes a second or two."""
    try:
        found = version("codecarbon")
    except PackageNotFoundError:
        found = ""
    if _numbers(found) < _numbers(OLDEST):
        has = f"this is {found}" if found else "it is not installed"
        return Discovery(
            (), (f"CodeCarbon {OLDEST} or newer is needed, {has}: pip install -U codecarbon",)
        )
    try:
        return Discovery((CodeCarbonSensor(),), ())
    except SensorError as error:
        return Discovery((), (str(error),))
    except Exception as error:  # of its own kinds, and of whatever it asks
        return Discovery((), (f"CodeCarbon does not start: {type(error).__name__}: {error}",))


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".")[:3] if part.isdigit())


def _tracker(keep: Any) -> Any:
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.output_methods.base_output import BaseOutput

    class Output(BaseOutput):  # type: ignore[misc]
        def out(self, total: Any, delta: Any) -> None:
            keep(total)

    logging.getLogger("codecarbon").setLevel(logging.ERROR)
    return OfflineEmissionsTracker(
        # A forced intensity needs no country and asks no service; the carbon is not looked at.
        force_carbon_intensity_g_co2e_kwh=0.0,
        electricitymaps_api_token="",
        emissions_endpoint=None,
        cloud_provider=None,
        output_methods=[],
        output_handlers=[Output()],
        allow_multiple_runs=True,
        tracking_mode="machine",
        measure_power_secs=3600.0,  # `read` sets the pace
        api_call_interval=-1,
        pue=1.0,
        log_level="error",
    )


def _info(tracker: Any, data: Any) -> SensorInfo:
    parts = " + ".join(tracker._conf.get("hardware", ()))
    return SensorInfo(
        name="codecarbon",
        device=str(tracker.get_detected_hardware()["cpu_model"]),
        domain=Domain.MACHINE,
        provenance=Provenance.ESTIMATED,
        method=f"CodeCarbon {version('codecarbon')}: {parts}",
        kind=Kind.COUNTER,
        factor=FACTOR,
        poll_s=POLL_S,
        highest_w=HIGHEST_W,
        note=f"of which {data.ram_power:.3g} W for memory, guessed from its size",
    )
