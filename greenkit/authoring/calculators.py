"""Calculators in a page: what a reader types, through the same formulas as the footprints.

``calculator("training", …)`` in the last line of a cell shows a form in the built book, where
``_static/gk-calculators.js`` gives it life. Everywhere else (Jupyter, Colab, GitHub, a terminal) it
shows what its starting values give. Its grids are this package's; none of them is preselected.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass

from greenkit.course.show import in_jupyter
from greenkit.foundations.footprint import operational_carbon, serving_energy, training_energy
from greenkit.foundations.grids import SOURCE, Grid, grid, grid_codes
from greenkit.foundations.quantity import Quantity


@dataclass(frozen=True)
class Calculator:
    """One kind of calculator: its element in the page, its title, and the formula behind it."""

    element: str
    title: str
    takes: tuple[str, ...]
    energy: Callable[..., Quantity]


CALCULATORS = {
    "training": Calculator(
        "gk-training",
        "Energy and carbon of a training run",
        ("chips", "hours", "power_w", "pue"),
        training_energy,
    ),
    "token": Calculator(
        "gk-token",
        "Energy and carbon of tokens served",
        ("joules_per_token", "tokens", "pue"),
        serving_energy,
    ),
}


def calculator(kind: str, **start: float) -> None:
    """Show a calculator that starts from the given values.

    ``"training"`` takes `chips`, `hours`, `power_w` (mean watts of one chip) and `pue`; ``"token"``
    takes `joules_per_token`, `tokens` and `pue`. `pue` is 1 where it is left out, which leaves the
    facility out. Put the call last in a cell, tagged ``hide-input``. Outside Jupyter it prints the
    result of the starting values. Raises ValueError for another kind, for a value that is missing
    or unknown, and for one that the formula refuses.

    >>> calculator("token", joules_per_token=2, tokens=3600)  # doctest: +ELLIPSIS
    Energy and carbon of tokens served: 2 Wh, published (computed from your inputs: ...
    """
    text = calculator_text(kind, **start)
    if not in_jupyter():
        print(text)
        return
    from IPython.display import display

    page = calculator_html(kind, **start)
    display({"text/html": page, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]


def calculator_text(kind: str, **start: float) -> str:
    """What a calculator's starting values give: the energy, and the carbon on two named grids.

    Raises ValueError as `calculator` does.
    """
    known, values = _checked(kind, start)
    energy = known.energy(**values)
    places = sorted((grid(code) for code in grid_codes()), key=lambda place: place.g_per_kwh)
    least, most = (
        f"{operational_carbon(energy, place).text} at {place}" for place in (places[0], places[-1])
    )
    return (
        f"{known.title}: {energy}. Carbon needs a named grid; among {len(places)} countries it "
        f"goes from {least} to {most}. Source of the grids: {SOURCE}."
    )


def calculator_html(kind: str, **start: float) -> str:
    """The calculator's HTML element: grids and starting values as attributes, the text inside.

    Raises ValueError as `calculator` does.
    """
    known, values = _checked(kind, start)
    attributes = {
        "class": "gk-card gk-calculator",
        "heading": known.title,
        **{name: _typed(value) for name, value in values.items()},
        "grids": json.dumps([_option(grid(code)) for code in grid_codes()], ensure_ascii=False),
        "source": SOURCE,
    }
    spelled = " ".join(f'{name}="{html.escape(text)}"' for name, text in attributes.items())
    inside = html.escape(calculator_text(kind, **start))
    return f"<{known.element} {spelled}><p>{inside}</p></{known.element}>"


def _checked(kind: str, start: dict[str, float]) -> tuple[Calculator, dict[str, float]]:
    if kind not in CALCULATORS:
        raise ValueError(f"a calculator is one of {', '.join(CALCULATORS)}; got {kind!r}")
    known = CALCULATORS[kind]
    values = {"pue": 1.0, **start}
    if set(values) != set(known.takes):
        raise ValueError(
            f"the {kind} calculator starts from {', '.join(known.takes)}; "
            f"got {', '.join(start) or 'nothing'}"
        )
    return known, {name: values[name] for name in known.takes}


def _option(place: Grid) -> tuple[str, float, int]:
    return place.name, place.g_per_kwh, place.year


def _typed(value: float) -> str:
    """A number as one would type it, without losing a digit."""
    whole = value == int(value) and abs(value) < 1e15
    return str(int(value)) if whole else repr(value)
