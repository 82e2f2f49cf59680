"""FLOPs and bytes of a decoder-only transformer, from its configuration alone.

One multiplication and one addition are two FLOPs. Derived in: Lab 03.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACTIVATION_OPERATIONS = 10  # for each number: a generous price of SiLU or GELU
SOFTMAX_OPERATIONS = 8
NORM_OPERATIONS = 8
ROTARY_OPERATIONS = 4


@dataclass(frozen=True)
class TransformerShape:
    """What a transformer's FLOPs depend on; all are counts, and `heads × head_width` a width.

    `gated` MLPs (Llama) have three matrices and others (GPT-2) two; `rotary` models turn queries
    and keys instead of learning positions.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    vocabulary: int
    gated: bool
    rotary: bool

    @classmethod
    def of(cls, model: Any) -> TransformerShape:
        """The shape of a Llama-style model or of GPT-2, from its configuration.

        `model` is a `LoadedModel`, a transformers model or its configuration. Raises ValueError
        for another architecture.
        """
        model = getattr(model, "model", model)
        config = getattr(model, "config", model)
        kind = getattr(config, "model_type", type(config).__name__)
        if kind == "gpt2":
            return cls(
                layers=config.n_layer,
                width=config.n_embd,
                heads=config.n_head,
                kv_heads=config.n_head,
                head_width=config.n_embd // config.n_head,
                mlp_width=config.n_inner or 4 * config.n_embd,
                vocabulary=config.vocab_size,
                gated=False,
                rotary=False,
            )
        if kind not in ("llama", "mistral", "qwen2", "smollm3"):
            raise ValueError(f"FLOPs are counted for Llama-style models and GPT-2, got {kind!r}")
        return cls(
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_width=getattr(config, "head_dim", None)
            or config.hidden_size // config.num_attention_heads,
            mlp_width=config.intermediate_size,
            vocabulary=config.vocab_size,
            gated=True,
            rotary=True,
        )

    @property
    def projection_weights(self) -> int:
        """Numbers in the query, key, value and output matrices of all layers."""
        return self.layers * 2 * self.width * self.head_width * (self.heads + self.kv_heads)

    @property
    def mlp_weights(self) -> int:
        """Numbers in the MLP's matrices of all layers."""
        return self.layers * (3 if self.gated else 2) * self.width * self.mlp_width

    @property
    def head_weights(self) -> int:
        """Numbers in the output head (the embedding itself where the two are tied)."""
        return self.vocabulary * self.width


# Brown et al. 2020, Table 2.1 and section 2.1.
GPT3_SHAPE = TransformerShape(
    layers=96,
    width=12_288,
    heads=96,
    kv_heads=96,
    head_width=128,
    mlp_width=4 * 12_288,
    vocabulary=50_257,
    gated=False,
    rotary=False,
)
GPT3_PARAMETERS, GPT3_TOKENS = 175e9, 300e9


def matrix_flops(
    shape: TransformerShape, tokens: int, *, cached: int = 0, predicted: int | None = None
) -> dict[str, int]:
    """FLOPs of the matrix products of one forward pass over one sequence, by part.

    Args:
        tokens: how many tokens are processed in this pass.
        cached: how many earlier tokens lie in the KV cache.
        predicted: for how many tokens the output head runs; all by default, 1 in generation.

    The attention scores are counted as dense products over all keys, as unfused kernels compute
    them and as torch counts them; a causal kernel may skip up to half. Raises ValueError for a
    count that makes no sense.
    """
    predicted = tokens if predicted is None else predicted
    if tokens < 1 or cached < 0 or not 0 <= predicted <= tokens:
        raise ValueError(
            f"tokens must be at least 1, cached at least 0 and predicted at most tokens: got "
            f"{tokens}, {cached}, {predicted}"
        )
    scores = shape.layers * 2 * tokens * (cached + tokens) * shape.heads * shape.head_width
    return {
        "attention projections": 2 * tokens * shape.projection_weights,
        "attention scores": 2 * scores,
        "MLP": 2 * tokens * shape.mlp_weights,
        "output head": 2 * predicted * shape.head_weights,
    }


def elementwise_flops(shape: TransformerShape, tokens: int, *, cached: int = 0) -> dict[str, int]:
    """Operations outside the matrix products, by part, at generous prices for each number.

    An exponential counts as several operations: the prices are this module's constants.
    """
    hidden = tokens * shape.layers
    scores = hidden * shape.heads * (cached + tokens)
    rotated = hidden * (shape.heads + shape.kv_heads) * shape.head_width if shape.rotary else 0
    return {
        "activation functions": ACTIVATION_OPERATIONS * hidden * shape.mlp_width,
        "softmax": SOFTMAX_OPERATIONS * scores,
        "norms": NORM_OPERATIONS * tokens * (2 * shape.layers + 1) * shape.width,
        "rotary positions": ROTARY_OPERATIONS * rotated,
        "gates and residuals": hidden * (2 * shape.width + shape.gated * shape.mlp_width),
    }


def forward_flops(
    shape: TransformerShape, tokens: int, *, cached: int = 0, predicted: int | None = None
) -> int:
    """FLOPs of the matrix products of one forward pass over one sequence."""
    return total(matrix_flops(shape, tokens, cached=cached, predicted=predicted))


def prefill_flops(shape: TransformerShape, prompt_tokens: int) -> int:
    """FLOPs of reading a prompt; only its last token needs the output head."""
    return forward_flops(shape, prompt_tokens, predicted=1)


def decode_flops(shape: TransformerShape, prompt_tokens: int, new_tokens: int) -> int:
    """FLOPs of writing `new_tokens` tokens after a prompt, with a KV cache.

    The first of them comes out of prefill; each further one is a pass over one token.
    """
    return sum(
        forward_flops(shape, 1, cached=prompt_tokens + written) for written in range(new_tokens - 1)
    )


def train_flops(shape: TransformerShape, tokens: int, *, sequence: int) -> int:
    """FLOPs of training on `tokens` tokens in sequences: three times the forward passes'.

    A backward pass computes two products for each of the forward's. Raises ValueError for tokens
    that do not fill sequences.
    """
    if sequence < 1 or tokens % sequence:
        raise ValueError(f"{tokens} tokens are no whole number of sequences of {sequence}")
    return 3 * (tokens // sequence) * forward_flops(shape, sequence)


def weight_bytes(shape: TransformerShape, bytes_per_number: float) -> float:
    """Bytes of all matrices: what decoding one token has to read at least."""
    numbers = shape.projection_weights + shape.mlp_weights + shape.head_weights
    return numbers * bytes_per_number


def cache_bytes(shape: TransformerShape, tokens: int, bytes_per_number: float) -> float:
    """Bytes of the KV cache of `tokens` tokens."""
    numbers = 2 * shape.layers * shape.kv_heads * shape.head_width * tokens
    return numbers * bytes_per_number


def total(parts: Mapping[str, int]) -> int:
    """The sum over parts."""
    return sum(parts.values())
