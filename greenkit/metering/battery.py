"""The laptop's battery: watts of the whole machine, without root, while it is unplugged.

Linux tells them in /sys/class/power_supply (kernel documentation, ABI/testing/sysfs-class-power),
macOS through `ioreg`. The value is refreshed every few seconds to a minute, so only windows of a
minute or more mean anything.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from greenkit.foundations import Domain, Provenance
from greenkit.metering.discovery import Discovery
from greenkit.metering.sensor import Kind, SensorError, SensorInfo

SUPPLIES = Path("/sys/class/power_supply")
IOREG = ("ioreg", "-rn", "AppleSmartBattery")
GAIN = 0.10  # no calibration against a meter is known
HIGHEST_W = 1_000  # several times what the largest charger of a laptop gives
AVERAGE_S = 30.0  # so that a window is resolved from one minute on

_ON_MAINS = "the battery tells watts only while it powers the machine alone: unplug the charger"


class BatterySensor:
    """Watts that the batteries give, as `watts` tells them."""

    def __init__(self, watts: Callable[[], float], *, poll_s: float) -> None:
        self._watts = watts
        self.info = SensorInfo(
            name="battery",
            device="laptop battery",
            domain=Domain.MACHINE,
            provenance=Provenance.MEASURED,
            method="sampled, battery",
            kind=Kind.POWER,
            gain=GAIN,
            poll_s=poll_s,
            average_s=AVERAGE_S,
            note="whole machine",
            highest_w=HIGHEST_W,
        )

    def read(self) -> float:
        """Watts now. Raises SensorError on mains and where the battery reports 0 W."""
        return self._watts()

    def close(self) -> None:
        """Nothing to release."""


def discover(
    root: Path = SUPPLIES,
    *,
    platform: str = sys.platform,
    run: Callable[[tuple[str, ...]], str] | None = None,
) -> Discovery:
    """The battery of this machine as one sensor, or one sentence why it cannot be read now.

    `run` executes a command and returns what it prints.
    """
    if platform == "darwin":
        ask = run or _run
        sensor = BatterySensor(lambda: mac_watts(ask(IOREG)), poll_s=5.0)
    elif platform.startswith("linux"):
        sensor = BatterySensor(lambda: linux_watts(root), poll_s=1.0)
    else:
        return Discovery((), (f"the battery is read on Linux and macOS only, not on {platform}",))
    try:
        sensor.read()
    except SensorError as error:
        return Discovery((), (str(error),))
    return Discovery((sensor,), ())


def linux_watts(root: Path = SUPPLIES) -> float:
    """Watts that the batteries under /sys/class/power_supply give together.

    Raises SensorError on mains, without battery, and where the batteries report 0 W.
    """
    supplies = [f for f in sorted(root.glob("*")) if _text(f / "scope") != "Device"]  # not a mouse
    batteries = {f: _text(f / "status") for f in supplies if _text(f / "type") == "Battery"}
    if not batteries:
        raise SensorError(f"no battery: {root} lists none")
    fed = any(_text(f / "online") == "1" for f in supplies if f not in batteries)
    if fed or "Discharging" not in batteries.values() or "Charging" in batteries.values():
        states = ", ".join(f"{battery.name} {state}" for battery, state in batteries.items())
        raise SensorError(f"{_ON_MAINS} (now: {states})")
    giving = [battery for battery, state in batteries.items() if state == "Discharging"]
    return _checked(sum(_battery_w(battery) for battery in giving))


def _battery_w(battery: Path) -> float:
    power_uw = _number(battery / "power_now")
    if power_uw is not None:
        return abs(power_uw) / 1e6
    current_ua, voltage_uv = _number(battery / "current_now"), _number(battery / "voltage_now")
    if current_ua is None or voltage_uv is None:
        raise SensorError(f"{battery} tells neither power_now nor current_now and voltage_now")
    return abs(current_ua) * voltage_uv / 1e12  # some drivers give a discharge a minus sign


def mac_watts(text: str) -> float:
    """Watts that a Mac's battery gives, from what `ioreg -rn AppleSmartBattery` prints.

    Raises SensorError on mains, without battery, and where it reports 0 W.

    >>> mac_watts('"ExternalConnected" = No  "InstantAmperage" = -1000  "Voltage" = 12000')
    12.0
    """
    # Without the spaces around "=" it is a repetition inside a dictionary, of another moment.
    found = dict(re.findall(r'"(ExternalConnected|InstantAmperage|Voltage)" = (\S+)', text))
    if len(found) < 3:
        raise SensorError("no battery: ioreg lists no AppleSmartBattery with current and voltage")
    if found["ExternalConnected"] == "Yes":
        raise SensorError(_ON_MAINS)
    try:
        current_ma, voltage_mv = int(found["InstantAmperage"]), int(found["Voltage"])
    except ValueError:
        raise SensorError(f"the battery's current or voltage is no number: {found}") from None
    if current_ma >= 1 << 63:  # ioreg prints negative numbers as unsigned 64-bit ones
        current_ma -= 1 << 64
    if current_ma > 0:
        raise SensorError(_ON_MAINS)
    return _checked(-current_ma * voltage_mv / 1e6)


def _checked(watts: float) -> float:
    if watts > 0:
        return watts
    raise SensorError(
        "the battery reports 0 W though the machine runs on it: its sensor is stuck or not filled "
        "in yet (some need half a minute after the charger is unplugged)"
    )


def _run(command: tuple[str, ...]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise SensorError(f"{' '.join(command)} failed: {error}") from None


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _number(file: Path) -> float | None:
    text = _text(file)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
