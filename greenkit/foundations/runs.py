"""Published training runs with the inputs that their papers print, to be recomputed.

Typed once, from the citation. Derived in: Lab 02.
"""

from __future__ import annotations

from collections.abc import Sequence

from greenkit.foundations.published_run import AVERAGE, METERED, RATED, PublishedRun
from greenkit.foundations.rows import Row

KG_PER_LB = 0.45359237
HOURS_PER_DAY = 24


def _rounding(printed: int) -> float:
    """The share that a whole number may be off by rounding alone, and at least 1 %."""
    return max(0.01, 0.5 / printed)


def _patterson_table_4() -> Sequence[PublishedRun]:
    columns = (
        ("Evolved Transformer NAS", 200, 6.8, 208, 1.10, 0.431, 7.5, 3.2, "TPU v2", 2.91e21),
        ("T5 11B", 512, 20, 310, 1.12, 0.545, 85.7, 46.7, "TPU v3", 4.05e22),
        ("Meena", 1024, 30, 289, 1.09, 0.415, 232, 96.4, "TPU v3", 1.12e23),
        ("GShard 600B", 1024, 3.1, 288, 1.09, 0.201, 24.1, 4.8, "TPU v3", 1.33e22),
        ("Switch Transformer", 1024, 27, 245, 1.10, 0.403, 179, 72.2, "TPU v3", 8.22e22),
        ("GPT-3", 10_000, 14.8, 330, 1.10, 0.429, 1287, 552.1, "V100 SXM2", 3.14e23),
    )
    return [
        PublishedRun(
            name,
            chips * days * HOURS_PER_DAY,
            watts,
            AVERAGE,
            pue,
            2021,
            "patterson2021carbon",
            "primary",
            kg_per_kwh,
            mwh,
            tonnes,
            chip=chip,
            flops=flops,
        )
        for name, chips, days, watts, pue, kg_per_kwh, mwh, tonnes, chip, flops in columns
    ]


def _patterson_table_1() -> Sequence[PublishedRun]:
    # Iowa's intensity here is net of what Google bought; Table 4 gives gross ones.
    rows = (
        ("Transformer big, P100, US average", 3.5, 296, 1.59, 0.429, 316, 0.1357),
        ("Transformer big, P100, Iowa", 3.5, 296, 1.11, 0.080, 221, 0.0177),
        ("Evolved Transformer, P100, Iowa", 3.2, 271, 1.11, None, 185, None),
        ("Transformer big, TPU v2, Iowa", 0.81, 229, 1.11, None, 40, None),
        ("Evolved Transformer, TPU v2, Iowa", 0.62, 227, 1.11, 0.080, 30, 0.0024),
    )
    return [
        PublishedRun(
            name,
            8 * days * HOURS_PER_DAY,
            watts,
            AVERAGE,
            pue,
            2021,
            "patterson2021carbon",
            "primary",
            kg_per_kwh,
            kwh / 1000,
            tonnes,
            _rounding(kwh),
        )
        for name, days, watts, pue, kg_per_kwh, kwh, tonnes in rows
    ]


def _strubell_table_3() -> Sequence[PublishedRun]:
    rows = (
        ("Transformer base, 8 P100", 1415.78, 12, 26),
        ("Transformer big, 8 P100", 1515.43, 84, 192),
        ("ELMo, 3 P100", 517.66, 336, 262),
        ("BERT base, 64 V100", 12_041.51, 79, 1438),
        ("Evolved Transformer search, 8 P100", 1515.43, 274_120, 626_155),
    )
    return [
        PublishedRun(
            name,
            hours,
            watts,
            METERED,
            1.58,
            2019,
            "strubell2019energy",
            "quoted",
            0.954 * KG_PER_LB,
            None,
            pounds * KG_PER_LB / 1000,
            _rounding(pounds),
        )
        for name, watts, hours, pounds in rows
    ]


def _llama_1() -> Sequence[PublishedRun]:
    rows = (
        ("OPT-175B, as if at Llama's site", 809_472, 356, 137),
        ("BLOOM, as if at Llama's site", 1_082_880, 475, 183),
        ("Llama 7B", 82_432, 36, 14),
        ("Llama 13B", 135_168, 59, 23),
        ("Llama 33B", 530_432, 233, 90),
        ("Llama 65B", 1_022_362, 449, 173),
    )
    return [
        PublishedRun(
            name,
            hours,
            400,
            RATED,
            1.1,
            2023,
            "touvron2023llama",
            "primary",
            0.385,
            mwh,
            tonnes,
        )
        for name, hours, mwh, tonnes in rows
    ]


