"""Masks: what an optimizer step undoes, and what puts it right."""

from __future__ import annotations

from typing import Any

import pytest

from greenkit.compressing import masks_of, matrices, prune

torch = pytest.importorskip("torch")


def train_a_step(model: Any, ids: Any) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()


def zeros(model: Any) -> int:
    return sum(int((matrix.weight == 0).sum()) for matrix in matrices(model))


def test_an_optimizer_step_fills_the_zeros_and_the_masks_empty_them(model: Any, ids: Any) -> None:
    pruned = prune(model, "magnitude", 0.5).model
    masks, before = masks_of(pruned), zeros(pruned)
    train_a_step(pruned, ids)
    assert zeros(pruned) < 0.01 * before
    masks.apply()
    assert zeros(pruned) == before


def test_masks_leave_what_was_trained(model: Any, ids: Any) -> None:
    pruned = prune(model, "magnitude", 0.5).model
    masks = masks_of(pruned)
    train_a_step(pruned, ids)
    trained = [matrix.weight.clone() for matrix in matrices(pruned)]
    masks.apply()
    for matrix, mine in zip(matrices(pruned), trained, strict=True):
        stays = matrix.weight != 0
        assert torch.equal(matrix.weight[stays], mine[stays])


def test_masks_know_their_sparsity(model: Any) -> None:
    assert masks_of(prune(model, "magnitude", 0.25).model).sparsity == 0.25
