"""The tests of the tests of lab 06: wrong answers are refused with a reason, variants pass."""

import math

import torch


def softmax(logits, temperature):
    top = max(logits)
    powers = [math.exp((z - top) / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


def price(teacher, student):
    return (teacher + 3 * student) / (3 * student)


def price_by_passes(teacher, student):
    forward, back = student, 2 * student
    return 1 + teacher / (forward + back)


def shared(student, teacher, students, dense, small):
    return math.inf if small >= dense else (student + teacher / students) / (dense - small)


def shared_by_hand(student, teacher, students, dense, small):
    if dense - small <= 0:
        return float("inf")
    return (students * student + teacher) / (students * dense - students * small)


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


def surplus_of(student, teacher):
    p, q = softmax(teacher, 1.0), softmax(student, 1.0)
    return q, [math.log(b / a) for a, b in zip(p, q, strict=True)]


def slope(student, teacher):
    q, surplus = surplus_of(student, teacher)
    mean = sum(b * one for b, one in zip(q, surplus, strict=True))
    return [b * (one - mean) for b, one in zip(q, surplus, strict=True)]


def slope_by_jacobian(student, teacher):
    q, surplus = surplus_of(student, teacher)
    numbers = range(len(q))
    return tuple(sum((surplus[i] + 1) * q[i] * ((i == j) - q[j]) for i in numbers) for j in numbers)


def slope_by_torch(student, teacher):
    logits = torch.tensor(student, requires_grad=True)
    log_q = torch.log_softmax(logits, 0)
    log_p = torch.log_softmax(torch.tensor(teacher), 0)
    (log_q.exp() * (log_q - log_p)).sum().backward()
    return logits.grad


def forward_slope(student, teacher):
    p, q = softmax(teacher, 1.0), softmax(student, 1.0)
    return [b - a for a, b in zip(p, q, strict=True)]


def terms(student, teacher, more=0):
    q, surplus = surplus_of(student, teacher)
    return [b * (one + more) for b, one in zip(q, surplus, strict=True)]


RIGHT = {
    "lesson": [price, price_by_passes],
    "stored_answers": [shared, shared_by_hand],
    "blocks_to_keep": [kept, kept_by_removal],
    "reverse_gradient": [slope, slope_by_jacobian, slope_by_torch],
}

WRONG = {
    "lesson": [
        (lambda t, s: (t + s) / s, "The student is trained"),
        (lambda t, s: (3 * t + 3 * s) / (3 * s), "The teacher answers: one pass"),
        (lambda t, s: (t + 2 * s) / (2 * s), "forward is to be counted as well"),
        (lambda t, s: 1 / price(t, s), "turn it round"),
        (lambda t, s: t / (3 * s), "the step itself is missing"),
        (lambda t, s: t / (t + 3 * s), "teacher's share"),
        (lambda t, s: 5 / 3, "With 3 operations"),
        (lambda t, s: t + 3 * s, "expected 1.667"),
        (lambda t, s: "1.7", "must be a number"),
        (1.4, "without calling"),
    ],
    "stored_answers": [
        (lambda s, t, n, d, m: (s + t) / (d - m), "owes a share"),
        (lambda s, t, n, d, m: (s + t) / n / (d - m), "only the teacher's joules are shared"),
        (lambda s, t, n, d, m: s / (d - m), "not forgotten"),
        (lambda s, t, n, d, m: (n * s + t) / (d - m), "of all students together"),
        (lambda s, t, n, d, m: (s + n * t) / (d - m), "cost once"),
        (lambda s, t, n, d, m: (s + t / n) / d, "the difference pays back"),
        (lambda s, t, n, d, m: (s + t / n) / m, "after 14,000"),
        (lambda s, t, n, d, m: (s + t / 3) / (d - m), "expected 80"),
        (lambda s, t, n, d, m: 14000.0, "expected 80"),
        (lambda s, t, n, d, m: (s + t / n) / (d - m), "never pays back"),
        (
            lambda s, t, n, d, m: (s + t / n) / (d - m) if d != m else math.inf,
            "takes 0.4 J",
        ),
        (lambda s, t, n, d, m: "many", "must be a number"),
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
    "reverse_gradient": [
        (lambda s, t: [-one for one in slope(s, t)], "sign is turned"),
        (forward_slope, "forward divergence"),
        (terms, "terms of the divergence"),
        (lambda s, t: terms(s, t, 1), "moves every q_j"),
        (lambda s, t: slope(t, s), "swapped"),
        (lambda s, t: slope(s, t) if len(s) == 3 else forward_slope(s, t), r"student with \[0.0"),
        (lambda s, t: [0.0] * len(s), "expected"),
        (lambda s, t: sum(slope(s, t)), "must be 3 numbers"),
        (lambda s, t: slope(s, t)[:-1], "must be 3 numbers"),
    ],
}
