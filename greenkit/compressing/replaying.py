"""Launch thousands of small steps at once: on a GPU a launch takes longer than such a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MODE = "thread_local"  # what other threads ask of the GPU, such as a meter, does no harm


class Replayed:
    """A function of tensors that a GPU runs as one CUDA graph from the third call of a shape on.

    The first call of a shape runs as it is and lets libraries set up what they need; the second
    is recorded. On a CPU, and where recording fails, every call runs as it is.

    Args:
        work: gives a tensor, and neither looks at values nor changes its arguments. Keyword
            arguments are settings, which belong to the shape.
    """

    def __init__(self, work: Callable[..., Tensor]) -> None:
        self.work = work
        self._graphs: dict[Any, Callable[..., Tensor]] = {}
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, *tensors: Tensor, **settings: Any) -> Tensor:
        """What `work` gives."""
        if not all(tensor.is_cuda for tensor in tensors):
            return self.work(*tensors, **settings)
        shapes = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)
        key = shapes, tuple(sorted(settings.items()))
        with torch.cuda.device(tensors[0].device), torch.no_grad():
            if self._stream is None:
                self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            if key not in self._graphs:
                self._graphs[key] = self._record_next(key)
                return self._beside(*tensors, **settings)
            return self._graphs[key](*tensors, **settings)

    def _beside(self, *tensors: Tensor, **settings: Any) -> Tensor:
        """Run the work on the stream on which it will be recorded."""
        assert self._stream is not None
        now = torch.cuda.current_stream()
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            found = self.work(*tensors, **settings)
        now.wait_stream(self._stream)
        found.record_stream(now)
        return found

    def _record_next(self, key: Any) -> Callable[..., Tensor]:
        def record(*tensors: Tensor, **settings: Any) -> Tensor:
            graph, own = torch.cuda.CUDAGraph(), [tensor.clone() for tensor in tensors]
            try:
                with (
                    torch.cuda.stream(torch.cuda.current_stream()),  # put back, if the next fails
                    torch.cuda.graph(graph, stream=self._stream, capture_error_mode=MODE),
                ):
                    found = self.work(*own, **settings)
            except RuntimeError:  # what cannot be recorded is launched step by step
                self._graphs[key] = self.work
                return self.work(*tensors, **settings)

            def replay(*given: Tensor, **_: Any) -> Tensor:
                for place, tensor in zip(own, given, strict=True):
                    place.copy_(tensor)
                graph.replay()
                return found.clone()

            self._graphs[key] = replay
            return replay(*tensors)

        return record
