"""Calibration streamed block by block, so that one block's activations are in memory at a time.

The embeddings run once. Then each block in turn gets exactly what the model would give it, is
changed by the caller, and its outputs, computed with the changed weights, are the next block's
inputs: an error made early is seen, and can be compensated, later.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from greenkit.compressing.finite import NotFiniteError, is_finite, not_finite
from greenkit.compressing.given import Model
from greenkit.compressing.matrices import Layout, Matrix, layout_of
from greenkit.inputs.progress import progress_bar

See = Callable[[Matrix, torch.Tensor], None]
Change = Callable[[tuple[Matrix, ...], torch.Tensor], None]
Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class BlockStep:
    """One decoder block whose turn it is, with its inputs.

    `inputs` has shape (windows, length, hidden) in the model's dtype. `matrices` are the block's
    own, in the order in which a token meets them. `groups` is shared by the steps of a stream:
    what they found out about blocks of one kind.
    """

    index: int
    block: nn.Module = field(repr=False)
    matrices: Sequence[Matrix] = field(repr=False)
    inputs: torch.Tensor = field(repr=False)
    batch_size: int
    calls: dict[int, Call] = field(repr=False)
    groups: dict[Any, list[list[int]]] = field(repr=False)
    outputs: torch.Tensor | None = field(default=None, repr=False)

    @property
    def readers(self) -> list[tuple[Matrix, ...]]:
        """The matrices in groups that read the same tensor, as one window shows."""
        names = [matrix.name.split(f".{self.index}.", 1)[1] for matrix in self.matrices]
        kind = type(self.block), *names
        if kind not in self.groups:
            self.groups[kind] = _groups(self.block, self.matrices, self.inputs[:1], self.calls[1])
        return [tuple(self.matrices[place] for place in group) for group in self.groups[kind]]

    def watch(self, see: See) -> None:
        """Run the block on all its inputs, show `see` what enters each matrix, keep no output.

        `see(matrix, x)` gets x of shape (batch, length, in) in the model's dtype, once a batch:
        accumulate in float32. Matrices that read the same tensor are shown the same object.

        Raises NotFiniteError for inputs that are not finite, before `see` gets them.
        """
        for _ in self._batches(see):
            pass

    def advance(self, see: See | None = None) -> torch.Tensor:
        """Run the block as it is now; the outputs become the next block's inputs.

        `see` is called just before a matrix is used. Where all windows are one batch (the
        default) it may change that matrix: then one pass both measures and compresses, and each
        matrix is measured behind those already compressed.

        Raises NotFiniteError for inputs of a matrix, or outputs of the block, that are not finite.
        """
        outputs = torch.cat(list(self._batches(see)))
        if not is_finite(outputs):
            if see is None:
                self.watch(lambda matrix, inputs: None)  # names the matrix, where it is one
            raise not_finite(f"what block {self.index} gives out", outputs.dtype)
        self.outputs = outputs
        return outputs

    def change(self, change: Change) -> torch.Tensor:
        """Run the block and let `change` change its matrices on the way.

        `change(readers, x)` gets the matrices that read x, before any of them is used: one pass
        both measures and compresses, and each matrix is measured behind those that are compressed
        already. The outputs become the next block's inputs.

        Raises ValueError where the windows are several batches, of which it would see only one.
        """
        if self.batch_size < len(self.inputs):
            raise ValueError("To change matrices on the way takes all windows in one batch.")
        groups = {readers[0].name: readers for readers in self.readers}

        def see(matrix: Matrix, inputs: torch.Tensor) -> None:
            if matrix.name in groups:
                change(groups[matrix.name], inputs)

        return self.advance(see)

    def _batches(self, see: See | None) -> Iterator[torch.Tensor]:
        with _watching(self.matrices, see):
            for batch in torch.split(self.inputs, self.batch_size):
                yield _run(self.block, batch, self.calls[len(batch)])


def stream_blocks(
    model: Model | Layout, ids: torch.Tensor, *, batch_size: int | None = None
) -> Generator[BlockStep, None, None]:
    """Give each decoder block in turn, to be measured and changed.

    After the caller's turn the block's outputs are computed, unless `step.advance()` was called.
    The model is in evaluation mode meanwhile, without a KV cache, and gets its mode back.
    Raises NotFiniteError, a ValueError, where hidden states or inputs of a matrix are not finite.

    Args:
        model: a causal language model built like Llama or GPT-2, or its layout.
        ids: long tensor (windows, length) without padding, see `calibration_ids`.
        batch_size: windows at once; all of them by default, the fastest. Smaller saves memory.

    Example:
        for step in stream_blocks(model, ids):
            step.watch(lambda matrix, x: statistics.add(matrix.name, x))
            for matrix in step.matrices:
                matrix.weight.mul_(mask[matrix.name])
    """
    layout = layout_of(model)
    network, layers = layout.network, layout.blocks
    size = len(ids) if batch_size is None else min(batch_size, len(ids))
    if size < 1:
        raise ValueError(f"batch_size and the number of windows must be 1 or more, got {size}.")
    was_training = network.training
    network.eval()
    try:
        inputs, calls = _what_blocks_get(network, layers, ids, size)
        if not is_finite(inputs):
            raise not_finite("what the embeddings give the first block", inputs.dtype)
        groups: dict[Any, list[list[int]]] = {}
        for index, block in enumerate(layers):
            step = BlockStep(
                index, block, layout.by_block[index], inputs, size, calls[index], groups
            )
            yield step
            inputs = step.advance() if step.outputs is None else step.outputs
            del step
    finally:
        network.train(was_training)


@contextmanager
def walking_blocks(
    model: Model | Layout,
    ids: torch.Tensor,
    label: str,
    *,
    batch_size: int | None = None,
    changed: bool = False,
) -> Iterator[Iterator[BlockStep]]:
    """The steps of `stream_blocks` with a progress bar; an error on the way ends them at once.

    `changed` says that the caller's own model is changed on the way, which the error then tells.
    """
    layout = layout_of(model)
    bar = progress_bar(label, len(layout.blocks), "block")
    try:
        with bar, closing(stream_blocks(layout, ids, batch_size=batch_size)) as steps:
            yield _counted(steps, bar)
    except NotFiniteError as error:
        if changed:
            error.args = (f"{error} With inplace, it is changed up to there: load it again.",)
        raise


def _counted(steps: Iterator[BlockStep], bar: Any) -> Iterator[BlockStep]:
    for step in steps:
        yield step
        bar.update()


@contextmanager
def _watching(found: Sequence[Matrix], see: See | None) -> Iterator[None]:
    """Show `see` what enters each of the matrices, just before it is used, if it is finite."""
    sound: torch.Tensor | None = None  # shared by the matrices that read it: checked once

    def watcher(matrix: Matrix, see: See) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:  # not a value: it
            nonlocal sound  # would replace the input
            if arguments[0] is not sound and not is_finite(arguments[0]):
                raise not_finite(f"what enters {matrix.name}", arguments[0].dtype)
            sound = arguments[0]
            see(matrix, sound)

        return hook

    hooks = [] if see is None else [(each, watcher(each, see)) for each in found]
    handles = [each.module.register_forward_pre_hook(hook) for each, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run(block: nn.Module, batch: torch.Tensor, call: Call) -> torch.Tensor:
    positional, named = call
    with torch.no_grad():
        output = block(batch, *positional, **named)
    found: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return found


def _groups(
    block: nn.Module, found: Sequence[Matrix], window: torch.Tensor, call: Call
) -> list[list[int]]:
    """Which matrices read the same tensor, by their places, as one window shows."""
    places = {matrix.name: place for place, matrix in enumerate(found)}
    groups: list[tuple[torch.Tensor, list[int]]] = []

    def see(matrix: Matrix, inputs: torch.Tensor) -> None:
        for tensor, group in groups:
            if tensor is inputs:
                group.append(places[matrix.name])
                return
        groups.append((inputs, [places[matrix.name]]))

    with _watching(found, see):
        _run(block, window, call)
    shown = {place for _, group in groups for place in group}
    return [*(group for _, group in groups), *([p] for p in range(len(found)) if p not in shown)]


class _EnoughError(Exception):
    """The last block was reached: what follows it need not be computed."""


def _what_blocks_get(
    network: nn.Module, layers: nn.ModuleList, ids: torch.Tensor, size: int
) -> tuple[torch.Tensor, list[dict[int, Call]]]:
    """The first block's inputs, and the other arguments of each block by size of the batch.

    The model runs with blocks that note their arguments and compute nothing. Without padding the
    arguments other than the hidden states (mask, positions, rotary embeddings) depend on the
    shape of the batch alone.
    """
    calls: list[dict[int, Call]] = [{} for _ in layers]
    first: list[torch.Tensor] = []
    missing = object()
    own = [block.__dict__.get("forward", missing) for block in layers]

    def recorder(index: int) -> Callable[..., torch.Tensor]:
        def forward(hidden: torch.Tensor, *positional: Any, **named: Any) -> torch.Tensor:
            if index == 0:
                first.append(hidden)
            calls[index].setdefault(len(first[-1]), (positional, named))
            if index == len(layers) - 1:
                raise _EnoughError
            return hidden

        return forward

    place = next(network.parameters()).device
    try:
        for index, block in enumerate(layers):
            block.__dict__["forward"] = recorder(index)
        for batch in (*torch.split(ids, size), ids[:1]):  # a single one shows who reads together
            try:
                with torch.no_grad():
                    network(input_ids=batch.to(place), use_cache=False)
            except _EnoughError:
                continue
    finally:
        for block, forward in zip(layers, own, strict=True):
            if forward is missing:
                block.__dict__.pop("forward", None)
            else:
                block.__dict__["forward"] = forward
    return torch.cat(first[:-1]), calls
