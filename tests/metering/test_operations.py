"""FLOPs of what torch dispatches: fused attention, grouped heads, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from greenkit.foundations.flops import TransformerShape, forward_flops
from greenkit.inputs import load_model
from greenkit.metering import count_flops

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

BATCH, HEADS, KV_HEADS, ASKING, KNOWN, WIDTH = 2, 9, 3, 5, 7, 64
SCORES = 2 * 2 * BATCH * HEADS * ASKING * KNOWN * WIDTH


def attention(kv_heads: int, device: str = "meta", dtype: torch.dtype = torch.float16) -> Any:
    """Query, key and value of grouped-query attention."""
    shapes = [(BATCH, HEADS, ASKING, WIDTH), *[(BATCH, kv_heads, KNOWN, WIDTH)] * 2]
    return [torch.zeros(shape, device=device, dtype=dtype) for shape in shapes]


FUSED: dict[str, Callable[..., object]] = {
    "flash": lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention(q, k, v),
    "efficient": lambda q, k, v: torch.ops.aten._scaled_dot_product_efficient_attention(
        q, k, v, None, False
    ),
    "cudnn": lambda q, k, v: torch.ops.aten._scaled_dot_product_cudnn_attention(
        q, k, v, None, False
    ),
    "cpu": lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v),
}


def test_a_product_is_two_flops_for_each_pair() -> None:
    a, b = torch.zeros(3, 4), torch.zeros(4, 5)
    found = count_flops(lambda: a @ b)
    assert found.by_operator == {"mm": 120}
    assert found.total == 120


def test_a_linear_layer_counts_in_inference_mode() -> None:
    x, weight = torch.zeros(3, 4), torch.zeros(5, 4)
    with torch.inference_mode():
        found = count_flops(lambda: torch.nn.functional.linear(x, weight))
    assert found.by_operator == {"mm": 120}


def test_what_multiplies_no_matrices_counts_nothing() -> None:
    assert count_flops(lambda: torch.nn.functional.silu(torch.zeros(3)) + 1).total == 0


@pytest.mark.parametrize("kernel", FUSED)
@pytest.mark.parametrize("kv_heads", [KV_HEADS, HEADS])
def test_each_head_that_asks_is_counted(kernel: str, kv_heads: int) -> None:
    found = count_flops(lambda: FUSED[kernel](*attention(kv_heads)))
    assert found.total == SCORES


def test_equal_heads_count_as_torch_counts_them() -> None:
    with FlopCounterMode(display=False) as torchs:
        FUSED["flash"](*attention(HEADS))
    assert count_flops(lambda: FUSED["flash"](*attention(HEADS))).total == torchs.get_total_flops()


def test_the_backward_pass_takes_five_products() -> None:
    query, key, value = (
        x.requires_grad_() for x in attention(HEADS, device="cpu", dtype=torch.float32)
    )
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    found = count_flops(lambda: out.sum().backward())
    assert found.total == SCORES * 5 / 2


def test_torchs_own_formulas_stay_as_they_were() -> None:
    before = dict(flop_registry)
    count_flops(lambda: FUSED["flash"](*attention(KV_HEADS)))
    assert flop_registry == before


def test_largest_operators_come_first() -> None:
    a = torch.zeros(1, 2, 2)
    found = count_flops(lambda: (a[0] @ a[0], torch.zeros(3, 8, 8) @ torch.zeros(3, 8, 8)))
    assert list(found.by_operator) == ["bmm", "mm"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_the_default_model_counts_alike_however_it_attends(how: str) -> None:
    loaded = load_model(device="cpu", dtype="float32")
    loaded.model.set_attn_implementation(how)
    ids = torch.arange(100, 164)[None]
    with torch.inference_mode():
        found = count_flops(lambda: loaded.model(ids))
    assert found.total == pytest.approx(forward_flops(TransformerShape.of(loaded), 64), rel=0.02)


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_the_default_model_counts_alike_on_a_gpu(how: str) -> None:
    loaded = load_model(device="cuda")
    loaded.model.set_attn_implementation(how)
    ids = torch.arange(100, 164, device="cuda")[None]
    with torch.inference_mode():
        found = count_flops(lambda: loaded.model(ids))
    assert found.total == pytest.approx(forward_flops(TransformerShape.of(loaded), 64), rel=0.02)
