"""Perplexity: against closed forms and against the loss that transformers itself computes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from greenkit.inputs import Perplexity, perplexity, token_windows

torch = pytest.importorskip("torch")

VOCABULARY = 7


def letters(text: str, **_: object) -> dict[str, list[int]]:
    """A tokenizer with one token a letter."""
    return {"input_ids": [(ord(letter) - ord("a")) % VOCABULARY for letter in text]}


class Table(torch.nn.Module):
    """A model whose logits for the next token depend on the token before alone."""

    def __init__(self, logits: Any, dtype: Any = torch.float32) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits.to(dtype))

    def forward(self, input_ids: Any, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits[input_ids])


def random_table(seed: int, dtype: Any = torch.float32) -> Table:
    generator = torch.Generator().manual_seed(seed)
    return Table(3 * torch.randn(VOCABULARY, VOCABULARY, generator=generator), dtype)


TEXT = "thequickbrownfoxjumpsoverthelazydog" * 20


def test_a_model_that_knows_nothing_has_the_vocabulary_as_perplexity() -> None:
    model = Table(torch.zeros(VOCABULARY, VOCABULARY))
    result = perplexity(model, letters, TEXT, window_tokens=16)
    assert result.value == pytest.approx(VOCABULARY, rel=1e-6)


def test_window_losses_are_the_mean_negative_log_probability() -> None:
    model = random_table(0)
    result = perplexity(model, letters, TEXT, window_tokens=16, windows=[0, 3])
    log_p = model.logits.detach().double().log_softmax(-1)
    ids = letters(TEXT)["input_ids"]
    for number, loss in zip((0, 3), result.window_losses, strict=True):
        window = ids[16 * number : 16 * number + 16]
        by_hand = [-log_p[a, b].item() for a, b in pairwise(window)]
        assert loss == pytest.approx(math.fsum(by_hand) / 15, abs=1e-6)


def test_overlapping_windows_score_their_last_stride_tokens() -> None:
    model = random_table(0)
    result = perplexity(model, letters, TEXT, window_tokens=16, stride=4, windows=[5])
    log_p = model.logits.detach().double().log_softmax(-1)
    window = letters(TEXT)["input_ids"][20:36]
    by_hand = [-log_p[window[n - 1], window[n]].item() for n in (12, 13, 14, 15)]
    assert result.tokens_scored == 4
    assert result.window_losses[0] == pytest.approx(math.fsum(by_hand) / 4, abs=1e-6)


@pytest.mark.parametrize("stride", [64, 16])
def test_the_loss_is_the_one_that_transformers_computes(stride: int) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=2
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    result = perplexity(model, letters, TEXT, window_tokens=64, stride=stride, windows=3)
    ids = letters(TEXT)["input_ids"]
    for number, loss in zip(result.window_ids, result.window_losses, strict=True):
        window = torch.tensor([ids[stride * number : stride * number + 64]])
        labels = window.clone()
        labels[:, : 64 - stride] = -100
        with torch.no_grad():
            expected = model(input_ids=window, labels=labels).loss.item()
        assert loss == pytest.approx(expected, abs=1e-5)


def test_losses_are_computed_in_float32_whatever_the_models_dtype() -> None:
    model = random_table(0, torch.bfloat16)
    rounded = Table(model.logits.detach(), torch.float32)
    ours = perplexity(model, letters, TEXT, window_tokens=16)
    assert ours.dtype == "bfloat16"
    assert ours.value == perplexity(rounded, letters, TEXT, window_tokens=16).value


def test_the_batch_size_does_not_change_the_result() -> None:
    one, five = (
        perplexity(random_table(0), letters, TEXT, window_tokens=16, batch_size=size)
        for size in (1, 5)
    )
    assert one == five


def test_windows_are_evenly_spaced_and_without_padding() -> None:
    chosen = token_windows(letters, "a" * 1000, window_tokens=10, windows=4)
    assert chosen.numbers == (0, 25, 50, 75)
    assert chosen.ids.shape == (4, 10)


def test_all_windows_fit_into_the_text() -> None:
    chosen = token_windows(letters, "a" * 103, window_tokens=10, stride=5)
    assert chosen.numbers == tuple(range(19))


def test_the_mode_of_the_model_is_left_as_it_was() -> None:
    model = random_table(0).train()
    perplexity(model, letters, TEXT, window_tokens=16)
    assert model.training


def test_a_ratio_is_the_exponential_of_the_mean_paired_difference() -> None:
    base = perplexity(random_table(0), letters, TEXT, window_tokens=16, windows=3)
    raised = [loss + step for loss, step in zip(base.window_losses, (0.1, 0.2, 0.3), strict=True)]
    ratio = replace(base, window_losses=tuple(raised)).ratio_to(base)
    assert ratio.value == pytest.approx(math.exp(0.2))
    assert ratio.log_standard_error == pytest.approx(0.1 / math.sqrt(3))
    t = 4.303  # Student's, of three windows
    assert ratio.high / ratio.value == pytest.approx(math.exp(t * 0.1 / math.sqrt(3)))
    assert ratio.value / ratio.low == pytest.approx(math.exp(t * 0.1 / math.sqrt(3)))


def test_a_ratio_is_the_ratio_of_the_values() -> None:
    one = perplexity(random_table(0), letters, TEXT, window_tokens=16)
    two = perplexity(random_table(1), letters, TEXT, window_tokens=16)
    assert two.ratio_to(one).value == pytest.approx(two.value / one.value)


@pytest.mark.parametrize(
    "other",
    [
        {"windows": 5},
        {"windows": [0, 1, 2]},
        {"window_tokens": 8},
        {"stride": 8},
        {"text": "another" + TEXT},
    ],
)
def test_results_with_different_definitions_do_not_compare(other: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"text": TEXT, "window_tokens": 16, "windows": 3}
    model = random_table(0)
    one = perplexity(model, letters, **usual)
    two = perplexity(model, letters, **{**usual, **other})
    with pytest.raises(ValueError, match="same tokens and windows"):
        one.ratio_to(two)


def test_one_window_has_no_ratio() -> None:
    one = perplexity(random_table(0), letters, TEXT, window_tokens=16, windows=1)
    with pytest.raises(ValueError, match="two windows or more"):
        one.ratio_to(one)


def test_the_definition_names_all_that_changes_the_value() -> None:
    result = perplexity(random_table(0), letters, TEXT, window_tokens=16, stride=8, windows=2)
    expected = "2 windows of 16 tokens, stride 8, 16 tokens scored, window numbers 0, 43, tokens"
    assert result.definition.startswith(expected)


def test_a_loss_that_is_not_finite_is_refused() -> None:
    model = Table(torch.full((VOCABULARY, VOCABULARY), float("nan")))
    with pytest.raises(ValueError, match="not finite"):
        perplexity(model, letters, TEXT, window_tokens=16)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window_tokens": 1}, "2 tokens or more"),
        ({"stride": 17}, "stride from 1"),
        ({"windows": 1000}, "1 to 43"),
        ({"windows": [0, 0]}, "different numbers"),
        ({"windows": [43]}, "0 to 42"),
        ({"window_tokens": 10_000}, "fewer than one window"),
        ({"batch_size": 0}, "1 or more"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"window_tokens": 16, "windows": 2}
    with pytest.raises(ValueError, match=message):
        perplexity(random_table(0), letters, TEXT, **{**usual, **wrong})


def test_a_result_is_a_value() -> None:
    result = perplexity(random_table(0), letters, TEXT, window_tokens=16)
    assert isinstance(result, Perplexity)
    assert hash(result) == hash(perplexity(random_table(0), letters, TEXT, window_tokens=16))
