"""The committed reference runs: readable, and those that any machine can renew are not stale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenkit.authoring import records
from greenkit.authoring.cells import code_cells, read_notebook
from greenkit.authoring.claims import recorded_claims
from greenkit.authoring.records import stale_results
from greenkit.course.cards import budget
from greenkit.course.runs import QUICK, quick_runs, read_record, reference_runs

ROOT = Path(__file__).parents[2]
LABS = sorted(ROOT.glob("labs/[0-9]*.ipynb"))
EVERY = sorted(ROOT.glob("labs/reference/*/*.json"))
RECORDS = [path for path in EVERY if not path.name.endswith(QUICK)]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_committed_run_is_full_and_all_its_claims_held(path):
    run = read_record(path)
    assert run.record["size"] == "full"
    assert run.record["claims"]
    assert all(claim["held"] is not False for claim in run.record["claims"])
    assert run.record["footprint"]
    assert not run.record["predictions"]


def lab_of(path):
    return list(code_cells(read_notebook(ROOT / "labs" / f"{path.stem}.ipynb")))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_result_of_a_committed_run_is_stale(path):
    run = read_record(path)
    if not run.record["made_by"]:
        pytest.skip("recorded before results knew their producers: `make records` lists it")
    stale = stale_results(lab_of(path), run)
    assert not stale, f"greenkit record labs/{path.stem}.ipynb --full renews them"


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_claims_about_a_committed_run_hold_on_it(path):
    claims = recorded_claims(lab_of(path), read_record(path))
    assert [text for text, holds in claims if not holds] == []


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
def test_each_lab_has_a_full_run_on_a_cpu_and_a_learner_s_run(lab):
    runs = [read_record(path) for path in RECORDS if path.stem == lab.stem]
    assert "cpu" in {run.kind for run in runs}
    assert [path for path in EVERY if path.name == f"{lab.stem}{QUICK}"]


def test_the_card_shows_time_energy_memory_and_what_is_missing():
    runs = [read_record(path) for path in RECORDS if path.stem == LABS[0].stem]
    page, plain = budget([run for run in runs if run.kind == "cpu"], [])
    assert '<span class="gk-badge gk-estimated">' in page
    assert "GB" in plain
    assert "(a GPU): not recorded yet" in plain


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
def test_the_stored_card_of_a_lab_is_what_today_s_records_give(lab):
    notebook = read_notebook(lab)
    (stored,) = (cell["outputs"][0] for cell in notebook["cells"] if "budget_card" in str(cell))
    name = lab.stem.partition("_")[2]
    page, _ = budget(reference_runs(name), quick_runs(name))
    assert "".join(stored["data"]["text/html"]) == page


def test_stale_results_and_missing_runs_are_listed(tmp_path, capsys):
    (tmp_path / "labs").mkdir()
    path = RECORDS[0]
    result, cell = next(iter(read_record(path).record["made_by"].items()))
    notebook = json.loads((ROOT / "labs" / f"{path.stem}.ipynb").read_text())
    notebook["cells"] = [each for each in notebook["cells"] if each["id"] != cell]
    (tmp_path / "labs" / f"{path.stem}.ipynb").write_text(json.dumps(notebook))
    assert records.main(tmp_path / "labs") >= 1
    listed = capsys.readouterr().out
    assert f"STALE {result}: the cell {cell} that kept it is gone" in listed


def test_a_device_without_a_run_is_listed(tmp_path, capsys):
    assert records.main(ROOT / "labs", folder=tmp_path) == 0
    assert "gpu: not recorded yet (greenkit record" in capsys.readouterr().out
