"""The training loop: schedule, clipping, accumulation, masks, resuming, budgets, and its errors."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from greenkit.compressing.distillation import training
from greenkit.compressing.distillation.checkpoints import write_checkpoint
from greenkit.compressing.distillation.plans import Plan
from greenkit.compressing.distillation.training import Run, train
from greenkit.metering import EnergyMeter, NotMeasuredError
from greenkit.metering.simulated import SimulatedSensor, constant

VOCABULARY, LENGTH = 11, 6
WINDOWS = torch.randint(0, VOCABULARY, (10, LENGTH), generator=torch.Generator().manual_seed(1))


class Small(nn.Module):
    """Predicts the next token from the one before, with dropout, so that randomness matters."""

    def __init__(self, seed: int = 0, dropout: float = 0.2) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(VOCABULARY, 8)
            self.head = nn.Linear(8, VOCABULARY)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.dropout(self.embedding(ids)))


def loss_of(model: nn.Module) -> Any:
    def loss(ids: Tensor, _told: Any) -> Tensor:
        return nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    return loss


def run(model: nn.Module, plan: Plan, **options: Any) -> Run:
    return train(model, WINDOWS, loss_of(model), plan, **options)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


# -- the schedule and the order ---------------------------------------------------------------


def test_the_learning_rate_warms_up_and_falls_on_a_cosine() -> None:
    plan = Plan(steps=110, learning_rate=2.0, warmup=10)
    rates = [plan.rate(step, step / 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[35] == pytest.approx(0.2 + 1.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[60] == pytest.approx(1.1)
    assert plan.rate(110, 1.0) == pytest.approx(0.2)


def test_the_cosine_is_the_one_of_torch() -> None:
    plan = Plan(steps=20, learning_rate=1.0, warmup=0)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1)
    for step in range(20):
        assert plan.rate(step, step / 20) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_the_cosine_ends_with_the_budget_that_runs_out_first() -> None:
    plan = Plan(steps=1000, warmup=0, learning_rate=1.0, tokens=100)
    spent = plan.spent(step=5, tokens=100, seconds=0.0, joules=0.0)
    assert max(spent.values()) == 1
    assert plan.rate(5, max(spent.values())) == pytest.approx(0.1)


def test_a_budget_of_seconds_warms_up_in_its_first_tenth() -> None:
    plan = Plan(steps=10_000, learning_rate=1.0, seconds=20)

    def rate(step: int, seconds: float) -> float:
        return plan.rate(step, max(plan.spent(step, 0, seconds, 0.0).values()))

    assert rate(0, 0.0) == pytest.approx(0.001)
    assert rate(10, 1.0) == pytest.approx(0.5)
    assert rate(20, 2.0) == pytest.approx(1.0)
    assert rate(110, 11.0) == pytest.approx(0.55)
    assert rate(200, 20.0) == pytest.approx(0.1)


def test_steps_that_are_given_warm_up_whatever_the_budget() -> None:
    plan = Plan(steps=10_000, warmup=100, learning_rate=1.0, seconds=20)
    assert plan.rate(49, 0.9) == pytest.approx(0.5)


def test_an_epoch_reads_every_window_once_and_each_epoch_in_its_own_order() -> None:
    plan = Plan(steps=10, batch=5, seed=3)
    epochs = [torch.cat([plan.windows_of(s, 10) for s in pair]) for pair in ((0, 1), (2, 3))]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(10))
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(plan.windows_of(2, 10), Plan(steps=99, batch=5, seed=3).windows_of(2, 10))
    assert not torch.equal(plan.windows_of(0, 10), replace(plan, seed=4).windows_of(0, 10))


# -- the step ---------------------------------------------------------------------------------


def test_one_step_is_torchs_own_adamw_on_the_clipped_gradient() -> None:
    model, by_hand = Small(dropout=0), Small(dropout=0)
    plan = Plan(steps=1, batch=4, learning_rate=0.01, warmup=0, clip=0.1, precision="float32")
    run(model, plan)
    optimizer = torch.optim.AdamW(
        by_hand.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.01
    )
    loss_of(by_hand)(WINDOWS[plan.windows_of(0, 10)], None).backward()
    nn.utils.clip_grad_norm_(by_hand.parameters(), 0.1)
    optimizer.step()
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=1e-7)


def test_gradients_are_clipped_to_the_norm_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    clip = nn.utils.clip_grad_norm_

    def watched(parameters: list[nn.Parameter], limit: float) -> Tensor:
        before = clip(parameters, limit)
        after = math.sqrt(
            sum(float(p.grad.square().sum()) for p in parameters if p.grad is not None)
        )
        norms.append((float(before), after))
        return before

    monkeypatch.setattr(training.nn.utils, "clip_grad_norm_", watched)
    run(Small(), Plan(steps=3, clip=0.05))
    assert all(before > 0.05 for before, _ in norms)
    assert [after for _, after in norms] == pytest.approx([0.05] * 3, rel=1e-4)


def test_accumulating_gives_the_gradient_of_the_whole_batch() -> None:
    whole, parts = Small(dropout=0), Small(dropout=0)
    first = run(whole, Plan(steps=5, batch=4))
    second = run(parts, Plan(steps=5, batch=4, accumulate=4))
    losses = [[point.loss for point in found.curve] for found in (first, second)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], tensor, rtol=0, atol=2e-5)


def test_training_lowers_the_loss() -> None:
    found = run(Small(dropout=0), Plan(steps=60, batch=10, learning_rate=0.03))
    assert found.curve[-1].loss < 0.9 * found.curve[0].loss
    assert [point.step for point in found.curve] == list(range(1, 61))
    assert found.tokens == 60 * 10 * LENGTH


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    first, again, other = Small(), Small(), Small()
    plan = Plan(steps=4, learning_rate=0.01)
    run(first, plan)
    torch.manual_seed(999)  # what ran before does not matter
    run(again, plan)
    run(other, replace(plan, seed=1))
    assert_equal(first, again)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_randomness_and_mode_are_left_as_they_were() -> None:
    model = Small().eval()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run(model, Plan(steps=2))
    assert torch.equal(torch.rand(1), expected)
    assert not model.training


def test_dropout_is_on_while_a_model_trains() -> None:
    dropped = run(Small(dropout=0.5).eval(), Plan(steps=1)).curve[0].loss
    assert dropped != run(Small(dropout=0.0).eval(), Plan(steps=1)).curve[0].loss


def test_frozen_weights_stay_as_they_are() -> None:
    model = Small()
    model.embedding.requires_grad_(False)
    before = weights(model)
    run(model, Plan(steps=3, learning_rate=0.05))
    assert torch.equal(before["embedding.weight"], model.embedding.weight)
    assert not torch.equal(before["head.weight"], model.head.weight)


class Mask:
    """Half of the head's weights are zero."""

    def __init__(self, model: Small) -> None:
        self.weight = model.head.weight
        self.keep = torch.rand(self.weight.shape, generator=torch.Generator().manual_seed(0)) > 0.5
        self.apply()

    def apply(self) -> None:
        with torch.no_grad():
            self.weight.mul_(self.keep)


