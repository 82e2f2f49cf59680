"""The meter against the card's own counter: ``python -m greenkit.metering.check``.

While the card works and rests in turns, the counter is read beside the meter, by itself, at both
ends of a stretch. The check also says what the meter costs: to open, to mark a window, to run.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass

from greenkit.metering.meter import EnergyMeter
from greenkit.metering.nvml import discover
from greenkit.metering.sensor import Kind, SensorError

WORK_S, REST_S = 0.35, 0.25
WINDOWS = 300


@dataclass(frozen=True)
class Check:
    """What was found. `ratio` is the meter's energy over the counter's, `sure` the half-width of
    what the counter's ticks and the meter's interval leave open; `overhead` is a share of a core.
    """

    sensor: str
    ratio: float
    sure: float
    seconds: float
    overhead: float
    opening_s: float
    window_s: float

    @property
    def faults(self) -> tuple[str, ...]:
        """One sentence for everything that is not as promised."""
        promised = {
            f"the meter reads {self.ratio:.3f} times the counter": abs(self.ratio - 1) <= self.sure,
            f"it costs {self.overhead:.1%} of a core": self.overhead <= 0.015,
            f"it opens in {1000 * self.opening_s:.0f} ms": self.opening_s <= 0.06,
            f"a window costs {1e6 * self.window_s:.0f} µs": self.window_s <= 30e-6,
        }
        return tuple(sentence for sentence, holds in promised.items() if not holds)


def check(seconds: float = 10.0, load: AbstractContextManager[None] | None = None) -> Check:
    """Meter the first NVIDIA GPU and its counter side by side for so many seconds under a load.

    Raises SensorError where there is no GPU with an energy counter.
    """
    start_s = time.perf_counter()
    found = discover()
    sensors = [sensor for sensor in found.sensors if sensor.info.kind is Kind.TICKS][:1]
    if not sensors:
        raise SensorError("; ".join(found.reasons) or "no GPU here has an energy counter")
    counter = discover([int(sensors[0].info.name.rpartition(":")[2])]).sensors[0]
    with EnergyMeter(sensors) as meter:
        opening_s = time.perf_counter() - start_s
        overhead = _busy_share(seconds / 2)
        with load or nullcontext():
            time.sleep(1.0)
            first_j, first_s = counter.read(), time.perf_counter()
            time.sleep(seconds)
            last_j, last_s = counter.read(), time.perf_counter()
        reading = meter.between(first_s, last_s)
        window_s = _window_s(meter)
    counter.close()
    counted_j = last_j - first_j
    edges_j = 2 * 0.1 * reading.joules / reading.duration_s  # a tick at either end
    sure = (2 * reading.random + edges_j) / counted_j
    return Check(
        f"{reading.sensor} {reading.device}",
        reading.joules / counted_j,
        sure,
        reading.duration_s,
        overhead,
        opening_s,
        window_s,
    )


def _busy_share(seconds: float) -> float:
    """The share of a core that this process uses while nothing but the sampler runs."""
    time.sleep(2.0)  # first it finds the ticks
    busy_s, start_s = time.process_time(), time.perf_counter()
    time.sleep(seconds)
    return (time.process_time() - busy_s) / (time.perf_counter() - start_s)


def _window_s(meter: EnergyMeter) -> float:
    """What marking a window costs beyond waiting for the device at both of its ends."""

    def median_s(once: Callable[[], object]) -> float:
        times = []
        for _ in range(WINDOWS):
            start_s = time.perf_counter()
            once()
            times.append(time.perf_counter() - start_s)
        return statistics.median(times)

    def window() -> None:
        with meter.window("mark"):
            pass

    return max(0.0, median_s(window) - 2 * median_s(meter.synchronize))


@contextmanager
def gpu_load() -> Iterator[None]:
    """Matrix products for `WORK_S`, then nothing for `REST_S`, again and again, in a thread."""
    import torch

    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(REST_S):
            end_s = time.perf_counter() + WORK_S
            while time.perf_counter() < end_s:
                matrix @ matrix
                torch.cuda.synchronize()

    thread = threading.Thread(target=work, name="greenkit-load", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def main() -> int:
    """Check the first GPU under load and print what was found; returns the number of faults."""
    try:
        found = check(load=gpu_load())
    except SensorError as error:
        print(error)
        return 1
    print(json.dumps(asdict(found), indent=1))
    for fault in found.faults:
        print(f"not as promised: {fault}")
    return len(found.faults)


if __name__ == "__main__":
    sys.exit(main())
