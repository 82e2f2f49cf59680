"""Let a model write, and count what it read and wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenkit.inputs.reach import refuse_unreadable

if TYPE_CHECKING:
    from greenkit.inputs.models import LoadedModel


@dataclass(frozen=True)
class Reply:
    """What a model wrote, with the tokens it read (the prompt) and wrote."""

    text: str
    prompt_tokens: int
    new_tokens: int


def generate(
    loaded: LoadedModel,
    prompt: str,
    *,
    new_tokens: int = 64,
    exact: bool = False,
    batch: int = 1,
) -> Reply:
    """Greedy text from a prompt, through transformers' own `generate`.

    A chat model gets the prompt in its chat form. `new_tokens` is a limit; with `exact` the model
    writes just so many, and its stop sign is ignored. A `batch` answers the same prompt so many
    times at once; the reply holds one of these answers, and its counts.

    Raises ValueError for fewer than one token or one answer, an empty prompt, and where prompt and
    new tokens do not fit in the model's context.
    """
    import torch

    if new_tokens < 1:
        raise ValueError(f"new_tokens must be at least 1, got {new_tokens}")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    tokenizer = loaded.tokenizer
    if tokenizer.chat_template and loaded.trained:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
    else:
        inputs = tokenizer(prompt, return_tensors="pt")
    refuse_unreadable(loaded.model, inputs["input_ids"], new_tokens=new_tokens)
    repeated = {name: ids.repeat(batch, 1).to(loaded.device) for name, ids in inputs.items()}
    with torch.inference_mode():
        output = loaded.model.generate(
            **repeated,
            do_sample=False,
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens if exact else None,
            pad_token_id=tokenizer.eos_token_id,
        )
    read = inputs["input_ids"].shape[1]
    written = output[0, read:]
    text = tokenizer.decode(written, skip_special_tokens=True)
    return Reply(text.strip(), int(read), int(written.shape[0]))