@pytest.mark.parametrize("applied", [True, False])
def test_masked_weights_stay_zero_only_where_masks_are_applied(applied: bool) -> None:
    model = Small()
    mask = Mask(model)
    run(model, Plan(steps=5, learning_rate=0.01), masks=mask if applied else None)
    zeros = int((model.head.weight == 0).sum())
    assert zeros == (int((~mask.keep).sum()) if applied else 0)


# -- checkpoints ------------------------------------------------------------------------------


class Interrupt(Exception):
    """Somebody pulls the plug."""


class PullsThePlug:
    """Stands where masks stand, and interrupts a run in its step number `after`."""

    def __init__(self, after: int) -> None:
        self.left = after

    def apply(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Interrupt


PLAN = Plan(steps=9, batch=4, learning_rate=0.01, clip=0.5)


@pytest.mark.parametrize("after", [3, 4, 5, 8])
def test_an_interrupted_run_ends_bit_for_bit_like_one_that_was_not(
    tmp_path: Path, after: int
) -> None:
    straight, broken, resumed = Small(), Small(), Small()
    whole = run(straight, PLAN)
    options: dict[str, Any] = {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 2}
    with pytest.raises(Interrupt):
        run(broken, PLAN, masks=PullsThePlug(after), **options)
    rest = run(resumed, PLAN, **options)
    assert_equal(straight, resumed)
    assert [(p.step, p.loss) for p in rest.curve] == [(p.step, p.loss) for p in whole.curve]
    assert rest.tokens == whole.tokens


def test_a_resumed_run_does_only_what_is_left(tmp_path: Path) -> None:
    options: dict[str, Any] = {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 2}
    with pytest.raises(Interrupt):
        run(Small(), PLAN, masks=PullsThePlug(6), **options)
    model, asked = Small(), []
    train(model, WINDOWS, loss_of(model), PLAN, ask=asked.append, **options)
    assert len(asked) == 9 - 4


def test_a_resumed_run_counts_the_seconds_and_joules_of_before(tmp_path: Path) -> None:
    options: dict[str, Any] = {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 4}
    model = Small()

    def slow(ids: Tensor, told: Any) -> Tensor:
        time.sleep(0.03)
        return loss_of(model)(ids, told)

    curves = []
    for masks in (PullsThePlug(6), None):
        with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.002, poll_s=0.001)]) as meter:
            try:
                found = train(model, WINDOWS, slow, PLAN, masks=masks, meter=meter, **options)
                curves.append(found.curve)
            except Interrupt:
                model = Small()
    seconds = [point.seconds for point in curves[0]]
    assert seconds == sorted(seconds)
    assert seconds[-1] >= 9 * 0.03
    assert found.charges.total_s >= 9 * 0.03
    assert found.charges.energy is not None
    assert found.charges.energy.joules == pytest.approx(100 * found.charges.total_s, rel=0.1)
    assert (found.curve[-1].joules or 0) >= 90 * 9 * 0.03


