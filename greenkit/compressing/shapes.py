"""What modules and the configuration say about sizes, made to follow from the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from greenkit.compressing.matrices import Matrix, layout_of, text_config
from greenkit.compressing.parts import attention_of, head_width

HEADS = ("num_heads", "num_attention_heads", "n_head", "n_heads")
KEY_HEADS = ("num_key_value_heads", "num_kv_heads")
HEAD_FEATURES = ("split_size", "all_head_size")
PLACES = ("layer_idx", "layer_id", "layer_number", "layer_index")  # of a block among the others
NEURONS = ("intermediate_size", "n_inner", "ffn_dim")
NOT_BY_BLOCK = ("id2label", "label2id", "architectures", "_token_id", "_token_ids")
DEPTHS = ("num_hidden_layers", "decoder_layers", "num_decoder_layers", "num_blocks")
FIRST_BLOCKS = ("first_k_dense_replace", "num_dense_layers")  # so many come before the experts
NUMBERS_OF_BLOCKS = ("layers", "layer_ids", "layer_indices", "layers_idx", "layer_idx", "idxs")


def fit_modules(network: nn.Module) -> None:
    """Set sizes and head counts of the blocks' modules after their weights changed.

    Attention that splits into heads by their width needs no more than its weights: whole key/value
    groups leave the number of query heads for each key/value head as it was.
    """
    layout = layout_of(network)
    for block, own in zip(layout.blocks, layout.by_block, strict=True):
        fit_block(block, own, text_config(network))


def fit_block(block: nn.Module, own: Sequence[Matrix], config: Any) -> None:
    """The same for one block and its matrices."""
    stale = [_fit_linear(matrix.module) for matrix in own]
    if not any(stale) or (part := attention_of(block, own)) is None:
        return
    width = head_width(part.module, config) or 1
    fewest = min(matrix.weight.shape[0] for matrix in part.makers)
    if len(part.makers) == 1:
        fewest = (fewest - part.features) // 2
    counts = dict.fromkeys(HEADS, part.features // width)
    counts |= dict.fromkeys(KEY_HEADS, fewest // width)
    counts |= dict.fromkeys(HEAD_FEATURES, part.features)
    for module in part.module.modules():
        for name, count in counts.items():
            if isinstance(getattr(module, name, None), int):
                setattr(module, name, count)


def _fit_linear(module: Any) -> bool:
    """Whether the layer did not know the shape of its weight."""
    names = ("nx", "nf") if isinstance(module, Conv1D) else ("out_features", "in_features")
    said = tuple(getattr(module, name) for name in names)
    for name, size in zip(names, module.weight.shape, strict=True):
        setattr(module, name, size)
    return said != tuple(module.weight.shape)


def renumber(block: nn.Module, number: int) -> None:
    """Tell a block its place among the others, and in the cache of keys and values."""
    for module in block.modules():
        for name in PLACES:
            if isinstance(getattr(module, name, None), int):
                setattr(module, name, number)


def keep_blocks_in(config: Any, kept: Sequence[int], total: int) -> None:
    """Cut a configuration to the blocks with the numbers in `kept`, out of `total`.

    A list as long as there are blocks has a value for each; in one that holds numbers of blocks
    (`mlp_only_layers`) they become the new ones.
    """
    for name, value in list(vars(config).items()):
        if name.endswith(NOT_BY_BLOCK) or not isinstance(value, list | tuple | dict):
            continue
        cut = _cut(name, value, kept, total)
        if cut is not value:
            setattr(config, name, cut)
    for name in FIRST_BLOCKS:
        if isinstance(count := getattr(config, name, None), int):
            setattr(config, name, sum(number < count for number in kept))
    for name in DEPTHS:
        if name == DEPTHS[0] or getattr(config, name, None) == total:
            setattr(config, name, len(kept))
    if hasattr(config, "attention_types"):  # GPT-Neo tells the same twice
        config.attention_types = [[list(config.attention_layers), 1]]


def _cut(name: str, value: Any, kept: Sequence[int], total: int) -> Any:
    places = {number: place for place, number in enumerate(kept)}
    if isinstance(value, dict):
        by_block = "layer" in name and all(str(key).isdigit() for key in value)
        if not by_block or not all(int(key) < total for key in value):
            return value
        return {type(k)(places[int(k)]): each for k, each in value.items() if int(k) in places}
    numbers = all(type(each) is int and 0 <= each < total for each in value)
    distinct = numbers and len(set(value)) == len(value)
    flags = len(value) == total and set(value) <= {0, 1}
    if value and distinct and name.endswith(NUMBERS_OF_BLOCKS) and not flags:
        return type(value)(places[number] for number in value if number in places)
    if len(value) == total:
        return type(value)(value[number] for number in kept)
    return value
