"""The lab contract: predictions, claims, decisions, and the record that a run leaves."""

import json

import pytest

from greenkit.course import lab as lab_module
from greenkit.course.runs import RunError, check_record, read_record, write_record
from greenkit.foundations import Domain, Provenance, Ratio, Reading
from greenkit.metering import EnergyMeter
from greenkit.metering.simulated import SimulatedSensor, constant


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lab_module.EXAMPLES, raising=False)
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.01, poll_s=0.005)]) as meter:
        yield lab_module.Lab(
            name="probe",
            meter=meter,
            device={"name": "a test machine", "slug": "a-test-machine", "kind": "cpu"},
            full=False,
            started_s=meter.total.start_s,
        )


def reading(provenance, joules=10.0):
    return Reading(joules, 1.0, "s", "d", Domain.GPU, provenance, "counter")


def test_without_a_number_there_is_no_prediction(lab, capsys):
    lab.predict(watts=None, example={"watts": 3})
    assert lab.predictions == {}
    assert "no prediction yet" in capsys.readouterr().out


def test_the_example_stands_in_only_under_the_test_variable(lab, monkeypatch):
    monkeypatch.setenv(lab_module.EXAMPLES, "1")
    lab.predict(watts=None, example={"watts": 3})
    assert lab.predictions == {"watts": 3.0}


def test_a_learners_guess_wins_over_the_example(lab, monkeypatch):
    monkeypatch.setenv(lab_module.EXAMPLES, "1")
    lab.predict(watts=7, example={"watts": 3})
    assert lab.predictions == {"watts": 7.0}


@pytest.mark.parametrize("guess", [-1, 0, "three", True])
def test_a_guess_that_is_no_positive_number_is_refused(lab, guess):
    with pytest.raises(ValueError, match="above 0"):
        lab.predict(watts=guess, example={"watts": 3})


def test_a_claim_that_does_not_hold_fails_the_lab(lab):
    with pytest.raises(AssertionError, match="pigs fly"):
        lab.claim("pigs fly", False, kind="exact")


def test_an_energy_claim_on_an_estimate_is_not_asserted(lab, capsys):
    lab.claim("cheaper", False, kind="energy", evidence=reading(Provenance.ESTIMATED))
    assert lab.claims[-1]["held"] is None
    assert "not asserted" in capsys.readouterr().out


@pytest.mark.parametrize("provenance", [Provenance.MEASURED, Provenance.REPLAYED])
def test_an_energy_claim_on_a_measurement_is_asserted(lab, provenance):
    with pytest.raises(AssertionError):
        lab.claim("cheaper", False, kind="energy", evidence=reading(provenance))


def test_an_energy_claim_without_a_reading_is_refused(lab):
    with pytest.raises(ValueError, match="needs the reading"):
        lab.claim("cheaper", True, kind="energy")


def test_a_ratio_too_near_to_one_is_not_separable_and_no_failure(lab, capsys):
    lab.claim_ratio("slower", Ratio(0.95, 0.9, 1.02, "time ratio"), above_one=True)
    assert lab.claims[-1]["held"] is None
    assert "not separable here" in capsys.readouterr().out


def test_a_ratio_clearly_on_the_wrong_side_fails(lab):
    with pytest.raises(AssertionError):
        lab.claim_ratio("slower", Ratio(0.5, 0.4, 0.6, "time ratio"), above_one=True)


def test_the_reveal_says_when_no_prediction_was_made(lab, capsys):
    lab.reveal(joules=reading(Provenance.MEASURED))
    assert "no prediction made" in capsys.readouterr().out


def test_the_reveal_shows_provenance_and_how_far_off_the_guess_was(lab, capsys):
    lab.predictions["joules"] = 40.0
    lab.reveal(joules=reading(Provenance.MEASURED))
    said = capsys.readouterr().out
    assert "measured" in said
    assert "4.0× too high" in said


def test_a_reveal_has_no_rows_for_devices_without_a_record(lab, capsys):
    lab.reveal(joules=reading(Provenance.MEASURED))
    assert "not recorded yet" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choice", "evidence", "change"), [("", [1, 2], "x"), ("x", [1], "x"), ("x", [1, 2], " ")]
)
def test_a_decision_without_evidence_is_refused(lab, choice, evidence, change):
    with pytest.raises(ValueError, match="a decision needs"):
        lab.decide(choice=choice, evidence=evidence, change_my_mind=change)


