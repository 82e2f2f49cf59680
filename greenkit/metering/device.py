"""Wait for the device: a clock read before the GPU is done times the launch, and not the work."""

from __future__ import annotations

import sys


def synchronize() -> None:
    """Wait until the GPU has done what it was given. Where torch is not imported, do nothing."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "mps"):  # not imported, or only in part
        return
    if torch.cuda.is_initialized():
        used = [i for i in range(torch.cuda.device_count()) if torch.cuda.memory_reserved(i)]
        for index in used:
            torch.cuda.synchronize(index)
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
