"""Read a model and its tokenizer through transformers, and let nothing random or foreign pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenkit.inputs.assets import AssetError
from greenkit.inputs.folders import (
    SAVED,
    read_config,
    refuse_broken_files,
    refuse_unreadable_config,
)
from greenkit.inputs.gguf import quiet

if TYPE_CHECKING:
    import torch

NAMED = 3  # tensors that an error names
OWN_TOKENIZER = "save the model's own beside it, with tokenizer.save_pretrained"
CLEAN_CACHE = "delete its copy in the hub's cache, and load it again"
WHOLE_COPY = "give a folder that save_pretrained wrote for a model of transformers"


def read_folder(name: str, dtype: torch.dtype) -> tuple[Any, Any, str]:
    """Model, tokenizer and provenance of a folder that save_pretrained or `save` wrote.

    Raises AssetError, naming the file or tensor that is wrong and what to do.
    """
    folder = Path(name).expanduser()
    if (folder / SAVED).is_file():
        return _read_saved(folder, dtype)
    refuse_unreadable_config(read_config(folder), str(folder))
    refuse_broken_files(folder)
    return *read(str(folder), dtype, local_files_only=True), f"local folder {folder}"


def read(name: str, dtype: torch.dtype, *, local_files_only: bool) -> tuple[Any, Any]:
    """Model and tokenizer of a folder, or of a name on the hub.

    Raises AssetError for what is no whole causal language model with its tokenizer, and for a name
    on the hub the OSError or ValueError of transformers where files are not there.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig

    hub = not Path(name).is_dir()
    options = {"local_files_only": local_files_only, "trust_remote_code": False}
    with quiet(bars=not local_files_only):
        if hub:
            config, _ = PretrainedConfig.get_config_dict(name, local_files_only=local_files_only)
            refuse_unreadable_config(config, name)
        instead = CLEAN_CACHE if hub else WHOLE_COPY
        with _explained(f"{name} cannot be read as a causal model", instead, hub=hub):
            AutoConfig.from_pretrained(name, **options)
        with _explained(f"The tokenizer of {name} is missing or broken", OWN_TOKENIZER, hub=hub):
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
        refuse_empty_tokenizer(tokenizer, name)
        with _explained(f"{name} cannot be read as a causal model", instead, hub=hub):
            # Not model.to(dtype), which would also round the rotary frequencies. What does not
            # fit is no error of transformers here: it is refused below, by name.
            model, found = AutoModelForCausalLM.from_pretrained(
                name, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
    refuse_incomplete(model, found, name)
    model.config.tie_word_embeddings = head_is_tied(model)
    return model, tokenizer


def head_is_tied(network: Any) -> bool:
    """Whether the head is the embedding in memory, whatever the configuration says."""
    head, words = network.get_output_embeddings(), network.get_input_embeddings()
    return head is not None and head.weight.data_ptr() == words.weight.data_ptr()


def refuse_empty_tokenizer(tokenizer: Any, name: str) -> None:
    """Refuse the tokenizer without words that some classes make where their files are missing."""
    if not tokenizer("energy", add_special_tokens=False)["input_ids"]:
        raise AssetError(f"The tokenizer of {name} knows no words: {OWN_TOKENIZER}.")


def refuse_incomplete(model: Any, found: Mapping[str, Any], name: str) -> None:
    """Refuse a model of which the files lack tensors, or hold others than it has a place for.

    `found` is what from_pretrained returns for output_loading_info. A tensor that shares its memory
    with one that was read (a tied head) is not missing; tensors of other heads are left alone.
    Raises AssetError that names up to three tensors.
    """
    if wrong := sorted(found["mismatched_keys"], key=lambda each: str(each[0])):
        tensor, stored, expected = wrong[0]
        more = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
        raise AssetError(
            f"In {name}, {tensor} has the shape {tuple(stored)} and config.json says "
            f"{tuple(expected)}{more}: write a model whose shapes compressing changed with `.save`,"
            " and read it with `load_compressed`."
        )
    if missing := _random(model, found["missing_keys"]):
        raise AssetError(
            f"{name} lacks weights that the model needs, and random ones are no substitute: "
            f"{_listed(missing)}; fetch or save the whole {type(model).__name__} again."
        )
    if unread := _of_blocks(model, found["unexpected_keys"]):
        raise AssetError(
            f"{name} holds weights in its blocks that a model of its config.json leaves out: "
            f"{_listed(unread)}; give config.json and weights of one and the same model."
        )


def _random(model: Any, missing: Iterable[str]) -> list[str]:
    """Those tensors of the model, in order, that no file filled."""
    absent, tensors = set(missing), model.state_dict()
    filled = {tensor.data_ptr() for name, tensor in tensors.items() if name not in absent}
    return [name for name in tensors if name in absent and tensors[name].data_ptr() not in filled]


def _of_blocks(model: Any, unexpected: Iterable[str]) -> list[str]:
    """Tensors that are none of the model's, and lie in its blocks or in one that it lacks."""
    lists = tuple(f"{path}." for path, module in model.named_modules() if _is_blocks(module))
    return sorted(name for name in unexpected if name.startswith(lists) and _trained(name))


def _is_blocks(module: Any) -> bool:
    from torch import nn

    return isinstance(module, nn.ModuleList) and len(module) > 0


def _trained(name: str) -> bool:
    """Whether a tensor is a weight: old files hold masks and rotary tables as well."""
    own = name.rpartition(".")[2]
    table = own in ("masked_bias", "inv_freq", "position_ids", "cos_cached", "sin_cached")
    return not table and not name.endswith(("attn.bias", "attention.bias"))


def _read_saved(folder: Path, dtype: torch.dtype) -> tuple[Any, Any, str]:
    """What `Compressed.save` or `Distilled.save` wrote, in the dtype asked for."""
    from greenkit.compressing.storing import read_model  # above this room: only where it is needed

    if (folder / "config.json").is_file():
        raise AssetError(
            f"{folder} holds {SAVED} and config.json, and so two models: save each to an empty "
            "folder of its own."
        )
    try:
        stored = read_model(folder, device="cpu")
    except ValueError as error:
        raise AssetError(str(error)) from None
    instead = f"use load_compressed({str(folder)!r})"
    if stored.loaded is None:
        raise AssetError(f"{folder} holds a compressed model without a tokenizer: {instead}.")
    if not stored.loaded.trained:
        raise AssetError(
            f"{folder} holds a compressed model of random weights, for timing only: {instead}, "
            "whose `loaded` says so."
        )
    for weight in stored.network.parameters():  # not network.to(dtype), which rounds buffers too
        weight.data = weight.data.to(dtype)
    provenance = f"local folder {folder}: {stored.loaded.provenance}"
    return stored.network, stored.loaded.tokenizer, provenance


@contextmanager
def _explained(what: str, instead: str, *, hub: bool) -> Iterator[None]:
    """Turn whatever a reader raises into one sentence; missing files of the hub stay as they are.

    All kinds of errors: transformers, tokenizers and safetensors each have their own.
    """
    try:
        yield
    except (AssetError, MemoryError):
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            own = "it runs on code of its own, which this course does not execute"
            raise AssetError(f"{what}: {own}.") from None
        if hub and isinstance(error, OSError | ValueError):
            raise
        raise AssetError(f"{what} ({first_line(error)}): {instead}.") from None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def first_line(error: Exception) -> str:
    """The first line of an error whose full text is a page; its type where that breaks off."""
    line = str(error).strip().partition("\n")[0].strip()
    return type(error).__name__ if not line or line.endswith(":") else line.rstrip(".")
