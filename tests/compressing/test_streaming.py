"""Streaming: each block gets exactly what the model gives it, and sees what was changed before."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest

from greenkit.compressing import Matrix, blocks, matrices, stream_blocks

torch = pytest.importorskip("torch")


def streamed(model: Any, ids: Any, batch_size: int | None = None) -> dict[str, Any]:
    """The inputs of every matrix as the stream shows them."""
    seen: dict[str, list[Any]] = {}
    for step in stream_blocks(model, ids, batch_size=batch_size):
        step.watch(lambda matrix, x: seen.setdefault(matrix.name, []).append(x))
    return {name: torch.cat(parts) for name, parts in seen.items()}


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_streamed_activations_are_those_of_a_plain_forward(
    make: Callable[..., Any],
    ids: Any,
    inputs_of: Callable[..., dict[str, Any]],
    architecture: str,
    attention: str,
    dtype: Any,
) -> None:
    model = make(architecture, attention=attention).to(dtype)
    expected = inputs_of(model, ids)
    found = streamed(model, ids)
    assert set(found) == set(expected) - {"lm_head"}
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_the_batch_size_changes_no_activation(model: Any, ids: Any) -> None:
    whole, parts = streamed(model, ids), streamed(model, ids, batch_size=4)  # 4 and 2 windows
    assert all(torch.allclose(whole[name], parts[name], atol=1e-5) for name in whole)


def test_a_block_sees_what_was_changed_before_it(
    model: Any, ids: Any, inputs_of: Callable[..., dict[str, Any]]
) -> None:
    seen: dict[str, Any] = {}
    for step in stream_blocks(model, ids):
        step.watch(lambda matrix, x: seen.setdefault(matrix.name, x))
        for matrix in step.matrices:
            matrix.weight.mul_(0.5)
    changed = inputs_of(model, ids)
    later = [matrix.name for matrix in matrices(model) if ".0." not in matrix.name]
    firsts = [name for name in later if "q_proj" in name or "c_attn" in name]
    assert len(firsts) == 2
    assert all(torch.equal(seen[name], changed[name]) for name in firsts)


def test_a_matrix_changed_just_before_its_use_is_used_changed(
    model: Any, ids: Any, inputs_of: Callable[..., dict[str, Any]]
) -> None:
    seen: dict[str, Any] = {}

    def see(matrix: Matrix, x: Any) -> None:
        seen[matrix.name] = x
        matrix.weight.mul_(0.5)

    for step in stream_blocks(model, ids):
        step.advance(see)
    changed = inputs_of(model, ids)
    assert len(seen) == len(matrices(model))
    assert all(torch.equal(seen[name], changed[name]) for name in seen)


def test_the_readers_of_a_tensor_are_found_together(make: Callable[..., Any], ids: Any) -> None:
    for architecture, expected in (
        ("llama", [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"]]),
        ("gpt2", [["c_attn"], ["c_proj"], ["c_fc"]]),
    ):
        last = [["down_proj" if architecture == "llama" else "c_proj"]]
        for step in stream_blocks(make(architecture), ids):
            found = [[m.name.rpartition(".")[2] for m in readers] for readers in step.readers]
            assert found == expected + last


def test_readers_changed_together_are_used_changed(
    model: Any, ids: Any, inputs_of: Callable[..., dict[str, Any]]
) -> None:
    seen: dict[str, Any] = {}

    def change(readers: tuple[Matrix, ...], x: Any) -> None:
        for matrix in readers:
            seen[matrix.name] = x
            matrix.weight.mul_(0.5)

    for step in stream_blocks(model, ids):
        step.change(change)
    changed = inputs_of(model, ids)
    assert len(seen) == len(matrices(model))
    assert all(torch.equal(seen[name], changed[name]) for name in seen)


def test_matrices_are_not_changed_behind_a_part_of_the_windows(model: Any, ids: Any) -> None:
    step = next(stream_blocks(model, ids, batch_size=4))
    with pytest.raises(ValueError, match="all windows in one batch"):
        step.change(lambda readers, x: None)


def test_the_last_outputs_are_what_the_final_norm_reads(model: Any, ids: Any) -> None:
    for step in stream_blocks(model, ids):
        last = step.advance()
    read = []
    norm = model.model.norm if hasattr(model, "model") else model.transformer.ln_f
    handle = norm.register_forward_pre_hook(lambda _, x: read.append(x[0]))
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    handle.remove()
    assert torch.equal(last, read[0])


def test_watching_alone_leaves_the_model_as_it_was(
    model: Any, ids: Any, state: Callable[..., Any], same: Callable[..., bool]
) -> None:
    before = state(model)
    streamed(model, ids)
    assert same(before, state(model))


def test_matrices_that_read_the_same_tensor_are_shown_the_same_object(
    make: Callable[..., Any], ids: Any
) -> None:
    for step in stream_blocks(make("llama"), ids):
        shown: list[Any] = []
        step.watch(lambda _, x, shown=shown: shown.append(x))
        q, k, v, _, gate, up, _ = shown
        assert q is k is v
        assert gate is up


def traces(model: Any) -> list[Any]:
    """What a stream may leave behind in a model: hooks, and blocks that only note."""
    hooks = [module._forward_pre_hooks for module in model.modules() if module._forward_pre_hooks]
    return hooks + [block for block in blocks(model) if "forward" in block.__dict__]


@pytest.mark.parametrize("run", ["watch", "advance"])
def test_an_error_of_the_caller_leaves_no_hook_behind(model: Any, ids: Any, run: str) -> None:
    def see(matrix: Matrix, _: Any) -> None:
        if ".1." in matrix.name:
            raise KeyError(matrix.name)

    def go() -> None:
        for step in stream_blocks(model, ids):
            getattr(step, run)(see)

    with pytest.raises(KeyError):
        go()
    assert not traces(model)


def test_an_error_of_the_model_leaves_its_blocks_as_they_were(model: Any, ids: Any) -> None:
    with pytest.raises(IndexError):
        next(stream_blocks(model, ids + 1000))
    assert not traces(model)


def test_a_forward_of_the_blocks_own_is_put_back(model: Any, ids: Any) -> None:
    block = blocks(model)[1]
    own = block.forward
    block.forward = own
    streamed(model, ids)
    assert block.__dict__["forward"] is own


@pytest.mark.parametrize("leave_early", [False, True])
def test_dropout_is_off_meanwhile_and_the_mode_comes_back(
    make: Callable[..., Any], ids: Any, leave_early: bool
) -> None:
    model = make("gpt2", resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    expected = streamed(model, ids)
    model.train()
    assert all(torch.equal(x, expected[name]) for name, x in streamed(model, ids).items())
    steps = stream_blocks(model, ids)
    next(steps)
    assert not model.training
    if leave_early:
        steps.close()
    else:
        list(steps)
    assert model.training


def test_each_block_runs_once_where_the_caller_lets_it_advance(model: Any, ids: Any) -> None:
    runs = []
    for block in blocks(model):
        norm = block.ln_1 if hasattr(block, "ln_1") else block.input_layernorm
        norm.register_forward_hook(lambda *_: runs.append(1))
    for step in stream_blocks(model, ids):
        step.advance()
    assert len(runs) == 3


def test_hidden_states_of_earlier_blocks_are_let_go(model: Any, ids: Any) -> None:
    held: list[Any] = []
    for step in stream_blocks(model, ids):
        held.append(weakref.ref(step.inputs))
        assert [states() is not None for states in held].count(True) == 1


def test_no_gradient_graph_is_kept(model: Any, ids: Any) -> None:
    for step in stream_blocks(model, ids):
        assert not step.inputs.requires_grad
        assert not step.advance().requires_grad


def test_a_batch_size_below_one_is_refused(model: Any, ids: Any) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        next(stream_blocks(model, ids, batch_size=0))
