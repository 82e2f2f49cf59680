"""2:4 by torch's kernels: refused where it cannot be, equal to the dense model where it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from greenkit.compressing import matrices, prune, to_2_4
from greenkit.compressing.pruning import sparse

torch = pytest.importorskip("torch")

SIZES = {
    "llama": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 8, "head_dim": 16}
    | {"num_key_value_heads": 2},
    "gpt2": {"n_embd": 64, "n_inner": 128},
}
NO_KERNEL = not torch.cuda.is_available() or sparse.lacks_2_4("cuda") is not None


@pytest.fixture(params=["llama", "gpt2"])
def wide_model(request: pytest.FixtureRequest, make: Callable[..., Any]) -> Any:
    """A bf16 model whose matrices come in steps of 16."""
    return make(request.param, **SIZES[request.param]).bfloat16()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has the kernel, whose packed weight is the dense one."""
    monkeypatch.setattr(sparse, "lacks_2_4", lambda _: None)
    monkeypatch.setattr(sparse, "_pack", lambda weight: weight.clone())


def test_a_cpu_is_refused(wide_model: Any, ids: Any) -> None:
    result = prune(wide_model, pattern="2:4", calibration=ids)
    with pytest.raises(ValueError, match="NVIDIA GPUs only, and the model is on cpu"):
        to_2_4(result)


@pytest.mark.usefixtures("kernel")
def test_every_matrix_becomes_a_linear_layer_with_the_same_values(
    wide_model: Any, ids: Any, logits: Callable[..., Any]
) -> None:
    result = prune(wide_model, pattern="2:4", calibration=ids)
    packed = to_2_4(result)
    assert all(isinstance(m.module, torch.nn.Linear) for m in matrices(packed.model))
    for dense, own in zip(matrices(result.model), matrices(packed.model), strict=True):
        assert own.name == dense.name
        assert torch.equal(own.weight, dense.weight)
    assert torch.allclose(logits(packed.model, ids), logits(result.model, ids), atol=0.1)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("inplace", [False, True])
def test_the_given_result_is_left_untouched_unless_asked(
    wide_model: Any, ids: Any, inplace: bool
) -> None:
    result = prune(wide_model, pattern="2:4", calibration=ids)
    kinds = [type(matrix.module) for matrix in matrices(result.model)]
    packed = to_2_4(result, inplace=inplace)
    assert (packed.model is result.model) is inplace
    if not inplace:
        assert [type(matrix.module) for matrix in matrices(result.model)] == kinds


@pytest.mark.usefixtures("kernel")
def test_a_model_without_the_pattern_is_refused(wide_model: Any, ids: Any) -> None:
    result = prune(wide_model, sparsity=0.5, calibration=ids)
    with pytest.raises(ValueError, match=r"of 4 neighbors .*pattern='2:4'"):
        to_2_4(result)


@pytest.mark.usefixtures("kernel")
def test_float32_is_refused(wide_model: Any, ids: Any) -> None:
    result = prune(wide_model.float(), pattern="2:4", calibration=ids)
    with pytest.raises(ValueError, match=r"is torch\.float32: load the model with"):
        to_2_4(result)


@pytest.mark.usefixtures("kernel")
def test_a_matrix_of_a_shape_without_kernel_is_refused(make: Callable[..., Any], ids: Any) -> None:
    model = make("llama", intermediate_size=72).bfloat16()
    result = prune(model, pattern="2:4", calibration=ids)
    with pytest.raises(ValueError, match=r"steps of 16: model\.layers\.0\.mlp\.gate_proj has 72"):
        to_2_4(result)


class TwoDimensionsOnly(torch.Tensor):
    """A weight that, like a packed one, is multiplied by a matrix and by nothing else."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.nn.functional.linear:
            return super().__torch_function__(func, types, args, kwargs or {})
        if args[0].ndim != 2:
            raise NotImplementedError("expand.default is not implemented")
        with torch._C.DisableTorchFunctionSubclass():  # what comes out is a plain tensor
            return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", [(7, 64), (3, 5, 64), (2, 3, 5, 64), (64,)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_packed_weight_meets_a_matrix_whatever_the_shape_of_the_inputs(
    shape: tuple[int, ...], bias: bool
) -> None:
    dense, packed = torch.nn.Linear(64, 32, bias=bias), sparse.Linear24(64, 32, bias=bias)
    packed.load_state_dict(dense.state_dict())
    packed.weight = torch.nn.Parameter(
        dense.weight.detach().as_subclass(TwoDimensionsOnly), requires_grad=False
    )
    inputs = torch.randn(shape)
    assert torch.allclose(packed(inputs), dense(inputs), atol=1e-5)
    if len(shape) > 2:
        turned = inputs.transpose(0, 1)  # not contiguous
        assert torch.allclose(packed(turned), dense(turned), atol=1e-5)
        with pytest.raises(NotImplementedError, match="expand"):
            torch.nn.functional.linear(inputs, packed.weight)


@pytest.mark.usefixtures("kernel")
def test_a_model_is_packed_into_layers_that_flatten(
    monkeypatch: pytest.MonkeyPatch, wide_model: Any, ids: Any, logits: Callable[..., Any]
) -> None:
    monkeypatch.setattr(sparse, "_pack", lambda weight: weight.as_subclass(TwoDimensionsOnly))
    result = prune(wide_model, pattern="2:4", calibration=ids)
    packed = to_2_4(result)
    assert torch.allclose(logits(packed.model, ids), logits(result.model, ids), atol=0.1)


@pytest.mark.cuda
@pytest.mark.skipif(NO_KERNEL, reason="needs a GPU with sparse tensor cores")
def test_the_kernel_computes_what_the_dense_model_does(
    wide_model: Any, ids: Any, logits: Callable[..., Any]
) -> None:
    result = prune(wide_model.cuda(), pattern="2:4", calibration=ids)
    packed = to_2_4(result)
    expected = logits(result.model, ids.cuda())
    assert torch.allclose(logits(packed.model, ids.cuda()), expected, atol=0.1)
    assert 9 <= packed.bits < 9.2  # the library pads narrow matrices
    assert packed.bytes < result.bytes
