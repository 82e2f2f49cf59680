"""The one thread of a process that reads sensors and feeds their curves."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import platform
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from greenkit.foundations import Domain, Provenance
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.sensor import Kind, Sensor, SensorError

PATIENCE_S = 1.0  # how long to wait for a sensor that does not answer, or for a tick
_numbers = itertools.count()


@dataclass
class _Channel:
    sensor: Sensor
    curve: EnergyCurve
    users: int = 0
    due_s: float = 0.0
    closed: bool = False
    reading: threading.Lock = field(default_factory=threading.Lock)  # held while it is read

    @property
    def early_s(self) -> float:
        """How much too early it may be read, to wake up once for several sensors."""
        info = self.sensor.info
        return 0.0 if info.kind is Kind.TICKS else info.poll_s / 4


class Sampler:
    """Reads every attached sensor at its own pace; one that several meters share is read once.

    Sensors are read outside the lock, so that a slow one blocks neither windows nor other meters.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: dict[object, _Channel] = {}
        self._thread: threading.Thread | None = None
        # Wakes the thread. Its `put` is safe in a finalizer, where taking a lock is not.
        self._mail: queue.SimpleQueue[Sequence[Sensor]] = queue.SimpleQueue()

    def attach(self, sensor: Sensor) -> EnergyCurve:
        """Start reading a sensor (or join its readers) and return its curve."""
        with self._lock:
            channel = self._channels.setdefault(_key(sensor), _Channel(sensor, _curve(sensor)))
            channel.users += 1
        if channel.sensor is not sensor:
            sensor.close()
        self._read(channel)
        with self._lock:
            if self._thread is None and self._channels:
                self._thread = threading.Thread(
                    target=self._run, name="greenkit-sampler", daemon=True
                )
                self._thread.start()
        self._mail.put(())
        return channel.curve

    def detach(self, sensor: Sensor) -> None:
        """Read a sensor once more, and stop when its last user leaves.

        The thread ends with the last sensor; one that a sensor does not answer is left behind.
        """
        thread = None
        with self._lock:
            channel = self._channels.get(_key(sensor))
            if channel is None:
                return
            channel.users -= 1
            if last_user := channel.users == 0:
                del self._channels[_key(sensor)]
            if not self._channels:
                thread, self._thread = self._thread, None
        answered = self._read(channel, last=last_user)
        if thread is not None and thread is not threading.current_thread():
            self._mail.put(())
            thread.join(PATIENCE_S if answered else 0.0)

    def detach_later(self, sensors: Sequence[Sensor]) -> None:
        """The same from a finalizer, which may run inside any other function of this class."""
        self._mail.put(sensors)

    def settle(self, sensor: Sensor, curve: EnergyCurve, time_s: float) -> None:
        """See to it that the curve reaches past an instant; gives up some time after that instant.

        A counter that ticks is waited for, other sensors are read at once.
        """
        channel = self._channels.get(_key(sensor))
        if channel is None or channel.curve is not curve:
            return
        if curve.info.kind is not Kind.TICKS and curve.settled_s < time_s:
            self._read(channel)
        deadline = time_s + PATIENCE_S + 2 * min(curve.tick_s, PATIENCE_S)
        while curve.settled_s < time_s and not curve.trouble and time.perf_counter() < deadline:
            time.sleep(0.002)

    def _run(self) -> None:
        while True:
            with self._lock:
                if threading.current_thread() is not self._thread:
                    return
                channels = list(self._channels.values())
            now = time.perf_counter()
            for channel in channels:
                if channel.due_s <= now + channel.early_s:
                    self._read(channel)
            due_s = min(channel.due_s for channel in channels)
            try:
                leaving = self._mail.get(timeout=max(0.0, due_s - time.perf_counter()))
            except queue.Empty:
                continue
            for sensor in leaving:
                self.detach(sensor)

    def _read(self, channel: _Channel, *, last: bool = False) -> bool:
        """Read one sensor, and close it after its `last` read. False where it does not answer."""
        if not channel.reading.acquire(timeout=PATIENCE_S):
            return False
        try:
            if channel.closed:
                return True
            before = time.perf_counter()
            channel.due_s = before + channel.sensor.info.poll_s
            try:
                value = channel.sensor.read()
            except Exception as error:
                reason = str(error)
                if not isinstance(error, SensorError):
                    reason = f"{channel.sensor.info.name}: {type(error).__name__}: {error}"
                channel.curve.fail(before, reason)
            else:
                after = time.perf_counter()
                channel.curve.push((before + after) / 2, value, (after - before) / 2)
                channel.due_s = channel.curve.next_read_s(after)
            if last:
                channel.closed = True
                channel.sensor.close()
        finally:
            channel.reading.release()
        return True


def _key(sensor: Sensor) -> object:
    return id(sensor) if sensor.info.provenance is Provenance.SIMULATED else sensor.info


def _curve(sensor: Sensor) -> EnergyCurve:
    """A curve whose identity tells whether two windows, even of two processes, see the same."""
    info = sensor.info
    identity = f"{info.name}@{info.device}"
    if info.provenance is Provenance.SIMULATED:
        identity += f"#{os.getpid()}-{next(_numbers)}"
    elif info.domain is Domain.PROCESS:
        identity += f"#{os.getpid()}"
    curve = EnergyCurve(info, identity)
    curve.machine = _machine()
    return curve


@functools.cache
def _machine() -> str:
    """This machine since its last boot, as a few digits that give nothing away."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        import psutil

        boot = f"{platform.node()} {psutil.boot_time():.0f}"
    return hashlib.blake2s(boot.encode(), digest_size=4).hexdigest()


_sampler = Sampler()


def sampler() -> Sampler:
    """The sampler of this process."""
    return _sampler


def _start_afresh() -> None:
    """A forked child has neither the parent's thread nor a usable copy of its locks."""
    global _sampler
    _sampler = Sampler()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
