"""NVIDIA GPUs through NVML: the energy counter where a card has one, else its power.

What a card offers is found by asking it, not by its generation: virtual and embedded GPUs of any
generation lack the counter. Sources: NVML reference; Yang, Adamek, Armour, SC 2024
(arXiv:2312.02741) for the periods and errors of the sensors.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from greenkit.foundations import Domain, Provenance
from greenkit.metering.discovery import Discovery
from greenkit.metering.gpus import Card, named, opened_by_torch, visible
from greenkit.metering.nvml_library import PAUSE_S, TRIES, Ask, Library, answer, explain
from greenkit.metering.sensor import HIGHEST_W, Kind, SensorError, SensorInfo

GAIN = 0.05  # rms of five cards against an external meter; NVIDIA documents ±5 %
STALL_S = 1.0
ABOVE_LIMIT, LEAST_HIGHEST_W = 3, 2_000.0  # times the power limit; whatever a card says of it
FIELD_POWER_INSTANT = 186
FIELD_TYPES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal")
SCOPE_GPU, SCOPE_MODULE = 0, 1
TURING, AMPERE = 6, 7


@dataclass(frozen=True)
class _Method:
    name: str
    kind: Kind
    ask: Ask
    poll_s: float
    average_s: float = 0.0


class NvmlSensor:
    """One GPU, read by one method. `close` gives the library back; a later read takes it again.

    `skipped` counts reads of 0 W, which a card that runs never draws.
    """

    def __init__(
        self, card: Card, info: SensorInfo, method: _Method, instant: Ask | None = None
    ) -> None:
        self.info = info
        self.skipped = 0
        self._card, self._method, self._instant = card, method, instant
        self._library: Library | None = Library()

    def read(self) -> float:
        """Joules of the counter, or watts. Raises SensorError where the card gives neither."""
        problem = "it reports 0 W"
        for attempt in range(TRIES):
            time.sleep(PAUSE_S if attempt else 0.0)
            nvml, handle = self._open()
            try:
                value = self._method.ask(nvml, handle)
            except nvml.NVMLError as error:
                problem = explain(error)
                if error.value != nvml.NVML_ERROR_NOT_SUPPORTED:  # which polling too fast can cause
                    break
                continue
            if value > 0 or self._method.kind is Kind.TICKS:
                return value
            self.skipped += 1
        raise SensorError(f"{self.info.name} ({self._card.name}) cannot be read: {problem}")

    def watts(self) -> float | None:
        """Instantaneous watts, beside the counter; None where the card does not tell them."""
        if self._instant is None:
            return None
        nvml, handle = self._open()
        return answer(nvml, handle, self._instant) or None

    def close(self) -> None:
        """Give the library back; may be called twice."""
        if self._library is not None:
            self._library.close()
            self._library = None

    def _open(self) -> tuple[Any, Any]:
        if self._library is None:
            self._library = Library()
        return self._library.nvml, self._library.handle(self._card)


def discover(gpus: Sequence[int | str] | None = None) -> Discovery:
    """One sensor per GPU that this process uses, and one sentence for each that has none.

    `gpus` names cards by index (as `nvidia-smi` numbers them) or UUID; None means those that CUDA
    shows to this process. Raises SensorError where a named card does not exist or is in MIG mode.
    """
    try:
        library = Library()
    except SensorError as error:
        if gpus:
            raise
        return Discovery((), (str(error),))
    with contextlib.closing(library):
        cards, reasons = library.cards()
        if gpus is not None:
            chosen = named(cards, gpus)
        else:
            environ = os.environ
            mask, order = environ.get("CUDA_VISIBLE_DEVICES"), environ.get("CUDA_DEVICE_ORDER")
            chosen, hidden = visible(cards, mask, order, opened_by_torch())
            reasons += hidden
        sensors = [sensor for card in chosen if (sensor := _sensor(library, card, reasons))]
    if not sensors and not reasons:
        reasons.append("the NVIDIA driver works, but there is no GPU or none was asked for")
    return Discovery(tuple(sensors), tuple(reasons))


def _sensor(library: Library, card: Card, reasons: list[str]) -> NvmlSensor | None:
    nvml, handle = library.nvml, library.handle(card)
    scope = SCOPE_GPU
    if not answer(nvml, handle, partial(_instant_w, scope=SCOPE_GPU)) and answer(
        nvml, handle, partial(_instant_w, scope=SCOPE_MODULE)
    ):
        scope = SCOPE_MODULE
    provenance = Provenance.SIMULATED if library.simulated() else Provenance.MEASURED
    methods = (
        _Method("counter", Kind.TICKS, _counter_j, poll_s=0.02),
        _Method("sampled, instantaneous", Kind.POWER, partial(_instant_w, scope=scope), 0.02),
        _usage_method(nvml, handle),
    )
    for method in methods:
        value = answer(nvml, handle, method.ask)
        if value is None or (value == 0 and method.kind is Kind.POWER):
            continue
        info = SensorInfo(
            name=f"nvml:{card.index}",
            device=card.label,
            domain=Domain.MODULE if scope == SCOPE_MODULE else Domain.GPU,
            provenance=provenance,
            method=method.name,
            kind=method.kind,
            gain=GAIN,
            poll_s=method.poll_s,
            stall_s=STALL_S if method.kind is Kind.TICKS else None,
            average_s=method.average_s,
            quantum_j=0.001 if method.kind is Kind.TICKS else 0.0,
            highest_w=_highest_w(nvml, handle),
            note="module of CPU and GPU" if scope == SCOPE_MODULE else "whole board",
        )
        beside = methods[1:] if method.kind is Kind.TICKS else ()
        return NvmlSensor(card, info, method, _instantaneous(nvml, handle, beside))
    reasons.append(
        f"nvml:{card.index} ({card.name}) has neither an energy counter nor a power reading above "
        "0 W; virtual and embedded GPUs often have none"
    )
    return None


def _highest_w(nvml: Any, handle: Any) -> float:
    """What the card can never draw: a multiple of its highest limit, which short bursts exceed."""
    try:
        limit_w = float(nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1]) / 1000
    except nvml.NVMLError:
        return HIGHEST_W
    return min(HIGHEST_W, max(LEAST_HIGHEST_W, ABOVE_LIMIT * limit_w))


def _instantaneous(nvml: Any, handle: Any, methods: Sequence[_Method]) -> Ask | None:
    """The first of these methods that gives power without averaging it over a second."""
    for method in methods:
        if not method.average_s and answer(nvml, handle, method.ask):
            return method.ask
    return None


def _counter_j(nvml: Any, handle: Any) -> float:
    return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000


def _usage_w(nvml: Any, handle: Any) -> float:
    return float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1000


def _instant_w(nvml: Any, handle: Any, scope: int) -> float:
    field = nvml.nvmlDeviceGetFieldValues(handle, [(FIELD_POWER_INSTANT, scope)])[0]
    if field.nvmlReturn != nvml.NVML_SUCCESS:
        raise nvml.NVMLError(field.nvmlReturn)
    return float(getattr(field.value, FIELD_TYPES[field.valueType])) / 1000


def _usage_method(nvml: Any, handle: Any) -> _Method:
    """nvmlDeviceGetPowerUsage: a mean over 1 s from Ampere on, GA100 excepted; before, instant."""
    try:
        architecture = nvml.nvmlDeviceGetArchitecture(handle)
        ga100 = nvml.nvmlDeviceGetCudaComputeCapability(handle) == (8, 0)
    except nvml.NVMLError:
        architecture, ga100 = AMPERE, False
    if architecture <= TURING or (architecture == AMPERE and ga100):
        return _Method("sampled, instantaneous", Kind.POWER, _usage_w, 0.02)
    return _Method("sampled, 1 s average", Kind.POWER, _usage_w, 0.1, average_s=1.0)


def settings(gpu: int | str = 0) -> dict[str, object]:
    """What a record must say of a GPU: name, driver, limits, clocks; None where it is unknown.

    Reads only. Raises SensorError where the GPU does not exist.
    """
    with contextlib.closing(Library()) as library:
        nvml = library.nvml
        (card,) = named(library.cards()[0], [gpu])

        def ask(function: str, *arguments: int) -> Any:
            try:
                return getattr(nvml, "nvmlDeviceGet" + function)(library.handle(card), *arguments)
            except nvml.NVMLError:
                return None

        limits_mw = {
            "power_limit_w": ask("EnforcedPowerLimit"),
            "power_limit_default_w": ask("PowerManagementDefaultLimit"),
            "power_limit_max_w": (ask("PowerManagementLimitConstraints") or (None, None))[1],
        }
        return {
            "name": card.name,
            "uuid": card.uuid,
            "driver": nvml.nvmlSystemGetDriverVersion(),
            **{key: None if mw is None else mw / 1000 for key, mw in limits_mw.items()},
            "sm_clock_mhz": ask("ClockInfo", nvml.NVML_CLOCK_SM),
            "sm_clock_max_mhz": ask("MaxClockInfo", nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": ask("ClockInfo", nvml.NVML_CLOCK_MEM),
            "persistence_mode": ask("PersistenceMode"),
            "temperature_c": ask("Temperature", nvml.NVML_TEMPERATURE_GPU),
        }
