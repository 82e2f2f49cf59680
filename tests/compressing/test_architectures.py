"""Every causal language model that transformers can build small, through every verb.

Each verb is right or refuses in one sentence, and what it refuses is unchanged.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenkit.compressing import (
    block_influence,
    load_compressed,
    prune,
    quantize,
    remove_blocks,
    remove_heads,
    remove_width,
    to_low_bit,
)
from greenkit.compressing.architectures import names, small
from greenkit.compressing.table import rows
from greenkit.compressing.verbs import abilities

torch = pytest.importorskip("torch")

WINDOWS, LENGTH = 16, 16
ARGUMENTS = ("more or longer windows.", "in steps of 32: 16.", "in steps of 32: 48.")  # of sizes
CALLS: dict[str, tuple[str, Callable[..., Any]]] = {  # the verbs asked for, and the call
    "magnitude": ("prune", lambda m, _, place: prune(m, "magnitude", inplace=place)),
    "wanda": (
        "prune calibrate",
        lambda m, x, place: prune(m, "wanda", calibration=x, inplace=place),
    ),
    "sparsegpt 2:4": (
        "prune calibrate",
        lambda m, x, place: prune(m, "sparsegpt", pattern="2:4", calibration=x, inplace=place),
    ),
    "rtn": ("quantize", lambda m, _, place: quantize(m, bits=4, inplace=place)),
    "gptq": (
        "quantize calibrate",
        lambda m, x, place: quantize(m, method="gptq", calibration=x, inplace=place),
    ),
    "awq": (
        "quantize awq",
        lambda m, x, place: quantize(m, method="awq", calibration=x, inplace=place),
    ),
    "influence": ("block_influence", lambda m, x, _: block_influence(m, x)),
    "blocks": ("remove_blocks", lambda m, _, place: remove_blocks(m, [0], inplace=place)),
    "heads": (
        "remove_heads block_influence",
        lambda m, x, place: remove_heads(m, 0.25, calibration=x, inplace=place),
    ),
    "width": (
        "remove_width",
        lambda m, _, place: remove_width(m, 0.25, by="weights", inplace=place),
    ),
    "low bit": ("to_low_bit", lambda m, _, place: to_low_bit(m, kind="int8-weight", inplace=place)),
}


@pytest.fixture
def x() -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, 128, (WINDOWS, LENGTH), generator=generator)


def logits(model: Any, x: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=x, use_cache=False).logits


def written(model: Any, x: Any, *, cache: bool) -> Any:
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    mask = torch.ones_like(x)
    return model.generate(input_ids=x, attention_mask=mask, use_cache=cache, **options)


def agrees_with_its_cache(model: Any, x: Any) -> bool:
    return torch.equal(written(model, x, cache=True), written(model, x, cache=False))


def everything(model: Any) -> tuple[dict[str, Any], dict[str, Any], str]:
    return (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        copy.deepcopy(model.config.to_dict()),
        repr(model),
    )


def unchanged(before: Any, now: Any) -> bool:
    same = all(torch.equal(now[0][key], before[0][key]) for key in before[0])
    return same and now[0].keys() == before[0].keys() and now[1:] == before[1:]


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"tie_word_embeddings": True}),
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ("gpt_bigcode", {"multi_query": False}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("falcon", {"multi_query": False}),
    ("falcon", {"alibi": True, "parallel_attn": False, "multi_query": False}),
    ("gpt_neox", {"use_parallel_residual": False}),
    ("stablelm", {"use_parallel_residual": True}),
    ("stablelm", {"qk_layernorm": True}),
    ("phi", {"qk_layernorm": True}),
    ("cohere", {"use_qk_norm": True}),
    ("opt", {"do_layer_norm_before": False}),
    ("opt", {"word_embed_proj_dim": 32}),
    ("doge", {"is_moe": True}),
    ("starcoder2", {"use_bias": False}),
]


def built(name: str, values: dict[str, Any]) -> Any:
    try:
        return small(name, **values)
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "values"),
    [*((name, {}) for name in names()), *VARIANTS],
    ids=lambda value: value if isinstance(value, str) else ",".join(value) or "as it is",
)
def test_each_verb_is_right_or_refuses_in_one_sentence(
    name: str, values: dict[str, Any], x: Any, tmp_path: Path, skipping: Callable[..., Any]
) -> None:
    model = built(name, values)
    before, said = everything(model), abilities(model)
    try:
        cached = agrees_with_its_cache(model, x[:1])
    except Exception:
        cached = False  # transformers' own code fails: nothing of ours to compare with
    for what, (verbs, call) in CALLS.items():
        why_not = next((said[verb] for verb in verbs.split() if said[verb]), None)
        try:
            result = call(model, x, False)
        except ValueError as error:
            text = str(error)
            assert text == why_not or text.endswith(ARGUMENTS), (what, text)
            assert "\n" not in text
            assert text.endswith(".")
            continue
        assert why_not is None, what
        if what == "influence":
            continue
        after = logits(result.model, x)
        assert after.isfinite().all(), what
        if what == "blocks":
            assert torch.allclose(after, logits(skipping(model, 0), x), atol=1e-5)
        if what in ("blocks", "heads") and cached:
            assert agrees_with_its_cache(result.model, x[:1]), what
        if what in ("rtn", "blocks", "heads", "width"):
            if said["save"] is not None:
                with pytest.raises(ValueError, match="cannot be saved"):
                    result.save(tmp_path / what)
                assert not (tmp_path / what).exists()
                continue
            again = load_compressed(result.save(tmp_path / what), device="cpu").model
            assert torch.equal(logits(again, x), after), what
    assert unchanged(before, everything(model))


@pytest.mark.parametrize(
    "name", ["mixtral", "mamba", "falcon", "olmo2", "bitnet", "diffllama", "gemma", "bart", "xlm"]
)
def test_what_is_refused_in_place_stays_as_it_was(name: str, x: Any) -> None:
    model = small(name)
    before, said = everything(model), abilities(model)
    refused = [call for verbs, call in CALLS.values() if any(map(said.get, verbs.split()))]
    assert refused
    for call in refused:
        with pytest.raises(ValueError, match=type(model).__name__):
            call(model, x, True)
    assert unchanged(before, everything(model))


@pytest.mark.parametrize(
    "name",
    [
        "phi",
        "phi3",
        "starcoder2",
        "opt",
        "gpt_neox",
        "falcon",
        "gptj",
        "gpt_neo",
        "lfm2",
        "bloom",
        "mpt",
        "stablelm",
        "smollm3",
    ],
)
def test_other_names_and_fused_matrices_are_no_obstacle(name: str) -> None:
    said = abilities(small(name))
    for verb in ("prune", "calibrate", "quantize", "remove_blocks", "remove_width", "save"):
        assert said[verb] is None


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "phimoe", "gpt_oss", "jetmoe", "olmoe"])
def test_experts_are_not_half_done(name: str) -> None:
    said = abilities(small(name))
    for verb in ("prune", "quantize", "awq", "remove_width", "to_low_bit", "to_2_4"):
        assert "mixtures of experts" in str(said[verb])
    assert said["remove_blocks"] is said["save"] is None


def test_a_norm_over_all_heads_is_named() -> None:
    assert "(self_attn.q_norm spans them all)" in str(abilities(small("olmo2"))["remove_heads"])
    assert "(mlp.ffn_sub_norm spans them all)" in str(abilities(small("bitnet"))["remove_width"])


@pytest.mark.parametrize("name", ["olmo2", "olmo3", "bitnet", "diffllama", "bloom", "mpt", "phi3"])
def test_heads_that_more_than_the_matrices_know_of_stay(name: str) -> None:
    model = small(name)
    with pytest.raises(ValueError, match="does not run with fewer key/value groups"):
        remove_heads(model, 0.25, by="weights", inplace=True)
    assert logits(model, torch.tensor([[5, 6]])).isfinite().all()


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma", "qwen3", "phi", "opt"])
def test_numbers_of_16_bits_change_no_ability(name: str, kind: str) -> None:
    expected = abilities(small(name))
    assert abilities(small(name).to(getattr(torch, kind))) == expected


def test_a_model_that_asks_for_more_than_tokens_is_refused_in_a_sentence() -> None:
    model = small("llama")
    model.forward = lambda **_: 1 / 0
    said = str(abilities(model)["calibrate"])
    assert "does not run on plain tokens (ZeroDivisionError: division by zero)." in said


def test_offloaded_weights_are_refused() -> None:
    model = small("llama")
    layer = model.model.layers[1].mlp.up_proj
    layer.weight = torch.nn.Parameter(layer.weight.to("meta"))
    with pytest.raises(ValueError, match=r"keeps model\.layers\.1\.mlp\.up_proj\.weight outside"):
        prune(model, "magnitude")


def test_the_table_has_a_row_for_each_verb_of_an_architecture() -> None:
    table = rows(["llama", "mixtral"])
    assert {verb for name, verb, _ in table if name == "llama"} == set(abilities(small("llama")))
    assert {answer for name, _, answer in table if name == "llama"} == {"yes"}
    assert any("experts" in answer for name, _, answer in table if name == "mixtral")
