"""What modules and the configuration say about sizes, made to follow from the weights."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from greenkit.compressing.matrices import blocks


def fit_to_weights(network: nn.Module) -> None:
    """Set sizes and head counts of modules and configuration after the weights changed.

    Llama-style attention splits into heads by their width, and whole key/value groups leave the
    number of query heads for each key/value head as it was: its modules need no more. A value of
    the configuration that blocks no longer share, or that it would refuse, stays as it was.
    """
    layers: Any = blocks(network)
    for module in layers.modules():
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, Conv1D):
            module.nx, module.nf = module.weight.shape
    for block in layers:
        if hasattr(block, "attn"):  # GPT-2 splits one matrix into queries, keys and values
            block.attn.split_size = block.attn.c_proj.nx
            block.attn.num_heads = block.attn.split_size // block.attn.head_dim
    _fit_config(network.config, layers)


def _fit_config(config: Any, layers: Any) -> None:
    config.num_hidden_layers = len(layers)
    if hasattr(layers[0], "attn"):  # GPT-2, which derives the width of a head from their number
        neurons = {block.mlp.c_proj.weight.shape[0] for block in layers}
        if len(neurons) == 1:
            (config.n_inner,) = neurons
        return
    neurons = {block.mlp.down_proj.weight.shape[1] for block in layers}
    if len(neurons) == 1:
        (config.intermediate_size,) = neurons
    width = layers[0].self_attn.head_dim
    attention = [block.self_attn for block in layers]
    heads = {tuple(m.weight.shape[0] // width for m in (a.q_proj, a.k_proj)) for a in attention}
    if len(heads) == 1:
        query, key = heads.pop()
        if config.hidden_size % query == 0:
            config.head_dim = width
            config.num_attention_heads, config.num_key_value_heads = query, key
