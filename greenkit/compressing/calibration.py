"""Calibration text: a few windows of real tokens that show which weights matter."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import torch
from torch import nn

from greenkit.compressing.matrices import torch_model
from greenkit.inputs.models import LoadedModel
from greenkit.inputs.reach import refuse_beyond_context
from greenkit.inputs.texts import Text, load_text
from greenkit.inputs.tokens import TokenWindows, token_windows

Calibration = TokenWindows | torch.Tensor


def calibration_windows(
    tokenizer: Any, text: Text | str, *, windows: int = 16, length: int = 512, seed: int = 0
) -> TokenWindows:
    """Windows of a text drawn at random: packed without padding, none of them twice.

    `.ids` of the result is a long tensor of shape (windows, length), and `.numbers` says which
    windows of the text they are.

    Args:
        tokenizer: the model's own.
        text: the "calibration" or the "train" split of `load_text`, or a string.
        windows, length: how many windows, and of how many tokens each.
        seed: another seed draws other windows.

    Raises:
        ValueError: the text is empty or too short, or it is the test split.
    """
    if isinstance(text, Text) and text.split == "test":
        raise ValueError(
            "Calibrating on the test split would make every later perplexity on it a lie: use "
            "load_text('calibration') or load_text('train')."
        )
    if not (text.text if isinstance(text, Text) else text).strip():
        raise ValueError("The calibration text is empty: give load_text('calibration').")
    every = token_windows(tokenizer, text, window_tokens=length)
    if not 1 <= windows <= len(every.numbers):
        raise ValueError(
            f"{windows} windows of {length} tokens were asked for; the calibration text has 1 to "
            f"{len(every.numbers)}: give a longer text, or fewer or shorter windows."
        )
    numbers = tuple(sorted(random.Random(seed).sample(every.numbers, windows)))
    ids = every.ids[list(numbers)]
    digest = hashlib.sha256(ids.numpy().astype("<i8").tobytes()).hexdigest()
    return TokenWindows(ids, numbers, length, length, digest)


def default_calibration(model: LoadedModel | nn.Module) -> TokenWindows:
    """16 windows of 512 tokens of the calibration split, by the tokenizer of a `LoadedModel`.

    Raises ValueError for a bare torch module, which has none.
    """
    if not isinstance(model, LoadedModel):
        raise ValueError(
            "A bare torch module has no tokenizer: give the LoadedModel of load_model, or "
            "calibration=calibration_windows(tokenizer, load_text('calibration'))."
        )
    return calibration_windows(model.tokenizer, load_text("calibration"))


def calibration_facts(calibration: Calibration) -> dict[str, Any]:
    """What a report says about a calibration, as JSON values."""
    if isinstance(calibration, torch.Tensor):
        return {"windows": calibration.shape[0], "length": calibration.shape[1]}
    return {
        "windows": len(calibration.numbers),
        "length": calibration.window_tokens,
        "numbers": list(calibration.numbers),
        "tokens_sha256": calibration.sha256,
    }


def calibration_ids(
    model: LoadedModel | nn.Module, calibration: Calibration | None = None
) -> torch.Tensor:
    """The token ids to calibrate with, as a checked long tensor of shape (windows, length).

    `calibration` is a result of `calibration_windows` or such a tensor; None takes
    `default_calibration`.
    Raises ValueError for ids that this model cannot read, and where there are none.
    """
    if calibration is None:
        calibration = default_calibration(model)
    ids = calibration.ids if isinstance(calibration, TokenWindows) else calibration
    if not isinstance(ids, torch.Tensor) or ids.dtype != torch.long or ids.dim() != 2:
        raise ValueError(
            "calibration must be a result of calibration_windows or a long tensor of token ids of "
            f"shape (windows, length), got {_described(ids)}."
        )
    if ids.shape[0] < 1 or ids.shape[1] < 2:
        raise ValueError(
            f"The calibration has {ids.shape[0]} windows of {ids.shape[1]} tokens: it needs a "
            "window or more of two tokens or more."
        )
    settings: Any = torch_model(model).config
    if ids.min() < 0 or ids.max() >= settings.vocab_size:
        raise ValueError(
            f"The calibration has token ids from {ids.min()} to {ids.max()}; this model knows 0 to "
            f"{settings.vocab_size - 1}: tokenize with the model's own tokenizer."
        )
    refuse_beyond_context(torch_model(model), ids.shape[1])
    return ids


def _described(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return type(value).__name__
