"""One batch of teaching: what the teacher says of it, and how far the student is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from greenkit.compressing.distillation.losses import mixed_loss
from greenkit.compressing.matrices import blocks


@dataclass(frozen=True)
class Answer:
    """Logits (batch, tokens, vocabulary), and block outputs (batch, tokens, width) if wanted."""

    logits: Tensor
    states: Sequence[Tensor]


def answer(network: nn.Module, ids: Tensor, of_blocks: Sequence[int] = ()) -> Answer:
    """What a model says of token ids (batch, tokens), and what these of its blocks gave out.

    The outputs are taken at the blocks themselves. transformers' own `output_hidden_states` gives
    the last of them behind the final norm, which a block from the middle never passes.
    """
    with _block_outputs(network, of_blocks) as states:
        logits = network(input_ids=ids, use_cache=False).logits
    return Answer(logits, [states[number] for number in of_blocks])


class Lesson(nn.Module):
    """The student and what is trained beside it: projections, where the teacher is wider.

    Args:
        student: the model to train.
        weights: the mix of losses, see `loss_weights`.
        temperature: of the losses on probabilities.
        blocks_of_student: numbers of its blocks whose outputs are compared, if any are.
        widths: of the student and of the teacher; where they differ each of these outputs gets a
            projection, drawn from `seed`.
    """

    def __init__(
        self,
        student: nn.Module,
        weights: Mapping[str, float],
        *,
        temperature: float = 1.0,
        blocks_of_student: Sequence[int] = (),
        widths: tuple[int, int] = (0, 0),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.student = student
        self.weights, self.temperature = dict(weights), temperature
        self.blocks_of_student = tuple(blocks_of_student)
        place = next(student.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projections = nn.ModuleList(
                nn.Identity() if widths[0] == widths[1] else nn.Linear(*widths, bias=False)
                for _ in self.blocks_of_student
            ).to(place)

    def loss(self, ids: Tensor, told: Answer | None) -> Tensor:
        """The weighted loss of the student on ids (batch, tokens) of which the teacher spoke."""
        own = answer(self.student, ids, self.blocks_of_student)
        states = [
            project(state) for project, state in zip(self.projections, own.states, strict=True)
        ]
        return mixed_loss(
            self.weights,
            student_logits=own.logits,
            ids=ids,
            teacher_logits=None if told is None else told.logits,
            student_states=states,
            teacher_states=() if told is None else told.states,
            temperature=self.temperature,
        )


@contextmanager
def asking(
    teacher: nn.Module, of_blocks: Sequence[int] = ()
) -> Iterator[Callable[[Tensor], Answer]]:
    """The teacher as somebody to ask: in evaluation mode, and without a gradient.

    A teacher in 16 bits computes in them by itself: autocast would only make it slower.
    """
    was_training = teacher.training
    teacher.eval()
    weight = next(teacher.parameters())
    wide, kind = weight.dtype is torch.float32, weight.device.type

    def ask(ids: Tensor) -> Answer:
        with (
            torch.no_grad(),  # inference mode would forbid to use the answer in a gradient
            nullcontext() if wide else torch.autocast(kind, enabled=False),
        ):
            return answer(teacher, ids, of_blocks)

    try:
        yield ask
    finally:
        teacher.train(was_training)


@contextmanager
def _block_outputs(network: nn.Module, numbers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """What these blocks give out while the model runs, by number."""
    found: dict[int, Tensor] = {}
    hooks: list[Any] = []

    def note(number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found[number] = output[0] if isinstance(output, tuple) else output

        return hook

    try:
        if numbers:
            every = blocks(network)
            hooks.extend(every[n].register_forward_hook(note(n)) for n in numbers)
        yield found
    finally:
        for hook in hooks:
            hook.remove()
