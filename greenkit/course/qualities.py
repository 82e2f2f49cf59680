"""Tables of compressed models: their quality beside the dense model, and what serving takes."""

from __future__ import annotations

from collections.abc import Mapping
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
    rows = [_row(name, row, HERE) for name, row in here.items()]
    others = {name: row for name, row in (recorded or {}).items() if name not in here}
    rows += [_row(name, row, f"recorded: {recorded_on}") for name, row in others.items()]
    header = ("model", "perplexity, × dense", "KL (nats)", "same first choice", "MB", "made in")
    return markdown_table((*header, "source"), rows)


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
    rows = []
    others = {name: row for name, row in (recorded or {}).items() if name not in here}
    for models, source in ((here, HERE), (others, f"recorded: {recorded_on}")):
        for name, row in models.items():
            rows += [_phase(name, phase, row, source) for phase in ("prefill", "decode")]
    header = ("model", "phase", "time, × dense", "a token", "CPU time", "MB", "energy", "source")
    return markdown_table(header, rows)


def _phase(name: str, phase: str, row: Mapping[str, Any], source: str) -> tuple[str, ...]:
    found = row[phase]
    ends = (found["time_ratio"], found["time_ratio_low"], found["time_ratio_high"])
    provenance = found["provenance"]
    energy = Quantity(
        found["joules"],
        found["joules_low"],
        found["joules_high"],
        "J/token",
        provenance,
        provenance,
        approximate=provenance == "estimated",
    )
    return (
        name,
        phase,
        f"{ends[0]:.2f} ({ends[1]:.2f} to {ends[2]:.2f})",
        f"{1000 * found['seconds']:.3g} ms",
        f"{1000 * found['cpu_s']:.3g} ms",
        f"{row['bytes'] / 1e6:.0f}",
        f"{energy.text}, {provenance}",
        source,
    )
