"""Published numbers of quantized models are those that the errata and the sources print."""

from __future__ import annotations

import pytest

from greenkit.foundations.facilities import PEAK_FLOPS
from greenkit.foundations.quantized import (
    ENERGY,
    FP8_ALONE,
    FP8_CROWD,
    LLAMA_8B,
    OPT_125M,
    RATE_8_BITS,
    SPEED,
    Change,
)
from greenkit.foundations.rows import TAGS, Row, find

ROWS = (
    *(row for change in ENERGY.values() for row in (change.before, change.after)),
    *SPEED,
    *LLAMA_8B,
    *OPT_125M,
    RATE_8_BITS,
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_says_how_it_was_checked(row: Row) -> None:
    assert row.tag in TAGS


@pytest.mark.parametrize(("change", "percent"), [(FP8_ALONE, 56), (FP8_CROWD, -9)])
def test_fp8_changes_the_energy_as_the_errata_say(change: Change, percent: float) -> None:
    assert round(change.percent) == percent


def test_eight_bits_double_the_rate_of_an_h100() -> None:
    assert RATE_8_BITS.vs(find(PEAK_FLOPS, "H100 SXM5, BF16")) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("rows", [LLAMA_8B, OPT_125M], ids=["Llama 3 8B", "OPT 125M"])
def test_gptq_is_published_as_better_than_rounding(rows: tuple[Row, ...]) -> None:
    assert find(rows, "GPTQ").vs(find(rows, "rounded")) < 1
