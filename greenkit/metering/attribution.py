"""Which part of a model the time of a run went to, and with it, by time, its energy.

No sensor sees a single layer: windows of microseconds are far below every tick. So energy is
attributed by time, which is exact where power is constant, and the result says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenkit.foundations import Quantity, Reading
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
    """Seconds by part, and the window that holds them all.

    `seconds` has one entry for each part that the model has, and `REST` for what no module did:
    Python, sampling, the cache, and waiting. They add up to the window's duration.
    """

    seconds: Mapping[str, float]
    window: Window

    def share(self, part: str) -> float:
        """The part's share of the window's time. Raises KeyError for a part that is not there."""
        return self.seconds[part] / self.window.duration_s

    def energy(self, part: str, reading: Reading | None = None) -> Quantity:
        """The part's share of a reading of the window (its first by default), in J, by time."""
        reading = self.window.reading if reading is None else reading
        whole = reading.per(1, "run")
        return whole.scaled(self.share(part), "J", "attributed by time")


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
    model: torch.nn.Module, run: Callable[[], object], *, meter: EnergyMeter, name: str = "run"
) -> Attribution:
    """Run a function under the meter and say where in the model its time went.

    `model` is a Llama-style model or GPT-2 that `run` calls. Each module's own time counts, that
    of its children left out; on a GPU it is taken between events on the stream, without waiting.
    The hooks cost some microseconds a module, and are removed afterwards. Raises ValueError where
    `run` never calls the model.
    """
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

    hooks = []
    try:
        for path, module in model.named_modules():
            hooks.append(module.register_forward_pre_hook(enter))
            hooks.append(module.register_forward_hook(leave(part_of(path, module))))
        with meter.window(name) as window:
            run()
    finally:
        for hook in hooks:
            hook.remove()
    if not done:
        raise ValueError("nothing to attribute: the function did not call the model")
    return Attribution(_own_seconds(done, clock, window.duration_s), window)


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
    there = {part: value for part, value in seconds.items() if value > 0}
    return {**there, REST: whole_s - attributed}


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
    on_gpu = next(model.parameters()).device.type == "cuda"
    return _StreamClock() if on_gpu else _WallClock()
