"""A tiny random model of each causal language model that transformers knows."""

from __future__ import annotations

from typing import Any

import torch

from greenkit.inputs.gguf import quiet

LARGEST = 5_000_000  # parameters
LAYERS = 4
SIZES = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WHERE_NAMED = {  # for those whose configuration has such a value
    "is_decoder": True,
    "head_dim": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "rotary_dim": 8,
    "decoder_layers": LAYERS,
    "decoder_ffn_dim": 96,
    "decoder_attention_heads": 4,
    "ffn_dim": 96,
    "attention_types": [[["global", "local"], 2]],
    "embedding_size": 64,
    "mamba_d_state": 8,
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "dff": 96,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "mamba_d_ssm": 128,
    "mamba_chunk_size": 8,
    "chunk_size": 8,
    "n_positions": 128,
    "n_groups": 1,
}


def names() -> list[str]:
    """The types of all causal language models of the installed transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def small(name: str, **values: Any) -> Any:
    """A random model of a type: four blocks, width 64, 128 tokens, a few experts where it has any.

    `values` are of its configuration. Raises ValueError for a type that cannot be built so small
    without knowing it.
    """
    import transformers

    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            known = vars(transformers.AutoConfig.for_model(name))
        except Exception as error:
            raise ValueError(f"{name} cannot be built: {_line(error)}") from error
        more = {key: value for key, value in WHERE_NAMED.items() if key in known}
        reasons = []
        whole = {"num_key_value_heads": SIZES["num_attention_heads"]}
        free = {key: value for key, value in more.items() if key != "head_dim"} | whole
        for own in (more, more | whole, free, {}, whole):
            try:
                return _built(name, {**SIZES, **own, **values})
            except Exception as error:  # of any kind: not every configuration takes these sizes
                reasons.append(_line(error))
    raise ValueError(f"{name} cannot be built small: {reasons[0]}")


def _built(name: str, values: dict[str, Any]) -> Any:
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name])
    config = transformers.AutoConfig.for_model(name, **values)
    with torch.device("meta"):
        parameters = sum(each.numel() for each in kind(config).parameters())
    if parameters > LARGEST:
        raise ValueError(f"it still has {parameters / 1e6:.0f} M parameters")
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # else norms and biases are all ones and zeros
            parameter.add_(0.05 * torch.randn_like(parameter))
        model(input_ids=torch.arange(3, 11).view(2, 4), use_cache=False).logits  # noqa: B018
    return model


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()
