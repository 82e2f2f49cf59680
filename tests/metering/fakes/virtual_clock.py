"""Waves of known energy, read by the rules of the sampler on a clock that nobody waits for."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from greenkit.metering.curve import EnergyCurve
from greenkit.metering.overhead import Allowance
from greenkit.metering.sensor import Kind, SensorError
from greenkit.metering.simulated import SimulatedSensor, Wave, constant, ramp, square, steps
from greenkit.metering.slow_counter import SlowCounter

WAVES = {
    "constant": constant(200),
    "ramp": ramp(60, 300, period_s=3.1),
    "square": square(60, 300, period_s=0.37),
    "plateaus": square(60, 300, period_s=2.3),
    "stairs": steps((0.5, 60), (0.5, 120), (0.5, 180), (0.5, 240)),
    "bursts": steps((0.02, 300), (0.35, 60)),  # shorter than the tick
}
READ_S, LOOK_S = 0.005, 0.00015  # core seconds of a dear read, and of a look at the power
LENGTHS_S = (5.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02)


def sensor(wave: Wave, kind: Kind = Kind.TICKS, **settings: float) -> SimulatedSensor:
    """A simulated card whose clock stands still: it is read at instants of the test's choosing."""
    return SimulatedSensor(wave, kind=kind, clock=lambda: 0.0, **settings)


def watch(
    card: SimulatedSensor,
    until_s: float,
    *,
    poll_s: float | None = None,
    late: float = 0.0,
    seed: int = 0,
    phase_s: float = 0.013,
) -> EnergyCurve:
    """The curve of a card that is read as the sampler reads it, or every `poll_s` seconds.

    A share `late` of the reads comes up to 300 ms late.
    """
    rng, curve, time_s = random.Random(seed), EnergyCurve(card.info), phase_s
    while time_s < until_s:
        try:
            curve.push(time_s, card.read_at(time_s))
        except SensorError as error:
            curve.fail(time_s, str(error))
        time_s = curve.next_read_s(time_s) if poll_s is None else time_s + poll_s
        time_s += 0.001 * rng.random() + (0.3 * rng.random() if rng.random() < late else 0.0)
    return curve


def watch_slow(
    wave: Wave,
    until_s: float,
    *,
    tick_s: float = 0.1,
    sample_s: float = 0.1,
    seed: int = 0,
    phase_s: float = 0.031,
) -> tuple[EnergyCurve, SlowCounter, float]:
    """A card whose counter takes 5 ms of a core a read, as the sampler reads it within 1 %.

    Its power is a mean over a quarter of `sample_s`, renewed `phase_s` after the counter. Each look
    at it costs 0.15 ms. Returns the curve, what drew it, and the share of a core that it cost.
    """
    rng, card = random.Random(seed), sensor(wave, tick_s=tick_s)
    slow = SlowCounter(EnergyCurve(card.info), Allowance(0.01, 0.0))
    spent_s = drive_slow(
        slow,
        0.013,
        until_s,
        show=lambda time_s: card.read_at(time_s + READ_S * rng.random()),
        look=lambda time_s: mean_power(wave, time_s, sample_s, phase_s),
        wake_s=lambda: 0.0005 * rng.random(),
    )
    return slow.curve, slow, spent_s / until_s


def drive_slow(
    slow: SlowCounter,
    start_s: float,
    until_s: float,
    *,
    show: Callable[[float], float],
    look: Callable[[float], float | None],
    wake_s: Callable[[], float] = lambda: 0.0001,
) -> float:
    """Read what is due when it is due; returns the core seconds that it cost.

    `show` gives the counter's joules at an instant, `look` the watts, or None, and `wake_s` how
    late a read comes.
    """
    time_s, spent_s = start_s, 0.0
    while time_s < until_s:
        due_s, counter = slow.next(time_s)
        time_s = max(time_s, due_s) + wake_s()
        cost_s = READ_S if counter else LOOK_S
        slow.allowance.spend(time_s, cost_s)
        if counter:
            slow.counted(time_s, time_s + READ_S, show(time_s), cost_s)
        elif (watts := look(time_s)) is not None:
            slow.sampled(time_s, watts)
        else:
            slow.looked_in_vain(time_s)
        time_s, spent_s = time_s + cost_s, spent_s + cost_s
    return spent_s


def mean_power(wave: Wave, time_s: float, sample_s: float, phase_s: float) -> float:
    """The mean power (W) of a quarter of a period, up to when it was last renewed."""
    end_s = math.floor((time_s - phase_s) / sample_s) * sample_s + phase_s
    start_s = max(0.0, end_s - sample_s / 4)
    if end_s <= start_s:
        return wave.power(0.0)
    return (wave.energy(end_s) - wave.energy(start_s)) / (end_s - start_s)


def windows(
    wave: Wave, length_s: float, until_s: float, *, aligned: str, count: int, seed: int = 1
) -> Iterator[tuple[float, float]]:
    """Random windows, or windows of which the "start" or "both" ends lie on a step of power."""
    rng = random.Random(seed)
    edges = [0.0]
    for duration, _, _ in wave.pieces[:-1]:
        edges.append(edges[-1] + duration)

    def step_near(time_s: float) -> float:
        return round(time_s / wave.period_s) * wave.period_s + rng.choice(edges)

    for _ in range(count):
        start = 3 + rng.random() * (until_s - 12)
        if aligned != "random":
            start = step_near(start)
        end = start + length_s
        if aligned == "both":
            end = step_near(end)
        if end > start + 1e-9:
            yield start, end


def rms(values: list[float]) -> float:
    """Root mean square."""
    return math.sqrt(sum(v * v for v in values) / len(values))
