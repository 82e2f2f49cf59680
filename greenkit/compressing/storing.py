"""Save a compressed model and load it back equal, whatever became of its shapes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from greenkit.compressing.activations import quantize_inputs
from greenkit.compressing.matrices import matrices
from greenkit.compressing.packing import from_file, to_file
from greenkit.compressing.quantizers import QuantizedTensor
from greenkit.compressing.result import Compressed, MatrixReport, Size
from greenkit.compressing.shapes import fit_to_weights
from greenkit.inputs.gguf import quiet
from greenkit.inputs.models import LoadedModel, choose_device

if TYPE_CHECKING:
    from collections.abc import Mapping

WEIGHTS, ABOUT = "model.safetensors", "compressed.json"
FORMAT = 1


def save_compressed(result: Compressed, folder: Path | str) -> Path:
    """Write the weights as they are in memory, tied ones once, and beside them what was done.

    Raises ValueError for a model whose weights are packed for one kernel (torchao, 2:4).
    """
    from safetensors.torch import save_file

    place = Path(folder)
    tensors: dict[str, torch.Tensor] = {}
    stored: set[int] = set()
    for name, tensor in result.model.state_dict().items():
        if hasattr(tensor, "__tensor_flatten__"):
            raise ValueError(
                f"{name} is packed for one kernel ({type(tensor).__name__}): save the model from "
                "before it was packed, and pack it again after loading."
            )
        if tensor.data_ptr() not in stored:
            stored.add(tensor.data_ptr())
            tensors[name] = tensor.detach().cpu().contiguous()
    facts = {}
    for matrix, quantized in result.packed.items():
        dense = tensors.pop(f"{matrix}.weight")
        packed, facts[matrix] = to_file(quantized)
        tensors.update({f"{matrix}.{part}": tensor.cpu() for part, tensor in packed.items()})
        facts[matrix]["dtype"] = str(dense.dtype).removeprefix("torch.")
    settings = result.model.config
    loaded = result.loaded
    about = {
        "format": FORMAT,
        "method": result.method,
        "settings": dict(result.settings),
        "matrices": [asdict(report) for report in result.matrices],
        "before": asdict(result.before),
        "packed": facts,
        "class": type(result.model).__name__,
        "attention": settings._attn_implementation,
        "config": json.loads(settings.to_json_string(use_diff=False)),
        "generation": json.loads(result.model.generation_config.to_json_string(use_diff=False)),
        "loaded": loaded
        and {"name": loaded.name, "trained": loaded.trained, "provenance": loaded.provenance},
    }
    place.mkdir(parents=True, exist_ok=True)
    save_file(tensors, place / WEIGHTS)
    if loaded is not None:
        loaded.tokenizer.save_pretrained(place)
    (place / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return place


def load_compressed(folder: Path | str, *, device: str = "auto") -> Compressed:
    """Read back what `Compressed.save` wrote: the same weights, shapes, dtype and report.

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
    result = Compressed(
        model=network,
        method=about["method"],
        settings=about["settings"],
        matrices=tuple(MatrixReport(**report) for report in about["matrices"]),
        before=Size(**about["before"]),
        packed=packed,
    )
    if about["loaded"] is None:
        return result
    from transformers import AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(str(place), local_files_only=True)
    dtype = next(network.parameters()).dtype
    loaded = LoadedModel(network, tokenizer, **about["loaded"], device=target, dtype=dtype)
    return replace(result, loaded=loaded)


def _network(about: Mapping[str, Any]) -> Any:
    """A network of the saved architecture; its weights are about to be replaced."""
    import transformers

    values = dict(about["config"])
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    config._attn_implementation = about["attention"]
    with quiet(), torch.random.fork_rng(devices=[]):
        network = getattr(transformers, about["class"])(config)
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
    for name, tensor in tensors.items():
        path, _, own = name.rpartition(".")
        module = network.get_submodule(path)
        if own in module._parameters:
            module._parameters[own] = nn.Parameter(tensor)
        else:
            module._buffers[own] = tensor
    network.tie_weights()
    fit_to_weights(network)
    addresses = {tensor.data_ptr() for tensor in tensors.values()}
    absent = [name for name, own in network.state_dict().items() if own.data_ptr() not in addresses]
    if absent:
        raise ValueError(f"The saved weights lack {', '.join(absent)}: the folder is not complete.")
