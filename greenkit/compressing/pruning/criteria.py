"""Which weights to remove: magnitude, Wanda and SparseGPT, written out.

All work on one weight matrix of shape (out, in): y = W x, so that column j of W meets input
feature j. A mask is True where a weight stays. Derived in: Lab 04.
"""

from __future__ import annotations

import torch
from torch import Tensor

from greenkit.compressing.moments import DAMPING, factor_of

COLUMNS_AT_ONCE = 128


def magnitude_scores(weight: Tensor) -> Tensor:
    """|W|: a small weight is taken for an unimportant one (Han et al. 2015)."""
    return weight.float().abs()


def wanda_scores(weight: Tensor, norms: Tensor) -> Tensor:
    """|W_ij| · ‖x_j‖₂: a small weight on a loud input matters (Sun et al. 2023, equation 1).

    `norms` of shape (in,) are the lengths of each input feature over all calibration tokens.
    """
    return weight.float().abs() * norms


def keep_highest(scores: Tensor, sparsity: float) -> Tensor:
    """A mask without the lowest scores of each row: `sparsity` of them, rounded down.

    Of equal scores at the border the first stay, so that the count is exact.
    """
    columns = scores.shape[-1]
    removed = int(columns * sparsity + 1e-6)  # 0.29 · 100 is 28.999… in binary
    if removed == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    lowest = scores.topk(removed, dim=-1, largest=False, sorted=False).values
    border = lowest.amax(-1, keepdim=True)
    above, equal = scores > border, scores == border
    spare = columns - removed - above.count_nonzero(-1).unsqueeze(-1)
    return above | (equal & (equal.cumsum(-1) <= spare))


def keep_n_of_m(scores: Tensor, kept: int, of: int) -> Tensor:
    """A mask that keeps the `kept` highest of each `of` neighbors in a row (2 of 4: "2:4")."""
    neighbors = scores.reshape(-1, of)
    return keep_highest(neighbors, (of - kept) / of).reshape(scores.shape)


def sparsegpt(
    weight: Tensor,
    moments: Tensor,
    sparsity: float,
    *,
    pattern: tuple[int, int] | None = None,
    damping: float = DAMPING,
    columns_at_once: int = COLUMNS_AT_ONCE,
) -> Tensor:
    """Remove weights column by column and let the columns to the right make up for it.

    A weight's score is w² / [H⁻¹]_jj, with H of column j and those to its right: the error that
    is left after they have made up for it as well as they can (optimal brain surgery). Frantar &
    Alistarh 2023, Algorithm 1.

    Args:
        weight: shape (out, in).
        moments: XᵀX of the inputs, shape (in, in), up to a factor: see `second_moments`.
        sparsity: fraction of zeros in each group of columns, chosen when its turn comes.
        pattern: (kept, of) for n:m instead, where `of` divides the input width.
        damping: see `factor_of`.
        columns_at_once: the group in which weights of all rows compete.

    Returns:
        The new weight in float32, zero where a weight was removed.
    """
    factor = factor_of(moments, damping=damping)
    group = columns_at_once if pattern is None else pattern[1]
    return sweep(heard(weight, moments), factor, sparsity=sparsity, pattern=pattern, group=group)


def heard(weight: Tensor, moments: Tensor) -> Tensor:
    """The weight in float32, without what reads an input that never speaks: it needs none."""
    return weight.float() * (moments.diagonal() != 0)


def sweep(
    weight: Tensor,
    factor: Tensor,
    *,
    sparsity: float,
    pattern: tuple[int, int] | None,
    group: int,
    rows: tuple[int, ...] | None = None,
) -> Tensor:
    """The walk of `sparsegpt` over the columns, a `group` of them at a time.

    What a column should be follows from the errors of those before it, see `factor_of`: it takes
    that value where it stays and zero where it goes, and leaves the rest to those behind.

    Args:
        weight: shape (out, in): a matrix, or several that read the same inputs, stacked.
        factor: `factor_of` their inputs' moments.
        rows: of each of the stacked matrices, for only weights of the same matrix compete.
    """
    w = weight.T.contiguous()  # one row a column: fast to walk
    errors = torch.empty_like(w)
    unit = factor / factor.diagonal()
    for start in range(0, len(w), group):
        here = slice(start, min(start + group, len(w)))
        u, width = unit[here, here], here.stop - start
        owed = unit[:start, here].T @ errors[:start]
        wanted = w[here] + owed
        # The scores are of the weights as they would be if no more were removed.
        best = w[here] + torch.linalg.solve_triangular(u.T, owed, upper=False, unitriangular=True)
        scores = (best * factor.diagonal()[here, None]).square()
        keep = _keep_in_group(scores, sparsity, pattern, rows).to(w.dtype)
        for j in range(width):
            value = torch.addmv(wanted[j], errors[start : start + j].T, u[:j, j])
            torch.addcmul(w[start + j], keep[j], value, value=-1, out=errors[start + j])
    return (w - errors).T


def _keep_in_group(
    scores: Tensor, sparsity: float, pattern: tuple[int, int] | None, rows: tuple[int, ...] | None
) -> Tensor:
    """What stays of a group of columns, scores and mask of shape (columns, out)."""
    if pattern is not None:
        return keep_n_of_m(scores.T, *pattern).T
    parts = torch.split(scores, list(rows), dim=1) if rows else [scores]
    kept = [keep_highest(part.reshape(1, -1), sparsity).view(part.shape) for part in parts]
    return torch.cat(kept, dim=1)
