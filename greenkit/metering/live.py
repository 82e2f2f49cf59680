"""One line of live watts, at most four times a second, silent where nobody can see it."""

from __future__ import annotations

import sys
import threading

from greenkit.metering.meter import EnergyMeter

PERIOD_S = 0.25


class LiveLine:
    """While open, prints the latest power of a meter's sensors on one line that rewrites itself.

    In a terminal or a notebook only; piped output stays clean.
    """

    def __init__(self, meter: EnergyMeter) -> None:
        self._meter = meter
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._width = 0

    def __enter__(self) -> LiveLine:
        self._stop.clear()
        if sys.stdout.isatty() or "ipykernel" in sys.modules:
            self._thread = threading.Thread(target=self._run, name="greenkit-live", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._print(end="\n")

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._print(end="")

    def _print(self, *, end: str) -> None:
        text = line(self._meter)
        self._width = max(self._width, len(text))  # to cover what a longer line left behind
        print("\r" + text.ljust(self._width), end=end, flush=True)


def line(meter: EnergyMeter) -> str:
    """The watts of now, per sensor, with the provenance of each."""
    labels = {curve.info.name: curve.info.provenance.value for curve in meter.curves}
    now = meter.watts_now()
    if not now:
        return "no power yet"
    return "   ".join(f"{name} {watts:6.1f} W ({labels[name]})" for name, watts in now.items())
