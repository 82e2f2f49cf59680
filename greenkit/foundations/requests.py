"""Published energies of one request: what was called so, and by whom.

Typed once, from the citation; the rows differ in boundary, length and method, so that no two of
different sources make a ratio. Used in: the chapter *Joules per token*.
"""

from __future__ import annotations

from greenkit.foundations.inferences import TASKS
from greenkit.foundations.rows import Row, find

REQUESTS = (
    Row("Gemini prompt", 0.24, "Wh", 2025, "elsworth2025gemini", "quoted", "median, all machines"),
    Row("Gemini prompt, accelerators", 0.10, "Wh", 2025, "elsworth2025gemini", "quoted", "narrow"),
    Row("GPT-4o, 500 tokens written", 0.3, "Wh", 2025, "you2025chatgpt", "quoted", "computed"),
    Row("GPT-4o, 100,000 tokens read", 40, "Wh", 2025, "you2025chatgpt", "quoted", "computed"),
    Row("over 200 B parameters", 0.31, "Wh", 2026, "oviedo2025energy", "quoted", "modeled, median"),
    Row("over 200 B, long reasoning", 3.91, "Wh", 2026, "oviedo2025energy", "quoted", "modeled"),
    find(TASKS, "text generation"),
    find(TASKS, "text classification"),
)

# BLOOM behind an interface for 18 days on 16 cards (Luccioni et al. 2023): energy, requests, and
# the share of the energy that kept the model in memory, ready and waiting.
BLOOM_SERVICE_KWH, BLOOM_SERVICE_REQUESTS, BLOOM_SERVICE_WAITING = 914, 230_768, 0.75

# The median Gemini prompt's shares as the paper prints them, from unrounded watt-hours; in the
# order of `runs.GEMINI_PROMPT_WH` (Elsworth et al. 2025).
GEMINI_PROMPT_PERCENT = (58, 25, 10, 8)
