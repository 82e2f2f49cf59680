"""The tests of the tests of lab 06: wrong answers are refused with a reason, variants pass."""

import math

import torch


def softmax(logits, temperature):
    top = max(logits)
    powers = [math.exp((z - top) / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


def naive_softmax(logits, temperature):
    powers = [math.exp(z / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


def torch_softmax(logits, temperature):
    return torch.softmax(torch.tensor(logits) / temperature, 0)


def paid_back(student, teacher, dense, small):
    return math.inf if small >= dense else (student + teacher) / (dense - small)


def paid_back_by_hand(student, teacher, dense, small):
    if dense - small <= 0:
        return float("inf")
    return student / (dense - small) + teacher / (dense - small)


def kept(influence, blocks):
    inner = range(1, len(influence) - 1)
    best = sorted(inner, key=lambda number: -influence[number])[: blocks - 2]
    return sorted([0, len(influence) - 1, *best])


def kept_by_removal(influence, blocks):
    numbers = list(range(len(influence)))
    while len(numbers) > blocks:
        numbers.remove(min(numbers[1:-1], key=lambda number: (influence[number], -number)))
    return tuple(numbers)


def unsafe(influence, blocks):
    """Keeps the highest, and knows nothing of first and last."""
    order = sorted(range(len(influence)), key=lambda number: -influence[number])
    return sorted(order[:blocks])


def later_of_ties(influence, blocks):
    inner = range(1, len(influence) - 1)
    best = sorted(inner, key=lambda number: (-influence[number], -number))[: blocks - 2]
    return sorted([0, len(influence) - 1, *best])


def slope(student, teacher, temperature):
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    return [temperature * (b - a) for a, b in zip(p, q, strict=True)]


def slope_by_torch(student, teacher, temperature):
    logits = torch.tensor(student, requires_grad=True)
    log_q = torch.log_softmax(logits / temperature, 0)
    p = torch.softmax(torch.tensor(teacher) / temperature, 0)
    (temperature**2 * (p * (p.log() - log_q)).sum()).backward()
    return logits.grad


def slope_times(factor):
    """The gradient with another factor than T before q - p."""
    return lambda s, t, T: [factor(T) * d / T for d in slope(s, t, T)]


def slope_at_one(student, teacher, temperature):
    return [temperature * d for d in slope(student, teacher, 1.0)]


def slope_of_hard_label(student, teacher, temperature):
    hard = [float(z == max(teacher)) for z in teacher]
    q = softmax(student, temperature)
    return [temperature * (b - a) for a, b in zip(hard, q, strict=True)]


RIGHT = {
    "softened": [softmax, torch_softmax, lambda z, t: tuple(softmax(z, t))],
    "pay_back": [paid_back, paid_back_by_hand],
    "blocks_to_keep": [kept, kept_by_removal],
    "gradient": [slope, slope_by_torch],
}

WRONG = {
    "softened": [
        (lambda z, t: softmax(z, 1.0), "at temperature 1"),
        (lambda z, t: softmax(z, 1 / t), "multiplied by the temperature"),
        (lambda z, t: [p / t for p in softmax(z, 1.0)], "not the probabilities"),
        (lambda z, t: [math.exp(x / t) for x in z], "add up to 1"),
        (naive_softmax, "overflows"),
        (lambda z, t: torch.tensor(z).div(t).exp() / torch.tensor(z).div(t).exp().sum(), "overflo"),
        (lambda z, t: [1 / len(z)] * len(z), r"expected \[0.665, 0.245, 0.090\]"),
        (lambda z, t: softmax(z, t)[:-1], "must be 3 numbers"),
        (lambda z, t: max(softmax(z, t)), "must be 3 numbers"),
        (lambda z, t: [str(p) for p in softmax(z, t)], "must be a number"),
        ([0.7, 0.2, 0.1], "without calling"),
    ],
    "pay_back": [
        (lambda s, t, d, m: s / (d - m), "The teacher worked too"),
        (lambda s, t, d, m: (s - t) / (d - m), "do not subtract"),
        (lambda s, t, d, m: (s + t) / d, "the difference pays back"),
        (lambda s, t, d, m: (s + t) / m, "what a token \\*saves\\*"),
        (lambda s, t, d, m: (s + t) * (d - m), "after 18,000 tokens"),
        (lambda s, t, d, m: 18000.0, "plain fine-tuning"),
        (lambda s, t, d, m: (s + t) / (d - m), "never pays back"),
        (lambda s, t, d, m: (s + t) / (d - m) if d != m else math.inf, "takes 0.4 J"),
        (lambda s, t, d, m: (s + t) / abs(d - m) if d != m else math.inf, "never pays back"),
        (lambda s, t, d, m: "many", "must be a number"),
    ],
    "blocks_to_keep": [
        (lambda i, n: sorted(sorted(range(len(i)), key=i.__getitem__)[:n]), "least influence"),
        (lambda i, n: [k for k in range(len(i)) if k not in kept(i, n)], "blocks that go"),
        (lambda i, n: sorted(kept(i, n), key=lambda k: -i[k]), "in their old order"),
        (unsafe, "the first block stays"),
        (
            lambda i, n: sorted({0, *sorted(range(1, len(i)), key=lambda k: -i[k])[: n - 1]}),
            "the last block stays",
        ),
        (later_of_ties, "the earlier one"),
        (lambda i, n: kept(i, n + 2) if n == 3 and len(i) == 6 else kept(i, n), "count includes"),
        (lambda i, n: list(range(n)), r"expected \[0, 2, 4, 5\]"),
        (lambda i, n: n, "list of block numbers"),
        (lambda i, n: [float(k) for k in kept(i, n)], "list of block numbers"),
    ],
    "gradient": [
        (slope_times(lambda t: -t), "sign is turned"),
        (slope_times(lambda t: 1), "That is q - p"),
        (slope_times(lambda t: 1 / t), "KL divergence alone"),
        (slope_times(lambda t: t**2), "chain rule"),
        (slope_at_one, "not at 1"),
        (lambda s, t, T: slope(s, t, 1.0), "not at 1"),
        (slope_of_hard_label, "likeliest token alone"),
        (lambda s, t, T: slope(s, t, T) if T == 4 else slope(s, t, 1.0), "T = 0.5"),
        (lambda s, t, T: [0.0] * len(s), "expected"),
        (lambda s, t, T: sum(slope(s, t, T)), "must be 3 numbers"),
    ],
}
