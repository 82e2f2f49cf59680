"""Distilling: what is compared, who is charged, what stays untouched, and what is refused."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from greenkit.compressing.distillation.charges import PARTS, REST, STUDENT, TEACHER
from greenkit.compressing.distillation.distill import distill
from greenkit.compressing.distillation.distilled import load_distilled
from greenkit.compressing.distillation.lessons import answer
from greenkit.compressing.distillation.losses import soft_targets
from greenkit.compressing.distillation.plans import Plan, default_precision
from greenkit.compressing.distillation.students import student
from greenkit.compressing.matrices import matrices
from greenkit.compressing.pruning.masks import masks_of
from greenkit.inputs import Article, LoadedModel, Text
from greenkit.metering import EnergyMeter, NotMeasuredError
from greenkit.metering.simulated import SimulatedSensor, constant

VOCABULARY, LENGTH = 31, 12
WINDOWS = torch.randint(0, VOCABULARY, (9, LENGTH), generator=torch.Generator().manual_seed(1))
KINDS = ("llama", "gpt2")


def model_of(kind: str, *, blocks: int = 4, width: int = 16, seed: int = 0, **other: Any) -> Any:
    """A tiny random model with tied embeddings; GPT-2 has dropout while it is trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "gpt2":
            sizes = {"n_embd": width, "n_layer": blocks, "n_head": 4, "n_positions": 32}
            model: Any = GPT2LMHeadModel(GPT2Config(**{"vocab_size": VOCABULARY, **sizes, **other}))
        else:
            sizes = {
                "hidden_size": width,
                "num_hidden_layers": blocks,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "intermediate_size": 2 * width,
                "max_position_embeddings": 32,
                "vocab_size": VOCABULARY,
                "tie_word_embeddings": True,
            }
            model = LlamaForCausalLM(LlamaConfig(**{**sizes, **other}))
    with torch.no_grad():  # as drawn, all tiny models say nearly the same
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return model.eval()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads take longer over tiny matrices than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=KINDS)
def teacher(request: pytest.FixtureRequest) -> Any:
    return model_of(request.param)


def half(teacher: Any) -> Any:
    return student(teacher, blocks=2, choose="every_other")


