"""The calculators in a real Chromium: what they show is what greenkit computes, to the digit."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from greenkit.authoring.calculators import calculator_html
from greenkit.foundations import Grid, Quantity, grid, grid_codes
from greenkit.foundations.footprint import operational_carbon, serving_energy, training_energy
from greenkit.foundations.grids import SOURCE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHAPTER = "book/foundations/carbon.html"
DESKTOP, PHONE = {"width": 1366, "height": 900}, {"width": 390, "height": 844}
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
AXE_OPTIONS = {
    "runOnly": {"type": "tag", "values": AXE_TAGS},
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
}
START = {
    "training": {"chips": 8, "hours": 10, "power_w": 300, "pue": 1.1},
    "token": {"joules_per_token": 2, "tokens": 3600, "pue": 1.5},
}
ENERGY = {"training": training_energy, "token": serving_energy}


class Case(NamedTuple):
    """What is typed into one calculator; `place` is a code, a bare gCO2e/kWh, or nothing."""

    kind: str
    inputs: dict[str, float]
    place: str | float | None

    @property
    def energy(self) -> Quantity:
        return ENERGY[self.kind](**self.inputs)

    @property
    def lines(self) -> list[str]:
        """What the calculator must show, computed by greenkit."""
        first = f"{self.energy.text} {self.energy.label}"
        if self.place is None:
            return [first, "Name a grid to see its carbon."]
        if isinstance(self.place, str):
            named, source = grid(self.place), f"; {SOURCE}"
            where = str(named)
        else:
            named, source = Grid("your own figure", self.place, 0, "typed by the reader"), ""
            where = str(named).replace("your own figure 0", "your own figure")
        carbon = operational_carbon(self.energy, named).text
        return [
            first,
            f"{carbon} published (computed from your inputs: this energy × {where}{source})",
        ]


def random_cases(count: int = 120) -> list[Case]:
    """Inputs over many orders of magnitude, with few digits and with all of them."""
    rng = random.Random(20250131)
    places = [None, *grid_codes(), 0.5, 12.0, 1234567.0]

    def some(low: float, high: float) -> float:
        value = 10 ** rng.uniform(low, high)
        return value if rng.random() < 0.5 else float(f"{value:.2g}")

    found = []
    for _ in range(count // 2):
        pue = rng.choice([1.0, 1.09, 1 + rng.random()])
        run = {"chips": some(0, 6), "hours": some(-3, 5), "power_w": some(-1, 3.2), "pue": pue}
        served = {"joules_per_token": some(-6, 2), "tokens": some(0, 15), "pue": pue}
        found.append(Case("training", run, rng.choice(places)))
        found.append(Case("token", served, rng.choice(places)))
    return found


def run_case(watts: float, place: str | float | None = None) -> Case:
    return Case("training", {"chips": 1, "hours": 1, "power_w": watts, "pue": 1}, place)


# Ties between two last digits (Python rounds them to even), changes of prefix and of format, the
# step from grams to tonnes, and numbers near the ends of what a double holds.
TIES = [26.625, 1062.5, 1_234_500.0, 1_235_500.0, 999_500.0, 0.8125, 2.0**-20, 100.25]
STEPS = [999.4, 999.5, 1e6, 999_999.0, 1e9, 9.9995e12, 1e-9, 1e-12, 0.09995, 1e-5, 1e21, 3e25]
ENDS = [5e-324, 1e-300, 1e300]
EDGES = [
    *(run_case(watts, place) for watts in TIES + STEPS for place in (None, 400.0)),
    *(run_case(watts) for watts in ENDS),
    *(run_case(1e6, g) for g in (999.0, 1000.0, 1001.0, 1e6, 0.0001, 1e-5)),
    *(run_case(1.0, code) for code in grid_codes()),
    run_case(1.0, 0.0),  # a market-based zero
]


@pytest.fixture(scope="module")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with both calculators and nothing else than the book's own script and style."""
    folder = tmp_path_factory.mktemp("calculators")
    for name in ("gk-calculators.js", "gk-style.css"):
        shutil.copy(ROOT / "_static" / name, folder)
    elements = "".join(calculator_html(kind, **start) for kind, start in START.items())
    page = folder / "page.html"
    page.write_text(
        '<!doctype html><html lang="en" data-theme="light"><head><title>Calculators</title>'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<link rel="stylesheet" href="gk-style.css"><script src="gk-calculators.js"></script>'
        f"</head><body><main><h1>Calculators</h1>{elements}</main></body></html>",
        encoding="utf-8",
    )
    return page


