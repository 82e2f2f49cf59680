"""What keeps a model folder from being read, found in its files before any of it is loaded."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenkit.inputs.assets import AssetError

SAVED = "compressed.json"  # beside the weights that `Compressed.save` writes
READ_AS_JSON = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
POINTER = b"version https://git-lfs"
NO_LANGUAGE_MODEL = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForMaskedLM",
    "ForPreTraining",
    "ForNextSentencePrediction",
    "ForRewardModel",
)


def refuse_broken_files(folder: Path) -> None:
    """Refuse a folder with a file that is cut short, is no file of its kind, or is not there.

    Headers of weight files are read, not the weights. Raises AssetError that names the file.
    """
    for name in READ_AS_JSON:
        if (folder / name).is_file():
            read_json(folder / name)
    if (folder / SAFETENSORS).is_file():
        _refuse_broken_safetensors(folder / SAFETENSORS)
    elif (folder / f"{SAFETENSORS}.index.json").is_file():
        for name in _shards(folder / f"{SAFETENSORS}.index.json"):
            _refuse_broken_safetensors(folder / name)
    elif (folder / PICKLED).is_file():
        _refuse_broken_pickle(folder / PICKLED)
    elif (folder / f"{PICKLED}.index.json").is_file():
        for name in _shards(folder / f"{PICKLED}.index.json"):
            _refuse_broken_pickle(folder / name)
    else:
        _refuse_missing(folder / SAFETENSORS)


def read_config(folder: Path) -> dict[str, Any]:
    """The values of a folder's config.json. Raises AssetError where there is none to read."""
    path = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        raise AssetError(
            f"{folder} holds an adapter (adapter_config.json), which is no model by itself: merge "
            "it into its base model with peft's merge_and_unload, and save that."
        )
    if not path.is_file():
        raise AssetError(
            f"{folder} is no model folder: it has no config.json; give the folder that "
            "save_pretrained wrote for the model and its tokenizer."
        )
    return read_json(path)


def refuse_unreadable_config(config: Mapping[str, Any], name: str) -> None:
    """Refuse, from its configuration, a model that this course cannot load as what it is.

    Those are models with packed weights, with code of their own, and models that do not write text
    from left to right. Raises AssetError.
    """
    import transformers
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    kind = config.get("model_type")
    text = config.get("text_config")
    nested = text if isinstance(text, Mapping) else {}
    for part in (config, nested):
        if packed := part.get("quantization_config") or part.get("compression_config"):
            method = packed.get("quant_method") if isinstance(packed, Mapping) else None
            raise AssetError(
                f"{name} holds weights that {method or 'another tool'} packed: this course reads "
                "16- and 32-bit weights; load the model that they were made from, and `quantize` "
                "it here."
            )
    if config.get("auto_map") and kind not in CONFIG_MAPPING:
        raise AssetError(
            f"{name} is a {kind or 'model'} that runs on code of its own (auto_map), which this "
            "course does not execute: load a model whose architecture transformers has."
        )
    if kind is not None and kind not in CONFIG_MAPPING:
        raise AssetError(
            f"{name} cannot be read as a causal model: transformers {transformers.__version__} "
            f"knows no model_type {kind!r}; load another model, or update transformers."
        )
    classes = [str(each) for each in config.get("architectures") or []]
    if classes and all(each.endswith(NO_LANGUAGE_MODEL) for each in classes):
        raise AssetError(
            f"{name} was saved as {classes[0]}, which is no causal language model: load the "
            "language model that it was made from."
        )
    if config.get("is_encoder_decoder"):
        raise AssetError(
            f"{name} ({kind}) is an encoder with a decoder, not a causal language model alone: load"
            " one built like GPT-2 or Llama."
        )
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder"):
        raise AssetError(
            f"{name} ({kind}) is an encoder, which reads in both directions and cannot write: load "
            "a causal language model built like GPT-2 or Llama."
        )
    if kind is not None and CONFIG_MAPPING[kind] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise AssetError(
            f"{name} ({kind}) is no causal language model: load one built like GPT-2 or Llama."
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of JSON. Raises AssetError where there is none, or part of one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise AssetError(f"{path} {_damage(path, 'JSON')}: fetch or copy it again.")
    return values


def _shards(index: Path) -> list[str]:
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise AssetError(f"{index} names no weight files: fetch or copy it again.")
    return sorted({str(name) for name in files.values()})


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise AssetError(f"{path} is missing: fetch or copy the whole folder again.")


def _refuse_broken_safetensors(path: Path) -> None:
    """Refuse a file whose header and size do not agree."""
    from safetensors import SafetensorError, safe_open

    _refuse_missing(path)
    try:
        with safe_open(path, framework="pt"):
            return
    except (OSError, SafetensorError):
        damage = _damage(path, "safetensors")
        raise AssetError(f"{path} {damage}: fetch or copy it again.") from None


def _refuse_broken_pickle(path: Path) -> None:
    """Refuse a file of torch.save without its end, which is the directory of a zip archive."""
    _refuse_missing(path)
    with path.open("rb") as file:
        of_old_torch = file.read(1) == b"\x80"
    if not of_old_torch and not zipfile.is_zipfile(path):
        raise AssetError(f"{path} {_damage(path, 'torch.save file')}: fetch or copy it again.")


def _damage(path: Path, kind: str) -> str:
    """What is wrong with a file that is not of its kind, in words."""
    try:
        with path.open("rb") as file:
            start = file.read(len(POINTER))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if start == POINTER:
        return "is a pointer of git-lfs in place of the file (run `git lfs pull`)"
    size = path.stat().st_size
    return f"is cut short or no {kind} ({size:,} bytes)" if size else "is empty"
