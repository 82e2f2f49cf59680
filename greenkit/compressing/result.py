"""What compressing gives back: the model, what was done to it, and what it weighs now."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from greenkit.compressing.matrices import Layout, layout_of, torch_model
from greenkit.compressing.quantization.quantizers import QuantizedTensor
from greenkit.compressing.storing import read_model, write_model
from greenkit.inputs.memory import give_back
from greenkit.inputs.models import LoadedModel


@dataclass(frozen=True)
class Size:
    """Parameters (tied ones count once) and the bytes that they and the buffers take in memory."""

    parameters: int
    bytes: int


@dataclass(frozen=True)
class MatrixReport:
    """One weight matrix as it is now.

    `sparsity` is the fraction of zeros; `bits` what one weight takes where it is stored as the
    method means it, scales included. For zeros in a dense matrix that is the full width.
    """

    name: str
    rows: int
    columns: int
    sparsity: float
    bits: float


@dataclass(frozen=True)
class Compressed:
    """A compressed model and what was done to it.

    `loaded` is the same model with its tokenizer, where the model was given as a `LoadedModel`;
    `settings` are the method's arguments as JSON values; `before` is the given model's size.
    `packed` has the integers and scales of quantized matrices, by name: they are what is saved.
    """

    model: Any = field(repr=False, compare=False)
    method: str
    settings: Mapping[str, Any]
    matrices: tuple[MatrixReport, ...] = field(repr=False)
    before: Size
    loaded: LoadedModel | None = field(default=None, repr=False, compare=False)
    packed: Mapping[str, QuantizedTensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def parameters(self) -> int:
        """The number of parameters now; zeros count, tied ones count once."""
        return size_of(self.model).parameters

    @property
    def bytes(self) -> int:
        """Bytes that parameters and buffers take in memory now."""
        return size_of(self.model).bytes

    @property
    def stored_bytes(self) -> int:
        """Bytes of the weights in a file of `save`, header aside: quantized matrices packed."""
        tensors = {tensor.data_ptr(): tensor for tensor in self.model.state_dict().values()}
        total = sum(tensor_bytes(tensor) for tensor in tensors.values())
        for name, quantized in self.packed.items():
            total += quantized.bytes - tensor_bytes(self.model.get_submodule(name).weight)
        return total

    @property
    def sparsity(self) -> float:
        """The fraction of zeros among all weights of the blocks' matrices."""
        total = sum(report.rows * report.columns for report in self.matrices)
        zeros = sum(report.rows * report.columns * report.sparsity for report in self.matrices)
        return zeros / total

    @property
    def bits(self) -> float:
        """Bits per weight, averaged over the blocks' matrices."""
        total = sum(report.rows * report.columns for report in self.matrices)
        return sum(report.rows * report.columns * report.bits for report in self.matrices) / total

    def save(self, folder: Path | str) -> Path:
        """Write weights as safetensors and what was done as JSON; see `load_compressed`."""
        about = {
            "method": self.method,
            "settings": dict(self.settings),
            "matrices": [asdict(report) for report in self.matrices],
            "before": asdict(self.before),
        }
        return write_model(folder, self.model, about, packed=self.packed, loaded=self.loaded)

    def __str__(self) -> str:
        return (
            f"{self.method}: {self.sparsity:.0%} zeros, {self.bits:.2f} bits a weight, "
            f"{self.parameters / 1e6:.1f} of {self.before.parameters / 1e6:.1f} M parameters, "
            f"{self.bytes / 1e6:.0f} of {self.before.bytes / 1e6:.0f} MB"
            + (f", {self.stored_bytes / 1e6:.0f} MB in a file" if self.packed else "")
        )


def size_of(model: LoadedModel | nn.Module) -> Size:
    """Parameters and bytes of a model as it is now, packed tensors by what they really hold."""
    network = torch_model(model)
    tensors = [*network.parameters(), *network.buffers()]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Size(parameters, sum(tensor_bytes(tensor) for tensor in tensors))


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Bytes that a tensor holds; of a packed one (int4, 2:4) those of the tensors inside it."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(tensor_bytes(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()


def working_copy(given: LoadedModel | nn.Module, *, inplace: bool) -> nn.Module:
    """The network to change: a copy of the given one, or itself. Tied weights stay tied."""
    network = torch_model(given)
    return network if inplace else copy.deepcopy(network)


def compressed(
    given: LoadedModel | nn.Module,
    network: nn.Module | Layout,
    *,
    method: str,
    settings: Mapping[str, Any],
    before: Size,
    bits: Mapping[str, float] | None = None,
    packed: Mapping[str, QuantizedTensor] | None = None,
) -> Compressed:
    """Describe a compressed network.

    Args:
        given: what the caller was given; the source of tokenizer and provenance.
        network: the model as it is now, or its layout where its matrices are still the same.
        method, settings: what was done, as JSON values.
        before: `size_of(given)` from before the change.
        bits: bits per weight by matrix name; by default what one element takes in memory.
        packed: by matrix name, the integers of those that were quantized, which set their bits.
    """
    packed = packed or {}
    layout, reports = layout_of(network), []
    for matrix in layout.matrices:
        weight = matrix.weight
        rows, columns = weight.shape
        own = tensor_bytes(weight) * 8 / weight.numel() if bits is None else bits[matrix.name]
        if matrix.name in packed:
            own = packed[matrix.name].bits_per_weight
        zeros = 1 - weight.count_nonzero().item() / weight.numel()
        reports.append(MatrixReport(matrix.name, rows, columns, zeros, own))
    loaded = None
    if isinstance(given, LoadedModel):
        plain = {k: v for k, v in settings.items() if isinstance(v, str | int | float)}
        chosen = ", ".join(f"{name}={value}" for name, value in plain.items())
        done = f"{given.provenance}; compressed by {method} ({chosen})"
        loaded = replace(given, model=layout.network, provenance=done)
    give_back()
    return Compressed(
        layout.network, method, dict(settings), tuple(reports), before, loaded, packed
    )


def load_compressed(folder: Path | str, *, device: str = "auto") -> Compressed:
    """Read back what `Compressed.save` wrote: the same weights, shapes, dtype and report.

    Raises ValueError for a folder that holds no such model.
    """
    stored = read_model(folder, device=device)
    return Compressed(
        model=stored.network,
        method=stored.about["method"],
        settings=stored.about["settings"],
        matrices=tuple(MatrixReport(**report) for report in stored.about["matrices"]),
        before=Size(**stored.about["before"]),
        loaded=stored.loaded,
        packed=stored.packed,
    )
