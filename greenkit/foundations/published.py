"""Published energy per token, typed once from the citation, to stand beside one's own result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A published range in J per output token, with what it is of and where it stands."""

    what: str
    low: float
    high: float
    boundary: str
    citation: str

    @property
    def text(self) -> str:
        """The range with its unit."""
        span = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
        return f"{span} J/token"


JOULES_PER_TOKEN = (
    Published(
        "LLaMA 65B, V100 and A100 cards",
        3,
        4,
        "GPU only",
        "Samsi et al. 2023",
    ),
    Published(
        "Llama 3.1 8B, one H100, 8 requests at a time",
        0.455,
        0.455,
        "GPU only",
        "ML.ENERGY leaderboard 2025",
    ),
    Published(
        "Llama 3.1 8B, one H100, 512 requests at a time",
        0.070,
        0.070,
        "GPU only",
        "ML.ENERGY leaderboard 2025",
    ),
)
