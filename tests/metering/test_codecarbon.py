"""CodeCarbon as a sensor: offline, labelled as the estimate it is, and leaving nothing behind."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from greenkit.foundations import Domain, Provenance
from greenkit.metering import codecarbon
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.sensor import Kind, SensorError


@pytest.fixture(scope="module")
def sensor(tmp_path_factory):
    """The sensor, found in an empty folder and without a network."""
    pytest.importorskip("codecarbon")
    folder = tmp_path_factory.mktemp("empty")

    def refuse(*arguments):
        raise AssertionError("CodeCarbon tried to reach the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        (found,) = codecarbon.discover().sensors
        found.folder = folder
        yield found
        found.close()


@pytest.mark.slow
def test_it_is_an_estimate_of_the_whole_machine_with_its_model_named(sensor):
    info = sensor.info
    assert (info.provenance, info.domain) == (Provenance.ESTIMATED, Domain.MACHINE)
    assert (info.kind, info.factor) == (Kind.COUNTER, 2.9)
    assert info.method.startswith("CodeCarbon 3.")
    assert "CPU(" in info.method
    assert "for memory, guessed from its size" in info.note


@pytest.mark.slow
def test_it_counts_what_its_own_record_says(sensor):
    from codecarbon.core.units import Energy

    sensor.read()
    time.sleep(0.2)
    joules = sensor.read()
    counted = sensor._tracker._total_energy
    assert isinstance(counted, Energy)
    assert joules == pytest.approx(counted.kWh * 1000 * 3600)
    assert joules > 0


@pytest.mark.slow
def test_memory_alone_costs_at_least_what_the_note_says(sensor):
    watts = float(sensor.info.note.split()[2])
    before, start = sensor.read(), time.perf_counter()
    time.sleep(0.3)
    after, end = sensor.read(), time.perf_counter()
    assert after - before > 0.9 * watts * (end - start)


@pytest.mark.slow
def test_reading_is_wide_and_says_estimated(sensor):
    curve = EnergyCurve(sensor.info)
    for _ in range(4):
        curve.push(time.perf_counter(), sensor.read())
        time.sleep(0.06)
    reading = curve.reading(curve.times[0], curve.times[-1])
    assert reading.high / reading.low == pytest.approx(2.9**2)
    assert str(reading).startswith("~")


@pytest.mark.slow
def test_closed_it_leaves_no_thread_and_no_file(sensor):
    sensor.read()
    assert any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
    sensor.close()
    sensor.close()
    deadline = time.perf_counter() + 2
    while any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
        assert time.perf_counter() < deadline
        time.sleep(0.01)
    assert list(Path(sensor.folder).iterdir()) == []


@pytest.mark.slow
def test_tracker_that_fails_is_an_error_and_not_zero(sensor, monkeypatch):
    sensor.read()
    monkeypatch.setattr(sensor._tracker, "flush", lambda: None)
    with pytest.raises(SensorError, match="gave no value"):
        sensor.read()


def test_without_codecarbon_the_pip_command_is_named(monkeypatch):
    def missing(name):
        raise codecarbon.PackageNotFoundError(name)

    monkeypatch.setattr(codecarbon, "version", missing)
    found = codecarbon.discover()
    assert found.sensors == ()
    assert "pip install -U codecarbon" in found.reasons[0]


@pytest.mark.parametrize("old", ["3.3.1", "2.8.4", "3.3.0"])
def test_versions_with_known_errors_are_refused(monkeypatch, old):
    monkeypatch.setattr(codecarbon, "version", lambda name: old)
    assert f"this is {old}" in codecarbon.discover().reasons[0]


@pytest.mark.parametrize(
    ("release", "numbers"), [("3.3.2", (3, 3, 2)), ("3.10.0.post1", (3, 10, 0))]
)
def test_versions_are_compared_as_numbers(release, numbers):
    assert codecarbon._numbers(release) == numbers >= codecarbon._numbers(codecarbon.OLDEST)
