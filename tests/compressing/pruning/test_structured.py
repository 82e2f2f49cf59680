"""Removed heads, neurons and blocks: the smaller model computes what the zeroed one does."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from greenkit.compressing import (
    block_influence,
    blocks,
    matrices,
    remove_blocks,
    remove_heads,
    remove_width,
)
from greenkit.foundations.flops import TransformerShape
from greenkit.inputs import load_model

torch = pytest.importorskip("torch")

HEAD = {"llama": 8, "gpt2": 12}
GROUPS = {"llama": 2, "gpt2": 4}


def architecture(model: Any) -> str:
    return str(model.config.model_type)


def attention_of(block: Any) -> Any:
    return block.attn if hasattr(block, "attn") else block.self_attn


def reader(model: Any, block: int, part: str) -> Any:
    """The matrix that reads the heads or the neurons of a block."""
    endings = ("o_proj", "attn.c_proj") if part == "heads" else ("down_proj", "mlp.c_proj")
    (found,) = (m for m in matrices(model) if f".{block}." in m.name and m.name.endswith(endings))
    return found


def silence(model: Any, part: str, kept: list[list[int]], width: int) -> Any:
    """A copy in which units that are not kept stay, and nothing reads them."""
    silent = copy.deepcopy(model)
    for block, units in enumerate(kept):
        weight = reader(silent, block, part).weight
        for unit in set(range(weight.shape[1] // width)) - set(units):
            weight[:, unit * width : (unit + 1) * width] = 0
    return silent


def skip(model: Any, removed: list[int]) -> Any:
    """A copy in which some blocks hand on what they get."""
    lame = copy.deepcopy(model)
    for number in removed:
        blocks(lame)[number].forward = lambda hidden, *_, **__: hidden
    return lame


def hidden_states(model: Any, ids: Any) -> list[Any]:
    """What enters each block, and what leaves the last, in float64."""
    seen: list[Any] = []
    layers = blocks(model)
    handles = [layer.register_forward_pre_hook(lambda _, x: seen.append(x[0])) for layer in layers]
    handles.append(layers[-1].register_forward_hook(lambda *call: seen.append(call[2])))
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return [states.double().numpy() for states in seen]


@pytest.mark.parametrize("by", ["activations", "weights"])
@pytest.mark.parametrize("share", [0.5, 1 / 3])
def test_a_model_without_heads_is_the_one_with_silent_heads(
    model: Any, ids: Any, logits: Callable[..., Any], by: Any, share: float
) -> None:
    kind = architecture(model)
    result = remove_heads(model, share, by=by, calibration=ids)
    kept = result.settings["kept"]
    assert sum(map(len, kept)) == 3 * GROUPS[kind] - int(3 * GROUPS[kind] * share)
    width = 3 * HEAD[kind] if kind == "llama" else HEAD[kind]  # three query heads a group
    silent = silence(model, "heads", kept, width)
    assert torch.allclose(logits(result.model, ids), logits(silent, ids), atol=1e-5)
    assert not torch.allclose(logits(result.model, ids), logits(model, ids), atol=1e-3)


def test_gpt2_attention_knows_how_many_heads_are_left(make: Callable[..., Any], ids: Any) -> None:
    result = remove_heads(make("gpt2"), 0.5, calibration=ids)
    left = [block.attn.num_heads for block in blocks(result.model)]
    assert left == [len(units) for units in result.settings["kept"]]


@pytest.mark.parametrize("by", ["activations", "weights"])
def test_a_narrower_model_is_the_one_with_silent_neurons(
    model: Any, ids: Any, logits: Callable[..., Any], by: Any
) -> None:
    result = remove_width(model, 0.25, by=by, calibration=ids)
    assert result.settings["kept"] == [60, 60, 60]
    kept = []
    for block in range(3):
        dense, narrow = (reader(m, block, "width").weight for m in (model, result.model))
        kept.append(
            [n for n in range(80) if any(torch.equal(dense[:, n], own) for own in narrow.T)]
        )
    assert [len(units) for units in kept] == [60, 60, 60]
    silent = silence(model, "width", kept, 1)
    assert torch.allclose(logits(result.model, ids), logits(silent, ids), atol=1e-5)


@pytest.mark.parametrize("removed", [[1], [0, 2], [2]])
def test_a_shorter_model_is_the_one_that_skips_blocks(
    model: Any, ids: Any, logits: Callable[..., Any], removed: list[int]
) -> None:
    result = remove_blocks(model, removed)
    assert torch.equal(logits(result.model, ids), logits(skip(model, removed), ids))
    assert result.settings["kept"] == [n for n in range(3) if n not in removed]
    assert len(blocks(result.model)) == 3 - len(removed)


def test_influence_is_one_minus_the_mean_cosine(model: Any, ids: Any) -> None:
    states = hidden_states(model, ids)
    expected = []
    for before, after in itertools.pairwise(states):
        lengths = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
        expected.append(1 - np.mean((before * after).sum(-1) / lengths))
    assert block_influence(model, ids) == pytest.approx(expected, abs=1e-6)


def test_a_block_that_does_nothing_has_no_influence_and_goes_first(model: Any, ids: Any) -> None:
    for block, part in ((1, "heads"), (1, "width")):
        silenced = reader(model, block, part)
        silenced.weight.zero_()
        if silenced.bias is not None:
            silenced.bias.zero_()
    result = remove_blocks(model, 1, calibration=ids)
    assert result.settings["influence"][1] == pytest.approx(0, abs=1e-6)
    assert result.settings["removed"] == [1]


def test_blocks_of_least_influence_go(model: Any, ids: Any) -> None:
    influence = block_influence(model, ids)
    result = remove_blocks(model, 2, calibration=ids)
    assert result.settings["kept"] == [influence.index(max(influence))]


def added(model: Any, ids: Any, inputs: dict[str, Any], block: int, part: str, width: int) -> Any:
    """What each unit adds to a token's state, relative to it: root mean square, in float64."""
    matrix = reader(model, block, part)
    x = inputs[matrix.name].flatten(0, 1).double().numpy()
    w = matrix.weight.double().numpy()
    states = hidden_states(model, ids)[block].reshape(len(x), -1)
    found = []
    for start in range(0, x.shape[1], width):
        columns = slice(start, start + width)
        shares = [
            np.linalg.norm(w[:, columns] @ token[columns]) / np.linalg.norm(state)
            for token, state in zip(x, states, strict=True)
        ]
        found.append(np.sqrt(np.mean(np.square(shares))))
    return np.array(found)


