"""The energy meter: named windows on the curves of all sensors of this machine."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn, TypeVar

from greenkit.foundations import Grid, Reading
from greenkit.metering import device
from greenkit.metering.calls import metered
from greenkit.metering.choice import choose
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.overhead import OVERHEAD
from greenkit.metering.report import report
from greenkit.metering.sampler import sampler
from greenkit.metering.sensor import Sensor, SensorError, has_power_beside
from greenkit.metering.window import (
    NotMeasuredError,
    Window,
    headline,
    refuse_bad_instants,
    refuse_bad_work,
)

__all__ = ["EnergyMeter", "NotMeasuredError", "Window"]

F = TypeVar("F")
CLOSED = "this meter is closed: open it with `with EnergyMeter() as meter:`"


class EnergyMeter:
    """Meters everything that happens while it is open; `window` names a part of it.

    `sensors` is "auto" (all that this machine offers), "codecarbon" (a second opinion, to stand
    beside the first) or a list of sensors; `gpus` names GPUs by index or UUID; `sync` waits for
    the GPU at both ends of each window; `overhead` is the share of one core that reading energy
    counters may cost, where a read is dear (the first seconds aside). As a decorator it is open
    while calls run, at once or one in another, and `total` is the last that finished; `watch` makes
    each call a window instead. Opened more than once, its report has a total of all openings.

    Raises SensorError where a named GPU does not exist, and TypeError for what is no sensor.
    Derived in: Lab 01.
    """

    def __init__(
        self,
        sensors: str | Sequence[Sensor] = "auto",
        *,
        gpus: Sequence[int | str] | int | str | None = None,
        sync: bool = True,
        overhead: float = OVERHEAD,
    ) -> None:
        if not 0 < overhead <= 1:
            raise ValueError(f"overhead is a share of one core, above 0 and at most 1: {overhead}")
        found = choose(sensors, gpus)
        self.sensors, self.reasons = found.sensors, found.reasons
        self.sync, self.overhead = sync, overhead
        self.windows: list[Window] = []
        self.curves: list[EnergyCurve] = []
        self.idle_w: Reading | None = None
        self.openings: list[Window] = []  # by `with`, from opening to closing; the last is `total`
        self._total = Window("total", {}, self, ())
        self._opened_s = math.nan
        self._calls, self._calling = 0, threading.RLock()
        self._release: weakref.finalize[Any, EnergyMeter] | None = None

    # -- opening and closing -----------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """True between opening and closing."""
        return self._release is not None and self._release.alive

    def __enter__(self) -> EnergyMeter:
        with self._calling:
            if self.is_open:
                raise RuntimeError("this meter is already open; make a second EnergyMeter")
            self._open()
        return self

    def _open(self) -> None:
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
        self._opened_s = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        if self._release is None or not self._release.detach():
            return
        try:
            if not any(exception):
                self.synchronize()
        finally:
            self._finish(self._opened_s)
            self.openings.append(self._total)
            self._close()

    def _finish(self, start_s: float) -> None:
        self._total = Window("total", {}, self, self.curves, start_s, time.perf_counter())

    def _close(self) -> None:
        try:
            self._settle(self._total.end_s, self.curves, hurry=True)
        finally:
            for sensor in self.sensors:
                sampler().detach(sensor)

    @contextmanager
    def _call(self) -> Iterator[None]:
        """One call of a decorated function: the first one opens the meter, the last one closes."""
        with self._calling:
            if not self.is_open:
                self._open()
                self._calls = 1
            elif self._calls:
                self._calls += 1
            ours = self._calls > 0  # else opened by `with`, whose total is its own
        start_s = time.perf_counter()
        try:
            yield
            self.synchronize()
        finally:
            with self._calling:
                if ours and self.is_open:
                    self._finish(start_s)
                    self._calls -= 1
                    if not self._calls and self._release is not None and self._release.detach():
                        self._close()

    def __call__(self, function: F) -> F:
        """Decorate a function of any kind: the meter is open while its calls run."""
        return metered(function, self._call)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a meter cannot be copied or pickled; its windows and readings can")

    def synchronize(self) -> None:
        """Wait until the GPU has done what it was given (where torch uses one)."""
        if self.sync:
            device.synchronize()

    # -- windows -----------------------------------------------------------------------------

    def window(self, name: str, **work: float) -> Window:
        """A block to meter: ``with meter.window("decode", tokens=128): …``.

        Raises RuntimeError while the meter is closed, TypeError for a name that is no text or work
        that is no number, and ValueError for work below 0.
        """
        refuse_bad_work(name, work)
        if not self.is_open:
            raise RuntimeError(CLOSED)
        return Window(name, work, self, self.curves)

    def watch(self, name: str, **work: float) -> Callable[[F], F]:
        """Decorate a function so that each call is a window of that name.

        That of an async function ends with its result, that of a generator with its last value;
        what others do meanwhile counts, as in any window. Windows of calls at once overlap: each
        holds all the energy of its time. Raises as `window` does, and TypeError for a class.
        """
        refuse_bad_work(name, work)
        return lambda function: metered(function, lambda: self.window(name, **work))

    def draw(self, name: str, start_s: float, end_s: float, **work: float) -> Window:
        """A window drawn afterwards, between two instants of ``time.perf_counter()``.

        Raises ValueError where it ends before it starts, or has not ended yet.
        """
        refuse_bad_work(name, work)
        refuse_bad_instants(start_s, end_s)
        window = Window(name, work, self, self._curves_at(start_s), start_s, end_s)
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
        """The window from the last opening to closing (or to now), or the last decorated call."""
        if not self.is_open or (self._calls and self._total.end_s > self._opened_s):
            return self._total
        return Window("total", {}, self, self.curves, self._opened_s, time.perf_counter())

    def _curves_at(self, time_s: float) -> Sequence[EnergyCurve]:
        """The curves of the opening that an instant belongs to."""
        if not (self.is_open and time_s >= self._opened_s):
            for opening in reversed(self.openings):
                if time_s >= opening.start_s:
                    return opening.curves
        return self.curves

    def idle(self, seconds: float = 2.0) -> Reading:
        """Do nothing for some seconds and keep the reading as the idle baseline.

        Raises NotMeasuredError where no sensor gives one, and ValueError for seconds not above 0.
        """
        if not 0 < seconds < math.inf:
            raise ValueError(f"an idle baseline takes some seconds, above 0; got {seconds}")
        with self.window("idle") as window:
            time.sleep(seconds)
        self.idle_w = window.reading
        return self.idle_w

    # -- energy ------------------------------------------------------------------------------

    def readings(self, start_s: float, end_s: float) -> tuple[Reading, ...]:
        """One reading per sensor between two instants; sensors that have none are left out.

        Raises ValueError where the second is before the first, or in the future.
        """
        refuse_bad_instants(start_s, end_s)
        return self.look(start_s, end_s, self._curves_at(start_s))[0]

    def between(self, start_s: float, end_s: float) -> Reading:
        """The headline reading between two instants: measured, else simulated, else estimated.

        Raises NotMeasuredError with the reason of every sensor where there is none, and ValueError
        where the second instant is before the first, or in the future.
        """
        refuse_bad_instants(start_s, end_s)
        return headline(*self.look(start_s, end_s, self._curves_at(start_s)))

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

    def report(self, *, grid: Grid | str | None = None, pue: float = 1.0) -> str:
        """The table of all windows, with interval and provenance in each row.

        With a `grid`, or the name or code of its country (and a PUE, facility energy over IT
        energy), it states the carbon, too.
        """
        return report(self, grid=grid, pue=pue)
