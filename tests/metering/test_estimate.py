"""The estimate for a CPU: linear, additive, of this process tree, with a factor and a named row."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

import pytest

from greenkit.foundations import Domain, Provenance
from greenkit.metering import estimate
from greenkit.metering.estimate import CHIPS, CpuEstimate, CpuModel, cpu_model

MODEL = CpuModel("test chip", "a row", 4.0, 2.9)


@pytest.fixture
def sensor(monkeypatch):
    """An estimate whose clock and CPU time the test sets through `.at(wall_s, busy_s)`."""
    now = {"wall": 100.0, "busy": 50.0}
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(estimate._ProcessTree, "_now_s", lambda self: now["busy"])
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 2)
    card = CpuEstimate(MODEL)

    def at(wall_s, busy_s):
        now.update(wall=100.0 + wall_s, busy=50.0 + busy_s)
        return card.read()

    card.at = at
    return card


def test_formula(sensor):
    assert sensor.at(10, 6) == pytest.approx(4.0 * (0.67 * 6 + 0.15 * 2 * 10))


def test_full_load_is_82_percent_of_tdp(sensor):
    assert sensor.at(1, 2) == pytest.approx(0.82 * 2 * MODEL.core_w)


def test_idle_and_busy_seconds_add_up(sensor):
    """A model that is not linear in the load gives another sum for another cut (a field bug)."""
    idle = sensor.at(1, 0)
    both = sensor.at(2, 2)
    assert idle == pytest.approx(0.15 * 2 * MODEL.core_w)
    assert both - idle == pytest.approx(0.82 * 2 * MODEL.core_w)


def test_it_never_falls_when_a_child_is_forgotten(sensor):
    before = sensor.at(1, 1)
    assert sensor.at(1, 0.5) == before


def test_info_says_estimated_its_factor_and_the_row(sensor):
    info = sensor.info
    assert (info.provenance, info.domain) == (Provenance.ESTIMATED, Domain.PROCESS)
    assert info.factor == 2.9
    assert info.device.endswith("(watts: a row)")
    assert info.method == "CPU time × 4 W per logical core"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("AMD EPYC 9654 96-Core Processor", "EPYC 9654"),
        ("Intel(R) Xeon(R) Platinum 8480+", "Xeon Platinum 8480+"),
        ("Intel(R) Xeon(R) CPU E5-2699 v3 @ 2.30GHz", "Xeon E5-2699 v3"),
        ("13th Gen Intel(R) Core(TM) i9-13900K", "Core i9-13900K"),
    ],
)
def test_known_chip_gets_its_row(name, row):
    tdp_w, cores = CHIPS[row]
    model = cpu_model(name)
    assert model.row == f"{row}, TDP {tdp_w} W / {cores}"
    assert (model.core_w, model.factor) == (tdp_w / cores, estimate.FACTOR_KNOWN)


@pytest.mark.parametrize(
    "name",
    ["AMD Ryzen 9 7950X3D", "Intel(R) Xeon(R) Platinum 8480", "AMD EPYC", "Apple M3", "EPYC 96540"],
)
def test_unknown_chip_gets_the_named_default_and_a_wider_factor(name):
    model = cpu_model(name)
    watts = [tdp_w / cores for tdp_w, cores in CHIPS.values()]
    assert model.row.startswith("default")
    assert model.factor == estimate.FACTOR_UNKNOWN > estimate.FACTOR_KNOWN
    assert min(watts) < model.core_w < max(watts)
    assert max(watts) / model.core_w < model.factor


def test_cpu_time_of_this_process_counts():
    tree = estimate._ProcessTree()
    busy_until = time.process_time() + 0.2
    while time.process_time() < busy_until:
        math.factorial(500)
    assert tree.cpu_seconds() == pytest.approx(0.2, abs=0.1)


def test_cpu_time_of_a_child_that_lives_and_of_one_that_ended_counts():
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    tree = estimate._ProcessTree()
    child = subprocess.Popen(
        [sys.executable, "-c", burn + "\nprint(flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    tree._next_look_s = -math.inf
    alive = tree.cpu_seconds()
    child.communicate(b"\n")
    assert alive >= 0.29
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert tree.cpu_seconds() >= alive + 0.29
    assert tree.cpu_seconds() < 3, os.times()
