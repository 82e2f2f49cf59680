"""Low-bit execution computes what its integers stand for, and refuses what it cannot compute."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

from greenkit.compressing import (
    low_bit_kinds,
    low_bit_matrix,
    matrices,
    quantize,
    to_low_bit,
)
from greenkit.compressing.quantization.activations import fake_quantize
from greenkit.compressing.quantization.kernels import KINDS
from greenkit.compressing.quantization.low_bit_layers import (
    FEW_ROWS,
    Int4Weight,
    Int8Dynamic,
    Int8PerTensor,
    Int8Weight,
    LowBitLinear,
)
from greenkit.compressing.quantization.quantizers import QuantizedTensor, Scheme, quantize_tensor

LLAMA = LlamaConfig(
    num_hidden_layers=2,
    hidden_size=64,
    intermediate_size=128,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=100,
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=2,
)
GPT2 = GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=100, bos_token_id=1, eos_token_id=2)
BOTH = pytest.mark.parametrize("config", [LLAMA, GPT2], ids=lambda config: config.model_type)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
OWN = [kind for kind in low_bit_kinds() if not kind.startswith("torchao")]
IDS = torch.randint(0, 100, (2, 24), generator=torch.Generator().manual_seed(1))
INT8 = Scheme(8)
INT4 = Scheme(4, "group", 32, symmetric=False)
ROWS = pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1, 50])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(IDS).logits.float()


def distance(one: Tensor, other: Tensor) -> float:
    """Relative, in the mean square."""
    return ((one - other).double().norm() / other.double().norm()).item()


def exact(quantized: QuantizedTensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    weight = quantized.dequantize().double()
    outputs = inputs.double() @ weight.T
    return outputs if bias is None else outputs + bias.double()


@ROWS
@pytest.mark.parametrize("bias", [None, normal(48, seed=3)], ids=["bare", "bias"])
def test_int8_with_int8_inputs_is_exact_up_to_the_rounded_inputs(
    rows: int, bias: Tensor | None
) -> None:
    quantized, inputs = quantize_tensor(normal(48, 64), INT8), normal(rows, 64, seed=1)
    expected = exact(quantized, bias, fake_quantize(inputs, per="token"))
    assert distance(Int8Dynamic(quantized, bias)(inputs), expected) < 1e-6


@ROWS
def test_int8_weights_compute_in_bf16(rows: int) -> None:
    quantized, inputs = quantize_tensor(normal(48, 64), INT8), normal(rows, 64, seed=1)
    found = Int8Weight(quantized, normal(48, seed=3))(inputs)
    assert found.dtype == torch.float32
    assert distance(found, exact(quantized, normal(48, seed=3), inputs)) < 5e-3


@ROWS
@pytest.mark.parametrize(
    "scheme", [INT4, Scheme(4, "group", 32), Scheme(4, "group", 64, symmetric=False)], ids=str
)
def test_int4_weights_compute_in_bf16(rows: int, scheme: Scheme) -> None:
    quantized, inputs = quantize_tensor(normal(48, 64), scheme), normal(rows, 64, seed=1)
    found = Int4Weight(quantized, None)(inputs)
    assert distance(found, exact(quantized, None, inputs)) < 6e-3


def test_one_scale_for_the_call_is_what_torch_quantizes_dynamically() -> None:
    bare = nn.Linear(64, 48)
    wrapped = nn.Sequential(bare)
    quantization = pytest.importorskip("torch.ao.quantization")
    theirs = quantization.quantize_dynamic(
        wrapped, {nn.Linear: quantization.per_channel_dynamic_qconfig}
    )
    weight, bias = bare.weight.detach(), bare.bias.detach()
    quantized = quantize_tensor(weight, INT8)
    ours, inputs = Int8PerTensor(quantized, bias), normal(5, 64)
    assert distance(ours(inputs), theirs(inputs).detach()) < 0.01  # it takes -128 to 127
    inputs[0, 0] = 3000.0
    assert distance(ours(inputs)[1:], exact(quantized, bias, inputs)[1:]) > 0.5


@pytest.mark.parametrize("layer", [Int8Dynamic, Int8Weight, Int4Weight, Int8PerTensor])
def test_inputs_of_any_shape_and_dtype_pass(layer: Any) -> None:
    scheme = INT4 if layer is Int4Weight else INT8
    module = layer(quantize_tensor(normal(48, 64), scheme), normal(48))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        inputs = normal(2, 3, 64).to(dtype)
        with torch.inference_mode():
            found = module(inputs.transpose(0, 1))
        assert (found.shape, found.dtype) == ((3, 2, 48), dtype)
        assert distance(found[1, 0].float(), module(inputs[0, 1]).float()) < 0.02


@BOTH
@DTYPES
@pytest.mark.parametrize("kind", OWN)
def test_every_matrix_of_the_blocks_is_replaced_and_no_other(
    config: PretrainedConfig, dtype: torch.dtype, kind: str
) -> None:
    model = build(config, dtype)
    names = tuple(matrix.name for matrix in matrices(model))
    result = to_low_bit(model, kind=kind)
    found = {n for n, m in result.model.named_modules() if isinstance(m, LowBitLinear)}
    assert result.replaced == names
    assert found == set(names)
    assert result.model.lm_head.weight is result.model.get_input_embeddings().weight
    assert len(matrices(model)) == len(names)  # the model given is as it was
    assert 0 < distance(logits(result.model), logits(model)) < 0.15


@BOTH
def test_bytes_are_those_of_the_integers_and_scales(config: PretrainedConfig) -> None:
    model = build(config)
    shapes = [matrix.weight.shape for matrix in matrices(model)]
    dense = sum(4 * rows * width for rows, width in shapes)
    before = to_low_bit(model, kind="int8-dynamic").before.bytes
    for kind, packed in {
        "int8-dynamic": sum(rows * (width + 4) for rows, width in shapes),
        "int8-weight": sum(rows * (width + 2) for rows, width in shapes),
        "int4-weight": sum(rows * (width // 2 + width // 64 * 4) for rows, width in shapes),
        "torch-dynamic": sum(rows * (width + 12) for rows, width in shapes),
    }.items():
        if kind in OWN:
            assert to_low_bit(model, kind=kind).bytes == before - dense + packed


@BOTH
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_quantized_model_is_executed_with_its_own_integers(
    config: PretrainedConfig, method: Any
) -> None:
    last = "down_proj" if config is LLAMA else "c_fc"
    result = quantize(
        build(config),
        method=method,
        bits=4,
        granularity="group",
        group_size=32,
        symmetric=False,
        keep=(last,),
        calibration=IDS.repeat(6, 1),
    )
    executed = to_low_bit(result, kind="int4-weight")
    assert set(executed.replaced) == set(result.packed)
    plain = to_low_bit(build(config), kind="int4-weight", group_size=32, keep=(last,))
    expected = logits(result.model)
    rounding_of_bf16 = distance(logits(executed.model), expected)
    assert rounding_of_bf16 < 0.5 * distance(logits(plain.model), expected)


def test_a_quantized_model_runs_only_where_its_grid_does() -> None:
    result = quantize(build(LLAMA), bits=8)
    with pytest.raises(ValueError, match=r"q_proj: The int4 kernel takes int4 .* not int8"):
        to_low_bit(result, kind="int4-weight")
    with pytest.raises(ValueError, match="its own groups"):
        to_low_bit(result, kind="int8-weight", keep=("down_proj",))


def test_it_generates() -> None:
    model = to_low_bit(build(LLAMA), kind="int8-dynamic").model
    with torch.inference_mode():
        written = model.generate(IDS[:1], max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert written.shape == (1, 28)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "int2"}, "no kind 'int2': here are int8-dynamic"),
        ({"kind": "int8-dynamic", "group_size": 64}, "means nothing to int8-dynamic"),
        ({"kind": "int4-weight", "group_size": 48}, "q_proj: group_size=48 does not divide"),
        ({"kind": "int4-weight", "group_size": 16}, "groups of 32, 64, 128, 256"),
        ({"kind": "int8-weight", "keep": ("nothing",)}, "keep names 'nothing'"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(wrong: dict[str, Any], message: str) -> None:
    model = build(LLAMA)
    with pytest.raises(ValueError, match=message):
        to_low_bit(model, **wrong, inplace=True)
    assert not any(isinstance(module, LowBitLinear) for module in model.modules())


def test_widths_on_which_the_kernel_crashes_are_refused() -> None:
    config = LlamaConfig(**{**LLAMA.to_dict(), "intermediate_size": 63})
    with pytest.raises(ValueError, match=r"down_proj: int8 kernels .* steps of 32: 63"):
        to_low_bit(build(config), kind="int8-weight")
    with pytest.raises(ValueError, match=r"gate_proj: .* output width in steps of 16: 63"):
        to_low_bit(build(config), kind="int4-weight", group_size=32)


def test_a_model_that_was_replaced_already_is_refused() -> None:
    model = to_low_bit(build(LLAMA), kind="int8-dynamic").model
    with pytest.raises(ValueError, match="no linear layer"):
        to_low_bit(model, kind="int8-weight")


def test_torchao_is_asked_for_by_name_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not any(kind.startswith("torchao") for kind in low_bit_kinds())
    with pytest.raises(ValueError, match="pip install torchao"):
        to_low_bit(build(LLAMA), kind="torchao-int8-weight")


def test_kinds_for_a_gpu_are_those_of_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert set(low_bit_kinds("cuda")) == {kind for kind in KINDS if kind.startswith("torchao")}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("torchao")])
def test_torchao_replaces_every_weight_of_a_llama(kind: str) -> None:
    pytest.importorskip("torchao")
    model = build(LLAMA, torch.bfloat16)
    result = to_low_bit(model, kind=kind)
    assert result.bytes < 0.65 * result.before.bytes
    assert distance(logits(result.model), logits(model)) < 0.15
    assert not any(hasattr(m.weight, "__tensor_flatten__") for m in matrices(model))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("torchao")])
def test_torchao_on_gpt2_is_refused_instead_of_changing_the_head_alone(kind: str) -> None:
    pytest.importorskip("torchao")
    model = build(GPT2, torch.bfloat16)
    before = model.lm_head.weight
    with pytest.raises(ValueError, match="c_attn is a Conv1D"):
        to_low_bit(model, kind=kind, inplace=True)
    assert model.lm_head.weight is before


@pytest.mark.parametrize("kind", ["int8-weight", "int4-weight"])
def test_one_matrix_is_executed_with_the_kind_s_own_grid(kind: str) -> None:
    weight, inputs = normal(64, 128), normal(3, 128, seed=1)
    grid = Scheme(4, "group", 64, symmetric=False) if "int4" in kind else INT8
    found = low_bit_matrix(weight, kind=kind)(inputs)
    assert distance(found, exact(quantize_tensor(weight, grid), None, inputs)) < 0.01


@pytest.mark.skipif(not importlib.util.find_spec("torchao"), reason="needs torchao")
def test_one_matrix_is_executed_by_torchao_too() -> None:
    weight, inputs = normal(64, 128).bfloat16(), normal(3, 128, seed=1).bfloat16()
    found = low_bit_matrix(weight, kind="torchao-int8-weight")(inputs).float()
    assert 0 < distance(found, inputs.float() @ weight.float().T) < 0.02


def test_a_matrix_that_does_not_fit_the_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="divide"):
        low_bit_matrix(normal(64, 96), kind="int4-weight")
    with pytest.raises(ValueError, match="no kind 'int2'"):
        low_bit_matrix(normal(64, 128), kind="int2")
