"""Teacher and student are charged apart, the parts are the whole, and break-even is honest."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from greenkit.compressing.distillation.charges import (
    NO_METER,
    PARTS,
    REST,
    STUDENT,
    TEACHER,
    Charges,
    Ledger,
    break_even_tokens,
)
from greenkit.foundations import Domain, Provenance, ProvenanceError, Reading
from greenkit.foundations.provenance import ErrorSource
from greenkit.metering import EnergyMeter, Kind
from greenkit.metering.simulated import SimulatedSensor, constant, square


def work(ledger: Ledger, *, rounds: int = 3) -> None:
    """The teacher takes 20 ms, the student 40 ms, the rest 10 ms, again and again."""
    for _ in range(rounds):
        ledger.enter(TEACHER)
        time.sleep(0.02)
        ledger.enter(STUDENT)
        time.sleep(0.04)
        ledger.enter(REST)
        time.sleep(0.01)


@pytest.mark.parametrize("wave", [constant(100), square(50, 150, period_s=0.07)])
def test_parts_and_rest_are_the_whole(wave) -> None:  # type: ignore[no-untyped-def]
    with EnergyMeter([SimulatedSensor(wave, tick_s=0.002, poll_s=0.001)]) as meter:
        ledger = Ledger(meter)
        work(ledger)
        charges = ledger.charges()
    assert charges.energy is not None
    assert sum(charges.parts[part].value for part in PARTS) == pytest.approx(charges.energy.joules)
    assert charges.total_s == pytest.approx(charges.energy.duration_s)


def test_each_part_is_charged_what_the_sensor_saw_while_it_worked() -> None:
    sensor = SimulatedSensor(square(50, 150, period_s=0.05), kind=Kind.COUNTER, tick_s=0.0)
    truth = dict.fromkeys(PARTS, 0.0)
    with EnergyMeter([sensor]) as meter:
        ledger = Ledger(meter)
        work(ledger, rounds=6)
        charges = ledger.charges()
        marks = ledger._marks
        for (start_s, part), (end_s, _) in pairwise(marks):
            truth[part] += sensor.truth(start_s, end_s)
    for part in PARTS:
        assert charges.parts[part].value == pytest.approx(truth[part], rel=0.25)
        assert charges.seconds[part] == pytest.approx(
            {"teacher": 0.12, "student": 0.24}.get(part, 0.06), abs=0.05
        )
    assert charges.parts[TEACHER].value < charges.parts[STUDENT].value


def test_at_constant_power_energy_is_power_times_time() -> None:
    with EnergyMeter([SimulatedSensor(constant(80), tick_s=0.005, poll_s=0.001)]) as meter:
        ledger = Ledger(meter)
        work(ledger)
        charges = ledger.charges()
    for part in PARTS:
        quantity = charges.parts[part]
        assert quantity.value == pytest.approx(80 * charges.seconds[part], rel=0.1)
        assert quantity.low <= 80 * charges.seconds[part] <= quantity.high
        assert quantity.provenance == "simulated"


def test_windows_below_the_sensors_ticks_say_that_time_divides_them() -> None:
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.1)]) as meter:
        time.sleep(0.15)
        ledger = Ledger(meter)
        work(ledger, rounds=5)
        coarse = ledger.charges()
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.001, poll_s=0.0005)]) as meter:
        time.sleep(0.05)
        ledger = Ledger(meter)
        work(ledger, rounds=5)
        fine = ledger.charges()
    assert "attributed by time within the sensor's ticks" in coarse.parts[STUDENT].label
    assert "attributed" not in fine.parts[STUDENT].label


def test_an_estimate_keeps_its_factor() -> None:
    from greenkit.metering.estimate import CpuEstimate

    with EnergyMeter([CpuEstimate()]) as meter:
        ledger = Ledger(meter)
        work(ledger)
        charges = ledger.charges()
    assert charges.energy is not None
    part, factor = charges.parts[STUDENT], charges.energy.factor
    assert part.approximate
    assert (part.low, part.high) == pytest.approx((part.value / factor, part.value * factor))
    assert part.text.startswith("~")


def test_a_teacher_that_never_ran_is_charged_nothing() -> None:
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.005)]) as meter:
        ledger = Ledger(meter)
        ledger.enter(STUDENT)
        time.sleep(0.05)
        charges = ledger.charges()
    teacher = charges.parts[TEACHER]
    assert (teacher.value, teacher.low, teacher.high) == (0, 0, 0)
    assert teacher.label.endswith("which never ran")


def test_without_a_meter_seconds_are_known_and_joules_are_not_zero_but_unknown() -> None:
    ledger = Ledger(None)
    work(ledger, rounds=1)
    charges = ledger.charges()
    assert charges.seconds[STUDENT] == pytest.approx(0.04, abs=0.02)
    assert (charges.energy, charges.parts, charges.reason) == (None, {}, NO_METER)
    assert ledger.known() is None


def metered(seconds: float = 0.05) -> Charges:
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.005)]) as meter:
        ledger = Ledger(meter)
        ledger.enter(STUDENT)
        time.sleep(seconds)
        return ledger.charges()


def test_the_charges_of_a_run_that_went_on_add_up() -> None:
    before = metered()
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.005)]) as meter:
        ledger = Ledger(meter, Charges.from_dict(json.loads(json.dumps(before.to_dict()))))
        ledger.enter(TEACHER)
        time.sleep(0.05)
        ledger.enter(REST)
        whole = ledger.charges()
    assert whole.energy is not None
    assert before.energy is not None
    assert whole.total_s == pytest.approx(before.total_s + 0.05, abs=0.02)
    assert whole.energy.joules == pytest.approx(100 * whole.total_s, rel=0.05)
    assert sum(whole.parts[p].value for p in PARTS) == pytest.approx(whole.energy.joules)
    assert whole.parts[STUDENT].value == pytest.approx(before.parts[STUDENT].value, rel=0.1)
    assert whole.parts[TEACHER].value > 0
    assert "never ran" not in whole.parts[TEACHER].label


def test_a_run_of_which_a_part_was_not_metered_has_no_energy() -> None:
    unmetered = Charges(reason=NO_METER)
    for first, second in ((metered(), unmetered), (unmetered, metered())):
        both = first.then(second)
        assert (both.energy, both.reason) == (None, NO_METER)
        assert both.total_s == pytest.approx(first.total_s + second.total_s)


def test_energy_of_two_provenances_does_not_add() -> None:
    simulated = metered()
    assert simulated.energy is not None
    estimated = replace(
        simulated, energy=replace(simulated.energy, provenance=Provenance.ESTIMATED, spans=())
    )
    both = simulated.then(estimated)
    assert both.energy is None
    assert "cannot add estimated and simulated" in both.reason


# -- break-even -------------------------------------------------------------------------------


def reading(joules: float, **changes: object) -> Reading:
    values: dict[str, object] = {
        "joules": joules,
        "duration_s": 1.0,
        "sensor": "nvml:0",
        "device": "a card",
        "domain": Domain.GPU,
        "provenance": Provenance.MEASURED,
        "method": "counter",
    }
    return Reading(**{**values, **changes})  # type: ignore[arg-type]


def test_break_even_is_what_was_spent_over_what_a_token_saves() -> None:
    found = break_even_tokens(reading(3000.0), reading(200.0), reading(150.0), tokens=100)
    assert found.value == pytest.approx(3000 / 0.5)
    assert found.unit == "token"
    assert found.provenance == "measured"


def test_its_interval_holds_the_noise_and_not_the_gain_that_the_readings_share() -> None:
    """The noise of what was spent widens it linearly, that of the two runs as their ratio does."""
    gain = ErrorSource("gain", "nvml:0@a card")

    def noisy(joules: float, noise: float, name: str) -> Reading:
        errors = {gain: 0.05 * joules, ErrorSource("noise", name): noise}
        return reading(joules, errors=errors)

    found = break_even_tokens(
        noisy(3000.0, 30.0, "c"), noisy(200.0, 1.0, "a"), noisy(150.0, 1.0, "b"), tokens=100
    )
    spread = 2 * math.hypot(1 / 150, 1 / 200)
    low, high = (
        3000 * (1 + sign * 0.02) / (2 * (1 - 0.75 * math.exp(sign * spread))) for sign in (-1, 1)
    )
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6)
    assert found.low < found.value < found.high


def test_a_saving_that_is_not_sure_has_no_upper_end() -> None:
    shaky = {ErrorSource("noise", "b"): 50.0}
    found = break_even_tokens(
        reading(3000.0), reading(200.0), reading(150.0, errors=shaky), tokens=100
    )
    assert math.isinf(found.high)
    assert "∞" in str(found)


def test_a_model_that_saves_nothing_never_pays_back() -> None:
    with pytest.raises(ValueError, match="saves nothing"):
        break_even_tokens(reading(3000.0), reading(200.0), reading(201.0), tokens=100)
    with pytest.raises(ValueError, match="at least 1"):
        break_even_tokens(reading(3000.0), reading(200.0), reading(100.0), tokens=0)


def test_energies_that_do_not_mean_the_same_do_not_pay_each_other_back() -> None:
    estimated = {"provenance": Provenance.ESTIMATED, "factor": 3.0}
    with pytest.raises(ProvenanceError):
        break_even_tokens(reading(3000.0), reading(2.0), reading(1.0, **estimated), tokens=1)
    with pytest.raises(ProvenanceError, match="same sensor"):
        break_even_tokens(reading(3000.0, **estimated), reading(2.0), reading(1.0), tokens=1)
    with pytest.raises(ProvenanceError, match="same sensor"):
        break_even_tokens(reading(3000.0, device="x"), reading(2.0), reading(1.0), tokens=1)
