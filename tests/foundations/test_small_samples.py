"""Quantiles of Student's t against its table."""

import pytest

from greenkit.foundations.small_samples import t95

TABLE = {2: 12.706, 4: 3.1824, 11: 2.2281, 12: 2.2010, 16: 2.1314, 31: 2.0423, 121: 1.9799}


@pytest.mark.parametrize(("values", "quantile"), TABLE.items())
def test_quantile_is_that_of_the_table(values, quantile):
    assert t95(values) == pytest.approx(quantile, rel=1.5e-3)


def test_one_value_has_no_interval():
    with pytest.raises(ValueError, match="two values or more"):
        t95(1)
