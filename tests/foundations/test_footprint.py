"""Footprints computed from published figures, against the papers that print them."""

from __future__ import annotations

import math

import pytest

from greenkit.foundations import Grid, grid
from greenkit.foundations.footprint import operational_carbon, serving_energy, training_energy

# Patterson et al. 2021 (arXiv:2104.10350), Table 4: chips, days, mean W per chip, PUE, MWh,
# gross kgCO2e/kWh, gross tCO2e.
PATTERSON = {
    "Evolved Transformer NAS": (200, 6.8, 208, 1.10, 7.5, 0.431, 3.2),
    "T5": (512, 20, 310, 1.12, 85.7, 0.545, 46.7),
    "Meena": (1024, 30, 289, 1.09, 232, 0.415, 96.4),
    "GShard-600B": (1024, 3.1, 288, 1.09, 24.1, 0.201, 4.8),
    "Switch Transformer": (1024, 27, 245, 1.10, 179, 0.403, 72.2),
    "GPT-3": (10_000, 14.8, 330, 1.10, 1287, 0.429, 552.1),
}


@pytest.mark.parametrize("model", PATTERSON)
def test_training_energy_agrees_with_patterson_2021(model: str) -> None:
    chips, days, power_w, pue, mwh, _, _ = PATTERSON[model]
    energy = training_energy(chips=chips, hours=days * 24, power_w=power_w, pue=pue)
    assert energy.unit == "Wh"
    assert energy.value / 1e6 == pytest.approx(mwh, rel=0.01)


@pytest.mark.parametrize("model", PATTERSON)
def test_carbon_agrees_with_patterson_2021(model: str) -> None:
    chips, days, power_w, pue, _, kg_per_kwh, tonnes = PATTERSON[model]
    energy = training_energy(chips=chips, hours=days * 24, power_w=power_w, pue=pue)
    place = Grid("the site of the run", 1000 * kg_per_kwh, 2021, "Patterson et al. 2021, Table 4")
    carbon = operational_carbon(energy, place)
    assert carbon.unit == "tCO2e"
    assert carbon.value == pytest.approx(tonnes, rel=0.015)


def test_bloom_training_energy_is_exact() -> None:
    # Luccioni et al. 2023, JMLR 24(253): 1,082,990 GPU hours × 400 W = 433,196 kWh.
    energy = training_energy(chips=1, hours=1_082_990, power_w=400)
    assert energy.value == pytest.approx(433_196e3)


def test_serving_energy_converts_joules_to_watt_hours() -> None:
    assert serving_energy(tokens=1e9, joules_per_token=3.6, pue=1.5).value == pytest.approx(1.5e6)


def test_a_footprint_is_published_and_prints_its_formula() -> None:
    energy = training_energy(chips=10_000, hours=355.2, power_w=330, pue=1.1)
    assert energy.provenance == "published"
    assert str(energy) == (
        "1.289 GWh, published (computed from your inputs: 10,000 chips × 355.2 h × 330 W × PUE 1.1 "
        "= 1,289,376 kWh)"
    )


def test_a_footprint_names_the_source_of_its_inputs() -> None:
    energy = serving_energy(tokens=1, joules_per_token=1, source="Samsi et al. 2023")
    assert "computed from Samsi et al. 2023: 1 tokens" in energy.label


def test_small_carbon_is_in_grams_and_names_its_grid() -> None:
    energy = serving_energy(tokens=3.6e6, joules_per_token=1)
    carbon = operational_carbon(energy, grid("FRA"))
    assert (carbon.value, carbon.unit) == (pytest.approx(56), "gCO2e")
    assert "France 2023, grid uncertainty not included" in carbon.label


def test_the_interval_of_a_grid_reaches_the_carbon() -> None:
    place = Grid("a grid", 400, 2023, "a source", interval=(300, 600))
    carbon = operational_carbon(serving_energy(tokens=3.6e6, joules_per_token=1), place)
    assert (carbon.low, carbon.value, carbon.high) == pytest.approx((300, 400, 600))


def test_carbon_refuses_an_energy_in_joules_per_token() -> None:
    energy = serving_energy(tokens=1, joules_per_token=1).scaled(3600, "J/token")
    with pytest.raises(ValueError, match="in Wh, got one in J/token"):
        operational_carbon(energy, grid("FRA"))


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["chips", "hours", "power_w"])
def test_training_refuses_what_is_no_positive_number(name: str, bad: float) -> None:
    inputs = {"chips": 1.0, "hours": 1.0, "power_w": 1.0, name: bad}
    with pytest.raises(ValueError, match=f"{name} must be a number above 0"):
        training_energy(**inputs)


@pytest.mark.parametrize("bad", [0, 0.99, -1, math.nan, math.inf])
def test_a_pue_below_one_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="PUE is facility energy / IT energy"):
        serving_energy(tokens=1, joules_per_token=1, pue=bad)


def test_a_grid_of_zero_gives_zero_and_no_error() -> None:
    energy = training_energy(chips=1, hours=1, power_w=100)
    carbon = operational_carbon(energy, Grid("market-based", 0, 2024, "contracts"))
    assert (carbon.value, carbon.low, carbon.high, carbon.unit) == (0, 0, 0, "gCO2e")
