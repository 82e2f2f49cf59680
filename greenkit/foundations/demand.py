"""Published electricity of data centers, and of a home to set it against."""

from __future__ import annotations

from greenkit.foundations.rows import Row

US_HOME = Row("a US home in a year", 10_715, "kWh", 2020, "eia2021home", "primary")

# All data centers of the world, AI or not.
DATA_CENTERS = (
    Row("2010", 194, "TWh", 2010, "masanet2020recalibrating", "quoted"),
    Row("2018", 205, "TWh", 2018, "masanet2020recalibrating", "quoted"),
    Row("2024", 415, "TWh", 2024, "iea2025energyai", "quoted"),
)
SCENARIOS_2030 = (
    Row("Lift-Off", 1260, "TWh", 2030, "iea2025energyai", "quoted", "more than"),
    Row("Base", 945, "TWh", 2030, "iea2025energyai", "quoted"),
    Row("High Efficiency", 800, "TWh", 2030, "iea2025energyai", "quoted", "about"),
    Row("Headwinds", 670, "TWh", 2030, "iea2025energyai", "quoted", "about"),
)
UPDATE_2026 = (
    Row("2025", 485, "TWh", 2025, "iea2026key", "quoted"),
    Row("2030", 950, "TWh", 2030, "iea2026key", "quoted"),
)
# How many times as many compute instances ran in 2018 as in 2010.
INSTANCES_2018 = Row("compute instances", 6.5, "", 2018, "masanet2020recalibrating", "quoted")


def yearly_growth(earlier: Row, later: Row) -> float:
    """The steady growth in a year, as a share, that leads from one row to the other.

    Raises ValueError where the later row is not later.
    """
    if later.year <= earlier.year:
        raise ValueError(f"{later.name} ({later.year}) is not after {earlier.year}")
    growth: float = (later.value / earlier.value) ** (1 / (later.year - earlier.year)) - 1
    return growth
