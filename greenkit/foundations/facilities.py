"""Published power usage effectiveness (PUE) of data centers, power, rates and prices of chips."""

from __future__ import annotations

from greenkit.foundations.rows import Row

PUE = (
    Row("industry average 2025", 1.54, "", 2025, "uptime2025survey", "quoted", "survey, weighted"),
    Row("industry average 2024", 1.56, "", 2024, "uptime2024survey", "quoted", "survey"),
    Row("US average 2018", 1.58, "", 2018, "patterson2021carbon", "primary"),
    Row("US average 2020", 1.59, "", 2020, "patterson2021carbon", "primary"),
    Row("Google Iowa 2021", 1.11, "", 2021, "patterson2021carbon", "primary", "one site"),
    Row("Google fleet 2025", 1.09, "", 2025, "googlepue", "quoted", "the company's own figure"),
)

TDP = (
    Row("P100", 300, "W", 2021, "patterson2021carbon", "primary"),
    Row("V100 SXM2", 300, "W", 2021, "patterson2021carbon", "primary"),
    Row("TPU v2", 280, "W", 2021, "patterson2021carbon", "primary"),
    Row("TPU v3", 450, "W", 2021, "patterson2021carbon", "primary"),
    Row("A100 SXM", 400, "W", 2020, "nvidia2020a100", "quoted"),
    Row("H100 SXM5", 700, "W", 2022, "nvidia2022h100", "quoted", "up to, configurable"),
    Row("H100 PCIe", 350, "W", 2022, "nvidia2022h100", "quoted"),
)

MEASURED_POWER = (
    Row("P100", 271, "W", 2021, "patterson2021carbon", "primary", "± 11 %, host and network in"),
    Row(
        "V100 SXM2", 325, "W", 2021, "patterson2021carbon", "primary", "± 2 %, host and network in"
    ),
    Row("TPU v2", 221, "W", 2021, "patterson2021carbon", "primary", "± 5 %, host and network in"),
    Row("TPU v3", 283, "W", 2021, "patterson2021carbon", "primary", "± 10 %, host and network in"),
)

PEAK_FLOPS = (
    Row("V100 SXM2, FP16", 125e12, "FLOP/s", 2020, "nvidia2020a100", "quoted", "dense"),
    Row("A100 SXM, BF16", 312e12, "FLOP/s", 2020, "nvidia2020a100", "quoted", "dense"),
    Row("H100 SXM5, BF16", 989.4e12, "FLOP/s", 2022, "nvidia2022h100", "quoted", "dense"),
    Row("H100 PCIe, BF16", 756e12, "FLOP/s", 2022, "nvidia2022h100", "quoted", "dense"),
)

# Horowitz 2014, Figure 1.1.9: a chip of 45 nm at 0.9 V. Ratios carry over, absolute values do not.
OPERATION_ENERGY = (
    Row("add int8", 0.03, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("add int32", 0.1, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("multiply int8", 0.2, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("multiply int32", 3.1, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("add fp32", 0.9, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("multiply fp16", 1.1, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("multiply fp32", 3.7, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("read 64 bits, 8 KB cache", 10, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("read 64 bits, DRAM, least", 1300, "pJ", 2014, "horowitz2014energy", "quoted"),
    Row("read 64 bits, DRAM, most", 2600, "pJ", 2014, "horowitz2014energy", "quoted"),
)
# The same technology restated for 32-bit accesses: Han et al. 2015, Figure 1.
DRAM_READ_32_BITS = Row("read 32 bits, DRAM", 640, "pJ", 2015, "han2015learning", "quoted")
MULTIPLY_FP32_HAN = Row("multiply fp32", 3.7, "pJ", 2015, "han2015learning", "quoted")
