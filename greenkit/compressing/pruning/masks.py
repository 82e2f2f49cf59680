"""Masks that keep removed weights at zero while a pruned model is trained further."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from greenkit.compressing.given import Model
from greenkit.compressing.matrices import Matrix, matrices


@dataclass(frozen=True)
class Masks:
    """The zeros of a model's matrices, to be put back after each optimizer step.

    One step of AdamW makes every zero a non-zero. `torch.nn.utils.prune` would hold its own copy
    of each weight, cannot be deep-copied and is lost on saving; these masks stand beside the model:

        masks = masks_of(result.model)
        optimizer.step()
        masks.apply()
    """

    matrices: tuple[Matrix, ...] = field(repr=False)
    keep: tuple[torch.Tensor, ...] = field(repr=False)

    def apply(self) -> None:
        """Set every weight to zero that was zero when the masks were taken."""
        torch._foreach_mul_([matrix.weight for matrix in self.matrices], self.keep)

    @property
    def sparsity(self) -> float:
        """The fraction of zeros that the masks hold."""
        kept = sum(int(keep.count_nonzero()) for keep in self.keep)
        return 1 - kept / sum(keep.numel() for keep in self.keep)


def masks_of(model: Model) -> Masks:
    """Masks of all weights that are zero now in the blocks' matrices; one byte a weight."""
    found = tuple(matrices(model))
    return Masks(found, tuple(matrix.weight != 0 for matrix in found))
