"""Pruning whole models: masks recomputed in float64 from plain forward passes, and no harm done."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from greenkit.compressing import calibration_windows, matrices, prune
from greenkit.inputs import load_model, load_text

torch = pytest.importorskip("torch")

METHODS = ("magnitude", "wanda", "sparsegpt")


def wide(tensor: Any) -> Any:
    return tensor.detach().double().numpy()


def kept_by_wanda(weight: Any, inputs: Any, sparsity: float) -> Any:
    """The mask of a weight (out, in) on inputs (tokens, in), all in float64."""
    scores = np.abs(weight) * np.sqrt(np.square(inputs).sum(0))
    keep = np.ones(weight.shape, dtype=bool)
    for row in range(len(weight)):
        keep[row, np.argsort(scores[row])[: int(weight.shape[1] * sparsity)]] = False
    return keep


def surgery(weight: Any, inputs: Any, pattern: tuple[int, int]) -> Any:
    """SparseGPT in float64 by explicit inverses of what is left of the Hessian."""
    kept, of = pattern
    w, h = weight.copy(), inputs.T @ inputs
    h += 0.01 * np.mean(np.diag(h)) * np.eye(len(h))
    gone = np.zeros(w.shape, dtype=bool)
    inverses = [np.linalg.inv(h[j:, j:]) for j in range(len(h))]
    for j, inverse in enumerate(inverses):
        if j % of == 0:
            edges = [inverses[column][0, 0] for column in range(j, j + of)]
            lowest = np.argsort(w[:, j : j + of] ** 2 / edges, axis=1)[:, : of - kept]
            np.put_along_axis(gone, j + lowest, True, axis=1)
        lost = np.where(gone[:, j], w[:, j], 0)
        w[:, j:] -= np.outer(lost / inverse[0, 0], inverse[0])
        w[gone[:, j], j] = 0
    return w


@pytest.mark.parametrize("method", METHODS)
def test_each_matrix_has_the_sparsity_asked_for(model: Any, ids: Any, method: str) -> None:
    result = prune(model, method, 0.5, calibration=ids)
    assert [report.sparsity for report in result.matrices] == [0.5] * len(matrices(model))
    assert result.sparsity == 0.5
    assert result.parameters == result.before.parameters
    assert result.bytes == result.before.bytes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("kept", "of"), [(2, 4), (1, 4), (4, 8)])
def test_a_pattern_holds_in_every_neighborhood(
    model: Any, ids: Any, method: str, kept: int, of: int
) -> None:
    result = prune(model, method, pattern=f"{kept}:{of}", calibration=ids)
    for matrix in matrices(result.model):
        counts = (matrix.weight.reshape(-1, of) != 0).sum(1)
        assert torch.equal(counts, torch.full_like(counts, kept))
    assert result.settings["sparsity"] == 1 - kept / of


def test_magnitude_removes_the_smallest_of_the_whole_matrix(model: Any) -> None:
    result = prune(model, "magnitude", 0.3)
    for dense, pruned in zip(matrices(model), matrices(result.model), strict=True):
        sizes, kept = np.abs(wide(dense.weight)), wide(pruned.weight) != 0
        assert sizes[~kept].max() <= sizes[kept].min()
        assert (~kept).sum() == int(kept.size * 0.3)


def test_wanda_follows_the_inputs_that_the_pruned_model_has(
    model: Any, ids: Any, inputs_of: Callable[..., dict[str, Any]]
) -> None:
    result = prune(model, "wanda", 0.5, calibration=ids)
    inputs = inputs_of(result.model, ids)
    for dense, pruned in zip(matrices(model), matrices(result.model), strict=True):
        tokens = wide(inputs[dense.name].flatten(0, 1))
        keep = kept_by_wanda(wide(dense.weight), tokens, 0.5)
        assert np.array_equal(wide(pruned.weight), wide(dense.weight) * keep)


def test_a_score_of_ones_own_competes_in_each_row_on_the_lengths_of_the_inputs(
    model: Any, ids: Any
) -> None:
    def by_use(weight: Any, length: Any) -> Any:
        return weight.abs() * length

    own, wanda = prune(model, by_use, 0.5, calibration=ids), prune(model, calibration=ids)
    assert own.method == "by_use"
    for mine, theirs in zip(matrices(own.model), matrices(wanda.model), strict=True):
        assert torch.equal(mine.weight, theirs.weight)


def test_magnitude_as_a_score_of_ones_own_keeps_the_largest_of_each_row(
    model: Any, ids: Any
) -> None:
    result = prune(model, lambda weight, length: weight.abs(), 0.5, calibration=ids)
    for dense, pruned in zip(matrices(model), matrices(result.model), strict=True):
        sizes, kept = np.abs(wide(dense.weight)), wide(pruned.weight) != 0
        assert (kept.sum(1) == kept.shape[1] / 2).all()
        smallest_kept = np.where(kept, sizes, np.inf).min(1)
        largest_gone = np.where(kept, 0, sizes).max(1)
        assert (largest_gone <= smallest_kept).all()


def test_sparsegpt_follows_the_inputs_that_the_pruned_model_has(
    model: Any, ids: Any, inputs_of: Callable[..., dict[str, Any]]
) -> None:
    result = prune(model, "sparsegpt", pattern="2:4", calibration=ids)
    inputs = inputs_of(result.model, ids)
    for dense, pruned in zip(matrices(model), matrices(result.model), strict=True):
        tokens = wide(inputs[dense.name].flatten(0, 1))
        expected = surgery(wide(dense.weight), tokens, (2, 4))
        agree = ((wide(pruned.weight) == 0) == (expected == 0)).all(axis=1)
        assert agree.mean() > 0.95  # where two scores nearly tie, a row may go another way
        assert np.allclose(wide(pruned.weight)[agree], expected[agree], atol=2e-3)


@pytest.mark.parametrize("method", ["magnitude", "wanda"])
@pytest.mark.parametrize("pattern", [None, "2:4"])
def test_a_pruned_model_is_the_masked_dense_model(
    model: Any, ids: Any, logits: Callable[..., Any], method: str, pattern: str | None
) -> None:
    result = prune(model, method, pattern=pattern, calibration=ids)
    masked = copy.deepcopy(model)
    for matrix, pruned in zip(matrices(masked), matrices(result.model), strict=True):
        matrix.weight.mul_(pruned.weight != 0)
    assert torch.equal(logits(result.model, ids), logits(masked, ids))
    assert not torch.equal(logits(result.model, ids), logits(model, ids))


@pytest.mark.parametrize("method", METHODS)
def test_all_but_the_blocks_matrices_stay_and_tied_weights_stay_tied(
    model: Any, ids: Any, method: str
) -> None:
    pruned = prune(model, method, calibration=ids).model
    inside = {f"{matrix.name}.weight" for matrix in matrices(model)}
    mine = dict(pruned.named_parameters())
    assert all(
        torch.equal(mine[name], own) for name, own in model.named_parameters() if name not in inside
    )
    assert pruned.lm_head.weight is pruned.get_input_embeddings().weight


@pytest.mark.parametrize("method", METHODS)
def test_the_given_model_is_left_untouched(
    model: Any, ids: Any, state: Callable[..., Any], same: Callable[..., bool], method: str
) -> None:
    before = state(model)
    result = prune(model, method, calibration=ids)
    assert result.model is not model
    assert same(before, state(model))


@pytest.mark.parametrize("method", METHODS)
def test_in_place_gives_what_a_copy_gives(
    model: Any, ids: Any, state: Callable[..., Any], same: Callable[..., bool], method: str
) -> None:
    expected = state(prune(model, method, calibration=ids).model)
    result = prune(model, method, calibration=ids, inplace=True)
    assert result.model is model
    assert same(expected, state(model))


@pytest.mark.parametrize("method", METHODS)
def test_a_sparsity_of_zero_removes_nothing(
    model: Any, ids: Any, logits: Callable[..., Any], method: str
) -> None:
    result = prune(model, method, 0, calibration=ids)
    assert result.sparsity == 0
    assert torch.equal(logits(result.model, ids), logits(model, ids))


@pytest.mark.parametrize("method", METHODS)
def test_bf16_models_are_pruned_as_such(model: Any, ids: Any, method: str) -> None:
    result = prune(model.bfloat16(), method, calibration=ids)
    assert {parameter.dtype for parameter in result.model.parameters()} == {torch.bfloat16}
    assert result.sparsity == pytest.approx(0.5, abs=0.001)  # a rounded repair may hit zero
    assert {report.bits for report in result.matrices} == {16}


def test_statistics_of_a_bf16_model_are_gathered_in_float32(
    model: Any, ids: Any, inputs_of: Callable[..., dict[str, Any]]
) -> None:
    model = model.bfloat16()
    pruned = prune(model, "wanda", 0.5, calibration=ids).model
    inputs = inputs_of(pruned, ids)
    for dense, thin in zip(matrices(model), matrices(pruned), strict=True):
        tokens = wide(inputs[dense.name].flatten(0, 1))
        keep = kept_by_wanda(wide(dense.weight), tokens, 0.5)
        assert np.array_equal(keep, wide(thin.weight) != 0)


def test_generate_is_the_same_with_and_without_the_cache(
    model: Any, ids: Any, continue_text: Callable[..., Any]
) -> None:
    pruned = prune(model, calibration=ids).model
    with_cache = continue_text(pruned, ids[:2], cache=True)
    assert torch.equal(with_cache, continue_text(pruned, ids[:2], cache=False))


def test_the_result_says_what_was_done(model: Any, ids: Any) -> None:
    result = prune(model, "wanda", pattern="2:4", calibration=ids)
    assert result.method == "wanda"
    assert result.settings == {
        "sparsity": 0.5,
        "pattern": "2:4",
        "calibration": {"windows": 6, "length": 32},
    }
    assert str(result).startswith("wanda: 50% zeros, 32.00 bits a weight")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sparsity": 1.0}, "from 0 to below 1: got 1.0"),
        ({"sparsity": -0.1}, "from 0 to below 1"),
        ({"sparsity": float("nan")}, "from 0 to below 1"),
        ({"method": "wonder"}, "no pruning method 'wonder': use magnitude, wanda, sparsegpt"),
        ({"method": lambda weight, length: length}, r"a tensor of shape \(\d+, 48\): got shape"),
        ({"method": lambda weight, length: None}, "a number for each weight of .*: got None"),
        ({"pattern": "5:7"}, "7 does not divide the 48 input features of"),
        ({"pattern": "4:2"}, "how many of how many neighbors stay"),
        ({"pattern": "0:4"}, "how many of how many neighbors stay"),
        ({"pattern": "half"}, "how many of how many neighbors stay"),
        ({"pattern": "2:4", "sparsity": 0.7}, "sets a sparsity of 0.5 and 0.7 was asked for"),
        ({"calibration": None}, "no tokenizer"),
        ({"calibration": torch.zeros(0, 8, dtype=torch.long)}, "0 windows"),
        ({"calibration": torch.full((2, 8), 1000)}, "this model knows 0 to 96"),
    ],
)
@pytest.mark.parametrize("inplace", [False, True])
def test_bad_input_is_refused_and_the_model_unchanged(
    model: Any,
    ids: Any,
    state: Callable[..., Any],
    same: Callable[..., bool],
    values: dict[str, Any],
    message: str,
    inplace: bool,
) -> None:
    before = state(model)
    with pytest.raises(ValueError, match=message):
        prune(model, **{"calibration": ids, "inplace": inplace, **values})
    assert same(before, state(model))


def test_a_model_without_linear_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="no decoder blocks"):
        prune(torch.nn.Sequential(torch.nn.ReLU()), "magnitude")


def test_a_failure_on_the_way_leaves_no_hook_and_the_given_model_as_it_was(
    model: Any, ids: Any, state: Callable[..., Any], same: Callable[..., bool]
) -> None:
    loud = next(m for m in matrices(model) if ".1.mlp.up_proj" in m.name or ".1.mlp.c_fc" in m.name)
    loud.weight.fill_(3e38)
    before = state(model)
    with pytest.raises(ValueError, match="not finite"):
        prune(model, "sparsegpt", calibration=ids)
    assert all(torch.equal(mine, before[name]) for name, mine in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.slow
def test_the_courses_model_is_the_masked_dense_one(logits: Callable[..., Any]) -> None:
    loaded = load_model(device="cpu", dtype="float32")
    calibration = calibration_windows(
        loaded.tokenizer, load_text("calibration"), windows=2, length=64
    )
    result = prune(loaded, "wanda", 0.5, calibration=calibration)
    assert result.sparsity == 0.5
    assert result.loaded is not None
    assert result.loaded.model is result.model
    assert "wanda (sparsity=0.5)" in result.loaded.provenance
    for dense, pruned in zip(matrices(loaded), matrices(result.model), strict=True):
        dense.weight.mul_(pruned.weight != 0)
    ids = calibration.ids[:1, :64]
    assert torch.equal(logits(result.model, ids), logits(loaded.model, ids))
    assert result.model.lm_head.weight is result.model.get_input_embeddings().weight
