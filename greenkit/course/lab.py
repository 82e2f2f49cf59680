"""The lab contract: set up, predict, claim, reveal, decide, and leave a record behind."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenkit.course import cards, qualities, reveal, tools
from greenkit.course.device import device_facts, peak_memory_mb
from greenkit.course.exercises import Exercise
from greenkit.course.runs import (
    SCHEMA,
    Run,
    full_run,
    nearest,
    plain,
    quick_runs,
    reference_runs,
    write_record,
)
from greenkit.course.show import folded, glue, markdown_table, show_html, show_markdown
from greenkit.course.traces import gpu_trace
from greenkit.foundations import Provenance, Quantity, Ratio, Reading
from greenkit.inputs.default import download_mb
from greenkit.metering import EnergyCurve, EnergyMeter
from greenkit.metering.live import LiveLine
from greenkit.metering.replay import Trace, trace_to_dict

EXAMPLES = "GREENKIT_EXAMPLE_PREDICTIONS"
FULL = "GREENKIT_FULL"
KINDS = ("exact", "here", "recorded", "energy")
MARGIN = 0.1
PROVEN = (Provenance.MEASURED, Provenance.REPLAYED, Provenance.SIMULATED)

_current: Lab | None = None


@dataclass
class Lab:
    """One run of one lab. Make it with `greenkit.lab(name)`.

    `meter` is open from the setup cell on; use it for every window of the lab.
    """

    name: str
    meter: EnergyMeter
    device: Mapping[str, Any]
    full: bool
    started_s: float
    predictions: dict[str, float] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    decision: dict[str, Any] = field(default_factory=dict)
    traces: list[dict[str, Any]] = field(default_factory=list)
    made_by: dict[str, str] = field(default_factory=dict)
    cell: str = ""
    example_predictions: bool = False

    @property
    def size(self) -> str:
        """ "quick" live, "full" when a reference run is recorded."""
        return "full" if self.full else "quick"

    @property
    def has_sensor(self) -> bool:
        """True where a sensor of this machine can be read; False where energy is estimated."""
        return any(s.info.provenance is not Provenance.ESTIMATED for s in self.meter.sensors)

    def references(self) -> list[Run]:
        """The reference runs of this lab on named devices."""
        return reference_runs(self.name)

    def recorded(self, name: str) -> Any:
        """A result of the full reference run, as plain values.

        While a full run is recorded this is its own result, so that its claims are asserted on
        what it found. Raises RunError where no full run has such a result.
        """
        if self.full:
            return plain(self.results[name])
        return full_run(self.name, name, self.device["kind"]).record["results"][name]

    def recorded_on(self, name: str) -> str:
        """Device and date of the run that `recorded` reads."""
        return "this run" if self.full else full_run(self.name, name, self.device["kind"]).label

    @property
    def recorded_kind(self) -> str:
        """ "cpu" or "gpu": the kind of device whose results `recorded` gives."""
        kind = str(self.device["kind"])
        runs = [run for run in self.references() if run.record["size"] == "full"]
        return kind if self.full or not runs else nearest(runs, kind).kind

    def predict(self, *, example: Mapping[str, float], **guesses: float | None) -> None:
        """Keep your guesses, made before anything runs.

        Replace each None by a number. `example` is used in place of None only while the course
        itself is built and tested. Raises ValueError for a guess that is not a positive number.
        """
        if unknown := set(example) ^ set(guesses):
            raise ValueError(f"predict and its example must name the same things: {unknown}")
        self.example_predictions = os.environ.get(EXAMPLES) == "1"
        for name, guess in guesses.items():
            value = example[name] if guess is None and self.example_predictions else guess
            if value is None:
                print(f"{name}: no prediction yet - put a number in place of None")
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValueError(f"{name} needs a number above 0, got {value!r}")
            self.predictions[name] = float(value)
            whose = "the course's example" if guess is None else "yours"
            print(f"{name}: {value:g} ({whose})")

    def keep(self, name: str, value: Any) -> None:
        """Keep a result for the reveal and for the record, which notes the cell that kept it.

        `value` is a number, a text, a reading, a quantity, a ratio, or lists and dicts of them.
        """
        self.results[name] = value
        self.made_by[name] = self.cell

    def keep_trace(self, curve: EnergyCurve, start_s: float, end_s: float) -> None:
        """Keep the raw ticks of a curve between two instants, with the windows marked in them."""
        marks: dict[str, list[tuple[float, float]]] = {}
        for window in self.meter.windows:
            if window.start_s >= start_s and window.end_s <= end_s:
                marks.setdefault(window.name, []).append((window.start_s, window.end_s))
        self.traces.append(trace_to_dict(curve, marks, origin_s=start_s, end_s=end_s))

    def claim(self, text: str, holds: bool, *, kind: str, evidence: Reading | None = None) -> None:
        """Assert a claim that the text makes; a lab whose claim does not hold fails.

        `kind` is "exact" (arithmetic), "here" (time or quality on this machine), "recorded" (the
        same, in the full reference run) or "energy", which needs `evidence`: on an estimate it is
        not asserted, because an estimate proves nothing about joules.
        """
        if kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}; got {kind!r}")
        if kind == "energy":
            if evidence is None:
                raise ValueError("an energy claim needs the reading that it rests on")
            if evidence.provenance not in PROVEN:
                self._tell(text, kind, "unproven", f"its energy is {evidence.provenance.value}")
                return
        if not holds:
            raise AssertionError(f"the claim does not hold here: {text}")
        self._tell(text, kind, "holds")

    def claim_ratio(self, text: str, ratio: Ratio, *, above_one: bool, kind: str = "here") -> None:
        """Assert that a ratio lies above (or below) 1, if it can be told from 1 at all.

        Where its interval holds 1 the result is "not separable here"; where it excludes 1 by less
        than 10 %, that is said. Both are results too, and not failures.
        """
        if ratio.excludes_one(MARGIN):
            self.claim(text, (ratio.value > 1) == above_one, kind=kind)
        elif ratio.excludes_one():
            self._tell(text, kind, "near", f"{ratio}: differs from 1 by less than {MARGIN:.0%}")
        else:
            self._tell(text, kind, "open", f"{ratio}: the interval holds 1")

    def _tell(self, text: str, kind: str, state: str, why: str = "") -> None:
        """Keep what became of a claim, and show it as a card."""
        self.claims.append({"text": text, "kind": kind, "held": state == "holds" or None})
        self.states.append(state)
        reason = f" ({why})" if why else ""
        show_html(cards.claim(text, state, why), f"{cards.STATES[state]}{reason}: {text}")

    def exercise(self, name: str, answer: Any) -> None:
        """Check an answer and print what is wrong with it, not only that it is wrong."""
        Exercise.named(self.name, name).check(answer)

    def reveal(self, **results: Reading | Quantity | float) -> None:
        """Show prediction, own result and reference runs side by side, with a verdict."""
        for name, value in results.items():
            self.keep(name, value)
        show_markdown(reveal.table(self.predictions, results, self.references()))
        if self.example_predictions:
            print("(the predictions shown are the course's examples)")

    def decide(self, *, choice: str, evidence: Sequence[object], change_my_mind: str) -> None:
        """Three lines: a choice, two numbers as evidence, and what would change your mind.

        Raises ValueError where a line is empty or there are fewer than two numbers.
        """
        if not choice.strip() or not change_my_mind.strip():
            raise ValueError("a decision needs a choice and what would change your mind")
        if len(evidence) < 2:
            raise ValueError(f"a decision needs two numbers as evidence, got {len(evidence)}")
        self.decision = {
            "choice": choice,
            "evidence": [str(e) for e in evidence],
            "change_my_mind": change_my_mind,
        }
        lines = [f"**Choice.** {choice}", *(f"**Evidence.** {e}" for e in evidence)]
        show_markdown("\n\n".join([*lines, f"**What would change my mind.** {change_my_mind}"]))

    def doctor(self) -> None:
        """Print what this machine can measure, and what would allow more."""
        print(reveal.doctor(self.device, self.meter))

    def live(self) -> LiveLine:
        """A line that shows the power of now while the block below it runs."""
        return LiveLine(self.meter)

    def gpu_trace(self) -> Trace:
        """The raw ticks of your own GPU's counter, or else of a recorded card."""
        return gpu_trace(self.references(), self.meter)

    def show(self, markdown: str) -> None:
        """Display Markdown, or print it where there is no Jupyter."""
        show_markdown(markdown)

    def show_table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        best: int | None = None,
        note: str = "",
        fold: str = "",
    ) -> None:
        """Display a table: `best` marks a row, `note` stands below, `fold` names a fold for it."""
        show_markdown(markdown_table(header, rows, best=best, note=note, fold=fold))

    def show_tools(self) -> None:
        """What well-known tools said of one and the same burst of work (recorded)."""
        results = tools.tool_results()
        if results is not None:
            tools.burst_figure(results)
        show_markdown(folded(tools.burst_table(results), "What each answer is made of"))

    def show_published(self) -> None:
        """Published J/token of large models, to stand beside one's own result."""
        show_markdown(reveal.published())

    def show_quality(self, rows: Mapping[str, Mapping[str, float]]) -> None:
        """Compressed models beside the dense one; those of the full run that did not run here too.

        `rows` has `Quality.to_dict` by variant, with "bytes" where known.
        """
        recorded, where = {}, ""
        if not self.full:
            recorded, where = self.recorded("quality"), self.recorded_on("quality")
        qualities.quality_dots(rows, recorded, where)
        table = qualities.quality_table(rows, recorded, where)
        show_markdown(folded(table, f"All {len({**recorded, **rows})} models as a table"))

    def show_serving(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """What reading and writing a token take with each model, from `Serving.to_dict`."""
        for phase in ("prefill", "decode"):
            show_markdown(qualities.serving_table(rows, phase))

    def glue(self, name: str, value: Any) -> None:
        """Hand a value to the prose of this notebook (`{glue:text}`), and keep it."""
        self.keep(name, value)
        glue(name, value)

    def record(self, producers: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, Any]:
        """Everything this run produced, as plain values of the run schema.

        `producers` has by cell the hashes of what stands behind the results that it kept.
        """
        readings = self.meter.total.readings
        return {
            "schema": SCHEMA,
            "lab": self.name,
            "size": self.size,
            "date": datetime.date.today().isoformat(),
            "device": dict(self.device),
            "seconds": round(time.perf_counter() - self.started_s, 1),
            "memory_mb": round(peak_memory_mb()),
            "fetched_mb": round(download_mb()),
            "predictions": dict(self.predictions),
            "results": {name: plain(value) for name, value in self.results.items()},
            "made_by": dict(self.made_by),
            "producers": dict(producers or {}),
            "claims": list(self.claims),
            "decision": dict(self.decision),
            "footprint": [r.to_dict() for r in readings],
            "traces": list(self.traces),
        }

    def footprint(self) -> None:
        """Print what this lab itself used and write run.json into labs/out (an ignored folder)."""
        print(f"claims of this lab: {cards.counted(self.states) or 'none'}")
        for reading in self.meter.total.readings:
            print(f"this lab used {reading.wh()} in {reading.duration_s:.0f} s")
        folder = Path("out") / self.name
        path = write_record(self.record(), folder / "run.json")
        print(f"your run is in {path.as_posix()}")


def lab(name: str) -> Lab:
    """Start a lab: open its meter and print how this machine's energy is known, and how well.

    Raises ValueError for a name that is not a plain word with underscores.
    """
    global _current
    if not name.replace("_", "").isalnum():
        raise ValueError(f"a lab's name is letters, digits and underscores, got {name!r}")
    end_lab()
    meter = EnergyMeter()
    meter.__enter__()
    _current = Lab(
        name=name,
        meter=meter,
        device=device_facts(),
        full=os.environ.get(FULL) == "1",
        started_s=time.perf_counter(),
    )
    report = reveal.doctor(_current.device, meter)
    show_html(cards.machine(_current.device, meter, report), report)
    return _current


def budget_card(name: str) -> None:
    """Show what a lab takes on each recorded device: time, energy, date."""
    show_html(*cards.budget(reference_runs(name), quick_runs(name)))


def current_lab() -> Lab | None:
    """The lab that was started last in this process, if any."""
    return _current


def end_lab() -> None:
    """Close the meter of the lab that was started last; it is no longer the current one."""
    global _current
    if _current is not None:
        _current.meter.__exit__()
        _current = None
