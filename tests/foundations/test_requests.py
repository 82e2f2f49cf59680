"""Published energies of one request, and figures of chips: they agree with what else is printed."""

from __future__ import annotations

import pytest

from greenkit.foundations.chips import BANDWIDTH, TENTH_LOAD
from greenkit.foundations.facilities import PEAK_FLOPS
from greenkit.foundations.requests import (
    GEMINI_PROMPT_PERCENT,
    REQUESTS,
)
from greenkit.foundations.rows import TAGS, MixedSourcesError, find
from greenkit.foundations.runs import GEMINI_PROMPT_WH

ROUNDING_WH = 0.005


@pytest.mark.parametrize("row", [*REQUESTS, *TENTH_LOAD, *BANDWIDTH], ids=lambda r: r.name)
def test_each_row_says_how_it_was_checked(row) -> None:
    assert row.value > 0
    assert row.tag in TAGS


def test_the_parts_of_a_gemini_prompt_add_up_to_its_row() -> None:
    whole = find(REQUESTS, "Gemini prompt").value
    assert sum(GEMINI_PROMPT_WH.values()) == pytest.approx(whole)


def test_its_printed_shares_are_those_of_its_watt_hours_within_rounding() -> None:
    whole = sum(GEMINI_PROMPT_WH.values())
    for wh, percent in zip(GEMINI_PROMPT_WH.values(), GEMINI_PROMPT_PERCENT, strict=True):
        assert 100 * (wh - ROUNDING_WH) / whole < percent < 100 * (wh + ROUNDING_WH) / whole


def test_requests_of_two_sources_make_no_ratio() -> None:
    gemini, gpt = find(REQUESTS, "Gemini prompt"), find(REQUESTS, "GPT-4o, 500 tokens written")
    with pytest.raises(MixedSourcesError):
        gemini.vs(gpt)


def test_an_h100_computes_about_300_operations_in_the_time_of_a_byte() -> None:
    """The batch of 296 at which its decode stops waiting for memory in 16 bits."""
    peak = find(PEAK_FLOPS, "H100 SXM5, BF16").value
    assert peak / find(BANDWIDTH, "H100 SXM5").value == pytest.approx(295.3, rel=1e-3)
