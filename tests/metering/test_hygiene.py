"""Nothing is left behind: no thread, process, socket or file; forks and exits are safe."""

from __future__ import annotations

import gc
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from greenkit.metering import EnergyMeter, NotMeasuredError
from greenkit.metering.estimate import CpuEstimate
from greenkit.metering.sampler import sampler
from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import SimulatedSensor, constant


def sensor():
    return SimulatedSensor(constant(100), kind=Kind.COUNTER, tick_s=0.0, poll_s=0.005)


def sampling():
    return [t for t in threading.enumerate() if t.name.startswith("greenkit")]


def run(program, **settings):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        **settings,
    )


def test_no_thread_and_no_process_is_left_after_closing():
    before = set(psutil.Process().children(recursive=True))
    with EnergyMeter([sensor(), CpuEstimate()]):
        assert len(sampling()) == 1
        assert set(psutil.Process().children(recursive=True)) == before
    assert sampling() == []


def test_no_thread_is_left_after_an_exception():
    with pytest.raises(ZeroDivisionError), EnergyMeter([sensor()]):
        _ = 1 / 0
    assert sampling() == []


def test_no_thread_is_left_when_a_sensor_cannot_be_attached():
    class Gone:
        def __getattr__(self, name):
            raise RuntimeError("no info")

    broken = sensor()
    meter = EnergyMeter([sensor(), broken])
    broken.info = Gone()
    with pytest.raises(RuntimeError, match="no info"):
        meter.__enter__()
    assert sampling() == []


def test_no_thread_is_left_when_an_open_meter_is_forgotten():
    meter = EnergyMeter([sensor()])
    meter.__enter__()
    assert len(sampling()) == 1
    del meter
    gc.collect()
    deadline = time.perf_counter() + 2
    while sampling() and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert sampling() == []


def test_meter_may_be_collected_while_the_sampler_holds_its_lock():
    """A finalizer runs anywhere, also inside the sampler's own functions: it must not wait."""
    meter = EnergyMeter([sensor()])
    meter.__enter__()
    with sampler()._lock:
        del meter
        gc.collect()
    deadline = time.perf_counter() + 2
    while sampling() and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert sampling() == []


def test_many_meters_open_and_close_at_once_without_a_stuck_thread():
    shared = sensor()

    def work():
        for _ in range(20):
            with EnergyMeter([shared]) as meter, meter.window("w"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert sampling() == []


def test_no_socket_is_opened(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with EnergyMeter([sensor(), CpuEstimate()]) as meter:
        with meter.window("w", tokens=3):
            time.sleep(0.02)
        meter.report()


def test_no_file_is_written_unasked(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    program = """
import sys, time
from greenkit.metering import EnergyMeter, measure
from greenkit.metering.machine import discover
print(discover().reasons)
with EnergyMeter() as meter:
    with meter.window("w", tokens=2):
        time.sleep(0.05)
    print(measure(lambda: sum(range(1000)), meter=meter, max_seconds=0.3))
print(meter.report())
"""
    environment = {**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"TMPDIR": str(work), "XDG_CACHE_HOME": str(home)}
    result = run(program, cwd=work, env=environment)
    assert result.returncode == 0, result.stderr
    assert list(home.rglob("*")) == list(work.rglob("*")) == []


def forked_worker(answers):
    try:
        with EnergyMeter([sensor()]) as meter, meter.window("child") as window:
            time.sleep(0.05)
        answers.put(window.reading.joules / window.duration_s)
    except BaseException as error:
        answers.put(repr(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_forked_worker_has_a_meter_of_its_own_and_ends():
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with EnergyMeter([sensor()]) as meter, meter.window("parent") as window:
        workers = [context.Process(target=forked_worker, args=(answers,)) for _ in range(2)]
        for worker in workers:
            worker.start()
        found = [answers.get(timeout=20) for _ in workers]
        for worker in workers:
            worker.join(20)
    assert found == pytest.approx([100, 100], rel=0.1)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert window.reading.joules == pytest.approx(100 * window.duration_s, rel=0.1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_meter_that_a_fork_inherits_measures_nothing_there_and_closes():
    """Its thread stayed in the parent: a window of the child is refused, and not zero."""
    with EnergyMeter([sensor()]) as meter:
        time.sleep(0.03)
        child = os.fork()
        if child == 0:
            code = 3
            try:
                with meter.window("child") as window:
                    time.sleep(0.05)
                meter.__exit__()
                _ = window.reading
            except NotMeasuredError:
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    "ending", ["", "sys.exit(0)", "raise SystemExit", "os.kill(os.getpid(), 15)"]
)
def test_interpreter_ends_at_once_with_a_meter_open(ending):
    program = f"""
import os, sys, time
from greenkit.metering import EnergyMeter
from greenkit.metering.estimate import CpuEstimate
from greenkit.metering.simulated import SimulatedSensor, constant
meter = EnergyMeter([SimulatedSensor(constant(100)), CpuEstimate()])
meter.__enter__()
window = meter.window("w").__enter__()
time.sleep(0.05)
{ending}
"""
    start_s = time.perf_counter()
    result = run(program)
    assert result.returncode == (-15 if "kill" in ending else 0)
    assert result.stderr == ""
    assert time.perf_counter() - start_s < 10


def test_kernel_that_is_restarted_leaves_no_process():
    """As Jupyter does it: the process is told to end while it meters, and then killed."""
    program = """
import time
from greenkit.metering import EnergyMeter
with EnergyMeter():
    print("open", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "open\n"
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait(10)
    process.stdout.close()
    assert children == []
