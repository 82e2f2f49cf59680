"""What `save` wrote, read again: by load_model, with ties as in memory, and when it is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenkit.compressing import distill, load_compressed, prune, quantize, remove_heads, student
from greenkit.compressing.distillation.checkpoints import read_checkpoint
from greenkit.compressing.distillation.distilled import load_distilled
from greenkit.inputs import AssetError, LoadedModel, load_model

torch = pytest.importorskip("torch")

IDS = torch.arange(64).reshape(4, 16)
WEIGHTS, ABOUT = "model.safetensors", "compressed.json"


@pytest.fixture
def given(tiny: Any, words: Any) -> LoadedModel:
    """A tiny model with its tokenizer."""
    place = torch.device("cpu")
    return LoadedModel(tiny("Llama"), words, "tiny", True, "made here", place, torch.float32)


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=IDS).logits


CHANGES: dict[str, Callable[[LoadedModel], Any]] = {
    "pruned": lambda given: prune(given, "magnitude"),
    "packed": lambda given: quantize(given, bits=4),
    "fewer heads": lambda given: remove_heads(given, 0.25, by="weights"),
    "distilled": lambda given: distill(
        given, student(given, blocks=1, choose="first"), windows=IDS, steps=1
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_load_model_reads_what_save_wrote(given: LoadedModel, tmp_path: Path, change: str) -> None:
    result = CHANGES[change](given)
    loaded = load_model(str(result.save(tmp_path)), device="cpu")
    assert torch.equal(logits(loaded.model), logits(result.model))
    assert loaded.tokenizer("w7").input_ids == given.tokenizer("w7").input_ids
    assert not loaded.model.training
    assert loaded.trained
    said = f"local folder {tmp_path}: made here; compressed by "
    assert loaded.provenance.startswith(said)


def test_it_comes_in_the_dtype_asked_for_with_its_rotary_table_whole(
    given: LoadedModel, tmp_path: Path
) -> None:
    folder = str(prune(given, "magnitude").save(tmp_path))
    half = load_model(folder, device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    assert {weight.dtype for weight in half.model.parameters()} == {torch.bfloat16}
    assert half.model.model.rotary_emb.inv_freq.dtype == torch.float32


def refused(folder: Path) -> str:
    with pytest.raises(AssetError) as caught:
        load_model(str(folder), device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_tokenizer_load_model_names_load_compressed(tiny: Any, tmp_path: Path) -> None:
    said = refused(prune(tiny("Llama"), "magnitude").save(tmp_path))
    assert f"without a tokenizer: use load_compressed('{tmp_path}')" in said


def test_random_weights_are_not_passed_off_as_trained(given: LoadedModel, tmp_path: Path) -> None:
    said = refused(student(given, blocks=1, choose="random").save(tmp_path))
    assert "random weights" in said
    assert "load_compressed" in said


def test_a_folder_of_two_models_is_neither_written_nor_read(
    given: LoadedModel, tmp_path: Path
) -> None:
    given.model.save_pretrained(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"holds another model .config\.json"):
        prune(given, "magnitude").save(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    prune(given, "magnitude").save(tmp_path / "ours")
    given.model.config.save_pretrained(tmp_path / "ours")
    assert "two models" in refused(tmp_path / "ours")


def test_a_head_untied_in_memory_survives(tiny: Any, tmp_path: Path) -> None:
    model = tiny("Llama", tie_word_embeddings=True)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(64, 32))
    again = load_compressed(prune(model, "magnitude").save(tmp_path), device="cpu").model
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert not torch.equal(again.lm_head.weight, again.model.embed_tokens.weight)
    assert not again.config.tie_word_embeddings


def test_a_head_tied_by_hand_stays_tied(tiny: Any, tmp_path: Path) -> None:
    model = tiny("Llama")
    model.lm_head.weight = model.model.embed_tokens.weight
    result = prune(model, "magnitude")
    again = load_compressed(result.save(tmp_path), device="cpu").model
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert again.config.tie_word_embeddings
    assert torch.equal(logits(again), logits(result.model))


def test_matrices_that_blocks_share_stay_one(tiny: Any, tmp_path: Path) -> None:
    model = tiny("Llama")
    model.model.layers[1].mlp = model.model.layers[0].mlp
    again = load_compressed(prune(model, "magnitude").save(tmp_path), device="cpu").model
    first, second = (block.mlp.up_proj.weight for block in again.model.layers)
    assert first is second


def test_weights_that_lie_in_one_memory_are_each_written(tiny: Any, tmp_path: Path) -> None:
    model = tiny("Llama")
    both = torch.randn(96, 32)
    mlp = model.model.layers[0].mlp
    mlp.gate_proj.weight.data, mlp.up_proj.weight.data = both[:48], both[48:]
    again = load_compressed(prune(model, "magnitude").save(tmp_path), device="cpu").model
    kept = prune(model, "magnitude").model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in again.state_dict().items())


def test_a_folder_from_before_ties_were_written_is_read(tiny: Any, tmp_path: Path) -> None:
    result = prune(tiny("Llama", tie_word_embeddings=True), "magnitude")
    path = result.save(tmp_path) / ABOUT
    about = json.loads(path.read_text())
    del about["shared"]
    path.write_text(json.dumps(about))
    again = load_compressed(tmp_path, device="cpu").model
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert torch.equal(logits(again), logits(result.model))


def test_what_was_loaded_is_saved_into_its_own_folder(given: LoadedModel, tmp_path: Path) -> None:
    first = load_compressed(prune(given, "magnitude").save(tmp_path), device="cpu")
    expected = logits(first.model).clone()
    first.save(tmp_path)
    assert torch.equal(logits(load_compressed(tmp_path, device="cpu").model), expected)
    assert not list(tmp_path.glob("*.part"))


def test_a_class_of_ones_own_is_refused_before_anything_is_written(
    tiny: Any, tmp_path: Path
) -> None:
    result = prune(tiny("Llama"), "magnitude")
    result.model.__class__ = type("Mine", (type(result.model),), {})
    with pytest.raises(ValueError, match="Mine is no class of transformers"):
        result.save(tmp_path / "it")
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize("file", [WEIGHTS, ABOUT, "tokenizer.json"])
@pytest.mark.parametrize("size", [0, 60, -8])
def test_a_saved_file_that_is_cut_short_is_named(
    given: LoadedModel, tmp_path: Path, file: str, size: int
) -> None:
    path = prune(given, "magnitude").save(tmp_path) / file
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="again") as caught:
        load_compressed(tmp_path, device="cpu")
    assert str(caught.value).startswith(f"{path} is ")
    assert str(path) in refused(tmp_path)


def test_a_saved_file_that_is_missing_is_named(given: LoadedModel, tmp_path: Path) -> None:
    prune(given, "magnitude").save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match=r"tokenizer in .* is missing"):
        load_compressed(tmp_path, device="cpu")
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
        load_compressed(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"class": "NoSuchForCausalLM"}, "describes a NoSuchForCausalLM that transformers"),
        ({"config": {"model_type": "mystery"}}, "cannot build"),
        ({"config": {}}, "cannot build"),
        ({"format": 99}, "format 99"),
    ],
)
def test_a_description_that_cannot_be_built_is_refused(
    given: LoadedModel, tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    path = prune(given, "magnitude").save(tmp_path) / ABOUT
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(ValueError, match=said) as caught:
        load_compressed(tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lacking", ["format", "matrices", "config", "loaded", "method"])
def test_a_description_that_lacks_a_part_is_refused(
    given: LoadedModel, tmp_path: Path, lacking: str
) -> None:
    path = prune(given, "magnitude").save(tmp_path) / ABOUT
    about = json.loads(path.read_text())
    del about[lacking]
    path.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"lacks|format None"):
        load_compressed(tmp_path, device="cpu")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"curve": [{"nothing": 1}]}'])
def test_a_damaged_story_of_a_training_is_named(
    given: LoadedModel, tmp_path: Path, text: str
) -> None:
    path = CHANGES["distilled"](given).save(tmp_path) / "distilled.json"
    load_distilled(tmp_path, device="cpu")
    path.write_text(text)
    with pytest.raises(ValueError, match=r"distilled\.json is cut short or no file of") as caught:
        load_distilled(tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_every_junk_checkpoint_is_refused_and_stays_as_it_is(
    given: LoadedModel, tmp_path: Path
) -> None:
    path = tmp_path / "run.pt"
    pair = (given, student(given, blocks=1, choose="first"))
    distill(*pair, windows=IDS, steps=1, checkpoint=path)
    whole = path.read_bytes()
    torch.save({"format": 1, "run": "none", "state": 3}, tmp_path / "other.pt")
    steps = [whole[: len(whole) * part // 20] for part in range(20)]
    junk = [b"junk", b"\x80", b"\x80\x02junk", b"(lp0", (tmp_path / "other.pt").read_bytes()]
    for content in [*steps, *junk]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"run\.pt is no checkpoint of this course"):
            read_checkpoint(path, {})
        assert path.read_bytes() == content
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"run\.pt is no checkpoint of this course"):
        distill(*pair, windows=IDS, steps=1, checkpoint=path)
    with pytest.raises(ValueError, match="no checkpoint"):
        read_checkpoint(tmp_path, {})