def _llama_2() -> Sequence[PublishedRun]:
    rows = (
        ("Llama 2 7B", 184_320, 31.22),
        ("Llama 2 13B", 368_640, 62.44),
        ("Llama 2 70B", 1_720_320, 291.42),
    )
    return [
        PublishedRun(
            name, hours, 400, RATED, 1.1, 2023, "llama2card", "primary", 0.385, None, tonnes
        )
        for name, hours, tonnes in rows
    ]


def _llama_3() -> Sequence[PublishedRun]:
    rows = (
        ("Llama 3 8B", 1.3e6, 390, "llama3card"),
        ("Llama 3 70B", 6.4e6, 1900, "llama3card"),
        ("Llama 3.1 8B", 1.46e6, 420, "llama31card"),
        ("Llama 3.1 70B", 7.0e6, 2040, "llama31card"),
        ("Llama 3.1 405B", 30.84e6, 8930, "llama31card"),
    )
    return [
        PublishedRun(name, hours, 700, RATED, None, 2024, card, "primary", None, None, tonnes)
        for name, hours, tonnes, card in rows
    ]


BLOOM = PublishedRun(
    "BLOOM",
    1_082_990,
    400,
    RATED,
    None,
    2023,
    "luccioni2023bloom",
    "quoted",
    0.057,
    433.196,
    24.69,
)
GOPHER = PublishedRun(
    "Gopher",
    4096 * 920,
    283,
    AVERAGE,
    1.08,
    2021,
    "rae2021gopher",
    "quoted",
    0.330,
    None,
    380,
)
PATTERSON_TABLE_4 = tuple(_patterson_table_4())
RUNS: tuple[PublishedRun, ...] = (
    *PATTERSON_TABLE_4,
    *_patterson_table_1(),
    *_strubell_table_3(),
    *_llama_1(),
    *_llama_2(),
    *_llama_3(),
    BLOOM,
    GOPHER,
)


def run(name: str) -> PublishedRun:
    """The published run of that name. Raises ValueError with the names that exist."""
    for known in RUNS:
        if known.name == name:
            return known
    raise ValueError(f"no published run is called {name!r}; there are {', '.join(_names())}")


def _names() -> list[str]:
    return [known.name for known in RUNS]


# The sources of these runs, as a table names them.
CITATIONS = {
    "patterson2021carbon": "Patterson et al. 2021",
    "strubell2019energy": "Strubell et al. 2019",
    "touvron2023llama": "Touvron et al. 2023 (Llama 1)",
    "llama2card": "model card of Llama 2",
    "llama3card": "model card of Llama 3",
    "llama31card": "model card of Llama 3.1",
    "luccioni2023bloom": "Luccioni et al. 2023 (BLOOM)",
    "rae2021gopher": "Rae et al. 2021 (Gopher)",
}

# Life cycle of BLOOM in tCO2e (Luccioni et al. 2023, Table 3).
BLOOM_LIFE_CYCLE_T = {"embodied": 11.2, "dynamic": 24.69, "idle": 14.6}

# What making one card emits, as that study assumes.
CARD_EMBODIED = Row("one card", 150, "kgCO2e", 2023, "luccioni2023bloom", "quoted", "assumed")

# Training, fine-tuning and one inference of the BLOOMz models in kWh, and the number of inferences
# at which the last has used as much as the first two (Luccioni, Jernite and Strubell 2024).
BLOOMZ_KWH = {
    "BLOOMz 7B": (51_686, 7_571, 1.0e-4, 592.57e6),
    "BLOOMz 3B": (25_634, 3_242, 7.3e-5, 395.6e6),
    "BLOOMz 1B7": (17_052, 1_081, 6.2e-5, 292.5e6),
    "BLOOMz 560M": (10_505, 543, 5.4e-5, 204.6e6),
}

# The median Gemini text prompt of May 2025, in Wh by part (Elsworth et al. 2025).
GEMINI_PROMPT_WH = {
    "accelerators": 0.14,
    "host CPU and memory": 0.06,
    "idle machines": 0.02,
    "facility overhead": 0.02,
}
