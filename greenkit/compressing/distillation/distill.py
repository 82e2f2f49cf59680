"""Distill a teacher into a student in one call, and charge what both of them take."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from greenkit.compressing.calibration import calibration_ids
from greenkit.compressing.distillation.checkpoints import digest, fingerprint
from greenkit.compressing.distillation.distilled import Distilled
from greenkit.compressing.distillation.lessons import Lesson, asking
from greenkit.compressing.distillation.losses import FROM_TEACHER, HIDDEN, loss_weights
from greenkit.compressing.distillation.plans import Plan
from greenkit.compressing.distillation.students import blocks_paired, width_of
from greenkit.compressing.distillation.training import train
from greenkit.compressing.matrices import torch_model
from greenkit.compressing.pruning.masks import Masks
from greenkit.compressing.result import Compressed, compressed, size_of
from greenkit.inputs.memory import give_back
from greenkit.inputs.models import LoadedModel
from greenkit.inputs.reach import refuse_other_tokenizer, refuse_unreadable
from greenkit.inputs.texts import Text, load_text
from greenkit.inputs.tokens import TokenWindows, token_windows
from greenkit.metering import EnergyMeter

Given = Compressed | LoadedModel | nn.Module


def distill(
    teacher: LoadedModel | nn.Module | None,
    student: Given,
    *,
    text: Text | str | None = None,
    windows: TokenWindows | Tensor | None = None,
    length: int = 128,
    loss: str | Mapping[str, float] = "soft",
    temperature: float = 1.0,
    steps: int = 40,
    batch: int = 4,
    learning_rate: float = 5e-4,
    meter: EnergyMeter | None = None,
    masks: Masks | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 50,
    inplace: bool = False,
    **plan: Any,
) -> Distilled:
    """Train a student to say what its teacher says.

    With loss="cross_entropy" this is plain fine-tuning: the teacher may be None, and never runs.
    The student is trained in float32 whatever its dtype, and gets its dtype back. Its arithmetic is
    of the plan's precision.

    Args:
        teacher: the larger model; it is only asked.
        student: a result of `student` (or of any pruning), or a model of no more width and depth.
        text: the "train" split by default; it needs the tokenizer of a `LoadedModel`.
        windows: token ids (windows, length) in place of a text.
        length: tokens in a window of the text.
        loss: "cross_entropy", "soft", "reverse_kl", "hidden_mse", "hidden_cosine", or weights of
            several of them such as {"soft": 1.0, "hidden_cosine": 0.1}.
        temperature: of "soft" and "reverse_kl".
        steps, batch, learning_rate: see `Plan`, which also names what else `plan` may hold:
            warmup, clip, accumulate, seed, precision, and budgets in tokens, seconds or joules.
        meter, masks, checkpoint, checkpoint_every: see `train`.
        inplace: train the given student instead of a copy.

    Raises:
        ValueError: an argument makes no sense, or the models have different tokenizers; both
            models are unchanged then.
        NotMeasuredError: a budget in joules, and no sensor.

    Derived in: Lab 06.
    """
    weights = loss_weights(loss)
    chosen = Plan(steps=steps, batch=batch, learning_rate=learning_rate, **plan)
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a number above 0, got {temperature}.")
    refuse_other_tokenizer(teacher, student)
    asked = _teacher_to_ask(teacher, weights)
    given: Any = (student.loaded or student.model) if isinstance(student, Compressed) else student
    pairs = blocks_paired(asked, student) if asked is not None else []
    ids = _training_ids(given, teacher, text, windows, length)
    refuse_unreadable(asked, ids)
    before = student.before if isinstance(student, Compressed) else size_of(teacher or given)
    network = torch_model(given)
    if not inplace:
        network, masks = copy.deepcopy((network, masks))  # together: the masks follow the copy
    told = [theirs for theirs, _ in pairs] if set(weights) & set(HIDDEN) else []
    lesson = Lesson(
        network,
        weights,
        temperature=temperature,
        blocks_of_student=[mine for _, mine in pairs] if told else [],
        widths=(width_of(network), width_of(asked or network)),
        seed=chosen.seed,
    )
    owner: dict[str, Any] = {"loss": weights, "temperature": temperature}
    if checkpoint is not None:
        owner["student"] = fingerprint(network)
        owner["teacher"] = None if asked is None else fingerprint(asked)
    with _in_float32(network), nullcontext() if asked is None else asking(asked, told) as ask:
        run = train(
            lesson,
            ids,
            lesson.loss,
            chosen,
            ask=ask,
            meter=meter,
            masks=masks,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            checkpoint_every=checkpoint_every,
            owner=owner,
            label="distill" if asked is not None else "fine-tune",
        )
    give_back()
    settings = {**owner, **_plain(chosen), "windows": digest([ids])}
    if isinstance(student, Compressed):
        settings["student"] = {"method": student.method, **student.settings}
    result = compressed(given, network, method="distill", settings=settings, before=before)
    if result.loaded is not None:
        result = replace(result, loaded=replace(result.loaded, trained=True))
    network.eval()
    return Distilled(result, tuple(run.curve), run.charges, run.tokens, run.stopped_by)


def _teacher_to_ask(
    teacher: LoadedModel | nn.Module | None, weights: Mapping[str, float]
) -> nn.Module | None:
    """The teacher, or None where no loss asks it anything."""
    needed = [name for name in weights if name in FROM_TEACHER]
    if not needed:
        return None
    if teacher is None:
        raise ValueError(f"The loss {needed[0]!r} needs a teacher, and none was given.")
    return torch_model(teacher)


def _training_ids(
    student: LoadedModel | nn.Module,
    teacher: LoadedModel | nn.Module | None,
    text: Text | str | None,
    windows: TokenWindows | Tensor | None,
    length: int,
) -> Tensor:
    """The token ids to train on: all windows of the text, or those given, checked."""
    if windows is None:
        source = next((one for one in (student, teacher) if isinstance(one, LoadedModel)), None)
        if source is None:
            raise ValueError(
                "Bare torch modules have no tokenizer: give a LoadedModel, or "
                "windows=token_windows(tokenizer, load_text('train'), window_tokens=128)."
            )
        if isinstance(text, Text) and text.split == "test":
            raise ValueError(
                "A student trained on the test split would remember it: use load_text('train')."
            )
        text = load_text("train") if text is None else text
        windows = token_windows(source.tokenizer, text, window_tokens=length)
    elif text is not None:
        raise ValueError("Give a text or windows, not both.")
    return calibration_ids(student, windows)


@contextmanager
def _in_float32(network: nn.Module) -> Iterator[None]:
    """Weights in float32 for a while: in less, the small steps of training are rounded away.

    Only weights: `network.to` would round buffers such as rotary frequencies as well.
    """
    own = [(weight, weight.dtype) for weight in network.parameters()]
    for weight, _ in own:
        weight.data = weight.data.float()
    try:
        yield
    finally:
        for weight, dtype in own:
            weight.data = weight.data.to(dtype)
            weight.grad = None


def _plain(plan: Plan) -> dict[str, Any]:
    """What the plan says, as JSON values: budgets that were not set are left out."""
    return {k: v for k, v in asdict(plan).items() if v is not None and v != math.inf}
