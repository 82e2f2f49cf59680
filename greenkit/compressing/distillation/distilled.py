"""What distilling gives back: the student, its curve, and what its training took."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from greenkit.compressing.distillation.charges import Charges, break_even_tokens
from greenkit.compressing.distillation.training import Point
from greenkit.compressing.result import Compressed, load_compressed
from greenkit.foundations import Quantity, Reading
from greenkit.inputs.models import LoadedModel
from greenkit.metering import NotMeasuredError

ABOUT = "distilled.json"


@dataclass(frozen=True)
class Distilled:
    """A trained student, and what its training took.

    `student` holds the model and says what was done to it; `curve` has a point a step; `charges`
    has seconds and joules, the teacher's and the student's apart; `stopped_by` names the budget
    that ran out.
    """

    student: Compressed
    curve: tuple[Point, ...] = field(repr=False)
    charges: Charges
    tokens: int
    stopped_by: str

    @property
    def model(self) -> Any:
        """The student's torch module, in evaluation mode."""
        return self.student.model

    @property
    def loaded(self) -> LoadedModel | None:
        """The student with its tokenizer, where it was given with one."""
        return self.student.loaded

    def break_even(self, dense: Reading, small: Reading, *, tokens: int) -> Quantity:
        """How many served tokens pay this training back; see `break_even_tokens`.

        Raises NotMeasuredError where the training's energy is not known.
        """
        if self.charges.energy is None:
            raise NotMeasuredError(f"the training has no energy to pay back: {self.charges.reason}")
        return break_even_tokens(self.charges.energy, dense, small, tokens=tokens)

    def save(self, folder: Path | str) -> Path:
        """Write the student as `Compressed.save` does, and its training beside it."""
        place = self.student.save(folder)
        about = {
            "curve": [asdict(point) for point in self.curve],
            "charges": self.charges.to_dict(),
            "tokens": self.tokens,
            "stopped_by": self.stopped_by,
        }
        (place / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        return place

    def __str__(self) -> str:
        first, last = self.curve[0], self.curve[-1]
        return (
            f"{last.step} steps, {self.tokens} tokens, loss {first.loss:.3f} to {last.loss:.3f}, "
            f"stopped by {self.stopped_by}; {self.charges}"
        )


def load_distilled(folder: Path | str, *, device: str = "auto") -> Distilled:
    """Read back what `Distilled.save` wrote.

    Raises ValueError for a folder without it, and for files that are cut short or missing.
    """
    place = Path(folder).expanduser()
    if not (place / ABOUT).is_file():
        raise ValueError(f"{place} holds no {ABOUT}: give a folder that Distilled.save wrote.")
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        curve = tuple(Point(**point) for point in about["curve"])
        charges = Charges.from_dict(about["charges"])
        tokens, stopped_by = about["tokens"], about["stopped_by"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{place / ABOUT} is cut short or no file of Distilled.save ({type(error).__name__}): "
            "save or copy the folder again."
        ) from None
    return Distilled(load_compressed(place, device=device), curve, charges, tokens, stopped_by)
