"""A powercap tree of ordinary files, as Linux shows RAPL under /sys/class/powercap."""

from __future__ import annotations

from pathlib import Path

RANGE_UJ = 262_143_328_850  # of an Intel server: 2³² × 61 µJ


def zone(
    root: Path, place: str, name: str, energy_uj: int = 5_000_000, range_uj: int = RANGE_UJ
) -> Path:
    """Add a zone such as ``intel-rapl:0`` or, inside it, ``intel-rapl:0:1``; its energy file."""
    parts = place.split(":")
    parent = root / ":".join(parts[:2]) if len(parts) == 3 else root
    folder = parent / place
    folder.mkdir(parents=True)
    (folder / "name").write_text(name + "\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    spend(folder / "energy_uj", energy_uj, range_uj)
    return folder / "energy_uj"


def spend(file: Path, total_uj: int, range_uj: int = RANGE_UJ) -> None:
    """Show a total as the counter would, wrapped at its range."""
    file.write_text(f"{total_uj % range_uj}\n")
