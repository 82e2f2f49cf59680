"""What a notebook embeds: the calculator's HTML, and its text where there is no browser."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from greenkit.authoring.calculators import calculator, calculator_html, calculator_text
from greenkit.foundations.footprint import operational_carbon, serving_energy, training_energy
from greenkit.foundations.grids import SOURCE, grid, grid_codes

GPT3 = {"chips": 10_000, "hours": 355.2, "power_w": 330, "pue": 1.1}


class Element(HTMLParser):
    """The name, the attributes and the text of one custom element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.name, self.attributes, self.text = "", {}, ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag.startswith("gk-"):
            self.name, self.attributes = tag, dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_outside_jupyter_it_prints_the_result_of_the_starting_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calculator("training", **GPT3)
    assert str(training_energy(**GPT3)) in capsys.readouterr().out


def test_the_element_holds_the_same_text_for_pages_without_javascript() -> None:
    start = {"joules_per_token": 0.455, "tokens": 500, "pue": 1.54}
    element = Element(calculator_html("token", **start))
    assert element.name == "gk-token"
    assert element.text == calculator_text("token", **start)
    assert str(serving_energy(**start)) in element.text


def test_the_text_spans_the_grids_from_the_least_to_the_most_carbon() -> None:
    text = calculator_text("training", **GPT3)
    for code in ("ISL", "IND"):
        carbon = operational_carbon(training_energy(**GPT3), grid(code))
        assert f"{carbon.text} at {grid(code)}" in text


def test_the_grids_are_those_of_the_package() -> None:
    element = Element(calculator_html("training", **GPT3))
    known = [[p.name, p.g_per_kwh, p.year] for p in map(grid, grid_codes())]
    assert json.loads(element.attributes["grids"]) == known
    assert element.attributes["source"] == SOURCE


@pytest.mark.parametrize("value", [1.0, 1e9, 0.1 + 0.2, 1e300, 2.5e-7])
def test_a_starting_value_keeps_every_digit(value: float) -> None:
    element = Element(calculator_html("token", joules_per_token=value, tokens=1))
    assert float(element.attributes["joules_per_token"]) == value


def test_whole_numbers_stand_as_one_types_them() -> None:
    attributes = Element(calculator_html("token", joules_per_token=2.0, tokens=1e9)).attributes
    assert (attributes["joules_per_token"], attributes["tokens"]) == ("2", "1000000000")


def test_without_a_pue_the_facility_is_left_out() -> None:
    assert "PUE 1 =" in calculator_text("token", joules_per_token=2, tokens=3600)


def test_an_unknown_kind_names_the_kinds() -> None:
    with pytest.raises(ValueError, match="one of training, token; got 'query'"):
        calculator("query", tokens=1)


@pytest.mark.parametrize("start", [{"chips": 1}, {**GPT3, "grid": 56}, {}])
def test_missing_and_unknown_values_are_refused(start: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="starts from chips, hours, power_w, pue; got"):
        calculator_html("training", **start)


def test_what_the_formula_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        calculator("token", joules_per_token=1, tokens=1, pue=0.9)
