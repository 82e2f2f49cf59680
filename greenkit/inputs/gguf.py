"""Turn the packaged GGUF file into a folder that transformers loads in a moment, once."""

from __future__ import annotations

import errno
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import Any

from greenkit.inputs import cache
from greenkit.inputs.assets import ASSETS, AssetError
from greenkit.inputs.fetching import fetch

CONVERSION = 1  # raise it when the conversion below changes what it writes
ROOM_BYTES = 560_000_000
TALKATIVE = ("torchao", "torch.utils._pytree")


def converted(asset_id: str, *, progress: bool = True) -> Path:
    """The folder with a GGUF asset's weights (float32 safetensors), config and tokenizer.

    Weights are those that transformers' own GGUF reader returns: de-quantized, not rounded
    again. Raises AssetError if the asset cannot be fetched or a package for reading it lacks.
    """
    asset = ASSETS[asset_id]
    entry, stamp = f"models/{asset_id}", f"{asset.sha256}-{CONVERSION}"
    folder = cache.cache_folder() / entry
    if cache.flaw(folder, stamp) is None:
        return folder
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise AssetError(
            f"{asset_id} is read from a GGUF file once, and that takes {' and '.join(missing)}: "
            f"run `pip install {' '.join(missing)}`."
        )
    source = fetch(asset_id, progress=progress)

    def build(fresh: Path) -> dict[str, Any]:
        import transformers

        cache.say(f"converting {asset_id} for transformers, once (about 25 s)")
        _convert(source, fresh, progress)
        return {
            "model": asset_id,
            "source": asset.file,
            "source_sha256": asset.sha256,
            "package": f"{asset.package.name}=={asset.package.version}",
            "licence": asset.licence,
            "attribution": asset.attribution,
            "method": "de-quantized to float32 by transformers' GGUF reader",
            "transformers": transformers.__version__,
        }

    return cache.stored(entry, stamp, ROOM_BYTES, build)


def _convert(source: Path, target: Path, progress: bool) -> None:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    bars = progress and sys.stderr.isatty()
    # The reader's own bar obeys no switch; in a log it would be one endless line.
    with quiet(bars=bars), nullcontext() if bars else redirect_stderr(io.StringIO()):
        read = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **options)
        # A model read from GGUF counts as quantized and refuses to be saved: its weights move
        # into a fresh model of the same shape, and the mark leaves the configuration.
        config = read.config
        del config.quantization_config
        with torch.device("meta"):
            fresh = AutoModelForCausalLM.from_config(config)
        fresh.load_state_dict(read.state_dict(), assign=True)
        fresh.tie_weights()
        try:
            fresh.save_pretrained(target)
        except SafetensorError as error:
            if "No space left" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise
        AutoTokenizer.from_pretrained(source.parent, **options).save_pretrained(target)


@contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """Keep what libraries say while they load, and bars unless asked for, off stderr for a while.

    Besides transformers' warnings those are the words of torchao, which transformers imports: it
    names kernels that this machine cannot use, and its first compilation warns of its own syntax.
    What will change in a later version of a library is no learner's concern.
    """
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    had_bars = transformers_logging.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    transformers_logging.set_verbosity_error()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    if not bars:
        transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            for kind in (SyntaxWarning, FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            transformers_logging.enable_progress_bar()
