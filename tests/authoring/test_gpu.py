"""One command for whoever has a GPU: it says so where there is none, and skips what is recorded."""

import sys
from pathlib import Path

import pytest

from greenkit.authoring import gpu
from greenkit.course.runs import reference_folder

LABS = Path(__file__).parents[2] / "labs"
H100 = "nvidia-h100-80gb-hbm3"


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "device_facts", lambda: {"kind": "cpu"})
    assert gpu.main([]) == 1
    assert "this machine has none" in capsys.readouterr().out


@pytest.mark.parametrize("lab", ["01_first_joule", "02_formulas", "03_where_energy_goes"])
def test_a_lab_with_a_fresh_record_is_skipped(lab, tmp_path):
    notebook = LABS / f"{lab}.ipynb"
    assert gpu.fresh(notebook, reference_folder() / H100)
    assert not gpu.fresh(notebook, tmp_path)


def test_a_step_that_fails_shows_the_end_of_its_log(tmp_path, capsys):
    command = [sys.executable, "-c", "print('what went wrong'); raise SystemExit(3)"]
    step = gpu.run("probe", command, tmp_path / "probe.log", limit_s=60)
    assert step.state == "failed (exit code 3)"
    assert "what went wrong" in capsys.readouterr().out


def test_a_step_that_takes_too_long_is_ended(tmp_path):
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert gpu.run("probe", command, tmp_path / "x.log", limit_s=0.5).state.startswith("failed: ")
