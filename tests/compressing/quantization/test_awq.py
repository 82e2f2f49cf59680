"""Activation-aware scaling: the function stays, and loud channels are rounded more finely."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
)

from greenkit.compressing.matrices import Matrix, blocks, matrices
from greenkit.compressing.moments import output_error, second_moments
from greenkit.compressing.quantization.awq import Fold, check_foldable, find_folds, search_scales
from greenkit.compressing.quantization.quantizers import Scheme, quantize_tensor

SMALL: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=50, bos_token_id=1, eos_token_id=2)
LLAMA, QWEN = LlamaConfig(**SMALL), Qwen2Config(**SMALL)
IDS = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(1))


def build(config: PretrainedConfig) -> Any:
    """A model with random weights, biases and norms, so that nothing is zero or one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data.add_(0.3 * torch.randn(parameter.shape))
    return model


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(IDS).logits


def folds_of(model: Any) -> list[Fold]:
    found = matrices(model)
    each = len(found) // 2
    both = [found[:each], found[each:]]
    return [f for b, own in zip(blocks(model), both, strict=True) for f in find_folds(b, own)]


@pytest.mark.parametrize("config", [LLAMA, GPT2, QWEN], ids=lambda config: config.model_type)
def test_folding_leaves_the_function(config: PretrainedConfig) -> None:
    model = build(config)
    before, weights = logits(model), [m.weight.clone() for m in matrices(model)]
    for seed, fold in enumerate(folds_of(model)):
        rows = len(fold.feeds[0])
        scales = torch.rand(rows, generator=torch.Generator().manual_seed(seed)) * 4 + 0.25
        fold.apply(scales)
    changed = [not torch.equal(m.weight, w) for m, w in zip(matrices(model), weights, strict=True)]
    assert sum(changed) == len(changed) - (2 if config is GPT2 else 0)  # two behind a GELU
    assert torch.allclose(logits(model), before, atol=1e-5)


def test_gpt2_has_no_fold_through_its_gelu() -> None:
    readers = [[m.name for m in fold.readers] for fold in folds_of(build(GPT2))]
    assert readers[:3] == [
        ["transformer.h.0.attn.c_attn"],
        ["transformer.h.0.mlp.c_fc"],
        ["transformer.h.0.attn.c_proj"],
    ]
    assert len(readers) == 6


def test_query_heads_of_one_key_value_head_share_their_scales() -> None:
    fold = Fold((), (), heads=2, head_size=3)
    channels = torch.arange(12.0)
    assert fold.shared(channels).tolist() == [1.5, 2.5, 3.5, 7.5, 8.5, 9.5]
    rows = torch.arange(6.0)
    assert fold.spread(rows).tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]


def loud_layer() -> tuple[Matrix, Tensor]:
    generator = torch.Generator().manual_seed(0)
    module = torch.nn.Linear(64, 32, bias=False)
    module.weight.data = torch.randn(32, 64, generator=generator)
    inputs = torch.randn(500, 64, generator=generator)
    inputs[:, 7] *= 30
    return Matrix("layer", module), inputs


def test_a_loud_channel_gets_a_finer_share_of_the_grid() -> None:
    matrix, inputs = loud_layer()
    fold, moments = Fold((matrix,), ()), second_moments(inputs)
    scheme = Scheme(4, "group", 32)
    scales, strength = search_scales(fold, moments, inputs.abs().mean(0), {"layer": scheme})
    assert strength > 0
    assert scales.argmax() == 7
    plain = quantize_tensor(matrix.weight, scheme).dequantize() - matrix.weight
    scaled = quantize_tensor(matrix.weight * scales, scheme).dequantize() / scales - matrix.weight
    assert output_error(scaled, moments) < 0.5 * output_error(plain, moments)


def test_the_search_is_that_of_the_outputs_themselves() -> None:
    matrix, inputs = loud_layer()
    scheme = Scheme(3, "group", 16)
    magnitudes = inputs.abs().mean(0)
    fold = Fold((matrix,), ())
    _, strength = search_scales(fold, second_moments(inputs), magnitudes, {"layer": scheme})

    def error(chosen: float) -> float:
        scales = magnitudes**chosen
        scales = scales / (scales.max() * scales.min()).sqrt()
        rounded = quantize_tensor(matrix.weight * scales, scheme).dequantize().double()
        outputs = (inputs / scales).double() @ rounded.T
        return (outputs - inputs.double() @ matrix.weight.double().T).pow(2).mean().item()

    assert strength == min((step / 10 for step in range(10)), key=error)


def test_readers_in_full_precision_do_not_vote() -> None:
    matrix, inputs = loud_layer()
    scales, strength = search_scales(
        Fold((matrix,), ()), second_moments(inputs), inputs.abs().mean(0), {}
    )
    assert strength == 0
    assert torch.equal(scales, torch.ones(64))


@pytest.mark.parametrize("config", [LLAMA, GPT2, QWEN], ids=lambda config: config.model_type)
def test_known_blocks_are_foldable(config: PretrainedConfig) -> None:
    model = build(config)
    before = copy.deepcopy(model.state_dict())
    check_foldable(blocks(model))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_norm_that_adds_one_to_its_weight_is_refused() -> None:
    model = build(GemmaConfig(**SMALL, head_dim=16))
    with pytest.raises(ValueError, match="GemmaRMSNorm does not scale"):
        check_foldable(blocks(model))
