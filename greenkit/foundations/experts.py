"""Published figures of dense models and of mixtures of experts, which use few of their parameters.

GPU energy alone, on one to eight H100 cards.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """All parameters of a model, and the share of them that works on a token."""

    name: str
    parameters: float
    active_share: float
    source: str

    @property
    def active(self) -> float:
        """The parameters that work on a token."""
        return self.active_share * self.parameters


@dataclass(frozen=True)
class Served:
    """J/token of a served model, at 8 requests at once and at the best concurrency measured.

    `active` counts the parameters that work on a token (from the model card).
    """

    name: str
    active: float
    at_eight_j: float
    at_best_j: float
    mixture: bool
    source: str = "mlenergyleaderboard"


# Patterson et al. 2021, Table 4.
SIZES = (
    Size("GPT-3", 175e9, 1.0, "patterson2021carbon"),
    Size("GShard 600B", 619e9, 0.0025, "patterson2021carbon"),
    Size("Switch Transformer", 1500e9, 0.0010, "patterson2021carbon"),
)

SERVED = (
    Served("Llama 8B", 8e9, 0.455, 0.070, mixture=False),
    Served("Qwen3 32B", 32.8e9, 1.63, 0.228, mixture=False),
    Served("Llama 70B", 70e9, 3.759, 0.373, mixture=False),
    Served("Qwen3 30B-A3B", 3.3e9, 0.82, 0.089, mixture=True),
    Served("Qwen3 235B-A22B", 22e9, 7.29, 1.093, mixture=True),
)
