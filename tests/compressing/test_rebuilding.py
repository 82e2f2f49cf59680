"""What differs from block to block survives fewer blocks, saving and loading, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenkit.compressing import (
    load_compressed,
    remove_blocks,
)
from greenkit.compressing.architectures import small
from greenkit.compressing.shapes import keep_blocks_in

torch = pytest.importorskip("torch")
Run = Callable[..., Any]


@pytest.fixture
def x() -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, 128, (16, 16), generator=generator)


def test_a_model_saved_after_its_blocks_went_keeps_their_rotary_pattern(
    x: Any, tmp_path: Path, logits: Run
) -> None:
    model = small("smollm3")
    assert model.config.no_rope_layers == [1, 1, 1, 0]
    for kept in ([1, 2, 3], [0, 3], [3]):
        result = remove_blocks(model, [n for n in range(4) if n not in kept])
        assert result.model.config.no_rope_layers == [model.config.no_rope_layers[n] for n in kept]
        again = load_compressed(result.save(tmp_path / str(len(kept))), device="cpu").model
        assert torch.equal(logits(again, x), logits(result.model, x))


WINDOWED = ["gemma2", "gemma3_text", "cohere2", "olmo3", "exaone4", "qwen2", "gpt_oss", "cwm"]
WINDOWED += ["modernbert-decoder", "gpt_neo", "mistral", "llama4_text", "starcoder2", "smollm3"]


@pytest.mark.parametrize("name", WINDOWED)
def test_short_attention_windows_stay_with_their_blocks(
    name: str, x: Any, tmp_path: Path, logits: Run, skipping: Run
) -> None:
    short = {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 2}
    short |= {"window_size": 4, "local_attention": 4, "attention_chunk_size": 4}
    known = vars(small(name).config)
    model = small(name, **{key: value for key, value in short.items() if key in known})
    for removed in ([0], [1, 2], [3]):
        try:
            result = remove_blocks(model, removed)
        except ValueError as error:
            assert "built anew from its configuration" in str(error)  # noqa: PT017
            continue
        expected = model
        for number in removed:
            expected = skipping(expected, number)
        assert torch.allclose(logits(result.model, x), logits(expected, x), atol=1e-5)
        again = load_compressed(result.save(tmp_path / str(removed)), device="cpu").model
        assert torch.equal(logits(again, x), logits(result.model, x))


def test_what_a_configuration_cannot_keep_is_refused() -> None:
    with pytest.raises(ValueError, match=r"another self_attn\.lambda_init"):
        remove_blocks(small("diffllama"), [0])


def test_lists_by_block_are_cut_and_numbers_of_blocks_renamed() -> None:
    config = SimpleNamespace(
        num_hidden_layers=4,
        layer_types=["a", "b", "c", "d"],
        windows=(1, 2, 3, 4),
        mlp_only_layers=[0, 3],
        layer_scales={0: 0.1, 2: 0.2, 3: 0.3},
        first_k_dense_replace=2,
        eos_token_id=[1, 2, 3, 4],
        id2label={0: "no", 1: "yes"},
    )
    keep_blocks_in(config, [1, 3], 4)
    assert vars(config) == {
        "num_hidden_layers": 2,
        "layer_types": ["b", "d"],
        "windows": (2, 4),
        "mlp_only_layers": [1],
        "layer_scales": {1: 0.3},
        "first_k_dense_replace": 1,
        "eos_token_id": [1, 2, 3, 4],
        "id2label": {0: "no", 1: "yes"},
    }
