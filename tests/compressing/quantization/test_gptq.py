"""GPTQ against optimal brain surgery in float64, and against the best of all roundings."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from greenkit.compressing.moments import factor_of, output_error, second_moments
from greenkit.compressing.quantization.gptq import compensation, gptq, round_together
from greenkit.compressing.quantization.quantizers import (
    Granularity,
    QuantizedTensor,
    Scheme,
    choose_grid,
    quantize_tensor,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(tokens: int, width: int, seed: int = 0) -> Tensor:
    """Inputs that share a few directions, with channels of very different size."""
    mixing = normal(3, width, seed=seed + 1)
    loudness = torch.logspace(-1, 1, width)[torch.randperm(width, generator=_generator(seed))]
    return (normal(tokens, 3, seed=seed + 2) @ mixing + normal(tokens, width, seed=seed)) * loudness


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def surgery(weight: Tensor, moments: Tensor, scheme: Scheme, damping: float) -> Tensor:
    """Round a column, repair all that are left by the exact inverse of their own H, in float64.

    Hassibi and Stork's update (1993), with a new matrix inverse at each step and no Cholesky.
    """
    scale, zero = choose_grid(weight, scheme)
    rows, width = weight.shape
    per_column = scale.double().repeat_interleave(width // scale.shape[1], 1).expand(rows, -1)
    lowest = 0.0 if zero is None else zero.double().repeat_interleave(width // zero.shape[1], 1)
    h = moments.double()
    h = h + damping * h.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    left = h.diagonal().argsort(descending=True, stable=True).tolist()
    w = weight.double().clone()
    while left:
        column = left[0]
        inverse = torch.linalg.inv(h[left][:, left])
        origin = lowest if zero is None else lowest[:, column]
        step = per_column[:, column]
        places = ((w[:, column] - origin) / step).round().clamp(scheme.lowest, scheme.highest)
        error = w[:, column] - (places * step + origin)
        w[:, left] -= torch.outer(error / inverse[0, 0], inverse[0])
        left = left[1:]
    return w


@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(8),
        Scheme(3),
        Scheme(4, "tensor"),
        Scheme(4, "group", 16),
        Scheme(4, "group", 32, symmetric=False),
        Scheme(2, "group", 16, symmetric=False),
    ],
    ids=str,
)
def test_the_columns_are_those_of_optimal_brain_surgery(scheme: Scheme) -> None:
    weight, moments = normal(12, 160), second_moments(correlated(400, 160))
    ours = gptq(weight, moments, scheme, damping=0.01).dequantize()
    expected = surgery(weight, moments, scheme, 0.01)
    assert torch.allclose(ours.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_matrices_walked_together_are_rounded_as_each_alone(
    granularity: Granularity, symmetric: bool
) -> None:
    scheme = Scheme(4, granularity, 16 if granularity == "group" else None, symmetric)
    weights, moments = (normal(12, 160), 3 * normal(5, 160)), second_moments(correlated(400, 160))
    together = round_together(weights, compensation(moments), scheme)
    for weight, ours in zip(weights, together, strict=True):
        alone = gptq(weight, moments, scheme)
        assert torch.equal(ours.integers, alone.integers)
        assert torch.equal(ours.dequantize(), alone.dequantize())


def test_it_lies_between_rounding_and_the_best_of_all_roundings() -> None:
    scheme = Scheme(3)
    total = {"best": 0.0, "gptq": 0.0, "nearest": 0.0}
    for seed in range(200):
        weight = normal(1, 4, seed=seed)
        moments = second_moments(correlated(64, 4, seed=1000 + seed))
        scale, _ = choose_grid(weight, scheme)
        grid = range(scheme.lowest, scheme.highest + 1)
        candidates = torch.tensor(list(itertools.product(grid, repeat=4))) * scale
        change = candidates - weight
        best = ((change @ moments) * change).sum(1).min().item()
        found = output_error(gptq(weight, moments, scheme).dequantize() - weight, moments)
        assert found >= best * (1 - 1e-4)
        total["best"] += best
        total["gptq"] += found
        nearest = quantize_tensor(weight, scheme).dequantize()
        total["nearest"] += output_error(nearest - weight, moments)
    lost = total["nearest"] - total["best"]
    assert 0 < total["gptq"] - total["best"] < 0.4 * lost


def test_inputs_without_correlation_leave_nothing_to_make_up_for() -> None:
    weight, scheme = normal(8, 200), Scheme(4)
    moments = torch.diag(torch.linspace(0.1, 3, 200))
    ours = gptq(weight, moments, scheme)
    assert torch.equal(ours.integers, quantize_tensor(weight, scheme).integers)


def test_the_result_is_stored_like_any_quantized_tensor() -> None:
    weight, scheme = normal(8, 64), Scheme(4, "group", 32, symmetric=False)
    ours = gptq(weight, second_moments(correlated(200, 64)), scheme)
    nearest = quantize_tensor(weight, scheme)
    assert isinstance(ours, QuantizedTensor)
    assert torch.equal(ours.scale, nearest.scale)
    assert (ours.bytes, ours.integers.dtype) == (nearest.bytes, torch.uint8)


def test_an_input_that_never_speaks_is_rounded_to_nearest() -> None:
    weight, scheme = normal(8, 64), Scheme(4)
    inputs = correlated(200, 64)
    inputs[:, 5] = 0
    ours = gptq(weight, second_moments(inputs), scheme)
    assert torch.equal(ours.integers[:, 5], quantize_tensor(weight, scheme).integers[:, 5])


def test_the_factor_is_that_of_the_damped_moments() -> None:
    moments = second_moments(correlated(300, 40)).double()
    damped = moments + 0.05 * moments.diagonal().mean() * torch.eye(40, dtype=torch.float64)
    factor = factor_of(moments, damping=0.05).double()
    assert torch.equal(factor, factor.triu())
    assert torch.allclose(factor @ factor.T, damped, rtol=1e-5, atol=1e-4)


def test_the_inverse_of_the_factor_is_the_published_one() -> None:
    moments = second_moments(correlated(300, 40))
    mean = moments.double().diagonal().mean()
    inverse = torch.linalg.inv(moments.double() + 0.01 * mean * torch.eye(40).double())
    published = torch.linalg.cholesky(inverse, upper=True)
    ours = torch.linalg.inv(factor_of(moments, damping=0.01).double())
    assert torch.allclose(ours, published, rtol=1e-3, atol=1e-5)


def test_the_loudest_column_comes_first() -> None:
    moments = torch.diag(torch.tensor([1.0, 5.0, 3.0]))
    assert compensation(moments).order.tolist() == [1, 2, 0]


def test_second_moments_of_bf16_inputs_are_summed_in_float32() -> None:
    inputs = correlated(4096, 16).bfloat16().view(8, 512, 16)
    rows = inputs.double().view(-1, 16)
    expected = rows.T @ rows / 4096
    assert torch.allclose(second_moments(inputs).double(), expected, rtol=1e-4, atol=1e-4)


def test_the_output_error_is_the_mean_square_of_what_changes() -> None:
    inputs, change = correlated(100, 16), normal(5, 16)
    expected = (inputs.double() @ change.double().T).pow(2).sum(1).mean().item()
    assert output_error(change, second_moments(inputs)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (torch.eye(7), r"shape \(8, 8\)"),
        (torch.zeros(8, 8), "all are zero"),
        (torch.full((8, 8), float("nan")), "not finite"),
        (2 * torch.ones(8, 8) - 2.5 * torch.eye(8).flip(0), "not positive definite"),
    ],
)
def test_moments_that_cannot_be_right_are_refused(moments: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gptq(normal(4, 8), moments, Scheme(4))
