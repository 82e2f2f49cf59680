"""Give memory back: the C library keeps what gigabytes of tensors took that came and went."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Return memory that nothing uses to the operating system, where the C library is glibc."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
