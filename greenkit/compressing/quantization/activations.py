"""Activations rounded to integers as they come: simulated, so that their quality can be seen."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Literal, get_args

import torch
from torch import nn

from greenkit.compressing.matrices import Matrix
from greenkit.compressing.quantization.quantizers import Scheme

Per = Literal["tensor", "token"]
ACTIVATION_BITS = 8


def fake_quantize(
    values: torch.Tensor, *, per: Per = "token", bits: int = ACTIVATION_BITS
) -> torch.Tensor:
    """Round activations (..., tokens, width) to a symmetric grid made for this very call.

    One scale per "tensor" follows the largest value of the whole batch; one per "token" the
    largest of each token's own vector. The dtype stays. Derived in: Lab 05.
    """
    check_per(per)
    highest = Scheme(bits=bits).highest
    wide = values.float()
    reach = wide.abs().amax() if per == "tensor" else wide.abs().amax(-1, keepdim=True)
    scale = (reach / highest).clamp_min(torch.finfo(torch.float32).tiny)
    return ((wide / scale).round() * scale).to(values.dtype)


def check_per(per: str | None) -> None:
    """Refuse a way of sharing scales that does not exist."""
    if per is not None and per not in get_args(Per):
        names = " or ".join(map(repr, get_args(Per)))
        raise ValueError(f"Activations are quantized per {names}, or not at all (None): {per!r}.")


def quantize_inputs(matrices: Iterable[Matrix], per: Per) -> None:
    """From now on each of these layers sees its input rounded to 8 bits."""
    for matrix in matrices:
        matrix.module.register_forward_pre_hook(partial(_rounded, per=per))


def rounds_inputs(matrix: Matrix) -> bool:
    """Whether the input of a layer is rounded while it runs."""
    return bool(_hooks(matrix))


def leave_inputs(matrices: Iterable[Matrix]) -> None:
    """From now on these layers see their inputs as they are."""
    for matrix in matrices:
        for number in _hooks(matrix):
            del matrix.module._forward_pre_hooks[number]


def _hooks(matrix: Matrix) -> list[int]:
    hooks = matrix.module._forward_pre_hooks.items()
    return [number for number, hook in hooks if getattr(hook, "func", None) is _rounded]


def _rounded(
    _: nn.Module, arguments: tuple[torch.Tensor, ...], *, per: Per
) -> tuple[torch.Tensor, ...]:
    return (fake_quantize(arguments[0], per=per), *arguments[1:])
