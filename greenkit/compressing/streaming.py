"""Calibration streamed block by block, so that one block's activations are in memory at a time.

The embeddings run once. Then each block in turn gets exactly what the model would give it, is
changed by the caller, and its outputs, computed with the changed weights, are the next block's
inputs: an error made early is seen, and can be compensated, later.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from greenkit.compressing.matrices import Matrix, block_path, blocks, matrices, torch_model
from greenkit.inputs.models import LoadedModel
from greenkit.inputs.progress import progress_bar

See = Callable[[Matrix, torch.Tensor], None]


@dataclass
class BlockStep:
    """One decoder block whose turn it is, with its inputs.

    `inputs` has shape (windows, length, hidden) in the model's dtype. `matrices` are the block's
    own, in the order in which a token meets them.
    """

    index: int
    block: nn.Module = field(repr=False)
    matrices: list[Matrix] = field(repr=False)
    inputs: torch.Tensor = field(repr=False)
    batch_size: int
    calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = field(repr=False)
    outputs: torch.Tensor | None = field(default=None, repr=False)

    def watch(self, see: See) -> None:
        """Run the block on all its inputs, show `see` what enters each matrix, keep no output.

        `see(matrix, x)` gets x of shape (batch, length, in) in the model's dtype, once a batch:
        accumulate in float32. Matrices that read the same tensor are shown the same object.
        """
        for _ in self._batches(see):
            pass

    def advance(self, see: See | None = None) -> torch.Tensor:
        """Run the block as it is now; the outputs become the next block's inputs.

        `see` is called just before a matrix is used. Where all windows are one batch (the
        default) it may change that matrix: then one pass both measures and compresses, and each
        matrix is measured behind those already compressed.
        """
        self.outputs = torch.cat(list(self._batches(see)))
        return self.outputs

    def _batches(self, see: See | None) -> Iterator[torch.Tensor]:
        hooks = [] if see is None else [(each, _watcher(each, see)) for each in self.matrices]
        handles = [each.module.register_forward_pre_hook(hook) for each, hook in hooks]
        try:
            for batch in torch.split(self.inputs, self.batch_size):
                positional, named = self.calls[len(batch)]
                with torch.no_grad():
                    output = self.block(batch, *positional, **named)
                yield output[0] if isinstance(output, tuple) else output
        finally:
            for handle in handles:
                handle.remove()


def stream_blocks(
    model: LoadedModel | nn.Module, ids: torch.Tensor, *, batch_size: int | None = None
) -> Generator[BlockStep, None, None]:
    """Give each decoder block in turn, to be measured and changed.

    After the caller's turn the block's outputs are computed, unless `step.advance()` was called.
    The model is in evaluation mode meanwhile, without a KV cache, and gets its mode back.

    Args:
        model: a causal language model built like Llama or GPT-2.
        ids: long tensor (windows, length) without padding, see `calibration_ids`.
        batch_size: windows at once; all of them by default, the fastest. Smaller saves memory.

    Example:
        for step in stream_blocks(model, ids):
            step.watch(lambda matrix, x: statistics.add(matrix.name, x))
            for matrix in step.matrices:
                matrix.weight.mul_(mask[matrix.name])
    """
    network = torch_model(model)
    layers = blocks(network)
    path = block_path(network)
    size = len(ids) if batch_size is None else min(batch_size, len(ids))
    if size < 1:
        raise ValueError(f"batch_size and the number of windows must be 1 or more, got {size}.")
    by_block: list[list[Matrix]] = [[] for _ in layers]
    for matrix in matrices(network):
        by_block[int(matrix.name[len(path) + 1 :].split(".")[0])].append(matrix)
    was_training = network.training
    network.eval()
    try:
        inputs, calls = _what_blocks_get(network, layers, ids, size)
        for index, block in enumerate(layers):
            step = BlockStep(index, block, by_block[index], inputs, size, calls[index])
            yield step
            inputs = step.advance() if step.outputs is None else step.outputs
            del step
    finally:
        network.train(was_training)


@contextmanager
def walking_blocks(
    model: LoadedModel | nn.Module, ids: torch.Tensor, label: str, *, batch_size: int | None = None
) -> Iterator[Iterator[BlockStep]]:
    """The steps of `stream_blocks` with a progress bar; an error on the way ends them at once."""
    bar = progress_bar(label, len(blocks(model)), "block")
    with bar, closing(stream_blocks(model, ids, batch_size=batch_size)) as steps:
        yield _counted(steps, bar)


def _counted(steps: Iterator[BlockStep], bar: Any) -> Iterator[BlockStep]:
    for step in steps:
        yield step
        bar.update()


def _watcher(matrix: Matrix, see: See) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    def hook(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:  # not a value: it would
        see(matrix, arguments[0])  # replace the input

    return hook


class _EnoughError(Exception):
    """The last block was reached: what follows it need not be computed."""


def _what_blocks_get(
    network: nn.Module, layers: nn.ModuleList, ids: torch.Tensor, size: int
) -> tuple[torch.Tensor, list[dict[int, tuple[tuple[Any, ...], dict[str, Any]]]]]:
    """The first block's inputs, and the other arguments of each block by size of the batch.

    The model runs with blocks that note their arguments and compute nothing. Without padding the
    arguments other than the hidden states (mask, positions, rotary embeddings) depend on the
    shape of the batch alone.
    """
    calls: list[dict[int, tuple[tuple[Any, ...], dict[str, Any]]]] = [{} for _ in layers]
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
        for batch in torch.split(ids, size):
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
    return torch.cat(first), calls
