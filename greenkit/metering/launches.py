"""The bound that no byte and no FLOP explains: what it takes to hand the device its operations."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenkit.metering.calls import refuse_lazy
from greenkit.metering.device import synchronize
from greenkit.metering.dispatch import each_operation

if TYPE_CHECKING:
    import torch

IN_A_ROW = 1000
REPEATS = 5
NO_WORK = (
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("_unsafe_view", "detach_"),
)


@dataclass(frozen=True)
class Launches:
    """How many operations a call hands to the device, by operator, most frequent first."""

    by_operator: Mapping[str, int]

    @property
    def total(self) -> int:
        """All operations together."""
        return sum(self.by_operator.values())


def count_launches(work: Callable[[], object]) -> Launches:
    """Run `work` once and count the operations that torch hands to the device.

    Views of a tensor and reservations of memory do no work there and are left out. On a GPU each
    operation is one kernel, or now and then two. Raises TypeError for an async function or a
    generator, whose calls do not do the work. Derived in: Lab 03.
    """
    refuse_lazy(work)
    counts: Counter[str] = Counter()

    def note(operator: Any) -> None:
        name = str(operator.overloadpacket).removeprefix("aten.")
        if not operator.is_view and name not in NO_WORK:
            counts[name] += 1

    with each_operation(note):
        work()
    return Launches(dict(counts.most_common()))


def measure_launch_s(device: torch.device | str) -> float:
    """Seconds that one operation takes however small it is: one number added to one number.

    Many in a row, waited for at the end only, so that this is what a long pass pays for each. The
    best of several runs counts. Derived in: Lab 03.
    """
    import torch

    number = torch.zeros(1, device=device)
    best_s = float("inf")
    with torch.inference_mode():
        for _ in range(REPEATS + 1):
            synchronize()
            start_s = time.perf_counter()
            for _ in range(IN_A_ROW):
                torch.add(number, 1)
            synchronize()
            best_s = min(best_s, time.perf_counter() - start_s)
    return best_s / IN_A_ROW
