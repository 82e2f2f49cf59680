"""Folders that hold no whole causal language model: one sentence that names what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenkit.inputs import AssetError, load_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Write = Callable[..., Path]
WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"


@pytest.fixture
def write(tmp_path: Path, words: Any, tiny: Any) -> Write:
    """A folder that save_pretrained writes for a tiny model and its tokenizer."""

    def run(name: str = "Llama", kind: str = "ForCausalLM", **values: Any) -> Path:
        tiny(name, kind, **values).save_pretrained(tmp_path)
        words.save_pretrained(tmp_path)
        return tmp_path

    return run


def edit(folder: Path, **values: Any) -> None:
    """Give config.json other values; None takes one out."""
    known = json.loads((folder / CONFIG).read_text()) | values
    (folder / CONFIG).write_text(json.dumps({k: v for k, v in known.items() if v is not None}))


def keep(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Leave only some of the weights in the file."""
    from safetensors.torch import load_file, save_file

    tensors = {k: v.clone() for k, v in load_file(folder / WEIGHTS).items() if wanted(k)}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def refused(folder: Path) -> str:
    with pytest.raises(AssetError) as caught:
        load_model(str(folder), device="cpu")
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_folder_is_read_as_it_was_written(write: Write) -> None:
    loaded = load_model(str(write()), device="cpu", dtype="bfloat16")
    assert loaded.trained
    assert not loaded.model.training
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}


def test_a_tied_head_is_not_missing(write: Write) -> None:
    loaded = load_model(str(write(tie_word_embeddings=True)), device="cpu")
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight


def test_weights_that_are_missing_are_named_up_to_three(write: Write) -> None:
    folder = write()
    keep(folder, lambda name: "lm_head" not in name and "layers.1.mlp" not in name)
    said = refused(folder)
    assert "model.layers.1.mlp.gate_proj.weight" in said
    assert "and 1 more" in said


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"num_hidden_layers": 3}, "lacks weights .*layers.2"),
        ({"num_hidden_layers": 1}, "leaves out: model.layers.1"),
        ({"attention_bias": True}, "lacks weights .*_proj.bias"),
        ({"tie_word_embeddings": None, "model_type": "qwen3"}, "lacks weights .*q_norm"),
        ({"model_type": "gpt_neox"}, "lacks weights .*gpt_neox"),
        ({"intermediate_size": 40}, r"mlp.*\(32, 48\).*\(32, 40\).*`.save`.*`load_compressed`"),
    ],
)
def test_a_configuration_of_another_model_is_refused(
    write: Write, values: dict[str, Any], named: str
) -> None:
    import re

    folder = write()
    edit(folder, **values)
    assert re.search(named, refused(folder))


def test_biases_that_the_configuration_leaves_out_are_named(write: Write) -> None:
    folder = write(attention_bias=True)
    edit(folder, attention_bias=False)
    assert "leaves out: model.layers.0.self_attn.k_proj.bias" in refused(folder)


def test_uneven_heads_of_save_pretrained_name_both_shapes(write: Write, tiny: Any) -> None:
    from greenkit.compressing import remove_heads

    folder = write()
    model = tiny("Llama", num_hidden_layers=4, num_key_value_heads=2)
    cut = remove_heads(model, 0.25, by="weights").model  # two of eight groups, of one block or two
    cut.save_pretrained(folder)
    said = refused(folder)
    assert "self_attn.k_proj.weight has the shape (8, 32) and config.json says (16, 32)" in said
    assert "`.save`, and read it with `load_compressed`" in said


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("Llama", "ForSequenceClassification", "LlamaForSequenceClassification, which is no"),
        ("GPT2", "ForSequenceClassification", "GPT2ForSequenceClassification, which is no"),
        ("Bert", "ForMaskedLM", "BertForMaskedLM, which is no"),
        ("Llama", "Model", "lacks weights .*lm_head.weight"),
        ("T5", "ForConditionalGeneration", "encoder with a decoder"),
        ("Bert", "Model", "encoder, which reads in both directions"),
    ],
)
def test_what_is_no_causal_model_is_not_loaded_as_one(
    write: Write, name: str, kind: str, said: str
) -> None:
    import re

    assert re.search(said, refused(write(name, kind)))


