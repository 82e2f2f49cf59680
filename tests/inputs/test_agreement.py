"""Quality beside the dense model: against closed forms on tables small enough to see."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from greenkit.inputs import agreement, quality
from greenkit.inputs.agreement import QualityTest, WindowMean

torch = pytest.importorskip("torch")

VOCABULARY = 7
TEXT = "thequickbrownfoxjumpsoverthelazydog" * 20


def letters(text: str, **_: object) -> dict[str, list[int]]:
    """A tokenizer with one token a letter."""
    return {"input_ids": [(ord(letter) - ord("a")) % VOCABULARY for letter in text]}


class Table(torch.nn.Module):
    """A model whose logits for the next token depend on the token before alone."""

    def __init__(self, logits: Any) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, input_ids: Any, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits[input_ids])


@dataclass
class Loaded:
    """As much of a `LoadedModel` as is read here."""

    model: Any
    tokenizer: Any = letters


def table(seed: int, size: int = VOCABULARY) -> Table:
    generator = torch.Generator().manual_seed(seed)
    return Table(3 * torch.randn(size, size, generator=generator))


def against(dense: Table, **settings: Any) -> QualityTest:
    loaded: Any = Loaded(dense)
    return QualityTest(loaded, TEXT, **{"window_tokens": 16, "windows": [0, 3, 5], **settings})


def test_a_model_agrees_with_itself() -> None:
    found = against(table(0)).of(table(0))
    assert found.ratio.value == 1
    assert found.top1.value == 1
    assert abs(found.kl.value) < 1e-4


def test_divergence_and_first_choice_are_those_of_the_formulas_in_float64() -> None:
    dense, other = table(0), table(1)
    found = against(dense).of(other)
    log_p = dense.logits.detach().double().log_softmax(-1)
    log_q = other.logits.detach().double().log_softmax(-1)
    ids = letters(TEXT)["input_ids"]
    before = [a for n in (0, 3, 5) for a, _ in pairwise(ids[16 * n : 16 * n + 16])]
    by_row = (log_p.exp() * (log_p - log_q)).sum(-1)
    same = (log_p.argmax(-1) == log_q.argmax(-1)).double()
    assert found.kl.value == pytest.approx(by_row[before].mean().item(), rel=1e-3)
    assert found.top1.value == pytest.approx(same[before].mean().item(), abs=1e-6)


def test_an_uncertain_model_lacks_what_the_dense_one_knows_and_not_the_reverse() -> None:
    sharp = torch.zeros(VOCABULARY, VOCABULARY)
    sharp[:, 2] = 4.0
    sure, unsure = Table(sharp), Table(torch.zeros(VOCABULARY, VOCABULARY))
    log_p = sharp[0].double().log_softmax(-1)
    log_vocabulary = torch.tensor(float(VOCABULARY), dtype=torch.float64).log()
    lacking = log_vocabulary + (log_p.exp() * log_p).sum()
    assert against(sure).of(unsure).kl.value == pytest.approx(lacking.item(), rel=1e-3)
    reverse = -log_vocabulary - log_p.mean()
    assert against(unsure).of(sure).kl.value == pytest.approx(reverse.item(), rel=1e-3)


def test_accuracy_is_the_share_of_tokens_guessed_right() -> None:
    test, other = against(table(0)), table(1)
    ids = letters(TEXT)["input_ids"]
    pairs = [pair for n in (0, 3, 5) for pair in pairwise(ids[16 * n : 16 * n + 16])]

    def share(model: Table) -> float:
        return sum(int(model.logits[a].argmax()) == b for a, b in pairs) / len(pairs)

    assert test.of(other).accuracy.value == pytest.approx(share(other))
    assert test.dense_accuracy.value == pytest.approx(share(table(0)))
    assert share(other) != share(table(0))


def test_intervals_are_student_s_over_the_windows() -> None:
    found = WindowMean(0.5, 0.01, 4)
    assert (found.low, found.high) == pytest.approx((0.5 - 0.03182, 0.5 + 0.03182))
    assert against(table(0)).of(table(1)).kl.windows == 3


def test_a_wide_vocabulary_is_scored_in_parts_that_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = against(table(0)).of(table(1)).to_dict()
    for room in (quality, agreement):
        monkeypatch.setattr(room, "ROWS", 4)
    assert against(table(0)).of(table(1)).to_dict() == pytest.approx(whole)


def test_the_perplexity_is_that_of_perplexity() -> None:
    from greenkit.inputs import perplexity

    found = against(table(0)).of(table(1)).perplexity
    assert found == perplexity(table(1), letters, TEXT, window_tokens=16, windows=[0, 3, 5])


def test_another_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="knows 7 tokens and this one 9"):
        against(table(0)).of(table(1, size=9))


def test_one_window_is_refused() -> None:
    with pytest.raises(ValueError, match="two windows"):
        against(table(0), windows=1)


def test_a_record_holds_plain_numbers() -> None:
    row = against(table(0)).of(table(1)).to_dict()
    assert all(type(value) is float for value in row.values())
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
