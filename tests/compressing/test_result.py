"""Results: sizes counted honestly, and a model that loads back equal whatever became of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenkit.compressing import (
    compressed,
    load_compressed,
    matrices,
    prune,
    remove_blocks,
    remove_heads,
    remove_width,
    size_of,
    working_copy,
)
from greenkit.compressing.result import tensor_bytes
from greenkit.inputs import LoadedModel, load_model
from greenkit.inputs.generate import generate

torch = pytest.importorskip("torch")

CHANGES: dict[str, Callable[..., Any]] = {
    "pruned": lambda model, ids: prune(model, "sparsegpt", pattern="2:4", calibration=ids),
    "fewer heads": lambda model, ids: remove_heads(model, 0.5, calibration=ids),
    "uneven heads": lambda model, ids: remove_heads(model, 1 / 3, calibration=ids),
    "narrower": lambda model, ids: remove_width(model, 0.25, calibration=ids),
    "shorter": lambda model, ids: remove_blocks(model, 1, calibration=ids),
    "all of it": lambda model, ids: remove_blocks(
        remove_heads(remove_width(model, 0.25, calibration=ids).model, 0.5, calibration=ids).model,
        1,
        calibration=ids,
    ),
}


def buffers(model: Any) -> dict[str, Any]:
    return dict(model.named_buffers())


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_model_loads_back_equal(
    model: Any,
    ids: Any,
    tmp_path: Path,
    state: Callable[..., Any],
    same: Callable[..., bool],
    logits: Callable[..., Any],
    change: str,
    dtype: Any,
) -> None:
    model = model.to(dtype)
    result = CHANGES[change](model, ids)
    loaded = load_compressed(result.save(tmp_path / "it"), device="cpu")
    assert same(state(result.model), state(loaded.model))
    fresh = {name: own for name, own in buffers(loaded.model).items() if "inv_freq" not in name}
    assert same(fresh, {name: buffers(result.model)[name] for name in fresh})
    if dtype == torch.float32:  # a model cast as a whole has rounded rotary frequencies as well
        assert torch.equal(logits(loaded.model, ids), logits(result.model, ids))
    assert loaded == result
    assert not loaded.model.training
    assert loaded.model.lm_head.weight is loaded.model.get_input_embeddings().weight


def test_a_loaded_model_can_be_made_smaller_again(
    model: Any, ids: Any, tmp_path: Path, continue_text: Callable[..., Any]
) -> None:
    first = load_compressed(CHANGES["uneven heads"](model, ids).save(tmp_path / "one"))
    narrower = CHANGES["narrower"](first.model, ids).model
    second = CHANGES["shorter"](narrower, ids)
    third = load_compressed(second.save(tmp_path / "two"), device="cpu")
    written = continue_text(third.model, ids[:2], cache=True)
    assert torch.equal(written, continue_text(second.model, ids[:2], cache=False))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_untied_models_keep_both_matrices_and_their_attention(
    make: Callable[..., Any],
    ids: Any,
    tmp_path: Path,
    logits: Callable[..., Any],
    attention: str,
) -> None:
    model = make("llama", attention=attention, tie_word_embeddings=False)
    result = prune(model, calibration=ids)
    loaded = load_compressed(result.save(tmp_path), device="cpu")
    assert loaded.model.config._attn_implementation == attention
    assert not torch.equal(loaded.model.lm_head.weight, loaded.model.model.embed_tokens.weight)
    assert torch.equal(logits(loaded.model, ids), logits(result.model, ids))


def test_tied_weights_are_written_once(model: Any, ids: Any, tmp_path: Path) -> None:
    result = prune(model, "magnitude")
    result.save(tmp_path)
    written = (tmp_path / "model.safetensors").stat().st_size
    assert 4 * result.parameters < written < 4 * result.parameters + 10_000


def test_the_file_says_what_was_done(model: Any, ids: Any, tmp_path: Path) -> None:
    result = prune(model, "wanda", 0.25, calibration=ids)
    about = json.loads((result.save(tmp_path) / "compressed.json").read_text())
    assert about["method"] == "wanda"
    assert about["settings"]["sparsity"] == 0.25
    assert [report["sparsity"] for report in about["matrices"]] == [0.25] * len(matrices(model))


def test_a_folder_without_a_compressed_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no compressed\.json"):
        load_compressed(tmp_path)


def test_a_file_of_another_format_is_refused(model: Any, tmp_path: Path) -> None:
    file = prune(model, "magnitude").save(tmp_path) / "compressed.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        load_compressed(tmp_path)


def test_a_file_that_lacks_a_weight_is_refused(model: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = prune(model, "magnitude").save(tmp_path) / "model.safetensors"
    tensors = load_file(file)
    gone = f"{matrices(model)[0].name}.weight"
    del tensors[gone]
    save_file(tensors, file)
    with pytest.raises(ValueError, match=f"lack {gone}"):
        load_compressed(tmp_path, device="cpu")


def test_tied_parameters_count_once(model: Any) -> None:
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    total = sum(math.prod(shape) for name, shape in shapes.items() if name != "lm_head.weight")
    assert size_of(model).parameters == total
    assert size_of(model).bytes >= 4 * total


def test_packed_tensors_count_what_they_hold() -> None:
    class Packed:
        def __init__(self) -> None:
            self.integers = torch.zeros(10, dtype=torch.uint8)
            self.scale = torch.zeros(2, dtype=torch.float16)

        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["integers", "scale"], None

    assert tensor_bytes(Packed()) == 14
    assert tensor_bytes(torch.zeros(3, dtype=torch.bfloat16)) == 6


def test_a_copy_is_apart_and_in_place_is_not(model: Any) -> None:
    assert working_copy(model, inplace=True) is model
    apart = working_copy(model, inplace=False)
    assert apart is not model
    assert apart.lm_head.weight is apart.get_input_embeddings().weight
    matrices(apart)[0].weight.zero_()
    assert matrices(model)[0].weight.any()


def test_averages_weigh_each_matrix_by_its_size(model: Any) -> None:
    for matrix in matrices(model)[:1]:
        matrix.weight.zero_()
    bits = {matrix.name: 32.0 for matrix in matrices(model)}
    first, total = matrices(model)[0], sum(m.weight.numel() for m in matrices(model))
    bits[first.name] = 0.0
    result = compressed(model, model, method="none", settings={}, before=size_of(model), bits=bits)
    share = first.weight.numel() / total
    assert result.sparsity == pytest.approx(share)
    assert result.bits == pytest.approx(32 * (1 - share))


def test_a_loaded_model_keeps_its_tokenizer_and_tells_its_history(model: Any, ids: Any) -> None:
    tokenizer = object()
    given = LoadedModel(
        model, tokenizer, "tiny", False, "random weights", torch.device("cpu"), torch.float32
    )
    result = remove_width(given, 0.25, calibration=ids)
    assert result.loaded is not None
    assert result.loaded.tokenizer is tokenizer
    assert result.loaded.model is result.model
    assert result.loaded.parameters == result.parameters < given.parameters
    assert result.loaded.provenance == (
        "random weights; compressed by remove_width (fraction=0.25, by=activations)"
    )


@pytest.mark.slow
def test_the_default_model_writes_the_same_text_after_loading(tmp_path: Path) -> None:
    loaded = load_model(device="cpu", dtype="float32")
    result = remove_blocks(loaded, [20, 21])
    back = load_compressed(result.save(tmp_path), device="cpu")
    assert result.loaded is not None
    assert back.loaded is not None
    assert back.loaded.provenance == result.loaded.provenance
    prompt = "Name three planets."
    one, two = (generate(m, prompt, new_tokens=12) for m in (result.loaded, back.loaded))
    assert one == two
