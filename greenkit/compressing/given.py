"""What counts as a model: what was loaded, a bare torch module, or what an earlier step gave.

Every verb asks here, so that each takes the same things and refuses the same ones before any work.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from greenkit.inputs.models import LoadedModel


class Result(Protocol):
    """What compressing gives back: it holds a network, and what that was loaded with, if known."""

    @property
    def model(self) -> Any:
        """The torch module."""

    @property
    def loaded(self) -> LoadedModel | None:
        """The same with its tokenizer."""


Model = LoadedModel | nn.Module | Result


def torch_model(model: Model) -> nn.Module:
    """The torch module itself, out of whatever holds it.

    Raises ValueError for what is no model, such as the name of one.
    """
    found = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    if isinstance(found, nn.Module):
        return found
    got = repr(model) if model is None or isinstance(model, str) else f"a {type(model).__name__}"
    raise ValueError(
        "A model is what load_model gives, a torch module or the result of a compression: got "
        f"{got}."
    )


def loaded_of(model: Model) -> LoadedModel | None:
    """The model with its tokenizer, or None for a bare torch module and what was made of one."""
    if isinstance(model, nn.Module | LoadedModel):
        return model if isinstance(model, LoadedModel) else None
    found = getattr(model, "loaded", None)
    return found if isinstance(found, LoadedModel) else None


class WithTokenizer:
    """Lets a result stand where a `LoadedModel` stands, as in `generate` and `QualityTest`."""

    @property
    def tokenizer(self: Any) -> Any:
        """The model's own. Raises ValueError where the model was given without one."""
        return _loaded(self).tokenizer

    @property
    def trained(self: Any) -> bool:
        """Whether the weights were trained, see `LoadedModel`."""
        return _loaded(self).trained

    @property
    def device(self: Any) -> torch.device:
        """Where the model is."""
        place: torch.device = next(self.model.parameters()).device
        return place


def _loaded(result: Result) -> LoadedModel:
    if result.loaded is None:
        raise ValueError(
            "This result was made of a bare torch module, which has no tokenizer: compress what "
            "load_model gives."
        )
    return result.loaded


def refuse_offloaded(network: nn.Module) -> None:
    """Raise ValueError where weights are not in memory, but on disk or to come."""
    for name, tensor in network.state_dict().items():
        if tensor.is_meta:
            raise ValueError(
                f"{name} is not in memory (it lies on the meta device, as offloaded weights do): "
                "load the whole model onto one device, without device_map."
            )


def refuse_broken(network: nn.Module) -> None:
    """Raise ValueError for weights that no verb can work with, before any work.

    They are offloaded, packed for one kernel, or hold NaN or infinity.
    """
    refuse_offloaded(network)
    names, ends = [], []
    for name, weight in network.named_parameters():
        if hasattr(weight, "__tensor_flatten__"):
            raise ValueError(
                f"{name} is packed for one kernel ({type(weight).__name__}): give the model from "
                "before it was packed."
            )
        if weight.is_floating_point() and weight.numel():
            names.append(name)
            ends.append(torch.stack(torch.aminmax(weight.detach())).float())
    for name, sound in zip(names, _finite(ends), strict=True):
        if not sound:
            raise ValueError(
                f"{name} holds NaN or infinity: the model is broken, or was cast to a dtype that "
                "is too narrow for it; load it again, in float32."
            )


def _finite(ends: list[torch.Tensor]) -> list[bool]:
    """Whether both ends of each weight are finite; each device is asked once."""
    places = {end.device for end in ends}
    if len(places) <= 1:
        return torch.stack(ends).isfinite().all(1).tolist() if ends else []
    return [bool(end.isfinite().all()) for end in ends]
