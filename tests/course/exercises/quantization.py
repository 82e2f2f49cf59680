"""The tests of the tests of lab 05: wrong answers are refused with a reason, variants pass."""

import math

import torch


def grid(row, bits):
    low, high = min(0.0, *row), max(0.0, *row)
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)


def grid_of_torch(row, bits):
    values = torch.tensor([*row, 0.0], dtype=torch.float64)
    steps = 2**bits - 1
    scale = (values.max() - values.min()) / steps
    return scale, torch.round(-values.min() / scale)


def compensated(later, error, inverse):
    return [w - error / inverse[0][0] * h for w, h in zip(later, inverse[0][1:], strict=True)]


def best_of_all(later, error, inverse):
    """The shift that makes the quadratic form of H least, the first weight's error given."""
    h = torch.linalg.inv(torch.tensor(inverse, dtype=torch.float64))
    first = torch.tensor([error], dtype=torch.float64)  # what the first weight lost
    shift = torch.linalg.solve(h[1:, 1:], h[1:, :1] @ first)
    return torch.tensor(later, dtype=torch.float64) + shift


def by_search(bandwidth, plain_bytes, plain_rate, small_bytes, small_rate):
    if small_rate > plain_rate:
        return math.inf
    tokens = 0
    while True:
        ahead = tokens + 1
        plain = max(plain_bytes / bandwidth, 2 * ahead / plain_rate)
        small = max(small_bytes / bandwidth, 2 * ahead / small_rate)
        if small >= plain * (1 - 1e-12):
            return tokens
        tokens = ahead


def by_formula(bandwidth, plain_bytes, plain_rate, small_bytes, small_rate):
    if small_rate > plain_rate:
        return math.inf
    crossing = small_rate * plain_bytes / (2 * bandwidth)
    return max(0, math.ceil(round(crossing, 9)) - 1)


RIGHT = {
    "zero_point": [grid, grid_of_torch],
    "stored_bits": [
        lambda bits, size, symmetric: bits + (16 if symmetric else 32) / size,
        lambda bits, size, symmetric: (bits * size + 16 + 16 * (not symmetric)) / size,
    ],
    "make_up": [compensated, best_of_all],
    "paying_tokens": [by_search, by_formula],
}


def without_zero(row, bits):
    scale = (max(row) - min(row)) / (2**bits - 1)
    return scale, round(-min(row) / scale)


def not_rounded(row, bits):
    scale, _ = grid(row, bits)
    return scale, -min(0.0, *row) / scale


def row_of(inverse):
    return inverse[0][1:]


WRONG = {
    "zero_point": [
        (lambda row, bits: ((max(row) - min(row)) / 2**bits, 5), "fifteen steps"),
        (lambda row, bits: (max(map(abs, row)) / (2 ** (bits - 1) - 1), 0), "symmetric grid"),
        (lambda row, bits: (grid(row, bits)[0], min(row)), "the row's minimum"),
        (lambda row, bits: (grid(row, bits)[0], -grid(row, bits)[1]), "sign"),
        (without_zero, "reach 0 as well"),
        (not_rounded, "round it to an integer"),
        (lambda row, bits: (0.2, 5), "the scale is 0.4"),
        (lambda row, bits: 0.2, "two numbers"),
        (lambda row, bits: ("0.2", 5), "must be a number"),
    ],
    "stored_bits": [
        (lambda bits, size, symmetric: bits, "is stored too"),
        (lambda bits, size, symmetric: bits + 16, "a 64th"),
        (lambda bits, size, symmetric: bits + 32 / size, "no minimum"),
        (lambda bits, size, symmetric: bits + 16 / size, "keeps its minimum"),
        (lambda bits, size, symmetric: bits * size + 16, "whole group"),
        (lambda bits, size, symmetric: 4.25 if symmetric else 5.0, "int3"),
        (4.25, "without calling"),
    ],
    "make_up": [
        (
            lambda w, e, i: [x + e * h / i[0][0] for x, h in zip(w, row_of(i), strict=True)],
            "sign",
        ),
        (lambda w, e, i: [x - e * h for x, h in zip(w, row_of(i), strict=True)], "Divide"),
        (lambda w, e, i: [x - e for x in w], "its own part"),
        (
            lambda w, e, i: [
                x - e * h / i[n + 1][n + 1]
                for n, (x, h) in enumerate(zip(w, row_of(i), strict=True))
            ],
            "the first one",
        ),
        (lambda w, e, i: w, "did not move"),
        (lambda w, e, i: [0.0, *w], "later weights as a list"),
        (lambda w, e, i: [7.0] * len(w), "they become"),
    ],
    "paying_tokens": [
        (lambda bw, pb, pr, sb, sr: math.floor(sr * sb / 2 / bw), "stop waiting"),
        (lambda bw, pb, pr, sb, sr: math.floor(pr * pb / 2 / bw), "lose earlier"),
        (lambda bw, pb, pr, sb, sr: math.floor(sr * pb / bw), "two FLOPs"),
        (lambda bw, pb, pr, sb, sr: sr * pb / 2 / bw, "Whole tokens"),
        (lambda bw, pb, pr, sb, sr: math.ceil(sr * pb / 2 / bw), "no less time"),
        (lambda bw, pb, pr, sb, sr: math.floor(sr * pb / 2 / bw), "take equal time at 3"),
        (lambda bw, pb, pr, sb, sr: max(0, math.ceil(sr * pb / 2 / bw) - 1), "math.inf"),
        (lambda bw, pb, pr, sb, sr: 100, "The most tokens"),
        (lambda bw, pb, pr, sb, sr: None, "must be a number"),
    ],
}
