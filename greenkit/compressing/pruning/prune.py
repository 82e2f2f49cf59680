"""Prune a language model's weights, unstructured or n:m, in one call."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from greenkit.compressing.arguments import refuse_no_number, refuse_no_switch
from greenkit.compressing.calibration import (
    Calibration,
    calibration_facts,
    calibration_ids,
    default_calibration,
)
from greenkit.compressing.given import Model, refuse_broken
from greenkit.compressing.matrices import Matrix, layout_of
from greenkit.compressing.moments import factor_of, second_moments
from greenkit.compressing.pruning.criteria import (
    COLUMNS_AT_ONCE,
    heard,
    keep_highest,
    keep_n_of_m,
    magnitude_scores,
    sweep,
    wanda_scores,
)
from greenkit.compressing.replaying import Replayed
from greenkit.compressing.result import Compressed, compressed, size_of
from greenkit.compressing.streaming import Change, See, walking_blocks

METHODS = ("magnitude", "wanda", "sparsegpt")
Score = Callable[[Tensor, Tensor], Tensor]
DEFAULT_SPARSITY = 0.5


def prune(
    model: Model,
    method: str | Score = "wanda",
    sparsity: float | None = None,
    *,
    pattern: str | None = None,
    calibration: Calibration | None = None,
    inplace: bool = False,
) -> Compressed:
    """Set the least important weights of every matrix in the decoder blocks to zero.

    Embeddings, norms, biases and the output head are left alone. Wanda and SparseGPT go through
    the model once: each matrix is measured behind those that are already pruned, and pruned just
    before it is used. The zeros are stored like other numbers: the model gets no smaller.

    Args:
        model: a `LoadedModel`, a causal language model built like Llama or GPT-2, or the result of
            an earlier compression.
        method: "magnitude" compares weights over the whole matrix, "wanda" in each output row,
            "sparsegpt" over all rows of 128 columns, and repairs what it can. Or a score of your
            own, which competes in each output row: a function of a weight (out, in) in float32
            and of the lengths (in,) of its inputs over all tokens, that gives (out, in).
        sparsity: fraction of zeros in each matrix, from 0 to below 1; 0.5 by default.
        pattern: "2:4" keeps 2 of every 4 neighbors in a row; other n:m likewise.
        calibration: see `calibration_ids`; by default 16 windows of the calibration split.
        inplace: change the given model instead of a copy.

    Raises:
        ValueError: an argument makes no sense for this model, or a weight is not finite; it is
            unchanged then. Activations that are not finite are found on the way: only with
            `inplace` is the model changed up to there, and the sentence says so.

    Derived in: Lab 04.
    """
    if not callable(method) and not (isinstance(method, str) and method in METHODS):
        raise ValueError(
            f"There is no pruning method {method!r}: use {', '.join(METHODS)} or a function that "
            "scores weights; remove_heads, remove_width and remove_blocks take out whole parts."
        )
    name = method if isinstance(method, str) else getattr(method, "__name__", "own score")
    part = _part(sparsity, pattern)
    refuse_no_switch("inplace", inplace)
    layout = layout_of(model)
    refuse_broken(layout.network)
    for matrix in layout.matrices:
        part.check(matrix)
        if callable(method):
            _check_score(method, matrix, name)
    settings: dict[str, Any] = {"sparsity": part.sparsity, "pattern": pattern}
    before = size_of(model)
    if method == "magnitude":
        layout = layout.working_copy(inplace=inplace)
        for matrix in layout.matrices:
            _prune_by_magnitude(matrix, part)
    else:
        calibration = default_calibration(model) if calibration is None else calibration
        ids = calibration_ids(model, calibration)
        settings["calibration"] = calibration_facts(calibration)
        layout = layout.working_copy(inplace=inplace)
        score = method if callable(method) else wanda_scores
        see, repair = _by_score(score, part), _by_sparsegpt(part)
        with walking_blocks(layout, ids, name, changed=inplace) as steps:
            for step in steps:
                step.change(repair) if method == "sparsegpt" else step.advance(see)
    return compressed(model, layout, method=name, settings=settings, before=before)


@dataclass(frozen=True)
class _Part:
    """How much goes: a fraction, or all but `kept` of every `of` neighbors in a row."""

    sparsity: float
    pattern: tuple[int, int] | None

    def check(self, matrix: Matrix) -> None:
        columns = matrix.weight.shape[1]
        if self.pattern is not None and columns % self.pattern[1]:
            raise ValueError(
                f"{self.pattern[1]} does not divide the {columns} input features of {matrix.name}: "
                f"the pattern {self.pattern[0]}:{self.pattern[1]} cannot be laid over it."
            )

    def mask(self, scores: Tensor) -> Tensor:
        if self.pattern is not None:
            return keep_n_of_m(scores, *self.pattern)
        return keep_highest(scores, self.sparsity)


def _part(sparsity: float | None, pattern: str | None) -> _Part:
    if sparsity is not None:
        refuse_no_number("sparsity", sparsity, "the fraction of zeros, from 0 to below 1")
    if sparsity is not None and not 0 <= sparsity < 1:
        raise ValueError(f"sparsity is the fraction of zeros, from 0 to below 1: got {sparsity}.")
    if pattern is None:
        return _Part(DEFAULT_SPARSITY if sparsity is None else sparsity, None)
    found = re.fullmatch(r"(\d+):(\d+)", pattern) if isinstance(pattern, str) else None
    kept, of = map(int, found.groups()) if found else (0, 0)
    if not 0 < kept < of:
        raise ValueError(
            f"A pattern names how many of how many neighbors stay, such as '2:4': got {pattern!r}."
        )
    fraction = (of - kept) / of
    if sparsity is not None and abs(sparsity - fraction) > 1e-6:
        raise ValueError(
            f"The pattern {pattern} sets a sparsity of {fraction:g} and {sparsity} was asked for: "
            "give one of the two."
        )
    return _Part(fraction, (kept, of))


def _prune_by_magnitude(matrix: Matrix, part: _Part) -> None:
    scores = magnitude_scores(matrix.weight)
    rows = scores if part.pattern else scores.reshape(1, -1)  # one contest for the whole matrix
    matrix.weight.mul_(part.mask(rows).reshape(scores.shape))


def _check_score(score: Score, matrix: Matrix, name: str) -> None:
    """A score of the caller's own is tried before anything is changed."""
    weight = matrix.weight.detach().float()
    found: object = score(weight.clone(), weight.new_ones(weight.shape[1]))
    if not isinstance(found, Tensor) or found.shape != weight.shape:
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
        raise ValueError(
            f"The score {name} must give a number for each weight of {matrix.name}, a tensor of "
            f"shape {tuple(weight.shape)}: got {got}."
        )


def _by_score(score: Score, part: _Part) -> See:
    def see(matrix: Matrix, inputs: Tensor) -> None:
        tokens = inputs.flatten(0, -2)
        norms = torch.linalg.vector_norm(tokens, dim=0, dtype=torch.float32)
        matrix.weight.mul_(part.mask(score(matrix.weight.float(), norms)))

    return see


def _by_sparsegpt(part: _Part) -> Change:
    walk = Replayed(sweep)

    def change(readers: tuple[Matrix, ...], inputs: Tensor) -> None:
        moments = second_moments(inputs)
        stacked = torch.cat([matrix.weight for matrix in readers])
        rows = tuple(len(matrix.weight) for matrix in readers)
        repaired = walk(
            heard(stacked, moments),
            factor_of(moments),
            sparsity=part.sparsity,
            pattern=part.pattern,
            group=COLUMNS_AT_ONCE if part.pattern is None else part.pattern[1],
            rows=rows,
        )
        for matrix, own in zip(readers, torch.split(repaired, list(rows)), strict=True):
            matrix.weight.copy_(own)

    return change
