"""Execute 2:4 sparse matrices by the sparse tensor cores of a GPU, through torch.

Two zeros in every four neighbors can be left out of memory and of the product; other zeros are
stored and multiplied like any number.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from greenkit.compressing.arguments import refuse_no_switch
from greenkit.compressing.given import Model, refuse_broken
from greenkit.compressing.matrices import Matrix, layout_of
from greenkit.compressing.result import Compressed, MatrixReport, compressed, result_of
from greenkit.compressing.sizes import size_of, tensor_bytes

OLDEST_CAPABILITY = (8, 0)  # Ampere, the first with sparse tensor cores
DTYPES = (torch.float16, torch.bfloat16)
STEP = 16  # rows and columns of a matrix come in steps of


def lacks_2_4(device: torch.device | str) -> str | None:
    """Why a device cannot execute 2:4 sparse matrices, or None if it can."""
    place = torch.device(device)
    if place.type != "cuda":
        return f"2:4 sparse kernels run on NVIDIA GPUs only, and the model is on {place.type}"
    if torch.cuda.get_device_capability(place) < OLDEST_CAPABILITY:
        return f"{torch.cuda.get_device_name(place)} has no sparse tensor cores (Ampere or newer)"
    if not torch.backends.cusparselt.is_available():
        return "this build of torch comes without cuSPARSELt"
    return None


def to_2_4(model: Model, *, inplace: bool = False) -> Compressed:
    """Pack every matrix of the blocks for torch's 2:4 kernels: 9 bits a weight for 16.

    Each half of the weights that stays takes 16 bits, its place in the four 2 bits; what the
    library pads the matrix with comes on top, 1 % where a matrix is narrow.

    GPT-2's transposed layers become linear ones with the same values. The packed model runs and
    cannot be trained or saved: save what was given, and pack it again after loading.

    Args:
        model: the result of `prune(…, pattern="2:4")`, or any other model with such zeros, in
            float16 or bfloat16, on a GPU.
        inplace: pack the given model itself instead of a copy.

    Raises:
        ValueError: the device, the dtype or a matrix does not allow it; nothing is changed then.
    """
    refuse_no_switch("inplace", inplace)
    layout = layout_of(model)
    refuse_broken(layout.network)
    place = layout.matrices[0].weight.device
    if (reason := lacks_2_4(place)) is not None:
        raise ValueError(f"{reason}: measure this model with its zeros stored.")
    for matrix in layout.matrices:
        _check(matrix)
    result = result_of(model)
    if result is None:
        before = size_of(model)
        result = compressed(model, layout, method="to_2_4", settings={}, before=before)
    layout = layout.working_copy(inplace=inplace)
    network, reports = layout.network, []
    for matrix in layout.matrices:
        weight = _pack(matrix.weight.contiguous())
        _put(network, matrix, weight)
        rows, columns = matrix.weight.shape
        zeros = 1 - matrix.weight.count_nonzero().item() / matrix.weight.numel()
        bits = tensor_bytes(weight) * 8 / (rows * columns)
        reports.append(MatrixReport(matrix.name, rows, columns, zeros, bits))
    loaded = result.loaded
    if loaded is not None:
        done = f"{loaded.provenance}; executed as 2:4 sparse"
        loaded = replace(loaded, model=network, provenance=done)
    return replace(result, model=network, matrices=tuple(reports), loaded=loaded)


def _check(matrix: Matrix) -> None:
    weight = matrix.weight
    rows, columns = weight.shape
    if weight.dtype not in DTYPES:
        raise ValueError(
            f"2:4 sparse kernels take float16 or bfloat16, and {matrix.name} is {weight.dtype}: "
            "load the model with dtype='bfloat16'."
        )
    if rows % STEP or columns % STEP:
        raise ValueError(
            f"2:4 sparse kernels take rows and columns in steps of {STEP}: {matrix.name} has "
            f"{rows} and {columns}."
        )
    most = int((weight.reshape(-1, 4) != 0).sum(1).max())
    if most > 2:
        raise ValueError(
            f"{matrix.name} has {most} of 4 neighbors that are not zero: prune the model with "
            "pattern='2:4' first."
        )


def _pack(weight: torch.Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PyTorch API of SparseSemiStructuredTensor")
        return torch.sparse.to_sparse_semi_structured(weight)


class Linear24(nn.Linear):
    """A Linear whose packed weight meets all inputs as one matrix.

    Torch's product with a 2:4 weight is of two matrices. For more dimensions torch may repeat the
    weight along the others, which a packed one cannot.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Outputs of shape (..., out) for inputs of shape (..., in)."""
        tokens = input.reshape(-1, input.shape[-1])
        found = functional.linear(tokens, self.weight, self.bias)
        return found.reshape(*input.shape[:-1], found.shape[-1])


def _put(network: nn.Module, matrix: Matrix, weight: Any) -> None:
    """A Linear with the packed weight in the matrix's place; the matrix keeps the old module."""
    rows, columns = weight.shape
    with torch.device("meta"):
        linear = Linear24(columns, rows, bias=matrix.bias is not None)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if matrix.bias is not None:
        linear.bias = nn.Parameter(matrix.bias, requires_grad=False)
    parent, _, name = matrix.name.rpartition(".")
    setattr(network.get_submodule(parent), name, linear)