@pytest.fixture
def opened(chromium: Any, minimal: Path) -> Iterator[Any]:
    """The minimal page, opened from disk in a new profile."""
    profile = chromium.new_context(viewport=PHONE)
    page = profile.new_page()
    page.goto(minimal.as_uri())
    yield page
    profile.close()


def fill(page: Any, case: Case) -> Any:
    """Type a case into its calculator, which is returned."""
    shown = page.locator(f"gk-{case.kind}")
    own = isinstance(case.place, float)
    option = "other" if own else grid(case.place).name if case.place else "name a grid"
    labels = shown.locator("option").all_text_contents()
    at = next(i for i, label in enumerate(labels) if label.startswith(option))
    shown.locator("select").select_option(index=at)
    typed = {**case.inputs, "own": case.place} if own else case.inputs
    for name, value in typed.items():
        shown.locator(f"input[name={name}]").fill(repr(value))
    return shown


def lines(shown: Any) -> list[str]:
    return shown.locator("output > span").all_text_contents()


def test_each_result_is_that_of_greenkit_to_the_printed_digit(opened: Any) -> None:
    cases = [*random_cases(), *EDGES]
    assert len(cases) > 160
    wrong = [
        (case.inputs, case.place, found, case.lines)
        for case in cases
        if (found := lines(fill(opened, case))) != case.lines
    ]
    assert wrong == []


def test_the_starting_values_give_the_text_that_stands_without_javascript(opened: Any) -> None:
    for kind, start in START.items():
        energy = ENERGY[kind](**start)
        assert lines(opened.locator(f"gk-{kind}"))[0] == f"{energy.text} {energy.label}"
        assert str(energy) in calculator_html(kind, **start)


def test_without_javascript_the_text_is_there(chromium: Any, minimal: Path) -> None:
    profile = chromium.new_context(java_script_enabled=False)
    page = profile.new_page()
    page.goto(minimal.as_uri())
    for kind, start in START.items():
        assert str(ENERGY[kind](**start)) in page.locator(f"gk-{kind}").inner_text()
    profile.close()


def test_with_javascript_no_text_is_left_beside_the_form(opened: Any) -> None:
    for kind in START:
        assert opened.locator(f"gk-{kind}").evaluate(
            "element => [...element.children].map(child => child.localName)"
        ) == ["p", "fieldset", "output"]


def test_no_country_is_preselected_and_then_there_is_no_carbon(opened: Any) -> None:
    for kind in START:
        shown = opened.locator(f"gk-{kind}")
        assert shown.locator("option:checked").text_content() == "name a grid"
        assert "CO2e" not in shown.locator("output").text_content()


def test_taking_the_grid_away_takes_the_carbon_away(opened: Any) -> None:
    case = run_case(1000.0, "FRA")
    shown = fill(opened, case)
    assert "gCO2e" in shown.locator("output").text_content()
    shown.locator("select").select_option(index=0)
    assert "CO2e" not in shown.locator("output").text_content()


def test_everything_can_be_done_with_the_keyboard(opened: Any) -> None:
    keys = opened.keyboard
    for typed in ("10000", "355.2", "330", "1.1"):
        keys.press("Tab")
        keys.press("Control+A")
        keys.type(typed)
    keys.press("Enter")
    keys.press("Tab")
    keys.type("Fra")
    inputs = {"chips": 10_000, "hours": 355.2, "power_w": 330, "pue": 1.1}
    assert lines(opened.locator("gk-training")) == Case("training", inputs, "FRA").lines
    keys.press("Tab")
    assert opened.evaluate("document.activeElement.name") == "joules_per_token"


def test_another_grid_is_typed_with_the_keyboard(opened: Any) -> None:
    opened.locator("gk-token select").focus()
    opened.keyboard.type("other")
    opened.keyboard.press("Tab")
    opened.keyboard.type("125")
    assert lines(opened.locator("gk-token")) == Case("token", START["token"], 125.0).lines


