"""The record as tables for a terminal; every number in them stands in the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from greenkit.metering.report import table

Rows = Sequence[Mapping[str, Any]]


def show(record: Mapping[str, Any]) -> str:
    """All parts of a record, one table each."""
    parts = [
        _head(record),
        "Windows on simulated cards, counter ticks every 100 ms: rms error (mean of energy/truth)",
        table(_windows(record["windows"])),
        "The same on a virtual clock: differences of the counter against greenkit's curve",
        table(_simulation(record["simulation"])),
        "Two simulated cards of 200 W and 100 W: energy / truth of the cards the program sees",
        table(_cards(record["cards"])),
        "A burst of two threads on this machine, no simulated card: what each tool reports",
        table(_burst(record["burst"])),
        "Costs (medians)",
        table(_costs(record["costs"], list(record["versions"]))),
    ]
    return "\n\n".join(parts)


def _head(record: Mapping[str, Any]) -> str:
    machine = record["machine"]
    versions = ", ".join(f"{tool} {version}" for tool, version in record["versions"].items())
    loads = ", ".join(f"{part} {load:.1f}" for part, load in record["load_before"].items())
    return (
        f"{record['date']}, {machine['cpu']}, {machine['logical_cores']} logical cores, "
        f"Python {machine['python']}\n{versions}\nload average before each part: {loads}"
    )


def _lengths(rows: Rows) -> list[float]:
    return sorted({row["length_s"] for row in rows}, reverse=True)


def _windows(rows: Rows) -> list[tuple[str, ...]]:
    lengths = _lengths(rows)
    lines = [("power", "windows", "tool", *(f"{length:g} s" for length in lengths))]
    waves = list(dict.fromkeys(row["wave"] for row in rows))
    ordered = sorted(rows, key=lambda row: waves.index(row["wave"]))
    cases = dict.fromkeys((row["wave"], row["windows"], row["tool"]) for row in ordered)
    for case in cases:
        found = {
            row["length_s"]: row
            for row in rows
            if (row["wave"], row["windows"], row["tool"]) == case
        }
        lines.append((*case, *(_error(found.get(length)) for length in lengths)))
        if any("covered_random" in row for row in found.values()):
            cells = (_interval(found.get(length, {}), "_random") for length in lengths)
            lines.append(("", "", "  its interval covers", *cells))
    return lines


def _error(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    if not row.get("count"):
        return str(row.get("error", "no value"))[:24]
    zeros = f", {row['zero']}/{row['asked']} zero" if row["zero"] else ""
    return f"{100 * row['rms']:.1f} % ({row['mean']:.2f}{zeros})"


def _interval(row: Mapping[str, Any], part: str = "") -> str:
    if "covered" + part not in row:
        return "-"
    width = _plain(100 * row["half_width" + part], 2)
    return f"{100 * row['covered' + part]:.0f} % (± {width} %)"


def _simulation(rows: Rows) -> list[tuple[str, ...]]:
    lengths = _lengths(rows)
    lines = [("power", "windows", "", *(f"{length:g} s" for length in lengths))]
    for wave, windows in dict.fromkeys((row["wave"], row["windows"]) for row in rows):
        found = {row["length_s"]: row for row in rows if row["wave"] == wave}
        for key, name in (("differences", "differences"), ("curve", "greenkit")):
            errors = (f"{100 * found[length][key]['rms']:.2f} %" for length in lengths)
            lines.append((wave, windows, name, *errors))
        cells = (_interval(found[length]) for length in lengths)
        lines.append(("", "", "  its interval covers", *cells))
    return lines


def _cards(rows: Rows) -> list[tuple[str, ...]]:
    masks = list(dict.fromkeys(row["mask"] for row in rows))
    lines = [("tool", *masks)]
    for tool in dict.fromkeys(row["tool"] for row in rows):
        found = {row["mask"]: row for row in rows if row["tool"] == tool}
        lines.append((tool, *(_ratio(found[mask]) for mask in masks)))
    return lines


def _ratio(row: Mapping[str, Any]) -> str:
    return f"{row['ratio']:.3f}" if "ratio" in row else row.get("error", "no GPU value")[:40]


def _burst(rows: Rows) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [
        ("tool", "seconds", "CPU s", "reported", "made of", "provenance in the result")
    ]
    for row in rows:
        busy = (f"{row['duration_s']:.2f}", f"{row['cpu_s']:.2f}") if "cpu_s" in row else ("", "")
        if "error" in row:
            lines.append((row["tool"], *busy, row["error"][:40], "", ""))
            continue
        parts = ", ".join(f"{part} {joules:.3g} J" for part, joules in row["parts_j"].items())
        value = f"{row['total_j']:.3g} J"
        if row["interval_j"]:
            value += f" ({' to '.join(_plain(edge, 2) for edge in row['interval_j'])})"
        words = ", ".join(row["provenance_in_result"]) or "none"
        lines.append((row["tool"], *busy, value, parts, words))
    return lines


def _costs(costs: Mapping[str, Any], tools: Sequence[str]) -> list[tuple[str, ...]]:
    lines = [("", *tools)]
    bare = costs["import"]["python"]
    for key, name in (("cpu_s", "import, CPU ms over bare Python"), ("wall_s", "  wall ms")):
        cells = (_over(costs["import"].get(tool), bare, key) for tool in tools)
        lines.append((name, *cells))
    for sensors in ("no sensor", "one simulated card"):
        for key, name in (
            ("first_start_s", "first start, ms"),
            ("first_start_cpu_s", "  CPU ms"),
            ("first_stop_s", "first stop, ms"),
            ("second_start_s", "second start, ms"),
            ("second_stop_s", "second stop, ms"),
            ("window_s", "one window, µs"),
            ("background_cpu_per_s", "background, CPU ms per s"),
        ):
            found = [costs[sensors].get(tool, {}).get(key) for tool in tools]
            if any(value is not None for value in found):
                scale = 1e6 if key == "window_s" else 1e3
                lines.append((f"{sensors}: {name}", *(_scaled(v, scale) for v in found)))
    loops = [costs["one simulated card"].get(tool, {}).get("loop", {}) for tool in tools]
    for clock, name in (("cpu_s", "loop beside it, CPU time"), ("s", "loop beside it, wall time")):
        lines.append((f"{name}, ratio (quartiles)", *(_quartiles(x.get(clock)) for x in loops)))
    return lines


def _over(times: Mapping[str, float] | None, bare: Mapping[str, float], key: str) -> str:
    return "-" if times is None else f"{1e3 * (times[key] - bare[key]):.0f}"


def _scaled(value: float | list[float] | None, scale: float) -> str:
    if value is None or value == []:
        return "-"
    return _plain(scale * (median(value) if isinstance(value, list) else value), 3)


def _plain(value: float, digits: int) -> str:
    """So many significant digits, never an exponent."""
    return f"{float(f'{value:.{digits}g}'):g}"


def _quartiles(ratios: list[float] | None) -> str:
    if not ratios:
        return "-"
    low, middle, high = quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.2f}-{high:.2f})"
