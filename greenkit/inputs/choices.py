"""A test with right answers: which of four continuations is the one that came?

The form of HellaSwag (Zellers et al. 2019): a context, one real continuation and three others, and
the model takes the one that it finds the likeliest. There the others are written to mislead and
filtered until they do; here they are real text from other places, so that no download is needed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenkit.inputs.progress import progress_bar
from greenkit.inputs.reach import refuse_beyond_context
from greenkit.inputs.texts import Text

if TYPE_CHECKING:
    import torch

ENDINGS = 4
Z = 1.96  # two-sided 95 % of the normal distribution
QUESTIONS_AT_ONCE = {"cpu": 4, "cuda": 64}


@dataclass(frozen=True)
class Choices:
    """How many questions a model got right; guessing gets a quarter of them.

    `low` and `high` are the ends of Wilson's 95 % interval of the share.
    """

    right: int
    questions: int

    @property
    def share(self) -> float:
        """The share of questions that it got right."""
        return self.right / self.questions

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        middle, half = self._wilson()
        return max(0.0, middle - half)

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        middle, half = self._wilson()
        return min(1.0, middle + half)

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, for a record."""
        counts = {"right": self.right, "questions": self.questions}
        return {**counts, "share": self.share, "low": self.low, "high": self.high}

    def _wilson(self) -> tuple[float, float]:
        """Middle and half width (Wilson 1927): it stays within 0 to 1, even where all are right."""
        n, p = self.questions, self.share
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
        return middle, half

    def __str__(self) -> str:
        return (
            f"{self.right} of {self.questions} right: {self.share:.0%} "
            f"({self.low:.0%} to {self.high:.0%}); chance {1 / ENDINGS:.0%}"
        )


class ContinuationTest:
    """Questions with one real and three wrong continuations, all from one text.

    Contexts lie evenly spaced; the wrong continuations are drawn from places that touch neither
    the question nor each other. A continuation counts by its mean log-probability a token.

    Args:
        tokenizer: the model's own.
        text: a split of `load_text`, or a string.
        questions: how many.
        context_tokens, continuation_tokens: the length of each part.
        seed: another seed draws other wrong continuations.

    Raises ValueError for a number below 1 and for a text that is too short. Derived in: Lab 04.
    """

    def __init__(
        self,
        tokenizer: Any,
        text: Text | str,
        *,
        questions: int = 40,
        context_tokens: int = 64,
        continuation_tokens: int = 16,
        seed: int = 0,
    ) -> None:
        import torch

        if min(questions, context_tokens, continuation_tokens) < 1:
            raise ValueError(
                "questions, context_tokens and continuation_tokens must be 1 or more, got "
                f"{questions}, {context_tokens} and {continuation_tokens}."
            )
        plain = text.text if isinstance(text, Text) else text
        tokens = tokenizer(plain, add_special_tokens=False, verbose=False)["input_ids"]
        whole = context_tokens + continuation_tokens
        needed = max(questions * whole, whole + 2 * ENDINGS * continuation_tokens)
        if len(tokens) < needed:
            raise ValueError(
                f"The text is too short: it has {len(tokens)} tokens, and {questions} questions "
                f"of {context_tokens} + {continuation_tokens} tokens take {needed}."
            )
        drawn = random.Random(seed)
        ids = torch.tensor(tokens, dtype=torch.long)
        contexts, endings = [], []
        for number in range(questions):
            start = number * (len(tokens) - whole) // max(questions - 1, 1)
            real = start + context_tokens
            places = [real, *_elsewhere(drawn, len(tokens), start, whole, continuation_tokens)]
            contexts.append(ids[start:real])
            endings.append(torch.stack([ids[p : p + continuation_tokens] for p in places]))
        self.contexts = torch.stack(contexts)
        self.endings = torch.stack(endings)  # (questions, 4, tokens); the real one comes first

    def of(self, model: Any) -> Choices:
        """Ask a torch module, a `LoadedModel` or the result of a compression.

        Raises ValueError for a model whose context is shorter than a question, and where its
        probabilities are not finite.
        """
        import torch
        from torch import nn

        network = model if isinstance(model, nn.Module) else model.model
        refuse_beyond_context(network, self.contexts.shape[1] + self.endings.shape[2])
        with progress_bar("questions", len(self.contexts), "question") as bar:
            scores = torch.cat(list(self._scores(network, bar)))
        if not scores.isfinite().all():
            raise ValueError("The model's probabilities are not finite: try float32.")
        best = scores[:, 1:].amax(1)
        return Choices(int((scores[:, 0] > best).sum()), len(scores))

    def _scores(self, network: Any, bar: Any) -> Iterator[torch.Tensor]:
        """Mean log-probability of each ending, (questions, 4), some questions at a time."""
        import torch

        place = next(network.parameters()).device
        size = QUESTIONS_AT_ONCE["cuda" if place.type == "cuda" else "cpu"]
        was_training = network.training
        network.eval()
        try:
            for first in range(0, len(self.contexts), size):
                context = self.contexts[first : first + size].to(place)
                endings = self.endings[first : first + size].to(place).flatten(0, 1)
                with torch.no_grad():
                    read = network(input_ids=context, use_cache=True, logits_to_keep=1)
                    cache = read.past_key_values
                    cache.batch_repeat_interleave(ENDINGS)
                    told = network(input_ids=endings[:, :-1], past_key_values=cache).logits
                opening = read.logits[:, -1:].repeat_interleave(ENDINGS, 0)
                log_p = torch.cat([opening, told], 1).float().log_softmax(-1)
                each = log_p.gather(-1, endings.unsqueeze(-1)).squeeze(-1)
                yield each.mean(1).view(-1, ENDINGS).cpu()
                bar.update(len(context))
        finally:
            network.train(was_training)


def _elsewhere(
    drawn: random.Random, available: int, start: int, whole: int, length: int
) -> list[int]:
    """Where the wrong endings begin: they touch neither the question nor each other."""
    taken = [(start, start + whole)]
    while len(taken) < ENDINGS:
        place = drawn.randrange(available - length + 1)
        if all(place + length <= begin or end <= place for begin, end in taken):
            taken.append((place, place + length))
    return [begin for begin, _ in taken[1:]]
