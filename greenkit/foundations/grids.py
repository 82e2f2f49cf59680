"""Carbon intensity of named grids; there is no default country."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from greenkit.foundations.countries import alike, country_code
from greenkit.foundations.rows import MixedSourcesError, Row

EMBER = "Ember yearly electricity data, October 2026 release, life cycle, as in leadgreen-mcp 0.3.1"
SOURCE = "Ember and Energy Institute via Our World in Data, as shipped in CodeCarbon 3.3.2"
CO2_JS = "as shipped in CO2.js 0.19.0"


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

    def vs(self, other: Grid, *, across: bool = False) -> float:
        """This intensity over another's.

        Raises MixedSourcesError where the sources differ, unless `across` is True.
        """
        if self.source != other.source and not across:
            raise MixedSourcesError(
                f"{self.name} is from {self.source}, {other.name} from {other.source}: their "
                "methods may differ more than the grids; pass across=True if you must"
            )
        return self.g_per_kwh / other.g_per_kwh


# France in other sources than `grid` reads: an older edition, a third one, and a marginal value.
FRANCE_ELSEWHERE = {
    "older edition": Grid("France", 44.2, 2024, f"Ember, {CO2_JS}"),
    "third source": Grid("France", 33, 2024, f"Electricity Maps, {CO2_JS}"),
    "marginal": Grid("France", 158, 2021, f"UNFCCC marginal, {CO2_JS}"),
}

# Life-cycle medians by source of power (IPCC AR5, working group III, annex III, table A.III.2).
LIFE_CYCLE_MEDIANS = tuple(
    Row(fuel, g_per_kwh, "gCO2e/kWh", 2014, "schlomer2014annex", "quoted", "life cycle")
    for fuel, g_per_kwh in (
        ("coal", 820),
        ("gas, combined cycle", 490),
        ("biomass", 230),
        ("solar, utility", 48),
        ("solar, rooftop", 41),
        ("geothermal", 38),
        ("hydropower", 24),
        ("nuclear", 12),
        ("wind, offshore", 12),
        ("wind, onshore", 11),
    )
)

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


def grid(code: str, *, source: str = "owid", year: int | None = None) -> Grid:
    """The grid of a country by its ISO code (FRA, FR) or English name; Ember has the world, WLD.

    `source` is "owid" (one row a country, in this package) or "ember" (all countries, 2023 to
    2025, life cycle; fetched once, 0.1 MB). `year` may be given for Ember, where 2024 is the
    default. Raises ValueError for an unknown code, source or year, and AssetError where Ember's
    data cannot be fetched.

    >>> grid("FRA").g_per_kwh
    56
    """
    if source == "owid":
        return _owid(code, year)
    if source == "ember":
        return _ember(code, 2024 if year is None else year)
    raise ValueError(f"a grid's source is 'owid' or 'ember', got {source!r}")


def _owid(code: str, year: int | None) -> Grid:
    names = {row_code: name for row_code, (name, _, _) in _ROWS.items()}
    try:
        name, g_per_kwh, known = _ROWS[country_code(code, names)]
    except KeyError:
        raise ValueError(
            f"no carbon intensity for {code!r}{alike(code, names)}; known: "
            f"{', '.join(sorted(_ROWS))}. For another country pass source='ember', for another "
            "grid write Grid(name, g_per_kwh, year, source)."
        ) from None
    if year not in (None, known):
        raise ValueError(f"this source has {name} for {known}, not for {year}; try source='ember'")
    return Grid(name, g_per_kwh, known, SOURCE)


def _ember(code: str, year: int) -> Grid:
    areas = _ember_areas()
    names = {iso3: str(area["name"]) for iso3, area in areas.items()}
    try:
        area = areas[country_code(code, names)]
    except KeyError:
        raise ValueError(
            f"Ember has no area {code!r}{alike(code, names)}; it takes ISO codes such as FRA, "
            "English names of countries, and WLD for the world"
        ) from None
    if str(year) not in area["years"]:
        years = ", ".join(area["years"])
        raise ValueError(f"Ember has {area['name']} for {years}, not for {year}")
    return Grid(str(area["name"]), float(area["years"][str(year)]), year, EMBER)


@cache
def _ember_areas() -> dict[str, Any]:
    from greenkit.inputs.fetching import fetch

    table = json.loads(fetch("ember-grids").read_text(encoding="utf-8"))
    return {area["iso3"]: area for area in table["areas"]}


def grid_codes() -> tuple[str, ...]:
    """The known country codes."""
    return tuple(_ROWS)
