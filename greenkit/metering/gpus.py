"""Which GPUs are meant: by index, by UUID, or by the mask under which CUDA sees them.

Source: CUDA Programming Guide, CUDA environment variables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenkit.metering.sensor import SensorError


@dataclass(frozen=True)
class Card:
    """One NVIDIA GPU as the driver lists it; `mig` where it is split into MIG instances."""

    index: int
    name: str
    uuid: str
    bus_id: str
    mig: bool = False

    @property
    def label(self) -> str:
        """Product name and the first part of its UUID, to tell two equal cards apart."""
        return f"{self.name} ({'-'.join(self.uuid.split('-')[:2])})"


def named(cards: Sequence[Card], wanted: Iterable[int | str]) -> list[Card]:
    """The cards with these indices (as `nvidia-smi` numbers them) or UUIDs (a unique start does).

    Raises SensorError for a card that is not there, for a MIG instance and for a card in MIG mode.
    """
    chosen = []
    for name in wanted:
        card = _find(cards, name)
        if card is None:
            listed = ", ".join(f"{c.index}: {c.name} {c.uuid}" for c in cards) or "none"
            raise SensorError(f"{name!r} names no single GPU; this machine has {listed}")
        if card.mig:
            raise SensorError(mig_refusal(card))
        chosen.append(card)
    return list(dict.fromkeys(chosen))


def visible(
    cards: Sequence[Card], mask: str | None, order: str | None, opened: Sequence[str] | None
) -> tuple[list[Card], list[str]]:
    """The cards that CUDA shows to this process, and one sentence for each that it does not meter.

    `mask` is CUDA_VISIBLE_DEVICES and `order` CUDA_DEVICE_ORDER (None: not set); `opened` lists
    UUIDs or PCI bus ids of the cards that CUDA has opened in this process, which settle it.
    """
    if opened is not None:
        found = {name: _find(cards, name) for name in opened}
        chosen = [card for card in found.values() if card]
        reasons = [
            f"CUDA uses {name}, which NVML does not list" for name in found if not found[name]
        ]
    elif mask is None:
        chosen, reasons = list(cards), []
    else:
        chosen, reasons = _masked(cards, mask, order)
    reasons += [mig_refusal(card) for card in chosen if card.mig]
    return [card for card in dict.fromkeys(chosen) if not card.mig], reasons


def _masked(cards: Sequence[Card], mask: str, order: str | None) -> tuple[list[Card], list[str]]:
    chosen: list[Card] = []
    reasons: list[str] = []
    shown = f"CUDA_VISIBLE_DEVICES={mask}"
    entries = [entry.strip() for entry in mask.split(",")]
    for entry in entries:
        if entry.upper().startswith("MIG-"):
            reasons.append(f"{shown} names a MIG instance, {_NO_MIG_POWER}")
            continue
        card = _find(cards, entry)
        if card is None:  # CUDA shows only what stands before the first invalid entry
            if entry not in ("", "-1", "NoDevFiles"):
                reasons.append(f"{shown}: {entry!r} names no single GPU, and CUDA stops there")
            break
        chosen.append(card)
    if not chosen and not reasons:
        reasons.append(f"{shown} hides all {len(cards)} GPUs from this process")
    by_index = any(entry.isdigit() for entry in entries)
    mixed = len({card.name for card in cards}) > 1
    if by_index and mixed and 0 < len(chosen) < len(cards) and order != "PCI_BUS_ID":
        reasons.append(
            f"{shown} counts cards in CUDA's order (fastest first), NVML in the order of the PCI "
            "bus: set CUDA_DEVICE_ORDER=PCI_BUS_ID or name GPUs by UUID to be sure which is metered"
        )
    return chosen, reasons


def _find(cards: Sequence[Card], name: int | str) -> Card | None:
    text = str(name).strip().casefold()
    if text.startswith("mig-"):
        raise SensorError(f"{name} is a MIG instance, {_NO_MIG_POWER}")
    if text.isdigit():
        return next((card for card in cards if card.index == int(text)), None)
    if not text.startswith("gpu-"):
        return next((card for card in cards if card.bus_id.casefold() == text), None)
    found = [card for card in cards if card.uuid.casefold().startswith(text)]
    return found[0] if len(found) == 1 else None


_NO_MIG_POWER = (
    "and NVML knows the power of whole cards only: meter the card with MIG off "
    "(sudo nvidia-smi -mig 0), or on a machine where it is yours alone"
)


def mig_refusal(card: Card) -> str:
    """Why a card in MIG mode is not metered."""
    return f"nvml:{card.index} ({card.name}) is split by MIG, {_NO_MIG_POWER}"


def opened_by_torch() -> list[str] | None:
    """UUIDs (or PCI bus ids) of the cards that torch's CUDA shows; None before CUDA is in use."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    names = []
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        if uuid := str(getattr(card, "uuid", "")):
            names.append("GPU-" + uuid.removeprefix("GPU-"))
        elif hasattr(card, "pci_bus_id"):
            names.append(
                f"{card.pci_domain_id:08X}:{card.pci_bus_id:02X}:{card.pci_device_id:02X}.0"
            )
        else:
            return None
    return names
