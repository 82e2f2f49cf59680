"""Published effects of changing how a chip runs: energy and time as shares of before."""

from __future__ import annotations

from greenkit.foundations.rows import Row

# Cards capped at 175 W instead of 250 W while they served LLaMA 65B (Samsi et al. 2023).
CAPPED_TIME = Row("time, capped at 175 W", 1.067, "", 2023, "samsi2023words", "quoted")
CAPPED_ENERGY = Row("energy, capped at 175 W", 1 - 0.2321, "", 2023, "samsi2023words", "quoted")
