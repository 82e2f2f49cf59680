"""Published runs recomputed from their inputs, and sources that must not be mixed."""

from __future__ import annotations

import pytest

from greenkit.foundations import formulas
from greenkit.foundations.facilities import MEASURED_POWER, OPERATION_ENERGY, PUE, TDP
from greenkit.foundations.inferences import (
    GEMINI_CARBON,
    GEMINI_ELECTRICITY,
    GEMINI_WATER,
    GEMINI_WATER_RATE,
)
from greenkit.foundations.published_run import PublishedRun
from greenkit.foundations.rows import TAGS, MixedSourcesError, Row, find, same
from greenkit.foundations.runs import (
    BLOOM,
    BLOOM_LIFE_CYCLE_T,
    BLOOMZ_KWH,
    GEMINI_PROMPT_WH,
    RUNS,
    run,
)

WH_PER_MWH, G_PER_T = 1e6, 1e6


def tonnes(published: PublishedRun) -> float:
    """Carbon of a run in tCO2e."""
    carbon = published.carbon()
    return carbon.value if carbon.unit == "tCO2e" else carbon.value / G_PER_T


@pytest.mark.parametrize("published", [r for r in RUNS if r.printed_mwh], ids=lambda r: r.name)
def test_energy_agrees_with_what_the_source_prints(published: PublishedRun) -> None:
    recomputed = published.energy().value / WH_PER_MWH
    assert recomputed == pytest.approx(published.printed_mwh, rel=published.printed_within)


@pytest.mark.parametrize(
    "published", [r for r in RUNS if r.printed_t and r.kg_per_kwh], ids=lambda r: r.name
)
def test_carbon_agrees_with_what_the_source_prints(published: PublishedRun) -> None:
    assert tonnes(published) == pytest.approx(published.printed_t, rel=published.printed_within)


def test_only_rounding_excuses_more_than_one_percent() -> None:
    loose = {r.name: r.printed_within for r in RUNS if r.printed_within > 0.01}
    assert set(loose) == {
        "Transformer big, TPU v2, Iowa",
        "Evolved Transformer, TPU v2, Iowa",
        "Transformer base, 8 P100",
    }
    assert max(loose.values()) < 0.02


@pytest.mark.parametrize("card", ["llama3card", "llama31card"])
def test_llama_3_cards_imply_one_carbon_intensity(card: str) -> None:
    rows = [r for r in RUNS if r.source == card]
    implied = [1000 * (r.printed_t or 0) / (r.energy().value / 1000) for r in rows]
    assert all(0.41 <= kg_per_kwh <= 0.43 for kg_per_kwh in implied)


def test_llama_cards_add_up() -> None:
    hours = {c: sum(r.chip_hours for r in RUNS if r.source == c) for c in ("llama31card",)}
    assert hours["llama31card"] == pytest.approx(39.3e6)
    assert sum(r.printed_t or 0 for r in RUNS if r.source == "llama31card") == 11_390
    # The card of Llama 2 prints 3,311,616 h and 539.00 t in all, and leaves out the 34B model.
    rows = [r for r in RUNS if r.source == "llama2card"]
    missing_h = 3_311_616 - sum(r.chip_hours for r in rows)
    missing = PublishedRun("34B", missing_h, 350, "", 1.1, 2023, "llama2card", "primary", 0.385)
    assert sum(r.printed_t or 0 for r in rows) + tonnes(missing) == pytest.approx(539.0, rel=0.001)


def test_bloom_adds_up() -> None:
    assert BLOOM.energy().value == pytest.approx(433_196e3)
    assert sum(BLOOM_LIFE_CYCLE_T.values()) == pytest.approx(50.5, rel=0.001)
    assert formulas.facility_energy(BLOOM_LIFE_CYCLE_T["dynamic"], 1.2) == pytest.approx(
        30, rel=0.02
    )


@pytest.mark.parametrize("model", BLOOMZ_KWH)
def test_bloomz_breaks_even_where_the_paper_says(model: str) -> None:
    training, tuning, inference, printed = BLOOMZ_KWH[model]
    joules = [3.6e6 * kwh for kwh in (training + tuning, inference)]
    assert formulas.break_even(*joules) == pytest.approx(printed, rel=0.001)


def test_a_gemini_prompt_adds_up() -> None:
    whole = sum(GEMINI_PROMPT_WH.values())
    assert whole == pytest.approx(0.24)
    shares = [round(100 * part / whole) for part in GEMINI_PROMPT_WH.values()]
    assert shares == [58, 25, 8, 8]  # the paper prints 10 % for idle machines, from unrounded parts


