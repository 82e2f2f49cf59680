"""The tests of the tests of lab 03: wrong answers are refused with a reason, variants pass."""

import math


def batch_by_search(flops_per_s, bytes_per_s, width):
    batch = 1
    while 2 * batch / flops_per_s < width / bytes_per_s * (1 - 1e-12):
        batch += 1
    return batch


RIGHT = {
    "product_flops": [
        lambda m, k, n: 2 * m * k * n,
        lambda m, k, n: sum(2 * k for _ in range(m) for _ in range(n)),
    ],
    "cache_bytes": [
        lambda layers, heads, width, tokens, size: 2 * layers * heads * width * tokens * size,
        lambda a, b, c, d, e: float(a * b * c * d * e + a * b * c * d * e),
    ],
    "decode_intensity": [lambda b, w: 2 * b / w, lambda batch, width: batch * (2.0 / width)],
    "least_batch": [
        batch_by_search,
        lambda f, b, w: max(1, math.ceil(round(f / b * w / 2, 9))),
    ],
}

WRONG = {
    "product_flops": [
        (lambda m, k, n: m * k * n, "multiplications only"),
        (lambda m, k, n: m * k + k * n, "numbers in both matrices"),
        (lambda m, k, n: 2 * m * n, "inner dimension"),
        (lambda m, k, n: m * n * (2 * k - 1), "one addition"),
        (lambda m, k, n: 120, "one token"),
        (lambda m, k, n: 7, "120 FLOPs"),
        (120, "without calling"),
        (lambda m, k, n: "120", "must be a number"),
    ],
    "cache_bytes": [
        (lambda a, b, c, d, e: a * b * c * d * e, "Keys \\*and\\* values"),
        (lambda a, b, c, d, e: 2 * a * b * c * d, "how many numbers"),
        (lambda a, b, c, d, e: 2 * b * c * d * e, "one layer"),
        (lambda a, b, c, d, e: 2 * a * 9 * c * d * e, "grouped"),
        (lambda a, b, c, d, e: 2 * 30 * 3 * 64 * 1000 * 4, "GPT-2"),
        (lambda a, b, c, d, e: 0, "46,080,000|bytes here"),
    ],
    "decode_intensity": [
        (lambda b, w: 2 * b, "a weight in fp32 has 4 bytes"),
        (lambda b, w: 2 * b * w, "do not multiply"),
        (lambda b, w: b / w, "two FLOPs"),
        (lambda b, w: 2 / w, "read once"),
        (lambda b, w: b / 2, "half the bytes"),
        (lambda b, w: 3.0, "0.5 FLOP per byte"),
    ],
    "least_batch": [
        (lambda f, b, w: f / b, "the ridge itself"),
        (lambda f, b, w: math.ceil(f / b), "the ridge itself"),
        (lambda f, b, w: f / b * w / 2, "round up"),
        (lambda f, b, w: math.floor(f / b * w / 2), "round up"),
        (lambda f, b, w: 12, "is 296"),
    ],
}
