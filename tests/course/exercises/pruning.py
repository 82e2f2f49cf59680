"""The tests of the tests of lab 04: wrong answers are refused with a reason, variants pass."""

import math

import pytest

torch = pytest.importorskip("torch")


def mask_by_scores(scores):
    best = scores.reshape(-1, 4).topk(2, dim=1).indices
    mask = torch.zeros(best.shape[0], 4, dtype=torch.bool).scatter(1, best, True)
    return mask.reshape(scores.shape)


def mask_by_loops(weights, inputs):
    mask = torch.zeros_like(weights)
    for row in range(weights.shape[0]):
        for start in range(0, weights.shape[1], 4):
            scores = {
                column: abs(float(weights[row, column]))
                * float(inputs[:, column].pow(2).sum()) ** 0.5
                for column in range(start, start + 4)
            }
            for column in sorted(scores, key=scores.get)[2:]:
                mask[row, column] = 1
    return mask


def brain_surgeon(row, moments, removed):
    inverse = torch.linalg.inv(moments)
    new = row - row[removed] / inverse[removed, removed] * inverse[:, removed]
    new[removed] = 0
    return new


def least_squares(row, moments, removed):
    left = [n for n in range(len(row)) if n != removed]
    root = torch.linalg.cholesky(moments).T
    new = torch.zeros_like(row)
    new[left] = torch.linalg.lstsq(root[:, left], (root @ row)[:, None]).solution[:, 0]
    return new


def dropped(row, moments, removed):
    row[removed] = 0
    return row


def half_repaired(row, moments, removed):
    plain = row.clone()
    plain[removed] = 0
    return (brain_surgeon(row, moments, removed) + plain) / 2


RIGHT = {
    "csr_bytes": [
        lambda s, v, i: (1 - s) * (v + i) / v,
        lambda s, v, i: (1 - s) * (1 + i / v),
    ],
    "fewest_blocks": [
        lambda f, n, own, other: math.ceil(round(f * (n * own + other) / own, 9)),
        lambda f, n, own, other: next(
            k for k in range(n + 1) if k * own >= f * (n * own + other) * (1 - 1e-12)
        ),
    ],
    "wanda_2_4": [
        lambda w, x: mask_by_scores(w.abs() * x.norm(dim=0)),
        mask_by_loops,
    ],
    "repair": [brain_surgeon, least_squares],
}

WRONG = {
    "csr_bytes": [
        (lambda s, v, i: 1 - s, "number of its column"),
        (lambda s, v, i: (1 - s) * i / v, "values are kept"),
        (lambda s, v, i: v / ((1 - s) * (v + i)), "turn it over"),
        (lambda s, v, i: s * (v + i) / v, "a tenth is left"),
        (lambda s, v, i: 1.5, "not 1.5"),
        (lambda s, v, i: 7, "1.5 times"),
        (1.5, "without calling"),
    ],
    "fewest_blocks": [
        (lambda f, n, own, other: f * n, "fraction of the blocks"),
        (lambda f, n, own, other: math.ceil(f * n), "fraction of the blocks"),
        (lambda f, n, own, other: f * (n * own + other) / own, "round up"),
        (lambda f, n, own, other: int(f * (n * own + other) / own), "round up"),
        (lambda f, n, own, other: 4, "is 7; your function says 4"),
        (lambda f, n, own, other: 11, "is 7"),
    ],
    "wanda_2_4": [
        (lambda w, x: mask_by_scores(w.abs()), "largest weights"),
        (lambda w, x: mask_by_scores(w * x.norm(dim=0)), "absolute value"),
        (lambda w, x: mask_by_scores(w.abs() * x.sum(dim=0).abs()), "sum of the inputs"),
        (lambda w, x: ~mask_by_scores(w.abs() * x.norm(dim=0)), "weights that go"),
        (
            lambda w, x: w.abs() * x.norm(dim=0) > (w.abs() * x.norm(dim=0)).median(),
            "each four by themselves",
        ),
        (lambda w, x: w * mask_by_scores(w.abs() * x.norm(dim=0)), "Return the mask"),
        (lambda w, x: torch.ones(3, 3), "weights' shape"),
        (lambda w, x: mask_by_scores(torch.rand(w.shape)), "not those with the highest"),
    ],
    "repair": [
        (dropped, "do not make up for it"),
        (half_repaired, "not the best"),
        (lambda row, moments, removed: row, "should be zero"),
        (lambda row, moments, removed: row[1:], "row's shape"),
        (
            lambda row, moments, removed: brain_surgeon(
                row, moments + 0.1 * moments.diagonal().mean() * torch.eye(len(row)), removed
            ),
            "Do not round or damp",
        ),
    ],
}
