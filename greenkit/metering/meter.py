"""The energy meter: named windows on the curves of all sensors of this machine."""

from __future__ import annotations

import functools
import math
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator, ExitStack
from typing import Any, ParamSpec, TypeVar

from greenkit.foundations import Grid, Reading
from greenkit.metering import device
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.discovery import Discovery
from greenkit.metering.overhead import OVERHEAD
from greenkit.metering.report import report
from greenkit.metering.sampler import sampler
from greenkit.metering.sensor import Sensor, SensorError, has_power_beside
from greenkit.metering.window import NotMeasuredError, Window, headline

__all__ = ["EnergyMeter", "NotMeasuredError", "Window"]

P = ParamSpec("P")
R = TypeVar("R")


class EnergyMeter(ContextDecorator):
    """Meters everything that happens while it is open; `window` names a part of it.

    `sensors` is "auto" (all that this machine offers), "codecarbon" (a second opinion, to stand
    beside the first) or a list of sensors; `gpus` names GPUs by index or UUID; `sync` waits for
    the GPU at both ends of each window; `overhead` is the share of one core that reading energy
    counters may cost, where a read is dear (the first seconds aside). As a decorator it opens for
    each call, and `total` is the last one; `watch` makes each call a window instead.

    Raises SensorError where a named GPU does not exist. Derived in: Lab 01.
    """

    def __init__(
        self,
        sensors: str | Sequence[Sensor] = "auto",
        *,
        gpus: Sequence[int | str] | None = None,
        sync: bool = True,
        overhead: float = OVERHEAD,
    ) -> None:
        if not 0 < overhead <= 1:
            raise ValueError(f"overhead is a share of one core, above 0 and at most 1: {overhead}")
        if isinstance(sensors, str):
            found = _discover(sensors, gpus)
        elif gpus is not None:
            raise ValueError('gpus chooses among the sensors that are found: pass sensors="auto"')
        else:
            found = Discovery(tuple(sensors), ())
        self.sensors, self.reasons = found.sensors, found.reasons
        self.sync, self.overhead = sync, overhead
        self.windows: list[Window] = []
        self.curves: list[EnergyCurve] = []
        self.idle_w: Reading | None = None
        self._total = Window("total", {}, self, ())
        self._release: weakref.finalize[Any, EnergyMeter] | None = None

    # -- opening and closing -----------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """True between opening and closing."""
        return self._release is not None and self._release.alive

    def __enter__(self) -> EnergyMeter:
        if self.is_open:
            raise RuntimeError("this meter is already open; make a second EnergyMeter")
        self.synchronize()
        with ExitStack() as undo:
            curves: list[EnergyCurve] = []
            counters = sum(map(has_power_beside, self.sensors))
            for sensor in self.sensors:
                curves.append(sampler().attach(sensor, self.overhead / max(1, counters)))
                undo.callback(sampler().detach, sensor)
            undo.pop_all()
        self._release = weakref.finalize(self, sampler().detach_later, self.sensors)
        self._release.atexit = False  # the thread is a daemon, and the exit should not wait
        self.curves = list(dict.fromkeys(curves))
        self._total = Window("total", {}, self, self.curves, time.perf_counter())
        return self

    def __exit__(self, *exception: object) -> None:
        if self._release is None or not self._release.detach():
            return
        try:
            if not any(exception):
                self.synchronize()
        finally:
            self._total.end_s = time.perf_counter()
            try:
                self._settle(self._total.end_s, self.curves, hurry=True)
            finally:
                for sensor in self.sensors:
                    sampler().detach(sensor)

    def synchronize(self) -> None:
        """Wait until the GPU has done what it was given (where torch uses one)."""
        if self.sync:
            device.synchronize()

    # -- windows -----------------------------------------------------------------------------

    def window(self, name: str, **work: float) -> Window:
        """A block to meter: ``with meter.window("decode", tokens=128): …``.

        Raises RuntimeError while the meter is closed.
        """
        if not self.is_open:
            raise RuntimeError("this meter is closed: open it with `with EnergyMeter() as meter:`")
        return Window(name, work, self, self.curves)

    def watch(self, name: str, **work: float) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function so that each call is a window of that name."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            @functools.wraps(function)
            def metered(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.window(name, **work):
                    return function(*args, **kwargs)

            return metered

        return decorate

    def draw(self, name: str, start_s: float, end_s: float, **work: float) -> Window:
        """A window drawn afterwards, between two instants of ``time.perf_counter()``.

        Raises ValueError where it ends before it starts.
        """
        if not end_s >= start_s:
            raise ValueError(f"a window ends after it starts: got {start_s} s to {end_s} s")
        window = Window(name, work, self, self.curves, start_s, end_s)
        self.windows.append(window)
        return window

    def __getitem__(self, name: str) -> list[Window]:
        found = [w for w in self.windows if w.name == name]
        if not found:
            names = ", ".join(dict.fromkeys(w.name for w in self.windows)) or "none yet"
            raise KeyError(f"no window {name!r}; there are: {names}")
        return found

    def __iter__(self) -> Iterator[Window]:
        return iter(self.windows)

    @property
    def total(self) -> Window:
        """The window from opening to closing (or to now)."""
        if not self.is_open:
            return self._total
        return Window("total", {}, self, self.curves, self._total.start_s, time.perf_counter())

    def idle(self, seconds: float = 2.0) -> Reading:
        """Do nothing for some seconds and keep the reading as the idle baseline.

        Raises NotMeasuredError where no sensor gives one.
        """
        with self.window("idle") as window:
            time.sleep(seconds)
        self.idle_w = window.reading
        return self.idle_w

    # -- energy ------------------------------------------------------------------------------

    def readings(self, start_s: float, end_s: float) -> tuple[Reading, ...]:
        """One reading per sensor between two instants; sensors that have none are left out."""
        return self.look(start_s, end_s, self.curves)[0]

    def between(self, start_s: float, end_s: float) -> Reading:
        """The headline reading between two instants: measured, else simulated, else estimated.

        Raises NotMeasuredError with the reason of every sensor where there is none.
        """
        return headline(*self.look(start_s, end_s, self.curves))

    def look(
        self, start_s: float, end_s: float, curves: Sequence[EnergyCurve]
    ) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
        """One reading per curve that has one, and one sentence per other curve or sensor."""
        readings, reasons = [], []
        self._settle(end_s, curves)
        for curve in curves:
            try:
                readings.append(curve.reading(start_s, end_s))
            except SensorError as error:
                reasons.append(str(error))
        if not curves:
            reasons.append("not measured: this meter has no sensor, or was never opened")
        return tuple(readings), (*reasons, *(() if readings else self.reasons))

    @property
    def settled_s(self) -> float:
        """The instant up to which all curves are known for good, in seconds."""
        return min((c.settled_s for c in self.curves if not c.trouble), default=math.inf)

    def _settle(self, time_s: float, curves: Sequence[EnergyCurve], *, hurry: bool = False) -> None:
        for sensor in self.sensors:
            for curve in curves:
                if curve.info == sensor.info:
                    sampler().settle(sensor, curve, time_s, hurry=hurry)

    def watts_now(self) -> dict[str, float]:
        """The latest power in watts of every sensor that has one."""
        now = {curve.info.name: curve.watts_now for curve in self.curves}
        return {name: watts for name, watts in now.items() if watts is not None}

    def peaks(self, prominence_w: float) -> dict[str, list[tuple[float, float]]]:
        """Per sensor, the power peaks (time s, watts) that stand out by at least that much."""
        return {curve.info.name: curve.peaks(prominence_w) for curve in self.curves}

    def report(self, *, grid: Grid | None = None, pue: float = 1.0) -> str:
        """The table of all windows, with interval and provenance in each row.

        With a `grid` (and a PUE, facility energy over IT energy) it states the carbon, too.
        """
        return report(self, grid=grid, pue=pue)


def _discover(sensors: str, gpus: Sequence[int | str] | None) -> Discovery:
    if sensors == "auto":
        from greenkit.metering.machine import discover

        return discover(gpus=gpus)
    if sensors != "codecarbon":
        raise ValueError(f'sensors is "auto", "codecarbon" or a list of sensors, got {sensors!r}')
    if gpus is not None:
        raise ValueError('gpus chooses among the sensors that are found: pass sensors="auto"')
    from greenkit.metering.codecarbon import discover as second_opinion

    return second_opinion()