def test_a_finished_run_is_read_and_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    first, again = Small(), Small()
    done = run(first, PLAN, checkpoint=path)
    stamp = path.stat().st_mtime_ns
    read = run(again, PLAN, checkpoint=path)
    assert_equal(first, again)
    assert read.curve == done.curve
    assert read.charges.seconds == done.charges.seconds
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.02}, "learning_rate was 0.01 and is 0.02"),
        ({"steps": 10}, "steps was 9 and is 10"),
        ({"seed": 1}, "seed was 0 and is 1"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    run(Small(), PLAN, checkpoint=tmp_path / "run.pt")
    model = Small(seed=2)
    before = weights(model)
    with pytest.raises(ValueError, match=f"another run: {named}"):
        run(model, replace(PLAN, **change), checkpoint=tmp_path / "run.pt")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_checkpoint_of_another_text_or_owner_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(Small(), PLAN, checkpoint=path, owner={"loss": "soft"})
    model = Small()
    with pytest.raises(ValueError, match="another run: loss was 'soft' and is 'hidden_mse'"):
        run(model, PLAN, checkpoint=path, owner={"loss": "hidden_mse"})
    with pytest.raises(ValueError, match="another run: windows was"):
        train(model, WINDOWS.flip(0), loss_of(model), PLAN, checkpoint=path, owner={"loss": "soft"})


def test_who_reads_a_checkpoint_while_the_next_is_written_reads_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(Small(), PLAN, checkpoint=path)
    before = path.read_bytes()
    with path.open("rb") as reader:
        write_checkpoint(path, {}, {})
        assert reader.read() == before
    assert path.read_bytes() != before


def test_a_crash_while_writing_leaves_the_checkpoint_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.pt"
    run(Small(), PLAN, checkpoint=path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(path, {}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_checkpoint_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no checkpoint"):
        run(Small(), PLAN, checkpoint=path)
    assert path.read_bytes() == content


# -- budgets ----------------------------------------------------------------------------------


def test_a_token_budget_stops_the_run() -> None:
    found = run(Small(), Plan(steps=100, batch=4, tokens=5 * 4 * LENGTH))
    assert (found.step, found.stopped_by) == (5, "tokens")


def test_a_budget_in_seconds_stops_the_run() -> None:
    found = run(Small(), Plan(steps=10**6, seconds=0.3))
    assert found.stopped_by == "seconds"
    assert 0.3 <= found.curve[-1].seconds < 2
    assert found.curve[-2].seconds < 0.3


def test_steps_stop_the_run_that_nothing_else_stops() -> None:
    assert run(Small(), Plan(steps=2)).stopped_by == "steps"


def test_a_budget_in_joules_stops_the_run_and_names_their_provenance() -> None:
    with EnergyMeter([SimulatedSensor(constant(100), tick_s=0.01, poll_s=0.002)]) as meter:
        found = run(Small(), Plan(steps=10**6, joules=40), meter=meter)
    assert found.stopped_by == "joules (simulated)"
    last, before = found.curve[-1], found.curve[-2]
    assert last.joules is not None
    assert before.joules is not None
    assert before.joules < 40 <= last.joules
    assert last.joules == pytest.approx(100 * last.seconds, rel=0.1)


def test_an_estimated_budget_says_that_it_is_one() -> None:
    from greenkit.metering.estimate import CpuEstimate

    with EnergyMeter([CpuEstimate()]) as meter:
        found = run(Small(), Plan(steps=10**6, joules=1.0, seconds=20), meter=meter)
    assert found.stopped_by == "joules (estimated)"


def test_a_sensor_that_dies_ends_a_run_that_follows_joules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "PATIENCE_S", 0.2)
    sensor = SimulatedSensor(constant(1), tick_s=0.01, dies_at_s=0.1)
    with EnergyMeter([sensor]) as meter:
        found = run(Small(), Plan(steps=10**6, joules=1e6, seconds=20), meter=meter)
    assert found.stopped_by == "joules, which can no longer be read"
    assert found.charges.energy is None
    assert "fell off the bus" in found.charges.reason


# -- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"batch": 0}, "batch must be 1"),
        ({"accumulate": 3}, "equal parts"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"clip": -1.0}, "clip must be above 0"),
        ({"warmup": 5}, "below 5 steps"),
        ({"warmup": -1}, "below 5 steps"),
        ({"joules": math.nan}, "joules must be above 0"),
        ({"seconds": 0}, "seconds must be above 0"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(**{"steps": 5, **wrong})


def test_a_text_of_less_than_a_batch_is_refused() -> None:
    model = Small()
    with pytest.raises(ValueError, match=r"too short: it has 3 windows .* one batch takes 4"):
        train(model, WINDOWS[:3], loss_of(model), Plan(steps=1))


@pytest.mark.parametrize("wrong", [WINDOWS.float(), WINDOWS[0], WINDOWS[:, :1], [[1, 2]]])
def test_windows_that_are_none_are_refused(wrong: Any) -> None:
    model = Small()
    with pytest.raises(ValueError, match="long tensor of token ids"):
        train(model, wrong, loss_of(model), Plan(steps=1))


def test_half_precision_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be float32, these are torch\.bfloat16"):
        run(Small().bfloat16(), Plan(steps=1))
    with pytest.raises(ValueError, match="none at all"):
        run(Small().requires_grad_(False), Plan(steps=1))


def test_a_joule_budget_without_a_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a meter"):
        run(Small(), Plan(steps=1, joules=5))
    with pytest.raises(ValueError, match="meter is closed"):
        run(Small(), Plan(steps=1), meter=EnergyMeter([]))
    with EnergyMeter([]) as meter, pytest.raises(NotMeasuredError, match="no sensor"):
        run(Small(), Plan(steps=1, joules=5), meter=meter)


def test_a_loss_that_is_not_finite_ends_the_run_with_advice() -> None:
    model = Small()
    before = weights(model)

    def loss(ids: Tensor, _told: Any) -> Tensor:
        return model(ids).sum() * math.inf

    with pytest.raises(ValueError, match=r"at step 1: lower learning_rate"):
        train(model, WINDOWS, loss, Plan(steps=3))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_gradient_that_is_not_finite_leaves_the_weights_of_the_step_before(
    tmp_path: Path,
) -> None:
    model, path = Small(), tmp_path / "it.pt"
    calls: list[int] = []
    before: dict[str, Tensor] = {}

    def loss(ids: Tensor, _told: Any) -> Tensor:
        calls.append(1)
        if len(calls) < 3:
            return model(ids).square().mean()
        before.update(weights(model))
        return (0 * model(ids).sum()).abs().sqrt()  # 0, with an infinite slope

    with pytest.raises(ValueError, match=r"gradient is not finite at step 3: .* after step 2, and"):
        train(model, WINDOWS, loss, Plan(steps=5, precision="float32"), checkpoint=path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.load(path, weights_only=True)["state"]["step"] == 2
    assert all(weight.grad is None for weight in model.parameters())
