"""`quantize` on small models of both architectures, and on the default model what it claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

from greenkit.compressing import calibration_windows, load_compressed, matrices, quantize
from greenkit.compressing.quantization.activations import fake_quantize
from greenkit.compressing.quantization.quantizers import Scheme, quantize_tensor
from greenkit.inputs import QualityTest, load_model, load_text

LLAMA = LlamaConfig(
    num_hidden_layers=3,
    hidden_size=64,
    intermediate_size=128,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=100,
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=2,
)
GPT2 = GPT2Config(n_layer=3, n_embd=64, n_head=4, vocab_size=100, bos_token_id=1, eos_token_id=2)
BOTH = pytest.mark.parametrize("config", [LLAMA, GPT2], ids=lambda config: config.model_type)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
METHODS = pytest.mark.parametrize("method", ["rtn", "gptq", "awq"])
IDS = torch.randint(0, 100, (8, 64), generator=torch.Generator().manual_seed(1))
INT4: dict[str, Any] = {"bits": 4, "granularity": "group", "group_size": 32, "symmetric": False}


def build(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(IDS).logits


def state(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model: Any, before: dict[str, Tensor]) -> set[str]:
    return {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}


@BOTH
@DTYPES
def test_rounding_puts_every_output_row_on_its_own_grid(
    config: PretrainedConfig, dtype: torch.dtype
) -> None:
    model = build(config, dtype)
    result = quantize(model, bits=8)
    pairs = zip(matrices(model), matrices(result.model), strict=True)
    for given, got in pairs:
        expected = quantize_tensor(given.weight, Scheme(8)).dequantize(dtype)
        assert torch.equal(got.weight, expected)


@BOTH
@METHODS
def test_only_what_is_quantized_or_folded_into_changes(
    config: PretrainedConfig, method: Any
) -> None:
    model = build(config)
    before = state(model)
    result = quantize(model, method=method, calibration=IDS, **INT4)
    assert changed(model, before) == set()
    weights = {f"{matrix.name}.weight" for matrix in matrices(model)}
    others = changed(result.model, before) - weights
    assert changed(result.model, before) >= weights
    assert all(method == "awq" and ("norm" in n or "ln_" in n or "bias" in n) for n in others)


@BOTH
def test_in_place_changes_the_model_given(config: PretrainedConfig) -> None:
    model = build(config)
    expected = state(quantize(model, **INT4).model)
    result = quantize(model, **INT4, inplace=True)
    assert result.model is model
    assert changed(model, expected) == set()


@BOTH
@METHODS
def test_tied_embeddings_stay_tied_and_as_they_were(config: PretrainedConfig, method: Any) -> None:
    model = build(config)
    network = quantize(model, method=method, calibration=IDS, **INT4).model
    assert network.lm_head.weight is network.get_input_embeddings().weight
    assert torch.equal(network.lm_head.weight, model.lm_head.weight)


@BOTH
@DTYPES
def test_compensation_keeps_the_outputs_closer(
    config: PretrainedConfig, dtype: torch.dtype
) -> None:
    model = build(config, dtype)
    dense = logits(model).float()
    errors = {
        method: (logits(quantize(model, method=method, calibration=IDS, **INT4).model) - dense)
        .float()
        .pow(2)
        .mean()
        for method in ("rtn", "gptq")
    }
    assert errors["gptq"] < 0.7 * errors["rtn"]


@BOTH
@DTYPES
def test_scaling_keeps_the_outputs_closer_where_channels_are_loud(
    config: PretrainedConfig, dtype: torch.dtype
) -> None:
    model = build(config, dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ("layernorm" in name or "ln_1" in name or "ln_2" in name) and "weight" in name:
                parameter[::16] *= 20
    dense = logits(model).float()
    errors = {
        method: (logits(quantize(model, method=method, calibration=IDS, **INT4).model) - dense)
        .float()
        .pow(2)
        .mean()
        for method in ("rtn", "awq")
    }
    assert errors["awq"] < 0.7 * errors["rtn"]


@BOTH
@METHODS
def test_kept_matrices_stay_in_full_precision(config: PretrainedConfig, method: Any) -> None:
    model = build(config)
    last = "mlp.down_proj" if config is LLAMA else "mlp.c_proj"
    result = quantize(model, method=method, calibration=IDS, keep=(last,), **INT4)
    kept = {report.name for report in result.matrices if report.bits == 32}
    assert kept == {m.name for m in matrices(model) if m.name.endswith(last)}
    assert kept.isdisjoint(result.packed)
    if method != "awq":
        for name in kept:
            weight = result.model.get_submodule(name).weight
            assert torch.equal(weight, model.get_submodule(name).weight)


def test_a_kept_name_is_matched_by_whole_parts() -> None:
    config = LlamaConfig(**{**LLAMA.to_dict(), "num_hidden_layers": 12, "layer_types": None})
    result = quantize(build(config), keep=("layers.1", "model.layers.3.mlp.up_proj"))
    kept = {report.name for report in result.matrices if report.bits == 32}
    assert {name.split(".")[2] for name in kept} == {"1", "3"}
    assert len(kept) == 8


@BOTH
@pytest.mark.parametrize("per", ["tensor", "token"])
def test_activations_are_rounded_where_they_enter(config: PretrainedConfig, per: Any) -> None:
    first = "layers.0" if config is LLAMA else "h.0"
    result = quantize(build(config), activations=per, keep=(first,))
    found = matrices(result.model)
    inputs = 3 * torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(2))
    exact, rounded = found[0].module, next(m for m in found if m.name in result.packed).module
    with torch.no_grad():
        bare = type(rounded).forward(rounded, fake_quantize(inputs, per=per))
        assert torch.equal(rounded(inputs), bare)
        assert torch.equal(exact(inputs), type(exact).forward(exact, inputs))


def test_one_loud_token_ruins_the_grid_of_the_whole_batch_only_per_tensor() -> None:
    values = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
    values[0, 0, 0] = 2000.0
    assert not fake_quantize(values, per="tensor")[0, 1:].any()
    error = (fake_quantize(values, per="token") - values)[0, 1:].abs()
    assert (error <= values[0, 1:].abs().amax(-1, keepdim=True) / 127 / 2 * 1.0001).all()


def test_activations_are_what_torch_fake_quantizes() -> None:
    values = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    scale = values.abs().amax(1) / 127
    zero = torch.zeros(4, dtype=torch.int32)
    rows = torch.fake_quantize_per_channel_affine(values, scale, zero, 0, -127, 127)
    assert torch.allclose(fake_quantize(values, per="token"), rows, rtol=1e-6)
    whole = torch.fake_quantize_per_tensor_affine(values, scale.max().item(), 0, -127, 127)
    assert torch.allclose(fake_quantize(values, per="tensor"), whole, rtol=1e-6)


@BOTH
@DTYPES
@METHODS
def test_it_loads_back_equal_and_the_file_has_the_bytes_counted(
    config: PretrainedConfig, dtype: torch.dtype, method: Any, tmp_path: Path
) -> None:
    last = "down_proj" if config is LLAMA else "c_fc"
    result = quantize(
        build(config, dtype),
        method=method,
        calibration=IDS,
        activations="token",
        keep=(last,),
        **INT4,
    )
    result.save(tmp_path)
    again = load_compressed(tmp_path, device="cpu")
    assert again == result
    assert torch.equal(logits(again.model), logits(result.model))
    assert changed(again.model, state(result.model)) == set()
    file = (tmp_path / "model.safetensors").read_bytes()
    header = 8 + int.from_bytes(file[:8], "little")
    assert len(file) - header == result.stored_bytes == again.stored_bytes


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_other_widths_load_back_equal(bits: int, tmp_path: Path) -> None:
    result = quantize(build(LLAMA), bits=bits)
    result.save(tmp_path)
    again = load_compressed(tmp_path, device="cpu")
    assert torch.equal(logits(again.model), logits(result.model))


def test_the_report_counts_scales() -> None:
    result = quantize(build(LLAMA), **INT4)
    assert result.bits == pytest.approx(4 + 32 / 32)
    assert result.bytes == result.before.bytes  # simulated: the model in memory is dense
    assert str(result).endswith(f"{result.stored_bytes / 1e6:.0f} MB in a file")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"method": "hqq"}, "use rtn, gptq, awq"),
    ({"bits": 1}, "from 2 to 8"),
    ({"bits": 16}, "from 2 to 8"),
    ({"granularity": "group", "group_size": 48}, r"q_proj: group_size=48 does not divide"),
    ({"granularity": "group"}, "need a group_size"),
    ({"granularity": "block"}, "tensor, channel, group"),
    ({"activations": "channel"}, "'tensor' or 'token'"),
    ({"keep": ("gate",)}, "keep names 'gate'"),
    ({"keep": "down_proj"}, r"write \('down_proj',\)"),
    ({"keep": ("layers",)}, "nothing is left"),
    ({"method": "gptq", "calibration": None}, "no tokenizer"),
    ({"method": "awq", "calibration": None}, "no tokenizer"),
    ({"method": "gptq", "calibration": IDS[:1, :8]}, "8 tokens; the second moments of 128"),
    ({"method": "gptq", "calibration": IDS + 100}, "this model knows 0 to 99"),
    ({"method": "awq", "calibration": "text"}, "long tensor of token ids"),
]


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
def test_bad_input_is_refused_and_changes_nothing(wrong: dict[str, Any], message: str) -> None:
    model = build(LLAMA)
    before = state(model)
    with pytest.raises(ValueError, match=message):
        quantize(model, **{"calibration": IDS, **wrong}, inplace=True)
    assert changed(model, before) == set()


def test_a_weight_that_is_not_finite_is_named() -> None:
    model = build(LLAMA)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj\.weight holds NaN"):
        quantize(model)


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="decoder blocks"):
        quantize(torch.nn.Linear(4, 4))


@pytest.fixture(scope="module")
def judged() -> tuple[Any, Any]:
    """The default model, and how it does on four windows of the test split."""
    loaded = load_model(device="cpu", dtype="float32")
    return loaded, QualityTest(loaded, load_text("test"), windows=4, window_tokens=256)


@pytest.mark.slow
def test_int8_per_channel_stays_within_a_percent_of_dense(judged: tuple[Any, Any]) -> None:
    loaded, judge = judged
    assert judge.of(quantize(loaded, bits=8)).ratio.high < 1.01


@pytest.mark.slow
def test_gptq_in_groups_of_64_beats_rounding(judged: tuple[Any, Any]) -> None:
    loaded, judge = judged
    settings = {**INT4, "group_size": 64}
    pages = calibration_windows(loaded.tokenizer, load_text("calibration"), windows=8, length=256)
    rounded = judge.of(quantize(loaded, **settings)).perplexity
    compensated = judge.of(quantize(loaded, method="gptq", calibration=pages, **settings))
    assert compensated.perplexity.ratio_to(rounded).high < 1
    assert compensated.ratio.high < 1.5
