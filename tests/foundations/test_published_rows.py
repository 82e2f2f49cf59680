"""Published rows agree with what else their sources print, and say how they were checked."""

from __future__ import annotations

import pytest

from greenkit.foundations import formulas
from greenkit.foundations.demand import (
    DATA_CENTERS,
    INSTANCES_2018,
    SCENARIOS_2030,
    UPDATE_2026,
    US_HOME,
    yearly_growth,
)
from greenkit.foundations.experts import SERVED, SIZES
from greenkit.foundations.flops import GPT3_PARAMETERS, GPT3_SHAPE, GPT3_TOKENS
from greenkit.foundations.grids import FRANCE_ELSEWHERE, LIFE_CYCLE_MEDIANS, grid
from greenkit.foundations.inferences import (
    GEMINI_CARBON,
    GEMINI_ELECTRICITY,
    GEMINI_WATER,
    GEMINI_WATER_RATE,
    TASKS,
)
from greenkit.foundations.levers import CAPPED_ENERGY, CAPPED_TIME
from greenkit.foundations.published import JOULES_PER_TOKEN
from greenkit.foundations.rows import TAGS, Row, find
from greenkit.foundations.runs import CARD_EMBODIED, run
from greenkit.foundations.water import FACILITY, OFF_SITE, ON_SITE, PRINTED, REQUEST

ROWS = (
    US_HOME,
    *DATA_CENTERS,
    *SCENARIOS_2030,
    *UPDATE_2026,
    INSTANCES_2018,
    *TASKS,
    GEMINI_CARBON,
    GEMINI_ELECTRICITY,
    GEMINI_WATER,
    GEMINI_WATER_RATE,
    *LIFE_CYCLE_MEDIANS,
    CAPPED_ENERGY,
    CAPPED_TIME,
    CARD_EMBODIED,
    REQUEST,
    ON_SITE,
    OFF_SITE,
    FACILITY,
    PRINTED,
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name} {row.year}")
def test_each_row_says_how_it_was_checked(row: Row) -> None:
    assert row.tag in TAGS
    assert 2000 < row.year < 2100


def test_two_sources_of_demand_meet() -> None:
    # The IEA prints a growth of 12 % a year since 2017; counted back it meets Masanet's 2018.
    counted_back = find(DATA_CENTERS, "2024").value / 1.12**6
    assert counted_back == pytest.approx(find(DATA_CENTERS, "2018").value, rel=0.05)


def test_demand_rose_by_six_percent_while_instances_rose_6_5_times() -> None:
    rise = find(DATA_CENTERS, "2018").value / find(DATA_CENTERS, "2010").value
    assert rise == pytest.approx(1.06, abs=0.005)
    assert INSTANCES_2018.value == 6.5


def test_growth_is_yearly_and_forward() -> None:
    growth = yearly_growth(find(DATA_CENTERS, "2024"), find(SCENARIOS_2030, "Base"))
    assert 415 * (1 + growth) ** 6 == pytest.approx(945)
    with pytest.raises(ValueError, match="is not after 2030"):
        yearly_growth(find(SCENARIOS_2030, "Base"), find(DATA_CENTERS, "2024"))


def test_the_tasks_span_more_than_the_paper_says() -> None:
    energies = [row.value for row in TASKS]
    assert energies == sorted(energies)
    assert max(energies) / min(energies) > 1450


def test_active_parameters_and_tokens_give_the_printed_flops() -> None:
    gpt3 = next(size for size in SIZES if size.name == "GPT-3")
    assert gpt3.parameters == GPT3_PARAMETERS
    flops = formulas.training_flops(gpt3.active, GPT3_TOKENS)
    assert flops == pytest.approx(run("GPT-3").flops, rel=0.01)
    assert [f"{size.active / 1e9:.2g}" for size in SIZES] == ["1.8e+02", "1.5", "1.5"]


def test_a_model_that_stands_in_two_tables_has_one_value() -> None:
    llama = next(served for served in SERVED if served.name == "Llama 8B")
    assert [llama.at_eight_j, llama.at_best_j] == [row.low for row in JOULES_PER_TOKEN[1:]]


def test_dense_models_cost_in_proportion_and_mixtures_several_times_more() -> None:
    llama = next(served for served in SERVED if served.name == "Llama 8B")
    over = {
        served.name: served.at_eight_j / (llama.at_eight_j * served.active / llama.active)
        for served in SERVED
    }
    assert all((over[served.name] > 4) == served.mixture for served in SERVED)
    assert all(0.8 < over[s.name] < 1.2 for s in SERVED if not s.mixture)


def test_gpt3s_shape_has_its_parameters() -> None:
    matrices = GPT3_SHAPE.projection_weights + GPT3_SHAPE.mlp_weights + GPT3_SHAPE.head_weights
    assert matrices == pytest.approx(GPT3_PARAMETERS, rel=0.01)


def test_the_water_of_a_request_follows_from_its_inputs() -> None:
    liters = formulas.water(REQUEST.value, ON_SITE.value, OFF_SITE.value, FACILITY.value)
    assert 1000 * liters == pytest.approx(PRINTED.value, abs=0.01)


def test_marginal_power_in_france_emits_more_than_every_average() -> None:
    marginal = FRANCE_ELSEWHERE["marginal"].g_per_kwh
    averages = [FRANCE_ELSEWHERE["older edition"], FRANCE_ELSEWHERE["third source"], grid("FRA")]
    assert marginal > 2.5 * max(average.g_per_kwh for average in averages)


def test_fossil_medians_lie_far_above_all_others() -> None:
    medians = {row.name: row.value for row in LIFE_CYCLE_MEDIANS}
    fossil = {"coal", "gas, combined cycle"}
    others = [value for name, value in medians.items() if name not in fossil]
    assert min(medians[name] for name in fossil) > 2 * max(others)
