"""What a model can read: which token ids, how many at a time, and by whose tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def context_tokens(network: Any) -> int | None:
    """How many tokens a model reads at a time, by its configuration; None where nothing says so.

    With learned positions (GPT-2, OPT) more is impossible. A rotary model (Llama) computes further,
    and guesses ever worse where it was never trained: the number is the bound that it claims, and
    whoever knows better raises `config.max_position_embeddings`. Models without positions (Mamba)
    or with distances in their place (ALiBi: BLOOM, some Falcons) have no bound.
    """
    config = getattr(network, "config", None)
    if getattr(config, "alibi", False):
        return None
    number = getattr(config, "max_position_embeddings", None)
    return number if isinstance(number, int) and number > 0 else None


def refuse_unreadable(network: Any, ids: torch.Tensor, *, new_tokens: int = 0) -> None:
    """Refuse token ids that a model does not know, and more of them than its context holds.

    `ids` has shape (batch, tokens); the last of `new_tokens` written behind them is never read.
    A rotary model beyond its context is refused like any other: its perplexity there would be
    that of positions it never saw, and would be told as the model's. Raises ValueError.
    """
    if not ids.numel():
        raise ValueError("There is no token to read: give a text that is not empty.")
    known = getattr(getattr(network, "config", None), "vocab_size", None)
    least, most = int(ids.min()), int(ids.max())
    if isinstance(known, int) and not 0 <= least <= most < known:
        raise ValueError(
            f"The text has token ids from {least} to {most}; this model knows 0 to {known - 1}: "
            "tokenize with the model's own tokenizer."
        )
    refuse_beyond_context(network, ids.shape[1], new_tokens=new_tokens)


def refuse_beyond_context(network: Any, tokens: int, *, new_tokens: int = 0) -> None:
    """Refuse more tokens at a time than a model's context holds; see `refuse_unreadable`."""
    context = context_tokens(network)
    if context is None or tokens + max(0, new_tokens - 1) <= context:
        return
    if new_tokens:
        raise ValueError(
            f"{tokens:,} tokens to read and {new_tokens:,} to write are more than the "
            f"{context:,} that this model can read: give a shorter text or fewer new_tokens."
        )
    raise ValueError(
        f"Windows of {tokens:,} tokens are longer than the {context:,} that this model can read: "
        "take shorter windows."
    )


def refuse_other_tokenizer(one: Any, other: Any) -> None:
    """Refuse two models whose tokenizers give one id different tokens.

    Each is a `LoadedModel`, the result of a compression or a tokenizer; what has no tokenizer is
    not compared. Raises ValueError.
    """
    left, right = tokenizer_of(one), tokenizer_of(other)
    if left is None or right is None or left is right:
        return
    mine, theirs = left.get_vocab(), right.get_vocab()
    if mine == theirs:
        return
    words = sorted(mine, key=lambda word: mine[word]) + sorted(theirs)
    token = next(word for word in words if mine.get(word) != theirs.get(word))
    raise ValueError(
        f"The two models have different tokenizers ({len(mine):,} and {len(theirs):,} tokens; "
        f"{token!r} is {mine.get(token, 'unknown')} and {theirs.get(token, 'unknown')}): their "
        "probabilities do not compare. Use models of one vocabulary."
    )


def tokenizer_of(given: Any) -> Any:
    """The tokenizer of whatever holds one, or None; a tokenizer is its own."""
    loaded = getattr(given, "loaded", given)
    tokenizer = getattr(loaded, "tokenizer", loaded)
    return tokenizer if hasattr(tokenizer, "get_vocab") else None