@pytest.mark.parametrize(
    ("name", "typed", "sentence"),
    [
        ("chips", "", "Chips is empty: type a number."),
        ("chips", "   ", "Chips is empty: type a number."),
        ("chips", "-3", "Chips must be above zero."),
        ("hours", "0", "Hours must be above zero."),
        ("hours", "1e999", "Hours is not a number here"),
        ("power_w", "1,5", "Mean watts per chip is not a number here"),
        ("power_w", "300 W", "Mean watts per chip is not a number here"),
        ("power_w", "0x10", "Mean watts per chip is not a number here"),
        ("pue", "0.99", "so it is at least one."),
        ("pue", "NaN", "PUE is not a number here"),
        ("pue", "-1", "so it is at least one."),
    ],
)
def test_bad_input_gets_a_sentence_and_no_number(
    opened: Any, name: str, typed: str, sentence: str
) -> None:
    shown = fill(opened, run_case(1000.0, "FRA"))
    shown.locator(f"input[name={name}]").fill(typed)
    said = shown.locator("output").text_content()
    assert sentence in said
    assert not any(character.isdigit() for character in said)
    assert shown.locator("[aria-invalid=true]").get_attribute("name") == name
    shown.locator(f"input[name={name}]").fill("2")
    assert shown.locator("[aria-invalid=true]").count() == 0
    assert "kWh" in shown.locator("output").text_content()


def test_a_product_beyond_arithmetic_gets_a_sentence(opened: Any) -> None:
    case = Case("training", {"chips": 1e200, "hours": 1e200, "power_w": 1, "pue": 1}, None)
    assert lines(fill(opened, case)) == ["Together these numbers are too large to multiply."]


@pytest.mark.parametrize("typed", ["", "-5", "fifty"])
def test_a_bad_grid_of_ones_own_leaves_the_energy_and_no_carbon(opened: Any, typed: str) -> None:
    shown = fill(opened, run_case(1000.0, 50.0))
    shown.locator("input[name=own]").fill(typed)
    energy, said = lines(shown)
    assert energy == run_case(1000.0).lines[0]
    assert said.startswith("Its gCO2e per kWh")
    assert not any(character.isdigit() for character in said.removeprefix("Its gCO2e per kWh"))


def test_each_input_has_its_label_and_the_result_is_announced(opened: Any) -> None:
    for label in ("Chips", "Hours", "Mean watts per chip", "PUE", "Grid"):
        assert opened.locator("gk-training").get_by_label(label, exact=True).count() == 1
    for label in ("Joules per token", "Tokens", "PUE", "Grid"):
        assert opened.locator("gk-token").get_by_label(label, exact=True).count() == 1
    assert opened.locator("output[aria-live=polite]").count() == len(START)


def test_print_keeps_the_result_and_hides_the_inputs(opened: Any) -> None:
    fill(opened, run_case(1000.0, "FRA"))
    opened.emulate_media(media="print")
    assert not opened.locator("gk-training fieldset").is_visible()
    assert opened.locator("gk-training output").is_visible()
    assert opened.locator("gk-training .gk-card-title").is_visible()


def test_nothing_is_requested_and_nothing_fails(chromium: Any, minimal: Path) -> None:
    page = chromium.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(Path(request.url).name))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(minimal.as_uri())
    fill(page, run_case(1000.0, 125.0))
    assert (sorted(asked), errors) == (["gk-calculators.js", "gk-style.css", "page.html"], [])
    page.close()


def test_no_result_is_wider_than_a_phone(opened: Any) -> None:
    inputs = {"chips": 1.23456789012e20, "hours": 9.87654321e20, "power_w": 1e33, "pue": 1.5}
    fill(opened, Case("training", inputs, 1234567.0))
    assert opened.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_with_a_result_and_with_a_fault(
    chromium: Any, site: Path, theme: str, viewport: dict[str, int]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    profile = chromium.new_context(color_scheme=theme, viewport=viewport)
    page = profile.new_page()
    page.goto((site / CHAPTER).as_uri())
    assert page.get_attribute("html", "data-theme") == theme
    fill(page, run_case(1000.0, 125.0))
    page.locator("gk-token input[name=pue]").fill("0")
    assert page.locator(".gk-fault").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    found = Axe().run(page, options=AXE_OPTIONS)
    assert found.violations_count == 0, found.generate_report()
    profile.close()


@pytest.mark.parametrize("way", ["disk", "http"])
def test_the_chapter_calculates(chromium: Any, site: Path, server: str, way: str) -> None:
    page = chromium.new_page()
    page.goto((site / CHAPTER).as_uri() if way == "disk" else f"{server}/{CHAPTER}")
    for case in random_cases(4):
        assert lines(fill(page, case)) == case.lines
    page.close()
