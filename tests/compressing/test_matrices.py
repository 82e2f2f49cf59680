"""Matrices: names, order and orientation, the same for Llama-style models and GPT-2."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from greenkit.compressing import blocks, matrices
from greenkit.inputs import LoadedModel

torch = pytest.importorskip("torch")

LLAMA = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
LLAMA += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
GPT2 = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


@pytest.mark.parametrize(
    ("architecture", "path", "names"),
    [("llama", "model.layers", LLAMA), ("gpt2", "transformer.h", GPT2)],
)
def test_matrices_come_in_the_order_of_the_computation(
    make: Callable[..., Any], architecture: str, path: str, names: tuple[str, ...]
) -> None:
    found = [matrix.name for matrix in matrices(make(architecture))]
    assert found == [f"{path}.{block}.{name}" for block in range(3) for name in names]


def test_a_weight_has_one_row_an_output(model: Any) -> None:
    for matrix in matrices(model):
        x = torch.randn(2, matrix.weight.shape[1])
        bias = 0 if matrix.bias is None else matrix.bias
        assert torch.allclose(matrix.module(x), x @ matrix.weight.T + bias, atol=1e-5)


def test_writing_to_a_weight_changes_the_model(
    model: Any, ids: Any, logits: Callable[..., Any]
) -> None:
    before = logits(model, ids)
    matrices(model)[0].weight[0].zero_()
    assert not torch.equal(logits(model, ids), before)
    assert torch.equal(matrices(model)[0].weight[0], torch.zeros(48))


def test_the_tied_head_is_left_out_unless_asked_for(model: Any) -> None:
    inside, with_head = matrices(model), matrices(model, head=True)
    assert with_head[:-1] == inside
    assert with_head[-1].name == "lm_head"
    assert with_head[-1].module.weight is model.get_input_embeddings().weight


def test_a_loaded_model_is_as_good_as_its_module(model: Any) -> None:
    place = torch.device("cpu")
    loaded = LoadedModel(model, None, "tiny", False, "random", place, torch.float32)
    assert matrices(loaded) == matrices(model)


def test_blocks_are_the_models_own(model: Any) -> None:
    layers = blocks(model)
    del layers[1:]
    assert len(blocks(model)) == 1


def test_a_model_without_decoder_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="Sequential has no decoder blocks"):
        matrices(torch.nn.Sequential(torch.nn.Linear(2, 2)))


def test_blocks_without_a_linear_layer_are_refused() -> None:
    bare = torch.nn.Module()
    bare.model = torch.nn.Module()
    bare.model.layers = torch.nn.ModuleList([torch.nn.LayerNorm(4)])
    bare.config = SimpleNamespace()
    with pytest.raises(ValueError, match="hold no linear layer"):
        matrices(bare)
