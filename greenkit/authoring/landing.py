"""The landing page's picture: what five tools answered about one and the same load.

``python -m greenkit.authoring.landing`` writes it anew from the record of `benchmarks/`: as HTML
for the page (two drawings, one for a phone, in the colors of the page's theme) and as PNG for
sharing. No number in it is typed.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenkit.course.tools import NOT_RECORDED, tool_results
from greenkit.foundations import format_interval
from greenkit.plot.page import badge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
PAGE_FIGURE = Path("book/images/answers.html")
SHARED = Path("_extra/share.png")  # 1200 × 630 pixels, which the sites that show links ask for
QUESTION = "How many joules does one token cost,\nand how do you know?"

INK = "var(--pst-color-text-base, #22272B)"
MUTED = "var(--pst-color-text-muted, #5A6268)"
LINE = "var(--pst-color-border, #DAD9D2)"
ACCENT = "var(--pst-color-primary, #0b6258)"
STEP_J = 100


@dataclass(frozen=True)
class Answer:
    """What one tool said: joules, or None where it failed; an interval and a word, if it had any.

    `interval` is low and high in joules, `word` the provenance that stands in the result.
    """

    tool: str
    joules: float | None
    interval: tuple[float, float] | None
    word: str
    error: str

    @property
    def label(self) -> str:
        """The answer as a person would write it down."""
        if self.joules is None:
            return f"no answer ({self.error})"
        if self.interval is None:
            return f"{self.joules:.3g} J"
        shown = format_interval(self.joules, *self.interval, "J", approximate=True)
        return f"{shown}, {self.word}"


def answers(results: Mapping[str, Any]) -> list[Answer]:
    """The first answer of each tool to the burst of CPU work, the smallest first, errors last."""
    first: dict[str, Answer] = {}
    for row in results["burst"]:
        interval = row.get("interval_j")
        answer = Answer(
            row["tool"],
            row.get("total_j"),
            (interval[0], interval[1]) if interval else None,
            ", ".join(row["provenance_in_result"]),
            row.get("error", "").partition(":")[0],
        )
        first.setdefault(answer.tool, answer)
    return sorted(first.values(), key=lambda a: float("inf") if a.joules is None else a.joules)


def heading(found: Sequence[Answer]) -> str:
    """The range of the answers in one line."""
    given = [answer for answer in found if answer.joules is not None]
    return f"One load, {_count(found)} tools: from {given[0].label} to {given[-1].label}"


def alt_text(found: Sequence[Answer]) -> str:
    """The picture in words."""
    said = "; ".join(f"{answer.tool} {answer.label}" for answer in found)
    return f"Dot plot of what {_count(found)} tools reported for the same work: {said}."


def page_figure(results: Mapping[str, Any]) -> str:
    """The figure of the landing page as HTML, with its heading, caption and source."""
    found = answers(results)
    drawings = "\n".join(_drawing(found, narrow) for narrow in (False, True))
    return (
        f'<figure class="gk-hero">\n<p class="gk-hero-title">{heading(found)}</p>\n{drawings}\n'
        f"<figcaption>{_caption(results, found)}</figcaption>\n</figure>\n"
    )


def _caption(results: Mapping[str, Any], found: Sequence[Answer]) -> str:
    burst = {row["tool"]: row for row in reversed(results["burst"])}
    seconds = burst[found[0].tool]["duration_s"]
    honest = [answer.tool for answer in found if answer.word]
    blind = [answer.tool for answer in found if answer.joules == 0]
    memory_j = burst["CodeCarbon"]["parts_j"]["ram"]
    building_j = burst["carbontracker"]["parts_j"]["PUE"]
    versions = ", ".join(f"{a.tool} {results['versions'][a.tool]}" for a in found)
    machine = results["machine"]
    return (
        f"Matrix products for {seconds:.0f} s on a virtual machine without an energy sensor. What "
        f"they really took is not known: {' and '.join(blind)} found nothing to add up, the other "
        f"answers are {badge('estimated')}, and only "
        f"the result of {' and '.join(honest)} says so. They do not even count the same things: "
        f"{memory_j:.0f} J of CodeCarbon’s answer are memory, "
        f"{building_j:.0f} J of carbontracker’s are for the building around it. "
        '<a href="metering/sensors.html">Sensors and their errors</a> takes them apart. '
        f'<span class="gk-source">Recorded on {html.escape(machine["cpu"])}, '
        f"{machine['logical_cores']} cores, {results['date']}: {versions}.</span>"
    )


def _drawing(found: Sequence[Answer], narrow: bool) -> str:
    """One SVG; a narrow one has each name above its line, so that letters stay legible."""
    width, left, right, row, size = (360, 6, 36, 52, 14) if narrow else (760, 132, 70, 42, 15)
    largest = max(answer.joules or 0 for answer in found)
    end = STEP_J * (int(largest // STEP_J) + 1)
    foot = row * len(found) + 8

    def x(joules: float) -> float:
        return round(left + (width - left - right) * joules / end, 1)

    shape = "narrow" if narrow else "wide"
    parts = [
        f'<svg class="gk-{shape}" role="img" aria-label="{html.escape(alt_text(found))}" '
        f'viewBox="0 0 {width} {foot + 28}" font-size="{size}">',
        f'<defs><pattern id="gk-estimate-{shape}" width="6" height="6" '
        'patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<path d="M0 0V6" style="stroke: {ACCENT}" stroke-width="3"/></pattern></defs>',
    ]
    for joules in range(0, end + 1, STEP_J):
        unit = " J" if joules == end else ""
        parts.append(
            f'<path d="M{x(joules)} 4V{foot}" style="stroke: {LINE}"/>'
            f'<text x="{x(joules)}" y="{foot + 21}" text-anchor="middle" '
            f'style="fill: {MUTED}">{joules}{unit}</text>'
        )
    for i, answer in enumerate(found):
        middle = row * i + (38 if narrow else 26)
        parts.append(_row(answer, middle, x, f"gk-estimate-{shape}", left, narrow))
    return "".join([*parts, "</svg>"])


def _row(answer: Answer, middle: int, x: Any, pattern: str, left: int, narrow: bool) -> str:
    own = bool(answer.word)
    color, weight = (ACCENT, 650) if own else (INK, 400)
    name_at = (left, middle - 16) if narrow else (0, middle + 5)
    drawn = [
        f'<text x="{name_at[0]}" y="{name_at[1]}" font-weight="{weight}" '
        f'style="fill: {INK}">{html.escape(answer.tool)}</text>'
    ]
    reach = x(answer.joules or 0)
    if answer.interval is not None:
        low, high = map(x, answer.interval)
        reach = high
        drawn.append(
            f'<rect x="{low}" y="{middle - 5}" width="{high - low:.1f}" height="10" rx="5" '
            f'fill="url(#{pattern})" style="stroke: {ACCENT}"/>'
        )
    if answer.joules is not None:
        drawn.append(f'<circle cx="{x(answer.joules)}" cy="{middle}" r="6" style="fill: {color}"/>')
    start = reach + (0 if narrow and answer.joules is None else 14)
    drawn.append(
        f'<text x="{start:.1f}" y="{middle + 5}" font-weight="{weight}" '
        f'style="fill: {color if answer.joules is not None else MUTED}">'
        f"{html.escape(answer.label)}</text>"
    )
    return "".join(drawn)


def share_figure(results: Mapping[str, Any]) -> Figure:
    """The same answers on a card with the course's name and its question, to be made a PNG."""
    from matplotlib.figure import Figure

    from greenkit import plot

    teal = "#0b6258"
    found = answers(results)
    with plot.style():
        figure = Figure(figsize=(12, 6.3), dpi=100)
        figure.set_layout_engine("none")
        figure.text(0.06, 0.87, "Joules per Token", fontsize=21, color=teal, weight="bold")
        figure.text(0.06, 0.66, QUESTION, fontsize=30, weight="bold", linespacing=1.25)
        axes = figure.add_axes((0.21, 0.12, 0.70, 0.44))
        for i, answer in enumerate(reversed(found)):
            color = teal if answer.word else plot.INK
            reach = answer.joules or 0.0
            if answer.interval is not None:
                low, reach = answer.interval
                axes.barh(i, reach - low, 0.3, low, color="none", edgecolor=teal, hatch="////")
            if answer.joules is not None:
                axes.plot([answer.joules], [i], "o", color=color, markersize=11, clip_on=False)
            axes.text(reach + 11, i, answer.label, va="center", color=color, fontsize=17)
        axes.set_yticks(range(len(found)), [a.tool for a in reversed(found)], fontsize=17)
        axes.set_xlim(0, 500)
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0, labelsize=17, pad=12)
        axes.xaxis.set_major_formatter("{x:g} J")
    return figure


def _count(found: Sequence[Answer]) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[len(found)]


def main() -> int:
    """Write both pictures; returns 1 where the comparison was not recorded yet."""
    import io

    results = tool_results()
    if results is None:
        print(NOT_RECORDED)
        return 1
    (ROOT / PAGE_FIGURE).write_text(page_figure(results), encoding="utf-8")
    picture = io.BytesIO()
    share_figure(results).savefig(picture, format="png", dpi=100, metadata={"Software": None})
    (ROOT / SHARED).write_bytes(picture.getvalue())
    print(f"wrote {PAGE_FIGURE} and {SHARED}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
