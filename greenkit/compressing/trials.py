"""What a model allows, tried out on a dozen tokens: a copy of a block is changed, never the model.

Each trial gives None, or in a few words why the model does not allow it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from greenkit.compressing.matrices import LINEAR, Layout, Matrix, text_config
from greenkit.compressing.pruning.units import Units
from greenkit.compressing.quantization.awq import find_folds
from greenkit.compressing.shapes import fit_block, renumber
from greenkit.compressing.streaming import stream_blocks

WINDOWS, LENGTH = 2, 6
CLOSE = 1e-3  # relative to the largest number, in float32
CLOSE_IN_16_BITS = 0.02


@dataclass(frozen=True)
class Call:
    """What a block got in a plain forward pass, and what it gave."""

    arguments: tuple[Any, ...]
    named: dict[str, Any]
    output: Tensor


class TrialError(ValueError):
    """Nothing can be tried out: the model does not run on tokens alone, once through its blocks."""


def calls_of(layout: Layout, ids: Tensor) -> list[Call]:
    """What happened at each block while the model read `ids` of shape (windows, length).

    Raises TrialError where the model does not run, or not once through its blocks.
    """
    calls: list[Call] = []

    def note(_: nn.Module, arguments: Any, named: Any, output: Any) -> None:
        calls.append(Call(arguments, named, _first(output)))

    handles = [block.register_forward_hook(note, with_kwargs=True) for block in layout.blocks]
    was_training = layout.network.training
    layout.network.eval()
    try:
        with torch.no_grad():
            layout.network(input_ids=ids, use_cache=False)
    except Exception as error:  # of any kind: a model may ask for more than tokens
        raise TrialError(f"it does not run on plain tokens ({_short(error)})") from error
    finally:
        layout.network.train(was_training)
        for handle in handles:
            handle.remove()
    if len(calls) != len(layout.blocks):
        raise TrialError(f"it calls its {len(layout.blocks)} blocks {len(calls)} times in a pass")
    return calls


def cannot_stream(layout: Layout, *, all_seen: bool) -> str | None:
    """Why blocks cannot run one after the other as `stream_blocks` lets them.

    With `all_seen` also why a matrix would not be shown what enters it.
    """
    ids = _tokens(layout)
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
            if not _same(output, torch.cat([own[step.index].output for own in calls])):
                return (
                    f"block {step.index} takes more from the model than hidden states and positions"
                )
    except Exception as error:  # of any kind: the model's own code meets what it does not expect
        return f"its blocks do not run one by one ({_short(error)})"
    return None


def cannot_lose(layout: Layout, every: list[Units], what: str) -> str | None:
    """Why blocks without a unit do not compute what they do with a unit that nothing reads."""
    if not any(len(units) > 1 for units in every):
        return f"a block has but one {what[:-1]}"
    for index, block, call in _kinds(layout):
        units = every[index]
        if len(units) < 2:
            continue
        kept = torch.arange(len(units))[1:]
        silent, smaller = _copied(block, layout), _copied(block, layout)
        inside = dict(zip(layout.by_block[index], _inside(layout, index, smaller), strict=True))
        theirs = tuple((inside[matrix], rows) for matrix, rows in units.makers)
        Units(theirs, inside[units.reader], units.columns).keep(kept)
        fit_block(smaller, list(inside.values()), text_config(layout.network))
        inside = dict(zip(layout.by_block[index], _inside(layout, index, silent), strict=True))
        inside[units.reader].weight[:, units.columns[0]] = 0
        try:
            found = _run(smaller, call)
        except Exception as error:  # of any kind: shapes that no longer fit
            why = _spanning(silent, layout, index, units) or _short(error)
            return f"{type(block).__name__} does not run with fewer {what} ({why})"
        if not _same(found, _run(silent, call)):
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
    for index, block, call in _kinds(layout):
        scaled = _copied(block, layout)
        folds = find_folds(scaled, _inside(layout, index, scaled))
        if not folds:
            return f"no norm of {type(block).__name__} feeds its matrices alone"
        for fold in folds:
            rows = len(fold.feeds[0])
            fold.apply(torch.linspace(0.5, 2, rows, device=fold.feeds[0].device))
        if not _same(_run(scaled, call), _run(block, call)):
            return f"{type(block).__name__} does not let scales through to what feeds its matrices"
    return None


def cannot_replace(layout: Layout) -> str | None:
    """Why a matrix cannot be executed by a layer of another kind in its place."""
    for index, block, call in _kinds(layout):
        other = _copied(block, layout)
        for matrix in layout.by_block[index]:
            parent, _, last = _name_inside(layout, index, matrix).rpartition(".")
            holder = other.get_submodule(parent)
            setattr(holder, last, _OtherLayer(getattr(holder, last)))
        try:
            found = _run(other, call)
        except Exception as error:  # of any kind: code that looks at the layer's weight
            return f"{type(block).__name__} looks into its layers ({_short(error)})"
        if not _same(found, _run(block, call)):
            return f"{type(block).__name__} computes something else with other layers"
    return None


def cannot_renumber(layout: Layout) -> str | None:
    """Why a block does not compute the same in the place of another."""
    for _, block, call in _kinds(layout, last=True):
        moved = _copied(block, layout)
        renumber(moved, 0)
        try:
            found = _run(moved, call)
        except Exception:  # of any kind: the first block has a part that others lack
            found = None
        if found is None or not _same(found, _run(block, call)):
            return "attention or more in a block is scaled by the block's number, or depends on it"
    return None


class _OtherLayer(nn.Module):
    """A layer that shows nothing of itself."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._call: Callable[[Tensor], Tensor] = layer.forward

    def forward(self, inputs: Tensor) -> Tensor:
        return self._call(inputs)


