"""The command line: exit codes, streams, signals, and a provenance beside every joule."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from greenkit import cli
from greenkit.foundations import Provenance
from greenkit.metering import machine
from greenkit.metering.discovery import Discovery
from greenkit.metering.simulated import SimulatedSensor, constant

GREENKIT = [sys.executable, "-m", "greenkit"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and sh")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GREENKIT, *arguments], input=given, capture_output=True, text=True)


def one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose only sensor is a simulated card of 200 W that ticks every 100 ms."""

    def discover(**_: object) -> Discovery:
        sensor = SimulatedSensor(constant(200.0), tick_s=0.1)
        return Discovery((sensor,), ("no second card: only one is simulated",))

    monkeypatch.setattr(machine, "discover", discover)


# -- help and errors ---------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    result = call("--help")
    assert result.exit_code == 0
    commands = ("doctor", "fetch", "meter", "estimate", "record")
    assert all(command in result.stdout for command in commands)


def test_wrong_usage_exits_with_2() -> None:
    assert call("nonsense").exit_code == 2


def test_the_module_runs_as_the_command() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert "Usage: greenkit" in result.stdout


def test_the_command_line_starts_without_heavy_imports() -> None:
    code = (
        "import sys, greenkit.cli\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'codecarbon', 'psutil', 'numpy'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_error_of_the_package_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    result = run("record", str(tmp_path / "missing.ipynb"))
    assert result.returncode == 1
    assert result.stderr.startswith("greenkit: ")
    assert "missing.ipynb does not exist" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# -- doctor ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("card")
def test_doctor_names_sensor_provenance_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "PROBE_S", 0.4)
    result = call("doctor")
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if "simulated:0" in line)
    assert "simulated " in row.replace("simulated:0", "")
    assert "- no second card: only one is simulated" in result.stdout
    assert "greenkit 0." in result.stdout


@pytest.mark.usefixtures("card")
def test_doctor_probes_tick_and_power(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "PROBE_S", 0.9)
    (sensor,) = json.loads(call("doctor", "--json").stdout)["sensors"]
    assert sensor["refreshed_s"] == pytest.approx(0.1, rel=0.3)
    assert sensor["power_w"] == pytest.approx(200, rel=0.15)


def test_doctor_of_this_machine_labels_every_sensor() -> None:
    result = run("doctor", "--json")
    found = json.loads(result.stdout)
    assert found["sensors"]
    assert {s["provenance"] for s in found["sensors"]} <= {p.value for p in Provenance}
    assert found["machine"]["versions"]["greenkit"]


# -- fetch -------------------------------------------------------------------------------------


def test_fetch_refuses_an_unknown_name_and_lists_the_known() -> None:
    result = call("fetch", "--what", "nonsense")
    assert result.exit_code == 2
    assert "smollm2-135m" in result.stderr


def test_fetch_offline_without_a_cache_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("GREENKIT_OFFLINE", "1")
    result = call("fetch", "--what", "wikipedia")
    assert result.exit_code == 1
    assert result.stderr.startswith("greenkit: wikipedia")
    assert "GREENKIT_OFFLINE" in result.stderr


def test_fetch_prints_where_each_default_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenkit.inputs.fetch_default", lambda: {"a model": Path("/there")})
    assert call("fetch").stdout == f"a model is ready: {Path('/there')}\n"


# -- meter -------------------------------------------------------------------------------------


@posix
def test_meter_passes_the_exit_code_on() -> None:
    assert run("meter", "--", "sh", "-c", "exit 7").returncode == 7


def test_meter_leaves_stdin_and_stdout_to_the_command() -> None:
    code = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    assert run("meter", "--", sys.executable, "-c", code, given="joule\n").stdout == "JOULE\n"


def test_meter_prints_energy_with_provenance_to_stderr() -> None:
    error = run("meter", "--", sys.executable, "-c", "sum(range(10**6))").stderr
    assert "exit code 0" in error
    assert any(p.value in error for p in Provenance)


def test_meter_passes_options_of_the_command_on() -> None:
    assert run("meter", sys.executable, "-c", "print('--grid')").stdout == "--grid\n"


@posix
@pytest.mark.parametrize("name", ["TERM", "KILL", "INT"])
def test_a_command_killed_by_a_signal_exits_as_in_a_shell(name: str) -> None:
    number = signal.Signals[f"SIG{name}"].value
    assert run("meter", "--", "sh", "-c", f"kill -{name} $$").returncode == 128 + number


