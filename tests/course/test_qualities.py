"""Tables of compressed models: what ran here first, what is only recorded below it, labeled."""

from __future__ import annotations

from greenkit.course.qualities import quality_table, serving_table

ROW = {
    "perplexity": 20.0,
    "ratio": 1.2,
    "ratio_low": 1.1,
    "ratio_high": 1234.5,
    "kl": 0.25,
    "top1": 0.75,
    "bytes": 538e6,
    "seconds": 19.4,
}
PHASE = {
    "joules": 0.2,
    "joules_low": 0.05,
    "joules_high": 0.8,
    "provenance": "estimated",
    "seconds": 0.05,
    "cpu_s": 0.09,
    "time_ratio": 0.8,
    "time_ratio_low": 0.7,
    "time_ratio_high": 0.9,
}
SERVED = {"bytes": 538e6, "prefill": PHASE, "decode": {**PHASE, "provenance": "measured"}}


def cells(table: str, line: int) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[line].strip("|").split("|")]


def test_a_row_has_interval_divergence_size_and_time() -> None:
    assert cells(quality_table({"Wanda": ROW}), 2) == [
        "Wanda",
        "1.200 (1.100 to 1,234)",
        "0.250",
        "75.0%",
        "538",
        "19 s",
        "run here",
    ]


def test_recorded_rows_follow_and_name_their_device() -> None:
    table = quality_table({"a": ROW}, {"a": ROW, "b": ROW}, "EPYC, 2026")
    assert [cells(table, line)[0] for line in (2, 3)] == ["a", "b"]
    assert cells(table, 3)[-1] == "recorded: EPYC, 2026"
    assert len(table.splitlines()) == 4


def test_a_row_without_size_or_time_leaves_them_open() -> None:
    bare = {key: value for key, value in ROW.items() if key not in ("bytes", "seconds")}
    assert cells(quality_table({"a": bare}), 2)[4:6] == ["", ""]


def test_energy_says_where_it_comes_from() -> None:
    table = serving_table({"dense": SERVED})
    assert cells(table, 2)[-2] == "~200 mJ/token (50 to 800), estimated"
    assert cells(table, 3)[-2].endswith("measured")
    assert not cells(table, 3)[-2].startswith("~")
