"""Quantize the matrices of a model's blocks, and keep what a packed file would hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import torch

from greenkit.compressing.arguments import refuse_no_switch
from greenkit.compressing.calibration import Calibration, calibration_ids
from greenkit.compressing.given import Model, refuse_broken
from greenkit.compressing.matrices import Matrix, layout_of
from greenkit.compressing.moments import second_moments
from greenkit.compressing.quantization.activations import (
    Per,
    check_per,
    leave_inputs,
    quantize_inputs,
)
from greenkit.compressing.quantization.awq import check_foldable, find_folds, search_scales
from greenkit.compressing.quantization.gptq import compensation, round_columns, round_together
from greenkit.compressing.quantization.quantizers import (
    Granularity,
    QuantizedTensor,
    Scheme,
    check_weight,
    quantize_tensor,
)
from greenkit.compressing.replaying import Replayed
from greenkit.compressing.result import Compressed, compressed, size_of
from greenkit.compressing.sizes import zeros_in, zeros_of
from greenkit.compressing.streaming import BlockStep, walking_blocks

Method = Literal["rtn", "gptq", "awq"]


def quantize(
    model: Model,
    *,
    method: Method = "rtn",
    bits: int = 8,
    granularity: Granularity = "channel",
    group_size: int | None = None,
    symmetric: bool = True,
    activations: Per | None = None,
    keep: Sequence[str] = (),
    calibration: Calibration | None = None,
    inplace: bool = False,
) -> Compressed:
    """Put the weights of all matrices in the blocks on a grid of few bits.

    The model keeps its dtype and computes with the rounded weights, so its quality is that of the
    quantized model and its speed is not: see `to_low_bit`. Embeddings and the head stay as they
    are. Derived in: Lab 05.

    What pruning set to zero stays zero, with any method and any n:m pattern: asymmetric grids of a
    pruned model get an integer zero point, on which zero lies. The result's settings then say so,
    and name the share of zeros in the pruned matrices before and after.

    Args:
        model: of `load_model`, a bare torch module, or the result of an earlier compression; left
            untouched unless `inplace`.
        method: "rtn" rounds to nearest; "gptq" lets later columns make up for the error of
            earlier ones; "awq" scales the channels that carry much, then rounds to nearest.
        bits, granularity, group_size, symmetric: see `Scheme`.
        activations: also round what enters each quantized matrix to 8 bits while it runs, with
            one scale per "tensor" or per "token".
        keep: matrices that stay in full precision, by their name or any whole part of it, such
            as "down_proj" or "layers.1.mlp".
        calibration: for "gptq" and "awq", see `calibration_ids`; "rtn" needs none.
        inplace: change the model given, which saves the memory of a copy.

    Raises:
        ValueError: a value makes no sense or does not fit the model, or a weight is not finite;
            nothing is changed then. Activations that are not finite are found on the way: only
            with `inplace` is the model changed up to there, and the sentence says so.
    """
    if not isinstance(method, str) or method not in get_args(Method):
        raise ValueError(f"There is no method {method!r}: use {', '.join(get_args(Method))}.")
    check_per(activations)
    refuse_no_switch("inplace", inplace)
    scheme = Scheme(bits, granularity, group_size, symmetric)
    layout = layout_of(model)
    refuse_broken(layout.network)
    chosen = choose_matrices(layout.matrices, keep)
    pruned = {matrix.name for matrix in chosen if zeros_of(matrix.weight) is not None}
    if pruned and not symmetric:
        scheme = replace(scheme, zero_point="integer")
    for matrix in chosen:
        try:
            check_weight(matrix.weight, scheme)
        except ValueError as error:
            raise ValueError(f"{matrix.name}: {error}") from None
    ids = None if method == "rtn" else _enough(calibration_ids(model, calibration), chosen)
    if method == "awq":
        check_foldable(layout.blocks)
    before = size_of(model)
    zeros = zeros_in(matrix.weight for matrix in chosen if matrix.name in pruned)
    layout = layout.working_copy(inplace=inplace)
    leave_inputs(layout.matrices)  # an earlier step's rounding goes with it
    names = {matrix.name for matrix in chosen}
    if ids is None:
        packed = _round(layout.matrices, names, scheme)
    else:
        packed = {}
        compensate = partial(_compensate, walk=Replayed(round_columns))
        change = compensate if method == "gptq" else _scale
        with walking_blocks(layout, ids, method, changed=inplace) as steps:
            for step in steps:
                packed.update(change(step, names, scheme))
    if activations is not None:
        quantize_inputs([m for m in layout.matrices if m.name in names], activations)
    settings: dict[str, Any] = {
        "method": method,
        "bits": bits,
        "granularity": granularity,
        "group_size": group_size,
        "symmetric": symmetric,
        "activations": activations,
        "keep": list(keep),
        "calibration_windows": None if ids is None else list(ids.shape),
    }
    if pruned:
        settings["zero_point"] = None if symmetric else scheme.zero_point
        left = zeros_in(matrix.weight for matrix in layout.matrices if matrix.name in pruned)
        settings["zeros"] = {"before": zeros, "after": left}
    return compressed(
        model, layout, method="quantize", settings=settings, before=before, packed=packed
    )


def choose_matrices(found: Sequence[Matrix], keep: Sequence[str]) -> list[Matrix]:
    """The matrices to quantize: all but those whose name holds a whole part in `keep`.

    Raises ValueError for a part that no name holds, and where nothing would be left.
    """
    if isinstance(keep, str):
        raise ValueError(f"keep is a sequence of names: write ({keep!r},).")
    if not isinstance(keep, Iterable) or not all(isinstance(part, str) for part in keep):
        raise ValueError(f"keep is a sequence of names, such as ('down_proj',): got {keep!r}.")
    held = {part: [m.name for m in found if f".{part}." in f".{m.name}."] for part in keep}
    for part, names in held.items():
        if not names:
            raise ValueError(
                f"keep names {part!r}, and no matrix is called so: a name is such as "
                f"{found[0].name!r}, and any whole part of it will do."
            )
    kept = {name for names in held.values() for name in names}
    if chosen := [matrix for matrix in found if matrix.name not in kept]:
        return chosen
    raise ValueError(f"keep={tuple(keep)} keeps every matrix: nothing is left to quantize.")


def _enough(ids: torch.Tensor, chosen: Sequence[Matrix]) -> torch.Tensor:
    widest = max(matrix.weight.shape[1] for matrix in chosen)
    if ids.numel() < widest:
        raise ValueError(
            f"The calibration has {ids.numel()} tokens; the second moments of {widest} inputs need "
            "as many or more: give more or longer windows."
        )
    return ids


def _put(matrix: Matrix, quantized: QuantizedTensor) -> None:
    matrix.weight.copy_(quantized.dequantize())


def _round(
    found: Sequence[Matrix], names: Collection[str], scheme: Scheme
) -> dict[str, QuantizedTensor]:
    """Round to nearest."""
    packed = {}
    for matrix in found:
        if matrix.name in names:
            packed[matrix.name] = quantize_tensor(matrix.weight, scheme)
            _put(matrix, packed[matrix.name])
    return packed


def _compensate(
    step: BlockStep, names: Collection[str], scheme: Scheme, *, walk: Callable[..., torch.Tensor]
) -> dict[str, QuantizedTensor]:
    """GPTQ in one pass: each matrix is measured behind those already quantized."""
    packed: dict[str, QuantizedTensor] = {}

    def change(readers: tuple[Matrix, ...], inputs: torch.Tensor) -> None:
        chosen = [matrix for matrix in readers if matrix.name in names]
        if not chosen:
            return
        shared = compensation(second_moments(inputs))
        weights = [matrix.weight for matrix in chosen]
        found = round_together(weights, shared, scheme, walk=walk)
        for matrix, quantized in zip(chosen, found, strict=True):
            packed[matrix.name] = quantized
            _put(matrix, quantized)

    step.change(change)
    return packed


def _scale(step: BlockStep, names: Collection[str], scheme: Scheme) -> dict[str, QuantizedTensor]:
    """AWQ: measure the block, scale what feeds its matrices, then round to nearest."""
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    folds = find_folds(step.block, step.matrices)
    first = {fold.readers[0].name for fold in folds}

    def see(matrix: Matrix, inputs: torch.Tensor) -> None:
        if matrix.name in first:
            magnitudes = inputs.flatten(0, -2).float().abs().mean(0)
            seen[matrix.name] = second_moments(inputs), magnitudes

    step.watch(see)
    schemes: Mapping[str, Scheme] = dict.fromkeys(names, scheme)
    found = [search_scales(fold, *seen[fold.readers[0].name], schemes)[0] for fold in folds]
    for fold, scales in zip(folds, found, strict=True):
        fold.apply(scales)
    return _round(step.matrices, names, scheme)
