"""Published energy per token, typed once from the citation, to stand beside one's own result."""

from __future__ import annotations

import json
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


@dataclass(frozen=True)
class Serving:
    """One configuration of a published serving benchmark: GPU energy only, at steady state.

    `concurrency` is the mean number of requests in flight, `gap_ms` the median time between two
    tokens of one request.
    """

    gpu: str
    concurrency: float
    joules_per_token: float
    power_w: float
    gap_ms: float


def llama_8b_serving(gpu: str = "H100") -> list[Serving]:
    """Llama 3.1 8B Instruct on one card, by concurrency, from the ML.ENERGY leaderboard v3.

    Fetched once (0.1 MB). Raises ValueError for a card that the benchmark does not have, and
    AssetError where it cannot be fetched. Source: Chung et al. 2025 (arXiv:2505.06371).
    """
    from greenkit.inputs.fetching import fetch

    table = json.loads(fetch("llama-3.1-8b-energy").read_text(encoding="utf-8"))
    found = [
        Serving(
            gpu,
            float(row["avg_requests_in_flight"]),
            float(row["joules_per_output_token"]),
            float(row["gpu_power_watts_total"]),
            float(row["median_itl_ms"]),
        )
        for row in table["configurations"]
        if row["gpu"] == gpu and row["num_gpus"] == 1
    ]
    if not found:
        raise ValueError(f"no measurement on one {gpu!r}; there are {', '.join(table['gpus'])}")
    return sorted(found, key=lambda row: row.concurrency)
