"""Recording without Jupyter: cells run in order, a stamp covers them, a failure writes nothing."""

import json
import subprocess
import sys

import pytest

from greenkit.authoring.record import NotebookError, code_cells, read_notebook, record, stamp
from greenkit.course import lab as lab_module
from greenkit.course.runs import read_record

LAB = "import greenkit as gk\nlab = gk.lab('probe')"


def notebook(path, *sources, tags=()):
    cells = [
        {
            "cell_type": "code",
            "source": source,
            "outputs": [],
            "execution_count": None,
            "metadata": {"tags": list(tags)} if i == 0 else {},
        }
        for i, source in enumerate(sources)
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    return path


def test_cells_run_in_order_and_leave_a_record(tmp_path):
    path = notebook(tmp_path / "01_probe.ipynb", LAB, "x = 2", "lab.keep('square', x * x)")
    run = read_record(record(path, out=tmp_path / "reference"))
    assert run.record["results"] == {"square": 4}
    assert run.record["stamp"] == stamp(read_notebook(path))


def test_no_meter_stays_open(tmp_path):
    record(notebook(tmp_path / "01_probe.ipynb", LAB), out=tmp_path)
    assert lab_module.current_lab() is None
    with pytest.raises(NotebookError):
        record(notebook(tmp_path / "01_probe.ipynb", LAB, "1 / 0"), out=tmp_path)
    assert lab_module.current_lab() is None


def test_full_is_passed_to_the_lab(tmp_path):
    path = notebook(tmp_path / "01_probe.ipynb", LAB)
    assert read_record(record(path, full=True, out=tmp_path)).record["size"] == "full"


def test_a_failing_cell_is_named_and_nothing_is_written(tmp_path):
    path = notebook(tmp_path / "01_probe.ipynb", LAB, "1 / 0")
    with pytest.raises(NotebookError, match="cell 1 failed: ZeroDivisionError"):
        record(path, out=tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


def test_the_cell_that_installs_is_left_out(tmp_path):
    path = notebook(tmp_path / "01_probe.ipynb", "%pip install greenkit", LAB, tags=["colab"])
    assert [number for number, _ in code_cells(read_notebook(path))] == [1]


def test_file_and_lab_must_agree(tmp_path):
    with pytest.raises(NotebookError, match="must agree"):
        record(notebook(tmp_path / "02_other.ipynb", LAB), out=tmp_path)


def test_the_stamp_covers_a_greenkit_function_called_by_name(tmp_path, monkeypatch):
    from greenkit.foundations import grids

    path = notebook(tmp_path / "01_probe.ipynb", "from greenkit.foundations.grids import grid")
    other = notebook(tmp_path / "02_probe.ipynb", "grid = 1")
    calls = notebook(
        tmp_path / "03_probe.ipynb", "from greenkit.foundations.grids import grid", "grid('FRA')"
    )
    before = stamp(read_notebook(calls))

    def changed(code):
        return code

    monkeypatch.setattr(grids, "grid", changed)
    assert stamp(read_notebook(calls)) != before
    assert stamp(read_notebook(path)) != stamp(read_notebook(other))


def test_the_stamp_finds_a_submodule_that_nothing_has_loaded_yet(tmp_path):
    cells = "from greenkit.foundations import formulas", "formulas.energy(1, 2)"
    path = notebook(tmp_path / "01_probe.ipynb", *cells)
    program = f"from greenkit.authoring.record import *; print(stamp(read_notebook({str(path)!r})))"
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert fresh.stdout.strip() == stamp(read_notebook(path)), fresh.stderr


@pytest.mark.parametrize(("content", "says"), [("{", "not a notebook"), ("{}", "no cells")])
def test_a_file_that_is_no_notebook_is_refused(tmp_path, content, says):
    path = tmp_path / "x.ipynb"
    path.write_text(content)
    with pytest.raises(NotebookError, match=says):
        read_notebook(path)


def test_a_missing_notebook_is_one_sentence(tmp_path):
    with pytest.raises(NotebookError, match="does not exist"):
        read_notebook(tmp_path / "none.ipynb")
