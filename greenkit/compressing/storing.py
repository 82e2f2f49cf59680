"""Files of a model whatever became of its shapes: weights as safetensors, what was done as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from greenkit.compressing.matrices import matrices
from greenkit.compressing.quantization.activations import quantize_inputs
from greenkit.compressing.quantization.packing import from_file, to_file
from greenkit.compressing.quantization.quantizers import QuantizedTensor
from greenkit.compressing.rebuilding import build, described, refuse_lossy
from greenkit.compressing.shapes import fit_modules
from greenkit.inputs.gguf import quiet
from greenkit.inputs.models import LoadedModel, choose_device

WEIGHTS, ABOUT = "model.safetensors", "compressed.json"
FORMAT = 1


@dataclass(frozen=True)
class Stored:
    """A model read back from a folder, and what its files say of it.

    `packed` has the integers and scales of quantized matrices, by name; `loaded` is the model with
    its tokenizer where the folder has one.
    """

    network: Any
    about: Mapping[str, Any]
    packed: Mapping[str, QuantizedTensor]
    loaded: LoadedModel | None


def write_model(
    folder: Path | str,
    network: Any,
    about: Mapping[str, Any],
    *,
    packed: Mapping[str, QuantizedTensor],
    loaded: LoadedModel | None,
) -> Path:
    """Write the weights as they are in memory, tied ones once, and beside them what was done.

    `about` has JSON values; one of them is "settings". Raises ValueError for a model whose weights
    are packed for one kernel (torchao, 2:4), and for one whose configuration does not build it.
    """
    from safetensors.torch import save_file

    place = Path(folder)
    tensors: dict[str, torch.Tensor] = {}
    stored: set[int] = set()
    for name, tensor in network.state_dict().items():
        if hasattr(tensor, "__tensor_flatten__"):
            raise ValueError(
                f"{name} is packed for one kernel ({type(tensor).__name__}): save the model from "
                "before it was packed, and pack it again after loading."
            )
        if tensor.data_ptr() not in stored:
            stored.add(tensor.data_ptr())
            tensors[name] = tensor.detach().cpu().contiguous()
    refuse_lossy(network)
    facts = {}
    for matrix, quantized in packed.items():
        dense = tensors.pop(f"{matrix}.weight")
        parts, facts[matrix] = to_file(quantized)
        tensors.update({f"{matrix}.{part}": tensor.cpu() for part, tensor in parts.items()})
        facts[matrix]["dtype"] = str(dense.dtype).removeprefix("torch.")
    text = json.dumps(
        {
            "format": FORMAT,
            **about,
            "packed": facts,
            **described(network),
            "generation": json.loads(network.generation_config.to_json_string(use_diff=False)),
            "loaded": loaded
            and {"name": loaded.name, "trained": loaded.trained, "provenance": loaded.provenance},
        },
        indent=1,
    )
    place.mkdir(parents=True, exist_ok=True)
    save_file(tensors, place / WEIGHTS)
    if loaded is not None:
        loaded.tokenizer.save_pretrained(place)
    (place / ABOUT).write_text(text, encoding="utf-8")
    return place


def read_model(folder: Path | str, *, device: str = "auto") -> Stored:
    """Read back what `write_model` wrote: the same weights, shapes and dtype.

    Raises ValueError for a folder that holds no such model.
    """
    from safetensors.torch import load_file

    place = Path(folder).expanduser()
    if not (place / ABOUT).is_file():
        raise ValueError(f"{place} holds no {ABOUT}: give a folder that Compressed.save wrote.")
    about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
    if about["format"] != FORMAT:
        raise ValueError(f"{place} has format {about['format']}; this greenkit reads {FORMAT}.")
    target = choose_device(device)
    tensors = load_file(place / WEIGHTS, device=str(target))
    network = _network(about).to(target)
    packed = _unpack(network, tensors, about["packed"])
    _put(network, tensors)
    if per := about["settings"].get("activations"):
        quantize_inputs([matrix for matrix in matrices(network) if matrix.name in packed], per)
    network.eval()
    if about["loaded"] is None:
        return Stored(network, about, packed, None)
    with quiet():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(place), local_files_only=True)
    dtype = next(network.parameters()).dtype
    loaded = LoadedModel(network, tokenizer, **about["loaded"], device=target, dtype=dtype)
    return Stored(network, about, packed, loaded)


def _network(about: Mapping[str, Any]) -> Any:
    """A network of the saved architecture; its weights are about to be replaced."""
    import transformers

    network = build(about)
    network.generation_config = transformers.GenerationConfig(**about["generation"])
    return network


def _unpack(
    network: Any, tensors: dict[str, torch.Tensor], facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, QuantizedTensor]:
    """Put dense weights in the place of packed ones, as their modules hold them."""
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


def _put(network: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put each tensor in its place, and let every module know the sizes that follow from it."""
    expected = set(network.state_dict())
    if unknown := set(tensors) - expected:
        raise ValueError(f"The saved weights have no place in this model: {sorted(unknown)}.")
    tied: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        tied.setdefault(id(parameter), []).append(name)
    shared = {name: names for names in tied.values() for name in names}
    for name, tensor in tensors.items():
        path, _, own = name.rpartition(".")
        module = network.get_submodule(path)
        if own not in module._parameters:
            module._buffers[own] = tensor
            continue
        weight = nn.Parameter(tensor)
        for each in shared.get(name, [name]):
            if each == name or each not in tensors:
                path, _, own = each.rpartition(".")
                network.get_submodule(path)._parameters[own] = weight
    fit_modules(network)
    addresses = {tensor.data_ptr() for tensor in tensors.values()}
    absent = [name for name, own in network.state_dict().items() if own.data_ptr() not in addresses]
    if absent:
        raise ValueError(f"The saved weights lack {', '.join(absent)}: the folder is not complete.")
