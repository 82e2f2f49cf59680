"""greenkit: meter, compress and compare language models; the package of *Joules per Token*.

The rooms are `inputs`, `foundations`, `metering`, `compressing` and `course`; what labs use most is
here by its short name. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenkit import plot as plot
    from greenkit.compressing import distill as distill
    from greenkit.compressing import prune as prune
    from greenkit.compressing import quantize as quantize
    from greenkit.course.lab import budget_card as budget_card
    from greenkit.course.lab import lab as lab
    from greenkit.foundations import Quantity as Quantity
    from greenkit.foundations import Ratio as Ratio
    from greenkit.foundations import Reading as Reading
    from greenkit.foundations import grid as grid
    from greenkit.inputs import ContinuationTest as ContinuationTest
    from greenkit.inputs import QualityTest as QualityTest
    from greenkit.inputs import load_model as load_model
    from greenkit.inputs import load_text as load_text
    from greenkit.inputs import perplexity as perplexity
    from greenkit.inputs.generate import generate as generate
    from greenkit.metering import EnergyMeter as EnergyMeter
    from greenkit.metering import compare as compare
    from greenkit.metering import measure as measure

__version__ = "0.1.0"

_HOMES = {
    "ContinuationTest": "greenkit.inputs",
    "EnergyMeter": "greenkit.metering",
    "Quantity": "greenkit.foundations",
    "QualityTest": "greenkit.inputs",
    "Ratio": "greenkit.foundations",
    "Reading": "greenkit.foundations",
    "budget_card": "greenkit.course.lab",
    "compare": "greenkit.metering",
    "distill": "greenkit.compressing",
    "generate": "greenkit.inputs.generate",
    "grid": "greenkit.foundations",
    "lab": "greenkit.course.lab",
    "load_model": "greenkit.inputs",
    "load_text": "greenkit.inputs",
    "measure": "greenkit.metering",
    "perplexity": "greenkit.inputs",
    "prune": "greenkit.compressing",
    "quantize": "greenkit.compressing",
}

__all__ = [*_HOMES, "plot"]


def __getattr__(name: str) -> Any:
    if name == "plot":
        return import_module("greenkit.plot")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'greenkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
