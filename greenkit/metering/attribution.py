"""Which part of a model the time of a run went to, and with it, by time, its energy.

No sensor sees a single layer: windows of microseconds are far below every tick. So energy is
attributed by time, which is exact where power is constant, and the result says so.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from greenkit.foundations import Quantity, total
from greenkit.foundations.small_samples import t95
from greenkit.metering.calls import refuse_lazy
from greenkit.metering.measure import refuse_bad_counts, refuse_closed
from greenkit.metering.window import Window

if TYPE_CHECKING:
    import torch

    from greenkit.metering.meter import EnergyMeter

REST = "not attributed"
PARTS = (
    "attention projections",
    "attention scores",
    "MLP",
    "output head",
    "activation functions",
    "norms",
    "rotary positions",
    "gates and residuals",
    "embedding",
)


@dataclass(frozen=True)
class Attribution:
    """Seconds by part in each of several runs, and the window of each run.

    A run has one entry for each part that the model has, and `REST` for what no module did:
    Python, sampling, the cache, and waiting. A run's entries add up to its window's duration.
    """

    runs: tuple[Mapping[str, float], ...]
    windows: tuple[Window, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the model has, and the rest."""
        return tuple(self.runs[0])

    def share(self, part: str) -> Quantity:
        """The part's share of the runs' time in %, with a 95 % interval over these runs.

        The interval holds what differs from run to run within one process and minute, and not
        what differs between days or processes. Raises KeyError for a part that is not there.
        """
        each = [
            100 * run[part] / window.duration_s
            for run, window in zip(self.runs, self.windows, strict=True)
        ]
        middle = statistics.mean(each)
        half = t95(len(each)) * statistics.stdev(each) / math.sqrt(len(each))
        label = f"share of time, {len(each)} runs in one process"
        return Quantity(middle, middle - half, middle + half, "%", "measured", label)

    def energy(self, part: str) -> Quantity:
        """The part's share of the energy of one run in J, by time."""
        share = self.share(part)
        whole = total([window.reading for window in self.windows]).per(len(self.windows), "run")
        given = whole.scaled(share.value / 100, "J", "attributed by time")
        return replace(
            given, low=whole.low * max(share.low, 0) / 100, high=whole.high * share.high / 100
        )


def part_of(name: str, module: torch.nn.Module) -> str | None:
    """The part that the own time of a module (without its children's) belongs to.

    `name` is its path in the model. None stands for containers, whose own time is nobody's.
    """
    kind, last = type(module).__name__, name.rpartition(".")[2]
    if last == "lm_head":
        return "output head"
    if kind == "Embedding":
        return "embedding"
    if "RotaryEmbedding" in kind:
        return "rotary positions"
    if "Norm" in kind:
        return "norms"
    if kind in ("Linear", "Conv1D"):
        return "MLP" if ".mlp." in name else "attention projections"
    if last in ("act_fn", "act"):
        return "activation functions"
    if last in ("self_attn", "attn"):
        return "attention scores"
    if last == "mlp" or "DecoderLayer" in kind or kind == "GPT2Block":
        return "gates and residuals"
    return None


def attribute(
    model: torch.nn.Module,
    run: Callable[[], object],
    *,
    meter: EnergyMeter,
    name: str = "run",
    repeats: int = 5,
) -> Attribution:
    """Run a function several times under the meter and say where in the model its time went.

    `model` is a Llama-style model or GPT-2 that `run` calls; one run more goes before, to warm up.
    Each module's own time counts, that of its children left out; on a GPU it is taken between
    events on the stream, without waiting. The hooks cost some microseconds a module, and are
    removed afterwards. Raises ValueError where `run` never calls the model, and for fewer than two
    repeats, which have no interval, TypeError for what is no torch module or whose calls do not do
    the work (async functions, generators), and RuntimeError for a closed meter.
    """
    refuse_lazy(run)
    refuse_bad_counts(repeats=repeats)
    refuse_closed(meter)
    if repeats < 2:
        raise ValueError(f"an interval needs at least 2 repeats, got {repeats}")
    clock = _clock(model)
    stack: list[list[Any]] = []
    done: list[tuple[str | None, Any, Any, int]] = []

    def enter(_module: object, _inputs: object) -> None:
        stack.append([clock.now(), len(stack)])

    def leave(part: str | None) -> Callable[..., None]:
        def note(_module: object, _inputs: object, _outputs: object) -> None:
            start, depth = stack.pop()
            done.append((part, start, clock.now(), depth))

        return note

    hooks, runs, windows = [], [], []
    try:
        for path, module in model.named_modules():
            hooks.append(module.register_forward_pre_hook(enter))
            hooks.append(module.register_forward_hook(leave(part_of(path, module))))
        run()
        if not done:
            raise ValueError("nothing to attribute: the function did not call the model")
        for _ in range(repeats):
            done.clear()
            with meter.window(name) as window:
                run()
            runs.append(_own_seconds(done, clock, window.duration_s))
            windows.append(window)
    finally:
        for hook in hooks:
            hook.remove()
    return Attribution(tuple(runs), tuple(windows))


def _own_seconds(
    done: list[tuple[str | None, Any, Any, int]], clock: Any, whole_s: float
) -> dict[str, float]:
    """Own time by part: children end before their parent, which takes off what they took."""
    seconds = dict.fromkeys(PARTS, 0.0)
    inside = [0.0] * (max(depth for *_, depth in done) + 2)
    attributed = 0.0
    for part, start, end, depth in done:
        elapsed = clock.seconds(start, end)
        own, inside[depth + 1] = elapsed - inside[depth + 1], 0.0
        inside[depth] += elapsed
        if part is not None:
            seconds[part] += own
            attributed += own
    there = {part for part, *_ in done}
    return {**{part: seconds[part] for part in PARTS if part in there}, REST: whole_s - attributed}


class _WallClock:
    def now(self) -> float:
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        return end - start


class _StreamClock:
    """Instants on the GPU's stream: read after the window, which waits for the GPU."""

    def now(self) -> Any:
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1000


def _clock(model: torch.nn.Module) -> _WallClock | _StreamClock:
    if not callable(getattr(model, "parameters", None)):
        raise TypeError(f"attribute looks into a torch.nn.Module, got {model!r:.60}")
    weight = next(model.parameters(), None)
    on_gpu = weight is not None and weight.device.type == "cuda"
    return _StreamClock() if on_gpu else _WallClock()
