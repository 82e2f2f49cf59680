"""The course's formulas: energy, efficiency, when a speed-up pays, and footprints.

Each takes numbers in the units that it declares and gives one number; derived in: Lab 02.
"""

from __future__ import annotations

from greenkit.foundations.units import formula


@formula("J", power_w="W", duration_s="s")
def energy(power_w: float, duration_s: float) -> float:
    """Energy in J of a mean power over a time: E = P · t.

    >>> energy(10, 15)
    150
    """
    return power_w * duration_s


@formula("J", it_j="J", pue=">= 1")
def facility_energy(it_j: float, pue: float) -> float:
    """Energy in J of the whole facility: PUE times the energy of the computers."""
    return it_j * pue


@formula(
    "J",
    operations="",
    joules_per_operation="J",
    bytes_moved="",
    joules_per_byte="J",
    static_w="W",
    duration_s="s",
)
def bottom_up_energy(
    operations: float,
    joules_per_operation: float,
    bytes_moved: float,
    joules_per_byte: float,
    static_w: float,
    duration_s: float,
) -> float:
    """Energy in J from what is done: E = n·e + b·ε + P_static·t.

    Operations and bytes are counts; what each costs is in J. Source: the sum that Horowitz 2014
    gives prices for.
    """
    return operations * joules_per_operation + bytes_moved * joules_per_byte + static_w * duration_s


@formula("1/J", operations="", joules="J > 0")
def operations_per_joule(operations: float, joules: float) -> float:
    """Efficiency in operations per J: higher is better. Say what counts as an operation.

    >>> operations_per_joule(1000, 150)
    6.666666666666667
    """
    return operations / joules


@formula("J", operations="> 0", joules="J")
def joules_per_operation(operations: float, joules: float) -> float:
    """Energy in J of one operation: lower is better, the inverse of `operations_per_joule`.

    >>> joules_per_operation(1000, 150)
    0.15
    """
    return joules / operations


@formula("J", power_w="W", tokens_per_s="1/s > 0")
def joules_per_token(power_w: float, tokens_per_s: float) -> float:
    """Energy in J of one token: mean power over tokens per second."""
    return power_w / tokens_per_s


@formula("", parameters="", tokens="")
def training_flops(parameters: float, tokens: float) -> float:
    """FLOPs of training on `tokens` tokens, about 6·N·D (Kaplan et al. 2020).

    For a mixture of experts N is the number of parameters that are active for a token.
    """
    return 6 * parameters * tokens


@formula("", parameters="", tokens="")
def inference_flops(parameters: float, tokens: float) -> float:
    """FLOPs of reading or writing `tokens` tokens, about 2·N each; attention comes on top."""
    return 2 * parameters * tokens


@formula("", flops_per_s="1/s", peak_flops_per_s="1/s > 0")
def flops_utilization(flops_per_s: float, peak_flops_per_s: float) -> float:
    """Share of the peak rate that is reached (MFU where the FLOPs are the model's)."""
    return flops_per_s / peak_flops_per_s


@formula("s", flops="", bytes_moved="", peak_flops_per_s="1/s > 0", bytes_per_s="1/s > 0")
def roofline_time(
    flops: float, bytes_moved: float, peak_flops_per_s: float, bytes_per_s: float
) -> float:
    """Least time in s: that of the arithmetic or that of the memory, whichever is longer.

    Source: Williams, Waterman and Patterson 2009. Derived in: Lab 03.
    """
    arithmetic_s, memory_s = flops / peak_flops_per_s, bytes_moved / bytes_per_s
    return arithmetic_s if arithmetic_s > memory_s else memory_s


@formula("", speedup="> 0", power_ratio="")
def energy_ratio(speedup: float, power_ratio: float) -> float:
    """Energy after over energy before: power ratio / speed-up. Below 1 it saves.

    >>> energy_ratio(speedup=2, power_ratio=3)
    1.5
    """
    return power_ratio / speedup


