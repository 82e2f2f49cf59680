"""Calibration windows: real tokens, unpadded, named, and never of the test split."""

from __future__ import annotations

from typing import Any

import pytest

from greenkit.compressing import calibration_ids, calibration_windows
from greenkit.compressing.calibration import calibration_facts
from greenkit.inputs import Article, Text, load_model, load_text

torch = pytest.importorskip("torch")

TEXT = "thequickbrownfoxjumpsoverthelazydog" * 20


def letters(text: str, **_: object) -> dict[str, list[int]]:
    """A tokenizer with one token a letter."""
    return {"input_ids": [ord(letter) - ord("a") for letter in text]}


def split(name: Any) -> Text:
    return Text(name, (Article("title", TEXT),), "CC0", "nobody")


def test_windows_are_whole_pieces_of_the_text_named_by_their_place() -> None:
    drawn = calibration_windows(letters, TEXT, windows=5, length=16)
    tokens = torch.tensor(letters(TEXT)["input_ids"])
    assert drawn.ids.shape == (5, 16)
    assert drawn.ids.dtype == torch.long
    for number, row in zip(drawn.numbers, drawn.ids, strict=True):
        assert torch.equal(row, tokens[16 * number : 16 * number + 16])


def test_no_window_is_drawn_twice() -> None:
    available = len(TEXT) // 16
    drawn = calibration_windows(letters, TEXT, windows=available, length=16)
    assert drawn.numbers == tuple(range(available))


def test_a_seed_draws_the_same_windows_again_and_another_seed_others() -> None:
    first, again, other = (
        calibration_windows(letters, TEXT, windows=5, length=16, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first.ids, again.ids)
    assert first.sha256 == again.sha256
    assert first.numbers != other.numbers
    assert first.sha256 != other.sha256


@pytest.mark.parametrize("name", ["calibration", "train"])
def test_the_calibration_and_training_splits_are_taken(name: str) -> None:
    drawn = calibration_windows(letters, split(name), windows=2, length=16)
    assert drawn.ids.shape == (2, 16)


@pytest.mark.parametrize(
    ("text", "windows", "message"),
    [
        ("", 1, "calibration text is empty"),
        (" \n", 1, "calibration text is empty"),
        ("short", 1, "5 tokens, fewer than one window"),
        (TEXT, 1000, "1000 windows of 16 tokens"),
        (TEXT, 0, "0 windows of 16 tokens"),
    ],
)
def test_a_text_that_cannot_give_the_windows_is_refused(
    text: str, windows: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        calibration_windows(letters, text, windows=windows, length=16)


def test_the_test_split_is_refused() -> None:
    with pytest.raises(ValueError, match="test split"):
        calibration_windows(letters, split("test"), windows=1, length=16)


def test_ids_come_out_of_windows_and_of_tensors_alike(model: Any) -> None:
    drawn = calibration_windows(letters, TEXT, windows=3, length=16)
    assert torch.equal(calibration_ids(model, drawn), drawn.ids)
    assert torch.equal(calibration_ids(model, drawn.ids), drawn.ids)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(2, 8), "float32"),
        (torch.zeros(8, dtype=torch.long), "shape"),
        ("some text", "str"),
        (torch.zeros(0, 8, dtype=torch.long), "0 windows"),
        (torch.zeros(2, 1, dtype=torch.long), "1 tokens"),
        (torch.full((2, 8), 97), "97; this model knows 0 to 96"),
        (torch.full((2, 8), -1), "this model knows 0 to 96"),
    ],
)
def test_ids_that_no_model_can_read_are_refused(model: Any, wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibration_ids(model, wrong)


def test_windows_longer_than_the_models_positions_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="longer than the 64"):
        calibration_ids(make("gpt2"), torch.zeros(1, 65, dtype=torch.long))


def test_a_bare_module_needs_its_calibration_named(model: Any) -> None:
    with pytest.raises(ValueError, match="no tokenizer"):
        calibration_ids(model)


def test_the_facts_name_windows_and_tokens() -> None:
    drawn = calibration_windows(letters, TEXT, windows=3, length=16)
    facts = calibration_facts(drawn)
    assert facts["numbers"] == list(drawn.numbers)
    assert facts["tokens_sha256"] == drawn.sha256
    assert calibration_facts(drawn.ids) == {"windows": 3, "length": 16}


@pytest.mark.slow
def test_by_default_sixteen_windows_of_the_calibration_split_are_drawn() -> None:
    loaded = load_model("gpt2-untrained", device="cpu")
    ids = calibration_ids(loaded)
    expected = calibration_windows(loaded.tokenizer, load_text("calibration"))
    assert ids.shape == (16, 512)
    assert torch.equal(ids, expected.ids)
