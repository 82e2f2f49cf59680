"""Published energy of one inference by task; and the carbon and the water of one prompt.

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

# The median Gemini text prompt of May 2025, beside its energy (market-based carbon).
GEMINI_CARBON = Row("Gemini, all scopes", 0.03, "gCO2e", 2025, "elsworth2025gemini", "quoted")
GEMINI_ELECTRICITY = Row(
    "Gemini, electricity", 0.023, "gCO2e", 2025, "elsworth2025gemini", "quoted", "market-based"
)
GEMINI_WATER = Row("Gemini, water", 0.26, "mL", 2025, "elsworth2025gemini", "quoted", "on site")
GEMINI_WATER_RATE = Row("Gemini, water", 1.15, "L/kWh", 2025, "elsworth2025gemini", "quoted")