@formula("J", workers=">= 1", efficiency="> 0", worker_w="W", fixed_w="W", alone_s="s")
def parallel_energy(
    workers: float, efficiency: float, worker_w: float, fixed_w: float, alone_s: float
) -> float:
    """Energy in J of N workers at parallel efficiency ε: (P0/N + P) · T1 / ε.

    `alone_s` is the time of one worker, `fixed_w` what the machine draws whatever the number.
    """
    return (fixed_w / workers + worker_w) * alone_s / efficiency


@formula("", workers=">= 1", worker_w="W > 0", fixed_w="W")
def parallel_threshold(workers: float, worker_w: float, fixed_w: float) -> float:
    """The parallel efficiency below which N workers cost more energy than one.

    >>> parallel_threshold(workers=4, worker_w=10, fixed_w=0)
    1.0
    """
    return (fixed_w / workers + worker_w) / (fixed_w + worker_w)


@formula("J", clock="> 0", static_w="W", dynamic_w="W", work_s="s")
def clock_energy(clock: float, static_w: float, dynamic_w: float, work_s: float) -> float:
    """Energy in J of work at a relative clock f: P_static·W/f + P_dynamic·W·f².

    `work_s` is its time and `dynamic_w` its dynamic power at f = 1; voltage is taken to follow
    the clock, so dynamic power goes with f³.
    """
    return static_w * work_s / clock + dynamic_w * work_s * clock**2


@formula("", static_w="W", dynamic_w="W > 0")
def best_clock(static_w: float, dynamic_w: float) -> float:
    """The relative clock with the least `clock_energy`: (P_static / (2·P_dynamic))^(1/3)."""
    ratio: float = (static_w / (2 * dynamic_w)) ** (1 / 3)
    return ratio


@formula(
    "J",
    clock="> 0",
    static_w="W",
    dynamic_w="W",
    idle_w="W",
    work_s="s",
    period_s="s",
)
def period_energy(
    clock: float,
    static_w: float,
    dynamic_w: float,
    idle_w: float,
    work_s: float,
    period_s: float,
) -> float:
    """Energy in J of a whole period in which the work is done at a clock, and then the chip idles.

    Racing to idle pays where `idle_w` is far below `static_w`. Raises ValueError where the work
    takes longer than the period.
    """
    busy_s = work_s / clock
    if busy_s > period_s:
        raise ValueError(
            f"at a clock of {clock} the work takes {busy_s} s, longer than the period of "
            f"{period_s} s: raise the clock or lengthen the period"
        )
    return static_w * busy_s + dynamic_w * work_s * clock**2 + idle_w * (period_s - busy_s)


@formula("", one_off_j="J", saved_per_use_j="J > 0")
def break_even(one_off_j: float, saved_per_use_j: float) -> float:
    """How many uses pay back an energy spent once.

    >>> break_even(one_off_j=3.6e6, saved_per_use_j=0.36)
    10000000.0
    """
    return one_off_j / saved_per_use_j


@formula("kg", embodied_kg="kg", used_h="hour", lifetime_h="hour > 0")
def embodied_share(embodied_kg: float, used_h: float, lifetime_h: float) -> float:
    """Embodied carbon in kgCO2e that a use of `used_h` hours carries of a device's whole."""
    return embodied_kg * used_h / lifetime_h


@formula("L", server_kwh="kWh", onsite_l_per_kwh="L/kWh", offsite_l_per_kwh="L/kWh", pue=">= 1")
def water(
    server_kwh: float, onsite_l_per_kwh: float, offsite_l_per_kwh: float, pue: float
) -> float:
    """Water in L: cooling on site, and at the power plant with PUE (Li et al. 2025).

    >>> round(water(0.004, onsite_l_per_kwh=0.55, offsite_l_per_kwh=3.142, pue=1.17), 4)
    0.0169
    """
    return server_kwh * (onsite_l_per_kwh + pue * offsite_l_per_kwh)
