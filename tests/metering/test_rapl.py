"""RAPL on a powercap tree of ordinary files."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import fake_powercap as powercap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenkit.foundations import Domain, Provenance, total
from greenkit.metering import rapl
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.sensor import Kind, SensorError

RANGE_UJ = 500_000_000  # 500 J: small, so that wraps are frequent


@pytest.fixture
def clock(monkeypatch):
    """The clock of the module, in a list of one number, that only the test moves."""
    now = [100.0]
    monkeypatch.setattr(rapl, "perf_counter", lambda: now[0])
    return now


def server(root: Path) -> dict[str, Path]:
    """Two packages with DRAM, and all that must not be counted beside them."""
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "uncore",
        "intel-rapl:0:2": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:1:0": "dram",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    return {
        place: powercap.zone(root, place, name, (5 + 3 * i) * 10_000_000)
        for i, (place, name) in enumerate(zones.items())
    }


def fail_reading(monkeypatch, failing: Path, error: OSError) -> None:
    """Make one file fail as the kernel would; root may read everything otherwise."""
    read = Path.read_text

    def read_text(self, *arguments, **options):
        if self == failing:
            raise error
        return read(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", read_text)


# -- which zones -------------------------------------------------------------------------------


def test_packages_and_dram_and_nothing_that_overlaps(tmp_path):
    server(tmp_path)
    found = rapl.discover(tmp_path)
    assert {s.info.name: s.info.domain for s in found.sensors} == {
        "rapl:package-0": Domain.PACKAGE,
        "rapl:dram-0": Domain.DRAM,
        "rapl:package-1": Domain.PACKAGE,
        "rapl:dram-1": Domain.DRAM,
    }
    assert found.reasons == ()


def test_links_beside_the_folders_do_not_double_the_dram(tmp_path):
    server(tmp_path)
    (tmp_path / "intel-rapl:0:2").symlink_to(tmp_path / "intel-rapl:0" / "intel-rapl:0:2")
    assert len(rapl.discover(tmp_path).sensors) == 4


def test_mmio_is_read_where_it_is_the_only_interface(tmp_path):
    powercap.zone(tmp_path, "intel-rapl-mmio:0", "package-0")
    assert [s.info.name for s in rapl.discover(tmp_path).sensors] == ["rapl:package-0"]


def test_ten_packages_come_in_their_order(tmp_path):
    for i in (10, 2, 0):
        powercap.zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", (i + 1) * 10_000_000)
    names = [s.info.name for s in rapl.discover(tmp_path).sensors]
    assert names == ["rapl:package-0", "rapl:package-2", "rapl:package-10"]


def test_info(tmp_path):
    server(tmp_path)
    info = rapl.discover(tmp_path).sensors[0].info
    assert (info.kind, info.provenance, info.method) == (
        Kind.COUNTER,
        Provenance.MEASURED,
        "counter",
    )
    assert (info.gain, info.poll_s, info.factor) == (0.05, 0.05, 1.0)


def test_readings_of_all_zones_add(tmp_path, clock):
    files = server(tmp_path)
    found = rapl.discover(tmp_path)
    curves = [EnergyCurve(s.info) for s in found.sensors]
    for step in range(5):
        clock[0] = 100 + 0.05 * step
        for file in files.values():
            powercap.spend(file, 900_000_000 + step * 1_000_000)  # 1 J each 50 ms
        for sensor, curve in zip(found.sensors, curves, strict=True):
            curve.push(clock[0], sensor.read())
    assert total(c.reading(100.0, 100.2) for c in curves).joules == pytest.approx(16)


# -- mirrored dies -----------------------------------------------------------------------------


@pytest.mark.parametrize("apart_uj", [0, 400_000])
def test_dies_that_mirror_one_counter_are_counted_once(tmp_path, apart_uj):
    powercap.zone(tmp_path, "intel-rapl:0", "package-0-die-0", 68_000_000_000)
    powercap.zone(tmp_path, "intel-rapl:1", "package-0-die-1", 68_000_000_000 + apart_uj)
    found = rapl.discover(tmp_path)
    assert [s.info.name for s in found.sensors] == ["rapl:package-0-die-0"]
    assert "rapl:package-0-die-1 repeats the counter of rapl:package-0-die-0" in found.reasons[0]


def test_dies_with_counters_of_their_own_are_both_counted(tmp_path):
    powercap.zone(tmp_path, "intel-rapl:0", "package-0-die-0", 68_000_000_000)
    powercap.zone(tmp_path, "intel-rapl:1", "package-0-die-1", 61_000_000_000)
    assert len(rapl.discover(tmp_path).sensors) == 2


@pytest.mark.parametrize(
    ("names", "energy_uj"),
    [(("package-0", "package-1"), 68_000_000_000), (("package-0-die-0", "package-0-die-1"), 0)],
    ids=["two sockets", "counters at zero"],
)
def test_equal_counters_are_no_mirrors_by_themselves(tmp_path, names, energy_uj):
    for i, name in enumerate(names):
        powercap.zone(tmp_path, f"intel-rapl:{i}", name, energy_uj)
    assert len(rapl.discover(tmp_path).sensors) == 2


# -- wrap-around -------------------------------------------------------------------------------


def test_every_read_after_a_wrap_is_exact(tmp_path, clock):
    range_uj = 47_000_000
    file = powercap.zone(tmp_path, "intel-rapl:0", "package-0", 0, range_uj)
    (sensor,) = rapl.discover(tmp_path).sensors
    start = sensor.read()
    for step in range(1, 40):  # 200 W, read 20 times a second, a wrap at every fourth or fifth
        clock[0] += 0.05
        powercap.spend(file, step * 10_000_000, range_uj)
        assert sensor.read() - start == pytest.approx(step * 10, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, RANGE_UJ - 1),
    steps=st.lists(st.integers(0, RANGE_UJ - 1), min_size=1, max_size=8),
)
def test_total_does_not_depend_on_where_the_counter_wraps(tmp_path_factory, start, steps):
    root = tmp_path_factory.mktemp("tree")
    file = powercap.zone(root, "intel-rapl:0", "package-0", start, RANGE_UJ)
    (sensor,) = rapl.discover(root).sensors
    with pytest.MonkeyPatch.context() as patch:
        seconds = itertools.count(0, 0.4)  # 500 J in 0.4 s is less than what a wrap may explain
        patch.setattr(rapl, "perf_counter", lambda: next(seconds))
        sensor.read()
        seen = start
        for step in steps:
            seen += max(step, 1)
            powercap.spend(file, seen, RANGE_UJ)
            joules = sensor.read()
    assert joules == pytest.approx((seen - start) / 1e6, abs=1e-9)


def test_reset_is_not_taken_for_a_wrap(tmp_path, clock):
    file = powercap.zone(tmp_path, "intel-rapl:0", "package-0", 100_000_000_000)
    (sensor,) = rapl.discover(tmp_path).sensors
    before = sensor.read()
    clock[0] += 0.05
    powercap.spend(file, 1_000_000)
    with pytest.raises(SensorError, match="was reset"):
        sensor.read()
    clock[0] += 0.05
    powercap.spend(file, 11_000_000)
    assert sensor.read() - before == pytest.approx(10)


# -- failing reads -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EIO, errno.ENODATA])
def test_failed_read_is_an_error_and_neither_zero_nor_a_wrap(tmp_path, clock, code):
    file = powercap.zone(tmp_path, "intel-rapl:0", "package-0", 100_000_000)
    (sensor,) = rapl.discover(tmp_path).sensors
    before = sensor.read()
    clock[0] += 0.05
    with pytest.MonkeyPatch.context() as patch:
        fail_reading(patch, file, OSError(code, os.strerror(code)))
        with pytest.raises(SensorError, match=os.strerror(code)):
            sensor.read()
    clock[0] += 0.05
    powercap.spend(file, 102_000_000)
    assert sensor.read() - before == pytest.approx(2.0)


def test_window_over_a_failed_read_is_not_measured(tmp_path, clock):
    file = powercap.zone(tmp_path, "intel-rapl:0", "package-0", 100_000_000)
    (sensor,) = rapl.discover(tmp_path).sensors
    curve = EnergyCurve(sensor.info)
    for step in range(10):
        clock[0] = 0.05 * step
        powercap.spend(file, 100_000_000 + step * 1_000_000)
        with pytest.MonkeyPatch.context() as patch:
            if step == 5:
                fail_reading(patch, file, OSError(errno.EIO, "Input/output error"))
            try:
                curve.push(clock[0], sensor.read())
            except SensorError as error:
                curve.fail(clock[0], str(error))
    with pytest.raises(SensorError, match="Input/output error"):
        curve.reading(0.1, 0.4)
    assert curve.reading(0.35, 0.45).joules == pytest.approx(2)


def test_file_that_vanishes_is_an_error(tmp_path):
    file = powercap.zone(tmp_path, "intel-rapl:0", "package-0")
    (sensor,) = rapl.discover(tmp_path).sensors
    sensor.read()
    file.unlink()
    with pytest.raises(SensorError, match="has vanished"):
        sensor.read()


def test_file_without_a_number_is_an_error(tmp_path):
    file = powercap.zone(tmp_path, "intel-rapl:0", "package-0")
    (sensor,) = rapl.discover(tmp_path).sensors
    file.write_text("\n")
    with pytest.raises(SensorError, match="does not hold a number"):
        sensor.read()


def test_counter_that_stands_still_is_an_error_and_not_zero(tmp_path, clock):
    powercap.zone(tmp_path, "intel-rapl:0", "package-0", 0)
    (sensor,) = rapl.discover(tmp_path).sensors
    sensor.read()
    clock[0] += 0.6
    with pytest.raises(SensorError, match="stands still at 0"):
        sensor.read()


# -- nothing to read: a reason -----------------------------------------------------------------


def test_permission_denied_names_the_commands_once(tmp_path, monkeypatch):
    files = server(tmp_path)
    denied = set(files.values())
    read = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda self: read(self) if self not in denied else deny(self),
    )

    def deny(file):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    found = rapl.discover(tmp_path)
    assert found.sensors == ()
    (reason,) = found.reasons
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" in reason
    assert 'RUN+="/bin/chmod a+r /sys%p/energy_uj"' in reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_permission_denied_by_the_system_itself(tmp_path):
    powercap.zone(tmp_path, "intel-rapl:0", "package-0").chmod(0)
    assert "root only" in rapl.discover(tmp_path).reasons[0]


def test_one_denied_zone_leaves_the_others(tmp_path, monkeypatch):
    files = server(tmp_path)
    fail_reading(monkeypatch, files["intel-rapl:1"], PermissionError(errno.EACCES, "denied"))
    found = rapl.discover(tmp_path)
    assert [s.info.name for s in found.sensors] == ["rapl:package-0", "rapl:dram-0", "rapl:dram-1"]
    assert len(found.reasons) == 1


def test_without_powercap_the_virtual_machine_is_named(tmp_path):
    found = rapl.discover(tmp_path / "none")
    assert found.sensors == ()
    assert "virtual machine" in found.reasons[0]


def test_empty_powercap_names_the_kernel_module(tmp_path):
    powercap.zone(tmp_path, "intel-rapl:0", "psys")
    found = rapl.discover(tmp_path)
    assert found.sensors == ()
    assert "modprobe intel_rapl_msr" in found.reasons[0]


# -- containers --------------------------------------------------------------------------------


def reason(root):
    found = rapl.discover(root)
    assert found.sensors == ()
    (only,) = found.reasons
    return only


def test_links_into_a_masked_folder_are_a_container_and_no_virtual_machine(tmp_path):
    for name in ("intel-rapl", "intel-rapl:0", "intel-rapl:0:0"):
        (tmp_path / name).symlink_to(f"../../devices/virtual/powercap/{name}")
    found = reason(tmp_path)
    assert "lead to a masked folder" in found
    assert "--security-opt systempaths=unconfined" in found
    assert "virtual machine" not in found


def test_a_link_that_cannot_be_followed_is_a_masked_folder(tmp_path):
    (tmp_path / "intel-rapl:0").symlink_to("intel-rapl:0")  # a circle
    assert "lead to a masked folder" in reason(tmp_path)


def test_an_empty_folder_is_a_mask_only_in_a_container(tmp_path, monkeypatch):
    mark, root = tmp_path / "mark", tmp_path / "powercap"
    root.mkdir()
    monkeypatch.setattr(rapl, "CONTAINER_MARKS", (mark,))
    assert "virtual machine" in reason(root)
    mark.touch()
    assert "is empty in this container; it may be masked" in reason(root)


def test_a_folder_that_may_not_be_listed_is_explained(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "may not list" in reason(tmp_path)


def test_a_masked_folder_with_packages_beside_it_is_read(tmp_path):
    powercap.zone(tmp_path, "intel-rapl:0", "package-0")
    (tmp_path / "intel-rapl-mmio:0").symlink_to("/masked/intel-rapl-mmio:0")
    assert [s.info.name for s in rapl.discover(tmp_path).sensors] == ["rapl:package-0"]
