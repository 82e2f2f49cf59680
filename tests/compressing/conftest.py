"""Tiny models of both architectures with random weights, and tokens for them to read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from greenkit.compressing import blocks

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY = 97
ARCHITECTURES = ("llama", "gpt2")

Build = Callable[..., Any]


def build(architecture: str, *, attention: str = "sdpa", seed: int = 0, **values: Any) -> Any:
    """A model of three blocks and width 48, with grouped-query attention where it is a Llama."""
    torch.manual_seed(seed)
    shared = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    shared |= {"attn_implementation": attention, "tie_word_embeddings": True}
    if architecture == "llama":
        sizes = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3}
        heads = {"num_attention_heads": 6, "num_key_value_heads": 2}
        config = transformers.LlamaConfig(**{**shared, **sizes, **heads, **values})
        model = transformers.LlamaForCausalLM(config)
    else:
        sizes = {"n_embd": 48, "n_inner": 80, "n_layer": 3, "n_head": 4, "n_positions": 64}
        config = transformers.GPT2Config(**{**shared, **sizes, **values})
        model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():  # else norms and biases are all ones and zeros
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def make() -> Build:
    """Build a tiny model: `make("llama")`, `make("gpt2", attention="eager")`."""
    return build


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> Any:
    """A tiny model, of each architecture in turn."""
    return build(request.param)


@pytest.fixture
def ids() -> Any:
    """Six windows of 32 tokens."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, VOCABULARY, (6, 32), generator=generator)


@pytest.fixture
def logits() -> Callable[..., Any]:
    """Logits of a plain forward pass without a cache."""

    def run(model: Any, ids: Any) -> Any:
        with torch.no_grad():
            return model(input_ids=ids, use_cache=False).logits

    return run


@pytest.fixture
def inputs_of() -> Callable[..., dict[str, Any]]:
    """What enters each matrix in a plain forward pass, by name, as torch's own hooks see it."""

    def run(model: Any, ids: Any) -> dict[str, Any]:
        kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
        seen: dict[str, Any] = {}
        handles = [
            module.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]}))
            for name, module in model.named_modules()
            if isinstance(module, kinds)
        ]
        try:
            with torch.no_grad():
                model(input_ids=ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return seen

    return run


@pytest.fixture
def continue_text() -> Callable[..., Any]:
    """Eight more tokens by greedy `generate`, with or without the KV cache."""

    def run(model: Any, ids: Any, *, cache: bool) -> Any:
        options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
        mask = torch.ones_like(ids)
        return model.generate(input_ids=ids, attention_mask=mask, use_cache=cache, **options)

    return run


@pytest.fixture
def state() -> Callable[..., dict[str, Any]]:
    """A copy of all parameters and buffers."""

    def run(model: Any) -> dict[str, Any]:
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}

    return run


@pytest.fixture
def same() -> Callable[..., bool]:
    """Whether two results of `state` are equal, bit for bit."""

    def run(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)

    return run


@pytest.fixture
def skipping() -> Callable[..., Any]:
    """A copy of a model in which a block hands on what it gets."""

    def run(model: Any, number: int) -> Any:
        lame = copy.deepcopy(model)
        block = blocks(lame)[number]
        whole = block.forward

        def forward(hidden: Any, *positional: Any, **named: Any) -> Any:
            found = whole(hidden, *positional, **named)
            return type(found)((hidden, *found[1:])) if isinstance(found, tuple | list) else hidden

        block.forward = forward
        return lame

    return run
