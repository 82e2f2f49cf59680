"""Exercises of lab 02: J per operation, kWh of a run, workers that pay, the clock that pays."""

from __future__ import annotations

from collections.abc import Callable

from greenkit.course.exercises import NotRight, close, exercise, needs_function

LAB = "formulas"


@exercise(LAB, "price_of_an_operation")
def price_of_an_operation(answer: Callable[[float, float], float]) -> None:
    """Joules per operation from a number of operations and an energy."""
    needs_function(answer)
    got = answer(1000, 150)
    if close(got, 1000 / 150):
        raise NotRight(
            "That is operations per joule, the article's own slip. Joules per operation has the "
            "joules above the line."
        )
    if close(got, 1000 * 150):
        raise NotRight("You multiplied: that is in J·op. A price *per* operation is a quotient.")
    if not close(got, 0.15):
        raise NotRight(f"150 J for 1,000 operations are 0.15 J each; your function says {got}.")
    if not close(answer(4, 1), 0.25):
        raise NotRight(f"1 J for 4 operations is 0.25 J each; your function says {answer(4, 1)}.")


@exercise(LAB, "training_kwh")
def training_kwh(answer: Callable[[float, float, float, float], float]) -> None:
    """Facility energy of a training run in kWh from chips, days, watts per chip and PUE."""
    needs_function(answer)
    chips, days, watts, pue = 10_000, 14.8, 330, 1.1
    kwh = chips * days * 24 * watts * pue / 1000
    got = answer(chips, days, watts, pue)
    slips = (
        (kwh / pue, "That is the computers alone. The facility takes PUE times as much."),
        (kwh / pue**2, "PUE is facility energy over computer energy: multiply, do not divide."),
        (kwh / 24, "Days times watts is no watt-hour: a day has 24 hours."),
        (kwh * 1000, "That is watt-hours: a factor of 1,000 too large."),
        (kwh / 1000, "That is megawatt-hours: a factor of 1,000 too small."),
        (kwh * 3.6e6, "That is joules. A kilowatt-hour is 3.6 million of them."),
        (kwh / chips, "That is one chip's share. All of them run."),
    )
    for slip, reason in slips:
        if close(got, slip):
            raise NotRight(reason)
    if not close(got, kwh):
        raise NotRight(f"GPT-3's inputs give {kwh:,.0f} kWh; your function says {got:,.6g}.")
    if not close(answer(8, 0.5, 300, 1.0), 28.8):
        raise NotRight("Right for GPT-3, but 8 chips at 300 W for half a day take 28.8 kWh.")


@exercise(LAB, "least_efficiency")
def least_efficiency(answer: Callable[[float, float, float], float]) -> None:
    """The parallel efficiency at which N workers cost as much energy as one."""
    needs_function(answer)
    workers, worker_w, fixed_w = 4, 10, 50
    wanted = (fixed_w / workers + worker_w) / (fixed_w + worker_w)
    got = answer(workers, worker_w, fixed_w)
    slips = (
        (1 / wanted, "Upside down: the threshold is an efficiency, and so at most 1."),
        (
            1 / workers,
            "At that efficiency the workers are no faster than one alone, and already cost more.",
        ),
        (1.0, "That holds without fixed power only: here 50 W are paid for whatever the number."),
        (
            worker_w / (fixed_w + worker_w),
            "The workers share the fixed power; it does not vanish: a share P0/N is left for each.",
        ),
        (
            fixed_w / workers / (fixed_w + worker_w),
            "Each worker draws its own watts beside its share of the fixed power.",
        ),
    )
    for slip, reason in slips:
        if close(got, slip):
            raise NotRight(reason)
    if not close(got, wanted):
        raise NotRight(
            f"Four workers of 10 W on 50 W fixed pay from {wanted:.3f} on; your function says "
            f"{got:.4g}. Set the energy of N workers equal to that of one, and solve for ε."
        )
    if not close(answer(8, 20, 0), 1.0):
        raise NotRight("Without fixed power nothing is shared: only perfect workers cost the same.")
    if not close(answer(2, 30, 30), 0.75):
        raise NotRight("Right for 4 workers, but 2 workers of 30 W on 30 W fixed pay from 0.75 on.")


def _true_clock(static_w: float, dynamic_w: float, idle_w: float, slowest: float) -> float:
    gained_w = max(0.0, static_w - idle_w)
    return float(min(1.0, max(slowest, (gained_w / (2 * dynamic_w)) ** (1 / 3))))


@exercise(LAB, "best_clock")
def best_clock(answer: Callable[[float, float, float, float], float]) -> None:
    """The clock with the least energy of a period, between the slowest that fits and 1."""
    needs_function(answer)

    def wrong(case: tuple[float, float, float, float]) -> bool:
        got: float | complex
        try:
            got = answer(*case)
        except TypeError as error:
            if "complex" not in str(error):
                raise
            got = 1j  # a complex number that was compared
        if isinstance(got, complex):
            raise NotRight(
                "A negative number to the power 1/3 is complex in Python. Where idling costs as "
                "much as the static power, there is nothing to race for: take the slowest clock."
            )
        return not close(got, _true_clock(*case), 5e-3)

    plain = (100.0, 200.0, 0.0, 0.1)
    got = answer(*plain)
    if wrong(plain):
        if close(got, 1.0):
            raise NotRight("You always race. Dynamic power goes with the cube of the clock.")
        if close(got, 0.1):
            raise NotRight("You always crawl. The static power runs as long as the work does.")
        if close(got, 0.5 ** (1 / 3), 5e-3):
            raise NotRight("A factor of 2 is missing: the derivative of f² is 2·f.")
        if close(got, 0.5, 5e-3):
            raise NotRight("A cube root, not a square root: one f from P/f, two from f².")
        raise NotRight(
            f"100 W static and 200 W dynamic have their least energy at a clock of 0.63; your "
            f"function says {got:.3g}. Set the derivative of the energy to zero."
        )
    if wrong((100.0, 200.0, 50.0, 0.1)):
        raise NotRight(
            "Right for a chip that idles for nothing. If it idles at 50 W, ending early saves only "
            "the difference between static and idle power."
        )
    if wrong((600.0, 100.0, 0.0, 0.25)):
        raise NotRight("No clock is above 1: with 600 W static and 100 W dynamic, race.")
    if wrong((100.0, 200.0, 0.0, 0.8)):
        raise NotRight("The work must fit into the period: no clock is below `slowest`.")
    if wrong((100.0, 200.0, 100.0, 0.25)) or wrong((100.0, 200.0, 150.0, 0.25)):
        raise NotRight(
            "Where idling costs as much as the static power, or more, there is nothing to race "
            "for: take the slowest clock."
        )
