"""The test of four continuations: its questions, its scores and its interval."""

from __future__ import annotations

from typing import Any

import pytest

from greenkit.inputs.choices import Choices, ContinuationTest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY = 31
CONTEXT, ENDING = 12, 4


def numbers(text: str, **_: object) -> dict[str, list[int]]:
    """A tokenizer with one token a word, which is a number."""
    return {"input_ids": [int(word) for word in text.split()]}


def random_text(tokens: int = 600, seed: int = 0) -> str:
    generator = torch.Generator().manual_seed(seed)
    return " ".join(map(str, torch.randint(0, VOCABULARY, (tokens,), generator=generator).tolist()))


def build(text: str, **settings: Any) -> ContinuationTest:
    sizes = {"questions": 10, "context_tokens": CONTEXT, "continuation_tokens": ENDING}
    return ContinuationTest(numbers, text, **{**sizes, **settings})


def tiny(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=2
        )
        return transformers.GPT2LMHeadModel(config).eval()
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return transformers.LlamaForCausalLM(config).eval()


def test_the_first_ending_is_what_came_and_the_others_touch_nothing() -> None:
    text = " ".join(map(str, range(500)))  # each token tells its place
    found = build(text, questions=20)
    for context, endings in zip(found.contexts.tolist(), found.endings.tolist(), strict=True):
        assert context == list(range(context[0], context[0] + CONTEXT))
        assert endings[0] == list(range(context[-1] + 1, context[-1] + 1 + ENDING))
        everything = context + [token for ending in endings for token in ending]
        assert len(set(everything)) == CONTEXT + 4 * ENDING


def test_another_seed_draws_other_wrong_endings_only() -> None:
    text = " ".join(map(str, range(500)))
    one, again, other = build(text), build(text), build(text, seed=1)
    assert torch.equal(one.endings, again.endings)
    assert not torch.equal(one.endings[:, 1:], other.endings[:, 1:])
    assert torch.equal(one.endings[:, 0], other.endings[:, 0])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_scores_are_the_mean_log_probabilities_of_a_plain_pass(kind: str) -> None:
    model, test = tiny(kind), build(random_text())
    right = 0
    for context, endings in zip(test.contexts, test.endings, strict=True):
        scores = []
        for ending in endings:
            with torch.no_grad():
                logits = model(input_ids=torch.cat([context, ending])[None]).logits[0].double()
            log_p = logits.log_softmax(-1)[CONTEXT - 1 : -1]
            scores.append(log_p.gather(-1, ending[:, None]).mean().item())
        right += scores[0] > max(scores[1:])
    assert 0 < right < 10
    assert test.of(model) == Choices(right, 10)


def test_a_text_that_goes_round_is_easy_for_a_model_that_knows_the_way() -> None:
    text = " ".join(str(place % VOCABULARY) for place in range(600))

    class Next(torch.nn.Module):
        """Says that n is followed by n + 1."""

        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Parameter(9 * torch.eye(VOCABULARY).roll(1, 1))

        def forward(self, input_ids: Any, **_: object) -> Any:
            cache = transformers.DynamicCache()
            return transformers.modeling_outputs.CausalLMOutputWithPast(
                logits=self.table[input_ids], past_key_values=cache
            )

    found = build(text, questions=20).of(Next())
    assert found.right > 15  # a wrong ending that begins with the right number is as likely


def test_guessing_gets_a_quarter() -> None:
    found = build(random_text(6000), questions=300).of(tiny("llama"))
    assert found.low < 0.25 < found.high


def test_the_interval_stays_within_nothing_and_all() -> None:
    found = Choices(30, 40)
    assert (found.low, found.high) == pytest.approx((0.5981, 0.8581), abs=1e-4)
    assert Choices(40, 40).high == pytest.approx(1.0)
    assert Choices(0, 40).low == pytest.approx(0.0)
    assert str(found) == "30 of 40 right: 75% (60% to 86%); chance 25%"


@pytest.mark.parametrize("right", [0, 7, 20, 40])
def test_the_ends_are_the_shares_that_would_just_not_be_rejected(right: int) -> None:
    found = Choices(right, 40)
    for end in (found.low, found.high):
        width = 1.96 * (end * (1 - end) / 40) ** 0.5
        assert abs(found.share - end) == pytest.approx(width, abs=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"questions": 0}, "must be 1 or more"),
        ({"questions": 100}, "too short: it has 600 tokens, and 100 questions"),
        ({"context_tokens": 590, "questions": 1}, "too short"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(random_text(), **settings)


def test_a_model_that_overflows_is_refused() -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        build(random_text()).of(model)
