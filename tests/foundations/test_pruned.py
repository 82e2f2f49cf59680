"""Published perplexities of pruned models: whole columns of one source, above their dense model."""

from __future__ import annotations

import pytest

from greenkit.foundations.pruned import PRUNED, over_dense


@pytest.mark.parametrize("model", PRUNED)
def test_every_pruned_model_lies_above_its_dense_one(model: str) -> None:
    assert min(over_dense(model).values()) > 1


def test_magnitude_at_half_zeros_is_seven_times_the_dense_opt_125m() -> None:
    assert over_dense("OPT-125M")["magnitude, 50 %"] == pytest.approx(193 / 27.66)
