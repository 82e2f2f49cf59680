"""Quantizers against torch's and torchao's own, against GGUF's, and against their error bounds."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from greenkit.compressing.quantization.quantizers import (
    QuantizedTensor,
    Scheme,
    choose_grid,
    quantize_tensor,
)


def normal(*shape: int, seed: int = 0, scale: float = 0.05) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def steps(quantized: QuantizedTensor, shape: torch.Size) -> Tensor:
    """The step of the grid that each weight lies on, (out, in)."""
    rows, width = shape
    scale = quantized.scale.double().expand(rows, -1)
    return scale.repeat_interleave(width // scale.shape[1], 1)


SCHEMES = [
    Scheme(bits, granularity, 16 if granularity == "group" else None, symmetric)
    for bits in (2, 3, 4, 8)
    for granularity in ("tensor", "channel", "group")
    for symmetric in (True, False)
]


@given(
    scheme=st.sampled_from(SCHEMES),
    seed=st.integers(0, 10_000),
    size=st.sampled_from([1e-9, 1e-6, 0.05, 1.0, 100.0]),
    offset=st.sampled_from([0.0, 1.0, -300.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
@settings(max_examples=300, deadline=None)
def test_no_weight_moves_by_more_than_half_a_step(
    scheme: Scheme, seed: int, size: float, offset: float, dtype: torch.dtype
) -> None:
    weight = (normal(6, 32, seed=seed, scale=size) + offset * size).to(dtype)
    quantized = quantize_tensor(weight, scheme)
    error = (weight.double() - quantized.dequantize().double()).abs()
    rounding = (
        weight.double().abs().max() * 2**-22
    )  # of float32: weights are counted from the lowest
    assert (error <= steps(quantized, weight.shape) / 2 + rounding).all()


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_integers_stay_on_the_grid_and_reach_its_end(scheme: Scheme) -> None:
    integers = quantize_tensor(normal(8, 64), scheme).integers
    assert integers.min() >= scheme.lowest
    assert integers.max() == scheme.highest


def test_int8_per_channel_is_what_torch_quantizes() -> None:
    weight = normal(24, 64)
    ours = quantize_tensor(weight, Scheme(8))
    scale = (weight.double().abs().amax(1) / 127).float().double()
    theirs = torch.quantize_per_channel(weight, scale, torch.zeros(24), 0, torch.qint8)
    assert torch.equal(ours.integers, theirs.int_repr())
    assert torch.equal(ours.dequantize(), theirs.dequantize())


def test_int8_per_tensor_is_what_torch_quantizes() -> None:
    weight = normal(24, 64)
    ours = quantize_tensor(weight, Scheme(8, "tensor"))
    theirs = torch.quantize_per_tensor(weight, weight.abs().max().item() / 127, 0, torch.qint8)
    assert torch.equal(ours.integers, theirs.int_repr())


def test_an_integer_zero_point_is_what_torch_quantizes() -> None:
    weight = normal(24, 64) + 0.02
    ours = quantize_tensor(weight, Scheme(8, symmetric=False, zero_point="integer"))
    assert ours.zero is not None
    low, high = weight.amin(1).double(), weight.amax(1).double()
    scale = ((high - low) / 255).float().double()
    zero = torch.round(-low / scale).long()
    theirs = torch.quantize_per_channel(weight, scale, zero, 0, torch.quint8)
    assert torch.equal(ours.integers, theirs.int_repr())
    assert torch.equal(ours.zero.flatten().long(), zero)
    assert torch.allclose(ours.dequantize(), theirs.dequantize(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_width_is_what_torch_fake_quantizes(bits: int) -> None:
    weight, scheme = normal(24, 64), Scheme(bits)
    scale = weight.abs().amax(1) / scheme.highest
    zero = torch.zeros(24, dtype=torch.int32)
    theirs = torch.fake_quantize_per_channel_affine(
        weight, scale, zero, 0, scheme.lowest, scheme.highest
    )
    assert torch.allclose(quantize_tensor(weight, scheme).dequantize(), theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_groups_are_what_torchao_quantizes(bits: int, symmetric: bool) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    scheme = Scheme(bits, "group", 32, symmetric, zero_point="integer")
    weight, block = normal(24, 64), (1, 32)
    mapping = torchao.MappingType.SYMMETRIC if symmetric else torchao.MappingType.ASYMMETRIC
    dtype = torch.int8 if symmetric else torch.uint8
    ends = (scheme.lowest, scheme.highest)
    scale, zero = torchao.choose_qparams_affine(
        weight, mapping, block, dtype, *ends, scale_dtype=torch.float32
    )
    ours = quantize_tensor(weight, scheme)
    assert torch.equal(ours.scale, scale.half())
    if not symmetric:
        assert ours.zero is not None
        assert (ours.zero.int() - zero.int()).abs().max() <= 1  # its scale is not rounded first
        zero = ours.zero
    theirs = torchao.quantize_affine(weight, block, ours.scale.float(), zero, dtype, *ends)
    assert (ours.integers != theirs).sum() <= 2  # ties: torchao multiplies by the reciprocal
    back = torchao.dequantize_affine(
        ours.integers, block, ours.scale.float(), zero, dtype, *ends, output_dtype=torch.float32
    )
    assert torch.allclose(ours.dequantize(), back, rtol=1e-6, atol=0)


def test_a_float_zero_is_the_minimum_of_each_group() -> None:
    weight = normal(4, 32)
    scale, zero = choose_grid(weight, Scheme(4, "group", 16, symmetric=False))
    assert zero is not None
    groups = weight.view(4, 2, 16)
    assert torch.equal(zero, groups.amin(-1).half())
    assert torch.allclose(scale.float(), (groups.amax(-1) - groups.amin(-1)) / 15, rtol=1e-3)


def gguf_weight(rows: int, width: int) -> Tensor:
    """Random weights as GGUF's own Q4_1 quantizer leaves them: asymmetric int4, groups of 32."""
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType.Q4_1
    packed = gguf.quants.quantize(normal(rows, width).numpy(), kind)
    return torch.from_numpy(gguf.quants.dequantize(packed, kind))


