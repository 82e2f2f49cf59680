"""Packed bits come back as they were, and take the bytes that were counted."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from greenkit.compressing.quantization.packing import from_file, pack, to_file, unpack
from greenkit.compressing.quantization.quantizers import Scheme, packed_bytes, quantize_tensor


@given(bits=st.integers(2, 8), values=st.lists(st.integers(0, 255), max_size=40))
def test_integers_of_any_width_come_back(bits: int, values: list[int]) -> None:
    integers = torch.tensor([value % 2**bits for value in values], dtype=torch.uint8)
    packed = pack(integers, bits)
    assert packed.shape == (packed_bytes(len(values), bits),)
    assert torch.equal(unpack(packed, bits, len(values)), integers)


@given(bits=st.integers(2, 8), values=st.lists(st.integers(0, 255), min_size=1, max_size=40))
def test_the_bytes_are_those_of_one_large_integer(bits: int, values: list[int]) -> None:
    values = [value % 2**bits for value in values]
    whole = sum(value << (bits * place) for place, value in enumerate(values))
    expected = whole.to_bytes(packed_bytes(len(values), bits), "little")
    assert bytes(pack(torch.tensor(values), bits).tolist()) == expected


@pytest.mark.parametrize("value", [-1, 16])
def test_an_integer_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="do not fit into 4 bits"):
        pack(torch.tensor([3, value]), 4)


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="take 3 bytes"):
        unpack(torch.zeros(4, dtype=torch.uint8), 4, 5)


@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(8),
        Scheme(8, "tensor", symmetric=False),
        Scheme(4, "group", 32),
        Scheme(3, "group", 16, symmetric=False),
        Scheme(5, "group", 16, symmetric=False, zero_point="integer"),
    ],
    ids=str,
)
def test_a_quantized_tensor_goes_through_a_file(scheme: Scheme) -> None:
    weight = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    quantized = quantize_tensor(weight, scheme)
    tensors, facts = to_file(quantized)
    read = from_file(tensors, json.loads(json.dumps(facts)))
    assert torch.equal(read.integers, quantized.integers)
    assert read.integers.dtype == quantized.integers.dtype
    assert torch.equal(read.dequantize(), quantized.dequantize())
    assert sum(t.numel() * t.element_size() for t in tensors.values()) == quantized.bytes
