"""Load a causal language model with its tokenizer, ready to run on this machine's device."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenkit.inputs import cache
from greenkit.inputs.assets import ASSETS, AssetError
from greenkit.inputs.fetching import fetch
from greenkit.inputs.gguf import converted, quiet
from greenkit.inputs.reading import first_line
from greenkit.inputs.reading import read as _read
from greenkit.inputs.reading import read_folder as _folder

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

DEFAULT_MODEL = "smollm2-135m"
UNTRAINED_GPT2 = "gpt2-untrained"
UNTRAINED_SEED = 0
HUB_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with its tokenizer, and where its weights come from.

    `trained` is False where the weights are random: such a model is for timing only.
    """

    model: PreTrainedModel = field(repr=False)
    tokenizer: Any = field(repr=False)
    name: str
    trained: bool
    provenance: str
    device: torch.device
    dtype: torch.dtype

    @property
    def parameters(self) -> int:
        """The number of parameters as the model is now; tied ones count once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def bytes(self) -> int:
        """Bytes that parameters and buffers take in memory as the model is now."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def load_model(
    name: str = DEFAULT_MODEL, *, device: str = "auto", dtype: torch.dtype | str | None = None
) -> LoadedModel:
    """Load a causal language model by name.

    Args:
        name: "smollm2-135m" (the packaged default), "gpt2-untrained" (GPT-2 124M with random
            weights, for timing), a local folder, or the name of a model on the Hugging Face hub.
        device: "auto" (the GPU if CUDA sees one, else the CPU) or a torch device such as "mps".
        dtype: a torch dtype or its name; by default float32, and on CUDA bfloat16 where the card
            computes in it, else float16.

    Raises:
        AssetError: the model cannot be fetched, found or read.
        ValueError: this machine has no such device, or torch no such dtype.
    """
    _import_transformers()
    place = choose_device(device)
    number = choose_dtype(dtype, place)
    if name == DEFAULT_MODEL:
        model, tokenizer, provenance = _default(number)
    elif name == UNTRAINED_GPT2:
        model, tokenizer, provenance = _untrained_gpt2(number)
    elif _looks_like_folder(name):
        model, tokenizer, provenance = _folder(name, number)
    else:
        model, tokenizer, provenance = _hub(name, number)
    model = model.to(place).eval()
    settings = model.generation_config
    if settings.pad_token_id is None:  # generate() would choose the same, with a warning each time
        ends = settings.eos_token_id
        settings.pad_token_id = ends[0] if isinstance(ends, list) else ends
    trained = name != UNTRAINED_GPT2
    return LoadedModel(model, tokenizer, name, trained, provenance, place, number)


def choose_device(device: str) -> torch.device:
    """The torch device meant by `device`; refuses one that this machine lacks."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"{device!r} is no device: use 'auto', 'cpu', 'cuda' or 'mps'.") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise ValueError(f"{device!r} was asked for, and torch sees {seen} CUDA GPUs: use 'auto'.")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("'mps' was asked for, and torch sees no Apple GPU: use 'auto'.")
    return chosen


def choose_dtype(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    """The dtype asked for, or the widest one that the device computes fast."""
    import torch

    if isinstance(dtype, str):
        named = getattr(torch, dtype, None)
        if not isinstance(named, torch.dtype):
            raise ValueError(f"torch has no dtype {dtype!r}: use 'float32', 'bfloat16', 'float16'.")
        dtype = named
    if dtype is not None:
        if not dtype.is_floating_point:
            raise ValueError(f"A model cannot be loaded in {dtype}: use a floating-point dtype.")
        return dtype
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if has_bfloat16(device) else torch.float16


def refuse_offloaded(network: nn.Module) -> None:
    """Refuse a model of which weights lie on a disk or nowhere, and only their shapes in memory.

    Raises ValueError that names up to three of them.
    """
    tensors = [*network.named_parameters(), *network.named_buffers()]
    absent = [name for name, tensor in tensors if tensor.device.type == "meta"]
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise ValueError(
            f"Weights of this {type(network).__name__} are not in memory (offloaded, on the meta "
            f"device): {', '.join(absent[:3])}{more}; load the model whole, without device_map."
        )


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 itself: GPUs since Ampere, CPUs with AVX-512 BF16."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # newer than torch 2.4
        return False
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def _import_transformers() -> None:
    """Import it without tqdm's note, in Jupyter, that widgets would draw nicer bars."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import transformers  # noqa: F401


def _default(dtype: torch.dtype) -> tuple[Any, Any, str]:
    folder = converted(DEFAULT_MODEL)
    asset = ASSETS[DEFAULT_MODEL]
    provenance = (
        f"{asset.attribution} ({asset.licence}), from {asset.package.name} "
        f"{asset.package.version}, sha256 {asset.sha256[:12]}…; weights de-quantized from 4 bits"
    )
    return *_read(str(folder), dtype, local_files_only=True), provenance


def _untrained_gpt2(dtype: torch.dtype) -> tuple[Any, Any, str]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

    vocabulary, merges = fetch("gpt2-encoder"), fetch("gpt2-vocab")
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        model = GPT2LMHeadModel(GPT2Config()).to(dtype)
        tokenizer = GPT2TokenizerFast(str(vocabulary), str(merges))
    provenance = (
        f"untrained: GPT-2 124M with random weights (seed {UNTRAINED_SEED}), for timing only; "
        f"{ASSETS['gpt2-vocab'].attribution}"
    )
    return model, tokenizer, provenance


def _looks_like_folder(name: str) -> bool:
    return Path(name).is_dir() or name.startswith((".", "/", "~", "\\")) or "\\" in name


def _hub(name: str, dtype: torch.dtype) -> tuple[Any, Any, str]:
    """Read a hub model from the hub's own cache if it is there, else ask the hub, briefly."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    known = ", ".join((DEFAULT_MODEL, UNTRAINED_GPT2))
    try:
        cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        raise AssetError(
            f"{name!r} is neither {known}, nor a folder, nor a possible hub name."
        ) from None
    model = None
    if cached:
        try:
            model, tokenizer = _read(name, dtype, local_files_only=True)
        except (OSError, ValueError):  # only part of it is in the hub's cache
            model = None
    if model is None:
        _ask_hub(name, known)
        try:
            model, tokenizer = _read(name, dtype, local_files_only=False)
        except (OSError, ValueError) as error:
            why = first_line(error)
            raise AssetError(f"{name!r} cannot be loaded from the hub: {why}.") from None
    commit = getattr(model.config, "_commit_hash", None) or "unknown"
    return model, tokenizer, f"{name} from the Hugging Face hub, commit {commit[:12]}"


def _ask_hub(name: str, known: str) -> None:
    """Refuse at once, in one sentence, what would end in minutes of retries and a traceback."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    instead = f"use load_model('{DEFAULT_MODEL}'), which comes from the package index"
    if cache.offline():
        raise AssetError(
            f"{name!r} is not complete in the hub's cache and GREENKIT_OFFLINE forbids fetching "
            f"it: load it once without GREENKIT_OFFLINE, or {instead}."
        )
    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError:
        raise AssetError(
            f"The Hugging Face hub has no model {name!r} that you may read: check the name (built "
            f"in are {known}) or log in with `hf auth login`."
        ) from None
    except Exception as error:  # the HTTP library behind the hub changes, and its errors with it
        raise AssetError(
            f"{name!r} is not in the hub's cache and the Hugging Face hub cannot be reached "
            f"({type(error).__name__}): connect to it, give a local folder, or {instead}."
        ) from None
