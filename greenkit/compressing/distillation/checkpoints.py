"""A checkpoint: all that a training run needs to go on as if it had never stopped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = 1


def write_checkpoint(path: Path, run: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write `state` whole or not at all: a crash while writing leaves the file of before.

    `run` says which run it belongs to, in plain values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            torch.save({"format": FORMAT, "run": dict(run), "state": dict(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_checkpoint(path: Path, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state of this very run, or None where there is no file yet.

    Only plain values and tensors are read, never code. Raises ValueError for a file that is no
    checkpoint, and for one of another run, with all that differs.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        kind, owner, state = content["format"], content["run"], content["state"]
    except MemoryError:
        raise
    except Exception as error:  # of zip, pickle, struct or torch, as the bytes happen to fall
        raise ValueError(
            f"{path} is no checkpoint of this course, or is cut short ({type(error).__name__}): "
            "it stays as it is; give another file, or remove it to begin anew."
        ) from None
    if not (isinstance(owner, dict) and isinstance(state, dict)):
        raise ValueError(f"{path} is no checkpoint of this course: give another file.")
    if kind != FORMAT:
        raise ValueError(f"{path} has format {kind}; this greenkit reads {FORMAT}.")
    different = [
        f"{name} was {owner.get(name)!r} and is {run.get(name)!r}"
        for name in sorted({*owner, *run})
        if owner.get(name) != run.get(name)
    ]
    if different:
        raise ValueError(
            f"{path} is a checkpoint of another run: {'; '.join(different)}. Go on with the same "
            "settings, or give another file."
        )
    return dict(state)


def fingerprint(module: nn.Module) -> str:
    """Twelve hex digits that change with any weight of a model."""
    return digest(tensor for _, tensor in sorted(module.state_dict().items()))


def digest(tensors: Iterable[torch.Tensor]) -> str:
    """Twelve hex digits that change with any value, shape or dtype."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous().flatten()
        found.update(plain.view(torch.uint8).numpy().data)
    return found.hexdigest()[:12]
