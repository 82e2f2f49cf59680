"""Compressing: prune, quantize and distill a real language model, and say what that saved."""

from greenkit.compressing.calibration import calibration_ids, calibration_windows
from greenkit.compressing.distillation.charges import Charges, break_even_tokens
from greenkit.compressing.distillation.distill import distill
from greenkit.compressing.distillation.distilled import Distilled, load_distilled
from greenkit.compressing.distillation.plans import Plan
from greenkit.compressing.distillation.students import student
from greenkit.compressing.distillation.training import train
from greenkit.compressing.matrices import Matrix, blocks, matrices
from greenkit.compressing.pruning.masks import Masks, masks_of
from greenkit.compressing.pruning.prune import prune
from greenkit.compressing.pruning.sparse import to_2_4
from greenkit.compressing.pruning.structured import (
    block_influence,
    remove_blocks,
    remove_heads,
    remove_width,
)
from greenkit.compressing.quantization.kernels import (
    LowBit,
    low_bit_kinds,
    low_bit_matrix,
    to_low_bit,
)
from greenkit.compressing.quantization.quantize import quantize
from greenkit.compressing.quantization.quantizers import QuantizedTensor, Scheme, quantize_tensor
from greenkit.compressing.result import (
    Compressed,
    MatrixReport,
    Size,
    Step,
    compressed,
    load_compressed,
    size_of,
    working_copy,
)
from greenkit.compressing.serving import Serving, serve
from greenkit.compressing.streaming import BlockStep, stream_blocks

__all__ = [
    "BlockStep",
    "Charges",
    "Compressed",
    "Distilled",
    "LowBit",
    "Masks",
    "Matrix",
    "MatrixReport",
    "Plan",
    "QuantizedTensor",
    "Scheme",
    "Serving",
    "Size",
    "Step",
    "block_influence",
    "blocks",
    "break_even_tokens",
    "calibration_ids",
    "calibration_windows",
    "compressed",
    "distill",
    "load_compressed",
    "load_distilled",
    "low_bit_kinds",
    "low_bit_matrix",
    "masks_of",
    "matrices",
    "prune",
    "quantize",
    "quantize_tensor",
    "remove_blocks",
    "remove_heads",
    "remove_width",
    "serve",
    "size_of",
    "stream_blocks",
    "student",
    "to_2_4",
    "to_low_bit",
    "train",
    "working_copy",
]
