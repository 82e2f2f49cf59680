"""Criteria on small matrices, against formulas written out again in float64 with numpy."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from greenkit.compressing.moments import factor_of, second_moments  # noqa: E402
from greenkit.compressing.pruning.criteria import (  # noqa: E402
    keep_highest,
    keep_n_of_m,
    magnitude_scores,
    sparsegpt,
    sweep,
    wanda_scores,
)

TOKENS, INPUTS, OUTPUTS = 60, 16, 10


@pytest.fixture
def layer() -> tuple[Any, Any]:
    """A weight (out, in) and inputs (tokens, in) whose features differ in size and correlate."""
    generator = np.random.default_rng(0)
    mix = generator.normal(size=(INPUTS, INPUTS)) + 2 * np.eye(INPUTS)
    inputs = generator.normal(size=(TOKENS, INPUTS)) @ mix * generator.uniform(0.1, 3, INPUTS)
    return generator.normal(size=(OUTPUTS, INPUTS)), inputs


def tensor(values: Any) -> Any:
    return torch.from_numpy(np.array(values, dtype=np.float32))


def obs(
    weight: Any, inputs: Any, sparsity: float, pattern: tuple[int, int] | None, columns: int
) -> Any:
    """Optimal brain surgery column by column, every inverse computed anew.

    The weights of a column that go are removed, and the columns to its right take their best
    new values given that those to its left stay: Hassibi & Stork 1993, equation 5, row by row.
    """
    w = weight.astype(np.float64).copy()
    rows, width = w.shape
    h = inputs.T.astype(np.float64) @ inputs.astype(np.float64)
    h += 0.01 * np.mean(np.diag(h)) * np.eye(width)
    inverses = [np.linalg.inv(h[j:, j:]) for j in range(width)]
    step = columns if pattern is None else pattern[1]
    gone = np.zeros(w.shape, dtype=bool)
    for j in range(width):
        if j % step == 0:
            ahead = range(j, min(j + step, width))
            scores = np.stack([w[:, c] ** 2 / inverses[c][0, 0] for c in ahead], axis=1)
            if pattern is None:
                order = np.argsort(scores, axis=None)[: int(scores.size * sparsity)]
                chosen = np.zeros(scores.size, dtype=bool)
                chosen[order] = True
                gone[:, j : j + step] = chosen.reshape(scores.shape)
            else:
                for row in range(rows):
                    order = np.argsort(scores[row])[: pattern[1] - pattern[0]]
                    gone[row, j + order] = True
        for row in np.flatnonzero(gone[:, j]):
            w[row, j:] -= w[row, j] / inverses[j][0, 0] * inverses[j][0]
            w[row, j] = 0
    return w


def error(weight: Any, repaired: Any, inputs: Any) -> float:
    return float(np.square(inputs @ (weight - repaired).T).sum())


def best_for_mask(weight: Any, inputs: Any, kept: Any) -> Any:
    """The least squares solution, row by row, with the given weights at zero."""
    best = np.zeros_like(weight)
    for row in range(len(weight)):
        chosen = np.flatnonzero(kept[row])
        target = inputs @ weight[row]
        best[row, chosen] = np.linalg.lstsq(inputs[:, chosen], target, rcond=None)[0]
    return best


@pytest.mark.parametrize("sparsity", [0.0, 0.29, 0.5, 0.7, 0.99])
def test_magnitude_removes_the_smallest_weights(layer: tuple[Any, Any], sparsity: float) -> None:
    weight, _ = layer
    scores = magnitude_scores(tensor(weight))
    keep = keep_highest(scores.reshape(1, -1), sparsity).reshape(scores.shape)
    expected = np.ones(weight.size, dtype=bool)
    expected[np.argsort(np.abs(weight), axis=None)[: int(weight.size * sparsity)]] = False
    assert np.array_equal(keep.numpy(), expected.reshape(weight.shape))


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.7])
def test_wanda_compares_weight_times_input_norm_in_each_row(
    layer: tuple[Any, Any], sparsity: float
) -> None:
    weight, inputs = layer
    norms = torch.linalg.vector_norm(tensor(inputs), dim=0)
    keep = keep_highest(wanda_scores(tensor(weight), norms), sparsity).numpy()
    for row in range(OUTPUTS):
        scores = [
            abs(weight[row, j]) * sum(x**2 for x in inputs[:, j]) ** 0.5 for j in range(INPUTS)
        ]
        lowest = sorted(range(INPUTS), key=scores.__getitem__)[: int(INPUTS * sparsity)]
        assert set(np.flatnonzero(~keep[row])) == set(lowest)


def test_the_hundredth_that_binary_cannot_write_is_not_lost() -> None:
    assert int(100 * 0.29) == 28
    assert keep_highest(torch.rand(3, 100), 0.29).sum(1).tolist() == [71, 71, 71]


def test_equal_scores_are_removed_to_the_exact_count() -> None:
    scores = torch.tensor([[1.0, 1, 1, 1], [2, 1, 1, 1], [0, 0, 0, 5], [3, 2, 1, 0]])
    keep = keep_highest(scores, 0.5)
    assert keep.sum(1).tolist() == [2, 2, 2, 2]
    assert keep[1].tolist() == [True, True, False, False]
    assert keep[3].tolist() == [True, True, False, False]


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (1, 4), (4, 8), (3, 4), (1, 2)])
def test_n_of_m_keeps_the_best_choice_of_each_neighborhood(
    layer: tuple[Any, Any], kept: int, of: int
) -> None:
    scores = np.abs(layer[0])
    keep = keep_n_of_m(tensor(scores), kept, of).numpy()
    for row in range(OUTPUTS):
        for start in range(0, INPUTS, of):
            near = scores[row, start : start + of]
            best = max(combinations(range(of), kept), key=lambda chosen: near[list(chosen)].sum())
            assert tuple(np.flatnonzero(keep[row, start : start + of])) == best


@pytest.mark.parametrize(
    ("sparsity", "pattern", "columns"),
    [(0.5, None, 16), (0.5, None, 4), (0.7, None, 8), (0.5, (2, 4), 8), (0.75, (1, 4), 128)],
)
def test_sparsegpt_is_optimal_brain_surgery_column_by_column(
    layer: tuple[Any, Any], sparsity: float, pattern: tuple[int, int] | None, columns: int
) -> None:
    weight, inputs = layer
    moments = second_moments(tensor(inputs))
    ours = sparsegpt(
        tensor(weight), moments, sparsity, pattern=pattern, columns_at_once=columns
    ).numpy()
    expected = obs(weight, inputs, sparsity, pattern, columns)
    assert np.array_equal(ours == 0, expected == 0)
    assert np.allclose(ours, expected, atol=1e-3)


def test_waiting_columns_change_nothing_but_the_order_of_additions(layer: tuple[Any, Any]) -> None:
    weight, moments = tensor(layer[0]), second_moments(tensor(layer[1]))
    four, eight, all_at_once = (
        sparsegpt(weight, moments, 0.5, pattern=(2, 4), columns_at_once=n) for n in (4, 8, 128)
    )
    assert torch.allclose(four, all_at_once, atol=1e-4)
    assert torch.allclose(eight, all_at_once, atol=1e-4)


@pytest.mark.parametrize(("pattern", "group"), [(None, 4), ((2, 4), 4)])
def test_matrices_walked_together_are_pruned_as_each_alone(
    layer: tuple[Any, Any], pattern: tuple[int, int] | None, group: int
) -> None:
    weight, moments = tensor(layer[0]), second_moments(tensor(layer[1]))
    settings = {"sparsity": 0.5, "pattern": pattern, "group": group}
    together = sweep(weight, factor_of(moments), rows=(3, 7), **settings)
    alone = [
        sparsegpt(own, moments, 0.5, pattern=pattern, columns_at_once=group)
        for own in weight.split((3, 7))
    ]
    assert torch.equal(together == 0, torch.cat(alone) == 0)
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_sparsegpt_lies_between_the_best_repair_of_its_mask_and_none(
    layer: tuple[Any, Any], sparsity: float
) -> None:
    weight, inputs = layer
    ours = sparsegpt(tensor(weight), second_moments(tensor(inputs)), sparsity).double().numpy()
    best = best_for_mask(weight, inputs, ours != 0)
    least, none = error(weight, best, inputs), error(weight, weight * (ours != 0), inputs)
    assert least <= error(weight, ours, inputs) < 0.8 * none


def test_one_weight_in_the_first_column_is_repaired_as_well_as_can_be(
    layer: tuple[Any, Any],
) -> None:
    weight, inputs = layer
    weight = weight.copy()
    weight[:, 0] = 1e-3  # the least important of each row, so the one that goes
    moments = second_moments(tensor(inputs))
    ours = sparsegpt(tensor(weight), moments, 1 / INPUTS, damping=1e-7).double().numpy()
    assert np.array_equal(ours == 0, np.arange(INPUTS) == np.zeros((OUTPUTS, 1)))
    best = best_for_mask(weight, inputs, ours != 0)
    assert np.allclose(ours, best, atol=1e-4)


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_sparsegpt_removes_the_exact_count(
    layer: tuple[Any, Any], pattern: tuple[int, int] | None
) -> None:
    weight, moments = tensor(layer[0]), second_moments(tensor(layer[1]))
    found = sparsegpt(weight, moments, 0.5, pattern=pattern)
    assert found.count_nonzero() == weight.numel() / 2


def test_weights_on_a_silent_input_go_first(layer: tuple[Any, Any]) -> None:
    weight, inputs = layer
    inputs = inputs.copy()
    inputs[:, [3, 9]] = 0
    found = sparsegpt(tensor(weight), second_moments(tensor(inputs)), 0.25)
    assert not found[:, [3, 9]].any()
    assert found.isfinite().all()
    assert found.count_nonzero() == weight.size * 0.75


def test_the_given_weight_is_left_as_it_was(layer: tuple[Any, Any]) -> None:
    weight, moments = tensor(layer[0]), second_moments(tensor(layer[1]))
    sparsegpt(weight, moments, 0.5)
    assert torch.equal(weight, tensor(layer[0]))
    assert torch.equal(moments, second_moments(tensor(layer[1])))
