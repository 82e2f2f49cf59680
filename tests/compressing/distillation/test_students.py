"""Students are copies of the teacher's own blocks, and know which ones these are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from greenkit.compressing import block_influence, blocks, load_compressed, remove_blocks
from greenkit.compressing.distillation.students import blocks_paired, spread, student
from greenkit.inputs import LoadedModel

Fixture = Callable[..., Any]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads take longer over tiny matrices than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=("llama", "gpt2"))
def teacher(request: pytest.FixtureRequest, make: Fixture) -> Any:
    """A tiny teacher of six blocks."""
    return make(request.param, num_hidden_layers=6)


def by_hand(teacher: Any, kept: list[int]) -> Any:
    """A model of the library's own making whose weights are those of the kept blocks."""
    config = copy.deepcopy(teacher.config)
    config.num_hidden_layers = len(kept)
    model = type(teacher)(config)
    place = "model.layers." if hasattr(teacher, "model") else "transformer.h."
    renamed = {}
    for name, tensor in teacher.state_dict().items():
        if not name.startswith(place):
            renamed[name] = tensor
            continue
        number, _, rest = name.removeprefix(place).partition(".")
        if int(number) in kept:
            renamed[f"{place}{kept.index(int(number))}.{rest}"] = tensor
    model.load_state_dict(renamed)
    return model.eval()


CHOICES: dict[str, list[int]] = {"first": [0, 1, 2, 3], "every_other": [0, 2, 3, 5]}


@pytest.mark.parametrize("choose", CHOICES)
def test_a_student_says_what_a_model_of_these_blocks_says(
    teacher: Any, choose: Any, ids: Any, logits: Fixture
) -> None:
    found = student(teacher, blocks=4, choose=choose)
    kept = CHOICES[choose]
    assert found.settings["kept"] == kept
    torch.testing.assert_close(logits(found.model, ids), logits(by_hand(teacher, kept), ids))


def test_influence_keeps_the_blocks_that_turn_their_input_most(teacher: Any, ids: Any) -> None:
    with torch.no_grad():
        states = teacher(input_ids=ids, output_hidden_states=True).hidden_states
    turned = [
        1 - torch.cosine_similarity(a.double(), b.double(), dim=-1).mean().item()
        for a, b in pairwise(states[:-1])
    ]  # the last state is behind the final norm, so the last block is left to block_influence
    turned.append(block_influence(teacher, ids)[-1])
    most = sorted(sorted(range(6), key=lambda n: -turned[n])[:4])
    found = student(teacher, blocks=4, calibration=ids)
    assert found.settings["kept"] == most
    assert found.settings["choose"] == "influence"


@pytest.mark.parametrize("choose", ["influence", "every_other", "first", "random"])
def test_a_student_generates_alike_with_and_without_a_cache(
    teacher: Any, choose: Any, ids: Any, continue_text: Fixture
) -> None:
    model = student(teacher, blocks=3, choose=choose, calibration=ids).model
    assert model.config.num_hidden_layers == len(blocks(model)) == 3
    cached, plain = (continue_text(model, ids[:2], cache=use) for use in (True, False))
    assert torch.equal(cached, plain)


@pytest.mark.parametrize("choose", ["influence", "every_other", "first", "random"])
def test_the_teacher_stays_as_it_is_and_shares_nothing(
    teacher: Any, choose: Any, ids: Any, state: Fixture, same: Fixture
) -> None:
    before, settings = state(teacher), teacher.config.to_dict()
    model = student(teacher, blocks=3, choose=choose, calibration=ids).model
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert same(state(teacher), before)
    assert teacher.config.to_dict() == settings


@pytest.mark.parametrize("choose", ["first", "random"])
def test_tied_embeddings_stay_tied(teacher: Any, choose: Any) -> None:
    model = student(teacher, blocks=3, choose=choose).model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_random_student_follows_its_seed_and_not_the_teacher(
    teacher: Any, state: Fixture, same: Fixture
) -> None:
    torch.manual_seed(1)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    one, again, other = (
        student(teacher, blocks=3, choose="random", seed=seed) for seed in (4, 4, 5)
    )
    assert torch.equal(torch.rand(1), drawn)
    assert same(state(one.model), state(again.model))
    assert not same(state(one.model), state(other.model))
    copied = student(teacher, blocks=3, choose="first").model
    assert one.parameters == sum(weight.numel() for weight in copied.parameters())
    theirs = teacher.get_input_embeddings().weight
    assert not torch.equal(one.model.get_input_embeddings().weight, theirs)