def test_int4_in_groups_of_32_reproduces_weights_that_were_q4_1() -> None:
    weight = gguf_weight(64, 256)
    again = quantize_tensor(weight, Scheme(4, "group", 32, symmetric=False))
    assert torch.equal(again.dequantize(), weight)


@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(4, "group", 64, symmetric=False),
        Scheme(4, "group", 32),
        Scheme(4, "group", 32, symmetric=False, zero_point="integer"),
        Scheme(3, "group", 32, symmetric=False),
    ],
    ids=str,
)
def test_any_other_int4_grid_is_a_second_quantization(scheme: Scheme) -> None:
    weight = gguf_weight(64, 256)
    quantized = quantize_tensor(weight, scheme)
    error = (weight - quantized.dequantize()).abs() / steps(quantized, weight.shape)
    assert error.max() > 0.4


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_zeros_stay_zeros(scheme: Scheme) -> None:
    assert not quantize_tensor(torch.zeros(4, 32), scheme).dequantize().any()


def test_a_constant_group_is_kept_as_its_minimum() -> None:
    weight = torch.full((2, 32), 0.125)
    quantized = quantize_tensor(weight, Scheme(4, "group", 32, symmetric=False))
    assert torch.equal(quantized.dequantize(), weight)


def test_a_transposed_view_is_quantized_like_its_copy() -> None:
    view = normal(64, 24).T
    scheme = Scheme(4, "group", 16, symmetric=False)
    ours, copied = quantize_tensor(view, scheme), quantize_tensor(view.contiguous(), scheme)
    assert torch.equal(ours.integers, copied.integers)


def test_smaller_groups_leave_smaller_errors() -> None:
    weight = normal(64, 256)
    errors = [
        (weight - quantize_tensor(weight, Scheme(4, "group", size)).dequantize()).pow(2).sum()
        for size in (256, 128, 64, 32, 16)
    ]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("scheme", "bits"),
    [
        (Scheme(8), 8 + 32 / 128),
        (Scheme(8, "tensor"), 8 + 32 / (128 * 16)),
        (Scheme(4, "group", 32), 4 + 16 / 32),
        (Scheme(4, "group", 32, symmetric=False), 4 + (16 + 16) / 32),
        (Scheme(4, "group", 64, symmetric=False), 4 + (16 + 16) / 64),
        (Scheme(4, "group", 32, symmetric=False, zero_point="integer"), 4 + (16 + 4) / 32),
        (Scheme(3, "group", 128), 3 + 16 / 128),
    ],
    ids=str,
)
def test_scales_and_zeros_are_counted(scheme: Scheme, bits: float) -> None:
    assert quantize_tensor(normal(16, 128), scheme).bits_per_weight == pytest.approx(bits)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bits": 1}, "from 2 to 8"),
        ({"bits": 9}, "from 2 to 8"),
        ({"bits": 4.5}, "from 2 to 8"),
        ({"granularity": "row"}, "tensor, channel, group"),
        ({"granularity": "group"}, "need a group_size"),
        ({"granularity": "group", "group_size": 0}, "need a group_size"),
        ({"group_size": 32}, "granularity='group'"),
        ({"zero_point": "half"}, "float, integer"),
    ],
)
def test_schemes_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Scheme(), **wrong)


def test_a_group_that_does_not_divide_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"128 does not divide an input width of 576; 96, 64, 32"):
        quantize_tensor(normal(4, 576), Scheme(4, "group", 128))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(value: float) -> None:
    weight = normal(4, 8)
    weight[1, 2] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize_tensor(weight, Scheme())


def test_a_weight_too_large_for_scales_in_float16_is_refused() -> None:
    weight = torch.full((2, 32), 7e4)
    assert quantize_tensor(weight, Scheme(4)).dequantize().isfinite().all()
    with pytest.raises(ValueError, match="float16"):
        quantize_tensor(weight, Scheme(4, "group", 32))


def test_only_a_matrix_is_quantized() -> None:
    with pytest.raises(ValueError, match=r"matrix \(out, in\)"):
        quantize_tensor(torch.ones(8), Scheme())
