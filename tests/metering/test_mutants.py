"""Ten bugs of well-known energy meters, each put into a copy of greenkit: the tests must see it.

A mutant is a piece of source as it is, the same piece with the bug, and the test that must fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import fake_nvml as simulated_driver
import pytest

import greenkit

TESTS = Path(__file__).parent
CAUGHT, PASSED = 1, 0  # pytest's exit status: tests ran and some failed; all passed


@dataclass(frozen=True)
class Mutant:
    """One bug: the file of the package, the text to replace, the bug, and the test to catch it."""

    file: str
    right: str
    wrong: str
    test: str
    compiler: bool = False


MUTANTS = {
    "repeated power samples are dropped before the trapezoid": Mutant(
        "metering/knots.py",
        "        self._latest_s = time_s\n",
        "        self._latest_s = time_s\n"
        "        if power and self._last and value == self._last[1]:\n"
        "            return\n",
        "test_curve.py::test_plateau_counts_from_its_first_to_its_last_second",
    ),
    "several GPUs count as their mean": Mutant(
        "foundations/sums.py",
        "joules=sum(p.joules for p in parts),",
        "joules=sum(p.joules for p in parts) / len({p.sensor for p in parts}),",
        "test_nvml.py::test_two_cards_give_the_sum_and_not_the_mean",
        compiler=True,
    ),
    "the wrap of a counter is ignored": Mutant(
        "metering/rapl.py",
        "        if step < 0:\n            step += self._range_uj\n",
        "        if False:\n",
        "test_rapl.py::test_every_read_after_a_wrap_is_exact",
    ),
    "the wrap of a counter is noticed one read late": Mutant(
        "metering/rapl.py",
        "        step = value - previous\n        if step < 0:\n",
        "        step = value - previous + getattr(self, '_owed_uj', 0)\n"
        "        self._owed_uj = self._range_uj if value < previous else 0\n"
        "        if False:\n",
        "test_rapl.py::test_every_read_after_a_wrap_is_exact",
    ),
    "an input error reads as 0": Mutant(
        "metering/rapl.py",
        '        raise SensorError(f"{file} cannot be read: {error.strerror}") from None\n',
        "        return 0\n",
        "test_rapl.py::test_failed_read_is_an_error_and_neither_zero_nor_a_wrap",
    ),
    'lstrip("MIG-") eats the G of GPU-…': Mutant(
        "metering/gpus.py",
        "text = str(name).strip().casefold()",
        'text = str(name).strip().lstrip("MIG-").casefold()',
        "test_nvml.py::test_card_by_index_uuid_start_of_uuid_or_bus_id",
    ),
    "windows below 50 ms count as nothing": Mutant(
        "metering/curve.py",
        "joules, info = max(0.0, last.joules - first.joules), self.info",
        "joules, info = max(0.0, last.joules - first.joules), self.info\n"
        "        joules *= end_s - start_s >= 0.05",
        "test_curve.py::test_short_window_on_a_fresh_counter_is_not_nothing",
    ),
    "the load counts by its cube": Mutant(
        "metering/estimate.py",
        "return self.model.core_w * (BUSY_SHARE * busy_s + IDLE_SHARE * self._cores * wall_s)",
        "load = busy_s / (self._cores * wall_s) if wall_s else 0.0\n"
        "        return self.model.core_w * self._cores * wall_s * (0.1 + 0.9 * load**3)",
        "test_estimate.py::test_idle_and_busy_seconds_add_up",
    ),
    "power averaged over 1 s is taken as that of the instant": Mutant(
        "metering/nvml.py",
        "_usage_w, 0.1, average_s=1.0)",
        "_usage_w, 0.1)",
        "test_nvml.py::test_averaged_power_does_not_resolve_a_one_second_window",
        compiler=True,
    ),
    "without a sensor it is 0 J": Mutant(
        "metering/window.py",
        '    raise NotMeasuredError("; ".join(reasons) or "not measured: there is no sensor")\n',
        '    return Reading(0.0, 0.0, "", "", Domain.MACHINE, Provenance.MEASURED, "")\n',
        "test_meter.py::test_meter_without_any_sensor_measures_nothing_and_says_so",
    ),
}


def verdict(folder: Path, test: str) -> int:
    """Pytest's exit status for one test, greenkit being imported from a folder."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(TESTS / test)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True).returncode


@pytest.mark.slow
@pytest.mark.parametrize("bug", MUTANTS)
def test_field_bug_is_caught(bug, tmp_path):
    mutant = MUTANTS[bug]
    if mutant.compiler and (reason := simulated_driver.missing()):
        if os.environ.get("GREENKIT_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    package = tmp_path / "greenkit"
    shutil.copytree(
        Path(greenkit.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    file = package / mutant.file
    source = file.read_text()
    assert source.count(mutant.right) == 1, "the code that this bug replaces has changed"
    assert verdict(tmp_path, mutant.test) == PASSED, "the test fails without the bug, too"
    file.write_text(source.replace(mutant.right, mutant.wrong))
    assert verdict(tmp_path, mutant.test) == CAUGHT
