"""Serve the same work with several models in turns: the A/B of labs 04 to 06.

A served request is a page that is read in one pass (prefill) and tokens that are written one a
pass (decode). Both are metered apart, because what saves in one may cost in the other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from greenkit.compressing.result import size_of
from greenkit.foundations import Quantity, Ratio
from greenkit.inputs.reach import refuse_beyond_context
from greenkit.metering import EnergyMeter
from greenkit.metering.compare import Comparison, compare

PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class Serving:
    """What serving took with each model, by phase.

    `tokens` are those of one call in each phase, of the whole batch; `cpu_s` CPU seconds a token
    by (name, phase), of this process alone; `bytes` what each model takes in memory.
    """

    comparison: Comparison = field(repr=False)
    tokens: Mapping[str, int]
    cpu_s: Mapping[tuple[str, str], float]
    bytes: Mapping[str, int]

    def energy(self, name: str, phase: str) -> Quantity:
        """Joules a token."""
        key = _key(name, phase)
        reading = self.comparison.reading(key)
        calls = self.comparison.calls[key] * len(self.comparison.windows[key])
        return reading.per(calls * self.tokens[phase], "token")

    def seconds(self, name: str, phase: str) -> float:
        """Median seconds a token."""
        return statistics.median(self.comparison.seconds(_key(name, phase))) / self.tokens[phase]

    def ratio(self, name: str, to: str, phase: str) -> Ratio:
        """Energy of one model over another, or the times where energy is only estimated."""
        return self.comparison.ratio(_key(name, phase), to=_key(to, phase))

    def time_ratio(self, name: str, to: str, phase: str) -> Ratio:
        """Time of one model over another."""
        return self.comparison.time_ratio(_key(name, phase), to=_key(to, phase))

    def to_dict(self, to: str) -> dict[str, dict[str, Any]]:
        """Plain numbers for a record, by model: bytes, and by phase what a token took.

        Ratios are to the model named `to`.
        """
        return {name: self._record(name, to) for name in self.bytes}

    def _record(self, name: str, to: str) -> dict[str, Any]:
        found: dict[str, Any] = {"bytes": self.bytes[name]}
        for phase in PHASES:
            energy, ratio = self.energy(name, phase), self.time_ratio(name, to, phase)
            found[phase] = {
                "joules": energy.value,
                "joules_low": energy.low,
                "joules_high": energy.high,
                "provenance": energy.provenance,
                "seconds": self.seconds(name, phase),
                "cpu_s": self.cpu_s[name, phase],
                "time_ratio": ratio.value,
                "time_ratio_low": ratio.low,
                "time_ratio_high": ratio.high,
            }
        return found


def serve(
    models: Mapping[str, Any],
    page: Tensor,
    *,
    meter: EnergyMeter,
    seconds: float = 20.0,
    new_tokens: int = 16,
    rounds: int | None = None,
    batch: int = 1,
) -> Serving:
    """Let models read a page and write tokens in turns, by the protocol of `compare`.

    Args:
        models: by name: torch modules, or whatever holds one as `model`.
        page: token ids (1, tokens) on the models' device.
        meter: open.
        seconds: about how long all models and phases take together, warm-up included. Where that
            is too short for windows that the sensor resolves, ratios are of times and say so.
        new_tokens: written behind the page in each decode call.
        rounds: so many, at least two, in windows that the sensor resolves, instead of a budget.
        batch: so many times the page at once; a token's share is that of all of them.

    Raises ValueError for no model, fewer than one new token or page, page and new tokens that do
    not fit in a model's context, a budget that is not above 0 or fewer than two rounds.
    """
    begin = time.perf_counter()
    if new_tokens < 1 or batch < 1:
        raise ValueError(f"new_tokens and batch must be 1 or more, got {new_tokens} and {batch}.")
    if not seconds > 0:
        raise ValueError(f"seconds is a budget of time, above 0; got {seconds}.")
    page = page.repeat(batch, 1)
    networks = {n: m if isinstance(m, nn.Module) else m.model for n, m in models.items()}
    spent: dict[tuple[str, str], list[float]] = {}
    variants: dict[str, Callable[[], object]] = {}
    for name, network in networks.items():
        refuse_beyond_context(network, page.shape[1], new_tokens=new_tokens + 1)
        cache, first = _read(network, page)
        work: dict[str, Callable[[], object]] = {
            "prefill": partial(_read, network, page),
            "decode": partial(_write, network, cache, first, new_tokens),
        }
        for phase in PHASES:
            spent[name, phase] = []
            variants[_key(name, phase)] = _noting(work[phase], spent[name, phase])
    if rounds is None:
        left_s = max(begin + seconds - time.perf_counter(), 1e-3)
        comparison = compare(variants, seconds=left_s, meter=meter)
    else:
        comparison = compare(variants, rounds=rounds, meter=meter)
    tokens = {"prefill": page.numel(), "decode": new_tokens * batch}
    cpu_s = {key: statistics.median(times) / tokens[key[1]] for key, times in spent.items()}
    sizes = {name: getattr(models[name], "bytes", size_of(n).bytes) for name, n in networks.items()}
    return Serving(comparison, tokens, cpu_s, sizes)


def _key(name: str, phase: str) -> str:
    return f"{phase}: {name}"


def _read(network: Any, page: Tensor) -> tuple[Any, Tensor]:
    with torch.no_grad():
        out = network(page, use_cache=True, logits_to_keep=1)
    return out.past_key_values, out.logits[:, -1:].argmax(-1)


def _write(network: Any, cache: Any, token: Tensor, new_tokens: int) -> None:
    """Write behind the page, then cut the cache back, so that every call begins alike."""
    with torch.no_grad():
        for _ in range(new_tokens):
            out = network(token, past_key_values=cache, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
    cache.crop(-new_tokens)


def _noting(work: Callable[[], object], times: list[float]) -> Callable[[], None]:
    """The same work, with the CPU seconds of each call noted."""

    def run() -> None:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)

    return run
