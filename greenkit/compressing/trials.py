"""What a model allows, tried out on a dozen tokens: a copy of a block is changed, never the model.

Each trial gives None, or in a few words why the model does not allow it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from greenkit.compressing.matrices import LINEAR, Layout, Matrix, text_config
from greenkit.compressing.probing import (
    calls_of,
    copied,
    few_tokens,
    one_of_each_kind,
    run,
    same,
    short,
)
from greenkit.compressing.pruning.units import Units
from greenkit.compressing.quantization.awq import find_folds
from greenkit.compressing.shapes import fit_block, renumber
from greenkit.compressing.streaming import stream_blocks


def cannot_stream(layout: Layout, *, all_seen: bool) -> str | None:
    """Why blocks cannot run one after the other as `stream_blocks` lets them.

    With `all_seen` also why a matrix would not be shown what enters it.
    """
    ids = few_tokens(layout)
    calls = [calls_of(layout, window) for window in torch.split(ids, 1)]
    try:
        for step in stream_blocks(layout, ids, batch_size=1):
            seen = dict.fromkeys((matrix.name for matrix in step.matrices), 0)

            def count(matrix: Matrix, _: Tensor, seen: dict[str, int] = seen) -> None:
                seen[matrix.name] += 1

            output = step.advance(count)
            for name, times in seen.items():
                if all_seen and times == 0:
                    return f"{name} does not run as a layer while the model reads tokens"
                if all_seen and times != len(ids):
                    return f"{name} runs {times / len(ids):g} times in a pass, not once"
            if not same(output, torch.cat([own[step.index].output for own in calls])):
                return (
                    f"block {step.index} takes more from the model than hidden states and positions"
                )
    except Exception as error:  # of any kind: the model's own code meets what it does not expect
        return f"its blocks do not run one by one ({short(error)})"
    return None


def cannot_lose(layout: Layout, every: list[Units], what: str) -> str | None:
    """Why blocks without a unit do not compute what they do with a unit that nothing reads."""
    if not any(len(units) > 1 for units in every):
        return f"a block has but one {what[:-1]}"
    for index, block, call in one_of_each_kind(layout):
        units = every[index]
        if len(units) < 2:
            continue
        kept = torch.arange(len(units))[1:]
        silent, smaller = copied(block, layout), copied(block, layout)
        inside = dict(zip(layout.by_block[index], _inside(layout, index, smaller), strict=True))
        theirs = tuple((inside[matrix], rows) for matrix, rows in units.makers)
        Units(theirs, inside[units.reader], units.columns).keep(kept)
        fit_block(smaller, list(inside.values()), text_config(layout.network))
        inside = dict(zip(layout.by_block[index], _inside(layout, index, silent), strict=True))
        inside[units.reader].weight[:, units.columns[0]] = 0
        try:
            found = run(smaller, call)
        except Exception as error:  # of any kind: shapes that no longer fit
            why = _spanning(silent, layout, index, units) or short(error)
            return f"{type(block).__name__} does not run with fewer {what} ({why})"
        if not same(found, run(silent, call)):
            return f"{type(block).__name__} computes something else with fewer {what}"
    return None


def _spanning(block: nn.Module, layout: Layout, index: int, units: Units) -> str | None:
    """A norm between makers and reader that all units share, where there is one."""
    sizes = {rows.numel() for _, rows in units.makers} | {units.columns.numel()}
    path = _name_inside(layout, index, units.reader).rpartition(".")[0]
    for name, part in block.get_submodule(path).named_children():
        if not isinstance(part, LINEAR) and any(len(each) in sizes for each in part.parameters()):
            return f"{path}.{name} spans them all"
    return None


def cannot_fold(layout: Layout) -> str | None:
    """Why scales cannot move between matrices and what feeds them without changing a block."""
    for index, block, call in one_of_each_kind(layout):
        scaled = copied(block, layout)
        folds = find_folds(scaled, _inside(layout, index, scaled))
        if not folds:
            return f"no norm of {type(block).__name__} feeds its matrices alone"
        for fold in folds:
            rows = len(fold.feeds[0])
            fold.apply(torch.linspace(0.5, 2, rows, device=fold.feeds[0].device))
        if not same(run(scaled, call), run(block, call)):
            return f"{type(block).__name__} does not let scales through to what feeds its matrices"
    return None


def cannot_replace(layout: Layout) -> str | None:
    """Why a matrix cannot be executed by a layer of another kind in its place."""
    for index, block, call in one_of_each_kind(layout):
        other = copied(block, layout)
        for matrix in layout.by_block[index]:
            parent, _, last = _name_inside(layout, index, matrix).rpartition(".")
            holder = other.get_submodule(parent)
            setattr(holder, last, _OtherLayer(getattr(holder, last)))
        try:
            found = run(other, call)
        except Exception as error:  # of any kind: code that looks at the layer's weight
            return f"{type(block).__name__} looks into its layers ({short(error)})"
        if not same(found, run(block, call)):
            return f"{type(block).__name__} computes something else with other layers"
    return None


def cannot_renumber(layout: Layout) -> str | None:
    """Why a block does not compute the same in the place of another."""
    for _, block, call in one_of_each_kind(layout, last=True):
        moved = copied(block, layout)
        renumber(moved, 0)
        try:
            found = run(moved, call)
        except Exception:  # of any kind: the first block has a part that others lack
            found = None
        if found is None or not same(found, run(block, call)):
            return "attention or more in a block is scaled by the block's number, or depends on it"
    return None


class _OtherLayer(nn.Module):
    """A layer that shows nothing of itself."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._call: Callable[[Tensor], Tensor] = layer.forward

    def forward(self, inputs: Tensor) -> Tensor:
        return self._call(inputs)


def _name_inside(layout: Layout, index: int, matrix: Matrix) -> str:
    return matrix.name.removeprefix(f"{layout.path}.{index}.")


def _inside(layout: Layout, index: int, block: nn.Module) -> list[Matrix]:
    """The matrices of a copy of a block, in the order of the block's own."""
    return [
        Matrix(matrix.name, block.get_submodule(_name_inside(layout, index, matrix)))
        for matrix in layout.by_block[index]
    ]
