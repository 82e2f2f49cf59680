"""Real low-bit execution: put layers that compute with small integers into a model's blocks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from greenkit.compressing.arguments import refuse_no_count, refuse_no_switch
from greenkit.compressing.given import Model, WithTokenizer, loaded_of, refuse_broken, torch_model
from greenkit.compressing.matrices import Matrix, matrices
from greenkit.compressing.quantization.low_bit_layers import (
    Int4Weight,
    Int8Dynamic,
    Int8PerTensor,
    Int8Weight,
    check_int4,
    check_int8,
)
from greenkit.compressing.quantization.quantize import choose_matrices
from greenkit.compressing.quantization.quantizers import (
    QuantizedTensor,
    Scheme,
    check_weight,
    quantize_tensor,
)
from greenkit.compressing.result import Size, result_of, size_of, working_copy
from greenkit.inputs.gguf import quiet
from greenkit.inputs.models import LoadedModel

GROUP_SIZE = 64
X86_ENGINES = ("x86", "fbgemm", "onednn")


@dataclass(frozen=True)
class Kind:
    """One way to execute: what it is, the bits of a weight, where it runs and by which layer.

    Without a layer of our own it is torchao's.
    """

    about: str
    bits: int
    devices: tuple[str, ...] = ("cpu",)
    layer: Callable[[QuantizedTensor, torch.Tensor | None], nn.Module] | None = None


BOTH = ("cpu", "cuda")
KINDS = {
    "int8-dynamic": Kind("int8 weights and int8 inputs, one scale a token", 8, layer=Int8Dynamic),
    "int8-weight": Kind("int8 weights, bf16 inputs", 8, layer=Int8Weight),
    "int4-weight": Kind("int4 weights in groups, bf16 inputs", 4, layer=Int4Weight),
    "torch-dynamic": Kind("int8 weights, inputs with one scale a call", 8, layer=Int8PerTensor),
    "torchao-int8-dynamic": Kind("int8 weights and inputs, one scale a token", 8, BOTH),
    "torchao-int8-weight": Kind("int8 weights", 8, BOTH),
    "torchao-int4-weight": Kind("int4 weights in groups, bf16 inputs", 4, BOTH),
}


@dataclass(frozen=True)
class LowBit(WithTokenizer):
    """A model whose matrices are executed in few bits; to save one, save what it was made from."""

    model: Any = field(repr=False)
    kind: str
    replaced: tuple[str, ...] = field(repr=False)
    before: Size
    loaded: LoadedModel | None = field(default=None, repr=False)

    @property
    def bytes(self) -> int:
        """Bytes that its tensors take in memory, packed ones by what they really hold."""
        total = size_of(self.model).bytes
        modules = self.model.modules()
        return total + sum(m.hidden_bytes for m in modules if isinstance(m, Int8PerTensor))

    def __str__(self) -> str:
        return (
            f"{self.kind}: {len(self.replaced)} matrices, {self.bytes / 1e6:.0f} of "
            f"{self.before.bytes / 1e6:.0f} MB"
        )


def low_bit_kinds(device: torch.device | str = "cpu") -> dict[str, str]:
    """The kinds that this machine can execute on a device, and what each is."""
    place = torch.device(device)
    return {name: kind.about for name, kind in KINDS.items() if _lacking(name, place) is None}


def to_low_bit(
    model: Model,
    *,
    kind: str,
    group_size: int | None = None,
    keep: Sequence[str] = (),
    inplace: bool = False,
) -> LowBit:
    """Execute the matrices of the blocks in few bits, by torch's or torchao's own kernels.

    Weights are rounded to nearest, unless the model is a result of `quantize`: then its very
    integers are executed. Fewer bytes are not fewer seconds: meter it. Embeddings and the head
    stay. Derived in: Lab 05.

    Args:
        model: of `load_model`, a bare torch module, or the result of a compression.
        kind: one of `low_bit_kinds(device)`.
        group_size: of the int4 kinds: 32, 64 (the default), 128 or 256.
        keep: matrices left as they are, see `quantize`.
        inplace: change the model given.

    Raises:
        ValueError: this machine or this model cannot run the kind; nothing is changed then.
    """
    result, own = result_of(model), torch_model(model)
    packed = {} if result is None else dict(result.packed)
    refuse_no_switch("inplace", inplace)
    if group_size is not None:
        refuse_no_count("group_size", group_size)
    refuse_broken(own)
    place = next(own.parameters()).device
    if (reason := _lacking(kind, place)) is not None:
        raise ValueError(f"{reason}: here are {', '.join(low_bit_kinds(place)) or 'no kinds'}.")
    if group_size is not None and KINDS[kind].bits != 4:
        raise ValueError(f"group_size={group_size} means nothing to {kind}: leave it out.")
    if packed and (keep or group_size is not None):
        raise ValueError("A result of quantize has its own groups and its own kept matrices.")
    scheme = _own_scheme(kind, group_size)
    chosen = choose_matrices(matrices(own), keep)
    schemes = {matrix.name: scheme for matrix in chosen}
    if packed:
        schemes = {name: quantized.scheme for name, quantized in packed.items()}
    for matrix in chosen:
        if matrix.name in schemes:
            _check(kind, matrix, schemes[matrix.name], given=bool(packed))
    before = size_of(own)
    network = working_copy(own, inplace=inplace)
    _execute(network, kind, schemes, packed)
    loaded = loaded_of(model)
    if loaded is not None:
        done = f"{loaded.provenance}; executed as {kind}"
        loaded = replace(loaded, model=network, provenance=done)
    return LowBit(network, kind, tuple(schemes), before, loaded)


def low_bit_matrix(weight: torch.Tensor, *, kind: str, group_size: int | None = None) -> nn.Module:
    """One matrix (out, in) executed in few bits, rounded to nearest: to time a kernel alone.

    Raises ValueError where this machine cannot run the kind or the kind not this matrix.
    Derived in: Lab 05.
    """
    if (reason := _lacking(kind, weight.device)) is not None:
        raise ValueError(f"{reason}: here are {', '.join(low_bit_kinds(weight.device)) or 'none'}.")
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    scheme = _own_scheme(kind, group_size)
    _check(kind, Matrix("matrix", linear), scheme, given=False)
    holder = nn.ModuleDict({"matrix": linear})
    _execute(holder, kind, {"matrix": scheme}, {})
    return holder["matrix"]


def _own_scheme(kind: str, group_size: int | None) -> Scheme:
    """The grid on which a kind rounds by itself."""
    if KINDS[kind].bits == 4:
        return Scheme(4, "group", group_size or GROUP_SIZE, symmetric=False)
    return Scheme(8)


def _execute(
    network: nn.Module,
    kind: str,
    schemes: Mapping[str, Scheme],
    packed: Mapping[str, QuantizedTensor],
) -> None:
    """Put the kind's layers in place of the matrices named in `schemes`."""
    layer = KINDS[kind].layer
    if layer is None:
        _by_torchao(network, kind, schemes, next(iter(schemes.values())).group_size)
        return
    for name, scheme in schemes.items():
        matrix = Matrix(name, network.get_submodule(name))
        quantized = packed.get(name) or quantize_tensor(matrix.weight, scheme)
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, layer(quantized, matrix.bias))


