"""Perplexity that carries its own definition, so that two results are compared pairwise or not."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenkit.foundations.small_samples import t95
from greenkit.inputs.progress import progress_bar
from greenkit.inputs.reach import refuse_unreadable
from greenkit.inputs.texts import Text
from greenkit.inputs.tokens import TokenWindows, token_windows

if TYPE_CHECKING:
    import torch

MOST_WINDOWS = 16  # in one pass of a GPU
ROWS = 128  # of logits that become float32 at a time: a vocabulary is wide


@dataclass(frozen=True)
class PerplexityRatio:
    """One perplexity over another on the same windows.

    `log_standard_error` is the paired standard error of the mean difference of losses in nats;
    `low` and `high` are the ends of its 95 % interval, by Student's t over the windows.
    """

    value: float
    log_standard_error: float
    windows: int

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.value * math.exp(-t95(self.windows) * self.log_standard_error)

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.value * math.exp(t95(self.windows) * self.log_standard_error)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Perplexity:
    """The exponential of the mean loss over the windows, with all that defines it.

    `window_losses` are mean losses in nats per scored token, one per window; `tokens_sha256`
    names the token ids that were read.
    """

    value: float
    window_tokens: int
    stride: int
    tokens_scored: int
    window_ids: tuple[int, ...]
    window_losses: tuple[float, ...]
    tokens_sha256: str
    device: str
    dtype: str

    @property
    def definition(self) -> str:
        """What was computed, in one line that two comparable results share."""
        return (
            f"{len(self.window_ids)} windows of {self.window_tokens} tokens, stride {self.stride}, "
            f"{self.tokens_scored} tokens scored, window numbers {_shortened(self.window_ids)}, "
            f"tokens sha256 {self.tokens_sha256[:12]}"
        )

    def ratio_to(self, base: Perplexity) -> PerplexityRatio:
        """This perplexity over `base`, paired window by window.

        Windows differ far more from one another than two models do on one window, so only the
        paired difference separates models. Windows of one article are not independent: read the
        interval as a lower bound on the uncertainty.
        Raises ValueError if the definitions differ or there are fewer than two windows.
        """
        ours = (self.window_tokens, self.stride, self.window_ids, self.tokens_sha256)
        theirs = (base.window_tokens, base.stride, base.window_ids, base.tokens_sha256)
        if ours != theirs:
            raise ValueError(
                "Two perplexities compare only on the same tokens and windows: this one has "
                f"{self.definition}; the other has {base.definition}."
            )
        if len(self.window_ids) < 2:
            raise ValueError("One window has no spread: compare on two windows or more.")
        pairs = zip(self.window_losses, base.window_losses, strict=True)
        differences = [mine - other for mine, other in pairs]
        spread = statistics.stdev(differences) / math.sqrt(len(differences))
        return PerplexityRatio(math.exp(statistics.fmean(differences)), spread, len(differences))

    def __str__(self) -> str:
        return f"perplexity {self.value:.2f} ({self.definition})"


def _shortened(numbers: tuple[int, ...]) -> str:
    if len(numbers) <= 4:
        return ", ".join(map(str, numbers))
    return f"{numbers[0]}, {numbers[1]}, … {numbers[-1]}"


def perplexity(
    model: torch.nn.Module,
    tokenizer: Any,
    text: Text | str,
    *,
    window_tokens: int = 512,
    stride: int | None = None,
    windows: int | Sequence[int] | None = 16,
    batch_size: int | None = None,
) -> Perplexity:
    """How surprised a causal language model is by a text.

    Every window scores its last `stride` tokens (without overlap: all but its first one), so
    that each window counts the same. Losses are computed in float32 whatever the model's dtype.

    Args:
        model: returns logits of shape (batch, tokens, vocabulary).
        tokenizer: the model's own.
        text: a split of `load_text`, or a string.
        window_tokens, stride, windows: see `token_windows`; 16 evenly spaced windows by default.
        batch_size: windows per forward pass; by default one, and on a GPU up to 16, as its free
            memory allows.

    Raises:
        ValueError: the text is too short, a number makes no sense, the windows are longer than
            the model's context or hold tokens that it does not know, or the model returns a loss
            that is not finite.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
    chosen = token_windows(
        tokenizer, text, window_tokens=window_tokens, stride=stride, windows=windows
    )
    refuse_unreadable(model, chosen.ids)
    losses = [
        mean_loss(guesses, targets)
        for guesses, targets in scored_windows(model, chosen, batch_size=batch_size)
    ]
    return perplexity_of(plain(losses), chosen, next(model.parameters()))


def scored_windows(
    model: torch.nn.Module, chosen: TokenWindows, *, batch_size: int | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For each window the logits (scored, vocabulary) and the tokens that came, on the device.

    The model is in evaluation mode meanwhile, and as it was before in the end. For `batch_size`
    see `perplexity`.
    """
    import torch

    scored = min(chosen.stride, chosen.window_tokens - 1)
    place = next(model.parameters()).device
    size = batch_size or windows_at_once(model, chosen.window_tokens)
    was_training = model.training
    model.eval()
    try:
        with progress_bar("perplexity", len(chosen.numbers), "window") as bar:
            for some in torch.split(chosen.ids, size):
                ids = some.to(place)
                with torch.no_grad():
                    logits = model(input_ids=ids, use_cache=False).logits
                for row, target in zip(logits, ids, strict=True):
                    yield row[-scored - 1 : -1], target[-scored:]
                bar.update(len(ids))
    finally:
        model.train(was_training)


def windows_at_once(model: torch.nn.Module, window_tokens: int) -> int:
    """How many windows to score in one pass: one, and on a GPU 1 to 16 by its free memory."""
    import torch

    weight = next(model.parameters())
    if weight.device.type != "cuda":
        return 1
    config: Any = model.config
    free_bytes, _ = torch.cuda.mem_get_info(weight.device)
    logits_bytes = 4 * window_tokens * config.vocab_size
    return max(1, min(MOST_WINDOWS, int(free_bytes / (4 * logits_bytes))))


def mean_loss(guesses: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean loss in nats of logits (scored, vocabulary) on the tokens (scored) that came."""
    import torch
    from torch.nn.functional import cross_entropy

    parts = zip(torch.split(guesses, ROWS), torch.split(targets, ROWS), strict=True)
    losses = [cross_entropy(some.float(), came, reduction="none") for some, came in parts]
    return torch.cat(losses).mean()


def plain(values: Sequence[torch.Tensor]) -> list[float]:
    """Numbers that lie on the device, brought over together."""
    import torch

    return [float(value) for value in torch.stack(list(values)).tolist()]


def perplexity_of(
    losses: Sequence[float], chosen: TokenWindows, weight: torch.Tensor
) -> Perplexity:
    """The perplexity of one loss a window. Raises ValueError where a loss is not finite."""
    if not all(map(math.isfinite, losses)):
        raise ValueError(
            f"The model's loss is not finite on windows of {chosen.window_tokens} tokens in "
            f"{weight.dtype}: its weights or this dtype overflow; try float32."
        )
    return Perplexity(
        value=math.exp(statistics.fmean(losses)),
        window_tokens=chosen.window_tokens,
        stride=chosen.stride,
        tokens_scored=min(chosen.stride, chosen.window_tokens - 1) * len(losses),
        window_ids=chosen.numbers,
        window_losses=tuple(losses),
        tokens_sha256=chosen.sha256,
        device=str(weight.device),
        dtype=str(weight.dtype).removeprefix("torch."),
    )
