"""The fast gate for committed notebooks: outputs belong to the code, in order and clean."""

import json
from pathlib import Path

import pytest

from greenkit.authoring.notebooks import KEY, _tidy, faults, source_hash

LABS = sorted((Path(__file__).parents[2] / "labs").glob("[0-9]*.ipynb"))


def notebook(path, **changes):
    cell = {
        "cell_type": "code",
        "source": "1 + 1",
        "outputs": [],
        "execution_count": 1,
        "metadata": {},
    }
    content = {"cells": [{**cell, **changes}], "metadata": {}, "nbformat": 4}
    content["metadata"][KEY] = {"source_sha256": source_hash(content)}
    path.write_text(json.dumps(content))
    return content


def test_a_fresh_notebook_has_no_faults(tmp_path):
    notebook(tmp_path / "a.ipynb")
    assert faults(tmp_path / "a.ipynb") == []


def test_changed_code_makes_the_outputs_stale(tmp_path):
    content = notebook(tmp_path / "a.ipynb")
    content["cells"][0]["source"] = "1 + 2"
    (tmp_path / "a.ipynb").write_text(json.dumps(content))
    assert "other code" in faults(tmp_path / "a.ipynb")[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"execution_count": 7}, "in order"),
        ({"outputs": [{"output_type": "error", "ename": "ValueError"}]}, "ValueError"),
        ({"outputs": [{"output_type": "stream", "name": "stderr", "text": "w"}]}, "stderr"),
        ({"metadata": {"execution": {}}}, "timing"),
    ],
)
def test_faults_are_named(tmp_path, change, says):
    notebook(tmp_path / "a.ipynb", **change)
    assert any(says in fault for fault in faults(tmp_path / "a.ipynb"))


def test_a_line_that_rewrote_itself_keeps_its_last_state():
    pieces = [
        {"output_type": "stream", "name": "stdout", "text": "10 W"},
        {"output_type": "stream", "name": "stdout", "text": "\r20 W\nend"},
    ]
    assert _tidy(pieces) == [{"output_type": "stream", "name": "stdout", "text": "20 W\nend"}]


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
def test_every_cell_of_every_lab_has_a_stable_id(lab):
    ids = [cell["id"] for cell in json.loads(lab.read_text())["cells"]]
    assert len(set(ids)) == len(ids)
