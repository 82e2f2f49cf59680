"""Tables of compressed models: what ran here first, what is only recorded below it, labeled."""

from __future__ import annotations

from greenkit.course.qualities import quality_table, serving_table
from greenkit.plot import dots

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


def test_a_row_has_interval_agreement_and_size() -> None:
    assert cells(quality_table({"Wanda": ROW}), 2) == [
        "Wanda",
        "1.200 (1.100 to 1,234)",
        "75.0",
        "538",
    ]


def test_recorded_rows_follow_in_italics_and_the_note_names_their_device() -> None:
    table = quality_table({"a": ROW}, {"a": ROW, "b": ROW}, "EPYC, 2026")
    assert [cells(table, line)[0] for line in (2, 3)] == ["a", "*b*"]
    assert table.endswith("recorded on EPYC, 2026.")


def test_a_row_without_size_leaves_it_open() -> None:
    bare = {key: value for key, value in ROW.items() if key != "bytes"}
    assert cells(quality_table({"a": bare}), 2)[3] == ""


def test_energy_says_where_it_comes_from() -> None:
    prefill = serving_table({"dense": SERVED}, "prefill")
    assert cells(prefill, 2)[-1] == "~200 mJ (50 to 800)"
    assert "estimated" in prefill
    decode = serving_table({"dense": SERVED}, "decode")
    assert "measured" in decode
    assert not cells(decode, 2)[-1].startswith("~")


def test_more_than_a_factor_of_ten_is_drawn_in_factors() -> None:
    near, far = {"a": (1.0, 0.9, 1.1), "b": (2.0, 1.9, 2.1)}, {"c": (30.0, 20.0, 40.0)}
    assert dots(near, label="x", alt="dots").axes[0].get_xscale() == "linear"
    assert dots(near | far, label="x", alt="dots").axes[0].get_xscale() == "log"
