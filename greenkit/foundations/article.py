"""The source article's energy formula, kept as an exhibit: it refuses, and says why."""

from __future__ import annotations

from typing import Any


class DimensionError(ValueError):
    """A formula whose result does not have the dimension that it is said to have."""


def pint_units() -> Any:
    """pint's registry of units, with `operation` among them; None where pint is not installed.

    A machine that only records labs may lack pint; one printed sentence then says so.
    """
    try:
        import pint
    except ModuleNotFoundError:
        print("pint is not installed here, so the check by hand stands alone (pip install pint)")
        return None
    registry = pint.UnitRegistry()
    registry.define("operation = [operation]")
    return registry


def article_energy(coefficient: Any, power: Any, duration: Any) -> Any:
    """The article's E = C × P × t, for pint quantities; returns a quantity that is an energy.

    The article gives C in joules per operation, and so the product has the dimension energy
    squared per operation. With a C that has no dimension (a utilization, a PUE) the formula is
    sound. Raises DimensionError, with the unit that is too much, where the product is no
    energy, and TypeError for bare numbers, which cannot be checked.
    """
    for name, value in (("C", coefficient), ("P", power), ("t", duration)):
        if not hasattr(value, "dimensionality"):
            raise TypeError(
                f"{name} must be a pint quantity, such as 10 * ureg.watt; got {value!r}"
            )
    product = coefficient * power * duration
    if product.check("[energy]"):
        return product
    raise DimensionError(
        f"C × P × t is in {product.units}, and no energy: P × t already is one, in joule, so C "
        f"can only be a number without unit; here it is in {coefficient.units}."
    )
