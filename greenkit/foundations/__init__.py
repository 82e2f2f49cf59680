"""What all other parts share: readings with provenance, quantities with units, named grids."""

from greenkit.foundations.grids import Grid, grid, grid_codes
from greenkit.foundations.provenance import Domain, Provenance, ProvenanceError
from greenkit.foundations.quantity import Quantity, Ratio, format_interval
from greenkit.foundations.reading import Reading
from greenkit.foundations.sums import total

__all__ = [
    "Domain",
    "Grid",
    "Provenance",
    "ProvenanceError",
    "Quantity",
    "Ratio",
    "Reading",
    "format_interval",
    "grid",
    "grid_codes",
    "total",
]
