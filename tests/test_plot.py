"""The figures: what they show is what the curve says, their provenance is visible, alt is asked."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch

from greenkit import plot
from greenkit.foundations import Domain, Provenance, Reading
from greenkit.metering import EnergyCurve, Trace
from greenkit.metering.replay import trace_from_dict, trace_to_dict
from greenkit.metering.simulated import SimulatedSensor, sample, steps

WAVE = steps((1.0, 60.0), (0.5, 300.0), (2.5, 180.0))
ALT = "Power over time."


def curve(*, first_s: float = 0.0, seconds: float = 4.0) -> EnergyCurve:
    sensor = SimulatedSensor(WAVE, tick_s=0.1, clock=lambda: 0.0)
    line = sample(sensor, [i * 0.02 for i in range(int(seconds / 0.02))])
    line.times = [time_s + first_s for time_s in line.times]
    return line


def recorded(provenance: Provenance = Provenance.MEASURED) -> Trace:
    marks = {"prefill": [(1.0, 1.5)], "decode": [(1.5, 2.0), (2.0, 2.5)]}
    record = trace_to_dict(curve(), marks, origin_s=0.0)
    record["provenance"] = provenance.value
    return trace_from_dict(record, recorded_on="a named card", date="2026-11-23")


def reading(joules: float = 10.0, **changes: Any) -> Reading:
    plain = Reading(
        joules, 2.0, "nvml:0", "card", Domain.GPU, Provenance.MEASURED, "counter", factor=1.0
    )
    return replace(plain, **changes)


def texts(figure: Figure) -> list[str]:
    axes = figure.axes[0]
    legend = axes.get_legend()
    named = [text.get_text() for text in legend.get_texts()] if legend else []
    return [text.get_text() for text in axes.texts] + [" ".join(name.split()) for name in named]


def areas(figure: Figure) -> list[StepPatch]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)]


def boxes(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


# -- alt text and display ----------------------------------------------------------------------


@pytest.mark.parametrize("alt", ["", "  "])
def test_a_figure_without_alt_text_is_refused(alt: str) -> None:
    with pytest.raises(ValueError, match="needs alt text"):
        plot.show(Figure(), alt=alt)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot.trace(curve()),
        lambda: plot.energy_curve(curve()),
        lambda: plot.bars({"a": reading()}, unit="J"),
    ],
)
def test_every_plot_asks_for_alt_text(draw: Any) -> None:
    with pytest.raises(ValueError, match="needs alt text"):
        draw()


def test_the_display_carries_the_alt_text_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(plot.figures, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    plot.trace(curve(), alt='Power <is> "high" & low')
    assert len(shown) == 1
    assert 'aria-label="Power &lt;is&gt; &quot;high&quot; &amp; low"' in shown[0]["text/html"]
    assert shown[0]["text/plain"] == '[Power <is> "high" & low]'


def test_without_jupyter_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(plot.trace(curve(), alt=ALT), Figure)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_pyplot_figure_is_closed_once_it_is_shown() -> None:
    import matplotlib.pyplot as plt

    figure, _ = plt.subplots()
    plot.show(figure, alt=ALT)
    assert not plt.fignum_exists(figure.number)


def test_importing_the_module_imports_no_matplotlib() -> None:
    code = "import sys, greenkit.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_plots_use_no_pyplot() -> None:
    code = (
        "import sys; from greenkit import plot; from greenkit.foundations import *\n"
        "r = Reading(1, 1, 's', 'd', Domain.GPU, Provenance.MEASURED, 'counter')\n"
        "plot.png(plot.bars({'a': r}, unit='J', alt='a bar'))\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_a_built_page_shows_each_figure_once_with_its_alt_text(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("myst_nb")
    cells = [
        "import greenkit as gk\n"
        "from greenkit.metering.simulated import SimulatedSensor, constant, sample\n"
        "line = sample(SimulatedSensor(constant(50), clock=lambda: 0), [0, 0.2, 0.4, 0.6])\n"
        "gk.plot.trace(line, alt='Power stays at 50 W.')",
        "import matplotlib.pyplot as plt\n"
        "figure, axes = plt.subplots()\n"
        "gk.plot.show(figure, alt='Empty axes.')\n"
        "figure",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in cells]
    title = nbformat.v4.new_markdown_cell("# A lab")
    notebook = nbformat.v4.new_notebook(cells=[title, *cells])
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    nbformat.write(notebook, tmp_path / "index.ipynb")
    (tmp_path / "conf.py").write_text("extensions = ['myst_nb']\nnb_execution_mode = 'off'\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", str(tmp_path), str(tmp_path / "html")]
    subprocess.run(command, check=True)
    page = (tmp_path / "html/index.html").read_text()
    assert page.count("<figure") == 2
    assert 'aria-label="Power stays at 50 W."' in page
    assert 'aria-label="Empty axes."' in page


# -- the look ----------------------------------------------------------------------------------


def test_the_same_figure_gives_the_same_bytes() -> None:
    first, second = (plot.png(plot.trace(curve(), alt=ALT)) for _ in range(2))
    assert first == second


def test_the_png_names_no_software_and_stays_small() -> None:
    data = plot.png(plot.trace(recorded(), alt=ALT))
    assert b"Software" not in data
    assert b"tEXt" not in data
    assert len(data) < 40_000


def test_style_as_a_block_puts_everything_back() -> None:
    before = dict(matplotlib.rcParams)
    with plot.style():
        assert matplotlib.rcParams["figure.facecolor"] == plot.CARD
    assert dict(matplotlib.rcParams) == before


def test_drawing_leaves_the_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    plot.trace(curve(), alt=ALT)
    assert dict(matplotlib.rcParams) == before


def test_text_is_eleven_points_or_larger() -> None:
    figure = plot.trace(recorded(), alt=ALT)
    sizes = [
        text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()
    ]
    assert min(sizes) >= 11


# -- power over time ---------------------------------------------------------------------------


def test_the_area_under_the_trace_is_the_energy_of_the_curve() -> None:
    line = curve()
    data = areas(plot.trace(line, alt=ALT))[0].get_data()
    widths = [b - a for a, b in zip(data.edges[:-1], data.edges[1:], strict=True)]
    area = sum(w * p for w, p in zip(widths, data.values, strict=True))
    assert area == pytest.approx(line.energy(line.times[0], line.times[-1]))


def test_windows_are_named_and_repeats_are_counted() -> None:
    windows = {"prefill": (1.0, 1.5), "decode": [(1.5, 2.0), (2.0, 2.5)]}
    assert {"prefill", "decode (×2)"} <= set(texts(plot.trace(curve(), windows=windows, alt=ALT)))


def test_a_recorded_trace_shows_its_own_marks() -> None:
    assert {"prefill", "decode (×2)"} <= set(texts(plot.trace(recorded(), alt=ALT)))


def test_a_shaded_window_lies_where_it_was_drawn() -> None:
    figure = plot.trace(curve(), windows={"decode": (1.5, 2.5)}, alt=ALT)
    (box,) = boxes(figure)
    assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx((1.5, 2.5))


def test_names_of_nested_windows_do_not_share_a_row() -> None:
    figure = plot.trace(curve(), windows={"all": (1.0, 3.5), "decode": (1.5, 3.0)}, alt=ALT)
    plot.png(figure)  # lays it out
    inner, outer = (
        next(t for t in figure.axes[0].texts if t.get_text() == name).get_window_extent()
        for name in ("decode", "all")
    )
    assert outer.y0 >= inner.y1


def test_names_stay_inside_the_figure() -> None:
    windows = {"a": (1.0, 3.5), "b": (1.1, 3.4), "c": (1.2, 3.3), "the long first name": (0.0, 0.1)}
    figure = plot.trace(curve(), windows=windows, alt=ALT)
    plot.png(figure)  # lays it out
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y1 <= figure.bbox.y1


def test_a_live_clock_counts_from_the_first_knot() -> None:
    line = curve(first_s=81_234.5)
    figure = plot.trace(line, windows={"decode": (81_236.0, 81_237.0)}, alt=ALT)
    assert figure.axes[0].get_xlim()[0] == 0
    assert boxes(figure)[0].get_x() == pytest.approx(81_236.0 - line.times[0])


def test_the_truth_is_drawn_at_its_own_watts() -> None:
    figure = plot.trace(curve(), truth=WAVE.power, alt=ALT)
    line = next(x for x in figure.axes[0].lines if x.get_label() == "true power")
    assert max(line.get_ydata()) == 300.0
    assert "true power" in texts(figure)


def test_a_stretch_without_data_is_named_and_has_no_power() -> None:
    line = curve()
    line.gaps.append((1.0, 1.5, "the counter stood still"))
    figure = plot.trace(line, alt=ALT)
    assert "no data" in texts(figure)
    assert any(math.isnan(watts) for watts in areas(figure)[0].get_data().values)


def test_a_curve_of_one_knot_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="simulated:0 gave fewer than two values"):
        plot.trace(curve(seconds=0.15), alt=ALT)


@pytest.mark.parametrize("provenance", [Provenance.ESTIMATED, Provenance.SIMULATED])
def test_what_is_not_measured_is_hatched_and_named(provenance: Provenance) -> None:
    line = curve()
    line.info = replace(line.info, provenance=provenance)
    figure = plot.trace(line, windows={"decode": (1.5, 2.5)}, alt=ALT)
    assert all(area.get_hatch() for area in areas(figure) if area.get_fill())
    assert any(text.startswith(provenance.value) for text in texts(figure))


def test_what_is_measured_is_solid_and_named() -> None:
    line = curve()
    line.info = replace(line.info, provenance=Provenance.MEASURED)
    figure = plot.trace(line, alt=ALT)
    assert not any(area.get_hatch() for area in areas(figure))
    assert "measured (counter, simulated:0)" in texts(figure)


def test_a_replayed_trace_names_device_and_date() -> None:
    label = "replayed (counter, simulated:0, measured on a named card, 2026-11-23)"
    assert label in texts(plot.trace(recorded(), alt=ALT))


@pytest.mark.parametrize("draw", [plot.trace, plot.energy_curve])
def test_axes_have_units(draw: Any) -> None:
    axes = draw(curve(), alt=ALT).axes[0]
    assert axes.get_xlabel() == "time (s)"
    assert axes.get_ylabel() in ("power (W)", "energy so far (J)")


def test_a_plot_on_given_axes_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot.figures, "show", lambda *_, **__: pytest.fail("shown"))
    figure = Figure()
    assert plot.trace(curve(), ax=figure.add_subplot()) is figure


# -- energy so far -----------------------------------------------------------------------------


def test_the_energy_curve_goes_through_the_knots() -> None:
    line = curve()
    drawn = plot.energy_curve(line, alt=ALT).axes[0].lines[0]
    assert list(drawn.get_xdata()) == line.times
    assert list(drawn.get_ydata()) == line.joules


def test_a_window_is_two_points_on_the_curve_and_its_reading() -> None:
    line = curve()
    figure = plot.energy_curve(line, window=(1.2, 2.2), alt=ALT)
    points = [x for x in figure.axes[0].lines if x.get_marker() == "s"]
    heights = [float(point.get_ydata()[0]) for point in points]
    assert heights[1] - heights[0] == pytest.approx(line.energy(1.2, 2.2))
    assert line.reading(1.2, 2.2).text in [" ".join(text.split()) for text in texts(figure)]


def test_a_window_without_data_says_not_measured() -> None:
    line = curve()
    line.gaps.append((1.4, 1.6, "the counter stood still"))
    figure = plot.energy_curve(line, window=(1.2, 2.2), alt=ALT)
    assert any(" ".join(text.split()).startswith("not measured") for text in texts(figure))


# -- bars --------------------------------------------------------------------------------------


def test_each_bar_carries_value_interval_and_provenance() -> None:
    values = {"GPU": reading(), "CPU": reading(38, provenance=Provenance.ESTIMATED, factor=2.9)}
    figure = plot.bars(values, unit="J", alt=ALT)
    assert texts(figure) == ["GPU: 10 J, measured", "CPU: ~38 J (13 to 110), estimated"]


@pytest.mark.parametrize("provenance", list(Provenance))
def test_only_a_measured_bar_is_solid(provenance: Provenance) -> None:
    (bar,) = boxes(plot.bars({"a": reading(provenance=provenance)}, unit="J", alt=ALT))
    assert (bar.get_facecolor()[3] == 1.0) == (provenance is Provenance.MEASURED)


def test_all_patterns_differ() -> None:
    solid = {Provenance.MEASURED, Provenance.PUBLISHED}  # filled and hollow
    hatches = [hatch for kind, hatch in plot.HATCHES.items() if kind not in solid]
    assert len({*hatches, ""}) == len(hatches) + 1


def test_the_error_bar_spans_the_interval() -> None:
    value = reading(30, factor=3.0, provenance=Provenance.ESTIMATED)
    figure = plot.bars({"a": value}, unit="J", alt=ALT)
    ((low, high),) = (
        [float(x) for x, _ in segment]
        for c in figure.axes[0].collections
        for segment in c.get_segments()
    )
    assert (low, high) == pytest.approx((10, 90))


def test_a_value_below_resolution_shows_its_bounds_only() -> None:
    figure = plot.bars({"a": reading(5, bounds=(2.0, 9.0))}, unit="J", alt=ALT)
    (box,) = boxes(figure)
    assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx((2, 9))
    assert texts(figure) == ["a: between 2.0 and 9.0 J, measured"]


def test_an_open_bound_ends_in_an_arrow() -> None:
    figure = plot.bars({"a": reading(5, bounds=(2.0, math.inf))}, unit="J", alt=ALT)
    assert [line.get_marker() for line in figure.axes[0].lines[:1]] == [">"]


def test_small_values_get_a_prefix_on_the_axis() -> None:
    figure = plot.bars({"a": reading().per(1000, "token")}, unit="J/token", alt=ALT)
    assert figure.axes[0].get_xlabel() == "energy (mJ/token)"
    assert boxes(figure)[0].get_width() == pytest.approx(10)


def test_another_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' is in Wh, this figure is in J"):
        plot.bars({"a": reading(), "b": reading().wh()}, unit="J", alt=ALT)


def test_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        plot.bars({}, unit="J", alt=ALT)
