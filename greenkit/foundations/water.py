"""Published water of one request, and what it is computed from (Li et al. 2025)."""

from __future__ import annotations

from greenkit.foundations.rows import Row

# A medium-sized request to GPT-3 in an average data center of the US; its energy is assumed.
REQUEST = Row("request to GPT-3", 0.004, "kWh", 2025, "li2025thirsty", "quoted", "assumed")
ON_SITE = Row("cooling on site, US", 0.55, "L/kWh", 2025, "li2025thirsty", "quoted")
OFF_SITE = Row("power plants, US", 3.142, "L/kWh", 2025, "li2025thirsty", "quoted")
FACILITY = Row("PUE, US", 1.17, "", 2025, "li2025thirsty", "quoted")
PRINTED = Row("request to GPT-3", 16.904, "mL", 2025, "li2025thirsty", "quoted", "in all")
