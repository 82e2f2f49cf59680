"""Tables of compressed models: their quality beside the dense model, and what serving takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from greenkit.course.show import markdown_table
from greenkit.foundations import Quantity

HERE = "run here"


def quality_table(
    here: Mapping[str, Mapping[str, float]],
    recorded: Mapping[str, Mapping[str, float]] | None = None,
    recorded_on: str = "",
) -> str:
    """Models beside the dense one, as Markdown: those run here, then those only recorded.

    Args:
        here: by variant the numbers of `Quality.to_dict`, and "bytes" and "seconds" where known.
        recorded: the same from a full run, shown for variants that are not in `here`.
        recorded_on: device and date of that run.
    """
    rows = [_row(*model) for model in _models(here, recorded, recorded_on)]
    header = ("model", "perplexity, × dense", "KL (nats)", "same first choice", "MB", "made in")
    return markdown_table((*header, "source"), rows)


def _models(
    here: Mapping[str, Any], recorded: Mapping[str, Any] | None, recorded_on: str
) -> Iterator[tuple[str, Any, str]]:
    """Name, numbers and source of each model: those run here, then those only recorded."""
    for name, row in here.items():
        yield name, row, HERE
    for name, row in (recorded or {}).items():
        if name not in here:
            yield name, row, f"recorded: {recorded_on}"


def _row(name: str, row: Mapping[str, float], source: str) -> tuple[str, ...]:
    ends = (row["ratio"], row["ratio_low"], row["ratio_high"])
    ratio, low, high = (f"{end:,.{3 if end < 10 else 1 if end < 100 else 0}f}" for end in ends)
    return (
        name,
        f"{ratio} ({low} to {high})",
        f"{abs(row['kl']):.3f}",  # rounding may leave a tiny negative one
        f"{row['top1']:.1%}",
        f"{row['bytes'] / 1e6:.0f}" if "bytes" in row else "",
        f"{row['seconds']:.0f} s" if "seconds" in row else "",
        source,
    )


def serving_table(
    here: Mapping[str, Mapping[str, Any]],
    recorded: Mapping[str, Mapping[str, Any]] | None = None,
    recorded_on: str = "",
) -> str:
    """What serving took with each model, as Markdown, from the numbers of `Serving.to_dict`.

    Arguments are those of `quality_table`.
    """
    rows = [
        _phase(phase, *model)
        for model in _models(here, recorded, recorded_on)
        for phase in ("prefill", "decode")
    ]
    header = ("model", "phase", "time, × dense", "a token", "CPU time", "MB", "energy", "source")
    return markdown_table(header, rows)


def _phase(phase: str, name: str, row: Mapping[str, Any], source: str) -> tuple[str, ...]:
    found = row[phase]
    ends = (found["time_ratio"], found["time_ratio_low"], found["time_ratio_high"])
    return (
        name,
        phase,
        f"{ends[0]:.2f} ({ends[1]:.2f} to {ends[2]:.2f})",
        f"{1000 * found['seconds']:.3g} ms",
        f"{1000 * found['cpu_s']:.3g} ms",
        f"{row['bytes'] / 1e6:.0f}",
        f"{energy_text(found)}, {found['provenance']}",
        source,
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