def _lacking(kind: str, place: torch.device) -> str | None:
    """Why this machine cannot execute a kind, or None if it can."""
    if not isinstance(kind, str) or kind not in KINDS:
        return f"There is no kind {kind!r}"
    if place.type not in KINDS[kind].devices:
        return f"{kind} does not run on {place.type}"
    if KINDS[kind].layer is None and importlib.util.find_spec("torchao") is None:
        return f"{kind} takes torchao (pip install torchao)"
    if KINDS[kind].layer is Int8PerTensor and torch.backends.quantized.engine not in X86_ENGINES:
        return f"{kind} takes an x86 CPU"
    return None


def _check(kind: str, matrix: Matrix, scheme: Scheme, *, given: bool) -> None:
    """Refuse a matrix that the kind would leave alone, compute wrongly or crash on."""
    ours = KINDS[kind].layer is not None
    if not ours and given:
        raise ValueError(f"{kind} chooses its own integers: give the model, not the result.")
    if not ours and not isinstance(matrix.module, nn.Linear):
        raise ValueError(
            f"torchao knows torch.nn.Linear only, and {matrix.name} is a "
            f"{type(matrix.module).__name__}: it would change nothing in the blocks. Use a kind "
            f"without torchao."
        )
    if kind == "torchao-int4-weight" and matrix.weight.dtype != torch.bfloat16:
        raise ValueError(
            f"{kind} takes a model in bfloat16, not {matrix.weight.dtype}: "
            "load_model(dtype='bfloat16')."
        )
    try:
        check_weight(matrix.weight, scheme)
        if ours:
            (check_int4 if KINDS[kind].bits == 4 else check_int8)(matrix.weight.shape, scheme)
    except ValueError as error:
        raise ValueError(f"{matrix.name}: {error}") from None


def _by_torchao(
    network: nn.Module, kind: str, names: Collection[str], group_size: int | None
) -> None:
    """Let torchao replace the weights, and make sure that it replaced every one."""
    with quiet():
        from torchao.quantization import (
            Int4WeightOnlyConfig,
            Int8DynamicActivationInt8WeightConfig,
            Int8WeightOnlyConfig,
            quantize_,
        )

    place = next(network.parameters()).device
    config: Any
    if kind == "torchao-int8-dynamic":
        config = Int8DynamicActivationInt8WeightConfig()
    elif kind == "torchao-int8-weight":
        config = Int8WeightOnlyConfig()
    elif place.type == "cuda":
        config = Int4WeightOnlyConfig(group_size, int4_packing_format="tile_packed_to_4d")
    else:
        from torchao.prototype.quantization.int4.inference_workflow import (
            PrototypeInt4WeightOnlyConfig,
        )

        config = PrototypeInt4WeightOnlyConfig(group_size)
    quantize_(network, config, filter_fn=lambda _, name: name in names)
    for name in names:
        weight = network.get_submodule(name).weight
        if not hasattr(weight, "__tensor_flatten__"):
            raise RuntimeError(f"torchao left {name} as it was: this is a fault, report it.")
