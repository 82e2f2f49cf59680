"""What only a GPU can show: the same results as on a CPU, replayed, and within their time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from greenkit.compressing import (
    calibration_windows,
    distill,
    prune,
    quantize,
    serve,
    student,
    to_2_4,
)
from greenkit.compressing.moments import factor_of, second_moments
from greenkit.compressing.pruning.criteria import sweep
from greenkit.compressing.pruning.sparse import lacks_2_4
from greenkit.compressing.quantization.gptq import compensation, round_columns, round_together
from greenkit.compressing.quantization.quantizers import Scheme
from greenkit.compressing.replaying import Replayed
from greenkit.inputs import ContinuationTest, QualityTest, load_model, load_text
from greenkit.metering import EnergyMeter

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


@pytest.fixture(scope="module")
def smol() -> Any:
    """The default model on the GPU, in the dtype that it has there."""
    return load_model(device="cuda")


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Lines that are printed whether the test passes or not."""
    lines: list[str] = []
    yield lines
    with capsys.disabled():
        print("", *lines, sep="\n  ")


def layer(rows: int = 96, width: int = 320) -> tuple[Any, Any]:
    """A weight and the second moments of inputs that correlate, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=generator) / width**0.5 + torch.eye(width)
    inputs = torch.randn(2048, width, generator=generator) @ mixing
    return torch.randn(rows, width, generator=generator), second_moments(inputs)


def seconds_of(work: Any) -> tuple[float, Any]:
    torch.cuda.synchronize()
    start = time.perf_counter()
    found = work()
    torch.cuda.synchronize()
    return time.perf_counter() - start, found


def test_work_is_recorded_once_and_replayed_on_what_is_given() -> None:
    calls = 0

    def work(x: Any, y: Any, *, times: int) -> Any:
        nonlocal calls
        calls += 1
        for _ in range(times):
            x = x * y + 1
        return x

    replayed = Replayed(work)
    for seed in range(5):
        x, y = torch.randn(2, 7, device="cuda", generator=torch.Generator("cuda").manual_seed(seed))
        found, calls_before = replayed(x, y, times=3), calls
        assert torch.allclose(found, work(x, y, times=3))
        calls = calls_before
    assert calls == 2  # one as it is, one recorded


def test_work_that_cannot_be_recorded_runs_as_it_is() -> None:
    replayed = Replayed(lambda x: x * x.sum().item())
    for value in (1.0, 2.0, 3.0, 4.0):
        x = torch.full((3,), value, device="cuda")
        assert torch.equal(replayed(x), 3 * x * x)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_sparsegpt_gives_what_it_gives_on_a_cpu(pattern: tuple[int, int] | None) -> None:
    weight, moments = layer()
    settings = {"sparsity": 0.5, "pattern": pattern, "group": 128 if pattern is None else 4}
    expected = sweep(weight, factor_of(moments), rows=(64, 32), **settings)
    walk = Replayed(sweep)
    for _ in range(4):  # as it is, recorded, replayed
        found = walk(weight.cuda(), factor_of(moments.cuda()), rows=(64, 32), **settings).cpu()
        assert ((found == 0) == (expected == 0)).float().mean() > 0.999
        same = (found == 0) == (expected == 0)
        assert torch.allclose(found[same.all(1)], expected[same.all(1)], atol=1e-3)


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gptq_gives_what_it_gives_on_a_cpu(symmetric: bool, pruned: bool) -> None:
    weight, moments = layer()
    if pruned:
        weight = weight * (weight.abs() > weight.abs().median())
    scheme = Scheme(4, "group", 32, symmetric, "integer" if pruned else "float")
    (expected,) = round_together([weight], compensation(moments), scheme)
    walk = Replayed(round_columns)
    for _ in range(4):
        (found,) = round_together([weight.cuda()], compensation(moments.cuda()), scheme, walk=walk)
        assert (found.integers.cpu() == expected.integers).float().mean() > 0.995


@pytest.mark.slow
def test_sparsegpt_and_gptq_take_six_seconds_at_most(smol: Any, told: list[str]) -> None:
    pages = calibration_windows(smol.tokenizer, load_text("calibration"))
    prune(smol, "wanda", calibration=pages)  # what libraries set up once is not counted
    int4 = {"bits": 4, "granularity": "group", "group_size": 64}
    works = {
        "SparseGPT, 50 %": lambda: prune(smol, "sparsegpt", 0.5, calibration=pages),
        "SparseGPT, 2:4": lambda: prune(smol, "sparsegpt", pattern="2:4", calibration=pages),
        "GPTQ": lambda: quantize(smol, method="gptq", calibration=pages, **int4),
        "AWQ": lambda: quantize(smol, method="awq", calibration=pages, **int4),
    }
    judge = QualityTest(smol, load_text("test"), windows=4)
    taken = {}
    for name, work in works.items():
        taken[name], result = seconds_of(work)
        told.append(f"{name}: {taken[name]:.1f} s; {judge.of(result)}")
    assert all(seconds <= 6 for name, seconds in taken.items() if name != "AWQ"), taken


def packed_2_4(smol: Any) -> tuple[Any, Any]:
    """The default model in the pattern 2:4, and the same packed for the sparse tensor cores."""
    if (reason := lacks_2_4("cuda")) is not None:
        pytest.skip(reason)
    result = prune(smol, "magnitude", pattern="2:4")
    return result, to_2_4(result)


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 7), (3, 5), (64, 16)])
def test_2_4_kernels_take_inputs_of_three_dimensions(smol: Any, batch: int, tokens: int) -> None:
    dense, packed = packed_2_4(smol)
    width = dense.model.config.hidden_size
    generator = torch.Generator("cuda").manual_seed(0)
    inputs = torch.randn(batch, tokens, width, device="cuda", generator=generator)
    inputs = inputs.to(next(dense.model.parameters()).dtype)
    for name in ("self_attn.q_proj", "mlp.up_proj"):
        own, plain = (m.model.model.layers[0].get_submodule(name) for m in (packed, dense))
        for given in (inputs, inputs.transpose(0, 1)):  # the second one is not contiguous
            found, expected = own(given), plain(given)
            assert found.shape == expected.shape
            assert torch.allclose(found, expected, atol=0.02 * float(expected.abs().max()))


def test_2_4_kernels_read_a_page_and_write_behind_it(smol: Any) -> None:
    dense, packed = packed_2_4(smol)
    page = smol.tokenizer(load_text("test").text, return_tensors="pt")["input_ids"][:, :64].cuda()
    told = []
    for model in (dense.model, packed.model):
        with torch.no_grad():
            read = model(page, use_cache=True)
            written = model(page[:, -1:], past_key_values=read.past_key_values, use_cache=True)
        told.append(torch.cat([read.logits, written.logits], 1).float().log_softmax(-1))
    ours, theirs = told
    drift = (theirs.exp() * (theirs - ours)).sum(-1).mean()
    assert float(drift) < 0.05


@pytest.mark.slow
def test_what_2_4_kernels_take_beside_dense_ones(smol: Any, told: list[str]) -> None:
    dense, packed = packed_2_4(smol)
    page = smol.tokenizer(load_text("test").text, return_tensors="pt")["input_ids"][:, :512]
    models = {"dense": dense, "2:4": packed}
    for batch in (1, 64):
        with EnergyMeter() as meter:
            taken, served = seconds_of(
                lambda batch=batch, meter=meter: serve(
                    models, page.cuda(), meter=meter, seconds=10, new_tokens=4, batch=batch
                )
            )
        rounds = len(served.comparison.windows["decode: 2:4"])
        told.append(f"batch {batch}: {rounds} rounds in {taken:.1f} s")
        told += [f"  {p}: {served.time_ratio('2:4', 'dense', p)}" for p in ("prefill", "decode")]
        assert rounds >= 5
        assert taken < 14


@pytest.mark.slow
def test_a_judgement_takes_a_second_at_most(smol: Any, told: list[str]) -> None:
    judge = QualityTest(smol, load_text("test"))
    choices = ContinuationTest(smol.tokenizer, load_text("test"))
    choices.of(smol)
    quality_s, quality = seconds_of(lambda: judge.of(smol))
    choices_s, chosen = seconds_of(lambda: choices.of(smol))
    told.append(f"16 windows in {quality_s:.2f} s: {quality}")
    told.append(f"40 questions in {choices_s:.2f} s: {chosen}")
    assert quality.top1.value == 1
    assert quality_s < 1


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 64])
def test_serving_stays_within_its_budget(smol: Any, told: list[str], batch: int) -> None:
    page = smol.tokenizer(load_text("test").text, return_tensors="pt")["input_ids"][:, :256]
    models = dict.fromkeys("abcde", smol)
    with EnergyMeter() as meter:
        taken, served = seconds_of(
            lambda: serve(models, page.cuda(), meter=meter, seconds=15, batch=batch)
        )
        rounds = len(served.comparison.windows["decode: a"])
        told.append(f"five models at batch {batch} in {taken:.1f} s, {rounds} rounds")
        told += [f"  {phase}: {served.energy('a', phase)}" for phase in ("prefill", "decode")]
        told.append(f"  decode, one to its like: {served.ratio('b', 'a', 'decode')}")
    assert rounds >= 2
    assert taken < 18


@pytest.mark.slow
@pytest.mark.parametrize("batch", [4, 32])
def test_training_for_some_seconds_ends_in_time(smol: Any, told: list[str], batch: int) -> None:
    small = student(smol, blocks=15, choose="every_other")
    with EnergyMeter() as meter:
        taken, run = seconds_of(
            lambda: distill(smol, small, steps=10_000, seconds=8, batch=batch, meter=meter)
        )
    last, charges = run.curve[-1], run.charges
    told.append(
        f"batch {batch}: {last.step / last.seconds:.1f} steps, {run.tokens / last.seconds:.0f} "
        f"tokens a second, loss {run.curve[0].loss:.2f} to {last.loss:.2f}; {charges}"
    )
    assert run.stopped_by == "seconds"
    assert taken < 14  # loading the text and what libraries set up once included
    assert last.loss < run.curve[0].loss
    assert charges.seconds["teacher"] > 0
    assert charges.total_s == pytest.approx(last.seconds, abs=0.5)
