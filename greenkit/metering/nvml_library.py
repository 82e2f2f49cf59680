"""NVIDIA's management library: opened and given back, its cards listed, its errors in words."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from typing import Any

from greenkit.metering.gpus import Card
from greenkit.metering.sensor import SensorError

TRIES, PAUSE_S = 3, 0.004

Ask = Callable[[Any, Any], float]  # (pynvml, handle of a card) -> joules or watts


class Library:
    """One reference to the library, given back by `close` or with the object."""

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError:
            raise SensorError(
                "NVIDIA GPUs cannot be read without a package: pip install nvidia-ml-py"
            ) from None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise SensorError(f"no NVIDIA GPU can be read: {explain(error)}") from None
        self.nvml: Any = pynvml
        self.close = weakref.finalize(self, _shut_down, pynvml)
        self._handles: dict[int, Any] = {}

    def handle(self, card: Card) -> Any:
        """NVML's handle of a card, looked up once. Raises SensorError where it is gone."""
        if card.index not in self._handles:
            try:
                self._handles[card.index] = self.nvml.nvmlDeviceGetHandleByIndex(card.index)
            except self.nvml.NVMLError as error:
                raise SensorError(f"nvml:{card.index} is gone: {explain(error)}") from None
        return self._handles[card.index]

    def cards(self) -> tuple[list[Card], list[str]]:
        """The cards that the driver lists, and one sentence for each that it does not open."""
        cards, reasons = [], []
        try:
            count = self.nvml.nvmlDeviceGetCount()
        except self.nvml.NVMLError as error:
            return [], [f"the NVIDIA driver lists no GPU: {explain(error)}"]
        for index in range(count):
            try:
                cards.append(self._card(index))
            except self.nvml.NVMLError as error:
                reasons.append(f"nvml:{index} cannot be opened: {explain(error)}")
        return cards, reasons

    def _card(self, index: int) -> Card:
        nvml = self.nvml
        handle = self._handles[index] = nvml.nvmlDeviceGetHandleByIndex(index)
        try:
            bus_id = nvml.nvmlDeviceGetPciInfo(handle).busId
        except nvml.NVMLError:
            bus_id = ""  # an embedded card sits on no PCI bus
        try:
            mig = nvml.nvmlDeviceGetMigMode(handle)[0] == 1
        except nvml.NVMLError:
            mig = False  # most cards do not know the mode
        return Card(
            index,
            nvml.nvmlDeviceGetName(handle),
            nvml.nvmlDeviceGetUUID(handle),
            bus_id.decode() if isinstance(bus_id, bytes) else bus_id,
            mig,
        )

    def simulated(self) -> bool:
        """True for a library without hardware behind it, which calls its driver so."""
        try:
            return str(self.nvml.nvmlSystemGetDriverVersion()).startswith("simulated")
        except self.nvml.NVMLError:
            return False


def _shut_down(nvml: Any) -> None:
    with contextlib.suppress(nvml.NVMLError):  # shut down by someone else: nothing to give back
        nvml.nvmlShutdown()


def answer(nvml: Any, handle: Any, ask: Ask) -> float | None:
    """The answer of a card, or None where it has none; a first 0 may come of polling too soon."""
    for attempt in range(TRIES):
        time.sleep(PAUSE_S if attempt else 0.0)
        try:
            if value := ask(nvml, handle):
                return value
        except nvml.NVMLError:
            return None
    return 0.0


_SENTENCES = {
    "LIBRARY_NOT_FOUND": "its driver's library is not there (no NVIDIA GPU, no driver, or a "
    "container started without --gpus all)",
    "DRIVER_NOT_LOADED": "the driver is installed but not loaded (sudo modprobe nvidia)",
    "LIB_RM_VERSION_MISMATCH": "the driver was updated since it was loaded: reboot",
    "NO_PERMISSION": "this user may not talk to the driver",
    "GPU_IS_LOST": "the GPU fell off the bus: reboot",
    "NOT_SUPPORTED": "its driver does not support this reading (any more)",
    "UNINITIALIZED": "the library was shut down by another part of this program",
}


def explain(error: Any) -> str:
    import pynvml

    for name, sentence in _SENTENCES.items():
        if error.value == getattr(pynvml, f"NVML_ERROR_{name}"):
            return sentence
    return f"NVML says {str(error)!r}"
