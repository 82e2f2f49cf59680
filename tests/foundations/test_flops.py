"""FLOPs from the configuration, against torch's own counter on the real models."""

from __future__ import annotations

from typing import Any

import pytest

from greenkit.foundations.flops import (
    TransformerShape,
    cache_bytes,
    decode_flops,
    elementwise_flops,
    forward_flops,
    matrix_flops,
    prefill_flops,
    train_flops,
    weight_bytes,
)
from greenkit.inputs import LoadedModel, load_model

MODELS = ("smollm2-135m", "gpt2-untrained")


@pytest.fixture(scope="module", params=MODELS)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    """A real model whose attention is computed by separate products, which torch can count."""
    found = load_model(request.param, device="cpu", dtype="float32")
    found.model.set_attn_implementation("eager")
    return found


def counted(loaded: LoadedModel, tokens: int, cached: int = 0, **options: Any) -> int:
    """What torch's FlopCounterMode counts in one pass over `tokens` after `cached` tokens."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.arange(100, 100 + tokens)[None]
    with torch.no_grad():
        past = None
        if cached:
            before = torch.arange(200, 200 + cached)[None]
            past = loaded.model(before, use_cache=True).past_key_values
        with FlopCounterMode(display=False) as counter:
            loaded.model(ids, past_key_values=past, use_cache=True, **options)
    return int(counter.get_total_flops())


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "cached"), [(64, 0), (300, 0), (1, 200), (5, 40)])
def test_matrix_flops_agree_with_torch(loaded: LoadedModel, tokens: int, cached: int) -> None:
    ours = forward_flops(TransformerShape.of(loaded), tokens, cached=cached)
    assert ours == pytest.approx(counted(loaded, tokens, cached), rel=0.02)


@pytest.mark.slow
def test_prefill_needs_the_output_head_once(loaded: LoadedModel) -> None:
    torchs = counted(loaded, 128, logits_to_keep=1)
    assert prefill_flops(TransformerShape.of(loaded), 128) == pytest.approx(torchs, rel=0.02)


@pytest.mark.slow
def test_training_flops_agree_with_torch(loaded: LoadedModel) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.arange(100, 164)[None]
    with FlopCounterMode(display=False) as counter:
        loaded.model(ids, labels=ids).loss.backward()
    loaded.model.zero_grad(set_to_none=True)
    ours = train_flops(TransformerShape.of(loaded), 64, sequence=64)
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.slow
def test_the_weights_are_the_models_matrices(loaded: LoadedModel) -> None:
    shape = TransformerShape.of(loaded)
    matrices = sum(p.numel() for p in loaded.model.parameters() if p.dim() == 2)
    if hasattr(loaded.model.config, "n_positions"):
        matrices -= loaded.model.config.n_positions * shape.width
    assert weight_bytes(shape, 1) == matrices


@pytest.mark.slow
def test_the_cache_has_the_bytes_that_the_model_keeps(loaded: LoadedModel) -> None:
    import torch

    with torch.no_grad():
        cache = loaded.model(torch.arange(50)[None], use_cache=True).past_key_values
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache_bytes(TransformerShape.of(loaded), 50, 4) == kept


GPT2 = TransformerShape(
    layers=12,
    width=768,
    heads=12,
    kv_heads=12,
    head_width=64,
    mlp_width=3072,
    vocabulary=50_257,
    gated=False,
    rotary=False,
)


def test_a_short_context_costs_about_two_flops_a_parameter() -> None:
    assert forward_flops(GPT2, 1) == pytest.approx(2 * 124e6, rel=0.01)


def test_decode_is_a_pass_for_each_token_but_the_first() -> None:
    by_hand = sum(forward_flops(GPT2, 1, cached=cached) for cached in (10, 11, 12))
    assert decode_flops(GPT2, 10, 4) == by_hand


@pytest.mark.parametrize(("tokens", "cached"), [(1, 0), (512, 0), (1, 1024)])
def test_products_hold_nearly_all_flops_and_activations_hardly_any(
    tokens: int, cached: int
) -> None:
    products = forward_flops(GPT2, tokens, cached=cached)
    others = elementwise_flops(GPT2, tokens, cached=cached)
    everything = products + sum(others.values())
    assert products > 0.9 * everything
    assert others["activation functions"] < 0.01 * everything


@pytest.mark.parametrize(
    ("tokens", "options"), [(0, {}), (4, {"cached": -1}), (4, {"predicted": 5})]
)
def test_counts_that_make_no_sense_are_refused(tokens: int, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="tokens must be at least 1"):
        matrix_flops(GPT2, tokens, **options)


def test_training_tokens_must_fill_sequences() -> None:
    with pytest.raises(ValueError, match="no whole number of sequences"):
        train_flops(GPT2, 100, sequence=64)


def test_another_architecture_is_refused() -> None:
    class T5Config:
        model_type = "t5"

    with pytest.raises(ValueError, match="Llama-style models and GPT-2, got 't5'"):
        TransformerShape.of(T5Config())
