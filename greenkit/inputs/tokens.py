"""Cut a text into windows of tokens: packed, unpadded, and named by their place in the text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greenkit.inputs.texts import Text

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TokenWindows:
    """Windows of a tokenized text.

    `ids` has shape (windows, window_tokens); window number i starts at token i * stride.
    `sha256` covers the token ids themselves, so that equal hashes mean equal input.
    """

    ids: torch.Tensor = field(repr=False)
    numbers: tuple[int, ...]
    window_tokens: int
    stride: int
    sha256: str


def token_windows(
    tokenizer: Any,
    text: Text | str,
    *,
    window_tokens: int = 512,
    stride: int | None = None,
    windows: int | Sequence[int] | None = None,
) -> TokenWindows:
    """Choose windows of a text: all of them, a number of evenly spaced ones, or those named.

    Args:
        tokenizer: the model's own; no special token is added and nothing is padded.
        text: a split of `load_text`, whose articles are packed one after the other, or a string.
        window_tokens: tokens in a window.
        stride: tokens from one window's start to the next; by default windows do not overlap.
        windows: how many, evenly spaced over the text, or their numbers; None takes all.

    Raises:
        ValueError: the text is too short, or a number makes no sense.
    """
    import torch

    stride = window_tokens if stride is None else stride
    if window_tokens < 2 or not 1 <= stride <= window_tokens:
        raise ValueError(
            f"A window needs 2 tokens or more and a stride from 1 to its own length: got "
            f"window_tokens={window_tokens}, stride={stride}."
        )
    plain = text.text if isinstance(text, Text) else text
    tokens = tokenizer(plain, add_special_tokens=False, verbose=False)["input_ids"]
    available = 1 + (len(tokens) - window_tokens) // stride if len(tokens) >= window_tokens else 0
    numbers = _choose(windows, available, len(tokens), window_tokens)
    rows = [tokens[n * stride : n * stride + window_tokens] for n in numbers]
    ids = torch.tensor(rows, dtype=torch.long)
    digest = hashlib.sha256(ids.numpy().astype("<i8").tobytes()).hexdigest()
    return TokenWindows(ids, numbers, window_tokens, stride, digest)


def _choose(
    windows: int | Sequence[int] | None, available: int, tokens: int, window_tokens: int
) -> tuple[int, ...]:
    if available == 0:
        raise ValueError(
            f"The text has {tokens} tokens, fewer than one window of {window_tokens}: "
            "give a longer text or a smaller window_tokens."
        )
    if windows is None:
        return tuple(range(available))
    if isinstance(windows, int):
        if not 1 <= windows <= available:
            raise ValueError(f"{windows} windows were asked for; the text has 1 to {available}.")
        return tuple(i * available // windows for i in range(windows))
    numbers = tuple(windows)
    if not numbers or len(set(numbers)) < len(numbers) or not set(numbers) <= set(range(available)):
        raise ValueError(f"windows={numbers} must be different numbers from 0 to {available - 1}.")
    return numbers
