"""Linear layers that hold small integers and compute with them by torch's own kernels on a CPU.

Each takes the weight as (out, in), so that it stands in for a `torch.nn.Linear` and for GPT-2's
`Conv1D` alike. Inputs of any floating dtype keep it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from greenkit.compressing.quantization.quantizers import QuantizedTensor, Scheme

FEW_ROWS = 16
INT4_GROUPS = (32, 64, 128, 256)
INT4_ROWS = 16
INT8_INPUTS = 32


class LowBitLinear(nn.Module):
    """What the layers share: how a batch of any shape reaches a product of two matrices."""

    bias: torch.Tensor | None

    def __init__(self, quantized: QuantizedTensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = quantized.integers.shape
        self.register_buffer("bias", None if bias is None else bias.clone())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., out)."""
        outputs = self.multiply(inputs.reshape(-1, self.in_features)).to(inputs.dtype)
        if self.bias is not None:
            outputs += self.bias
        return outputs.view(*inputs.shape[:-1], self.out_features)

    def multiply(self, rows: torch.Tensor) -> torch.Tensor:
        """The product of (rows, in) with the weight: (rows, out)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Int8Dynamic(LowBitLinear):
    """Int8 weights, one scale a row; inputs rounded to int8 as they come, one scale a token.

    The product is one of integers (`torch._int_mm`), which a CPU with VNNI or AMX computes several
    times as fast as one of floats.
    """

    integers: torch.Tensor
    scale: torch.Tensor

    def __init__(self, quantized: QuantizedTensor, bias: torch.Tensor | None) -> None:
        super().__init__(quantized, bias)
        self.register_buffer("integers", quantized.integers.contiguous())
        self.register_buffer("scale", quantized.scale.float().flatten())

    def multiply(self, rows: torch.Tensor) -> torch.Tensor:
        """Round the rows, multiply integers, and put both scales back."""
        wide = rows.float()
        steps = (wide.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
        rounded = (wide / steps).round_().to(torch.int8)
        product = torch._int_mm(rounded, self.integers.t())
        return product.float().mul_(steps).mul_(self.scale)


class Int8Weight(LowBitLinear):
    """Int8 weights, one scale a row; the product is one of bf16.

    For the few rows of decoding, torch's kernel reads the integers straight from memory. Many
    rows, as in prefill, pay for turning the whole weight into bf16 first and are faster so.
    """

    integers: torch.Tensor
    scale: torch.Tensor

    def __init__(self, quantized: QuantizedTensor, bias: torch.Tensor | None) -> None:
        super().__init__(quantized, bias)
        self.register_buffer("integers", quantized.integers.contiguous())
        self.register_buffer("scale", quantized.scale.flatten().to(torch.bfloat16))

    def multiply(self, rows: torch.Tensor) -> torch.Tensor:
        """Multiply in bf16: torch's kernel is vectorized for no other dtype."""
        rows = rows.to(torch.bfloat16)
        if len(rows) <= FEW_ROWS:
            return torch._weight_int8pack_mm(rows, self.integers, self.scale)
        return functional.linear(rows, self.integers.to(torch.bfloat16)).mul_(self.scale)


class Int4Weight(LowBitLinear):
    """Int4 weights in groups, with a scale and a zero in bf16 each; the product is one of bf16."""

    packed: torch.Tensor
    scale_and_zero: torch.Tensor

    def __init__(self, quantized: QuantizedTensor, bias: torch.Tensor | None) -> None:
        super().__init__(quantized, bias)
        scheme, scale = quantized.scheme, quantized.scale.float()
        places = quantized.integers.int()
        if scheme.symmetric:  # the kernel computes scale * (integer - 8) + zero
            places, zero = places + 8, torch.zeros_like(scale)
        else:
            assert quantized.zero is not None
            zero = quantized.zero.float()
            if scheme.zero_point == "integer":
                zero = -zero * scale
            zero = zero + 8 * scale
        self.group_size = scheme.width_of_group(self.in_features)
        both = torch.stack([scale.T, zero.T], 2).to(torch.bfloat16).contiguous()
        self.register_buffer("scale_and_zero", both)
        pack = torch.ops.aten._convert_weight_to_int4pack_for_cpu
        self.register_buffer("packed", pack(places.contiguous(), 1))

    def multiply(self, rows: torch.Tensor) -> torch.Tensor:
        """Multiply in bf16: torch's kernel is vectorized for no other dtype."""
        product: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows.to(torch.bfloat16).contiguous(), self.packed, self.group_size, self.scale_and_zero
        )
        return product


class Int8PerTensor(LowBitLinear):
    """Int8 weights, one scale a row; inputs rounded to 7 bits, one scale for the whole call.

    This is what torch's `quantize_dynamic` executes on x86: fast, and as coarse as the largest
    activation of any token makes it.
    """

    def __init__(self, quantized: QuantizedTensor, bias: torch.Tensor | None) -> None:
        super().__init__(quantized, bias)
        scale = quantized.scale.double().flatten()
        weight = torch._make_per_channel_quantized_tensor(
            quantized.integers.contiguous(), scale, torch.zeros(len(scale), dtype=torch.long), 0
        )
        self.kernel_weight = torch.ops.quantized.linear_prepack(weight, None)

    @property
    def hidden_bytes(self) -> int:
        """Bytes in the kernel's own object: integers, and scale, zero and row sum in 4 bytes."""
        return self.out_features * (self.in_features + 3 * 4)

    def multiply(self, rows: torch.Tensor) -> torch.Tensor:
        """Round the rows and multiply, all inside the kernel."""
        product: torch.Tensor = torch.ops.quantized.linear_dynamic(
            rows.float(), self.kernel_weight, reduce_range=True
        )
        return product


def check_int8(shape: torch.Size, scheme: Scheme) -> None:
    """Refuse what the int8 layers cannot hold; torch's kernel crashes on odd widths."""
    if (scheme.bits, scheme.granularity, scheme.symmetric) != (8, "channel", True):
        raise ValueError(f"int8 kernels take int8, symmetric, per channel, not {scheme}.")
    if shape[1] % INT8_INPUTS:
        raise ValueError(f"int8 kernels take an input width in steps of {INT8_INPUTS}: {shape[1]}.")


def check_int4(shape: torch.Size, scheme: Scheme) -> None:
    """Refuse what the int4 layer cannot hold."""
    if scheme.bits != 4 or scheme.group_size not in INT4_GROUPS:
        sizes = ", ".join(map(str, INT4_GROUPS))
        raise ValueError(f"The int4 kernel takes int4 in groups of {sizes}, not {scheme}.")
    scheme.width_of_group(shape[1])
    if shape[0] % INT4_ROWS:
        raise ValueError(
            f"The int4 kernel takes an output width in steps of {INT4_ROWS}: {shape[0]}."
        )
