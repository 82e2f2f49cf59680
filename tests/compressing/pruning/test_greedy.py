"""Blocks chosen one by one by the loss without them: equal to the plain search, in fewer steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenkit.compressing import blocks, load_compressed, prune, remove_blocks, student
from greenkit.compressing.distillation.students import blocks_paired
from greenkit.compressing.matrices import layout_of
from greenkit.compressing.pruning import greedy
from greenkit.compressing.pruning.greedy import removal_by_loss
from greenkit.inputs.models import LoadedModel

torch = pytest.importorskip("torch")


def loss_of(model: Any, ids: Any) -> float:
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    return float(torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten()))


def plain_search(model: Any, ids: Any, count: int) -> tuple[list[int], list[float]]:
    """Really remove each candidate, and read the text anew with the whole model."""
    total = len(blocks(model))
    order: list[int] = []
    losses = [loss_of(model, ids)]
    for _ in range(count):
        tried = {
            number: loss_of(remove_blocks(model, [*order, number]).model, ids)
            for number in range(total)
            if number not in order
        }
        order.append(min(tried, key=tried.__getitem__))
        losses.append(tried[order[-1]])
    return order, losses


@pytest.fixture(params=["llama", "gpt2", "qwen3", "gemma2"])
def deep(request: pytest.FixtureRequest, make: Callable[..., Any]) -> Any:
    """Six blocks of four architectures; Gemma 2 alternates between two kinds of attention."""
    if request.param == "llama":
        return make("llama", num_hidden_layers=6)
    if request.param == "gpt2":
        return make("gpt2", n_layer=6)
    transformers = pytest.importorskip("transformers")
    name = {"qwen3": "Qwen3", "gemma2": "Gemma2"}[request.param]
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 6, "head_dim": 8}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 97}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(**sizes, **heads, **ends)
    if hasattr(config, "sliding_window"):
        config.sliding_window = 8
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_it_is_the_plain_search(deep: Any, ids: Any) -> None:
    expected, losses = plain_search(deep, ids, 3)
    order, found = removal_by_loss(layout_of(deep), ids, 3)
    assert order == expected
    assert found == pytest.approx(losses, rel=1e-5)


def test_the_report_names_order_and_losses(deep: Any, ids: Any, tmp_path: Path) -> None:
    result = remove_blocks(deep, 2, by="loss", calibration=ids)
    settings = result.settings
    assert settings["by"] == "loss"
    assert sorted(settings["order"]) == settings["removed"]
    assert settings["losses"][0] == pytest.approx(loss_of(deep, ids), rel=1e-5)
    assert settings["losses"][2] == pytest.approx(loss_of(result.model, ids), rel=1e-5)
    assert settings["calibration"] == {"windows": 6, "length": 32}
    assert load_compressed(result.save(tmp_path), device="cpu") == result


def test_the_search_leaves_the_model_as_it_was(deep: Any, ids: Any, state: Any, same: Any) -> None:
    before = state(deep)
    deep.train()
    removal_by_loss(layout_of(deep), ids, 1)
    assert deep.training
    assert same(before, state(deep))
    assert not any("forward" in block.__dict__ for block in blocks(deep))


def test_each_round_runs_only_what_lies_behind_a_candidate(
    make: Callable[..., Any], ids: Any
) -> None:
    model, runs = make("llama", num_hidden_layers=6), []
    for block in blocks(model):
        block.input_layernorm.register_forward_hook(lambda *_: runs.append(1))
    removal_by_loss(layout_of(model), ids[:4], 1)
    assert len(runs) == 6 + 15  # all blocks once, then 5 + 4 + … + 0 behind the candidates


def test_influence_says_so_too(make: Callable[..., Any], ids: Any) -> None:
    assert remove_blocks(make("llama"), 1, calibration=ids).settings["by"] == "influence"
    assert "by" not in remove_blocks(make("llama"), [1]).settings


def test_a_bare_module_needs_its_windows_named(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"no tokenizer: give .*windows=2"):
        remove_blocks(make("llama"), 1, by="loss")


def test_two_windows_of_256_tokens_are_the_default(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def letters(text: str, **_: Any) -> Any:
        return {"input_ids": [ord(letter) % 97 for letter in text]}

    name = "greenkit.compressing.pruning.greedy.load_text"
    monkeypatch.setattr(name, lambda _: "abcdefgh" * 100)
    model = make("llama")
    place = torch.device("cpu")
    loaded = LoadedModel(model, letters, "tiny", True, "here", place, torch.float32)
    facts = remove_blocks(loaded, 1, by="loss").settings["calibration"]
    assert (facts["windows"], facts["length"]) == (2, 256)


@pytest.mark.parametrize(("last", "order"), [(2.0, [2]), (float("inf"), None)])
def test_a_loss_that_is_not_finite_is_never_the_least(
    make: Callable[..., Any],
    ids: Any,
    monkeypatch: pytest.MonkeyPatch,
    last: float,
    order: list[int] | None,
) -> None:
    told = [(None, 1.0), (0, float("nan")), (1, float("-inf")), (2, last)]
    monkeypatch.setattr(greedy, "_tried", lambda *_: iter(told))
    layout = layout_of(make("llama"))
    if order is None:
        with pytest.raises(ValueError, match="the loss of the given model"):
            removal_by_loss(layout, ids[:4], 1)
    else:
        assert removal_by_loss(layout, ids[:4], 1)[0] == order


def test_a_student_starts_from_it(make: Callable[..., Any], ids: Any) -> None:
    teacher = make("llama", num_hidden_layers=6)
    small = student(teacher, blocks=4, choose="loss", calibration=ids)
    expected = remove_blocks(teacher, 2, by="loss", calibration=ids)
    assert small.settings["choose"] == "loss"
    assert small.settings["removed"] == expected.settings["removed"]
    assert blocks_paired(teacher, small) == list(zip(small.settings["kept"], range(4), strict=True))


def test_blocks_are_paired_through_a_history(make: Callable[..., Any]) -> None:
    teacher = make("llama", num_hidden_layers=6)
    first = remove_blocks(teacher, [0, 3])
    last = prune(remove_blocks(first, [1]), "magnitude")
    assert blocks_paired(teacher, last) == [(1, 0), (4, 1), (5, 2)]
    assert blocks_paired(first.model, last) == [(0, 0), (2, 1), (3, 2)]


def test_a_model_that_overflows_is_refused(make: Callable[..., Any], ids: Any) -> None:
    model = make("llama")
    model.model.layers[1].mlp.register_forward_hook(lambda _module, _inputs, output: output / 0)
    with pytest.raises(ValueError, match="the loss of the given model holds NaN or infinity"):
        remove_blocks(model, 1, by="loss", calibration=ids)
