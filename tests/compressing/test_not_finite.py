"""Activations that overflow float16 are told where they do, before anything is chosen by them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from greenkit.compressing import (
    block_influence,
    matrices,
    prune,
    quantize,
    remove_blocks,
    remove_heads,
    stream_blocks,
)

torch = pytest.importorskip("torch")


@pytest.fixture
def loud(make: Callable[..., Any]) -> Any:
    """Finite in float32; in float16 what enters block 1's down matrix overflows."""
    model = make("llama")
    with torch.no_grad():
        for matrix in (model.model.layers[1].mlp.up_proj, model.model.layers[1].mlp.gate_proj):
            matrix.weight.mul_(4000)
    for parameter in model.parameters():
        parameter.data = parameter.data.half()
    return model


VERBS: dict[str, Callable[..., Any]] = {
    "wanda": lambda model, ids: prune(model, "wanda", 0.5, calibration=ids),
    "sparsegpt": lambda model, ids: prune(model, "sparsegpt", 0.5, calibration=ids),
    "gptq": lambda model, ids: quantize(model, method="gptq", calibration=ids),
    "awq": lambda model, ids: quantize(model, method="awq", calibration=ids),
    "influence": block_influence,
    "remove_blocks": lambda model, ids: remove_blocks(model, 2, calibration=ids),
    "remove_heads": lambda model, ids: remove_heads(model, 0.5, calibration=ids),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_matrix_and_the_dtype_are_named_and_nothing_is_changed(
    loud: Any, ids: Any, verb: str, state: Any, same: Any
) -> None:
    before = state(loud)
    message = r"not finite in float16: what enters model\.layers\.1\.mlp\.down_proj .*Load the mod"
    with pytest.raises(ValueError, match=message) as told:
        VERBS[verb](loud, ids)
    assert "inplace" not in str(told.value)
    assert same(before, state(loud))


@pytest.mark.parametrize("verb", ["influence", "wanda"])
def test_the_same_model_in_float32_is_taken(loud: Any, ids: Any, verb: str) -> None:
    VERBS[verb](loud.float(), ids)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_model_changed_in_place_up_to_there_is_said_to_be(
    loud: Any, ids: Any, method: str
) -> None:
    message = "With inplace, it is changed up to there: load it again"
    with pytest.raises(ValueError, match=message) as told:
        prune(loud, method, calibration=ids, inplace=True)
    assert message in str(pickle.loads(pickle.dumps(told.value)))
    zeros = [(matrix.weight == 0).float().mean().item() for matrix in matrices(loud)]
    assert max(zeros) < 0.55


def test_embeddings_that_are_not_finite_are_named(make: Callable[..., Any], ids: Any) -> None:
    model = make("gpt2")
    with torch.no_grad():
        model.transformer.wte.weight[5] = float("inf")
    with pytest.raises(ValueError, match="what the embeddings give the first block"):
        next(stream_blocks(model, ids))


def test_outputs_of_a_block_that_overflow_behind_its_matrices_are_named(
    make: Callable[..., Any], ids: Any
) -> None:
    model = make("llama")
    down = model.model.layers[2].mlp.down_proj
    down.register_forward_hook(lambda _module, _inputs, output: output / 0)
    with pytest.raises(ValueError, match=r"in float32: what block 2 gives out .* cannot compute"):
        block_influence(model, ids)
