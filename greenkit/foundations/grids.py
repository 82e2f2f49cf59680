"""Carbon intensity of named grids; there is no default country."""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "Ember and Energy Institute via Our World in Data, as shipped in CodeCarbon 3.3.2"


@dataclass(frozen=True)
class Grid:
    """Average carbon intensity of a grid in gCO2e/kWh, with source and year.

    `interval` is (low, high) in the same unit where the source gives one.
    """

    name: str
    g_per_kwh: float
    year: int
    source: str
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        spread = "" if self.interval else ", grid uncertainty not included"
        return f"{self.g_per_kwh:g} gCO2e/kWh ({self.name} {self.year}{spread})"


_ROWS = {
    "ISL": ("Iceland", 28, 2022),
    "NOR": ("Norway", 30, 2023),
    "CHE": ("Switzerland", 35, 2023),
    "SWE": ("Sweden", 41, 2023),
    "FRA": ("France", 56, 2023),
    "FIN": ("Finland", 79, 2023),
    "BRA": ("Brazil", 98, 2023),
    "DNK": ("Denmark", 152, 2023),
    "CAN": ("Canada", 170, 2023),
    "ESP": ("Spain", 174, 2023),
    "GBR": ("United Kingdom", 238, 2023),
    "NLD": ("Netherlands", 268, 2023),
    "IRL": ("Ireland", 291, 2023),
    "ITA": ("Italy", 331, 2023),
    "USA": ("United States", 369, 2023),
    "DEU": ("Germany", 381, 2023),
    "KOR": ("South Korea", 431, 2023),
    "SGP": ("Singapore", 471, 2023),
    "JPN": ("Japan", 485, 2023),
    "AUS": ("Australia", 549, 2023),
    "CHN": ("China", 582, 2023),
    "POL": ("Poland", 662, 2023),
    "ZAF": ("South Africa", 708, 2023),
    "IND": ("India", 713, 2023),
}


def grid(code: str) -> Grid:
    """The grid of a country by its three-letter ISO code.

    Raises ValueError for an unknown code. Source: Our World in Data / Ember, one row a country.

    >>> grid("FRA").g_per_kwh
    56
    """
    try:
        name, g_per_kwh, year = _ROWS[code.upper()]
    except KeyError:
        raise ValueError(
            f"no carbon intensity for {code!r}; known: {', '.join(sorted(_ROWS))}. "
            "For another grid write Grid(name, g_per_kwh, year, source)."
        ) from None
    return Grid(name, g_per_kwh, year, SOURCE)


def grid_codes() -> tuple[str, ...]:
    """The known country codes."""
    return tuple(_ROWS)