def _kinds(layout: Layout, *, last: bool = False) -> Iterator[tuple[int, nn.Module, Call]]:
    """A copy of one block of each kind, in float32, with its call: by default of the first."""
    calls = calls_of(layout, _tokens(layout))
    chosen: dict[Any, int] = {}
    for index, (block, own) in enumerate(zip(layout.blocks, layout.by_block, strict=True)):
        shapes = tuple(tuple(matrix.weight.shape) for matrix in own)
        kind = type(block), shapes, tuple(str(type(module)) for module in block.modules())
        if last:
            chosen[kind] = index
        else:
            chosen.setdefault(kind, index)
    for index in chosen.values():
        call = calls[index]
        block = _copied(layout.blocks[index], layout).eval()
        for module in block.modules():  # rounded inputs would blur what is compared
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
        wide = Call(_wide(call.arguments), _wide(call.named), call.output)
        try:
            found = _copied(block, layout).float()
            _run(found, wide)
        except RuntimeError:  # attention by a kernel of 16 bits alone
            yield index, block, call
        else:
            yield index, found, wide


def _copied(block: nn.Module, layout: Layout) -> nn.Module:
    """A copy of a block that shares the configuration, which is read only."""
    shared = (layout.network.config, text_config(layout.network))
    return copy.deepcopy(block, {id(config): config for config in shared})


def _name_inside(layout: Layout, index: int, matrix: Matrix) -> str:
    return matrix.name.removeprefix(f"{layout.path}.{index}.")


def _inside(layout: Layout, index: int, block: nn.Module) -> list[Matrix]:
    """The matrices of a copy of a block, in the order of the block's own."""
    return [
        Matrix(matrix.name, block.get_submodule(_name_inside(layout, index, matrix)))
        for matrix in layout.by_block[index]
    ]


def _tokens(layout: Layout) -> Tensor:
    network: Any = layout.network
    words = int(text_config(network).vocab_size)
    ids = 3 + 7 * torch.arange(WINDOWS * LENGTH).view(WINDOWS, LENGTH)  # not 0 to 2: often padding
    found: Tensor = (ids % words).to(next(network.parameters()).device)
    return found


def _run(block: nn.Module, call: Call) -> Tensor:
    with torch.no_grad():
        return _first(block(*call.arguments, **call.named))


def _first(output: Any) -> Tensor:
    found: Tensor = output[0] if isinstance(output, tuple | list) else output
    return found


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _wide(each) for key, each in value.items()}
    return type(value)(_wide(each) for each in value) if type(value) in (tuple, list) else value


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal but for rounding; numbers that are not finite tell nothing."""
    if one.shape != other.shape:
        return False
    if not (one.isfinite().all() and other.isfinite().all()):
        return True
    reach = other.float().abs().max().item()
    close = CLOSE if other.dtype == torch.float32 else CLOSE_IN_16_BITS
    return (one.float() - other.float()).abs().max().item() <= close * reach


def _short(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}".rstrip(": .")