def weights(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def same(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def first_batch(batch: int = 4) -> Tensor:
    return WINDOWS[Plan(steps=2, batch=batch).windows_of(0, len(WINDOWS))]


# -- what is compared -------------------------------------------------------------------------


def test_soft_targets_start_at_the_divergence_of_the_two_models() -> None:
    teacher = model_of("llama")
    pupil = half(teacher)
    found = distill(teacher, pupil, windows=WINDOWS, temperature=2.0, steps=2)
    ids = first_batch()
    with torch.no_grad():
        q = pupil.model(input_ids=ids).logits[:, :-1].flatten(0, 1) / 2
        p = teacher(input_ids=ids).logits[:, :-1].flatten(0, 1) / 2
    expected = 4 * F.kl_div(q.log_softmax(-1), p.softmax(-1), reduction="batchmean")
    assert found.curve[0].loss == pytest.approx(expected.item(), rel=1e-4)


def test_plain_fine_tuning_starts_at_the_loss_of_transformers() -> None:
    model = model_of("llama")
    options: dict[str, Any] = {"windows": WINDOWS, "steps": 2, "precision": "float32"}
    found = distill(None, model, loss="cross_entropy", **options)
    ids = first_batch()
    with torch.no_grad():
        expected = model(input_ids=ids, labels=ids).loss
    assert found.curve[0].loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_block_outputs_are_those_of_transformers_but_for_the_final_norm(kind: str) -> None:
    model = model_of(kind)
    with torch.no_grad():
        states = answer(model, WINDOWS, range(4)).states
        assert not any(module._forward_hooks for module in model.modules())
        theirs = model(input_ids=WINDOWS, output_hidden_states=True).hidden_states
        norm = model.model.norm if kind == "llama" else model.transformer.ln_f
        for mine, other in zip(states[:3], theirs[1:4], strict=True):
            torch.testing.assert_close(mine, other)
        torch.testing.assert_close(norm(states[3]), theirs[4])


def test_hidden_states_are_compared_with_the_blocks_that_they_came_from() -> None:
    teacher = model_of("llama")
    pupil = half(teacher)
    options: dict[str, Any] = {"windows": WINDOWS, "steps": 2, "precision": "float32"}
    found = distill(teacher, pupil, loss="hidden_mse", **options)
    ids = first_batch()
    with torch.no_grad():
        mine = answer(pupil.model, ids, [0, 1]).states
        theirs = answer(teacher, ids, pupil.settings["kept"]).states
    expected = sum(F.mse_loss(a, b).item() for a, b in zip(mine, theirs, strict=True)) / 2
    assert found.curve[0].loss == pytest.approx(expected, rel=1e-5)


def test_a_narrower_student_is_projected_and_learns() -> None:
    teacher, narrow = model_of("llama"), model_of("llama", width=8, seed=1)
    found = distill(
        teacher, narrow, windows=WINDOWS, loss="hidden_mse", steps=60, learning_rate=0.02
    )
    assert found.curve[-1].loss < 0.8 * found.curve[0].loss
    assert {name for name, _ in found.model.named_parameters()} == {
        name for name, _ in narrow.named_parameters()
    }


@pytest.mark.parametrize(
    "loss",
    ["soft", "reverse_kl", "hidden_mse", "hidden_cosine", {"soft": 1.0, "cross_entropy": 0.5}],
)
def test_every_loss_brings_the_student_nearer_to_its_teacher(teacher: Any, loss: Any) -> None:
    pupil = half(teacher)
    found = distill(
        teacher, pupil, windows=WINDOWS, loss=loss, steps=40, batch=9, learning_rate=0.01
    )
    assert found.curve[-1].loss < 0.9 * found.curve[0].loss


def test_soft_targets_bring_the_students_probabilities_nearer(teacher: Any) -> None:
    pupil = half(teacher)
    found = distill(teacher, pupil, windows=WINDOWS, steps=40, batch=9, learning_rate=0.01)
    with torch.no_grad():
        goal = teacher(input_ids=WINDOWS).logits
        before, after = (
            soft_targets(model(input_ids=WINDOWS).logits, goal).item()
            for model in (pupil.model, found.model)
        )
    assert after < 0.8 * before


# -- what stays untouched ---------------------------------------------------------------------


def test_the_teacher_is_unchanged_and_gets_no_gradient(teacher: Any) -> None:
    before = weights(teacher)
    teacher.train()
    distill(teacher, half(teacher), windows=WINDOWS, loss={"soft": 1.0, "hidden_mse": 1.0}, steps=3)
    assert same(teacher, before)
    assert all(weight.grad is None for weight in teacher.parameters())
    assert teacher.training


def test_a_teacher_with_dropout_is_asked_without_it() -> None:
    teacher = model_of("gpt2").train()
    pupil = half(teacher.eval())
    quiet = distill(teacher.eval(), pupil, windows=WINDOWS, steps=2)
    loud = distill(teacher.train(), pupil, windows=WINDOWS, steps=2)
    assert loud.curve[0].loss == quiet.curve[0].loss


def test_the_given_student_is_trained_only_if_asked(teacher: Any) -> None:
    pupil = half(teacher)
    before = weights(pupil.model)
    found = distill(teacher, pupil, windows=WINDOWS, steps=3)
    assert same(pupil.model, before)
    assert not same(found.model, before)
    assert distill(teacher, pupil, windows=WINDOWS, steps=3, inplace=True).model is pupil.model
    assert same(pupil.model, found.model.state_dict())


def test_tied_embeddings_stay_tied(teacher: Any) -> None:
    found = distill(teacher, half(teacher), windows=WINDOWS, steps=2)
    head, words = found.model.get_output_embeddings(), found.model.get_input_embeddings()
    assert head.weight is words.weight
    assert not torch.equal(words.weight, teacher.get_input_embeddings().weight)


def test_the_student_is_left_ready_to_use(teacher: Any) -> None:
    found = distill(teacher, half(teacher), windows=WINDOWS, steps=2)
    assert not found.model.training
    assert all(weight.grad is None for weight in found.model.parameters())
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    with torch.no_grad():
        cached, plain = (
            found.model.generate(WINDOWS[:1], use_cache=use, **options) for use in (True, False)
        )
    assert torch.equal(cached, plain)


def test_masked_zeros_stay_zero_in_the_copy(teacher: Any) -> None:
    pupil = half(teacher)
    for matrix in matrices(pupil.model):
        matrix.weight.mul_(matrix.weight.abs() > matrix.weight.abs().median())
    masks = masks_of(pupil.model)
    before = weights(pupil.model)
    options: dict[str, Any] = {"windows": WINDOWS, "steps": 3, "learning_rate": 0.01}
    healed = distill(teacher, pupil, masks=masks, **options)
    filled = distill(teacher, pupil, **options)
    assert masks_of(healed.model).sparsity == masks.sparsity
    assert masks_of(filled.model).sparsity < 0.1 < masks.sparsity
    assert same(pupil.model, before)


# -- precision --------------------------------------------------------------------------------


def test_a_bfloat16_student_is_trained_in_float32_and_gets_its_dtype_back() -> None:
    teacher = model_of("llama")
    exact = half(teacher).model
    rounded = copy.deepcopy(exact)
    for weight in rounded.parameters():
        weight.data = weight.data.bfloat16()
    rotary = rounded.model.rotary_emb.inv_freq.clone()
    options: dict[str, Any] = {"windows": WINDOWS, "steps": 10, "learning_rate": 1e-3}
    found = distill(teacher, rounded, **options)
    assert {weight.dtype for weight in found.model.parameters()} == {torch.bfloat16}
    assert torch.equal(found.model.model.rotary_emb.inv_freq, rotary)
    wide = distill(teacher, exact, **options)
    assert [p.loss for p in found.curve] == pytest.approx([p.loss for p in wide.curve], rel=0.05)


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
def test_mixed_precision_learns_as_float32_does(low: str) -> None:
    teacher = model_of("llama")
    options: dict[str, Any] = {"windows": WINDOWS, "steps": 10, "learning_rate": 3e-3}
    plain = distill(teacher, half(teacher), precision="float32", **options)
    mixed = distill(teacher, half(teacher), precision=low, **options)
    assert {weight.dtype for weight in mixed.model.parameters()} == {torch.float32}
    assert [p.loss for p in mixed.curve] == pytest.approx([p.loss for p in plain.curve], rel=0.05)
    assert [p.loss for p in mixed.curve] != [p.loss for p in plain.curve]


def test_a_precision_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="precision is one of float32, bfloat16, float16"):
        distill(None, model_of("llama"), loss="cross_entropy", windows=WINDOWS, precision="int8")


def test_by_default_a_cpu_computes_in_bfloat16_only_with_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert default_precision("cpu") == "bfloat16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    assert default_precision("cpu") == "float32"


# -- resuming, saving -------------------------------------------------------------------------


class PullsThePlug:
    """Stands where masks stand, and interrupts a run in its step number `after`."""

    def __init__(self, after: int) -> None:
        self.left = after

    def apply(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("loss", ["soft", "hidden_mse"])
def test_a_resumed_distillation_ends_bit_for_bit_like_a_straight_one(
    teacher: Any, loss: str, tmp_path: Path
) -> None:
    narrow = model_of("gpt2" if isinstance(teacher, GPT2LMHeadModel) else "llama", width=8, seed=2)
    options: dict[str, Any] = {"windows": WINDOWS, "loss": loss, "steps": 7, "learning_rate": 0.01}
    straight = distill(teacher, narrow, **options)
    kept: dict[str, Any] = {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 2}
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, narrow, masks=PullsThePlug(6), **options, **kept)
    resumed = distill(teacher, narrow, **options, **kept)
    assert same(resumed.model, straight.model.state_dict())
    assert [p.loss for p in resumed.curve] == [p.loss for p in straight.curve]


@pytest.mark.parametrize("changed", ["teacher", "student", "loss", "temperature"])
def test_a_checkpoint_of_another_distillation_is_refused(changed: str, tmp_path: Path) -> None:
    teacher = model_of("llama")
    given: dict[str, Any] = {
        "teacher": teacher,
        "student": half(teacher),
        "loss": "soft",
        "temperature": 1.0,
    }
    other = {
        "teacher": model_of("llama", seed=5),
        "student": student(teacher, blocks=2, choose="first"),
        "loss": "reverse_kl",
        "temperature": 2.0,
    }
    options: dict[str, Any] = {"windows": WINDOWS, "steps": 2, "checkpoint": tmp_path / "run.pt"}
    distill(**given, **options)
    with pytest.raises(ValueError, match=f"another run: {changed} was"):
        distill(**{**given, changed: other[changed]}, **options)


def test_a_student_loads_back_equal(teacher: Any, tmp_path: Path) -> None:
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.002)]) as meter:
        found = distill(teacher, half(teacher), windows=WINDOWS, steps=3, meter=meter)
    back = load_distilled(found.save(tmp_path / "student"), device="cpu")
    assert same(back.model, found.model.state_dict())
    with torch.no_grad():
        assert torch.equal(
            back.model(input_ids=WINDOWS).logits, found.model(input_ids=WINDOWS).logits
        )
    assert (back.curve, back.tokens, back.stopped_by) == (found.curve, found.tokens, "steps")
    assert back.charges.seconds == found.charges.seconds
    assert back.charges.parts == found.charges.parts
    assert str(back.charges.energy) == str(found.charges.energy)
    assert back.student.settings == json.loads(json.dumps(found.student.settings))
    assert back.student.settings["student"]["kept"] == [0, 2]