def test_gemini_carbon_and_water_agree_within_their_rounding() -> None:
    whole_kwh = sum(GEMINI_PROMPT_WH.values()) / 1000
    assert GEMINI_CARBON.value / whole_kwh == pytest.approx(125, rel=0.01)
    assert GEMINI_ELECTRICITY.value / whole_kwh == pytest.approx(96, rel=0.01)
    # The water is that of the computers, whose parts are rounded to 0.01 Wh.
    computers_kwh = whole_kwh - GEMINI_PROMPT_WH["facility overhead"] / 1000
    low, high = (
        1000 * formulas.water(computers_kwh + error, GEMINI_WATER_RATE.value, 0, pue=1)
        for error in (-1e-5, 1e-5)
    )
    assert low <= GEMINI_WATER.value <= high


def test_two_boundaries_are_not_compared_unless_asked() -> None:
    gpt3 = run("GPT-3")
    with pytest.raises(MixedSourcesError, match="BLOOM is cards only"):
        BLOOM.vs(gpt3)
    assert gpt3.vs(BLOOM, across=True) == pytest.approx(2.98, abs=0.01)
    assert gpt3.it_energy().value / BLOOM.it_energy().value == pytest.approx(2.71, abs=0.01)


@pytest.mark.parametrize(
    ("name", "tflop_per_s"),
    [
        ("Evolved Transformer NAS", 24.8),
        ("T5 11B", 45.6),
        ("Meena", 42.3),
        ("GShard 600B", 48.0),
        ("Switch Transformer", 34.4),
        ("GPT-3", 24.6),
    ],
)
def test_flops_over_chip_hours_are_the_rate_that_patterson_prints(
    name: str, tflop_per_s: float
) -> None:
    published = run(name)
    assert published.flops is not None
    rate = published.flops / (published.chip_hours * 3600)
    assert rate / 1e12 == pytest.approx(tflop_per_s, rel=0.011)
    assert find(TDP, published.chip).unit == "W"


def test_the_boundary_names_cards_computers_and_facility() -> None:
    assert run("Llama 3.1 405B").boundary == "cards only"
    assert run("Llama 2 70B").boundary == "cards × PUE 1.1"
    assert run("GPT-3").boundary == "computers × PUE 1.1"


def test_runs_of_one_kind_compare() -> None:
    # Patterson et al. 2021: GShard used about 55 times less energy than GPT-3.
    assert run("GPT-3").vs(run("GShard 600B")) == pytest.approx(54, abs=1)


def test_a_run_without_a_printed_grid_has_no_carbon() -> None:
    with pytest.raises(ValueError, match="llama31card prints no carbon intensity"):
        run("Llama 3.1 8B").carbon()


def test_an_unknown_run_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match="no published run is called 'GPT-5'; there are Evolved"):
        run("GPT-5")


def test_names_are_unique() -> None:
    assert len({r.name for r in RUNS}) == len(RUNS)


class TestRows:
    """One published number with its source."""

    def test_one_source_compares(self) -> None:
        ratio = find(OPERATION_ENERGY, "multiply fp32").vs(find(OPERATION_ENERGY, "multiply int8"))
        assert ratio == pytest.approx(18.5)

    def test_two_sources_are_refused_unless_asked(self) -> None:
        rated, measured = find(TDP, "H100 SXM5"), find(TDP, "V100 SXM2")
        with pytest.raises(MixedSourcesError, match="nvidia2022h100, 2022; patterson2021carbon"):
            rated.vs(measured)
        assert rated.vs(measured, across=True) == pytest.approx(7 / 3)

    def test_two_units_have_no_ratio(self) -> None:
        with pytest.raises(ValueError, match=r"P100 is in W, industry average 2025 in no unit"):
            find(TDP, "P100").vs(PUE[0])

    def test_a_caption_names_the_one_source(self) -> None:
        assert same(MEASURED_POWER) == "patterson2021carbon, 2021"

    def test_an_unknown_row_names_those_that_exist(self) -> None:
        with pytest.raises(ValueError, match="no row is called 'B200'; there are P100"):
            find(TDP, "B200")

    def test_a_value_prints_with_its_unit(self) -> None:
        assert find(TDP, "P100").text == "300 W"
        assert PUE[0].text == "1.54"

    @pytest.mark.parametrize("row", [*PUE, *TDP, *MEASURED_POWER, *OPERATION_ENERGY], ids=str)
    def test_each_row_says_how_it_was_checked(self, row: Row) -> None:
        assert row.tag in TAGS
        assert 2000 < row.year < 2100
