"""The training loop, to be read from top to bottom: lab 06 distills with it, lab 04 heals.

Plain torch: AdamW, a warm-up and a cosine, clipped gradients, batches in an order that the seed
fixes, checkpoints that go on bit for bit, and a budget in steps, tokens, seconds or joules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from greenkit.compressing.arguments import refuse_no_count
from greenkit.compressing.distillation.charges import REST, STUDENT, TEACHER, Charges, Ledger
from greenkit.compressing.distillation.checkpoints import digest, read_checkpoint, write_checkpoint
from greenkit.compressing.distillation.plans import Plan, default_precision
from greenkit.compressing.given import Model, refuse_offloaded, torch_model
from greenkit.compressing.pruning.masks import Masks
from greenkit.foundations import Reading
from greenkit.inputs.models import choose_dtype
from greenkit.inputs.progress import progress_bar
from greenkit.metering import EnergyMeter

BETAS, WEIGHT_DECAY = (0.9, 0.95), 0.01
PATIENCE_S = 5.0  # how long a run with a joule budget goes on without a reading


@dataclass(frozen=True)
class Point:
    """The run after a step: its loss, and seconds and joules so far (None: not metered)."""

    step: int
    loss: float
    seconds: float
    joules: float | None


@dataclass
class Run:
    """What a training run did: a point a step, what it took, and which budget ended it."""

    step: int = 0
    tokens: int = 0
    curve: list[Point] = field(default_factory=list)
    charges: Charges = field(default_factory=Charges)
    stopped_by: str = ""

    def spent(self, plan: Plan) -> dict[str, float]:
        """The share of each budget that is used up."""
        last = self.curve[-1] if self.curve else Point(0, math.nan, 0.0, None)
        return plan.spent(self.step, self.tokens, last.seconds, last.joules or 0.0)


def train(
    model: Model,
    windows: Tensor,
    loss: Callable[[Tensor, Any], Tensor],
    plan: Plan,
    *,
    ask: Callable[[Tensor], Any] | None = None,
    meter: EnergyMeter | None = None,
    masks: Masks | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 50,
    owner: Mapping[str, Any] | None = None,
    label: str = "train",
) -> Run:
    """Train a model in place; the weights to train must be float32.

    Args:
        model: whatever holds the weights, on its device; a result is trained itself.
        windows: token ids (windows, length), packed and without padding.
        loss: called with ids (part of a batch, length) and what `ask` said of them; the mean loss.
        plan: how to train, and when to stop.
        ask: the teacher's turn, charged apart. Without it nobody is asked.
        meter: an open meter, for joules beside seconds.
        masks: zeros to be put back after each step, see `masks_of`.
        checkpoint: a file that is written every `checkpoint_every` steps and at the end. Where it
            exists the run goes on from it; on a CPU its result is then bit for bit that of a run
            which was never interrupted. `owner` says what makes the run this one.
        label: the name of the progress bar, and of the meter's window.

    Raises ValueError for bad input before any work, for a checkpoint of another run, and where
    the loss or a gradient is no longer finite: the model then has the weights from before that
    step, and so has the checkpoint. Derived in: Lab 06.
    """
    model = torch_model(model)
    refuse_offloaded(model)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    _check(weights, windows, plan, meter, checkpoint_every)
    device = weights[0].device
    low = choose_dtype(plan.precision or default_precision(device), device)
    scaler = torch.amp.GradScaler(device.type, enabled=low is torch.float16)
    optimizer = torch.optim.AdamW(
        weights, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=device.type in ("cpu", "cuda")
    )
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    owner = {**asdict(plan), "windows": digest([windows]), **(owner or {})}
    run = Run()
    with _as_training(model, plan.seed), progress_bar(label, plan.steps, "step") as bar:
        if checkpoint:
            run = _restore(read_checkpoint(checkpoint, owner), parts)
            bar.update(run.step)
        first, ledger = run.step, Ledger(meter, run.charges if run.step else None)
        while not (stopped_by := _stop(run, plan, ledger)):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(run.step, max(run.spent(plan).values()))
            batch = windows[plan.windows_of(run.step, len(windows))].to(device)
            step_loss = 0.0
            for ids in batch.chunk(plan.accumulate):
                told = None
                if ask is not None:
                    ledger.enter(TEACHER)
                    with _autocast(device, low):
                        told = ask(ids)
                ledger.enter(STUDENT)
                with _autocast(device, low):
                    value = loss(ids, told) / plan.accumulate
                scaler.scale(value).backward()  # type: ignore[no-untyped-call]
                step_loss += value.item()
                del told, value  # or their memory stays taken while the next part needs its own
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(weights, plan.clip)
            sound = scaler.is_enabled() or bool(norm.isfinite())  # a scaler leaves such steps out
            if not (math.isfinite(step_loss) and sound):
                optimizer.zero_grad()
                run.charges = ledger.charges()
                if checkpoint and run.step > first:
                    write_checkpoint(checkpoint, owner, _state(run, parts))
                raise ValueError(_diverged(step_loss, run.step, plan, checkpoint))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if masks is not None:
                masks.apply()
            ledger.enter(REST)
            known = ledger.known()
            run.step, run.tokens = run.step + 1, run.tokens + batch.numel()
            joules = None if known is None else known.joules
            run.curve.append(Point(run.step, step_loss, ledger.seconds, joules))
            bar.set_description_str(f"{label}: {_live(step_loss, known)}", refresh=False)
            bar.update()
            if checkpoint and run.step % checkpoint_every == 0:
                run.charges = ledger.charges()
                write_checkpoint(checkpoint, owner, _state(run, parts))
        run.stopped_by = stopped_by
        if run.step > first:
            run.charges = ledger.charges()
            ledger.window(label, tokens=(run.step - first) * plan.batch * windows.shape[1])
            if checkpoint:
                write_checkpoint(checkpoint, owner, _state(run, parts))
    return run


def _diverged(loss: float, steps: int, plan: Plan, checkpoint: Path | None) -> str:
    """The sentence for a step that would have ruined the weights, and was not made."""
    what = "A gradient is not finite" if math.isfinite(loss) else f"The loss is {loss}"
    kept = f", and {checkpoint} has them" if checkpoint and steps else ""
    return (
        f"{what} at step {steps + 1}: lower learning_rate ({plan.learning_rate:g}) or raise warmup "
        f"({plan.warmup_steps} steps). The weights that were trained are those after step {steps}"
        f"{kept}."
    )


def _check(
    weights: list[nn.Parameter],
    windows: Tensor,
    plan: Plan,
    meter: EnergyMeter | None,
    checkpoint_every: int,
) -> None:
    """Refuse what cannot be trained, before anything is done."""
    if not weights or any(weight.dtype != torch.float32 for weight in weights):
        found = ", ".join(sorted({str(weight.dtype) for weight in weights})) or "none at all"
        raise ValueError(
            f"The weights to train must be float32, these are {found}: in less, small steps are "
            "rounded away. On a GPU autocast computes in bfloat16 or float16 by itself."
        )
    tensor = isinstance(windows, Tensor)
    if not tensor or windows.dim() != 2 or windows.dtype != torch.long or windows.shape[1] < 2:
        kind = type(windows).__name__
        got = f"{windows.dtype} of shape {tuple(windows.shape)}" if tensor else f"a {kind}"
        raise ValueError(
            "windows must be a long tensor of token ids of shape (windows, length), with 2 tokens "
            f"or more in each; got {got}."
        )
    if len(windows) < plan.batch:
        raise ValueError(
            f"The text is too short: it has {len(windows)} windows of {windows.shape[1]} tokens, "
            f"and one batch takes {plan.batch}."
        )
    refuse_no_count("checkpoint_every", checkpoint_every)
    if meter is not None and not meter.is_open:
        raise ValueError("The meter is closed: train inside `with EnergyMeter() as meter:`.")
    if math.isfinite(plan.joules):
        if meter is None:
            raise ValueError("A budget in joules needs a meter: pass meter=.")
        if not meter.curves:
            meter.between(0.0, 0.0)  # raises, with all reasons


def _autocast(device: torch.device, low: torch.dtype) -> torch.autocast:
    """Arithmetic in this dtype; each who works has its own, so that the teacher's narrow copies of
    its weights are gone before the student needs memory."""
    return torch.autocast(device.type, low, enabled=low is not torch.float32)


@contextmanager
def _as_training(model: nn.Module, seed: int) -> Iterator[None]:
    """Dropout on and drawn from the seed; mode and random numbers are put back afterwards."""
    was_training = model.training
    used = {weight.device for weight in model.parameters() if weight.is_cuda}
    with torch.random.fork_rng(used):
        torch.manual_seed(seed)
        model.train()
        try:
            yield
        finally:
            model.train(was_training)


def _stop(run: Run, plan: Plan, ledger: Ledger) -> str:
    """The budget that has run out, or nothing."""
    for name, share in run.spent(plan).items():
        if share >= 1:
            known = ledger.known() if name == "joules" else None
            return f"joules ({known.provenance.value})" if known else name
    if math.isfinite(plan.joules) and ledger.seconds > PATIENCE_S and ledger.known() is None:
        return "joules, which can no longer be read"
    return ""


def _live(loss: float, known: Reading | None) -> str:
    joules = "" if known is None else f", {known.text} {known.provenance.value}"
    return f"loss {loss:.3f}{joules}"


def _state(run: Run, parts: Mapping[str, Any]) -> dict[str, Any]:
    """All that the run needs to go on, as tensors and plain values."""
    return {
        "step": run.step,
        "tokens": run.tokens,
        "curve": [astuple(point) for point in run.curve],
        "charges": run.charges.to_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        **{name: part.state_dict() for name, part in parts.items()},
    }


def _restore(saved: Mapping[str, Any] | None, parts: Mapping[str, Any]) -> Run:
    """The run where its checkpoint left it, or a new one."""
    if saved is None:
        return Run()
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"]:
        torch.cuda.set_rng_state_all(saved["random_cuda"])
    curve = [Point(*values) for values in saved["curve"]]
    return Run(saved["step"], saved["tokens"], curve, Charges.from_dict(saved["charges"]))