def test_a_folder_without_a_training_is_refused(teacher: Any, tmp_path: Path) -> None:
    half(teacher).save(tmp_path / "plain")
    with pytest.raises(ValueError, match=r"holds no distilled\.json"):
        load_distilled(tmp_path / "plain")


def test_the_result_says_what_was_done(teacher: Any) -> None:
    pupil = half(teacher)
    found = distill(teacher, pupil, windows=WINDOWS, loss={"soft": 2.0}, steps=3, seed=4)
    settings = found.student.settings
    assert (settings["loss"], settings["steps"], settings["seed"]) == ({"soft": 2.0}, 3, 4)
    assert "joules" not in settings  # no such budget was set
    assert found.student.before == pupil.before
    assert found.student.parameters == pupil.parameters < pupil.before.parameters
    assert found.tokens == 3 * 4 * LENGTH


# -- energy -----------------------------------------------------------------------------------


class Slow(nn.Module):
    """A block that takes a known time more."""

    def __init__(self, block: nn.Module, seconds: float) -> None:
        super().__init__()
        self.block, self.seconds = block, seconds

    def forward(self, *positional: Any, **named: Any) -> Any:
        time.sleep(self.seconds)
        return self.block(*positional, **named)


def test_teacher_and_student_are_charged_apart_and_add_up() -> None:
    teacher = model_of("llama", blocks=2)
    pupil = model_of("llama", blocks=2, seed=1)
    teacher.model.layers[0] = Slow(teacher.model.layers[0], 0.06)
    pupil.model.layers[0] = Slow(pupil.model.layers[0], 0.02)
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.002, poll_s=0.001)]) as meter:
        found = distill(teacher, pupil, windows=WINDOWS, steps=5, meter=meter, inplace=True)
        whole = meter["distill"][0].reading
    charges = found.charges
    assert charges.energy is not None
    assert sum(charges.parts[p].value for p in PARTS) == pytest.approx(charges.energy.joules)
    assert charges.energy.joules == pytest.approx(whole.joules, rel=0.02)
    assert charges.seconds[TEACHER] >= 5 * 0.06
    assert charges.parts[TEACHER].value == pytest.approx(100 * charges.seconds[TEACHER], rel=0.05)
    assert charges.parts[STUDENT].value == pytest.approx(100 * charges.seconds[STUDENT], rel=0.05)
    assert charges.parts[REST].value >= 0
    assert meter["distill"][0].work == {"tokens": 5 * 4 * LENGTH}


