"""How far a compressed model is from the dense one, token by token, on the same windows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenkit.inputs.models import LoadedModel
from greenkit.inputs.quality import (
    Perplexity,
    PerplexityRatio,
    mean_loss,
    perplexity_of,
    scored_windows,
)
from greenkit.inputs.texts import Text
from greenkit.inputs.tokens import token_windows

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WindowMean:
    """A mean over windows with its standard error; the interval is plus and minus two of them."""

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.value - 2 * self.standard_error

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.value + 2 * self.standard_error


@dataclass(frozen=True)
class Quality:
    """A model beside the dense one.

    `ratio` is its perplexity over the dense model's; `kl` the KL divergence of its next-token
    probabilities from the dense model's, in nats a token, 0 where they agree; `top1` the share of
    tokens for which both hold the same token for the likeliest.
    """

    perplexity: Perplexity
    ratio: PerplexityRatio
    kl: WindowMean
    top1: WindowMean

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, for a record."""
        return {
            "perplexity": self.perplexity.value,
            "ratio": self.ratio.value,
            "ratio_low": self.ratio.low,
            "ratio_high": self.ratio.high,
            "kl": self.kl.value,
            "kl_low": self.kl.low,
            "kl_high": self.kl.high,
            "top1": self.top1.value,
            "top1_low": self.top1.low,
            "top1_high": self.top1.high,
        }

    def __str__(self) -> str:
        return (
            f"perplexity {self.perplexity.value:.2f}, {self.ratio} of dense; "
            f"KL {self.kl.value:.3f} nats; same first choice {self.top1.value:.1%}"
        )


class QualityTest:
    """A dense model's answers on windows of a text, to hold other models against.

    The dense model runs once. Its log-probabilities are kept in half precision on its device, 50 MB
    for a window of 512 tokens of the course's model, which blurs a KL divergence by some 1e-5 nats.

    Args:
        dense: the model to compare with, of `load_model`.
        text: a split of `load_text`, or a string.
        windows, window_tokens: see `token_windows`; 16 evenly spaced windows by default.

    Raises ValueError for a text that is too short and where fewer than two windows are asked for.
    """

    def __init__(
        self,
        dense: LoadedModel,
        text: Text | str,
        *,
        windows: int | Sequence[int] = 16,
        window_tokens: int = 512,
    ) -> None:
        self.windows = token_windows(
            dense.tokenizer, text, window_tokens=window_tokens, windows=windows
        )
        if len(self.windows.numbers) < 2:
            raise ValueError("One window has no spread: compare on two windows or more.")
        losses, self._log_p = [], []
        for guesses, targets in scored_windows(dense.model, self.windows):
            losses.append(mean_loss(guesses, targets))
            self._log_p.append(guesses.log_softmax(-1).half())
        self.dense = perplexity_of(losses, self.windows, next(dense.model.parameters()))

    def of(self, model: Any) -> Quality:
        """Hold a torch module, a `LoadedModel` or the result of a compression against the dense.

        Raises ValueError for a model with another vocabulary and where its loss is not finite.
        """
        from torch import nn

        network = model if isinstance(model, nn.Module) else model.model
        losses, divergences, agreements = [], [], []
        for (guesses, targets), log_p in zip(
            scored_windows(network, self.windows), self._log_p, strict=True
        ):
            if guesses.shape != log_p.shape:
                raise ValueError(
                    f"The dense model knows {log_p.shape[-1]:,} tokens and this one "
                    f"{guesses.shape[-1]:,}: their probabilities do not compare."
                )
            losses.append(mean_loss(guesses, targets))
            divergences.append(_divergence(log_p.to(guesses.device).float(), guesses))
            same = log_p.to(guesses.device).argmax(-1) == guesses.argmax(-1)
            agreements.append(same.float().mean().item())
        found = perplexity_of(losses, self.windows, next(network.parameters()))
        ratio = found.ratio_to(self.dense)
        return Quality(found, ratio, _mean(divergences), _mean(agreements))


def _divergence(log_p: torch.Tensor, guesses: torch.Tensor) -> float:
    """Mean KL divergence in nats of the model's probabilities from those given."""
    return (log_p.exp() * (log_p - guesses.log_softmax(-1))).sum(-1).mean().item()


def _mean(values: Sequence[float]) -> WindowMean:
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return WindowMean(statistics.fmean(values), spread)
