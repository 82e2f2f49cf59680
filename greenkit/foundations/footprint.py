"""Footprints from planned or published figures: formulas without a meter, and labeled so.

Source: Patterson et al. 2021 (arXiv:2104.10350), section 2.5. Derived in: Lab 02.
"""

from __future__ import annotations

import math
from dataclasses import replace

from greenkit.foundations.grids import Grid
from greenkit.foundations.quantity import Quantity
from greenkit.foundations.reading import JOULES_PER_WH, Provenance

G_PER_TONNE = 1e6


def training_energy(
    *, chips: float, hours: float, power_w: float, pue: float = 1.0, source: str = "your inputs"
) -> Quantity:
    """Energy of a training run in Wh: chips × hours × mean watts per chip × PUE.

    `power_w` is the mean draw of one chip with its share of the host, not the TDP. `pue` is
    facility energy over IT energy; 1 leaves the facility out. `source` says whose inputs they are.
    Raises ValueError for an input that is not a positive number, and for a PUE below 1.

    >>> training_energy(chips=8, hours=10, power_w=300).text
    '24 kWh'
    """
    _require(pue, chips=chips, hours=hours, power_w=power_w)
    formula = f"{chips:,.10g} chips × {hours:,.10g} h × {power_w:,.10g} W"
    return _energy(chips * hours * power_w, pue, formula, source)


def serving_energy(
    *, tokens: float, joules_per_token: float, pue: float = 1.0, source: str = "your inputs"
) -> Quantity:
    """Energy of serving `tokens` tokens in Wh: tokens × J/token × PUE / 3600.

    Raises ValueError for an input that is not a positive number, and for a PUE below 1.

    >>> serving_energy(tokens=3600, joules_per_token=2).text
    '2 Wh'
    """
    _require(pue, tokens=tokens, joules_per_token=joules_per_token)
    formula = f"{tokens:,.10g} tokens × {joules_per_token:,.10g} J/token"
    return _energy(tokens * joules_per_token / JOULES_PER_WH, pue, formula, source)


def operational_carbon(energy: Quantity, grid: Grid) -> Quantity:
    """Carbon of an energy in Wh on a named grid, in gCO2e, or in tCO2e from one tonne on.

    PUE is taken to be in the energy; embodied carbon is not included. The grid's interval widens
    the energy's where the grid has one. Raises ValueError for an energy in another unit than Wh.
    """
    if energy.unit != "Wh":
        raise ValueError(f"carbon is computed from an energy in Wh, got one in {energy.unit}")
    g_per_wh = grid.g_per_kwh / 1000
    tonnes = energy.value * g_per_wh >= G_PER_TONNE
    scale, unit = (1 / G_PER_TONNE, "tCO2e") if tonnes else (1.0, "gCO2e")
    carbon = energy.scaled(g_per_wh * scale, unit, str(grid))
    if grid.interval is None:
        return carbon
    low, high = grid.interval
    return replace(
        carbon, low=carbon.low * low / grid.g_per_kwh, high=carbon.high * high / grid.g_per_kwh
    )


def _require(pue: float, **inputs: float) -> None:
    for name, value in inputs.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a number above 0, got {value:g}")
    if not (math.isfinite(pue) and pue >= 1):
        raise ValueError(f"PUE is facility energy / IT energy, at least 1; got {pue:g}")


def _energy(it_wh: float, pue: float, formula: str, source: str) -> Quantity:
    wh = it_wh * pue
    kwh = f"{wh / 1000:,.0f}" if wh >= 1e6 else f"{wh / 1000:.4g}"
    label = f"published (computed from {source}: {formula} × PUE {pue:g} = {kwh} kWh)"
    return Quantity(wh, wh, wh, "Wh", Provenance.PUBLISHED.value, label)
