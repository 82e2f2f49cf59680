"""Wait for the device: a clock read before the GPU is done times the launch, and not the work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def synchronize() -> None:
    """Wait until the GPU has done what it was given. Where torch is not imported, do nothing."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "mps"):  # not imported, or only in part
        return
    if torch.cuda.is_initialized():
        in_use = _opened(torch)
        for index in range(torch.cuda.device_count()):
            if in_use(index):
                torch.cuda.synchronize(index)
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def _opened(torch: Any) -> Callable[[int], object]:
    """Tells whether this process has opened a card; torch's own answer takes microseconds.

    Its table of memory, the answer without that function, takes a hundred times as long.
    """
    asked = getattr(getattr(torch, "_C", None), "_cuda_hasPrimaryContext", None)
    return asked if callable(asked) else torch.cuda.memory_reserved  # type: ignore[no-any-return]
