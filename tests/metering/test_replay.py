"""Recorded traces: the same windows as on the live curve, replayed and labelled as such."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import virtual_clock as virtual

from greenkit.foundations import Provenance
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.replay import Trace, trace_from_dict, trace_to_dict
from greenkit.metering.sensor import Kind, SensorError
from greenkit.metering.simulated import square

WAVE = square(60, 300, period_s=0.37)
MARKS = {"prefill": [(12.0, 12.5)], "decode": [(12.5, 14.0), (15.0, 17.0)]}


def live(kind=Kind.TICKS, provenance=Provenance.MEASURED, **settings) -> EnergyCurve:
    sensor = virtual.sensor(WAVE, kind, tick_s=0.1 if kind is Kind.TICKS else 0.0, **settings)
    sensor.info = replace(sensor.info, provenance=provenance, name="nvml:0", device="a card")
    return virtual.watch(sensor, 20.0)


def recorded(curve, **settings):
    record = trace_to_dict(curve, MARKS, origin_s=11.0, **settings)
    return trace_from_dict(json.loads(json.dumps(record)), recorded_on="a card", date="2026-11-24")


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(("start", "end"), [(12.0, 12.5), (12.5, 17.0), (13.01, 13.07)])
def test_windows_are_those_of_the_live_curve(kind, start, end):
    curve = live(kind, gain=1.05)
    before, after = curve.reading(start, end), recorded(curve).between(start - 11, end - 11)
    assert after.joules == pytest.approx(before.joules, abs=1e-3)
    assert after.low == pytest.approx(before.low, rel=0.02, abs=1e-2)
    assert after.high == pytest.approx(before.high, rel=0.02, abs=1e-2)
    assert after.resolved == before.resolved


def test_what_was_measured_is_replayed_and_says_where_and_when():
    reading = recorded(live()).window("decode")
    assert reading.provenance is Provenance.REPLAYED
    assert "measured on a card, 2026-11-24" in str(reading)


def test_what_was_simulated_stays_simulated():
    trace = recorded(live(provenance=Provenance.SIMULATED))
    assert trace.window("decode").provenance is Provenance.SIMULATED


def test_marks_are_kept_by_name_and_number():
    trace = recorded(live())
    assert trace.marks["decode"] == ((1.5, 3.0), (4.0, 6.0))
    assert trace.window("decode", 1).duration_s == pytest.approx(2.0)
    with pytest.raises(KeyError, match="there are: prefill, decode"):
        trace.window("idle")


def test_a_trace_ends_where_it_was_cut():
    trace = recorded(live(), end_s=15.0)
    assert trace.duration_s < 5.5
    with pytest.raises(SensorError, match="no value after this window"):
        trace.window("decode", 1)


def test_a_gap_of_the_recording_is_refused_in_the_replay():
    curve = live()
    curve.gaps.append((13.0, 13.4, "the card fell off the bus"))
    trace = recorded(curve)
    with pytest.raises(SensorError, match="fell off the bus"):
        trace.window("decode")
    assert trace.window("decode", 1).joules > 0


@pytest.mark.parametrize("field", ["times_s", "sensor", "marks"])
def test_a_record_without_a_field_names_it(field):
    record = trace_to_dict(live(), MARKS, origin_s=11.0)
    del record[field]
    with pytest.raises(KeyError, match=field):
        trace_from_dict(record, recorded_on="x", date="y")


def test_lists_of_different_lengths_are_refused():
    record = trace_to_dict(live(), MARKS, origin_s=11.0)
    record["joules"] = record["joules"][:-1]
    with pytest.raises(ValueError, match="lists of different lengths"):
        trace_from_dict(record, recorded_on="x", date="y")


def test_a_trace_tells_its_origin():
    assert recorded(live()).label == "recorded on a card, 2026-11-24"
    simulated = Trace(
        live(provenance=Provenance.SIMULATED), MARKS, "a simulated card, no recording", ""
    )
    assert simulated.label == "a simulated card, no recording"
