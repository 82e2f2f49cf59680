"""The formulas: sound dimensions, closed forms from the sources, and refused input."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import numpy as np
import pint
import pytest

from greenkit.foundations import Domain, Provenance, Reading
from greenkit.foundations import formulas as f
from greenkit.foundations.article import DimensionError, article_energy, pint_units
from greenkit.foundations.footprint import training_energy
from greenkit.foundations.units import FORMULAS, formula

ureg: pint.UnitRegistry = pint.UnitRegistry()
ureg.define("operation = [operation]")


def dimension(unit: str) -> object:
    """The dimension of a unit as pint spells it; "" is no dimension."""
    return ureg.Quantity(1, unit or "dimensionless").dimensionality


@pytest.mark.parametrize("name", FORMULAS)
def test_each_formula_has_the_dimension_that_it_declares(name: str) -> None:
    known = FORMULAS[name]
    values = {key: ureg.Quantity(2.0, unit or "dimensionless") for key, unit in known.takes.items()}
    result = ureg.Quantity(known.bare(**values))
    assert result.dimensionality == dimension(known.gives)


def test_the_dimension_test_can_fail() -> None:
    @formula("J", power_w="W", duration_s="s")
    def not_an_energy(power_w: float, duration_s: float) -> float:
        return power_w * duration_s**2

    known = FORMULAS.pop("not_an_energy")
    result = known.bare(power_w=ureg.Quantity(2, "W"), duration_s=ureg.Quantity(2, "s"))
    assert result.dimensionality != dimension(known.gives)
    assert not_an_energy(1, 1) == 1


def test_every_public_formula_declares_its_units() -> None:
    functions = {n for n, o in vars(f).items() if callable(o) and n != "formula" and n[0] != "_"}
    assert functions == set(FORMULAS)


def test_a_pint_quantity_is_converted() -> None:
    assert f.energy(ureg("10 kW"), ureg("1 h")) == pytest.approx(3.6e7)


def test_a_pint_quantity_of_another_dimension_is_refused() -> None:
    with pytest.raises(pint.DimensionalityError, match="second"):
        f.energy(ureg("3 s"), 1)


def test_kwh_where_joules_are_meant_is_refused() -> None:
    energy = training_energy(chips=8, hours=10, power_w=300)
    with pytest.raises(ValueError, match="joules is a number in J, got 24 kWh: convert it first"):
        f.joules_per_operation(1e21, energy)  # type: ignore[arg-type]


def test_a_reading_is_taken_in_joules() -> None:
    reading = Reading(
        joules=150,
        duration_s=15,
        sensor="s",
        device="d",
        domain=Domain.GPU,
        provenance=Provenance.SIMULATED,
        method="counter",
    )
    assert f.joules_per_operation(1000, reading) == 0.15  # type: ignore[arg-type]


@pytest.mark.parametrize("watts", [np.int64(10), np.float32(10), Fraction(10)])
def test_numbers_of_other_libraries_are_numbers(watts: float) -> None:
    assert f.energy(watts, 15) == 150


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, True, "10", None])
def test_what_is_no_finite_number_from_0_on_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"power_w must .* in W, got"):
        f.energy(bad, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, 0.99, -1])
def test_a_pue_below_one_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="PUE is facility energy / IT energy, at least 1"):
        f.facility_energy(1, bad)


def test_a_division_by_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="operations must be above 0"):
        f.joules_per_operation(0, 10)


def test_op_per_joule_and_joule_per_op_are_inverse() -> None:
    assert f.operations_per_joule(1000, 150) * f.joules_per_operation(1000, 150) == 1


def test_training_flops_agree_with_gpt3() -> None:
    # Patterson et al. 2021, Table 4: 3.14e23 for 175e9 parameters and 300e9 tokens.
    assert f.training_flops(175e9, 300e9) == pytest.approx(3.14e23, rel=0.01)


def test_the_best_clock_has_the_least_energy() -> None:
    best = f.best_clock(static_w=100, dynamic_w=200)
    least = f.clock_energy(best, 100, 200, work_s=1)
    assert best == pytest.approx(0.63, abs=0.001)
    assert least == pytest.approx(238.1, abs=0.1)
    grid = [0.3 + 0.001 * i for i in range(900)]
    assert least <= min(f.clock_energy(clock, 100, 200, work_s=1) for clock in grid)


def test_at_full_idle_power_a_period_always_favors_the_slow_clock() -> None:
    slow, fast = (
        f.period_energy(clock, 100, 200, idle_w=100, work_s=1, period_s=4) for clock in (0.5, 1.0)
    )
    assert slow < fast


def test_with_no_idle_power_and_much_static_power_racing_wins() -> None:
    slow, fast = (
        f.period_energy(clock, 300, 100, idle_w=0, work_s=1, period_s=4) for clock in (0.5, 1.0)
    )
    assert fast < slow


def test_work_that_does_not_fit_into_its_period_is_refused() -> None:
    with pytest.raises(ValueError, match=r"takes 10\.0 s, longer than the period of 4 s"):
        f.period_energy(0.1, 100, 200, idle_w=0, work_s=1, period_s=4)


def test_below_the_threshold_workers_cost_more_than_one() -> None:
    threshold = f.parallel_threshold(4, worker_w=10, fixed_w=50)
    alone = f.parallel_energy(1, 1, worker_w=10, fixed_w=50, alone_s=100)
    for efficiency, costs_more in ((threshold - 0.01, True), (threshold + 0.01, False)):
        together = f.parallel_energy(4, efficiency, worker_w=10, fixed_w=50, alone_s=100)
        assert (together > alone) == costs_more


def test_without_fixed_power_ideal_workers_cost_the_same() -> None:
    assert f.parallel_energy(8, 1, worker_w=10, fixed_w=0, alone_s=60) == f.energy(10, 60)


def test_roofline_time_is_the_longer_of_the_two() -> None:
    assert f.roofline_time(100, 10, peak_flops_per_s=10, bytes_per_s=10) == 10
    assert f.roofline_time(10, 100, peak_flops_per_s=10, bytes_per_s=10) == 10


def test_water_agrees_with_li_2025() -> None:
    # 16.904 mL for a medium GPT-3 request of 4 Wh, of which 2.2 mL on site.
    liters = f.water(0.004, onsite_l_per_kwh=0.55, offsite_l_per_kwh=3.142, pue=1.17)
    assert 1000 * liters == pytest.approx(16.904, rel=0.01)


def test_embodied_share_is_that_of_the_time() -> None:
    assert f.embodied_share(150, used_h=8766, lifetime_h=4 * 8766) == 37.5


class TestTheArticlesFormula:
    """E = C × P × t."""

    def test_it_refuses_joules_per_operation(self) -> None:
        with pytest.raises(DimensionError, match="here it is in joule / operation"):
            article_energy(1 * ureg.joule / ureg.operation, 10 * ureg.watt, 15 * ureg.second)

    def test_a_factor_without_unit_is_sound(self) -> None:
        energy = article_energy(1.1 * ureg.dimensionless, 10 * ureg.watt, 15 * ureg.second)
        assert energy.to("J").magnitude == pytest.approx(165)

    def test_operations_are_a_unit_of_their_own(self) -> None:
        ours = pint_units()
        with pytest.raises(DimensionError, match="here it is in joule / operation"):
            article_energy(ours("1 J/operation"), ours("10 W"), ours("15 s"))
        assert not ours("1 J/operation").check("[energy]")

    def test_without_pint_one_sentence_says_so(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "pint", None)
        assert pint_units() is None
        assert capsys.readouterr().out == (
            "pint is not installed here, so the check by hand stands alone (pip install pint)\n"
        )

    def test_bare_numbers_cannot_be_checked(self) -> None:
        with pytest.raises(TypeError, match="C must be a pint quantity"):
            article_energy(1, 10, 15)
