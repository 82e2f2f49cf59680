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


def integer_product(tokens, integers, scales):
    outputs = []
    for token in tokens:
        step = max(map(abs, token)) / 127 or 1.0
        rounded = [round(x / step) for x in token]
        outputs.append(
            [
                step * scale * sum(x * q for x, q in zip(rounded, row, strict=True))
                for row, scale in zip(integers, scales, strict=True)
            ]
        )
    return outputs


def integer_product_of_torch(tokens, integers, scales):
    x, q = torch.tensor(tokens), torch.tensor(integers)
    step = x.abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
    return ((x / step).round().int() @ q.int().T) * step * torch.tensor(scales)


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
    "dynamic_product": [integer_product, integer_product_of_torch],
    "paying_tokens": [by_search, by_formula],
}


def without_zero(row, bits):
    scale = (max(row) - min(row)) / (2**bits - 1)
    return scale, round(-min(row) / scale)


def not_rounded(row, bits):
    scale, _ = grid(row, bits)
    return scale, -min(0.0, *row) / scale


def product_with(steps=127, rounding=round, shared=False, put_back=True, row_scales=True):
    def product(tokens, integers, scales):
        outputs = []
        for token in tokens:
            reach = max(abs(x) for other in (tokens if shared else [token]) for x in other)
            step = reach / steps
            factors = [(step if put_back else 1) * (s if row_scales else 1) for s in scales]
            rounded = [rounding(x / step) for x in token]
            outputs.append(
                [
                    factor * sum(x * q for x, q in zip(rounded, row, strict=True))
                    for row, factor in zip(integers, factors, strict=True)
                ]
            )
        return outputs

    return product


def turned(tokens, integers, scales):
    return [list(column) for column in zip(*integer_product(tokens, integers, scales), strict=True)]


WRONG = {
    "zero_point": [
        (lambda row, bits: ((max(row) - min(row)) / 2**bits, 5), "fifteen steps"),
        (lambda row, bits: (max(map(abs, row)) / (2 ** (bits - 1) - 1), 0), "symmetric grid"),
        (lambda row, bits: (grid(row, bits)[0], min(row)), "the row's minimum"),
        (lambda row, bits: (grid(row, bits)[0], -grid(row, bits)[1]), "sign"),
        (without_zero, "reach 0 as well"),
        (not_rounded, "round it to an integer"),
        (lambda row, bits: (0.2, 5), "the scale is 0.4"),
        (lambda row, bits: 0.2, "2 numbers"),
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
    "dynamic_product": [
        (product_with(rounding=float), "product of the floats"),
        (product_with(row_scales=False), "scales of the rows"),
        (product_with(put_back=False), "scale of each token back"),
        (product_with(shared=True), "empties the small ones"),
        (product_with(steps=128), "127 steps"),
        (product_with(rounding=int), "cuts off"),
        (product_with(), "no step to divide by"),
        (turned, "for each of 3 tokens"),
        (lambda t, i, s: [[0.8504]], "for each of 3 tokens"),
        (lambda t, i, s: [[0.8504, 0.0] for _ in t], "1 outputs"),
        (lambda t, i, s: [["0.85"] for _ in t], "must be a number"),
        (lambda t, i, s: [[7.0] * len(i) for _ in t], "token by token"),
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
