"""What a model can read: its context, its tokens, its own tokenizer, weights that are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from greenkit.inputs import ContinuationTest, LoadedModel, QualityTest, perplexity
from greenkit.inputs.generate import generate
from greenkit.inputs.models import refuse_offloaded
from greenkit.inputs.reach import context_tokens, refuse_other_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXT = " ".join(f"w{number % 61}" for number in range(300))


def held(model: Any, tokenizer: Any) -> LoadedModel:
    return LoadedModel(
        model, tokenizer, "tiny", True, "random weights", torch.device("cpu"), torch.float32
    )


@pytest.mark.parametrize(("name", "context"), [("GPT2", 16), ("OPT", 32), ("Llama", 32)])
def test_windows_beyond_the_context_are_refused_with_both_numbers(
    tiny: Any, words: Any, name: str, context: int
) -> None:
    model = tiny(name)
    too_long = {"window_tokens": context + 1, "windows": 2}
    said = f"Windows of {context + 1} tokens are longer than the {context} that"
    with pytest.raises(ValueError, match=said):
        perplexity(model, words, TEXT, **too_long)
    with pytest.raises(ValueError, match=said):
        QualityTest(held(model, words), TEXT, **too_long)
    assert perplexity(model, words, TEXT, window_tokens=context, windows=2).value > 1


def test_a_model_of_shorter_context_is_refused_by_a_test_of_longer_windows(
    tiny: Any, words: Any
) -> None:
    test = QualityTest(held(tiny("Llama"), words), TEXT, windows=2, window_tokens=24)
    with pytest.raises(ValueError, match="longer than the 16 that"):
        test.of(tiny("GPT2"))


def test_questions_beyond_the_context_are_refused(tiny: Any, words: Any) -> None:
    test = ContinuationTest(words, TEXT, questions=2, context_tokens=12, continuation_tokens=5)
    with pytest.raises(ValueError, match="of 17 tokens are longer than the 16 that"):
        test.of(tiny("GPT2"))


def test_prompt_and_reply_together_must_fit(tiny: Any, words: Any) -> None:
    loaded = held(tiny("GPT2"), words)
    prompt = " ".join(["w1"] * 10)
    assert generate(loaded, prompt, new_tokens=7, exact=True).new_tokens == 7
    said = "10 tokens to read and 8 to write are more than the 16 that"
    with pytest.raises(ValueError, match=said):
        generate(loaded, prompt, new_tokens=8)


def test_a_page_and_what_is_written_behind_it_must_fit(tiny: Any) -> None:
    from greenkit import EnergyMeter
    from greenkit.compressing.serving import serve

    page = torch.ones(1, 12).long()
    with pytest.raises(ValueError, match="more than the 16 that"):
        serve({"it": tiny("GPT2")}, page, meter=EnergyMeter([]), new_tokens=5)


def test_an_empty_prompt_is_refused(tiny: Any, words: Any) -> None:
    with pytest.raises(ValueError, match="no token to read"):
        generate(held(tiny("GPT2"), words), "", new_tokens=1)


def test_tokens_that_the_model_does_not_know_are_refused(tiny: Any, words: Any) -> None:
    said = "token ids from 3 to 63; this model knows 0 to 39"
    with pytest.raises(ValueError, match=said):
        perplexity(tiny("Llama", vocab_size=40), words, TEXT, window_tokens=8)


def test_models_without_positions_have_no_bound(tiny: Any) -> None:
    mamba = {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 1}
    config = transformers.MambaConfig(vocab_size=64, **mamba)
    assert context_tokens(transformers.MambaForCausalLM(config)) is None
    assert context_tokens(torch.nn.Linear(2, 2)) is None


def test_falcon_with_distances_has_no_bound() -> None:
    class Falcon:
        config = transformers.FalconConfig(alibi=True)

    assert context_tokens(Falcon()) is None


def test_another_tokenizer_of_as_many_words_is_refused(
    tiny: Any, words: Any, word_tokenizer: Callable[..., Any]
) -> None:
    test = QualityTest(held(tiny("Llama"), words), TEXT, windows=2, window_tokens=8)
    other = held(tiny("Llama"), word_tokenizer(5))
    with pytest.raises(ValueError, match="'w0' is 3 and unknown"):
        test.of(other)
    test.of(held(tiny("Llama"), word_tokenizer()))
    test.of(other.model)


def test_a_teacher_with_another_tokenizer_is_refused_before_work(
    tiny: Any, words: Any, word_tokenizer: Callable[..., Any]
) -> None:
    from greenkit.compressing import distill

    teacher, student = held(tiny("Llama"), words), held(tiny("Llama"), word_tokenizer(5))
    with pytest.raises(ValueError, match="different tokenizers"):
        distill(teacher, student, text=TEXT, length=8, steps=1)
    with pytest.raises(ValueError, match="knows 40 tokens and the teacher 64"):
        distill(teacher.model, tiny("Llama", vocab_size=40), windows=torch.ones(2, 8).long())


def test_a_teacher_of_shorter_context_is_refused_before_work(tiny: Any) -> None:
    from greenkit.compressing import distill

    longer = tiny("GPT2", n_positions=32, n_layer=1)
    with pytest.raises(ValueError, match="longer than the 16 that"):
        distill(tiny("GPT2"), longer, windows=torch.ones(4, 20).long())


def test_what_has_no_tokenizer_is_not_compared(tiny: Any, words: Any) -> None:
    refuse_other_tokenizer(tiny("Llama"), held(tiny("Llama"), words))
    refuse_other_tokenizer(None, words)


def test_weights_that_are_not_in_memory_are_named(tiny: Any) -> None:
    model = tiny("Llama")
    refuse_offloaded(model)
    model.model.layers[1].mlp.to("meta")
    with pytest.raises(ValueError, match=r"not in memory.*layers\.1\.mlp\.gate_proj\.weight"):
        refuse_offloaded(model)


def test_an_offloaded_model_is_not_saved(tiny: Any, tmp_path: Any) -> None:
    from greenkit.compressing import prune

    result = prune(tiny("Llama"), "magnitude")
    result.model.lm_head.to("meta")
    with pytest.raises(ValueError, match=r"not in memory.*lm_head\.weight"):
        result.save(tmp_path / "it")
    assert not (tmp_path / "it").exists()
