"""Carbon intensities: named grids, named sources, and no default country."""

from __future__ import annotations

import re

import pytest

from greenkit.foundations import Grid, grid, grid_codes
from greenkit.foundations.countries import _OF_TWO_LETTERS
from greenkit.foundations.rows import MixedSourcesError


def test_a_grid_prints_its_year_and_what_it_lacks() -> None:
    assert str(grid("FRA")) == ("56 gCO2e/kWh (France 2023, grid uncertainty not included)")


def test_an_unknown_country_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match="no carbon intensity for 'XXX'; known: AUS, BRA"):
        grid("XXX")


@pytest.mark.parametrize("code", ["FRA", "fra", "FR", "fr", "France", "FRANCE", " france "])
def test_a_country_is_known_by_its_codes_and_its_name_in_any_case(code: str) -> None:
    assert grid(code) == grid("FRA")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UK", "GBR"),
        ("gb", "GBR"),
        ("Great Britain", "GBR"),
        ("U.S.A.", "USA"),
        ("us", "USA"),
        ("united  states of america", "USA"),
        ("Korea", "KOR"),
        ("the Netherlands", "NLD"),
        ("ch", "CHE"),
        ("CN", "CHN"),
    ],
)
def test_a_country_is_known_by_its_other_names(name: str, code: str) -> None:
    assert grid(name) == grid(code)


def test_each_row_is_known_by_its_name_and_its_two_letters() -> None:
    for code in grid_codes():
        assert grid(grid(code).name) == grid(code)
        letters = [two for two, three in _OF_TWO_LETTERS.items() if three == code]
        assert letters
        assert {grid(two) for two in letters} == {grid(code)}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("Frnace", "FRA (France)"), ("germny", "DEU (Germany)"), ("Irland", "IRL (Ireland)")],
)
def test_an_unknown_country_gets_those_that_are_written_alike(typed: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {re.escape(meant)}"):
        grid(typed)


@pytest.mark.parametrize("code", ["", "Portugal", "PT", "F", "europe"])
def test_a_country_without_a_row_is_sent_to_ember(code: str) -> None:
    with pytest.raises(ValueError, match="For another country pass source='ember'"):
        grid(code)


@pytest.mark.parametrize("code", [None, 33, grid("FRA")])
def test_what_is_no_text_is_refused(code: object) -> None:
    with pytest.raises(TypeError, match="a country is a name or a code such as 'FRA'"):
        grid(code)  # type: ignore[arg-type]


def test_a_year_that_the_source_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="has France for 2023, not for 2020"):
        grid("FRA", year=2020)


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="'owid' or 'ember', got 'iea'"):
        grid("FRA", source="iea")


def test_each_grid_lies_between_hydro_and_coal() -> None:
    assert all(10 < grid(code).g_per_kwh < 1000 for code in grid_codes())


def test_two_sources_are_not_compared_unless_asked() -> None:
    one, other = grid("FRA"), Grid("Germany", 344, 2024, "another source")
    with pytest.raises(MixedSourcesError, match="across=True"):
        one.vs(other)
    assert one.vs(other, across=True) == pytest.approx(56 / 344)
    assert grid("POL").vs(grid("NOR")) == pytest.approx(662 / 30)


@pytest.mark.slow
class TestEmber:
    """Ember's table, fetched once out of a package."""

    def test_the_world_of_2024_is_what_ember_prints(self) -> None:
        assert grid("WLD", source="ember").g_per_kwh == 473

    @pytest.mark.parametrize("name", ["pt", "Portugal", "PRT"])
    def test_countries_have_two_letters_and_names(self, name: str) -> None:
        assert grid(name, source="ember") == grid("PRT", source="ember")

    def test_the_world_has_a_name(self) -> None:
        assert grid("world", source="ember") == grid("WLD", source="ember")

    def test_years_differ_and_are_named(self) -> None:
        earlier, later = (grid("FRA", source="ember", year=y) for y in (2023, 2024))
        assert (earlier.year, later.year) == (2023, 2024)
        assert later.vs(earlier) < 1

    def test_an_unknown_area_or_year_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no area 'XXX'"):
            grid("XXX", source="ember")
        with pytest.raises(ValueError, match="Ember has France for 2023, 2024, 2025, not for 1990"):
            grid("FRA", source="ember", year=1990)
