"""Published numbers of quantized models: energy and speed with fewer bits, and perplexity.

Typed once, from the citation. Used in: the chapter *Quantization*.
"""

from __future__ import annotations

from dataclasses import dataclass

from greenkit.foundations.rows import Row

LEADERBOARD, BITSANDBYTES, TORCHAO = "mlenergyleaderboard", "bitsandbytesenergy", "torchaoreadme"
GPTQ, H100 = "frantar2022gptq", "nvidia2022h100"


@dataclass(frozen=True)
class Change:
    """One published number in 16 bits, and the same with fewer, of one source."""

    before: Row
    after: Row

    @property
    def percent(self) -> float:
        """By how much it changed, in % of what it was."""
        return 100 * (self.after.vs(self.before) - 1)


def _joules(source: str, before: tuple[str, float], after: tuple[str, float]) -> Change:
    rows = (Row(name, value, "J/token", 2026, source, "primary") for name, value in (before, after))
    return Change(*rows)


# GPU energy a token. Qwen3 235B on 8 H100, by requests at a time; the others on one RTX 5090.
FP8_ALONE = _joules(LEADERBOARD, ("BF16, 8 requests", 7.29), ("FP8, 8 requests", 11.39))
FP8_CROWD = _joules(LEADERBOARD, ("BF16, 128 requests", 1.49), ("FP8, 128 requests", 1.36))
FP8_BEST = _joules(LEADERBOARD, ("BF16, best (256)", 1.093), ("FP8, best (512)", 0.741))
NF4_1B = _joules(BITSANDBYTES, ("TinyLlama 1.1B, FP16", 1.659), ("TinyLlama 1.1B, NF4", 2.098))
NF4_7B = _joules(BITSANDBYTES, ("Qwen2 7B, FP16", 5.509), ("Qwen2 7B, NF4", 4.878))

ENERGY = {
    "Qwen3 235B, 8 H100, 8 requests: FP8": FP8_ALONE,
    "the same, 128 requests: FP8": FP8_CROWD,
    "the same, each at its best batch: FP8": FP8_BEST,
    "TinyLlama 1.1B, RTX 5090, 1 request: NF4": NF4_1B,
    "Qwen2 7B, RTX 5090, 1 request: NF4": NF4_7B,
}

# Llama 3 8B on an A100, one request at a time.
SPEED = tuple(
    Row(name, value, "token/s", 2026, TORCHAO, "primary")
    for name, value in (
        ("BF16", 95.64),
        ("int8 weights", 153.03),
        ("int4 weights, groups of 64", 180.80),
        ("int8 for both, found while running", 8.61),
    )
)

# Perplexity on WikiText: Llama 3 8B in int4, groups of 64; OPT 125M in int4 (tables 3 and 4).
LLAMA_8B = tuple(
    Row(name, value, "", 2026, TORCHAO, "primary")
    for name, value in (("BF16", 7.441), ("rounded", 8.316), ("GPTQ", 7.921))
)
OPT_125M = tuple(
    Row(name, value, "", 2022, GPTQ, "primary")
    for name, value in (("rounded", 37.28), ("GPTQ", 31.12))
)

RATE_8_BITS = Row("H100 SXM5, FP8 and INT8", 1978.9e12, "FLOP/s", 2022, H100, "quoted", "dense")
