"""A dozen tokens go through a model, to see what its blocks get and give, and copies of blocks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from greenkit.compressing.matrices import Layout, text_config

WINDOWS, LENGTH = 2, 6
CLOSE = 1e-3  # relative, in float32
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
        raise TrialError(f"it does not run on plain tokens ({short(error)})") from error
    finally:
        layout.network.train(was_training)
        for handle in handles:
            handle.remove()
    if len(calls) != len(layout.blocks):
        raise TrialError(f"it calls its {len(layout.blocks)} blocks {len(calls)} times in a pass")
    return calls


Kind = tuple[int, nn.Module, Call]


def one_of_each_kind(layout: Layout, *, last: bool = False) -> Iterator[Kind]:
    """One block of each kind, the first or the last: its number, a copy in float32 and its call."""
    calls = calls_of(layout, few_tokens(layout))
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
        block = copied(layout.blocks[index], layout).eval()
        for module in block.modules():  # rounded inputs would blur what is compared
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
        wide = Call(_wide(call.arguments), _wide(call.named), call.output)
        try:
            found = copied(block, layout).float()
            run(found, wide)
        except RuntimeError:  # attention by a kernel of 16 bits alone
            yield index, block, call
        else:
            yield index, found, wide


def copied(block: nn.Module, layout: Layout) -> nn.Module:
    """A copy of a block that shares the configuration, which is read only."""
    shared = (layout.network.config, text_config(layout.network))
    return copy.deepcopy(block, {id(config): config for config in shared})


def few_tokens(layout: Layout) -> Tensor:
    """Two windows of six tokens that the model knows, on its device."""
    network: Any = layout.network
    words = int(text_config(network).vocab_size)
    ids = 3 + 7 * torch.arange(WINDOWS * LENGTH).view(WINDOWS, LENGTH)  # not 0 to 2: often padding
    found: Tensor = (ids % words).to(next(network.parameters()).device)
    return found


def run(block: nn.Module, call: Call) -> Tensor:
    """The hidden states that a block gives for the arguments of a call."""
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


def same(one: Tensor, other: Tensor) -> bool:
    """Equal but for rounding; numbers that are not finite tell nothing.

    The mean sets the scale, because a few hidden states are larger by far than all others.
    """
    if one.shape != other.shape:
        return False
    if not (one.isfinite().all() and other.isfinite().all()):
        return True
    close = CLOSE if other.dtype == torch.float32 else CLOSE_IN_16_BITS
    reach = other.float().abs().mean().item()
    return torch.allclose(one.float(), other.float(), rtol=close, atol=close * reach)


def short(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}".rstrip(": .")
