"""Operations handed to the device: what works counts, what only looks at memory does not."""

from __future__ import annotations

import pytest
import torch

from greenkit.inputs import load_model
from greenkit.metering.launches import count_launches, measure_launch_s

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def test_each_operation_that_works_counts_once() -> None:
    a = torch.zeros(3, 3)
    found = count_launches(lambda: torch.relu(a @ a + 1))
    assert found.by_operator == {"mm": 1, "add": 1, "relu": 1}
    assert found.total == 3


def test_views_and_reservations_do_no_work() -> None:
    a = torch.zeros(4, 6)

    def looks() -> None:
        torch.empty_like(a.view(6, 4).T[1:].unsqueeze(0).expand(3, 3, 6))

    assert count_launches(looks).total == 0


def test_an_operation_made_of_others_counts_as_those() -> None:
    x, weight = torch.zeros(2, 4), torch.zeros(3, 4)
    with torch.inference_mode():
        found = count_launches(lambda: torch.nn.functional.linear(x, weight))
    assert found.by_operator == {"mm": 1}


def test_counting_changes_no_result() -> None:
    a = torch.rand(8, 8)
    seen: list[torch.Tensor] = []
    with torch.inference_mode():
        count_launches(lambda: seen.append(torch.softmax(a @ a, dim=-1)))
        assert torch.equal(seen[0], torch.softmax(a @ a, dim=-1))


def test_an_empty_launch_takes_microseconds() -> None:
    assert 1e-8 < measure_launch_s("cpu") < 1e-3


@pytest.mark.slow
def test_a_token_launches_each_matrix_once_and_more_beside() -> None:
    loaded = load_model(device="cpu", dtype="float32")
    ids = torch.tensor([[100]])
    with torch.inference_mode():
        found = count_launches(lambda: loaded.model(ids, use_cache=True))
    assert found.by_operator["mm"] == 7 * 30 + 1
    assert found.by_operator["silu"] == 30
    assert found.total > 3 * found.by_operator["mm"]


@pytest.mark.cuda
@needs_gpu
def test_operations_are_about_as_many_as_the_kernels_that_ran() -> None:
    from torch.profiler import ProfilerActivity, profile

    loaded = load_model(device="cuda")
    ids = torch.tensor([[100]], device="cuda")
    with torch.inference_mode():
        loaded.model(ids, use_cache=True)
        found = count_launches(lambda: loaded.model(ids, use_cache=True))
        with profile(activities=[ProfilerActivity.CUDA]) as trace:
            loaded.model(ids, use_cache=True)
            torch.cuda.synchronize()
    kernels = sum(event.device_type.name == "CUDA" for event in trace.events())
    assert kernels == pytest.approx(found.total, rel=0.3)


@pytest.mark.cuda
@needs_gpu
def test_an_empty_launch_on_a_gpu_takes_microseconds() -> None:
    assert 1e-6 < measure_launch_s("cuda") < 1e-4
