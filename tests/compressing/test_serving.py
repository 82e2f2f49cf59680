"""Serving the same work with several models: every phase metered, the cache left as it was."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest

from greenkit.compressing import serving
from greenkit.compressing.pruning.structured import remove_blocks
from greenkit.compressing.result import size_of
from greenkit.compressing.serving import PHASES, Serving, serve
from greenkit.metering import EnergyMeter

torch = pytest.importorskip("torch")


@pytest.fixture
def served(model: Any, ids: Any) -> tuple[Serving, Any]:
    """A tiny model and the same without a block."""
    small = remove_blocks(model, [1])
    with EnergyMeter() as meter:
        found = serve(
            {"dense": model, "small": small}, ids[:1], meter=meter, new_tokens=3, rounds=2
        )
    return found, model


def test_every_phase_of_every_model_took_time_and_energy(served: tuple[Serving, Any]) -> None:
    found, _ = served
    for name in ("dense", "small"):
        for phase in PHASES:
            assert found.seconds(name, phase) > 0
            assert found.energy(name, phase).value > 0
            assert found.energy(name, phase).unit == "J/token"
            assert found.cpu_s[name, phase] > 0


def test_a_token_takes_its_share_of_a_call(served: tuple[Serving, Any]) -> None:
    found, _ = served
    calls = found.comparison.seconds("prefill: dense")
    assert min(calls) / 32 <= found.seconds("dense", "prefill") <= max(calls) / 32


def test_sizes_are_those_of_the_models(served: tuple[Serving, Any]) -> None:
    found, model = served
    assert found.bytes["dense"] == size_of(model).bytes > found.bytes["small"]


def test_the_record_has_the_ratio_to_the_model_named(served: tuple[Serving, Any]) -> None:
    found, _ = served
    record = found.to_dict(to="dense")
    assert record["dense"]["decode"]["time_ratio"] == 1
    ratio = found.time_ratio("small", "dense", "decode")
    assert record["small"]["decode"]["time_ratio"] == ratio.value


def test_each_decode_call_begins_behind_the_page_alone(
    model: Any, ids: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []
    write = serving._write

    def noted(network: Any, cache: Any, token: Any, new_tokens: int) -> None:
        lengths.append(cache.get_seq_length())
        write(network, cache, token, new_tokens)

    monkeypatch.setattr(serving, "_write", noted)
    with EnergyMeter() as meter:
        serve({"dense": model}, ids[:1], meter=meter, new_tokens=3, rounds=2)
    assert len(lengths) > 2
    assert set(lengths) == {32}


def test_a_budget_of_seconds_holds_for_all_models_and_phases(model: Any, ids: Any) -> None:
    with EnergyMeter() as meter:
        start = time.perf_counter()
        found = serve(dict.fromkeys("abcd", model), ids[:1], meter=meter, seconds=3, new_tokens=2)
        taken = time.perf_counter() - start
    rounds = {len(windows) for windows in found.comparison.windows.values()}
    assert len(rounds) == 1
    assert rounds.pop() >= 2
    assert 1 < taken < 9  # not three seconds for each of the four models


def test_a_batch_repeats_the_page_and_shares_the_cost(
    model: Any, ids: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = set()
    write = serving._write

    def noted(network: Any, cache: Any, token: Any, new_tokens: int) -> None:
        sizes.add(len(token))
        write(network, cache, token, new_tokens)

    monkeypatch.setattr(serving, "_write", noted)
    with EnergyMeter() as meter:
        found = serve({"a": model}, ids[:1], meter=meter, new_tokens=3, rounds=2, batch=4)
    assert sizes == {4}
    assert found.tokens == {"prefill": 4 * 32, "decode": 4 * 3}
    assert found.seconds("a", "decode") == pytest.approx(
        statistics.median(found.comparison.seconds("decode: a")) / 12
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"batch": 0}, "batch"), ({"seconds": 0}, "seconds"), ({"rounds": 1}, "2 rounds")],
)
def test_what_cannot_be_served_is_refused(
    model: Any, ids: Any, settings: dict[str, Any], message: str
) -> None:
    with EnergyMeter() as meter, pytest.raises(ValueError, match=message):
        serve({"dense": model}, ids[:1], meter=meter, **settings)


def test_no_new_token_is_refused(model: Any, ids: Any) -> None:
    with EnergyMeter() as meter, pytest.raises(ValueError, match="new_tokens"):
        serve({"dense": model}, ids[:1], meter=meter, new_tokens=0)
