"""Intervals of means of few values: Student's t, since two standard errors are too narrow there."""

from __future__ import annotations

T95 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def t95(values: int) -> float:
    """How many standard errors of their mean hold the truth with 95 % confidence.

    `values` is how many there are, two or more: the two-sided quantile of Student's t with one
    degree of freedom less. From 12 values on by an approximation, 0.1 % off at most. Raises
    ValueError for fewer than two, which have no spread.

    >>> t95(5), round(t95(16), 2)
    (2.776, 2.13)
    """
    if values < 2:
        raise ValueError(f"an interval needs two values or more, got {values}")
    freedom = values - 1
    if freedom <= len(T95):
        return T95[freedom - 1]
    return 1.96 + 2.37 / freedom + 2.82 / freedom**2
