"""Files of a model whatever became of its shapes: weights as safetensors, what was done as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from greenkit.compressing.matrices import matrices
from greenkit.compressing.quantization.activations import quantize_inputs
from greenkit.compressing.quantization.packing import to_file
from greenkit.compressing.quantization.quantizers import QuantizedTensor
from greenkit.compressing.rebuilding import build, put, read_tokenizer, unpack
from greenkit.inputs.assets import AssetError
from greenkit.inputs.folders import SAVED as ABOUT
from greenkit.inputs.folders import read_json, refuse_broken_files
from greenkit.inputs.models import LoadedModel, choose_device, refuse_offloaded
from greenkit.inputs.reading import head_is_tied

WEIGHTS = "model.safetensors"
FORMAT = 1
WRITTEN = (
    "method",
    "settings",
    "matrices",
    "before",
    "packed",
    "class",
    "attention",
    "config",
    "generation",
    "loaded",
)


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

    `about` has JSON values; one of them is "settings". What shares memory is written once and
    shares it again when it is read, whatever the configuration says of tied embeddings: the saved
    one says what is true. Raises ValueError for a model whose weights are packed for one kernel
    (torchao, 2:4) or not in memory, for one that transformers could not build again, and for a
    folder that holds another model; nothing is written then.
    """
    place = Path(folder).expanduser()
    refuse_offloaded(network)
    _refuse_unknown_class(network)
    _refuse_other_model(place)
    tensors, shared = _tensors(network)
    facts = {}
    for matrix, quantized in packed.items():
        dense = tensors.pop(f"{matrix}.weight")
        parts, facts[matrix] = to_file(quantized)
        tensors.update({f"{matrix}.{part}": tensor.cpu() for part, tensor in parts.items()})
        facts[matrix]["dtype"] = str(dense.dtype).removeprefix("torch.")
    config = network.config
    values = json.loads(config.to_json_string(use_diff=False))
    text = json.dumps(
        {
            "format": FORMAT,
            **about,
            "packed": facts,
            "shared": shared,
            "class": type(network).__name__,
            "attention": config._attn_implementation,
            "config": {**values, "tie_word_embeddings": head_is_tied(network)},
            "generation": json.loads(network.generation_config.to_json_string(use_diff=False)),
            "loaded": loaded
            and {"name": loaded.name, "trained": loaded.trained, "provenance": loaded.provenance},
        },
        indent=1,
    )
    place.mkdir(parents=True, exist_ok=True)
    if loaded is not None:
        loaded.tokenizer.save_pretrained(place)
    _write_both(place, tensors, text)
    return place


def read_model(folder: Path | str, *, device: str = "auto") -> Stored:
    """Read back what `write_model` wrote: the same weights, shapes and dtype.

    Raises ValueError for a folder that holds no such model, naming the file that is cut short,
    missing or of another format.
    """
    from safetensors.torch import load_file

    place = Path(folder).expanduser()
    if not (place / ABOUT).is_file():
        raise ValueError(f"{place} holds no {ABOUT}: give a folder that Compressed.save wrote.")
    try:
        refuse_broken_files(place)
        about = read_json(place / ABOUT)
    except AssetError as error:
        raise ValueError(str(error)) from None
    if about.get("format") != FORMAT:
        raise ValueError(f"{place} has format {about.get('format')}; this greenkit reads {FORMAT}.")
    if lacking := [name for name in WRITTEN if name not in about]:
        raise ValueError(f"{place / ABOUT} lacks {', '.join(lacking)}: save or copy it again.")
    if not (place / WEIGHTS).is_file():
        raise ValueError(f"{place / WEIGHTS} is missing: save or copy the whole folder again.")
    target = choose_device(device)
    tensors = load_file(place / WEIGHTS, device=str(target))
    network = build(about, place / ABOUT).to(target)
    packed = unpack(network, tensors, about["packed"])
    put(network, tensors, about.get("shared"))
    if per := about["settings"].get("activations"):
        quantize_inputs([matrix for matrix in matrices(network) if matrix.name in packed], per)
    network.eval()
    if about["loaded"] is None:
        return Stored(network, about, packed, None)
    tokenizer = read_tokenizer(place)
    dtype = next(network.parameters()).dtype
    loaded = LoadedModel(network, tokenizer, **about["loaded"], device=target, dtype=dtype)
    return Stored(network, about, packed, loaded)


def _refuse_unknown_class(network: Any) -> None:
    """Refuse what could not be built again: classes of the user's, and models that are wrapped."""
    import transformers

    own = type(network)
    if getattr(transformers, own.__name__, None) is not own:
        raise ValueError(
            f"{own.__module__}.{own.__name__} is no class of transformers, so that the model could "
            "not be built again from a file: save the model of transformers that it wraps."
        )


def _refuse_other_model(place: Path) -> None:
    """Refuse a folder with a model of save_pretrained, whose files would stay beside ours."""
    if place.exists() and not place.is_dir():
        raise ValueError(f"{place} is a file: give a folder.")
    if (place / "config.json").is_file():
        raise ValueError(
            f"{place} holds another model (config.json): save to an empty folder of its own."
        )


def _tensors(network: Any) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """What to write, each memory once, and for any further name of it the first one."""
    tensors: dict[str, torch.Tensor] = {}
    shared: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in network.state_dict().items():
        if hasattr(tensor, "__tensor_flatten__"):
            raise ValueError(
                f"{name} is packed for one kernel ({type(tensor).__name__}): save the model from "
                "before it was packed, and pack it again after loading."
            )
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            shared[name] = first[key]
            continue
        first[key] = name
        own = tensor.detach().cpu().contiguous()
        part = own.untyped_storage().nbytes() > own.numel() * own.element_size()
        tensors[name] = own.clone() if part else own
    return tensors, shared


def _write_both(place: Path, tensors: Mapping[str, torch.Tensor], text: str) -> None:
    """Write weights and words beside the old ones, then put them in their place.

    The weights of this very folder may be what is being saved: they are read from the old file.
    """
    from safetensors.torch import save_file

    parts = {name: place / f"{name}.{os.getpid()}.part" for name in (WEIGHTS, ABOUT)}
    try:
        save_file(dict(tensors), parts[WEIGHTS])
        parts[ABOUT].write_text(text, encoding="utf-8")
        for name, part in parts.items():
            part.replace(place / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