def test_a_neuron_is_judged_by_what_it_adds(
    model: Any, ids: Any, inputs_of: Callable[..., dict[str, Any]]
) -> None:
    result = remove_width(model, 0.5, calibration=ids)
    inputs = inputs_of(model, ids)
    for block in range(3):
        dense, narrow = reader(model, block, "width"), reader(result.model, block, "width")
        best = sorted(np.argsort(added(model, ids, inputs, block, "width", 1))[40:])
        assert torch.equal(narrow.weight, dense.weight[:, best])


def test_heads_of_all_blocks_are_judged_by_what_they_add(
    model: Any, ids: Any, inputs_of: Callable[..., dict[str, Any]]
) -> None:
    kind = architecture(model)
    width = 3 * HEAD[kind] if kind == "llama" else HEAD[kind]
    result = remove_heads(model, 0.5, calibration=ids)
    inputs = inputs_of(model, ids)
    adds = {
        (block, unit): share
        for block in range(3)
        for unit, share in enumerate(added(model, ids, inputs, block, "heads", width))
    }
    left = {block: set(range(GROUPS[kind])) for block in range(3)}
    gone = 0
    for block, unit in sorted(adds, key=adds.__getitem__):
        if gone < 3 * GROUPS[kind] // 2 and len(left[block]) > 1:
            left[block].remove(unit)
            gone += 1
    assert result.settings["kept"] == [sorted(left[block]) for block in range(3)]


def test_by_weights_the_smallest_neurons_go(make: Callable[..., Any]) -> None:
    model = make("llama")
    result = remove_width(model, 0.5, by="weights")
    mlp, narrow = blocks(model)[0].mlp, blocks(result.model)[0].mlp
    parts = [mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight.T]
    norms = torch.cat([part.detach().double() for part in parts], dim=1).norm(dim=1)
    best = norms.argsort()[40:].sort().values
    assert torch.equal(narrow.up_proj.weight, mlp.up_proj.weight[best])


def test_every_block_keeps_a_head(model: Any) -> None:
    for block in range(2):
        for matrix in matrices(model):
            if f".{block}." in matrix.name and "attn" in matrix.name:
                matrix.weight.mul_(1e-3)  # all its heads are the worst
    total = 3 * GROUPS[architecture(model)]
    result = remove_heads(model, (total - 3) / total, by="weights")
    assert [len(units) for units in result.settings["kept"]] == [1, 1, 1]


