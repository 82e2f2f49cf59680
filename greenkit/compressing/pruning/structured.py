"""Remove whole parts of a model: blocks, attention heads, MLP neurons. It really gets smaller.

What is left runs on any hardware without special kernels, with a smaller KV cache where heads or
blocks are gone. Derived in: Lab 04.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from numbers import Integral
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from greenkit.compressing.arguments import (
    refuse_no_count,
    refuse_no_number,
    refuse_no_switch,
)
from greenkit.compressing.calibration import (
    Calibration,
    calibration_facts,
    calibration_ids,
    default_calibration,
)
from greenkit.compressing.given import Model, refuse_broken
from greenkit.compressing.matrices import Layout, Matrix, layout_of
from greenkit.compressing.pruning.greedy import default_windows, removal_by_loss
from greenkit.compressing.pruning.units import Units, head_units, neuron_units
from greenkit.compressing.result import Compressed, compressed, size_of
from greenkit.compressing.shapes import fit_to_weights
from greenkit.compressing.streaming import BlockStep, walking_blocks

By = Literal["activations", "weights"]
Choice = Literal["influence", "loss"]
WINDOWS_AT_ONCE = 4


def block_influence(model: Model, calibration: Calibration | None = None) -> list[float]:
    """How much each block turns the hidden states: 1 − cosine of its input and its output.

    Averaged over all calibration tokens, from 0 (the block does nothing) to 2 (Men et al. 2024).
    Raises ValueError for a calibration that does not fit the model.
    """
    layout = layout_of(model)
    refuse_broken(layout.network)
    return _influence(layout, calibration_ids(model, calibration))


def _influence(layout: Layout, ids: Tensor) -> list[float]:
    found = []
    with walking_blocks(layout, ids, "influence", batch_size=WINDOWS_AT_ONCE) as steps:
        for step in steps:
            before, after = step.inputs.float(), step.advance().float()
            found.append(1 - torch.cosine_similarity(before, after, dim=-1).mean().item())
    return found


def remove_blocks(
    model: Model,
    which: int | Sequence[int],
    *,
    by: Choice = "influence",
    calibration: Calibration | None = None,
    inplace: bool = False,
) -> Compressed:
    """Remove whole decoder blocks: so many that matter least, or those with the numbers given.

    The result's settings name the "removed" blocks and those "kept", as numbers in the given
    model, and what the choice went by: the "influence" of all blocks, or the "order" in which
    they went with the "losses" before and after each.

    Args:
        model: a `LoadedModel`, a causal language model built like Llama or GPT-2, or the result of
            an earlier compression.
        which: how many blocks go, or their numbers.
        by: where a number of them goes, "influence" takes those of least `block_influence`, all
            at once; "loss" takes one at a time, each time the one whose absence raises the loss on
            the calibration text least, see `removal_by_loss`. It takes minutes, and follows its
            few windows closely: other windows choose other blocks.
        calibration: see `calibration_ids`; by default 16 windows of 512 tokens of the calibration
            split, and for "loss" 2 of 256.
        inplace: change the given model instead of a copy.

    Raises:
        ValueError: no such blocks, none would be left, or another argument makes no sense; the
            model is unchanged then.
    """
    layout = layout_of(model)
    refuse_broken(layout.network)
    refuse_no_switch("inplace", inplace)
    _refuse_choice(which, by)
    which = int(which) if isinstance(which, Integral) else which
    total = len(layout.blocks)
    settings: dict[str, Any] = {}
    gone = {which} if isinstance(which, int) else set(which)
    lowest, highest = (1, total - 1) if isinstance(which, int) else (0, total - 1)
    doubled = not isinstance(which, int) and len(gone) < len(which)
    if not gone or doubled or not gone <= set(range(lowest, highest + 1)) or len(gone) >= total:
        raise ValueError(
            f"This model has {total} blocks: remove 1 to {total - 1} of them, or name different "
            f"ones from 0 to {total - 1}; got {which}."
        )
    if getattr(layout.network.config, "scale_attn_by_inverse_layer_idx", False):
        raise ValueError("Attention in this model is scaled by the block's number: none can go.")
    if isinstance(which, int) and by == "influence":
        calibration = default_calibration(model) if calibration is None else calibration
        influence = _influence(layout, calibration_ids(model, calibration))
        gone = set(sorted(range(total), key=influence.__getitem__)[:which])
        settings = {"calibration": calibration_facts(calibration), "influence": influence}
    elif isinstance(which, int):
        calibration = default_windows(model) if calibration is None else calibration
        order, losses = removal_by_loss(layout, calibration_ids(model, calibration), which)
        gone = set(order)
        settings = {"calibration": calibration_facts(calibration), "order": order, "losses": losses}
    if isinstance(which, int):
        settings = {"by": by, **settings}
    kept = [number for number in range(total) if number not in gone]
    settings = {"blocks": len(kept), "removed": sorted(gone), "kept": kept, **settings}
    before = size_of(model)
    own = layout.working_copy(inplace=inplace)
    network, layers = own.network, own.blocks
    for number in sorted(gone, reverse=True):
        del layers[number]
    for index, block in enumerate(layers):
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index  # type: ignore[assignment]  # its keys' and values' place in the cache
    config: Any = network.config
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[number] for number in kept]
    fit_to_weights(network)
    return compressed(model, network, method="remove_blocks", settings=settings, before=before)


def _refuse_choice(which: object, by: object) -> None:
    if by not in get_args(Choice):
        raise ValueError(f"by is one of {', '.join(get_args(Choice))}; got {by!r}.")
    several = isinstance(which, Collection) and not isinstance(which, str)
    for number in which if several else [which]:  # type: ignore[attr-defined]
        refuse_no_count("which, or a number in it,", number, least=None)
    if by == "loss" and several:
        raise ValueError("by='loss' chooses blocks, and which names them: give their number.")


def remove_heads(
    model: Model,
    fraction: float,
    *,
    by: By = "activations",
    calibration: Calibration | None = None,
    inplace: bool = False,
) -> Compressed:
    """Remove the least important attention heads of the model, as whole key/value groups.

    A key/value head goes with all query heads that read it. Blocks may lose different numbers,
    and each keeps one group or more. The result's settings list the groups "kept" in each block.

    Args:
        model: a `LoadedModel` or a causal language model built like Llama or GPT-2.
        fraction: of all groups in the model, above 0 and below 1, rounded down.
        by: "activations" compares what a group adds to the hidden states, relative to each
            token's; "weights" compares the L2 norm of its weights and needs no calibration.
        calibration: see `calibration_ids`.
        inplace: change the given model instead of a copy.

    Raises:
        ValueError: an argument makes no sense for this model; it is unchanged then.
    """
    layout = layout_of(model)
    refuse_broken(layout.network)
    refuse_no_switch("inplace", inplace)
    every = head_units(layout)
    removed = _count(fraction, sum(map(len, every)), "key/value groups", spare=len(every))
    scores, facts = _scores(model, layout, every, by, calibration)
    ranked = sorted(
        (float(score), block, unit)
        for block, row in enumerate(scores)
        for unit, score in enumerate(row)
    )
    kept = [set(range(len(units))) for units in every]
    for _, block, unit in ranked:
        if removed and len(kept[block]) > 1:
            kept[block].remove(unit)
            removed -= 1
    chosen = [sorted(units) for units in kept]
    settings = {"fraction": fraction, "by": by, "kept": chosen, **facts}
    return _keep(model, layout, "remove_heads", chosen, settings, inplace=inplace)


def remove_width(
    model: Model,
    fraction: float,
    *,
    by: By = "activations",
    calibration: Calibration | None = None,
    inplace: bool = False,
) -> Compressed:
    """Remove that fraction of the MLP neurons of every block, the least important of each.

    Arguments and errors are those of `remove_heads`; the result's settings say how many are
    "kept" in each block.
    """
    layout = layout_of(model)
    refuse_broken(layout.network)
    refuse_no_switch("inplace", inplace)
    every = neuron_units(layout)
    removed = [_count(fraction, len(units), "MLP neurons of a block", spare=1) for units in every]
    scores, facts = _scores(model, layout, every, by, calibration)
    chosen = [
        sorted(row.argsort(descending=True)[: len(row) - fewer].tolist())
        for row, fewer in zip(scores, removed, strict=True)
    ]
    settings = {"fraction": fraction, "by": by, "kept": [len(units) for units in chosen], **facts}
    return _keep(model, layout, "remove_width", chosen, settings, inplace=inplace)


def _count(fraction: float, total: int, what: str, *, spare: int) -> int:
    refuse_no_number("fraction", fraction, "above 0 and below 1")
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie above 0 and below 1: got {fraction}.")
    removed = int(total * fraction + 1e-6)
    if not 0 < removed <= total - spare:
        raise ValueError(
            f"{fraction:g} of {total} {what} is {removed}: at least 1 and at most {total - spare} "
            "can go."
        )
    return removed


def _scores(
    model: Model,
    layout: Layout,
    every: list[Units],
    by: str,
    calibration: Calibration | None,
) -> tuple[list[Tensor], dict[str, Any]]:
    """Each unit's score, one tensor a block, and what to report about the calibration."""
    if by not in get_args(By):
        raise ValueError(f"by is one of {', '.join(get_args(By))}; got {by!r}.")
    if by == "weights":
        return [units.weight_scores() for units in every], {}
    calibration = default_calibration(model) if calibration is None else calibration
    ids = calibration_ids(model, calibration)
    with walking_blocks(layout, ids, "activations", batch_size=WINDOWS_AT_ONCE) as steps:
        scores = [_shares(units, step) for units, step in zip(every, steps, strict=True)]
    return scores, {"calibration": calibration_facts(calibration)}


def _shares(units: Units, step: BlockStep) -> Tensor:
    """What each unit adds to a token's hidden state, relative to the state: root mean square.

    Relative to each token's own, because the states of a few tokens are longer by far than those
    of all others and would decide alone.
    """
    lengths = step.inputs.float().norm(dim=-1, keepdim=True)
    batches = iter(torch.split(lengths, step.batch_size))
    total = torch.zeros((), device=lengths.device)

    def see(matrix: Matrix, inputs: Tensor) -> None:
        nonlocal total
        if matrix == units.reader:
            total = total + units.moments(inputs / next(batches))

    step.advance(see)
    return units.activation_scores(total / lengths.numel())


def _keep(
    model: Model,
    layout: Layout,
    method: Literal["remove_heads", "remove_width"],
    kept: list[list[int]],
    settings: dict[str, Any],
    *,
    inplace: bool,
) -> Compressed:
    before = size_of(model)
    own = layout.working_copy(inplace=inplace)
    find = head_units if method == "remove_heads" else neuron_units
    for units, chosen in zip(find(own), kept, strict=True):
        units.keep(torch.tensor(chosen))
    fit_to_weights(own.network)
    return compressed(model, own, method=method, settings=settings, before=before)
