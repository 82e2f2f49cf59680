"""Each loss is the one that torch.nn.functional or a closed form in float64 gives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from greenkit.compressing.distillation.losses import (
    LOSSES,
    cross_entropy,
    hidden_states,
    loss_weights,
    mixed_loss,
    reverse_kl,
    soft_targets,
)

BATCH, TOKENS, VOCABULARY, WIDTH = 2, 5, 7, 6


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


def logits(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return random(BATCH, TOKENS, VOCABULARY, seed=seed, dtype=dtype)


IDS = torch.randint(0, VOCABULARY, (BATCH, TOKENS), generator=torch.Generator().manual_seed(3))
MASK = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1]], dtype=torch.bool)
TARGETS = MASK[:, 1:].flatten()


def flat(values: Tensor) -> Tensor:
    return values[:, :-1].reshape(-1, VOCABULARY)


def divergence(p_logits: Tensor, q_logits: Tensor) -> float:
    """KL(p ‖ q) summed over one row, in plain Python."""
    p, q = ([math.exp(x - max(row)) for x in row] for row in (p_logits.tolist(), q_logits.tolist()))
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_cross_entropy_is_that_of_torch_on_shifted_tokens() -> None:
    expected = F.cross_entropy(flat(logits(0)), IDS[:, 1:].flatten())
    assert cross_entropy(logits(0), IDS).item() == pytest.approx(expected.item(), abs=1e-12)


def test_a_mask_leaves_out_targets_and_not_positions() -> None:
    targets = IDS[:, 1:].flatten().masked_fill(~TARGETS, -100)
    expected = F.cross_entropy(flat(logits(0)), targets)
    assert cross_entropy(logits(0), IDS, mask=MASK).item() == pytest.approx(
        expected.item(), abs=1e-12
    )


def test_what_a_masked_token_says_does_not_matter() -> None:
    changed = IDS.clone()
    changed[~MASK] = (changed[~MASK] + 1) % VOCABULARY
    same = cross_entropy(logits(0), changed, mask=MASK)
    assert same.item() == cross_entropy(logits(0), IDS, mask=MASK).item()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("mask", [None, MASK])
def test_soft_targets_are_torchs_divergence_times_temperature_squared(
    temperature: float, mask: Tensor | None
) -> None:
    rows = slice(None) if mask is None else TARGETS
    log_q = F.log_softmax(flat(logits(0)) / temperature, -1)[rows]
    log_p = F.log_softmax(flat(logits(1)) / temperature, -1)[rows]
    expected = temperature**2 * F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
    found = soft_targets(logits(0), logits(1), temperature=temperature, mask=mask)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


def test_soft_targets_of_one_row_agree_with_plain_python() -> None:
    teacher, student = random(1, 2, 4, seed=5), random(1, 2, 4, seed=6)
    expected = 9 * divergence(teacher[0, 0] / 3, student[0, 0] / 3)
    assert soft_targets(student, teacher, temperature=3.0).item() == pytest.approx(expected)


def test_reverse_divergence_of_one_row_agrees_with_plain_python() -> None:
    teacher, student = random(1, 2, 4, seed=5), random(1, 2, 4, seed=6)
    expected = divergence(student[0, 0], teacher[0, 0])
    assert reverse_kl(student, teacher).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_gradient_of_soft_targets_is_temperature_times_q_minus_p(temperature: float) -> None:
    student = logits(0).requires_grad_()
    soft_targets(student, logits(1), temperature=temperature).backward()
    q = F.softmax(student.detach() / temperature, -1)
    p = F.softmax(logits(1) / temperature, -1)
    positions = BATCH * (TOKENS - 1)
    expected = temperature * (q - p) / positions  # without T² it would be (q - p) / T
    expected[:, -1] = 0  # the last position predicts a token outside the window
    assert student.grad is not None
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-12)


def test_at_high_temperature_distilling_matches_logits() -> None:
    """Hinton et al. 2015, equation 4: with zero-mean logits the gradient tends to (z - v) / N."""
    student, teacher = (x - x.mean(-1, keepdim=True) for x in (logits(0), logits(1)))
    student.requires_grad_()
    soft_targets(student, teacher, temperature=1e4).backward()
    expected = (student.detach() - teacher)[:, :-1] / VOCABULARY / (BATCH * (TOKENS - 1))
    assert student.grad is not None
    torch.testing.assert_close(student.grad[:, :-1], expected, rtol=1e-2, atol=1e-4)


def test_the_gradient_of_the_reverse_divergence_passes_gradcheck() -> None:
    student = logits(0).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: reverse_kl(z, logits(1), temperature=2.0), student)


@pytest.mark.parametrize("loss", [soft_targets, reverse_kl])
def test_a_student_that_agrees_has_no_loss_and_no_gradient(loss: Any) -> None:
    student = logits(0).requires_grad_()
    value = loss(student, logits(0) + 3.0, temperature=2.0)  # logits count up to a constant
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert student.grad is not None
    assert student.grad.abs().max().item() < 1e-12


def test_hidden_states_by_mse_are_torchs() -> None:
    mine, theirs = (
        [random(BATCH, TOKENS, WIDTH, seed=s) for s in pair] for pair in ((0, 1), (2, 3))
    )
    expected = sum(F.mse_loss(a, b) for a, b in zip(mine, theirs, strict=True)) / 2
    assert hidden_states(mine, theirs).item() == pytest.approx(float(expected), abs=1e-12)


def test_hidden_states_by_cosine_are_torchs_on_the_tokens_that_count() -> None:
    mine, theirs = random(BATCH, TOKENS, WIDTH, seed=0), random(BATCH, TOKENS, WIDTH, seed=1)
    expected = 1 - F.cosine_similarity(mine[MASK], theirs[MASK], dim=-1).mean()
    found = hidden_states([mine], [theirs], kind="hidden_cosine", mask=MASK)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


def test_the_cosine_does_not_see_size() -> None:
    mine = random(BATCH, TOKENS, WIDTH)
    assert hidden_states([mine], [5 * mine], kind="hidden_cosine").item() < 1e-12


def test_a_mix_is_the_weighted_sum() -> None:
    states = [random(BATCH, TOKENS, WIDTH, seed=0)], [random(BATCH, TOKENS, WIDTH, seed=1)]
    found = mixed_loss(
        {"cross_entropy": 0.5, "soft": 2.0, "hidden_mse": 0.1},
        student_logits=logits(0),
        ids=IDS,
        teacher_logits=logits(1),
        student_states=states[0],
        teacher_states=states[1],
        temperature=2.0,
        mask=MASK,
    )
    expected = (
        0.5 * cross_entropy(logits(0), IDS, mask=MASK)
        + 2.0 * soft_targets(logits(0), logits(1), temperature=2.0, mask=MASK)
        + 0.1 * hidden_states(*states, mask=MASK)
    )
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


def test_low_precision_logits_are_compared_in_float32() -> None:
    student, teacher = logits(0, torch.bfloat16), logits(1, torch.bfloat16)
    found = soft_targets(student, teacher)
    assert found.dtype == torch.float32
    assert found.item() == soft_targets(student.float(), teacher.float()).item()


@pytest.mark.parametrize("name", LOSSES)
def test_each_name_is_a_mix_of_its_own(name: str) -> None:
    assert loss_weights(name) == {name: 1.0}


@pytest.mark.parametrize("wrong", ["sofft", {}, {"soft": 1.0, "hard": 1.0}])
def test_an_unknown_loss_is_refused_with_those_that_exist(wrong: Any) -> None:
    with pytest.raises(ValueError, match="cross_entropy, soft, reverse_kl, hidden_mse"):
        loss_weights(wrong)


@pytest.mark.parametrize("weight", [0, -1.0, math.nan, math.inf])
def test_a_weight_that_is_not_above_zero_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight above 0"):
        loss_weights({"soft": weight})


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        soft_targets(logits(0), logits(1), temperature=temperature)


def test_a_mask_without_targets_is_refused() -> None:
    first_only = torch.zeros_like(MASK)
    first_only[:, 0] = True  # the first token is predicted by nobody
    with pytest.raises(ValueError, match="no token"):
        cross_entropy(logits(0), IDS, mask=first_only)


def test_states_that_do_not_pair_are_refused() -> None:
    mine, wide = random(BATCH, TOKENS, WIDTH), random(BATCH, TOKENS, WIDTH + 1)
    with pytest.raises(ValueError, match="width"):
        hidden_states([mine], [wide])
    with pytest.raises(ValueError, match="paired"):
        hidden_states([mine, mine], [mine])
    with pytest.raises(ValueError, match="hidden_mse or hidden_cosine"):
        hidden_states([mine], [mine], kind="mse")


def test_a_loss_of_the_teacher_needs_one() -> None:
    with pytest.raises(ValueError, match="needs a teacher"):
        mixed_loss({"soft": 1.0}, student_logits=logits(0), ids=IDS)