def test_a_vision_model_is_no_language_model(write: Write) -> None:
    folder = write()
    edit(folder, model_type="vit", architectures=None)
    assert "(vit) is no causal language model" in refused(folder)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes"])
def test_packed_weights_are_refused_without_asking_for_a_package(write: Write, method: str) -> None:
    folder = write()
    edit(folder, quantization_config={"quant_method": method, "bits": 4})
    assert f"weights that {method} packed" in refused(folder)


def test_code_of_a_folders_own_is_neither_run_nor_asked_about(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write()
    edit(folder, model_type="mystery", auto_map={"AutoConfig": "own.C"})
    (folder / "own.py").write_text("raise SystemExit('it ran')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    assert "code of its own" in refused(folder)


def test_a_known_architecture_is_read_without_its_own_code(write: Write) -> None:
    folder = write()
    edit(folder, auto_map={"AutoModelForCausalLM": "own.M"})
    assert type(load_model(str(folder), device="cpu").model).__name__ == "LlamaForCausalLM"


def test_a_tokenizer_with_code_of_its_own_is_refused(write: Write) -> None:
    folder = write()
    path = folder / "tokenizer_config.json"
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.T", None]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    assert "code of its own" in refused(folder)


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, TOKENIZER, "tokenizer_config.json"])
@pytest.mark.parametrize("size", [0, 60])
def test_a_file_that_is_cut_short_is_named(write: Write, file: str, size: int) -> None:
    path = write() / file
    path.write_bytes(path.read_bytes()[:size])
    said = refused(path.parent)
    assert said.startswith(f"{path} is ")
    assert "again" in said


def test_weights_that_end_early_are_named(write: Write) -> None:
    path = write() / WEIGHTS
    path.write_bytes(path.read_bytes()[:-8])
    assert refused(path.parent).startswith(f"{path} is cut short")


def test_a_pointer_of_git_lfs_is_told_from_weights(write: Write) -> None:
    path = write() / WEIGHTS
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refused(path.parent)


def test_missing_weights_are_named(write: Write) -> None:
    path = write() / WEIGHTS
    path.unlink()
    assert refused(path.parent).startswith(f"{path} is missing")


def test_a_missing_part_of_the_weights_is_named(write: Write, tiny: Any) -> None:
    folder = write()
    (folder / WEIGHTS).unlink()
    tiny("Llama").save_pretrained(folder, max_shard_size="20KB")
    part = sorted(folder.glob("model-*.safetensors"))[1]
    load_model(str(folder), device="cpu")
    part.unlink()
    assert refused(folder).startswith(f"{part} is missing")


def test_pickled_weights_are_read_and_a_broken_file_is_named(write: Write, tiny: Any) -> None:
    folder = write()
    (folder / WEIGHTS).unlink()
    path = folder / "pytorch_model.bin"
    torch.save(tiny("Llama").state_dict(), path)
    load_model(str(folder), device="cpu")
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(folder).startswith(f"{path} is cut short")


@pytest.mark.parametrize("name", ["Llama", "GPT2"])  # for GPT-2 transformers makes an empty one
def test_a_missing_tokenizer_is_said_to_be_missing(write: Write, name: str) -> None:
    folder = write(name)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    said = refused(folder)
    assert "okenizer" in said
    assert "tokenizer.save_pretrained" in said


def test_a_value_that_makes_no_sense_is_the_models_fault(write: Write) -> None:
    folder = write()
    edit(folder, hidden_size="wide")
    assert "cannot be read as a causal model" in refused(folder)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "merge it into its base model" in refused(tmp_path)


def test_loading_says_nothing(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write()
    capfd.readouterr()
    load_model(str(folder), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_head_that_is_untied_in_the_file_stays_so(write: Write, words: Any, tiny: Any) -> None:
    model = tiny("Llama", tie_word_embeddings=True)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(64, 32))
    folder = write()
    model.save_pretrained(folder)
    loaded = load_model(str(folder), device="cpu")
    assert torch.equal(loaded.model.lm_head.weight, model.lm_head.weight)
    assert not loaded.model.config.tie_word_embeddings
