"""The hidden tests of all exercises; each says what is wrong with an answer."""

from __future__ import annotations

from greenkit.course import answers_first_joule, answers_formulas, answers_where_energy_goes

__all__ = ["answers_first_joule", "answers_formulas", "answers_where_energy_goes"]
