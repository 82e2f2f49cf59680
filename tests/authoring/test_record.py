"""Recording without Jupyter: cells run in order, results know their producers."""

import json

import pytest

from greenkit.authoring.cells import NotebookError, code_cells, read_notebook
from greenkit.authoring.record import record
from greenkit.authoring.records import stale_results
from greenkit.course import lab as lab_module
from greenkit.course.runs import read_record

LAB = "import greenkit as gk\nlab = gk.lab('probe')"


def notebook(path, *sources, tags=()):
    cells = [
        {
            "cell_type": "code",
            "id": f"c{i}",
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
    assert run.record["made_by"] == {"square": "c2"}
    assert set(run.record["producers"]["c2"]) == {"cell c1", "cell c2"}


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
    assert [cell.number for cell in code_cells(read_notebook(path))] == [1]


def test_file_and_lab_must_agree(tmp_path):
    with pytest.raises(NotebookError, match="must agree"):
        record(notebook(tmp_path / "02_other.ipynb", LAB), out=tmp_path)


def test_only_a_result_whose_own_producers_changed_is_stale(tmp_path):
    cells = [LAB, "x = 2", "lab.keep('square', x * x)", "y = 3", "lab.keep('cube', y**3)"]
    path = notebook(tmp_path / "01_probe.ipynb", *cells)
    run = read_record(record(path, out=tmp_path / "reference"))

    def stale(*sources):
        changed = notebook(tmp_path / "02_probe.ipynb", *sources)
        return stale_results(list(code_cells(read_notebook(changed))), run)

    assert stale(*cells) == {}
    assert stale(*cells[:3], "y = 4", cells[4]) == {"cube": "cell c3 changed"}
    assert stale(*cells[:4]) == {"cube": "the cell c4 that kept it is gone"}


def test_what_is_running_is_told(tmp_path, capsys):
    record(notebook(tmp_path / "01_probe.ipynb", LAB, "x = 2"), out=tmp_path)
    told = capsys.readouterr().err.splitlines()
    assert told[1] == "[2/2] 0:00 01_probe, cell 1"
    assert told[-1] == "01_probe: 2 cells in 0:00"


@pytest.mark.parametrize(("content", "says"), [("{", "not a notebook"), ("{}", "no cells")])
def test_a_file_that_is_no_notebook_is_refused(tmp_path, content, says):
    path = tmp_path / "x.ipynb"
    path.write_text(content)
    with pytest.raises(NotebookError, match=says):
        read_notebook(path)


def test_a_missing_notebook_is_one_sentence(tmp_path):
    with pytest.raises(NotebookError, match="does not exist"):
        read_notebook(tmp_path / "none.ipynb")
