"""See each operation that torch hands to the device, composite ones taken apart."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def each_operation(note: Callable[[Any], None]) -> AbstractContextManager[object]:
    """Call `note` with the operator (`torch._ops.OpOverload`) of each operation inside.

    In inference mode operators made of others, such as linear layers and attention, arrive whole:
    they are replaced by their parts, as they run anyway. Another dispatch mode around this one
    sees the parts too.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    class EachOperation(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
            note(func)
            return func(*args, **kwargs)

    return EachOperation()  # type: ignore[no-untyped-call]