@posix
def test_sigterm_reaches_the_command_and_its_energy_is_still_reported() -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [*GREENKIT, "meter", "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, error = process.communicate(timeout=20)
    assert (output, process.returncode) == ("caught\n", 9)
    assert "exit code 9" in error


@posix
def test_ctrl_c_ends_the_command_and_its_energy_is_still_reported() -> None:
    script = "echo ready; exec sleep 20"
    with subprocess.Popen(
        [*GREENKIT, "meter", "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT
    assert "exit code 130" in error


def test_a_missing_command_exits_with_127_in_one_sentence() -> None:
    result = run("meter", "--", "no-such-command")
    assert result.returncode == 127
    assert result.stderr == "greenkit: there is no command 'no-such-command'\n"


@posix
def test_a_file_that_cannot_be_run_exits_with_126(tmp_path: Path) -> None:
    result = run("meter", "--", str(tmp_path))
    assert result.returncode == 126
    assert "cannot be run" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose orphans they are")
def test_meter_says_what_a_command_leaves_running() -> None:
    named = 'until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done'  # until then it is still a shell
    script = f"sleep 20 >&- 2>&- <&- & {named}; echo $!"
    result = run("meter", "--", "sh", "-c", script)
    os.kill(int(result.stdout), signal.SIGKILL)
    assert (
        "still running, and no longer counted: 1 process that it started (sleep)" in result.stderr
    )


def test_meter_says_nothing_of_a_command_that_leaves_nothing() -> None:
    assert "still running" not in run("meter", "--", "sh", "-c", "sleep 0.1 & wait").stderr


@pytest.mark.parametrize("country", ["fr", "France"])
def test_a_grid_is_named_by_code_or_country(country: str) -> None:
    arguments = ("--tokens", "1000", "--joules-per-token", "1", "--grid", country)
    assert "France 2023" in call("estimate", *arguments).stdout


@pytest.mark.usefixtures("card")
def test_meter_writes_its_readings_as_json(tmp_path: Path) -> None:
    file = tmp_path / "energy.json"
    command = [sys.executable, "-c", "import time; time.sleep(0.9)"]
    result = call("meter", "--grid", "FRA", "--pue", "1.2", "--json", str(file), "--", *command)
    record = json.loads(file.read_text())
    assert result.exit_code == 0
    assert (record["command"], record["exit_code"], record["pue"]) == (command, 0, 1.2)
    (reading,) = record["readings"]
    assert reading["provenance"] == "simulated"
    assert reading["joules"] == pytest.approx(200 * record["duration_s"], rel=0.2)
    # 1 kWh = 3.6 MJ; France 2023: 56 gCO2e/kWh
    assert reading["carbon_g"]["value"] == pytest.approx(reading["joules"] / 3.6e6 * 56 * 1.2)


@pytest.mark.usefixtures("card")
def test_a_run_shorter_than_the_sensor_resolves_says_so() -> None:
    result = call("meter", "--", sys.executable, "-S", "-c", "")
    assert "between" in result.stderr
    assert "simulated:0 needs a run of" in result.stderr


@posix
def test_the_estimate_counts_the_whole_process_tree(tmp_path: Path) -> None:
    file = tmp_path / "energy.json"
    burn = "import time\nwhile time.process_time() < 1.5: pass"
    run("meter", "--json", str(file), "--", "sh", "-c", f"'{sys.executable}' -c '{burn}'; true")
    record = json.loads(file.read_text())
    estimates = [r for r in record["readings"] if r["sensor"] == "cpu-estimate"]
    if not estimates:
        pytest.skip("this machine measures its CPU")
    from greenkit.metering.estimate import BUSY_SHARE, IDLE_SHARE, cpu_model

    idle_s = IDLE_SHARE * (os.cpu_count() or 1) * record["duration_s"]
    busy_s = estimates[0]["joules"] / cpu_model().core_w - idle_s
    assert busy_s / BUSY_SHARE == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "XXX"], "no carbon intensity for 'XXX'"),
        (["--pue", "1.2"], "name a --grid"),
        (["--grid", "FRA", "--pue", "0.5"], "PUE is facility energy"),
        (["--json", "no-such-folder/energy.json"], "lies in none that exists"),
    ],
)
def test_bad_options_are_refused_before_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("meter", *arguments, "--", sys.executable, "-c", "open('ran', 'w')")
    assert result.exit_code == 2
    assert message in one_line(result.stderr)
    assert not (tmp_path / "ran").exists()


# -- estimate ----------------------------------------------------------------------------------


def test_estimate_reproduces_gpt_3() -> None:
    # Patterson et al. 2021, Table 4: 10,000 V100, 14.8 days, 330 W, PUE 1.10: 1,287 MWh.
    inputs = ["--chips", "10000", "--hours", str(14.8 * 24), "--power-w", "330", "--pue", "1.1"]
    result = call("estimate", *inputs)
    kwh = float(result.stdout.split("= ")[1].split(" kWh")[0].replace(",", ""))
    assert kwh == pytest.approx(1_287_000, rel=0.005)
    assert "published (computed from your inputs: 10,000 chips" in result.stdout


def test_estimate_of_serving() -> None:
    result = call("estimate", "--tokens", "3.6e9", "--joules-per-token", "0.4", "--grid", "USA")
    assert result.stdout.startswith("energy: 400 kWh, published")
    assert "carbon: 147.6 kgCO2e, published" in result.stdout  # 369 gCO2e/kWh


def test_estimate_names_no_default_country() -> None:
    result = call("estimate", "--tokens", "1", "--joules-per-token", "1")
    assert "carbon: not computed" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--chips", "2"],
        ["--tokens", "1"],
        ["--chips", "1", "--hours", "1", "--power-w", "1", "--tokens", "0"],
        ["--chips", "0", "--hours", "1", "--power-w", "1"],
        ["--tokens", "1", "--joules-per-token", "1", "--pue", "0.9"],
    ],
)
def test_estimate_refuses_incomplete_mixed_or_impossible_inputs(arguments: list[str]) -> None:
    assert call("estimate", *arguments).exit_code == 2


# -- record ------------------------------------------------------------------------------------


def test_record_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, bool, Path | None]] = []

    def record(notebook: Path, *, full: bool, out: Path | None) -> Path:
        calls.append((notebook, full, out))
        return Path("written.json")

    monkeypatch.setattr("greenkit.authoring.record.record", record)
    result = call("record", "lab.ipynb", "--full", "--out", "there")
    assert calls == [(Path("lab.ipynb"), True, Path("there"))]
    assert result.stdout == "wrote written.json\n"
