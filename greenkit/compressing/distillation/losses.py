"""What a student is asked to match: the text, the teacher's probabilities, or its hidden states.

Position t of a window predicts token t + 1, so logits lose their last position and targets their
first. All is computed in float32 or wider, whatever the model's dtype.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from greenkit.compressing.arguments import refuse_no_number

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN = ("hidden_mse", "hidden_cosine")
FROM_TEACHER = ("soft", "reverse_kl", *HIDDEN)
LOSSES = ("cross_entropy", *FROM_TEACHER)
POSITIONS = 16  # of each window, whose losses are computed at a time on a CPU


def cross_entropy(logits: Tensor, ids: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean negative log-probability of the next token, in nats: what pretraining minimizes.

    Args:
        logits: (batch, tokens, vocabulary).
        ids: (batch, tokens), the tokens that were read.
        mask: (batch, tokens), true where a token counts as a target; None counts all.

    Raises ValueError where the mask leaves no target. Derived in: Lab 06.
    """

    def surprise(logits: Tensor, came: Tensor) -> Tensor:
        return -_wide(logits).log_softmax(-1).gather(-1, came[..., None]).squeeze(-1)

    return _mean(_in_parts(surprise, logits[:, :-1], ids[:, 1:]), _targets(mask))


def soft_targets(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """T² · KL(teacher ‖ student) of the next-token probabilities at temperature T, in nats.

    Probabilities are softmax(logits / T): a higher T shows more of what the teacher thinks of the
    tokens that it would not write. The gradient with respect to the student's logits is T (q - p)
    per position, and T² keeps its size from vanishing as 1/T² (Hinton, Vinyals and Dean 2015,
    section 2.1). It is 0 where the student says what the teacher says.

    Args:
        student_logits, teacher_logits: (batch, tokens, vocabulary).
        temperature: T, above 0.
        mask: (batch, tokens), true where the token to be predicted counts; None counts all.

    Raises ValueError for a temperature that is not above 0 or a mask that leaves no target.
    Derived in: Lab 06.
    """
    _check_temperature(temperature)

    def divergence(student: Tensor, teacher: Tensor) -> Tensor:
        log_q = (_wide(student) / temperature).log_softmax(-1)
        log_p = (_wide(teacher) / temperature).log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    each = _in_parts(divergence, student_logits[:, :-1], teacher_logits[:, :-1])
    return temperature**2 * _mean(each, _targets(mask))


def reverse_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """T² · KL(student ‖ teacher): the student is fined for what the teacher would never write.

    The forward divergence makes a student spread over all that the teacher may say; this one lets
    it keep to what it can say well. MiniLLM (Gu et al. 2024) minimizes it over texts that the
    student samples; here it is taken on the given tokens, which needs no sampling.

    Arguments and errors are those of `soft_targets`. Derived in: Lab 06.
    """
    return soft_targets(teacher_logits, student_logits, temperature=temperature, mask=mask)


def hidden_states(
    student_states: Sequence[Tensor],
    teacher_states: Sequence[Tensor],
    *,
    kind: str = "hidden_mse",
    mask: Tensor | None = None,
) -> Tensor:
    """Mean distance between the student's block outputs and those of the teacher's blocks.

    Args:
        student_states, teacher_states: one (batch, tokens, width) per pair of blocks.
        kind: "hidden_mse", the mean squared difference, in which a few very large activations
            weigh most; or "hidden_cosine", 1 - cosine, which looks at directions alone.
        mask: (batch, tokens), true where a token counts; None counts all.

    Raises ValueError where the lists or the widths do not match. Derived in: Lab 06.
    """
    if kind not in HIDDEN:
        raise ValueError(f"hidden states are compared by {' or '.join(HIDDEN)}; got {kind!r}.")
    if not student_states or len(student_states) != len(teacher_states):
        raise ValueError(
            f"{len(student_states)} student states cannot be paired with {len(teacher_states)} of "
            "the teacher: give one of each for every pair of blocks."
        )
    distances = []
    for mine, theirs in zip(student_states, teacher_states, strict=True):
        if mine.shape != theirs.shape:
            raise ValueError(
                f"states of shapes {tuple(mine.shape)} and {tuple(theirs.shape)} do not compare: "
                "project the student's to the teacher's width first."
            )
        mine, theirs = _wide(mine), _wide(theirs)
        if kind == "hidden_mse":
            distance = (mine - theirs).square().mean(-1)
        else:
            norms = mine.norm(dim=-1) * theirs.norm(dim=-1)
            distance = 1 - (mine * theirs).sum(-1) / norms.clamp_min(1e-8)
        distances.append(_mean(distance, mask))
    return _sum(distances) / len(distances)


def loss_weights(loss: str | Mapping[str, float]) -> dict[str, float]:
    """The weight of each loss in a mix: a name alone has weight 1.

    >>> loss_weights("soft")
    {'soft': 1.0}

    Raises ValueError for a loss that does not exist and for weights that are not above 0.
    """
    mix = {loss: 1.0} if isinstance(loss, str) else loss
    if not isinstance(mix, Mapping) or not mix or not set(mix) <= set(LOSSES):
        raise ValueError(f"loss is one of {', '.join(LOSSES)}, or a mix of them; got {loss!r}.")
    for name, share in mix.items():
        refuse_no_number(name, share, "a weight above 0")
    weights = {name: float(share) for name, share in mix.items()}
    if not all(0 < weight < float("inf") for weight in weights.values()):
        raise ValueError(f"each loss of a mix needs a weight above 0; got {weights}.")
    return weights


def mixed_loss(
    weights: Mapping[str, float],
    *,
    student_logits: Tensor,
    ids: Tensor,
    teacher_logits: Tensor | None = None,
    student_states: Sequence[Tensor] = (),
    teacher_states: Sequence[Tensor] = (),
    temperature: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """The weighted sum of the losses that `weights` names; see each of them for its arguments."""
    parts = []
    for name, weight in weights.items():
        if name == "cross_entropy":
            value = cross_entropy(student_logits, ids, mask=mask)
        elif name in HIDDEN:
            value = hidden_states(student_states, teacher_states, kind=name, mask=mask)
        elif teacher_logits is None:
            raise ValueError(f"the loss {name!r} needs a teacher, and none was given.")
        else:
            divergence = soft_targets if name == "soft" else reverse_kl
            value = divergence(student_logits, teacher_logits, temperature=temperature, mask=mask)
        parts.append(weight * value)
    return _sum(parts)


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < float("inf"):
        raise ValueError(f"a temperature is a number above 0, got {temperature}.")


def _in_parts(each: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor) -> Tensor:
    """What `each` says of every position, a few positions at a time on a CPU.

    A vocabulary is wide: all that a loss computes on the way takes several times the memory of the
    logits. Of a part it is thrown away, and computed again for the gradient.
    """
    if one.device.type != "cpu" or one.shape[1] <= POSITIONS:
        return each(one, other)
    import torch
    from torch.utils.checkpoint import checkpoint

    parts = zip(*(torch.split(x, POSITIONS, 1) for x in (one, other)), strict=True)
    found = [checkpoint(each, *part, use_reentrant=False) for part in parts]
    return torch.cat(found, dim=1)


def _wide(values: Tensor) -> Tensor:
    """The same in float32, or in float64 where it was."""
    return values if values.element_size() > 4 else values.float()


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)


def _targets(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[:, 1:]


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over all positions, or over those that the mask keeps."""
    if mask is None:
        return values.mean()
    kept = mask.bool()
    if not kept.any():
        raise ValueError("the mask leaves no token to learn from: every entry is false.")
    return values[kept].mean()
