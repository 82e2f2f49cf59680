"""Where the time of a run goes: parts add up, the rest is shown, and nothing stays behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import torch
from torch import nn

from greenkit.inputs import LoadedModel, load_model
from greenkit.metering import EnergyMeter
from greenkit.metering.attribution import REST, Attribution, attribute, part_of
from greenkit.metering.ceilings import Ceilings, measure_ceilings
from greenkit.metering.simulated import SimulatedSensor, constant

if TYPE_CHECKING:
    from greenkit.metering import Window


class Slow(nn.Module):
    """A layer that takes a known time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return x


class SlowNorm(Slow):
    """A part of its own by its name."""


class Attention(nn.Module):
    """Own time of 40 ms around a child of 20 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = SlowNorm(0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.04)
        return self.norm(x)


class Model(nn.Module):
    """Attention, a norm, and 30 ms that belong to no part."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = Attention()
        self.norm = SlowNorm(0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.03)
        return self.norm(self.attn(x))


@pytest.fixture
def meter() -> Iterator[EnergyMeter]:
    """A meter on a simulated sensor of 100 W."""
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.01)]) as opened:
        yield opened


def test_each_part_gets_its_own_time_without_its_childrens(meter: EnergyMeter) -> None:
    model = Model()
    found = attribute(model, lambda: model(torch.zeros(1)), meter=meter, repeats=2)
    for run in found.runs:
        assert run["attention scores"] == pytest.approx(0.04, abs=0.01)
        assert run["norms"] == pytest.approx(0.03, abs=0.01)
        assert run[REST] == pytest.approx(0.03, abs=0.01)


def test_parts_and_rest_add_up_to_the_window(meter: EnergyMeter) -> None:
    model = Model()
    work = lambda: [model(torch.zeros(1)) for _ in range(3)]  # noqa: E731
    found = attribute(model, work, meter=meter, repeats=2)
    for run, window in zip(found.runs, found.windows, strict=True):
        assert sum(run.values()) == pytest.approx(window.duration_s)
    whole = sum(window.reading.joules for window in found.windows) / 2
    assert sum(found.share(part).value for part in found.parts) == pytest.approx(100)
    assert sum(found.energy(part).value for part in found.parts) == pytest.approx(whole)


def test_a_share_has_the_interval_of_its_runs(meter: EnergyMeter) -> None:
    windows = [SimpleNamespace(duration_s=1.0)] * 4
    runs = tuple({"norms": share, REST: 1 - share} for share in (0.2, 0.3, 0.3, 0.4))
    share = Attribution(runs, cast("tuple[Window, ...]", tuple(windows))).share("norms")
    assert share.value == pytest.approx(30)
    assert share.high - share.value == pytest.approx(3.182 * 8.165 / 2, rel=1e-3)
    assert share.value - share.low == pytest.approx(share.high - share.value)
    assert share.text == "30 % ± 13"


def test_an_energy_is_no_surer_than_its_share(meter: EnergyMeter) -> None:
    pauses = iter((0.0, 0.01, 0.03, 0.05, 0.09))
    model = Model()

    def run() -> None:
        time.sleep(next(pauses))
        model(torch.zeros(1))

    found = attribute(model, run, meter=meter, repeats=4)
    share, energy = found.share("norms"), found.energy("norms")
    assert energy.high / energy.value > share.high / share.value > 1.05


def test_an_attributed_energy_says_that_it_is_by_time(meter: EnergyMeter) -> None:
    model = Model()
    found = attribute(model, lambda: model(torch.zeros(1)), meter=meter, repeats=2)
    assert str(found.energy("norms")).endswith("attributed by time")
    assert found.energy("norms").provenance == "simulated"
    assert found.share("norms").label == "share of time, 2 runs in one process"


def test_one_run_has_no_interval(meter: EnergyMeter) -> None:
    with pytest.raises(ValueError, match="at least 2 repeats, got 1"):
        attribute(Model(), lambda: None, meter=meter, repeats=1)


def test_the_hooks_are_removed_even_after_an_error(meter: EnergyMeter) -> None:
    model = Model()

    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attribute(model, fails, meter=meter)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_run_without_the_model_is_refused(meter: EnergyMeter) -> None:
    with pytest.raises(ValueError, match="did not call the model"):
        attribute(Model(), lambda: None, meter=meter)


@pytest.fixture(scope="module", params=("smollm2-135m", "gpt2-untrained"))
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    """Both kinds of model that the course compresses."""
    return load_model(request.param, device="cpu", dtype="float32")


@pytest.mark.slow
def test_each_matrix_of_a_real_model_has_its_part(loaded: LoadedModel) -> None:
    parts: dict[str | None, int] = {}
    for path, module in loaded.model.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        parts[part_of(path, module)] = parts.get(part_of(path, module), 0) + own
    assert parts.pop(None, 0) == 0
    assert {"attention projections", "MLP", "embedding", "norms"} <= {
        k for k, n in parts.items() if n
    }


@pytest.mark.slow
def test_a_real_model_is_attributed_nearly_whole(loaded: LoadedModel, meter: EnergyMeter) -> None:
    ids = torch.arange(100, 164)[None]
    with torch.inference_mode():
        loaded.model(ids)
        found = attribute(loaded.model, lambda: loaded.model(ids), meter=meter, repeats=2)
    assert found.share(REST).value < 10
    assert all(run[part] > 0 for run in found.runs for part in found.parts if part != REST)


def test_ceilings_are_positive_and_meet_at_the_ridge() -> None:
    found = measure_ceilings("cpu", "float32", width=256, megabytes=8)
    assert found.flops_per_s > 1e8
    assert found.bytes_per_s > 1e8
    assert 1e-8 < found.launch_s < 1e-3
    at_ridge = found.time_s(found.ridge * 1e6, 1e6)
    assert at_ridge == pytest.approx(1e6 / found.bytes_per_s)


@pytest.mark.parametrize(
    ("work", "binds", "least_s"),
    [
        ((1000, 10, 3), "arithmetic", 10),
        ((10, 1000, 3), "memory", 100),
        ((10, 10, 3), "launches", 6),
    ],
)
def test_the_longest_of_the_three_times_binds(
    work: tuple[int, int, int], binds: str, least_s: float
) -> None:
    device = Ceilings(100, 10, device="a device", dtype="float32", launch_s=2)
    found = device.bounds(*work)
    assert (found.binds, found.least_s) == (binds, least_s)
    assert device.time_s(*work) == least_s


def test_the_better_of_two_measurements_counts_for_each_ceiling() -> None:
    once = Ceilings(100, 10, device="a device", dtype="float32", launch_s=2)
    again = Ceilings(80, 12, device="a device", dtype="float32", launch_s=1)
    assert once.best(again) == Ceilings(100, 12, "a device", "float32", 1)


def test_without_launches_two_bounds_are_left() -> None:
    device = Ceilings(100, 10, device="a device", dtype="float32", launch_s=2)
    assert device.bounds(1000, 10).launches == 0


def test_ceilings_refuse_a_size_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0 and 256"):
        measure_ceilings("cpu", "float32", width=0)
