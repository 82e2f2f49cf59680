"""Carbon intensities: named grids, named sources, and no default country."""

from __future__ import annotations

import pytest

from greenkit.foundations import Grid, grid, grid_codes
from greenkit.foundations.rows import MixedSourcesError


def test_a_grid_prints_its_year_and_what_it_lacks() -> None:
    assert str(grid("FRA")) == ("56 gCO2e/kWh (France 2023, grid uncertainty not included)")


def test_an_unknown_country_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match="no carbon intensity for 'XXX'; known: AUS, BRA"):
        grid("XXX")


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

    def test_years_differ_and_are_named(self) -> None:
        earlier, later = (grid("FRA", source="ember", year=y) for y in (2023, 2024))
        assert (earlier.year, later.year) == (2023, 2024)
        assert later.vs(earlier) < 1

    def test_an_unknown_area_or_year_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no area 'XXX'"):
            grid("XXX", source="ember")
        with pytest.raises(ValueError, match="Ember has France for 2023, 2024, 2025, not for 1990"):
            grid("FRA", source="ember", year=1990)
