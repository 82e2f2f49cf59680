"""What every part starts from: fetched and verified assets, models, texts, and perplexity.

Importing this room is cheap: torch and transformers are imported when a model is.
"""

from greenkit.inputs.agreement import Quality, QualityTest
from greenkit.inputs.assets import ASSETS, Asset, AssetError
from greenkit.inputs.cache import cache_folder
from greenkit.inputs.choices import Choices, ContinuationTest
from greenkit.inputs.default import fetch_default
from greenkit.inputs.fetching import fetch
from greenkit.inputs.models import LoadedModel, load_model
from greenkit.inputs.quality import Perplexity, PerplexityRatio, perplexity
from greenkit.inputs.texts import Article, Text, load_text
from greenkit.inputs.tokens import TokenWindows, token_windows

__all__ = [
    "ASSETS",
    "Article",
    "Asset",
    "AssetError",
    "Choices",
    "ContinuationTest",
    "LoadedModel",
    "Perplexity",
    "PerplexityRatio",
    "Quality",
    "QualityTest",
    "Text",
    "TokenWindows",
    "cache_folder",
    "fetch",
    "fetch_default",
    "load_model",
    "load_text",
    "perplexity",
    "token_windows",
]
