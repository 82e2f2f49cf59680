"""The tests of the tests of lab 03: wrong answers are refused with a reason, variants pass."""

import math


def batch_by_search(flops, weights, cache, flops_per_s, bytes_per_s):
    if flops / flops_per_s <= cache / bytes_per_s:
        return None
    batch = 1
    while batch * flops / flops_per_s < (weights + batch * cache) / bytes_per_s * (1 - 1e-12):
        batch += 1
    return batch


def batch_in_one_go(flops, weights, cache, flops_per_s, bytes_per_s):
    gained = flops * bytes_per_s - cache * flops_per_s
    return max(1, math.ceil(round(weights * flops_per_s / gained, 9))) if gained > 0 else None


def without_cache(flops, weights, _cache, flops_per_s, bytes_per_s):
    return max(1, math.ceil(weights / bytes_per_s * flops_per_s / flops - 1e-9))


def not_rounded(flops, weights, cache, flops_per_s, bytes_per_s):
    each_s = flops / flops_per_s - cache / bytes_per_s
    return weights / bytes_per_s / each_s if each_s > 0 else None


def never_none(flops, weights, cache, flops_per_s, bytes_per_s):
    each_s = flops / flops_per_s - cache / bytes_per_s
    return max(1, math.ceil(weights / bytes_per_s / each_s - 1e-9)) if each_s else 10**9


def times(flops, moved, launches, flops_per_s, bytes_per_s, launch_s):
    return {
        "arithmetic": flops / flops_per_s,
        "memory": moved / bytes_per_s,
        "launches": launches * launch_s,
    }


def longest(*given):
    return max(((name, seconds) for name, seconds in times(*given).items()), key=lambda x: x[1])


def longest_of_two(flops, moved, launches, flops_per_s, bytes_per_s, launch_s):
    return longest(flops, moved, 0, flops_per_s, bytes_per_s, launch_s)


RIGHT = {
    "attention_flops": [
        lambda layers, heads, width, tokens: 4 * layers * heads * width * tokens**2,
        lambda a, b, c, t: float(a * b * (2 * t * c * t + 2 * t * t * c)),
    ],
    "cache_bytes": [
        lambda layers, heads, width, tokens, size: 2 * layers * heads * width * tokens * size,
        lambda a, b, c, d, e: float(a * b * c * d * e + a * b * c * d * e),
    ],
    "what_binds": [
        lambda *given: max(times(*given).items(), key=lambda item: item[1]),
        lambda *given: list(longest(*given)),
    ],
    "smallest_batch": [batch_by_search, batch_in_one_go],
}

WRONG = {
    "attention_flops": [
        (lambda a, b, c, t: 2 * a * b * c * t * t, "That is half"),
        (lambda a, b, c, t: a * b * c * t * t, "four times"),
        (lambda a, b, c, t: 4 * a * b * c * t, "square of the tokens"),
        (lambda a, b, c, t: 4 * a * c * t * t, "one head"),
        (lambda a, b, c, t: 4 * b * c * t * t, "one layer"),
        (lambda a, b, c, t: 4 * a * b * t * t, "width of a head"),
        (lambda a, b, c, t: 4 * 30 * 9 * 64 * 256**2, "GPT-2"),
        (lambda a, b, c, t: 7, "4,529,848,320 FLOPs"),
        (4_529_848_320, "without calling"),
        (lambda a, b, c, t: "4", "must be a number"),
    ],
    "cache_bytes": [
        (lambda a, b, c, d, e: a * b * c * d * e, "Keys \\*and\\* values"),
        (lambda a, b, c, d, e: 2 * a * b * c * d, "how many numbers"),
        (lambda a, b, c, d, e: 2 * b * c * d * e, "one layer"),
        (lambda a, b, c, d, e: 2 * a * 9 * c * d * e, "grouped"),
        (lambda a, b, c, d, e: 2 * 30 * 3 * 64 * 1000 * 4, "GPT-2"),
        (lambda a, b, c, d, e: 0, "46,080,000|bytes here"),
    ],
    "what_binds": [
        (lambda *given: max(times(*given).values()), "Give two things"),
        (lambda *given: ("memory", sum(times(*given).values())), "added the three"),
        (lambda *given: ("memory", min(times(*given).values())), "binds nothing"),
        (longest_of_two, "Look at the launches"),
        (lambda *given: ("arithmetic", max(times(*given).values())), "that of 'memory'"),
        (lambda *given: ("arithmetic", 1.0), "0.003 s; you have 1"),
        (lambda *given: ("arithmetic", "3 ms"), "must be a number"),
    ],
    "smallest_batch": [
        (without_cache, "left out the cache"),
        (not_rounded, "round up"),
        (never_none, "No batch is large enough"),
        (lambda *given: None, "There is such a batch"),
        (lambda f, w, c, r, b: math.ceil(r / b), "the ridge itself"),
        (lambda *given: 12, "is 296"),
    ],
}
