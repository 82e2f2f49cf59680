"""The tests of the tests of lab 02: wrong answers are refused with a reason, variants pass."""

import numpy as np

from greenkit.foundations.formulas import period_energy


def clock_by_search(static_w, dynamic_w, idle_w, slowest):
    """An independent solution: try every clock with the package's own energy of a period."""
    work_s = 1.0
    clocks = np.linspace(slowest, 1, 2001)
    energies = [
        period_energy(c, static_w, dynamic_w, idle_w, work_s, work_s / slowest * (1 + 1e-9))
        for c in clocks
    ]
    return clocks[int(np.argmin(energies))]


def clock_by_formula(static_w, dynamic_w, idle_w, slowest):
    cube = (static_w - idle_w) / (2 * dynamic_w)
    return slowest if cube <= slowest**3 else min(cube ** (1 / 3), 1)


def efficiency_by_search(workers, worker_w, fixed_w):
    """An independent solution: halve the interval until N workers cost what one costs."""
    low, high = 1e-6, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        together = (fixed_w + workers * worker_w) / (workers * middle)
        low, high = (middle, high) if together > fixed_w + worker_w else (low, middle)
    return (low + high) / 2


RIGHT = {
    "price_of_an_operation": [
        lambda operations, joules: joules / operations,
        lambda n, e: np.float64(e) * (1 / n),
        lambda n, e: 1 / (n / e),
    ],
    "training_kwh": [
        lambda chips, days, watts, pue: chips * days * 24 * watts * pue / 1000,
        lambda c, d, w, p: c * w * (d * 86400) * p / 3.6e6,
    ],
    "least_efficiency": [
        lambda n, p, p0: (p0 / n + p) / (p0 + p),
        lambda n, p, p0: (p0 + n * p) / (n * (p0 + p)),
        efficiency_by_search,
    ],
    "best_clock": [clock_by_search, clock_by_formula],
}

WRONG = {
    "price_of_an_operation": [
        (lambda n, e: n / e, "operations per joule"),
        (lambda n, e: n * e, "multiplied"),
        (lambda n, e: 0.15, "0.25 J each"),
        (lambda n, e: 6670, "0.15 J each"),
        (0.15, "without calling"),
        (lambda n, e: "0.15 J", "must be a number"),
    ],
    "training_kwh": [
        (lambda c, d, w, p: c * d * 24 * w / 1000, "computers alone"),
        (lambda c, d, w, p: c * d * 24 * w / p / 1000, "do not divide"),
        (lambda c, d, w, p: c * d * w * p / 1000, "24 hours"),
        (lambda c, d, w, p: c * d * 24 * w * p, "watt-hours"),
        (lambda c, d, w, p: c * d * 24 * w * p / 1e6, "megawatt-hours"),
        (lambda c, d, w, p: c * d * 86400 * w * p, "joules"),
        (lambda c, d, w, p: d * 24 * w * p / 1000, "one chip"),
        (lambda c, d, w, p: 10_000 * 14.8 * 24 * 330 * 1.1 / 1000, "half a day"),
        (lambda c, d, w, p: 1287, "1,289,376 kWh"),
    ],
    "least_efficiency": [
        (lambda n, p, p0: (p0 + p) / (p0 / n + p), "Upside down"),
        (lambda n, p, p0: 1 / n, "no faster"),
        (lambda n, p, p0: 1.0, "without fixed power only"),
        (lambda n, p, p0: p / (p0 + p), "does not vanish"),
        (lambda n, p, p0: p0 / n / (p0 + p), "own watts"),
        (lambda n, p, p0: 0.375, "perfect workers"),
        (lambda n, p, p0: 0.375 if p0 == 50 else 1.0, "0.75 on"),
        (lambda n, p, p0: 0.5, "0.375"),
    ],
    "best_clock": [
        (lambda s, d, i, low: 1.0, "always race"),
        (lambda s, d, i, low: min(1, max(low, ((s - i) / (2 * d)) ** (1 / 3))), "complex"),
        (lambda s, d, i, low: low, "always crawl"),
        (lambda s, d, i, low: (s / d) ** (1 / 3), "factor of 2"),
        (lambda s, d, i, low: (s / (2 * d)) ** 0.5, "cube root"),
        (lambda s, d, i, low: 0.4, "0.63"),
        (lambda s, d, i, low: min(1, max(low, (s / (2 * d)) ** (1 / 3))), "idles at 50 W"),
        (lambda s, d, i, low: max(low, (max(0, s - i) / (2 * d)) ** (1 / 3)), "above 1"),
        (lambda s, d, i, low: min(1, (max(0, s - i) / (2 * d)) ** (1 / 3)), "fit into"),
        (lambda s, d, i, low: ((s - i) / (2 * d)) ** (1 / 3), "above 1"),
        (
            lambda s, d, i, low: (
                ((s - i) / (2 * d)) ** (1 / 3) if s < i else clock_by_formula(s, d, i, low)
            ),
            "complex in Python",
        ),
        (
            lambda s, d, i, low: 1.0 if s <= i else clock_by_formula(s, d, i, low),
            "slowest clock",
        ),
    ],
}
