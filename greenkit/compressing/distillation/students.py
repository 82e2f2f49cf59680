"""A student made of its teacher's own blocks, and which of its blocks came from where."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import nn

from greenkit.compressing.arguments import refuse_no_count
from greenkit.compressing.calibration import Calibration
from greenkit.compressing.given import Model, refuse_broken, torch_model
from greenkit.compressing.matrices import blocks as blocks_of
from greenkit.compressing.pruning.structured import remove_blocks
from greenkit.compressing.result import Compressed, compressed, result_of, size_of
from greenkit.inputs.gguf import quiet

Choice = Literal["influence", "loss", "every_other", "first", "random"]


def student(
    teacher: Model,
    *,
    blocks: int = 24,
    choose: Choice = "influence",
    calibration: Calibration | None = None,
    seed: int = 0,
) -> Compressed:
    """A smaller model of the same width: some of the teacher's blocks, copied, or random ones.

    Everything outside the blocks (embedding, final norm, head) is the teacher's, and tied weights
    stay tied. The result's settings name in "kept" the teacher's block that each block is.

    Args:
        teacher: a `LoadedModel`, a causal language model built like Llama or GPT-2, or the result
            of a compression; it stays as it is.
        blocks: how many blocks the student has, fewer than the teacher.
        choose: "influence" keeps the blocks that change their input most, "loss" takes out one
            at a time, each time the one whose absence costs least (minutes: see
            `remove_blocks`), "every_other" leaves out blocks at even distances, beginning with the
            second, "first" keeps the first ones;
            "random" is a fresh model of that size, in which nothing is the teacher's.
        calibration: for "influence" and "loss", see `remove_blocks`.
        seed: of the weights of "random".

    Raises ValueError for a choice that does not exist and for a student that is no smaller than
    its teacher. Derived in: Lab 06.
    """
    network = torch_model(teacher)
    refuse_broken(network)
    refuse_no_count("blocks", blocks, least=None)
    refuse_no_count("seed", seed, least=None)
    available = len(blocks_of(network))
    if choose not in get_args(Choice):
        raise ValueError(f"choose is one of {', '.join(get_args(Choice))}; got {choose!r}.")
    if not 1 <= blocks < available:
        raise ValueError(
            f"This teacher has {available} blocks, so a student has 1 to {available - 1}: it "
            f"cannot be as deep as its teacher or deeper; got {blocks}."
        )
    if choose == "random":
        return _random(teacher, blocks, seed)
    which: int | list[int] = available - blocks
    if choose == "every_other":
        which = spread(available, available - blocks)
    elif choose == "first":
        which = list(range(blocks, available))
    by: Literal["influence", "loss"] = "loss" if choose == "loss" else "influence"
    shorter = remove_blocks(teacher, which, by=by, calibration=calibration)
    settings = {"choose": choose, **shorter.settings}
    return replace(shorter, method="student", settings=settings)


def spread(available: int, removed: int) -> list[int]:
    """Blocks to remove at even distances, beginning with block 1.

    >>> spread(6, 3), spread(6, 2)
    ([1, 3, 5], [1, 4])
    """
    return [1 + place * available // removed for place in range(removed)]


def _random(teacher: Model, blocks: int, seed: int) -> Compressed:
    """A fresh model of the teacher's configuration with so many blocks, on its device."""
    network: Any = torch_model(teacher)
    config = copy.deepcopy(network.config)
    config.num_hidden_layers = blocks
    if getattr(config, "layer_types", None):  # one entry a block
        config.layer_types = config.layer_types[:blocks]
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(network)(config)
    like = next(network.parameters())
    for weight in fresh.parameters():  # not fresh.to(dtype), which rounds buffers as well
        weight.data = weight.data.to(like.dtype)
    fresh.generation_config = copy.deepcopy(network.generation_config)
    made = compressed(
        teacher,
        fresh.to(like.device).eval(),
        method="student",
        settings={"choose": "random", "blocks": blocks, "seed": seed},
        before=size_of(network),
    )
    made = replace(made, history=())  # nothing that was done to the teacher is left in it
    if made.loaded is None:
        return made
    return replace(made, loaded=replace(made.loaded, trained=False))


def blocks_paired(teacher: nn.Module, student: Model) -> list[tuple[int, int]]:
    """(teacher's block, student's block) for every block of the student.

    A result of `student` or `remove_blocks` knows where its blocks came from. For any other model
    each of its blocks stands for an equal share of the teacher's, and is paired with the last.

    Raises ValueError for a student that is deeper, wider or larger than the teacher, or that has
    another vocabulary.
    """
    given: Any = torch_model(student)
    theirs, mine = len(blocks_of(teacher)), len(blocks_of(given))
    sizes = {
        "blocks": (mine, theirs),
        "width": (width_of(given), width_of(teacher)),
        "parameters": (size_of(given).parameters, size_of(teacher).parameters),
    }
    for name, (own, limit) in sizes.items():
        if own > limit:
            raise ValueError(
                f"The student is larger than its teacher: {name} {own:,} against {limit:,}. "
                "Distilling goes from the larger model to the smaller one; swap them, or build "
                "the student with `student(teacher)`."
            )
    words, known = vocabulary_of(given), vocabulary_of(teacher)
    if words != known:
        raise ValueError(
            f"The student knows {words:,} tokens and the teacher {known:,}: their probabilities "
            "do not compare. Use models of one vocabulary."
        )
    kept = _kept(result_of(student), theirs)
    if kept is None:
        kept = [(number + 1) * theirs // mine - 1 for number in range(mine)]
    return list(zip(kept, range(mine), strict=True))


def _kept(result: Compressed | None, available: int) -> list[int] | None:
    """The numbers that a result's blocks had in its last ancestor with so many blocks, if known."""
    kept: list[int] | None = None
    for step in reversed(() if result is None else result.steps):
        if step.method not in ("student", "remove_blocks"):
            continue
        if "kept" not in step.settings:  # a random student: nothing in it is an ancestor's
            return None
        theirs = step.settings["kept"]
        kept = theirs if kept is None else [theirs[number] for number in kept]
        if len(theirs) + len(step.settings["removed"]) == available:
            return list(kept)
    return None


def width_of(network: nn.Module) -> int:
    """The width of the hidden states between blocks."""
    config: Any = network.config
    return int(config.hidden_size)


def vocabulary_of(network: nn.Module) -> int:
    """The number of tokens that the model knows."""
    config: Any = network.config
    return int(config.vocab_size)
