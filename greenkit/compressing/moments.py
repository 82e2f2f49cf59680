"""Second moments of a matrix's inputs, and what pruning and quantization both read from them.

What a layer computes on real inputs depends on its weights through the second moments of those
inputs only, the "Hessian" H of the layer's squared output error. Derived in: Lab 04, Lab 05.
"""

from __future__ import annotations

import torch

DAMPING = 0.01
WHOLE = 200  # columns up to which both halves of a symmetric product are computed


def second_moments(inputs: torch.Tensor) -> torch.Tensor:
    """H of shape (in, in): the mean over tokens of x xᵀ, summed in float32.

    Args:
        inputs: what enters the layer, (..., in), any floating dtype.
    """
    rows = inputs.reshape(-1, inputs.shape[-1]).float()
    return _products(rows) / len(rows)


def _products(rows: torch.Tensor) -> torch.Tensor:
    """XᵀX: what lies below the diagonal mirrors what lies above, so most of it is not computed."""
    width = rows.shape[1]
    if width <= WHOLE:
        return rows.T @ rows
    left, right = rows[:, : width // 2], rows[:, width // 2 :]
    across = left.T @ right
    upper = torch.cat([_products(left), across], dim=1)
    return torch.cat([upper, torch.cat([across.T, _products(right)], dim=1)])


def output_error(change: torch.Tensor, moments: torch.Tensor) -> float:
    """Mean over tokens of |change · x|²: what a change (out, in) of the weight does to outputs."""
    change = change.float()
    return float(((change @ moments) * change).sum())


def factor_of(moments: torch.Tensor, *, damping: float = DAMPING) -> torch.Tensor:
    """R, upper triangular with R Rᵀ = the damped H; computed in float64, kept in float32.

    Errors e of a row of weights cost |e R|² on the inputs. Entry j of e R reads columns up to j
    only, so that each column in turn can make it zero: by e_j = -Σ_(i<j) e_i R_ij / R_jj. The
    inverse of R is the factor of H⁻¹ in SparseGPT and GPTQ: one over R_jj² is the diagonal entry
    of the inverse of H without the columns before j.

    An input that is always zero gets the mean diagonal entry, so that it takes and gives nothing.

    Args:
        moments: H, (in, in), from `second_moments`.
        damping: share of the mean diagonal entry of H that is added to its diagonal.

    Raises:
        ValueError: H is not finite or not positive definite.
    """
    damped = moments.to(torch.float64, copy=True)
    diagonal = damped.diagonal()
    mean = diagonal.mean()
    diagonal.copy_(torch.where(diagonal == 0, mean, diagonal) + damping * mean)
    lower, flaw = torch.linalg.cholesky_ex(damped.flip(0, 1))
    finite = moments.diagonal().isfinite().all() & (mean > 0)
    sound, definite = torch.stack([finite, flaw == 0]).tolist()
    if not sound or not (definite or moments.isfinite().all()):
        raise ValueError("The second moments of the inputs are not finite, or all are zero.")
    if not definite:
        raise ValueError(
            "The second moments of the inputs are not positive definite: gather them in float32 "
            f"from more tokens, or raise damping above {damping}."
        )
    factor: torch.Tensor = lower.float().flip(0, 1)
    return factor
