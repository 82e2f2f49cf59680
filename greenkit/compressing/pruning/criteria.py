"""Which weights to remove: magnitude, Wanda and SparseGPT, written out.

All work on one weight matrix of shape (out, in): y = W x, so that column j of W meets input
feature j. A mask is True where a weight stays. Derived in: Lab 04.
"""

from __future__ import annotations

import torch
from torch import Tensor

from greenkit.compressing.moments import DAMPING, inverse_factor

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
    spare = columns - removed - above.sum(-1, keepdim=True)
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
        damping: see `inverse_factor`.
        columns_at_once: the group in which weights of all rows compete. Columns to the right of
            it wait for their repair, which changes the order of additions only.

    Returns:
        The new weight in float32, zero where a weight was removed.
    """
    repaired = weight.float().clone()
    factor = inverse_factor(moments, damping=damping)
    repaired[:, moments.diagonal() == 0] = 0  # an input that never speaks needs no weight
    step = 1 if pattern is None else pattern[1]
    width = max(step, columns_at_once // step * step)
    for start in range(0, weight.shape[1], width):
        end = min(start + width, weight.shape[1])
        u = factor[start:end, start:end]
        w = repaired[:, start:end].T.contiguous()  # one row a column of W: fast to walk
        errors = torch.zeros_like(w)
        if pattern is None:
            keep = _keep_in_group(w, u.diagonal(), sparsity)
        else:
            keep = torch.ones_like(w, dtype=torch.bool)
        for j in range(end - start):
            if pattern is not None and j % step == 0:
                nearest = slice(j, j + step)
                scores = (w[nearest] / u.diagonal()[nearest, None]) ** 2
                keep[nearest] = keep_n_of_m(scores.T, *pattern).T
            removed = w[j] * ~keep[j]
            errors[j] = removed / u[j, j]
            w[j:] -= torch.outer(u[j, j:], errors[j])
            w[j] *= keep[j]  # exactly zero, whatever rounding left
        repaired[:, start:end] = w.T
        repaired[:, end:] -= errors.T @ factor[start:end, end:]
    return repaired


def _keep_in_group(w: Tensor, diagonal: Tensor, sparsity: float) -> Tensor:
    scores = (w / diagonal[:, None]) ** 2
    return keep_highest(scores.reshape(1, -1), sparsity).reshape(w.shape)
