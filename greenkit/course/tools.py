"""What other tools said of a known load: the benchmark's record as tables and a figure.

``python -m greenkit.course.tools FILE.png`` writes the figure, for the README.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenkit.course.runs import reference_folder
from greenkit.course.show import markdown_table
from greenkit.foundations import format_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS = "greenkit"
NO_BREAK = "\N{NO-BREAK SPACE}"
SQUARE_WAVE = "square 60/300 W, 0.37 s"
MARKERS = "osD^vP"
PARTS = {"cpu": "CPU", "ram": "memory", "PUE": "the building (PUE)"}
NOT_RECORDED = "Not recorded yet: `make bench` runs the comparison."


def tool_results() -> dict[str, Any] | None:
    """The record of `benchmarks/`, or None where the comparison was not run yet."""
    shipped = reference_folder() / "tools.json"
    in_repository = Path(__file__).resolve().parents[2] / "benchmarks" / "results.json"
    for path in (shipped, in_repository):
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
    return None


def burst_table(results: Mapping[str, Any] | None) -> str:
    """What each tool reported for one and the same burst of CPU work, and of what it is made."""
    if results is None:
        return NOT_RECORDED
    rows = [(_name(results, row["tool"]), *_burst_cells(row)) for row in _first_answers(results)]
    return markdown_table(("tool", "reports", "made of"), rows, note=_where(results))


def burst_figure(results: Mapping[str, Any]) -> Figure:
    """The answers of `burst_table` side by side; a tool without an answer is named in the text."""
    from greenkit import plot

    found = _first_answers(results)
    given = sorted((row for row in found if "error" not in row), key=lambda row: row["total_j"])
    failed = [row["tool"] for row in found if "error" in row]
    named = [row["tool"] for row in given if row["provenance_in_result"]]
    ends = {row["tool"]: row["interval_j"] or (row["total_j"],) * 2 for row in given}
    answers = [_answer(row) for row in given]
    said = [f"{row['tool']} {answer}" for row, answer in zip(given, answers, strict=True)]
    return plot.dots(
        {row["tool"]: (row["total_j"], *ends[row["tool"]]) for row in given},
        label="energy of one burst of work (J)",
        alt=f"Dot plot of what tools reported for the same work: {_listed(said)}.",
        caption=f"One burst of {given[0]['duration_s']:.0f} s, {len(found)} tools: "
        f"{_listed(answers)}"
        + "".join(f", and {tool} fails" for tool in failed)
        + f". Only {_listed(named)} gives an interval and a word for where its answer comes from.",
        source=f"{_where(results)[:-1]}: {', '.join(_name(results, row['tool']) for row in found)}",
    )


def _first_answers(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    first: dict[str, Mapping[str, Any]] = {}
    for row in results["burst"]:
        first.setdefault(row["tool"], row)
    return list(first.values())


def _answer(row: Mapping[str, Any]) -> str:
    if row["interval_j"]:
        low, high = row["interval_j"]
        return format_interval(row["total_j"], low, high, "J", approximate=True)
    return f"{row['total_j']:.3g} J"


def _burst_cells(row: Mapping[str, Any]) -> tuple[str, str]:
    if "error" in row:
        return f"no answer ({row['error'].partition(':')[0]})", ""
    word = ", ".join(row["provenance_in_result"])
    parts = [
        f"{PARTS.get(part, part)} {joules:.3g} J"
        for part, joules in row["parts_j"].items()
        if joules
    ]
    return f"**{_answer(row)}** {word}".strip(), ", ".join(parts) or "nothing"


def windows_table(results: Mapping[str, Any] | None, wave: str, windows: str) -> str:
    """Rms error of each tool on a simulated card, per length of window, in percent of the truth."""
    if results is None:
        return NOT_RECORDED
    chosen = [r for r in results["windows"] if r["wave"] == wave and r["windows"] == windows]
    lengths = sorted({row["length_s"] for row in chosen}, reverse=True)
    rows = []
    for tool in dict.fromkeys(row["tool"] for row in chosen):
        found = {row["length_s"]: row for row in chosen if row["tool"] == tool}
        rows.append((_name(results, tool), *(_error(found.get(t)) for t in lengths)))
    header = ("tool", *(f"{t:g} s" for t in lengths))
    return f"{markdown_table(header, rows)}\n\n{_where(results)}"


def windows_figure(results: Mapping[str, Any], wave: str, windows: str) -> Figure:
    """Rms error against length of window, one line per tool, on a card whose truth is known."""
    from matplotlib.figure import Figure

    from greenkit import plot

    chosen = [r for r in results["windows"] if r["wave"] == wave and r["windows"] == windows]
    tools = [t for t in dict.fromkeys(row["tool"] for row in chosen) if t != OURS]
    with plot.style():
        figure = Figure()
        figure.set_figheight(1.4 * figure.get_figheight())
        axes = figure.add_subplot()
        for i, tool in enumerate([*tools, OURS]):
            found = sorted((r["length_s"], 100 * r["rms"]) for r in chosen if r["tool"] == tool)
            look = {"marker": MARKERS[i], "linewidth": 3.5 if tool == OURS else 1.5}
            axes.loglog(*zip(*found, strict=True), label=_name(results, tool), **look)
        axes.set_xlabel("length of the metered window (s)")
        axes.set_ylabel("rms error (% of the truth)")
        axes.set_title(f"simulated card, {wave}, ticks of 100 ms", fontsize=plot.SMALL_PT)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def cards_table(results: Mapping[str, Any] | None) -> str:
    """What each tool reported of two simulated cards, as energy over truth, per selection."""
    if results is None:
        return NOT_RECORDED
    masks = list(dict.fromkeys(row["mask"] for row in results["cards"]))
    rows = []
    for tool in dict.fromkeys(row["tool"] for row in results["cards"]):
        found = {row["mask"]: row for row in results["cards"] if row["tool"] == tool}
        rows.append((_name(results, tool), *(_share(found.get(mask)) for mask in masks)))
    return markdown_table(("tool", *masks), rows)


def burst_sentence(results: Mapping[str, Any] | None, tools: Sequence[str]) -> str:
    """What some tools reported for the same burst, e.g. ``0 J and 140 J (Zeus 0.16.0 and …)``."""
    if results is None:
        return NOT_RECORDED
    first = {row["tool"]: row for row in reversed(results["burst"])}
    values = [f"{first[tool]['total_j']:.3g} J" for tool in tools]
    names = [_name(results, tool) for tool in tools]
    month = datetime.date.fromisoformat(results["date"]).strftime("%B %Y")
    return f"{_listed(values)} ({_listed(names)}, {month})"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _error(row: Mapping[str, Any] | None) -> str:
    if row is None or not row.get("count"):
        return "no value"
    zeros = f" ({row['zero']} of {row['asked']} read 0)" if row["zero"] else ""
    percent = 100 * row["rms"]
    shown = f"{percent:.0f}" if percent >= 10 else f"{percent:.2g}"
    return f"{shown}{NO_BREAK}%{zeros}"


def _share(row: Mapping[str, Any] | None) -> str:
    if row is None or "ratio" not in row:
        error = str((row or {}).get("error", ""))
        return f"raises {error.partition(':')[0]}" if error else "no value"
    return f"{row['ratio']:.2f}"


def _name(results: Mapping[str, Any], tool: str) -> str:
    return f"{tool} {results['versions'].get(tool, '')}".strip()


def _where(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    return f"Recorded on {machine['cpu']}, {machine['logical_cores']} cores, {results['date']}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the figure; returns 1 where there is nothing to draw yet."""
    from greenkit import plot

    parser = argparse.ArgumentParser(description="Write the figure of the tool comparison.")
    parser.add_argument("file", type=Path, help="the PNG to write")
    path = parser.parse_args(arguments).file
    results = tool_results()
    if results is None:
        print(NOT_RECORDED)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(plot.png(windows_figure(results, SQUARE_WAVE, "random")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
