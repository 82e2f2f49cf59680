"""A configuration built anew, without weights: would a file give back the same model?"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from greenkit.compressing.matrices import Layout, Matrix, layout_of, text_config
from greenkit.compressing.parts import Part, attention_of, head_width
from greenkit.compressing.shapes import (
    HEAD_FEATURES,
    HEADS,
    KEY_HEADS,
    NEURONS,
    PLACES,
    keep_blocks_in,
)
from greenkit.inputs.gguf import quiet

SIZES = ("in_features", "out_features", "nx", "nf", *NEURONS)
DERIVED = (*SIZES, *HEADS, *KEY_HEADS, *HEAD_FEATURES)
OF_NO_EFFECT = ("training", *PLACES, "num_hidden_layers", "gradient_checkpointing")
PLAIN = (bool, int, float, str, type(None), tuple)


def described(network: Any, config: Any = None) -> dict[str, Any]:
    """What it takes to build a network of the same architecture, as JSON values."""
    config = network.config if config is None else config
    return {
        "class": type(network).__name__,
        "attention": config._attn_implementation,
        "config": json.loads(config.to_json_string(use_diff=False)),
    }


def build(about: Mapping[str, Any]) -> Any:
    """A network of the architecture that `described` tells; its weights are random."""
    import transformers

    text = json.dumps(about["config"])
    values = json.loads(text, object_hook=lambda own: _float(own) if "__float__" in own else own)
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    config._attn_implementation = about["attention"]
    with quiet(), torch.random.fork_rng(devices=[]):
        return getattr(transformers, about["class"])(config)


def _float(told: Mapping[str, str]) -> float:
    """A number that JSON does not have, as transformers writes it: {"__float__": "Infinity"}."""
    return float(told["__float__"])


def lost_when_rebuilt(layout: Layout, kept: Sequence[int] | None = None) -> str | None:
    """What a file would not keep of this model, or of its blocks `kept` alone; None if nothing.

    The configuration, cut to these blocks, is built anew without weights, and its modules are
    compared with those at hand.
    """
    network: Any = layout.network
    numbers = range(len(layout.blocks)) if kept is None else kept
    config = copy.deepcopy(network.config)
    try:
        if kept is not None:
            keep_blocks_in(text_config(network, config), kept, len(layout.blocks))
        twin = _twin(described(network, config))
        theirs: Any = twin.get_submodule(layout.path)
    except Exception as error:  # of any kind: a configuration checks itself as it likes
        return f"its configuration does not build such a model ({_first_line(error)})"
    if type(twin) is not type(network):
        return f"transformers has no class of the name {type(network).__name__} as this one"
    if len(theirs) != len(numbers):
        return f"its configuration builds {len(theirs)} blocks, not {len(numbers)}"
    for place, number in enumerate(numbers):
        if (what := _difference(layout.blocks[number], theirs[place])) is not None:
            return f"built anew from its configuration, block {place} would have another {what}"
    return None if kept is None else _difference_outside(network, twin, layout.path)


def _twin(about: Mapping[str, Any]) -> Any:
    """A network without weights, or one with them where it cannot be built so."""
    try:
        with torch.device("meta"):
            return build(about)
    except (RuntimeError, NotImplementedError):  # looks at numbers while it is built
        return build(about)


def refuse_lossy(network: nn.Module) -> None:
    """Raise ValueError for a model that a file would not give back."""
    if (reason := lost_when_rebuilt(layout_of(network))) is not None:
        raise ValueError(f"{type(network).__name__} cannot be saved: {reason}.")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}".rstrip(". ")


def _difference(block: nn.Module, other: nn.Module) -> str | None:
    ours, theirs = dict(block.named_modules()), dict(other.named_modules())
    sizes, anew = _sizes(block), _sizes(other)
    for name, module in ours.items():
        if name in theirs and type(module).__name__ != (kind := type(theirs[name]).__name__):
            return f"{name or 'kind'} ({kind}, not {type(module).__name__})"
    if odd := sorted(set(ours) ^ set(theirs)):
        return f"structure ({odd[0]})"
    for name, module in ours.items():
        twin = theirs[name]
        label = name or type(module).__name__
        if set(module._parameters) != set(twin._parameters) or {
            key for key, value in module._parameters.items() if value is None
        } != {key for key, value in twin._parameters.items() if value is None}:
            return f"set of weights in {label}"
        for key in set(vars(module)) & set(vars(twin)):
            if key.startswith("_") or key in OF_NO_EFFECT or key in DERIVED:
                continue
            one, two = vars(module)[key], vars(twin)[key]
            if type(one) is type(two) is int and (
                one in sizes - anew or (two in anew and one not in sizes)
            ):
                continue  # the size of weights that became fewer, told or not
            if isinstance(one, PLAIN) and isinstance(two, PLAIN) and one != two:
                return f"{label}.{key} ({two}, not {one})"
    return None


def _sizes(block: nn.Module) -> set[int]:
    return {size for weight in block.parameters() for size in weight.shape}


def _difference_outside(network: nn.Module, twin: nn.Module, path: str) -> str | None:
    """Weights beside the blocks whose shape depends on their number."""
    shapes = [
        {
            name: tuple(tensor.shape)
            for name, tensor in each.state_dict().items()
            if not name.startswith(f"{path}.")
        }
        for each in (network, twin)
    ]
    for name in sorted(set(shapes[0]) | set(shapes[1])):
        if shapes[0].get(name) != shapes[1].get(name):
            return (
                f"built anew from its configuration, {name} would have shape "
                f"{shapes[1].get(name)}, not {shapes[0].get(name)}"
            )
    return None


def fit_config(layout: Layout, find: Callable[[nn.Module, Sequence[Matrix]], Part | None]) -> None:
    """Let the configuration tell the sizes of one part of all blocks, where it can build them so.

    `find` is `attention_of` or `mlp_of`. A value that blocks do not share, or that builds other
    sizes, stays as it was.
    """
    config = text_config(layout.network)
    own = [find(*each) for each in zip(layout.blocks, layout.by_block, strict=True)]
    parts = [part for part in own if part is not None]
    shapes = {tuple(tuple(m.weight.shape) for m in (*p.makers, p.reader)) for p in parts}
    if len(shapes) != 1 or len(parts) < len(own):
        return
    values = dict.fromkeys((n for n in NEURONS if hasattr(config, n)), parts[0].features)
    if find is attention_of:
        values = _heads(parts[0], config)
    if any(getattr(config, name, None) != value for name, value in values.items()):
        _set_if_it_builds(layout, values, parts)


def _heads(part: Part, config: Any) -> dict[str, int]:
    width = head_width(part.module, config)
    if len(part.makers) != 3 or width is None:
        return {}
    heads = {"num_attention_heads": part.features // width}
    heads["num_key_value_heads"] = min(len(m.weight) for m in part.makers) // width
    told = all(getattr(config, name, None) == value for name, value in heads.items())
    return {} if told else {**heads, "head_dim": width}


def _set_if_it_builds(layout: Layout, values: Mapping[str, int], parts: Sequence[Part]) -> None:
    network: Any = layout.network
    trial = copy.deepcopy(network.config)
    try:
        for name, value in values.items():
            setattr(text_config(network, trial), name, value)
        twin = _twin(described(network, trial))
        matrices = [matrix for part in parts for matrix in (*part.makers, part.reader)]
        fits = all(
            twin.get_submodule(matrix.name).weight.shape == matrix.module.weight.shape
            for matrix in matrices
        )
    except Exception:  # of any kind: a configuration checks itself as it likes
        return
    if fits:
        for name, value in values.items():
            setattr(text_config(network), name, value)