REMOVALS: dict[str, Callable[..., Any]] = {
    "heads": lambda model, ids: remove_heads(model, 0.5, calibration=ids),
    "uneven heads": lambda model, ids: remove_heads(model, 1 / 3, calibration=ids),
    "width": lambda model, ids: remove_width(model, 0.25, calibration=ids),
    "blocks": lambda model, ids: remove_blocks(model, [0]),
    "all three": lambda model, ids: remove_blocks(
        remove_heads(remove_width(model, 0.25, calibration=ids).model, 0.5, calibration=ids).model,
        1,
        calibration=ids,
    ),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_generate_is_the_same_with_and_without_the_cache(
    model: Any, ids: Any, continue_text: Callable[..., Any], removal: str
) -> None:
    smaller = REMOVALS[removal](model, ids).model
    with_cache = continue_text(smaller, ids[:2], cache=True)
    assert torch.equal(with_cache, continue_text(smaller, ids[:2], cache=False))


@pytest.mark.parametrize("removal", REMOVALS)
def test_the_cache_shrinks_with_the_model(model: Any, ids: Any, removal: str) -> None:
    smaller = REMOVALS[removal](model, ids).model
    with torch.no_grad():
        cache = smaller(input_ids=ids, use_cache=True).past_key_values
    held = [layer.keys.shape[1] for layer in cache.layers]
    width = HEAD[architecture(model)]
    makers = ("k_proj", "c_attn")
    rows = [m.weight.shape[0] for m in matrices(smaller) if m.name.endswith(makers)]
    parts = 3 if architecture(model) == "gpt2" else 1  # queries, keys and values in one
    assert held == [count // parts // width for count in rows]


@pytest.mark.parametrize("removal", REMOVALS)
def test_the_model_is_smaller_by_what_was_removed(model: Any, ids: Any, removal: str) -> None:
    result = REMOVALS[removal](model, ids)
    assert result.parameters < result.before.parameters
    assert result.bytes == 4 * result.parameters + sum(
        buffer.numel() * buffer.element_size() for buffer in result.model.buffers()
    )
    storage = sum(p.untyped_storage().nbytes() for p in result.model.parameters())
    assert storage == 4 * result.parameters  # no view on an old, larger weight
    assert result.model.lm_head.weight is result.model.get_input_embeddings().weight


@pytest.mark.parametrize("removal", ["width", "blocks"])
def test_a_fresh_model_of_the_configuration_takes_the_weights(
    model: Any, ids: Any, logits: Callable[..., Any], removal: str
) -> None:
    smaller = REMOVALS[removal](model, ids).model
    fresh = type(smaller)(smaller.config).eval()
    fresh.load_state_dict(smaller.state_dict())
    assert torch.equal(logits(fresh, ids), logits(smaller, ids))


def test_evenly_removed_heads_stand_in_the_configuration(
    make: Callable[..., Any], ids: Any, logits: Callable[..., Any]
) -> None:
    model = make("llama", num_attention_heads=12, num_key_value_heads=4, head_dim=4)
    for block in range(3):  # the same two groups are silent in each block
        reader(model, block, "heads").weight[:, :24] = 0
    smaller = remove_heads(model, 0.5, calibration=ids).model
    assert (smaller.config.num_attention_heads, smaller.config.num_key_value_heads) == (6, 2)
    fresh = type(smaller)(smaller.config).eval()
    fresh.load_state_dict(smaller.state_dict())
    assert torch.equal(logits(fresh, ids), logits(smaller, ids))
    assert TransformerShape.of(smaller).projection_weights * 2 == (
        TransformerShape.of(model).projection_weights
    )


def test_layers_are_numbered_anew(model: Any) -> None:
    shorter = remove_blocks(model, [0]).model
    assert [attention_of(block).layer_idx for block in blocks(shorter)] == [0, 1]
    assert shorter.config.num_hidden_layers == 2
    assert model.config.num_hidden_layers == 3


@pytest.mark.parametrize("removal", REMOVALS)
def test_the_given_model_is_left_untouched(
    model: Any,
    ids: Any,
    state: Callable[..., Any],
    same: Callable[..., bool],
    logits: Callable[..., Any],
    removal: str,
) -> None:
    before, said, values = state(model), logits(model, ids), model.config.to_dict()
    REMOVALS[removal](model, ids)
    assert same(before, state(model))
    assert model.config.to_dict() == values
    assert torch.equal(logits(model, ids), said)


@pytest.mark.parametrize(
    "remove",
    [
        lambda model, ids, inplace: remove_heads(model, 0.5, calibration=ids, inplace=inplace),
        lambda model, ids, inplace: remove_width(model, 0.5, calibration=ids, inplace=inplace),
        lambda model, ids, inplace: remove_blocks(model, 1, calibration=ids, inplace=inplace),
    ],
    ids=["heads", "width", "blocks"],
)
def test_in_place_gives_what_a_copy_gives(
    model: Any,
    ids: Any,
    state: Callable[..., Any],
    same: Callable[..., bool],
    remove: Callable[..., Any],
) -> None:
    expected = state(remove(model, ids, False).model)
    result = remove(model, ids, True)
    assert result.model is model
    assert same(expected, state(model))


def test_bf16_models_stay_so(model: Any, ids: Any, continue_text: Callable[..., Any]) -> None:
    smaller = REMOVALS["all three"](model.bfloat16(), ids).model
    assert {parameter.dtype for parameter in smaller.parameters()} == {torch.bfloat16}
    assert continue_text(smaller, ids[:1], cache=True).shape == (1, 40)


def test_a_smaller_model_trains(model: Any, ids: Any) -> None:
    smaller = REMOVALS["all three"](model, ids).model
    smaller(input_ids=ids, labels=ids).loss.backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, ids: remove_blocks(m, 3, calibration=ids), "remove 1 to 2 of them"),
        (lambda m, ids: remove_blocks(m, 0, calibration=ids), "remove 1 to 2 of them"),
        (lambda m, _: remove_blocks(m, []), "remove 1 to 2 of them"),
        (lambda m, _: remove_blocks(m, [0, 1, 2]), "remove 1 to 2 of them"),
        (lambda m, _: remove_blocks(m, [1, 1]), "different ones from 0 to 2"),
        (lambda m, _: remove_blocks(m, [3]), "different ones from 0 to 2"),
        (lambda m, _: remove_blocks(m, [-1]), "different ones from 0 to 2"),
        (lambda m, _: remove_blocks(m, 1), "no tokenizer"),
        (lambda m, ids: remove_heads(m, 1.0, calibration=ids), "above 0 and below 1"),
        (lambda m, ids: remove_heads(m, 0.0, calibration=ids), "above 0 and below 1"),
        (lambda m, ids: remove_heads(m, 0.01, calibration=ids), "is 0: at least 1"),
        (lambda m, ids: remove_heads(m, 0.99, calibration=ids), "key/value groups is"),
        (
            lambda m, ids: remove_width(m, 0.001, calibration=ids),
            "is 0: at least 1 and at most 79 can go",
        ),
        (lambda m, ids: remove_width(m, 0.5, by="taste", calibration=ids), "activations, weights"),
        (lambda m, _: remove_width(m, 0.5), "no tokenizer"),
        (lambda m, ids: remove_width(m, 0.5, calibration=ids + 500), "knows 0 to 96"),
    ],
)
def test_bad_input_is_refused_and_the_model_unchanged(
    model: Any,
    ids: Any,
    state: Callable[..., Any],
    same: Callable[..., bool],
    call: Callable[..., Any],
    message: str,
) -> None:
    before = state(model)
    with pytest.raises(ValueError, match=message):
        call(model, ids)
    assert same(before, state(model))


def test_attention_scaled_by_the_blocks_number_keeps_all_blocks(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"another attn\.scaling"):
        remove_blocks(make("gpt2", scale_attn_by_inverse_layer_idx=True), [0])


@pytest.mark.slow
def test_the_courses_model_computes_what_the_silent_one_does(
    logits: Callable[..., Any], continue_text: Callable[..., Any]
) -> None:
    loaded = load_model(device="cpu", dtype="float32")
    ids = torch.randint(0, 40000, (2, 48), generator=torch.Generator().manual_seed(0))
    result = remove_heads(loaded, 0.2, calibration=ids)
    attention = attention_of(blocks(loaded)[0])
    width = attention.head_dim * getattr(attention, "num_key_value_groups", 1)
    silent = silence(loaded.model, "heads", result.settings["kept"], width)
    assert torch.allclose(logits(result.model, ids), logits(silent, ids), atol=1e-3)
    shorter = remove_blocks(result.model, 2, calibration=ids).model
    with_cache = continue_text(shorter, ids, cache=True)
    assert torch.equal(with_cache, continue_text(shorter, ids, cache=False))