def test_the_footprint_writes_a_record_of_the_schema(lab, tmp_path):
    lab.keep("answer", reading(Provenance.MEASURED))
    lab.footprint()
    run = read_record(tmp_path / "out" / "probe" / "run.json")
    assert run.record["footprint"][0]["provenance"] == "simulated"
    replayed = run.reading("answer")
    assert replayed.provenance is Provenance.REPLAYED
    assert "measured on a test machine" in replayed.label


def test_a_recorded_trace_gives_the_same_windows_as_the_live_curve(lab, tmp_path):
    with lab.meter.window("inner") as window:
        end = window.start_s + 0.2
        while lab.meter.total.end_s < end:
            pass
    live = window.reading
    lab.keep_trace(lab.meter.curves[0], window.start_s, window.end_s)
    run = read_record(write_record(lab.record(), tmp_path / "run.json"))
    replayed = run.traces()[0].window("inner")
    assert replayed.joules == pytest.approx(live.joules, rel=1e-3)


@pytest.mark.parametrize("missing", ["lab", "claims", "device", "traces"])
def test_a_record_without_a_field_is_refused_by_name(lab, missing):
    record = lab.record()
    del record[missing]
    with pytest.raises(RunError, match=missing):
        check_record(record)


def test_a_record_of_another_schema_is_refused(lab):
    with pytest.raises(RunError, match="schema"):
        check_record({**lab.record(), "schema": 99})


def test_a_bad_record_leaves_the_old_file_whole(lab, tmp_path):
    path = write_record(lab.record(), tmp_path / "run.json")
    before = path.read_bytes()
    with pytest.raises(RunError):
        write_record({**lab.record(), "size": "huge"}, path)
    with pytest.raises(ValueError, match="JSON"):
        write_record({**lab.record(), "results": {"x": float("nan")}}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_file_that_is_no_record_is_named_in_the_error(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schema": 1}))
    with pytest.raises(RunError, match=r"run\.json"):
        read_record(path)


def full_run_of(lab, folder, kind, results):
    lab.results = dict(results)
    lab.device = {"name": f"a {kind}", "slug": f"a-{kind}", "kind": kind}
    lab.full = True
    write_record(lab.record(), folder / f"a-{kind}" / "07_probe.json")
    lab.full = False


def test_a_result_is_read_from_the_full_run_of_the_same_kind_of_device(lab, tmp_path, monkeypatch):
    monkeypatch.setattr("greenkit.course.runs.reference_folder", lambda: tmp_path)
    full_run_of(lab, tmp_path, "gpu", {"quality": {"dense": 1}})
    full_run_of(lab, tmp_path, "cpu", {"quality": {"dense": 2}})
    assert lab.recorded("quality") == {"dense": 2}
    assert lab.recorded_on("quality").startswith("a cpu, 20")


def test_a_device_without_a_run_of_its_kind_reads_another(lab, tmp_path, monkeypatch):
    monkeypatch.setattr("greenkit.course.runs.reference_folder", lambda: tmp_path)
    full_run_of(lab, tmp_path, "gpu", {"quality": {"dense": 1}})
    lab.device = {**lab.device, "kind": "cpu"}
    assert lab.recorded("quality") == {"dense": 1}


def test_while_it_is_recorded_a_lab_reads_its_own_result(lab):
    lab.full = True
    lab.keep("ratio", Ratio(2.0, 1.5, 2.5, "time ratio"))
    assert lab.recorded("ratio") == {"value": 2.0, "low": 1.5, "high": 2.5, "label": "time ratio"}
    assert lab.recorded_on("ratio") == "this run"


def test_without_a_full_run_the_error_says_how_to_record_one(lab, tmp_path, monkeypatch):
    monkeypatch.setattr("greenkit.course.runs.reference_folder", lambda: tmp_path)
    with pytest.raises(RunError, match="greenkit record --full"):
        lab.recorded("quality")
