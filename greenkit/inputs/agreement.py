"""How far a compressed model is from the dense one, token by token, on the same windows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenkit.foundations.small_samples import t95
from greenkit.inputs.memory import give_back
from greenkit.inputs.models import LoadedModel
from greenkit.inputs.quality import (
    ROWS,
    Perplexity,
    PerplexityRatio,
    mean_loss,
    perplexity_of,
    plain,
    scored_windows,
)
from greenkit.inputs.reach import refuse_other_tokenizer, refuse_unreadable
from greenkit.inputs.texts import Text
from greenkit.inputs.tokens import token_windows

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WindowMean:
    """A mean over windows with its standard error, and a 95 % interval by Student's t."""

    value: float
    standard_error: float
    windows: int

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.value - t95(self.windows) * self.standard_error

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.value + t95(self.windows) * self.standard_error


@dataclass(frozen=True)
class Quality:
    """A model beside the dense one.

    `ratio` is its perplexity over the dense model's; `kl` the KL divergence of its next-token
    probabilities from the dense model's, in nats a token, 0 where they agree; `top1` the share of
    tokens for which both hold the same token for the likeliest; `accuracy` the share for which the
    token that this model holds for the likeliest is the one that came.
    """

    perplexity: Perplexity
    ratio: PerplexityRatio
    kl: WindowMean
    top1: WindowMean
    accuracy: WindowMean

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
            "accuracy": self.accuracy.value,
            "accuracy_low": self.accuracy.low,
            "accuracy_high": self.accuracy.high,
        }

    def __str__(self) -> str:
        return (
            f"perplexity {self.perplexity.value:.2f}, {self.ratio} of dense; "
            f"KL {self.kl.value:.3f} nats; same first choice {self.top1.value:.1%}; "
            f"next token right {self.accuracy.value:.1%}"
        )


class QualityTest:
    """A dense model's answers on windows of a text, to hold other models against.

    The dense model runs once. Its log-probabilities are kept in half precision on its device, 50 MB
    for a window of 512 tokens of the course's model, which blurs a KL divergence by some 1e-5 nats.
    `dense` is its perplexity, and `dense_accuracy` the share of tokens that it guesses right.

    Args:
        dense: the model to compare with, of `load_model`.
        text: a split of `load_text`, or a string.
        windows, window_tokens: see `token_windows`; 16 evenly spaced windows by default.

    Raises ValueError for a text that is too short, windows longer than the model's context, and
    where fewer than two windows are asked for.
    """

    def __init__(
        self,
        dense: LoadedModel,
        text: Text | str,
        *,
        windows: int | Sequence[int] = 16,
        window_tokens: int = 512,
    ) -> None:
        import torch

        self.windows = token_windows(
            dense.tokenizer, text, window_tokens=window_tokens, windows=windows
        )
        refuse_unreadable(dense.model, self.windows.ids)
        self._tokenizer = dense.tokenizer
        if len(self.windows.numbers) < 2:
            raise ValueError("One window has no spread: compare on two windows or more.")
        losses, right, self._log_p, self._choices = [], [], [], []
        for guesses, targets in scored_windows(dense.model, self.windows):
            losses.append(mean_loss(guesses, targets))
            parts = torch.split(guesses, ROWS)
            self._log_p.append(torch.cat([part.float().log_softmax(-1).half() for part in parts]))
            self._choices.append(guesses.argmax(-1))
            right.append((self._choices[-1] == targets).float().mean())
        self.dense = perplexity_of(plain(losses), self.windows, next(dense.model.parameters()))
        self.dense_accuracy = _mean(plain(right))
        give_back()

    def of(self, model: Any) -> Quality:
        """Hold a torch module, a `LoadedModel` or the result of a compression against the dense.

        Raises ValueError for a model with other tokens or a context shorter than the windows, and
        where its loss is not finite.
        """
        from torch import nn

        network = model if isinstance(model, nn.Module) else model.model
        refuse_other_tokenizer(self._tokenizer, model)
        refuse_unreadable(network, self.windows.ids)
        losses, divergences, agreements, right = [], [], [], []
        kept = zip(self._log_p, self._choices, strict=True)
        scored = scored_windows(network, self.windows)
        for (guesses, targets), (log_p, choices) in zip(scored, kept, strict=True):
            if guesses.shape != log_p.shape:
                raise ValueError(
                    f"The dense model knows {log_p.shape[-1]:,} tokens and this one "
                    f"{guesses.shape[-1]:,}: their probabilities do not compare."
                )
            own = guesses.argmax(-1)
            losses.append(mean_loss(guesses, targets))
            divergences.append(_divergence(log_p.to(guesses.device), guesses))
            agreements.append((own == choices.to(own.device)).float().mean())
            right.append((own == targets).float().mean())
        found = perplexity_of(plain(losses), self.windows, next(network.parameters()))
        give_back()
        means = [_mean(plain(values)) for values in (divergences, agreements, right)]
        return Quality(found, found.ratio_to(self.dense), *means)


def _divergence(log_p: torch.Tensor, guesses: torch.Tensor) -> torch.Tensor:
    """Mean KL divergence in nats of the model's probabilities from those given."""
    import torch

    found = []
    for theirs, mine in zip(torch.split(log_p, ROWS), torch.split(guesses, ROWS), strict=True):
        wide = theirs.float()
        found.append((wide.exp() * (wide - mine.float().log_softmax(-1))).sum(-1))
    return torch.cat(found).mean()


def _mean(values: Sequence[float]) -> WindowMean:
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return WindowMean(statistics.fmean(values), spread, len(values))
