"""Compare fairly: warm up, take turns in shuffled order, rest, and state the ratio's interval."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from greenkit.foundations import Provenance, Ratio, Reading, total
from greenkit.foundations.small_samples import t95
from greenkit.metering.measure import Measurement, measure, now_s
from greenkit.metering.meter import EnergyMeter, Window

__all__ = ["Comparison", "Measurement", "compare", "measure"]

SHORTEST_BLOCK_S = 0.2
TICKS_PER_BLOCK = 10


@dataclass(frozen=True)
class Comparison:
    """Variants run in turns: per variant one window a round, in the same rounds."""

    windows: Mapping[str, tuple[Window, ...]]
    calls: Mapping[str, int]
    readings: Mapping[str, tuple[Reading, ...]]

    @property
    def estimated(self) -> bool:
        """True where no sensor measured: then only times can be compared."""
        return any(
            r.provenance is Provenance.ESTIMATED for rs in self.readings.values() for r in rs
        )

    def reading(self, name: str) -> Reading:
        """All rounds of a variant together."""
        return total(self.readings[self._known(name)])

    def seconds(self, name: str) -> tuple[float, ...]:
        """Seconds per call of a variant, one value a round."""
        return tuple(w.duration_s / self.calls[name] for w in self.windows[self._known(name)])

    def joules(self, name: str) -> tuple[float, ...]:
        """Joules per call of a variant, one value a round."""
        return tuple(r.joules / self.calls[name] for r in self.readings[self._known(name)])

    def ratio(self, name: str, to: str) -> Ratio:
        """Energy per call of one variant over another, paired by round, with a 95 % interval.

        Where energy is only estimated, or the rounds are too short for the sensor, this is the
        ratio of times, and its label says so. A gain of the sensor cancels, its edges do not.
        """
        ours, theirs = self.readings[self._known(name)], self.readings[self._known(to)]
        if self.estimated:
            return self._time_ratio(name, to, "time ratio (energy is only estimated here)")
        if not all(r.resolved and r.joules > 0 for r in (*ours, *theirs)):
            return self._time_ratio(name, to, "time ratio (rounds too short for the sensor)")
        ratio = _paired(self.joules(name), self.joules(to), "")
        edges = [
            math.hypot(a.random / a.joules, b.random / b.joules)
            for a, b in zip(ours, theirs, strict=True)
        ]
        own = 2 * math.hypot(*edges) / len(edges)
        widen = math.exp(max(own, math.log(ratio.high / ratio.value)))
        label = f"energy ratio, {ours[0].provenance.value}, {len(edges)} paired rounds"
        return Ratio(ratio.value, ratio.value / widen, ratio.value * widen, label)

    def time_ratio(self, name: str, to: str) -> Ratio:
        """Time per call of one variant over another, paired by round, with a 95 % interval."""
        return self._time_ratio(name, to, "time ratio")

    def effect_size(self, name: str, to: str) -> float:
        """Cohen's d of the paired log ratios: the mean shift in units of its spread.

        Of the quantity that `ratio` compares.
        """
        by_time = self.ratio(name, to).label.startswith("time")
        values = self.seconds if by_time else self.joules
        logs = _logs(values(name), values(to))
        mean, spread = statistics.mean(logs), statistics.stdev(logs)
        return mean / spread if spread > 0 else math.copysign(math.inf, mean) if mean else 0.0

    def _time_ratio(self, name: str, to: str, label: str) -> Ratio:
        return _paired(self.seconds(name), self.seconds(to), label)

    def _known(self, name: str) -> str:
        if name not in self.windows:
            raise KeyError(f"no variant {name!r}; there are: {', '.join(self.windows)}")
        return name


def compare(
    variants: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 5,
    rest_s: float = 0.05,
    block_s: float | None = None,
    seed: int = 0,
    meter: EnergyMeter | None = None,
    progress: bool = True,
) -> Comparison:
    """Run variants in turns and keep what each cost: the A/B protocol of every lab.

    Each variant is warmed up once and then repeated to fill a block that its sensor resolves
    (`block_s` seconds; by default ten ticks). Every round runs all variants in a shuffled order,
    with a rest before each. Derived in: Lab 01.

    Raises ValueError for no variant or fewer than two rounds, and NotMeasuredError where there is
    no energy value, not even an estimate.
    """
    if not variants:
        raise ValueError("nothing to compare: pass a mapping of names to functions")
    if rounds < 2:
        raise ValueError(f"an interval needs at least 2 rounds, got {rounds}")
    if meter is None:
        with EnergyMeter() as own:
            return compare(
                variants,
                rounds=rounds,
                rest_s=rest_s,
                block_s=block_s,
                seed=seed,
                meter=own,
                progress=progress,
            )
    from tqdm import tqdm

    for function in variants.values():
        function()
    length_s = block_s or _block_s(meter)
    calls = {name: _calls_to_fill(f, length_s, meter) for name, f in variants.items()}
    order = random.Random(seed)
    windows: dict[str, list[Window]] = {name: [] for name in variants}
    turns = [name for _ in range(rounds) for name in order.sample(list(variants), len(variants))]
    for name in tqdm(turns, desc="A/B rounds", disable=None if progress else True):
        time.sleep(rest_s)
        with meter.window(name, calls=calls[name]) as window:
            for _ in range(calls[name]):
                variants[name]()
        windows[name].append(window)
    return Comparison(
        {name: tuple(ws) for name, ws in windows.items()},
        calls,
        {name: tuple(w.reading for w in ws) for name, ws in windows.items()},
    )


def _block_s(meter: EnergyMeter) -> float:
    """Ten ticks of the slowest sensor that ticks within a second; the first use waits for it."""
    meter.readings(meter.total.start_s, time.perf_counter())
    ticks = [max(c.tick_s, c.info.average_s) for c in meter.curves]
    return max([SHORTEST_BLOCK_S, *(TICKS_PER_BLOCK * t for t in ticks if t <= 1)])


def _calls_to_fill(function: Callable[[], object], block_s: float, meter: EnergyMeter) -> int:
    start = now_s(meter)
    function()
    return max(1, math.ceil(block_s / max(now_s(meter) - start, 1e-7)))


def _logs(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]


def _paired(ours: Sequence[float], theirs: Sequence[float], label: str) -> Ratio:
    logs = _logs(ours, theirs)
    middle = statistics.mean(logs)
    half = t95(len(logs)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half), label)
