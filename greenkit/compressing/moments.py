"""Second moments of a matrix's inputs, and what pruning and quantization both read from them.

What a layer computes on real inputs depends on its weights through the second moments of those
inputs only, the "Hessian" H of the layer's squared output error. Derived in: Lab 04, Lab 05.
"""

from __future__ import annotations

import torch

DAMPING = 0.01


def second_moments(inputs: torch.Tensor) -> torch.Tensor:
    """H of shape (in, in): the mean over tokens of x xᵀ, summed in float32.

    Args:
        inputs: what enters the layer, (..., in), any floating dtype.
    """
    rows = inputs.reshape(-1, inputs.shape[-1]).float()
    return rows.T @ rows / len(rows)


def output_error(change: torch.Tensor, moments: torch.Tensor) -> float:
    """Mean over tokens of |change · x|²: what a change (out, in) of the weight does to outputs."""
    change = change.float()
    return float(((change @ moments) * change).sum())


def inverse_factor(moments: torch.Tensor, *, damping: float = DAMPING) -> torch.Tensor:
    """U, upper triangular with UᵀU = H⁻¹ of the damped H; computed in float64, kept in float32.

    An input that is always zero gets the mean diagonal entry, so that it takes and gives nothing.

    Args:
        moments: H, (in, in), from `second_moments`.
        damping: share of the mean diagonal entry of H that is added to its diagonal.

    Raises:
        ValueError: H is not finite or not positive definite.
    """
    damped = moments.double().clone()
    diagonal = damped.diagonal()
    mean = diagonal.mean()
    if not damped.isfinite().all() or not mean > 0:
        raise ValueError("The second moments of the inputs are not finite, or all are zero.")
    diagonal[diagonal == 0] = mean
    diagonal += damping * mean
    lower, flaw = torch.linalg.cholesky_ex(damped)
    if flaw:
        raise ValueError(
            "The second moments of the inputs are not positive definite: gather them in float32 "
            f"from more tokens, or raise damping above {damping}."
        )
    factor: torch.Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    return factor.float()
