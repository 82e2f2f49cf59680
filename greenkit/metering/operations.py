"""Count the FLOPs of a call as torch dispatches it, fused and grouped attention included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenkit.metering.calls import refuse_lazy
from greenkit.metering.dispatch import each_operation

FUSED = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_attention_math_for_mps",
)
FUSED_BACKWARD = (
    "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_efficient_attention_backward",
    "_scaled_dot_product_cudnn_attention_backward",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
)


@dataclass(frozen=True)
class FlopCount:
    """FLOPs of one call: of each operator that multiplies, largest first, and their sum."""

    by_operator: Mapping[str, int]

    @property
    def total(self) -> int:
        """The sum over all operators."""
        return sum(self.by_operator.values())


def count_flops(work: Callable[[], object]) -> FlopCount:
    """Run `work` once and count the FLOPs of its matrix products, convolutions and attention.

    A multiplication and an addition are two FLOPs; what works number by number (activations,
    norms, softmax) is not counted. The count is torch's own (`FlopCounterMode`) with a formula for
    each fused attention kernel: torch has none for those of CPUs, and some of its versions refuse
    grouped-query attention on a GPU, or count nothing in inference mode. Attention counts as dense
    products over all keys, though a causal kernel may skip up to half. Tensors on the meta device
    are counted too.

    Raises TypeError for an async function or a generator, whose calls do not do the work. Derived
    in: Lab 03.
    """
    refuse_lazy(work)
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    with counter, each_operation(lambda _: None):
        work()
    counts = counter.get_flop_counts().get("Global", {})
    found = {str(operator).removeprefix("aten."): int(flops) for operator, flops in counts.items()}
    return FlopCount(dict(sorted(found.items(), key=lambda item: -item[1])))


def _formulas() -> dict[Any, Callable[..., int]]:
    """The formula of each fused attention operator that this version of torch has."""
    import torch

    mapping: dict[Any, Callable[..., int]] = {}
    for names, formula in ((FUSED, _attention_flops), (FUSED_BACKWARD, _attention_backward_flops)):
        for name in names:
            if (operator := getattr(torch.ops.aten, name, None)) is not None:
                mapping[operator] = formula
    return mapping


def _attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    """Queries times keys, then scores times values, for each head that asks.

    Shapes are (batch, heads, tokens, width); several query heads may share a key and value head.
    """
    batch, heads, asking, width = query
    known, value_width = key[-2], value[-1]
    return 2 * batch * heads * asking * known * (width + value_width)


def _attention_backward_flops(
    gradient: Sequence[int],
    query: Sequence[int],
    key: Sequence[int],
    value: Sequence[int],
    *_: object,
    **__: object,
) -> int:
    """Five products: the scores again, and the gradients of scores, values, queries and keys."""
    batch, heads, asking, width = query
    known, value_width = key[-2], value[-1]
    return 2 * batch * heads * asking * known * (3 * width + 2 * value_width)
