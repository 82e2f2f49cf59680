"""Activations that are not finite, found before anything is chosen by them."""

from __future__ import annotations

import torch


class NotFiniteError(ValueError):
    """Activations hold NaN or infinity: nothing that is measured on them means anything."""


def not_finite(what: str, dtype: torch.dtype) -> NotFiniteError:
    """The error that names what is not finite, the dtype, and what to do."""
    instead = {torch.float16: "float32 or bfloat16", torch.bfloat16: "float32"}.get(dtype)
    kind = str(dtype).removeprefix("torch.")
    return NotFiniteError(
        f"The activations are not finite in {kind}: {what} holds NaN or infinity on the "
        "calibration text, though all weights are finite. "
        + (f"Load the model in {instead}." if instead else "This model cannot compute it.")
    )


def is_finite(values: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite; many times as fast as `isfinite` on a CPU."""
    return not values.numel() or bool(torch.stack(torch.aminmax(values)).isfinite().all())
