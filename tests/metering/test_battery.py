"""The laptop's battery, on files as Linux shows them and on text as ioreg prints it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from greenkit.foundations import Domain, Provenance
from greenkit.metering import battery
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.sensor import Kind, SensorError

# As `ioreg -rn AppleSmartBattery` prints it, shortened: nested dictionaries repeat the keys.
IOREG = """\
+-o AppleSmartBattery  <class AppleSmartBattery, id 0x1, registered, matched, active, busy 0>
    {
      "PostChargeWaitSeconds" = 120
      "LegacyBatteryInfo" = {"Amperage"=18446744073709550000,"Flags"=4,"Voltage"=11000}
      "Voltage" = 12500
      "InstantAmperage" = %s
      "ExternalConnected" = %s
      "BatteryData" = {"StateOfCharge"=98,"Voltage"=12503,"InstantAmperage"=1}
    }
"""


def supply(root: Path, name: str, **files: object) -> Path:
    folder = root / name
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_text(f"{content}\n")
    return folder


def laptop(root: Path, status: str = "Discharging", online: int = 0, **files: object) -> Path:
    supply(root, "AC", type="Mains", online=online)
    values = files or {"power_now": 12_345_000}
    return supply(root, "BAT0", type="Battery", status=status, present=1, **values)


def discover(root: Path):
    return battery.discover(root, platform="linux")


# -- Linux -------------------------------------------------------------------------------------


def test_power_now_is_microwatts(tmp_path):
    laptop(tmp_path)
    assert battery.linux_watts(tmp_path) == pytest.approx(12.345)


@pytest.mark.parametrize("sign", [1, -1])
def test_current_times_voltage_whatever_the_sign(tmp_path, sign):
    laptop(tmp_path, current_now=sign * 1_500_000, voltage_now=11_000_000)
    assert battery.linux_watts(tmp_path) == pytest.approx(16.5)


def test_two_batteries_add_and_the_resting_one_does_not_count(tmp_path):
    laptop(tmp_path)
    supply(tmp_path, "BAT1", type="Battery", status="Discharging", power_now=2_000_000)
    supply(tmp_path, "BAT2", type="Battery", status="Not charging")
    assert battery.linux_watts(tmp_path) == pytest.approx(14.345)


def test_battery_of_a_mouse_is_not_the_machines(tmp_path):
    supply(tmp_path, "hidpp_battery_0", type="Battery", scope="Device", status="Discharging")
    assert "no battery" in discover(tmp_path).reasons[0]


def test_wireless_mouse_does_not_count_as_a_charger(tmp_path):
    laptop(tmp_path)
    supply(tmp_path, "hidpp_battery_0", type="Battery", scope="Device", online=1, status="Full")
    assert battery.linux_watts(tmp_path) == pytest.approx(12.345)


def test_sensor_says_whole_machine_and_a_minute(tmp_path):
    laptop(tmp_path)
    (sensor,) = discover(tmp_path).sensors
    info = sensor.info
    assert (info.name, info.domain, info.kind) == ("battery", Domain.MACHINE, Kind.POWER)
    assert (info.provenance, info.method) == (Provenance.MEASURED, "sampled, battery")
    assert (info.gain, info.average_s) == (0.10, 30.0)


@pytest.mark.parametrize(("length_s", "resolved"), [(59, False), (61, True)])
def test_only_windows_of_a_minute_or_more_are_resolved(tmp_path, length_s, resolved):
    laptop(tmp_path)
    (sensor,) = discover(tmp_path).sensors
    curve = EnergyCurve(sensor.info)
    for second in range(120):
        curve.push(float(second), sensor.read())
    reading = curve.reading(20, 20 + length_s)
    assert reading.resolved == resolved
    assert reading.joules == pytest.approx(12.345 * length_s)


@pytest.mark.parametrize(
    ("status", "online"),
    [("Charging", 1), ("Full", 1), ("Not charging", 0), ("Discharging", 1), ("Unknown", 0)],
)
def test_on_mains_there_is_a_reason_and_no_sensor(tmp_path, status, online):
    laptop(tmp_path, status, online)
    found = discover(tmp_path)
    assert found.sensors == ()
    assert "unplug the charger" in found.reasons[0]


def test_usb_charger_counts_as_mains(tmp_path):
    laptop(tmp_path)
    supply(tmp_path, "ucsi-source-psy-1", type="USB", online=1)
    assert "unplug the charger" in discover(tmp_path).reasons[0]


def test_plugged_in_half_way_is_an_error(tmp_path):
    folder = laptop(tmp_path)
    (sensor,) = discover(tmp_path).sensors
    assert sensor.read() == pytest.approx(12.345)
    (folder / "status").write_text("Charging\n")
    with pytest.raises(SensorError, match="unplug the charger"):
        sensor.read()


@pytest.mark.parametrize("files", [{"power_now": 0}, {"current_now": 0, "voltage_now": 11_000_000}])
def test_sensor_stuck_at_zero_is_refused(tmp_path, files):
    laptop(tmp_path, **files)
    found = discover(tmp_path)
    assert found.sensors == ()
    assert "reports 0 W" in found.reasons[0]


def test_zero_later_is_an_error_and_not_zero(tmp_path):
    folder = laptop(tmp_path)
    (sensor,) = discover(tmp_path).sensors
    (folder / "power_now").write_text("0\n")
    with pytest.raises(SensorError, match="reports 0 W"):
        sensor.read()


def test_battery_without_power_and_current_is_a_reason(tmp_path):
    laptop(tmp_path, voltage_now=11_000_000)
    assert "neither power_now nor current_now" in discover(tmp_path).reasons[0]


def test_without_battery_there_is_a_reason(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        found = discover(root)
        assert found.sensors == ()
        assert "no battery" in found.reasons[0]


# -- macOS -------------------------------------------------------------------------------------


@pytest.mark.parametrize("amperage", [-800, 2**64 - 800])
def test_mac_watts_from_signed_or_unsigned_milliamperes(amperage):
    assert battery.mac_watts(IOREG % (amperage, "No")) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (IOREG % (-800, "Yes"), "unplug the charger"),
        (IOREG % (800, "No"), "unplug the charger"),
        (IOREG % (0, "No"), "reports 0 W"),
        ("", "no battery"),
    ],
)
def test_mac_without_watts_has_a_reason(text, reason):
    found = battery.discover(platform="darwin", run=lambda command: text)
    assert found.sensors == ()
    assert reason in found.reasons[0]


def test_mac_sensor_asks_ioreg_at_every_read():
    commands = []
    answers = iter([IOREG % (-800, "No"), IOREG % (-1600, "No")])

    def run(command):
        commands.append(command)
        return next(answers)

    (sensor,) = battery.discover(platform="darwin", run=run).sensors
    assert sensor.read() == pytest.approx(20.0)
    assert commands == [("ioreg", "-rn", "AppleSmartBattery")] * 2


def test_mac_without_ioreg_has_a_reason(monkeypatch):
    def missing(*arguments, **options):
        raise FileNotFoundError("ioreg")

    monkeypatch.setattr(subprocess, "run", missing)
    assert "ioreg -rn AppleSmartBattery failed" in battery.discover(platform="darwin").reasons[0]


def test_other_systems_have_a_reason():
    assert "not on win32" in battery.discover(platform="win32").reasons[0]
