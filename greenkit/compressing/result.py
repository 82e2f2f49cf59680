"""What compressing gives back: the model, what was done to it, and what it weighs now."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from greenkit.compressing.given import Model, WithTokenizer, loaded_of, torch_model
from greenkit.compressing.matrices import Layout, layout_of
from greenkit.compressing.quantization.activations import rounds_inputs
from greenkit.compressing.quantization.quantizers import QuantizedTensor
from greenkit.compressing.sizes import Size as Size
from greenkit.compressing.sizes import size_of as size_of
from greenkit.compressing.sizes import tensor_bytes as tensor_bytes
from greenkit.compressing.sizes import zero_share
from greenkit.compressing.storing import read_model, write_model
from greenkit.inputs.memory import give_back
from greenkit.inputs.models import LoadedModel


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
class Step:
    """One thing that was done to a model: the method and its settings, as JSON values."""

    method: str
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        """The method with those settings that are a word or a number."""
        told = {k: v for k, v in self.settings.items() if isinstance(v, str | int | float)}
        return f"{self.method} ({', '.join(f'{name}={value}' for name, value in told.items())})"


@dataclass(frozen=True)
class Compressed(WithTokenizer):
    """A compressed model and what was done to it; itself a model that every verb takes.

    `loaded` is the same model with its tokenizer, where the model was given with one; `settings`
    are the method's arguments as JSON values. `history` has what was done before, the first step
    first, where the given model was a result itself; `before` is the size of the very first one.
    `packed` has the integers and scales of quantized matrices, by name: they are what is saved. A
    later step works on the rounded weights and leaves its result unpacked: quantize last.
    `others` are weights of the blocks that are no matrix of a linear layer, such as the experts of
    a mixture: no method reaches them, and they count.
    """

    model: Any = field(repr=False, compare=False)
    method: str
    settings: Mapping[str, Any]
    matrices: tuple[MatrixReport, ...] = field(repr=False)
    before: Size
    loaded: LoadedModel | None = field(default=None, repr=False, compare=False)
    packed: Mapping[str, QuantizedTensor] = field(default_factory=dict, repr=False, compare=False)
    history: tuple[Step, ...] = ()
    others: tuple[MatrixReport, ...] = field(default=(), repr=False)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All that was done, the last step last."""
        return (*self.history, Step(self.method, self.settings))

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
        """The fraction of zeros among all weights of the blocks, norms and biases aside."""
        return _weighted((report, report.sparsity) for report in (*self.matrices, *self.others))

    @property
    def bits(self) -> float:
        """Bits per weight, averaged over all weights of the blocks, norms and biases aside."""
        return _weighted((report, report.bits) for report in (*self.matrices, *self.others))

    @property
    def unreached(self) -> float:
        """The share of the blocks' weights that are no matrix of a linear layer."""
        reached = ((report, 0.0) for report in self.matrices)
        return _weighted((*reached, *((report, 1.0) for report in self.others)))

    @property
    def lost_zeros(self) -> str:
        """What to say where zeros of an earlier step are gone, else nothing."""
        zeros = self.settings.get("zeros")
        if zeros and zeros["after"] < zeros["before"]:
            return f", zeros: {zeros['before']:.0%} before, {zeros['after']:.0%} after"
        return ""

    def save(self, folder: Path | str) -> Path:
        """Write weights as safetensors and what was done as JSON; see `load_compressed`."""
        about = {
            "method": self.method,
            "settings": dict(self.settings),
            "matrices": [asdict(report) for report in self.matrices],
            "before": asdict(self.before),
            "history": [asdict(step) for step in self.history],
            "others": [asdict(report) for report in self.others],
        }
        self._refuse_lost_rounding()
        return write_model(folder, self.model, about, packed=self.packed, loaded=self.loaded)

    def _refuse_lost_rounding(self) -> None:
        """A file says how inputs are rounded only beside the integers of that very step."""
        if self.settings.get("activations") is None and any(
            rounds_inputs(matrix) for matrix in layout_of(self.model).matrices
        ):
            raise ValueError(
                "Inputs of this model are rounded since an earlier quantize(…, activations=…), "
                f"which a file of {self.method} does not hold: quantize last, or again."
            )

    def __str__(self) -> str:
        earlier = "".join(f"{step}, then " for step in self.history)
        missed = f", {self.unreached:.0%} of the weights not reached" if self.others else ""
        return (
            f"{earlier}{self.method}: {self.sparsity:.0%} zeros, {self.bits:.2f} bits a weight, "
            f"{self.parameters / 1e6:.1f} of {self.before.parameters / 1e6:.1f} M parameters, "
            f"{self.bytes / 1e6:.0f} of {self.before.bytes / 1e6:.0f} MB"
            + (f", {self.stored_bytes / 1e6:.0f} MB in a file" if self.packed else "")
            + self.lost_zeros
            + missed
        )


def _weighted(values: Iterable[tuple[MatrixReport, float]]) -> float:
    """The mean of one value a report, each as often as it has weights."""
    pairs = [(report.rows * report.columns, value) for report, value in values]
    return sum(count * value for count, value in pairs) / sum(count for count, _ in pairs)


def working_copy(given: Model, *, inplace: bool) -> nn.Module:
    """The network to change: a copy of the given one, or itself. Tied weights stay tied."""
    network = torch_model(given)
    return network if inplace else copy.deepcopy(network)


def compressed(
    given: Model,
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
        given: what the caller was given; the source of tokenizer, provenance and history.
        network: the model as it is now, or its layout where its matrices are still the same.
        method, settings: what was done, as JSON values.
        before: `size_of(given)` from before the change; where `given` is a result, its own
            `before` is kept.
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
        reports.append(MatrixReport(matrix.name, rows, columns, zero_share(weight), own))
    loaded = loaded_of(given)
    if loaded is not None:
        done = f"{loaded.provenance}; compressed by {Step(method, settings)}"
        loaded = replace(loaded, model=layout.network, provenance=done)
    earlier = result_of(given)
    give_back()
    return Compressed(
        layout.network,
        method,
        dict(settings),
        tuple(reports),
        before if earlier is None else earlier.before,
        loaded,
        packed,
        () if earlier is None else earlier.steps,
        tuple(_others(layout)),
    )


def result_of(given: Model) -> Compressed | None:
    """The result that was given, be it that of a distillation; None for any other model."""
    found = getattr(given, "student", given)
    return found if isinstance(found, Compressed) else None


def _others(layout: Layout) -> Iterator[MatrixReport]:
    """Weights of two dimensions or more in the blocks that belong to no matrix."""
    seen = {id(matrix.module.weight) for matrix in layout.matrices}
    for name, weight in layout.blocks.named_parameters():
        if weight.ndim >= 2 and id(weight) not in seen:
            columns = weight.shape[-1]
            rows = weight.numel() // max(columns, 1)
            bits = tensor_bytes(weight) * 8 / max(weight.numel(), 1)
            share = zero_share(weight) if weight.numel() else 0.0
            yield MatrixReport(f"{layout.path}.{name}", rows, columns, share, bits)


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
        history=tuple(Step(**step) for step in stored.about.get("history", ())),
        others=tuple(MatrixReport(**report) for report in stored.about.get("others", ())),
    )
