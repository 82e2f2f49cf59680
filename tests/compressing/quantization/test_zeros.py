"""Quantizing what was pruned: zeros stay zeros, and a 2:4 pattern stays one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenkit.compressing import (
    Scheme,
    load_compressed,
    matrices,
    prune,
    quantize,
    quantize_tensor,
    to_low_bit,
)
from greenkit.compressing.moments import second_moments
from greenkit.compressing.quantization.gptq import gptq

torch = pytest.importorskip("torch")

GROUPS = {"bits": 4, "granularity": "group", "group_size": 32}


@pytest.fixture
def wide(make: Callable[..., Any]) -> Any:
    """A Llama whose matrices come in groups of 32."""
    return make("llama", hidden_size=64, intermediate_size=96, num_attention_heads=4)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("method", ["rtn", "gptq", "awq"])
@pytest.mark.parametrize("grid", [{"bits": 8}, GROUPS], ids=["int8", "int4"])
def test_a_2_4_pattern_stays(
    wide: Any, ids: Any, method: str, symmetric: bool, grid: dict[str, Any]
) -> None:
    pruned = prune(wide, "wanda", pattern="2:4", calibration=ids)
    found = quantize(pruned, method=method, symmetric=symmetric, calibration=ids, **grid)
    for before, after in zip(matrices(pruned), matrices(found), strict=True):
        assert not after.weight[before.weight == 0].any()
        assert int((after.weight.reshape(-1, 4) != 0).sum(1).max()) <= 2
    zeros = found.settings["zeros"]
    assert zeros["before"] == pytest.approx(0.5)
    assert zeros["after"] >= 0.5
    assert "before" not in str(found)


@pytest.mark.parametrize("symmetric", [True, False])
def test_gptq_makes_up_for_the_errors_around_zeros(symmetric: bool) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(512, 64) @ torch.randn(64, 64)
    weight = torch.randn(32, 64)
    weight[torch.rand(32, 64) < 0.5] = 0
    scheme = Scheme(3, symmetric=symmetric, zero_point="integer")
    errors = [
        (inputs @ (found.dequantize() - weight).T).square().mean()
        for found in (
            gptq(weight, second_moments(inputs), scheme),
            quantize_tensor(weight, scheme),
        )
    ]
    assert errors[0] < 0.9 * errors[1]


def test_a_dense_model_keeps_its_grids(wide: Any) -> None:
    found = quantize(wide, symmetric=False)
    assert "zeros" not in found.settings
    assert all(own.scheme.zero_point == "float" for own in found.packed.values())


def test_a_few_zeros_are_chance(wide: Any) -> None:
    few = quantize(prune(wide, "magnitude", 0.04), symmetric=False)
    some = quantize(prune(wide, "magnitude", 0.06), symmetric=False)
    assert "zeros" not in few.settings
    assert some.settings["zero_point"] == "integer"


def test_pruned_and_quantized_is_saved_and_loaded(wide: Any, ids: Any, tmp_path: Path) -> None:
    pruned = prune(wide, calibration=ids)
    found = quantize(pruned, method="gptq", symmetric=False, calibration=ids, **GROUPS)
    again = load_compressed(found.save(tmp_path), device="cpu")
    assert again == found
    pairs = zip(matrices(found), matrices(again), strict=True)
    assert all(torch.equal(one.weight, other.weight) for one, other in pairs)


def test_pruned_int4_with_zero_points_is_executed(
    wide: Any, ids: Any, logits: Callable[..., Any]
) -> None:
    found = quantize(prune(wide, calibration=ids), symmetric=False, **GROUPS)
    fast = to_low_bit(found, kind="int4-weight")
    expected, got = logits(found.model, ids), logits(fast.model, ids)
    assert (got - expected).norm() < 0.03 * expected.norm()