def test_a_random_student_of_a_half_precision_teacher_has_its_dtype(make: Fixture) -> None:
    teacher = make("llama")
    for weight in teacher.parameters():
        weight.data = weight.data.bfloat16()
    model = student(teacher, blocks=2, choose="random").model
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_only_a_random_student_counts_as_untrained(make: Fixture) -> None:
    model = make("llama")
    place = torch.device("cpu")
    teacher = LoadedModel(model, None, "tiny", True, "drawn", place, torch.float32)
    copied, fresh = (student(teacher, blocks=2, choose=c) for c in ("first", "random"))
    assert copied.loaded is not None
    assert fresh.loaded is not None
    assert (copied.loaded.trained, fresh.loaded.trained) == (True, False)
    assert "random" in fresh.loaded.provenance


def test_a_student_loads_back_equal(
    teacher: Any, tmp_path: Path, state: Fixture, same: Fixture
) -> None:
    found = student(teacher, blocks=4, choose="every_other")
    back = load_compressed(found.save(tmp_path), device="cpu")
    assert same(state(back.model), state(found.model))
    assert (back.method, dict(back.settings)) == ("student", dict(found.settings))


@pytest.mark.parametrize(
    ("available", "removed", "gone"),
    [
        (30, 15, list(range(1, 30, 2))),
        (30, 6, [1, 6, 11, 16, 21, 26]),
        (6, 1, [1]),
        (6, 5, [1, 2, 3, 4, 5]),
    ],
)
def test_every_other_is_spread_evenly(available: int, removed: int, gone: list[int]) -> None:
    assert spread(available, removed) == gone


@pytest.mark.parametrize("removed", range(1, 30))
def test_spread_blocks_are_different_ones_of_the_model(removed: int) -> None:
    gone = spread(30, removed)
    assert len(set(gone)) == removed
    assert set(gone) <= set(range(1, 30))


# -- which block stands for which -------------------------------------------------------------


@pytest.mark.parametrize("make_shorter", ["student", "remove_blocks"])
def test_blocks_are_paired_with_those_they_came_from(teacher: Any, make_shorter: str) -> None:
    if make_shorter == "student":
        shorter = student(teacher, blocks=4, choose="every_other")
    else:
        shorter = remove_blocks(teacher, [1, 4])
    assert blocks_paired(teacher, shorter) == [(0, 0), (2, 1), (3, 2), (5, 3)]


def test_blocks_of_a_stranger_stand_for_equal_shares(teacher: Any) -> None:
    stranger = student(teacher, blocks=3, choose="random")
    assert blocks_paired(teacher, stranger) == [(1, 0), (3, 1), (5, 2)]
    assert blocks_paired(teacher, stranger.model) == [(1, 0), (3, 1), (5, 2)]


# -- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [-1, 0, 6, 7])
@pytest.mark.parametrize("choose", ["first", "random"])
def test_a_student_as_deep_as_its_teacher_is_refused(
    teacher: Any, number: int, choose: Any
) -> None:
    with pytest.raises(ValueError, match=f"1 to 5: it cannot be as deep .* got {number}"):
        student(teacher, blocks=number, choose=choose)


def test_a_choice_that_does_not_exist_is_refused(teacher: Any) -> None:
    with pytest.raises(ValueError, match="influence, loss, every_other, first, random; got 'best'"):
        student(teacher, blocks=2, choose="best")  # type: ignore[arg-type]


def test_influence_without_text_is_refused(teacher: Any) -> None:
    with pytest.raises(ValueError, match="no tokenizer"):
        student(teacher, blocks=2)


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="no decoder blocks"):
        student(nn.Linear(2, 2), blocks=2)
