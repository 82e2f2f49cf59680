"""Choose blocks to remove one by one, each by what its absence does to the loss.

A score taken once, such as block influence, does not see that the absence of one block makes
another one matter more: two neighbors that do the same may both look idle. Here each choice is
made in the model that the earlier ones left (the idea of SLEB: Song et al. 2024, ICML, "SLEB:
Streamlining LLMs through Redundancy Verification and Elimination of Transformer Blocks").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from greenkit.compressing.calibration import calibration_windows
from greenkit.compressing.finite import not_finite
from greenkit.compressing.given import Model, loaded_of
from greenkit.compressing.matrices import Layout
from greenkit.inputs.progress import progress_bar
from greenkit.inputs.quality import mean_loss
from greenkit.inputs.texts import load_text
from greenkit.inputs.tokens import TokenWindows

WINDOWS, LENGTH = 2, 256
WINDOWS_AT_ONCE = 4


def default_windows(model: Model) -> TokenWindows:
    """2 windows of 256 tokens of the calibration split: each is read hundreds of times.

    Raises ValueError for a model without a tokenizer.
    """
    loaded = loaded_of(model)
    if loaded is None:
        raise ValueError(
            "A bare torch module has no tokenizer: give the LoadedModel of load_model, or "
            "calibration=calibration_windows(tokenizer, load_text('calibration'), windows=2)."
        )
    text = load_text("calibration")
    return calibration_windows(loaded.tokenizer, text, windows=WINDOWS, length=LENGTH)


def removal_by_loss(layout: Layout, ids: Tensor, count: int) -> tuple[list[int], list[float]]:
    """Which blocks to remove, in the order of their removal; the model stays as it is.

    Each round tries to leave out every block that is left and removes the one without which the
    mean loss of the next token is lowest. What lies before a candidate is the same with it and
    without it, so it is computed once a round: that halves the work in the blocks.

    Args:
        layout: of the model.
        ids: long tensor (windows, length), see `calibration_ids`.
        count: how many blocks go, fewer than there are.

    Returns:
        The numbers of the blocks, and `count` + 1 losses in nats a token: of the given model, and
        after each removal.

    Raises:
        NotFiniteError: a ValueError, where the loss of the given model is not finite, or no block
            can go without that.
    """
    network, total = layout.network, len(layout.blocks)
    place = next(network.parameters()).device
    batches = torch.split(ids.to(place), WINDOWS_AT_ONCE)
    order: list[int] = []
    losses: list[float] = []
    tries = sum(total - done for done in range(count)) * len(batches)
    was_training = network.training
    network.eval()
    try:
        with progress_bar("loss without", tries, "block") as bar, _walked(layout.blocks) as walk:
            for _ in range(count):
                left = [number for number in range(total) if number not in order]
                sums = dict.fromkeys([None, *left], 0.0)
                for batch in batches:
                    for number, loss in _tried(network, walk, batch, order, left):
                        sums[number] += loss * len(batch) / len(ids)
                        bar.update(number is not None)
                if not order:
                    losses.append(sums[None])
                best = min(left, key=lambda number: _or_infinite(sums[number]))
                if not (math.isfinite(losses[0]) and math.isfinite(sums[best])):
                    which = "of the given model" if not order else "without any block more"
                    raise not_finite(f"the loss {which}", next(network.parameters()).dtype)
                order.append(best)
                losses.append(sums[best])
    finally:
        network.train(was_training)
    return order, losses


@dataclass
class _Walk:
    """How the blocks run: those in `gone` pass their inputs on, and so do those before `start`,
    which gets `given` as its inputs. `inputs` notes what each block got, where it is not None."""

    gone: set[int] = field(default_factory=set)
    start: int = 0
    given: Tensor | None = None
    inputs: dict[int, Tensor] | None = None


def _tried(
    network: Any, walk: _Walk, ids: Tensor, order: list[int], left: list[int]
) -> Iterator[tuple[int | None, float]]:
    """The mean loss of a batch with all blocks that are left (None), then without each of them."""
    states: dict[int, Tensor] = {}
    walk.gone, walk.start, walk.given, walk.inputs = set(order), 0, None, states
    yield None, _loss(network, ids)
    walk.inputs = None
    for number in left:
        walk.gone, walk.start, walk.given = {*order, number}, number, states.pop(number)
        yield number, _loss(network, ids)


def _loss(network: Any, ids: Tensor) -> float:
    with torch.no_grad():
        logits = network(input_ids=ids, use_cache=False).logits
    rows = zip(logits[:, :-1], ids[:, 1:], strict=True)
    return float(torch.stack([mean_loss(guesses, came) for guesses, came in rows]).mean())


def _or_infinite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


@contextmanager
def _walked(layers: nn.ModuleList) -> Iterator[_Walk]:
    """Let the blocks run as a `_Walk` says, whatever the model around them does; put them back."""
    walk = _Walk()
    missing = object()
    own = [block.__dict__.get("forward", missing) for block in layers]
    tuples: dict[int, int] = {}  # how long a tuple a block gives out, where it gives one

    def walker(index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def walked(hidden: Tensor, *positional: Any, **named: Any) -> Any:
            if walk.given is not None and index == walk.start:
                hidden = walk.given
            if index < walk.start or index in walk.gone:
                length = tuples.get(index)
                return hidden if length is None else (hidden, *[None] * (length - 1))
            if walk.inputs is not None:
                walk.inputs[index] = hidden
            output = forward(hidden, *positional, **named)
            if isinstance(output, tuple):
                tuples[index] = len(output)
            return output

        return walked

    try:
        for index, block in enumerate(layers):
            block.__dict__["forward"] = walker(index, block.forward)
        yield walk
    finally:
        for block, forward in zip(layers, own, strict=True):
            if forward is missing:
                block.__dict__.pop("forward", None)
            else:
                block.__dict__["forward"] = forward
