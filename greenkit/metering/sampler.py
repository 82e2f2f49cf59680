"""The one thread of a process that reads sensors and feeds their curves."""

from __future__ import annotations

import contextlib
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
from typing import cast

from greenkit.foundations import Domain, Provenance
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.overhead import OVERHEAD, Allowance
from greenkit.metering.sensor import (
    CounterWithPower,
    Kind,
    Sensor,
    SensorError,
    has_power_beside,
    number_from,
)
from greenkit.metering.slow_counter import SlowCounter

PATIENCE_S = 1.0  # how long to wait for a sensor that does not answer, or for a tick
SHORTEST_S = 0.0005  # between two reads of a counter whose reads are dear, or of its power
READS_PER_S = 50  # of a counter that ticks, where a read costs next to nothing
FAILURES = (Exception, SystemExit)  # of a sensor: none of them ends the thread
_numbers = itertools.count()


@dataclass
class _Channel:
    sensor: Sensor
    curve: EnergyCurve
    overhead: float
    users: int = 0
    due_s: float = 0.0
    closed: bool = False
    slow: SlowCounter | None = None  # where its reads are dear
    apart_s: float = 0.0  # what `overhead` wants between two reads of a counter that is not slow
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

    def attach(self, sensor: Sensor, overhead: float = OVERHEAD) -> EnergyCurve:
        """Start reading a sensor (or join its readers) and return its curve.

        `overhead` is the share of one core that its reads may cost; of several users the first
        one's counts.
        """
        with self._lock:
            channel = self._channels.setdefault(
                _key(sensor), _Channel(sensor, _curve(sensor), overhead)
            )
            channel.users += 1
            first = channel.users == 1
        if channel.sensor is not sensor:
            _close(sensor)
        if first:
            self._weigh(channel)
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

    def settle(
        self, sensor: Sensor, curve: EnergyCurve, time_s: float, *, hurry: bool = False
    ) -> None:
        """See to it that the curve reaches past an instant; gives up some time after that instant.

        A counter that ticks is waited for, other sensors are read at once. With `hurry` a counter
        whose reads are dear is read as soon as it has ticked.
        """
        channel = self._channels.get(_key(sensor))
        if channel is None or channel.curve is not curve:
            return
        if curve.info.kind is not Kind.TICKS and curve.settled_s < time_s:
            self._read(channel)
        deadline = time_s + PATIENCE_S + 2 * min(curve.tick_s, PATIENCE_S)
        if channel.slow is not None:
            deadline += channel.slow.wait_s
            if hurry:
                channel.slow.hurry(time_s)
                channel.due_s = 0.0
                self._mail.put(())
        while curve.settled_s < time_s and not curve.trouble and time.perf_counter() < deadline:
            time.sleep(0.002)

    def _weigh(self, channel: _Channel) -> None:
        """Find out what a counter's reads cost, and whether they must be few."""
        sensor = channel.sensor
        if not has_power_beside(sensor):
            return
        with channel.reading, contextlib.suppress(Exception):  # the next read will say why
            most_s = channel.overhead / READS_PER_S
            reads = [_weighed_read(sensor)]
            if reads[0].busy_s > most_s:  # once more: the first one may have been special
                reads.append(_weighed_read(sensor))
            cost_s = min(read.busy_s for read in reads)
            channel.apart_s = cost_s / channel.overhead
            if cost_s > most_s and sensor.watts() is not None:
                allowance = Allowance(channel.overhead, reads[0].before_s)
                channel.slow = SlowCounter(channel.curve, allowance)
                for read in reads:
                    allowance.spend(read.after_s, read.busy_s)
                    channel.slow.counted(read.before_s, read.after_s, read.value, cost_s)

    def _run(self) -> None:
        busy_s = time.thread_time()
        while True:
            with self._lock:
                if threading.current_thread() is not self._thread:
                    return
                channels = list(self._channels.values())
            now = time.perf_counter()
            for channel in channels:
                if channel.due_s <= now + channel.early_s:
                    self._read(channel)
            before_s, busy_s = busy_s, time.thread_time()
            _charge([c.slow for c in channels if c.slow], now, busy_s - before_s)
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
            if channel.slow is None:
                _read_value(channel)
            elif not last:
                _read_what_is_due(channel, channel.slow)
            if last:
                channel.closed = True
                _close(channel.sensor)
        finally:
            channel.reading.release()
        return True


def _read_value(channel: _Channel) -> None:
    before = time.perf_counter()
    channel.due_s = before + channel.sensor.info.poll_s
    try:
        value = number_from(channel.sensor, channel.sensor.read())
    except FAILURES as error:
        channel.curve.fail(before, _reason(channel, error))
        return
    after = time.perf_counter()
    channel.curve.push((before + after) / 2, value, (after - before) / 2)
    channel.due_s = max(channel.curve.next_read_s(after), before + channel.apart_s)


def _read_what_is_due(channel: _Channel, slow: SlowCounter) -> None:
    """One read of a counter whose reads are dear, or a look at the power beside it."""
    sensor, before = cast(CounterWithPower, channel.sensor), time.perf_counter()
    try:
        if slow.next(before)[1]:
            read = _weighed_read(sensor)
            cost_s = max(read.thread_s, min(slow.cost_s, read.busy_s))
            slow.allowance.spend(before, cost_s - read.thread_s)  # by other threads
            slow.counted(read.before_s, read.after_s, read.value, cost_s)
        elif (watts := sensor.watts()) is not None:
            slow.sampled((before + time.perf_counter()) / 2, number_from(sensor, watts))
        else:
            slow.looked_in_vain(before)
    except FAILURES as error:
        slow.failed(before, _reason(channel, error))
    after = time.perf_counter()
    channel.due_s = max(slow.next(after)[0], after + SHORTEST_S)


def _close(sensor: Sensor) -> None:
    """What a sensor told stands, and the others go on, whatever its `close` does."""
    with contextlib.suppress(*FAILURES):
        sensor.close()


def _reason(channel: _Channel, error: BaseException) -> str:
    if isinstance(error, SensorError):
        return str(error)
    return f"{channel.sensor.info.name}: {type(error).__name__}: {error}"


@dataclass(frozen=True)
class _WeighedRead:
    """A value, when the read of it began and ended, and the core seconds that it took of this
    thread and of the whole process."""

    value: float
    before_s: float
    after_s: float
    thread_s: float
    busy_s: float


def _weighed_read(sensor: Sensor) -> _WeighedRead:
    before_s, thread_s, busy_s = time.perf_counter(), time.thread_time(), time.process_time()
    value = number_from(sensor, sensor.read())
    busy_s, thread_s = time.process_time() - busy_s, time.thread_time() - thread_s
    return _WeighedRead(value, before_s, time.perf_counter(), thread_s, busy_s)


def _charge(slow: Sequence[SlowCounter], now_s: float, busy_s: float) -> None:
    """What the thread was busy since it last slept is spent, shared by those it reads for."""
    for each in slow:
        each.allowance.spend(now_s, busy_s / len(slow))


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
