"""Published energy of one request or one inference; the boundaries differ, and the notes say how.

Luccioni et al. 2024 print kWh for 1,000 inferences, which is the same number in Wh for one.
"""

from __future__ import annotations

from greenkit.foundations.rows import Row

# Means over many models on 8 A100 cards, metered by CodeCarbon, without the facility.
TASKS = tuple(
    Row(task, wh, "Wh", 2024, "luccioni2024power", "primary")
    for task, wh in (
        ("text classification", 0.002),
        ("extractive question answering", 0.003),
        ("masked word", 0.003),
        ("token classification", 0.004),
        ("image classification", 0.007),
        ("object detection", 0.038),
        ("text generation", 0.047),
        ("summarization", 0.049),
        ("image captioning", 0.063),
        ("image generation", 2.907),
    )
)

REQUESTS = (
    Row("Gemini", 0.24, "Wh", 2025, "elsworth2025gemini", "quoted", "median text prompt"),
    Row("Gemini, narrow", 0.10, "Wh", 2025, "elsworth2025gemini", "quoted", "accelerators only"),
    Row("GPT-4o", 0.3, "Wh", 2025, "you2025chatgpt", "quoted", "500 tokens written, computed"),
    Row("GPT-4o, long", 40, "Wh", 2025, "you2025chatgpt", "quoted", "100,000 tokens read"),
    Row("GPT-4o, by speed", 0.42, "Wh", 2025, "jegham2025hungry", "quoted", "short prompt"),
    Row("over 200 B", 0.31, "Wh", 2026, "oviedo2025energy", "quoted", "median, modeled"),
    Row("over 200 B, reasoning", 3.91, "Wh", 2026, "oviedo2025energy", "quoted", "modeled"),
)

# BLOOM behind an interface for 18 days: energy, requests, share of the energy spent waiting.
BLOOM_TRIAL_KWH = Row("BLOOM, 18 days", 914, "kWh", 2023, "luccioni2023bloom", "quoted")
BLOOM_TRIAL_REQUESTS = Row("BLOOM, 18 days", 230_768, "", 2023, "luccioni2023bloom", "quoted")
BLOOM_TRIAL_WAITING = Row("BLOOM, waiting", 0.75, "", 2023, "luccioni2023bloom", "quoted", "about")

# The median Gemini text prompt of May 2025, beside its energy (market-based carbon).
GEMINI_CARBON = Row("Gemini, all scopes", 0.03, "gCO2e", 2025, "elsworth2025gemini", "quoted")
GEMINI_ELECTRICITY = Row(
    "Gemini, electricity", 0.023, "gCO2e", 2025, "elsworth2025gemini", "quoted", "market-based"
)
GEMINI_WATER = Row("Gemini, water", 0.26, "mL", 2025, "elsworth2025gemini", "quoted", "on site")
GEMINI_WATER_RATE = Row("Gemini, water", 1.15, "L/kWh", 2025, "elsworth2025gemini", "quoted")
