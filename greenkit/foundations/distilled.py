"""Published students of larger language models, and what their lessons took."""

from __future__ import annotations

from greenkit.foundations.rows import Row

# Perplexity on WikiText-103 after fine-tuning on it (model card of DistilGPT2).
GPT2 = Row("GPT-2", 16.3, "", 2019, "distilgpt2card", "quoted")
DISTILGPT2 = Row("DistilGPT2", 21.1, "", 2019, "distilgpt2card", "quoted")

# V100-hours: of distilling one model, and of training another one like its teacher.
DISTILBERT_H = Row("DistilBERT, distilled", 8 * 90, "h", 2019, "sanh2019distilbert", "quoted")
BERT_BASE_H = Row("BERT base, trained", 64 * 79, "h", 2019, "strubell2019energy", "quoted")


def perplexity_kept() -> float:
    """The student's perplexity over its teacher's, both fine-tuned on the benchmark.

    >>> round(perplexity_kept(), 2)
    1.29
    """
    return DISTILGPT2.vs(GPT2)
