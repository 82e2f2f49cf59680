"""Heads, neurons and scales of blocks with other names and fused matrices: the function stays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from greenkit.compressing import (
    blocks,
    quantize,
    remove_heads,
    remove_width,
)
from greenkit.compressing.architectures import small

torch = pytest.importorskip("torch")
Run = Callable[..., Any]


@pytest.fixture
def x() -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, 128, (16, 16), generator=generator)


READERS = {  # what reads the heads, what reads the neurons, and the key/value groups of a block
    "phi": ("self_attn.dense", "mlp.fc2", 2),
    "starcoder2": ("self_attn.o_proj", "mlp.c_proj", 2),
    "opt": ("self_attn.out_proj", "fc2", 4),
    "gpt_neox": ("attention.dense", "mlp.dense_4h_to_h", 4),
    "gptj": ("attn.out_proj", "mlp.fc_out", 4),
    "gpt_neo": ("attn.attention.out_proj", "mlp.c_proj", 4),
    "stablelm": ("self_attn.o_proj", "mlp.down_proj", 2),
    "exaone4": ("self_attn.o_proj", "mlp.down_proj", 2),
    "glm4": ("self_attn.o_proj", "mlp.down_proj", 2),
}


@pytest.mark.parametrize("name", READERS)
def test_without_heads_a_model_computes_what_it_does_with_silent_ones(
    name: str, x: Any, logits: Run
) -> None:
    path, _, groups = READERS[name]
    model = small(name)
    result = remove_heads(model, 0.25, calibration=x)
    silent = copy.deepcopy(model)
    for block, kept in zip(blocks(silent), result.settings["kept"], strict=True):
        weight = block.get_submodule(path).weight.detach()
        gone = [group for group in range(groups) if group not in kept]
        weight.view(len(weight), groups, -1)[:, gone] = 0
    assert torch.allclose(logits(result.model, x), logits(silent, x), atol=1e-5)
    assert not torch.allclose(logits(model, x), logits(silent, x), atol=1e-3)


@pytest.mark.parametrize("name", [*READERS, "bloom", "falcon", "mpt", "phi3"])
def test_a_narrower_mlp_computes_what_it_does_with_silent_neurons(
    name: str, x: Any, logits: Run
) -> None:
    readers = {"bloom": "mlp.dense_4h_to_h", "falcon": "mlp.dense_4h_to_h"}
    readers |= {"mpt": "ffn.down_proj", "phi3": "mlp.down_proj"}
    path = READERS[name][1] if name in READERS else readers[name]
    model = small(name)
    smaller = remove_width(model, 0.25, calibration=x).model
    silent = copy.deepcopy(model)
    for block, narrow in zip(blocks(silent), blocks(smaller), strict=True):
        weight = block.get_submodule(path).weight.detach()
        left = narrow.get_submodule(path).weight.detach()
        gone = [n for n in range(weight.shape[1]) if not (weight[:, [n]] == left).all(0).any()]
        assert len(gone) == weight.shape[1] // 4
        weight[:, gone] = 0
    assert torch.allclose(logits(smaller, x), logits(silent, x), atol=1e-5)


@pytest.mark.parametrize(
    "name", ["phi", "phi3", "starcoder2", "opt", "gpt_neox", "gptj", "cohere", "bloom", "falcon"]
)
def test_scales_move_through_other_blocks_without_a_change(name: str, x: Any, logits: Run) -> None:
    model = small(name)
    before, after = logits(model, x), logits(quantize(model, method="awq", calibration=x).model, x)
    assert 0 < (after - before).abs().max() < 0.05 * before.abs().max()
