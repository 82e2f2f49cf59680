"""The weight matrices of a language model under one orientation, whatever its architecture."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from greenkit.inputs.models import LoadedModel

LINEAR = (nn.Linear, Conv1D)


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


def torch_model(model: LoadedModel | nn.Module) -> nn.Module:
    """The torch module itself, out of a `LoadedModel` where it is one."""
    return model.model if isinstance(model, LoadedModel) else model


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


def layout_of(model: LoadedModel | nn.Module | Layout) -> Layout:
    """Find a model's blocks and matrices, unless that was done.

    Raises ValueError for a model whose decoder blocks are not one list, such as Llama's
    `model.layers`, and where there is no linear layer.
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
            if isinstance(module, LINEAR)
        )
        for index, block in enumerate(found)
    )
    if not any(by_block):
        raise ValueError(f"The blocks of {type(network).__name__} hold no linear layer.")
    return Layout(network, path, found, by_block)


def text_config(network: nn.Module, config: Any = None) -> Any:
    """The configuration of the language model itself, which may lie inside that of more.

    `config` is by default the network's own.
    """
    whole: Any = network.config if config is None else config
    return whole.get_text_config(decoder=True) if hasattr(whole, "get_text_config") else whole


def _list_of_blocks(network: nn.Module) -> tuple[str, nn.ModuleList]:
    """The outermost list of modules with linear layers; of several the one as long as is said."""
    lists = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) > 0
        and not any(part.isdigit() for part in name.split("."))
    }
    found = {
        name: module
        for name, module in lists.items()
        if any(isinstance(inner, LINEAR) for inner in module.modules())
    } or lists
    if len(found) > 1:
        depth = getattr(text_config(network), "num_hidden_layers", None)
        found = {name: own for name, own in found.items() if len(own) == depth} or found
    if len(found) == 1:
        return next(iter(found.items()))
    what = (
        f"keeps its layers in several lists ({', '.join(found)})"
        if found
        else "has no decoder blocks"
    )
    raise ValueError(
        f"{type(network).__name__} {what}: give a causal language model whose decoder blocks are "
        "one list, such as Llama's model.layers."
    )


def blocks(model: LoadedModel | nn.Module) -> nn.ModuleList:
    """The decoder blocks in order: the model's own list, so that changes to it change the model.

    Raises ValueError for a model whose blocks are not one list.
    """
    return _list_of_blocks(torch_model(model))[1]


def matrices(model: LoadedModel | nn.Module, *, head: bool = False) -> list[Matrix]:
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
