"""What each verb can do with a model, asked before anything is copied or changed.

The answers follow from the modules found, and from trials on a dozen tokens, not from a list of
names. `greenkit.compressing.table` has those for all architectures that can be built small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from greenkit.compressing import trials
from greenkit.compressing.matrices import Layout, layout_of
from greenkit.compressing.probing import TrialError
from greenkit.compressing.pruning.units import Units, head_units, neuron_units
from greenkit.compressing.quantization.awq import check_foldable
from greenkit.compressing.rebuilding import lost_when_rebuilt
from greenkit.inputs.models import LoadedModel

OUTSIDE = 0.1  # of the blocks' weights may lie outside linear layers: convolutions, embeddings
Reason = str | None


def abilities(model: LoadedModel | nn.Module) -> dict[str, str | None]:
    """By verb, None where it works on this model, or why not in one sentence.

    "calibrate" is what wanda, sparsegpt, gptq and awq need beside "prune" or "quantize": to see
    what enters each matrix. "save" is saving and loading again.
    """
    return {verb: why_not(model, verb) for verb in VERBS}


def why_not(model: LoadedModel | nn.Module | Layout, verb: str) -> str | None:
    """Why one of `VERBS` does not work on a model, in one sentence; None where it does.

    Raises KeyError for another verb.
    """
    check = CHECKS[verb]
    try:
        layout = layout_of(model)
    except ValueError as error:
        return str(error)
    name = type(layout.network).__name__
    for key, tensor in layout.network.state_dict().items():
        if tensor.is_meta:
            return (
                f"{name} keeps {key} outside memory: load it without a device_map that offloads "
                "weights."
            )
    try:
        reason = check(layout)
    except TrialError as error:
        reason = str(error)
    return None if reason is None else _sentence(verb, layout, reason)


def refuse_unable(model: LoadedModel | nn.Module | Layout, *verbs: str) -> None:
    """Raise ValueError with the reason where one of the verbs does not work on the model."""
    for verb in verbs:
        if (reason := why_not(model, verb)) is not None:
            raise ValueError(reason)


def refuse_blocks(layout: Layout, kept: Sequence[int]) -> None:
    """Raise ValueError where a model of these blocks alone would be another, or after loading."""
    try:
        reason = trials.cannot_renumber(layout) or lost_when_rebuilt(layout, kept)
    except TrialError as error:
        reason = str(error)
    if reason is not None:
        raise ValueError(_sentence("remove_blocks", layout, reason))


def _sentence(verb: str, layout: Layout, reason: str) -> str:
    return f"{verb} does not work on {type(layout.network).__name__}: {reason}."


def _reach(layout: Layout) -> Reason:
    """Whether linear layers are (nearly) all that the blocks hold, and no experts are among it."""
    reached = {id(matrix.module.weight) for matrix in layout.matrices}
    total, outside, example = 0, 0, ""
    for name, parameter in layout.blocks.named_parameters():
        if "experts" in (parts := name.split(".")):
            where = ".".join([layout.path, *parts[: parts.index("experts") + 1]])
            return f"its blocks hold mixtures of experts ({where}), of which it would reach a part"
        if parameter.ndim < 2:
            continue
        total += parameter.numel()
        if id(parameter) not in reached:
            outside += parameter.numel()
            example = example or f"{layout.path}.{name}"
    if outside > OUTSIDE * total:
        return (
            f"{outside / total:.0%} of the weights in its blocks lie outside linear layers "
            f"({example})"
        )
    return None


def _all(*checks: Callable[[Layout], Reason]) -> Callable[[Layout], Reason]:
    def check(layout: Layout) -> Reason:
        return next((reason for each in checks if (reason := each(layout))), None)

    return check


def _streams(layout: Layout) -> Reason:
    return trials.cannot_stream(layout, all_seen=False)


def _sees(layout: Layout) -> Reason:
    return trials.cannot_stream(layout, all_seen=True)


def _norms(layout: Layout) -> Reason:
    try:
        check_foldable(layout.blocks)
    except ValueError as error:
        return str(error).removesuffix(".")
    return None


def _loses(find: Callable[[Layout], list[Units]], what: str) -> Callable[[Layout], Reason]:
    def check(layout: Layout) -> Reason:
        try:
            every = find(layout)
        except ValueError as error:
            return str(error)
        return trials.cannot_lose(layout, every, what)

    return check


def _shortens(layout: Layout) -> Reason:
    if len(layout.blocks) < 2:
        return "it has one block"
    return lost_when_rebuilt(layout, range(1, len(layout.blocks)))


CHECKS: dict[str, Callable[[Layout], Reason]] = {
    "prune": _reach,
    "calibrate": _sees,
    "quantize": _reach,
    "awq": _all(_reach, _sees, _norms, trials.cannot_fold),
    "block_influence": _streams,
    "remove_blocks": _all(trials.cannot_renumber, _shortens),
    "remove_heads": _loses(head_units, "key/value groups"),
    "remove_width": _all(_reach, _loses(neuron_units, "MLP neurons")),
    "to_low_bit": _all(_reach, trials.cannot_replace),
    "to_2_4": _all(_reach, trials.cannot_replace),
    "save": lost_when_rebuilt,
}
VERBS = tuple(CHECKS)
