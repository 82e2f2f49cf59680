"""A model built again from what its files say: its shapes follow from the weights in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from greenkit.compressing.quantization.packing import from_file
from greenkit.compressing.quantization.quantizers import QuantizedTensor
from greenkit.compressing.shapes import fit_to_weights
from greenkit.inputs.gguf import quiet
from greenkit.inputs.reading import first_line, refuse_empty_tokenizer


def build(about: Mapping[str, Any], file: Path) -> Any:
    """A network of the saved architecture, whose weights are about to be replaced.

    Raises ValueError, naming `file`, where this transformers cannot build it.
    """
    import transformers

    values = dict(about["config"])
    try:
        config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
        config._attn_implementation = about["attention"]
        with quiet(), torch.random.fork_rng(devices=[]):
            network = getattr(transformers, about["class"])(config)
        network.generation_config = transformers.GenerationConfig(**about["generation"])
    except Exception as error:  # what a configuration that makes no sense ends in
        raise ValueError(
            f"{file} describes a {about['class']} that transformers "
            f"{transformers.__version__} cannot build ({first_line(error)}): use the version that "
            "it was saved with, or save it again."
        ) from None
    return network


def unpack(
    network: Any, tensors: dict[str, torch.Tensor], facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, QuantizedTensor]:
    """Put dense weights in the place of packed ones, as their modules hold them.

    `facts` says of each packed matrix, by name, how it is to be read.
    """
    packed = {}
    for name, about in facts.items():
        values = dict(about)
        dtype = getattr(torch, values.pop("dtype"))
        parts = [part for part in ("integers", "scale", "zero") if f"{name}.{part}" in tensors]
        own = {part: tensors.pop(f"{name}.{part}") for part in parts}
        packed[name] = from_file(own, values)
        weight = packed[name].dequantize(dtype)
        transposed = isinstance(network.get_submodule(name), Conv1D)
        tensors[f"{name}.weight"] = weight.T.contiguous() if transposed else weight
    return packed


def put(
    network: Any, tensors: Mapping[str, torch.Tensor], shared: Mapping[str, str] | None
) -> None:
    """Put each tensor in its place, and let every module know the sizes that follow from it.

    `shared` has the names that are another name's tensor; a file from before they were written
    leaves that to the configuration. Raises ValueError where names and model do not fit.
    """
    expected = set(network.state_dict())
    if unknown := {*tensors, *(shared or {})} - expected:
        raise ValueError(f"The saved weights have no place in this model: {sorted(unknown)}.")
    for name, tensor in tensors.items():
        _place(network, name, tensor)
    for name, first in (shared or {}).items():
        owner, _, own = first.rpartition(".")
        if first in tensors:
            _place(network, name, getattr(network.get_submodule(owner), own))
    if shared is None:
        network.tie_weights()
    fit_to_weights(network)
    addresses = {tensor.data_ptr() for tensor in tensors.values()}
    absent = [name for name, own in network.state_dict().items() if own.data_ptr() not in addresses]
    if absent:
        raise ValueError(f"The saved weights lack {', '.join(absent)}: the folder is not complete.")


def _place(network: Any, name: str, tensor: torch.Tensor) -> None:
    path, _, own = name.rpartition(".")
    module = network.get_submodule(path)
    if own in module._parameters:
        is_one = isinstance(tensor, nn.Parameter)
        module._parameters[own] = tensor if is_one else nn.Parameter(tensor)
    else:
        module._buffers[own] = tensor


def read_tokenizer(place: Path) -> Any:
    """The tokenizer in a folder. Raises ValueError where there is none that can be read."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                str(place), local_files_only=True, trust_remote_code=False
            )
        refuse_empty_tokenizer(tokenizer, str(place))
    except Exception as error:  # transformers and tokenizers each have their own kinds
        raise ValueError(
            f"The tokenizer in {place} is missing or cannot be read ({type(error).__name__}): save "
            "or copy the whole folder again."
        ) from None
    return tokenizer
