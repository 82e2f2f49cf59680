"""Compressed models beside the dense one: their quality, and what serving takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenkit.course.show import markdown_table
from greenkit.foundations import Quantity
from greenkit.plot.dots import dots

Rows = Mapping[str, Mapping[str, Any]]


def quality_dots(here: Rows, recorded: Rows, recorded_on: str) -> None:
    """Perplexity over the dense model's, a dot a model; hollow where only recorded.

    Arguments are those of `quality_table`.
    """
    rows = {**recorded, **here}
    order = sorted(rows, key=lambda name: float(rows[name]["ratio"]))
    hollow = [name for name in order if name not in here]
    elsewhere = f"; hollow dots recorded on {recorded_on}" if hollow else ""
    best = order[0]
    dots(
        {n: (rows[n]["ratio"], rows[n]["ratio_low"], rows[n]["ratio_high"]) for n in order},
        label="perplexity, × dense",
        reference=(1.0, "the dense model"),
        hollow=hollow,
        alt=f"Perplexity over the dense model's with intervals for {len(order)} models, from "
        f"{best} at {ratio_text(rows[best])} to {order[-1]} at {ratio_text(rows[order[-1]])}.",
        caption="Perplexity of each model over the dense model's, on the same windows of text. "
        "Left is better.",
        source=f"Filled dots ran here{elsewhere}; intervals from paired windows.",
    )


def quality_table(here: Rows, recorded: Rows | None = None, recorded_on: str = "") -> str:
    """Models beside the dense one, as Markdown: those run here, then those only recorded.

    Args:
        here: by variant the numbers of `Quality.to_dict`, and "bytes" where known.
        recorded: the same from a full run, shown for variants that are not in `here`.
        recorded_on: device and date of that run.
    """
    only = {name: row for name, row in (recorded or {}).items() if name not in here}
    rows = [_row(name, row) for name, row in here.items()]
    rows += [_row(f"*{name}*", row) for name, row in only.items()]
    header = ("model", "perplexity, × dense", "same first choice (%)", "MB")
    return markdown_table(
        header, rows, note=f"*In italics*: recorded on {recorded_on}." if only else ""
    )


def _row(name: str, row: Mapping[str, float]) -> tuple[str, ...]:
    size = f"{row['bytes'] / 1e6:.0f}" if "bytes" in row else ""
    return name, ratio_text(row), f"{100 * row['top1']:.1f}", size


def ratio_text(row: Mapping[str, float]) -> str:
    """A perplexity over the dense model's, with its interval."""
    ends = (row["ratio"], row["ratio_low"], row["ratio_high"])
    ratio, low, high = (f"{end:,.{3 if end < 10 else 1 if end < 100 else 0}f}" for end in ends)
    return f"{ratio} ({low} to {high})"


def serving_table(rows: Rows, phase: str) -> str:
    """What a phase ("prefill" or "decode") takes with each model, from `Serving.to_dict`."""
    table = [(name, *_phase(row[phase])) for name, row in rows.items()]
    kinds = {str(row[phase]["provenance"]) for row in rows.values()}
    return markdown_table(
        (phase, "time, × dense", "ms a token", "energy a token"),
        table,
        note=f"Energy: {', '.join(sorted(kinds))}. Ratios are means of paired runs, "
        "milliseconds medians.",
    )


def _phase(found: Mapping[str, Any]) -> tuple[str, ...]:
    ends = (found["time_ratio"], found["time_ratio_low"], found["time_ratio_high"])
    return (
        f"{ends[0]:.2f} ({ends[1]:.2f} to {ends[2]:.2f})",
        f"{1000 * found['seconds']:.3g}",
        energy_text(found).replace("/token", ""),
    )


def energy_text(found: Mapping[str, Any]) -> str:
    """Joules a token with their interval, from one phase of `Serving.to_dict`."""
    provenance = found["provenance"]
    return Quantity(
        found["joules"],
        found["joules_low"],
        found["joules_high"],
        "J/token",
        provenance,
        provenance,
        approximate=provenance == "estimated",
    ).text
