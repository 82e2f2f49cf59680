"""Where the time of a run goes: parts add up, the rest is shown, and nothing stays behind."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from greenkit.inputs import LoadedModel, load_model
from greenkit.metering import EnergyMeter
from greenkit.metering.attribution import REST, attribute, part_of
from greenkit.metering.ceilings import Ceilings, measure_ceilings
from greenkit.metering.simulated import SimulatedSensor, constant


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
    found = attribute(model, lambda: model(torch.zeros(1)), meter=meter)
    assert found.seconds["attention scores"] == pytest.approx(0.04, abs=0.01)
    assert found.seconds["norms"] == pytest.approx(0.03, abs=0.01)
    assert found.seconds[REST] == pytest.approx(0.03, abs=0.01)


def test_parts_and_rest_add_up_to_the_window(meter: EnergyMeter) -> None:
    model = Model()
    found = attribute(model, lambda: [model(torch.zeros(1)) for _ in range(3)], meter=meter)
    whole = found.window.reading
    assert sum(found.seconds.values()) == pytest.approx(found.window.duration_s)
    assert sum(found.energy(part).value for part in found.seconds) == pytest.approx(whole.joules)
    assert sum(found.share(part) for part in found.seconds) == pytest.approx(1)


def test_an_attributed_energy_says_that_it_is_by_time(meter: EnergyMeter) -> None:
    model = Model()
    found = attribute(model, lambda: model(torch.zeros(1)), meter=meter)
    assert str(found.energy("norms")).endswith("attributed by time")
    assert found.energy("norms").provenance == "simulated"


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
        found = attribute(loaded.model, lambda: loaded.model(ids), meter=meter)
    assert found.share(REST) < 0.1
    assert min(found.seconds[part] for part in found.seconds if part != REST) > 0
    assert sum(found.seconds.values()) == pytest.approx(found.window.duration_s)


def test_ceilings_are_positive_and_meet_at_the_ridge() -> None:
    found = measure_ceilings("cpu", "float32", width=256, megabytes=8)
    assert found.flops_per_s > 1e8
    assert found.bytes_per_s > 1e8
    at_ridge = found.time_s(found.ridge * 1e6, 1e6)
    assert at_ridge == pytest.approx(1e6 / found.bytes_per_s)


def test_the_longer_of_the_two_times_binds() -> None:
    device = Ceilings(flops_per_s=100, bytes_per_s=10, device="a device", dtype="float32")
    assert device.time_s(flops=1000, bytes_moved=10) == 10
    assert device.time_s(flops=10, bytes_moved=1000) == 100


def test_ceilings_refuse_a_size_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0 and 256"):
        measure_ceilings("cpu", "float32", width=0)
