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
from greenkit.metering.calls import refuse_lazy, refuse_unfinished
from greenkit.metering.measure import Measurement, measure, now_s, refuse_bad_counts, refuse_closed
from greenkit.metering.meter import EnergyMeter, Window
from greenkit.metering.window import refuse_bad_work

__all__ = ["Comparison", "Measurement", "compare", "measure"]

SHORTEST_BLOCK_S = 0.2
TICKS_PER_BLOCK = 10
ROUNDS, MOST_ROUNDS = 5, 10
FEWEST_RESOLVED = 3  # rounds: of two, Student's t makes an interval of no use


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
    rounds: int = ROUNDS,
    seconds: float | None = None,
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

    With `seconds` the whole comparison, warm-up included, takes about that long, and `rounds` no
    longer counts: as many rounds as there is time for, up to ten, in blocks that the sensor
    resolves, if three rounds of them fit; else up to five rounds in shorter blocks, whose ratio is
    that of times. It is longer only where the warm-up and two rounds of single calls are.

    Raises ValueError for no variant, fewer than two rounds or times that cannot be, TypeError for
    what is no function or one whose calls do not do the work (async functions, generators),
    RuntimeError for a closed meter and NotMeasuredError where there is no energy value, not even
    an estimate.
    """
    begin = time.perf_counter()
    refuse_bad_variants(variants)
    refuse_bad_times(seconds=seconds, block_s=block_s, rest_s=rest_s)
    refuse_bad_counts(rounds=rounds)
    refuse_closed(meter)
    if not variants:
        raise ValueError("nothing to compare: pass a mapping of names to functions")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds is a budget of time, above 0; got {seconds}")
    if rounds < 2:
        raise ValueError(f"an interval needs at least 2 rounds, got {rounds}")
    if meter is None:
        with EnergyMeter() as own:
            return compare(
                variants,
                rounds=rounds,
                seconds=seconds,
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
    each_s = {name: _seconds_of(function, meter) for name, function in variants.items()}
    if seconds is not None:
        left_s = begin + seconds - time.perf_counter()
        rounds, length_s = _fit(list(each_s.values()), left_s, length_s, rest_s)
    calls = {name: max(1, math.ceil(length_s / each)) for name, each in each_s.items()}
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


def refuse_bad_variants(variants: object) -> None:
    """Raise TypeError for what is no mapping of names to functions that do their work."""
    if not isinstance(variants, Mapping):
        raise TypeError(f'pass a mapping of names to functions, {{"a": f}}; got {variants!r:.60}')
    for name in variants:
        refuse_bad_work(name, {})
    refuse_lazy(*variants.values())


def refuse_bad_times(*, rest_s: float, **lengths: float | None) -> None:
    """Raise ValueError for a rest below 0 and for lengths (s) that are not above 0, or endless."""
    if not 0 <= rest_s < math.inf:
        raise ValueError(f"rest_s is 0 or more seconds, got {rest_s}")
    for name, length_s in lengths.items():
        if length_s is not None and not 0 < length_s < math.inf:
            raise ValueError(f"{name} is a length of time in seconds, above 0; got {length_s}")


def _block_s(meter: EnergyMeter) -> float:
    """Ten ticks of the slowest sensor that ticks within a second; the first use waits for it."""
    meter.readings(meter.total.start_s, time.perf_counter())
    ticks = [max(c.tick_s, c.info.average_s) for c in meter.curves]
    return max([SHORTEST_BLOCK_S, *(TICKS_PER_BLOCK * t for t in ticks if t <= 1)])


def _seconds_of(function: Callable[[], object], meter: EnergyMeter) -> float:
    start = now_s(meter)
    refuse_unfinished(function, function())
    return max(now_s(meter) - start, 1e-7)


def _fit(
    each_s: Sequence[float], left_s: float, length_s: float, rest_s: float
) -> tuple[int, float]:
    """How many rounds of blocks of which length fit in the seconds that are left.

    `each_s` are the seconds of one call of each variant, `length_s` what the sensor wants.
    """

    def round_s(block_s: float) -> float:
        return sum(rest_s + max(1, math.ceil(block_s / each)) * each for each in each_s)

    if (rounds := int(left_s / round_s(length_s))) >= FEWEST_RESOLVED:
        return min(rounds, MOST_ROUNDS), length_s
    rounds = min(max(2, int(left_s / round_s(0))), ROUNDS)
    lengths = [length_s * share / 20 for share in range(20)]
    return rounds, max((x for x in lengths if rounds * round_s(x) <= left_s), default=0.0)


def _logs(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]


def _paired(ours: Sequence[float], theirs: Sequence[float], label: str) -> Ratio:
    logs = _logs(ours, theirs)
    middle = statistics.mean(logs)
    half = t95(len(logs)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half), label)