def test_the_joules_of_the_curve_rise_to_the_whole() -> None:
    teacher = model_of("llama")
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.002, poll_s=0.001)]) as meter:
        time.sleep(0.05)
        found = distill(teacher, half(teacher), windows=WINDOWS, steps=8, meter=meter)
    joules = [point.joules for point in found.curve if point.joules is not None]
    assert len(joules) >= 6
    assert joules == sorted(joules)
    assert found.charges.energy is not None
    assert joules[-1] <= found.charges.energy.joules * 1.01


class MayNotBeAsked(nn.Module):
    """A teacher that fails if it is asked."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the teacher ran")


def test_fine_tuning_never_runs_the_teacher_and_charges_it_nothing() -> None:
    model = model_of("llama")
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.002)]) as meter:
        found = distill(
            MayNotBeAsked(model), model, windows=WINDOWS, loss="cross_entropy", steps=3, meter=meter
        )
    assert found.charges.parts[TEACHER].value == 0
    assert found.charges.seconds[TEACHER] == 0
    assert found.charges.parts[STUDENT].value > 0


def test_a_joule_budget_stops_a_distillation() -> None:
    teacher = model_of("llama")
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.005, poll_s=0.002)]) as meter:
        found = distill(
            teacher, half(teacher), windows=WINDOWS, steps=10**6, joules=30, meter=meter
        )
    assert found.stopped_by == "joules (simulated)"
    assert found.charges.energy is not None
    assert 30 <= found.charges.energy.joules < 60
    assert found.student.settings["joules"] == 30


def test_tokens_that_pay_a_training_back() -> None:
    teacher = model_of("llama")
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.002)]) as meter:
        found = distill(teacher, half(teacher), windows=WINDOWS, steps=3, meter=meter)
        with meter.window("dense") as dense:
            time.sleep(0.2)
        with meter.window("small") as small:
            time.sleep(0.1)
        tokens = found.break_even(dense.reading, small.reading, tokens=10)
        assert found.charges.energy is not None
        saved = (dense.reading.joules - small.reading.joules) / 10
        assert tokens.value == pytest.approx(found.charges.energy.joules / saved)
        unmetered = distill(teacher, half(teacher), windows=WINDOWS, steps=1)
        with pytest.raises(NotMeasuredError, match="no meter was given"):
            unmetered.break_even(dense.reading, small.reading, tokens=10)


# -- bad input --------------------------------------------------------------------------------


def refused(teacher: Any, pupil: Any, match: str, **options: Any) -> None:
    """The call is refused, and both models are as they were."""
    model = getattr(pupil, "model", pupil)
    before = [weights(m) for m in (teacher, model)]
    with pytest.raises(ValueError, match=match):
        distill(teacher, pupil, **{"windows": WINDOWS, "steps": 2, **options}, inplace=True)
    assert same(teacher, before[0])
    assert same(model, before[1])


def test_a_student_larger_than_its_teacher_is_refused(teacher: Any) -> None:
    kind = "gpt2" if isinstance(teacher, GPT2LMHeadModel) else "llama"
    refused(teacher, model_of(kind, width=32), "width 32 against 16")
    refused(teacher, model_of(kind, blocks=5), "blocks 5 against 4")


def test_a_student_with_more_parameters_is_refused() -> None:
    fat = model_of("llama", intermediate_size=512)
    refused(model_of("llama"), fat, r"parameters [\d,]+ against")


def test_another_vocabulary_is_refused(teacher: Any) -> None:
    kind = "gpt2" if isinstance(teacher, GPT2LMHeadModel) else "llama"
    refused(teacher, model_of(kind, blocks=2, vocab_size=29), "knows 29 tokens and the teacher 31")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"loss": "softest"}, "cross_entropy, soft, reverse_kl, hidden_mse, hidden_cosine"),
        ({"loss": {"soft": -1.0}}, "weight above 0"),
        ({"steps": 0}, "steps must be 1 or more"),
        ({"batch": 10}, "too short: it has 9 windows"),
        ({"temperature": 0.0}, "temperature must be a number above 0"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0"),
        ({"windows": WINDOWS + VOCABULARY}, "tokenize with the model's own tokenizer"),
        ({"windows": WINDOWS.repeat(1, 3)}, "longer than the 32"),
        ({"windows": WINDOWS[:0]}, "it needs a window"),
        ({"text": "some text"}, "not both"),
        ({"windows": None}, "no tokenizer"),
        ({"checkpoint": "run.pt", "checkpoint_every": 0}, "checkpoint_every must be 1"),
        ({"joules": 5.0}, "needs a meter"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, Any], match: str) -> None:
    teacher = model_of("llama")
    refused(teacher, half(teacher), match, **wrong)


def test_a_loss_of_the_teacher_needs_one() -> None:
    with pytest.raises(ValueError, match="'soft' needs a teacher"):
        distill(None, model_of("llama"), windows=WINDOWS, steps=1)


def letters(text: str, **_: object) -> dict[str, list[int]]:
    """A tokenizer with one token a letter."""
    return {"input_ids": [ord(letter) % VOCABULARY for letter in text]}


def loaded(model: Any) -> LoadedModel:
    return LoadedModel(model, letters, "tiny", False, "random", torch.device("cpu"), torch.float32)


def test_a_text_is_cut_into_windows_of_the_length_asked_for() -> None:
    teacher = loaded(model_of("llama"))
    text = "thequickbrownfox" * 10
    found = distill(
        teacher, student(teacher, blocks=2, choose="first"), text=text, length=8, steps=2
    )
    assert found.tokens == 2 * 4 * 8
    assert found.loaded is not None
    assert found.loaded.trained
    assert found.loaded.model is found.model
    assert "compressed by distill" in found.loaded.provenance


@pytest.mark.parametrize("text", ["", "too short"])
def test_a_text_that_is_empty_or_too_short_is_refused(text: str) -> None:
    teacher = loaded(model_of("llama"))
    with pytest.raises(ValueError, match="fewer than one window of 12"):
        distill(teacher, student(teacher, blocks=2, choose="first"), text=text, length=12)


def test_the_test_split_is_refused() -> None:
    teacher = loaded(model_of("llama"))
    secret = Text("test", (Article("A", "a" * 200),), "", "")
    with pytest.raises(ValueError, match="test split"):
        distill(teacher, student(teacher, blocks=2, choose="first"), text=secret, length=12)
