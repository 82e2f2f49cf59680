"""Published figures of chips: their power at part load, and the bytes that they fetch in a second.

Typed once, from the citation. Used in: the chapter *Where the energy goes*.
"""

from __future__ import annotations

from greenkit.foundations.rows import Row

# Power at a tenth of full load, in % of the power at full load (Jouppi et al. 2017).
TENTH_LOAD = (
    Row("TPU v1", 88, "%", 2017, "jouppi2017tpu", "primary"),
    Row("K80", 66, "%", 2017, "jouppi2017tpu", "primary"),
    Row("Haswell", 56, "%", 2017, "jouppi2017tpu", "primary"),
)

BANDWIDTH = (Row("H100 SXM5", 3.35e12, "byte/s", 2022, "nvidia2022h100", "quoted"),)
