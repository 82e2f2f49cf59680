"""The committed reference runs: readable, and those that any machine can renew are not stale."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenkit.authoring import records
from greenkit.authoring.record import read_notebook, stamp
from greenkit.course.reveal import card
from greenkit.course.runs import read_record

ROOT = Path(__file__).parents[2]
LABS = sorted(ROOT.glob("labs/[0-9]*.ipynb"))
RECORDS = sorted(ROOT.glob("labs/reference/*/*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_committed_run_is_full_and_all_its_claims_held(path):
    run = read_record(path)
    assert run.record["size"] == "full"
    assert run.record["claims"]
    assert all(claim["held"] is not False for claim in run.record["claims"])
    assert run.record["footprint"]
    assert not run.record["predictions"]


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
def test_each_lab_has_a_run_of_its_present_cells_on_a_cpu(lab):
    runs = [read_record(path) for path in RECORDS if path.stem == lab.stem]
    fresh = [r for r in runs if r.record["stamp"] == stamp(read_notebook(lab))]
    assert "cpu" in {run.kind for run in fresh}, f"stale: run greenkit record {lab.name} --full"


def test_the_card_shows_time_energy_memory_and_what_is_missing():
    runs = [read_record(path) for path in RECORDS if path.stem == LABS[0].stem]
    shown = card("first_joule", [run for run in runs if run.kind == "cpu"])
    assert "estimated" in shown
    assert "GB" in shown
    assert "a GPU | not recorded yet" in shown


def test_stale_and_missing_runs_are_listed(tmp_path, monkeypatch, capsys):
    (tmp_path / "labs").mkdir()
    notebook = tmp_path / "labs" / LABS[0].name
    notebook.write_text(LABS[0].read_text().replace("import greenkit as gk", "import greenkit"))
    assert records.main(tmp_path / "labs") >= 1
    listed = capsys.readouterr().out
    assert "STALE" in listed
    if not any(read_record(path).kind == "gpu" for path in RECORDS):
        assert "gpu: not recorded yet (greenkit record" in listed
