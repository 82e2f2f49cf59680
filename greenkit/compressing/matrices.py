"""The weight matrices of a language model under one orientation, whatever its architecture."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from greenkit.compressing.given import Model
from greenkit.compressing.given import torch_model as torch_model

BLOCK_PATHS = ("model.layers", "transformer.h")  # Llama-style models; GPT-2


@dataclass(frozen=True)
class Matrix:
    """One linear layer: `name` is its path in the model.

    `module` is a `torch.nn.Linear`, or the `Conv1D` of GPT-2 that stores its weight as (in, out).
    """

    name: str
    module: Any = field(repr=False, compare=False)

    @property
    def weight(self) -> torch.Tensor:
        """The weight of shape (out, in), one row an output: a view, so writes change the model."""
        weight: torch.Tensor = self.module.weight.detach()
        return weight.T if isinstance(self.module, Conv1D) else weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The bias of shape (out,) as a view, or None."""
        bias: torch.Tensor | None = self.module.bias
        return None if bias is None else bias.detach()


@dataclass(frozen=True)
class Layout:
    """Where a model keeps its decoder blocks and their matrices: found once, then handed on.

    `path` is the name of the list of blocks, such as "model.layers". `by_block` has the matrices
    of each block in the order in which a token meets them.
    """

    network: nn.Module = field(repr=False, compare=False)
    path: str
    blocks: nn.ModuleList = field(repr=False, compare=False)
    by_block: tuple[tuple[Matrix, ...], ...] = field(repr=False)

    @property
    def matrices(self) -> list[Matrix]:
        """All matrices of the blocks in order."""
        return [matrix for own in self.by_block for matrix in own]

    def working_copy(self, *, inplace: bool) -> Layout:
        """The model to change: this one, or a copy with its blocks and matrices."""
        return self if inplace else copy.deepcopy(self)


def layout_of(model: Model | Layout) -> Layout:
    """Find a model's blocks and matrices, unless that was done.

    Raises ValueError for a model that has neither Llama's names nor those of GPT-2, and where there
    is no linear layer.
    """
    if isinstance(model, Layout):
        return model
    network = torch_model(model)
    path, found = _list_of_blocks(network)
    seen: set[nn.Module] = set()  # a layer that blocks share is one
    by_block = tuple(
        tuple(
            Matrix(f"{path}.{index}.{name}", module)
            for name, module in block.named_modules(memo=seen)
            if isinstance(module, nn.Linear | Conv1D)
        )
        for index, block in enumerate(found)
    )
    if not any(by_block):
        raise ValueError(f"The blocks of {type(network).__name__} hold no linear layer.")
    return Layout(network, path, found, by_block)


def _list_of_blocks(network: nn.Module) -> tuple[str, nn.ModuleList]:
    for path in BLOCK_PATHS:
        try:
            found = network.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(found, nn.ModuleList) and len(found) > 0:
            return path, found
    raise ValueError(
        f"{type(network).__name__} has no decoder blocks at {' or '.join(BLOCK_PATHS)}: give a "
        "causal language model built like Llama or GPT-2."
    )


def blocks(model: Model) -> nn.ModuleList:
    """The decoder blocks in order: the model's own list, so that changes to it change the model.

    Raises ValueError for a model that has neither Llama's names nor those of GPT-2.
    """
    return _list_of_blocks(torch_model(model))[1]


def matrices(model: Model, *, head: bool = False) -> list[Matrix]:
    """All weight matrices inside the decoder blocks, in the order in which a token meets them.

    With `head` the output head comes last. Where it is tied, its weight is the embedding's as
    well: read it, and do not change it. Raises ValueError where there is no linear layer.
    """
    found = layout_of(model).matrices
    if head:
        network = torch_model(model)
        last = network.get_output_embeddings()  # type: ignore[operator]
        names = {id(module): name for name, module in network.named_modules()}
        found.append(Matrix(names[id(last)], last))
    return found
