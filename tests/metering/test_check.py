"""The meter against the card's own counter, on a simulated card."""

import dataclasses

import pytest

from greenkit.metering.check import Check, check, main
from greenkit.metering.sensor import SensorError

GOOD = Check("nvml:0 counter", 1.001, 0.02, 10.0, 0.009, 0.02, 5e-6)


@pytest.mark.slow
def test_a_dear_counter_and_the_meter_agree(fake_nvml):
    fake_nvml(COUNT=1, BURN_S=0.005, INSTANT_TICK_S=0.1, INSTANT_SEEN_S=0.025, WAVE="60:300:0.6")
    found = check(seconds=4.0)
    assert abs(found.ratio - 1) <= found.sure <= 0.15
    assert found.opening_s <= 0.06
    assert found.window_s <= 30e-6


def test_without_a_counter_it_says_so(fake_nvml, capsys):
    fake_nvml(COUNTER="no")
    with pytest.raises(SensorError, match="energy counter"):
        check()
    assert main() == 1
    assert "energy counter" in capsys.readouterr().out


def test_all_that_was_promised_holds():
    assert GOOD.faults == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ratio": 1.05}, "1.050 times the counter"),
        ({"overhead": 0.17}, "17.0% of a core"),
        ({"opening_s": 0.3}, "opens in 300 ms"),
        ({"window_s": 2e-4}, "costs 200 µs"),
    ],
)
def test_what_was_not_kept_is_named(change, fault):
    (found,) = dataclasses.replace(GOOD, **change).faults
    assert fault in found
