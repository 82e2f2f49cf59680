"""Published perplexities of pruned models (WikiText-2), each beside its paper's dense model."""

from __future__ import annotations

from greenkit.foundations.rows import Row

SPARSEGPT, WANDA = "frantar2023sparsegpt", "sun2023wanda"

PRUNED = {
    "OPT-125M": {  # table 1 of the paper
        "dense": Row("OPT-125M", 27.66, "", 2023, SPARSEGPT, "primary"),
        "magnitude, 50 %": Row("OPT-125M, magnitude", 193, "", 2023, SPARSEGPT, "primary"),
        "SparseGPT, 50 %": Row("OPT-125M, SparseGPT", 36.85, "", 2023, SPARSEGPT, "primary"),
    },
    "LLaMA-2 7B": {  # the README of the paper's code
        "dense": Row("LLaMA-2 7B", 5.12, "", 2023, WANDA, "primary"),
        "magnitude, 50 %": Row("LLaMA-2 7B, magnitude", 14.89, "", 2023, WANDA, "primary"),
        "SparseGPT, 50 %": Row("LLaMA-2 7B, SparseGPT", 6.51, "", 2023, WANDA, "primary"),
        "Wanda, 50 %": Row("LLaMA-2 7B, Wanda", 6.42, "", 2023, WANDA, "primary"),
        "SparseGPT, 2:4": Row("LLaMA-2 7B, SparseGPT, 2:4", 10.17, "", 2023, WANDA, "primary"),
        "Wanda, 2:4": Row("LLaMA-2 7B, Wanda, 2:4", 11.02, "", 2023, WANDA, "primary"),
    },
    "LLaMA-2 70B": {
        "dense": Row("LLaMA-2 70B", 3.12, "", 2023, WANDA, "primary"),
        "magnitude, 50 %": Row("LLaMA-2 70B, magnitude", 4.98, "", 2023, WANDA, "primary"),
        "SparseGPT, 50 %": Row("LLaMA-2 70B, SparseGPT", 3.98, "", 2023, WANDA, "primary"),
        "Wanda, 50 %": Row("LLaMA-2 70B, Wanda", 3.98, "", 2023, WANDA, "primary"),
        "SparseGPT, 2:4": Row("LLaMA-2 70B, SparseGPT, 2:4", 5.40, "", 2023, WANDA, "primary"),
        "Wanda, 2:4": Row("LLaMA-2 70B, Wanda, 2:4", 5.16, "", 2023, WANDA, "primary"),
    },
}


def over_dense(model: str) -> dict[str, float]:
    """The perplexity of each pruned variant over that of its dense model.

    >>> round(over_dense("OPT-125M")["SparseGPT, 50 %"], 2)
    1.33
    """
    rows = PRUNED[model]
    return {name: row.vs(rows["dense"]) for name, row in rows.items() if name != "dense"}
