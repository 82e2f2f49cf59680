"""One published training run: what its source prints, and what follows from its inputs."""

from __future__ import annotations

from dataclasses import dataclass

from greenkit.foundations.footprint import operational_carbon, training_energy
from greenkit.foundations.grids import Grid
from greenkit.foundations.quantity import Quantity
from greenkit.foundations.rows import MixedSourcesError

AVERAGE = "mean draw, host included"
RATED = "rated power of the card alone"
METERED = "mean draw of all cards, processors and memory together"


@dataclass(frozen=True)
class PublishedRun:
    """One training run: its printed inputs, and the printed results where the source has them.

    `chip_hours` times `power_w` is energy; `power_is` says what the watts are of. `pue` is None
    where the source leaves the facility out. `kg_per_kwh` is None where no grid is printed.
    `printed_mwh` and `printed_t` (tCO2e) are the results of the source. A recomputed value must
    agree with them within `printed_within`, a share: 1 %, or what the few printed digits allow.
    `chip` and `flops` (of the whole training) are given where the source prints them.
    """

    name: str
    chip_hours: float
    power_w: float
    power_is: str
    pue: float | None
    year: int
    source: str
    tag: str
    kg_per_kwh: float | None = None
    printed_mwh: float | None = None
    printed_t: float | None = None
    printed_within: float = 0.01
    chip: str = ""
    flops: float | None = None

    @property
    def boundary(self) -> str:
        """What the energy is of: cards or whole computers, alone or with the facility."""
        part = "cards" if self.power_is == RATED else "computers"
        return f"{part} only" if self.pue is None else f"{part} × PUE {self.pue:g}"

    def energy(self) -> Quantity:
        """Energy in Wh recomputed from the inputs, within the source's own boundary."""
        return training_energy(
            chips=1,
            hours=self.chip_hours,
            power_w=self.power_w,
            pue=1.0 if self.pue is None else self.pue,
            source=self.source,
        )

    def it_energy(self) -> Quantity:
        """Energy in Wh of the computers alone, whatever the source's boundary."""
        return training_energy(
            chips=1, hours=self.chip_hours, power_w=self.power_w, source=self.source
        )

    def carbon(self) -> Quantity:
        """Carbon recomputed from the inputs. Raises ValueError where the source prints no grid."""
        if self.kg_per_kwh is None:
            raise ValueError(f"{self.source} prints no carbon intensity for {self.name}")
        place = Grid(f"as printed for {self.name}", 1000 * self.kg_per_kwh, self.year, self.source)
        return operational_carbon(self.energy(), place)

    def vs(self, other: PublishedRun, *, across: bool = False) -> float:
        """This run's energy over another's.

        Raises MixedSourcesError where boundary or kind of power differ, unless `across` is True.
        """
        mine, theirs = (self.pue is None, self.power_is), (other.pue is None, other.power_is)
        if mine != theirs and not across:
            raise MixedSourcesError(
                f"{self.name} is {self.boundary} at {self.power_is}, {other.name} is "
                f"{other.boundary} at {other.power_is}: compare it_energy(), or pass across=True"
            )
        return self.energy().value / other.energy().value
