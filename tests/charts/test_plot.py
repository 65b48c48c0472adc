"""Charts: whatever is drawn, in whatever room, something sensible comes out."""

import math

import pytest

from svhn_tui.charts.axes import labels_of, ticks_between
from svhn_tui.charts.canvas import ChartColors
from svhn_tui.charts.curves import mean_band, metric_of, smoothed, with_smoothing
from svhn_tui.charts.plot import Series, View, render
from tests.support.epochs import curve_of

PALETTE = ChartColors("#101418", "#8a95a5", "#3a4250")
BAD = [(), (math.inf,), (-math.inf, math.nan), (None,) * 5, (1.0,), (2.0,) * 9, (0.0, -1.0), (1e308, -1e308, 1e-308)]


@pytest.mark.parametrize("values", [*BAD, (math.nan, 1.0, math.inf, 3.0, None, 2.0)])
@pytest.mark.parametrize("size", [(1, 1), (5, 2), (12, 4), (30, 8), (80, 24), (200, 60)])
@pytest.mark.parametrize("log", [False, True])
def test_bad_series_in_any_room_are_drawn_within_it(values: tuple[float | None, ...], size: tuple[int, int], log: bool):
    width, height = size
    series = [Series("one", values, "#ffffff", values, values), Series("two", (1.0, 2.0), "#7cc7ff")]
    for view in (View(log=log), View(first=3, last=4, log=log, cross=2)):
        lines = render(series, width, height, PALETTE, view)
        assert len(lines) == height
        assert all(line.cell_length <= width for line in lines)


def test_a_rising_line_rises_and_is_named_at_its_end():
    lines = [line.text for line in render([Series("relu", tuple(map(float, range(50))), "#ffffff")], 60, 12, PALETTE)]
    assert "relu" in lines[0]
    columns = [min(index for index, cell in enumerate(line) if "\u2800" < cell <= "\u28ff") for line in lines[:-1]]
    assert columns == sorted(columns, reverse=True)


def test_a_name_of_wide_characters_leaves_the_lines_as_wide_as_they_are():
    series = [Series("幅と深さ", (0.1, 0.5), "#ffffff"), Series("narrow", (0.5, 0.1), "#ffffff")]
    lines = render(series, 60, 12, PALETTE)
    assert "幅と深さ" in lines[0].text and "narrow" in "".join(line.text for line in lines)
    assert all(line.cell_length <= 60 for line in lines)


def test_names_of_lines_that_end_together_do_not_overlap():
    series = [Series(f"line {index}", (0.1, 0.5), "#ffffff") for index in range(4)]
    text = [line.text for line in render(series, 60, 12, PALETTE)]
    assert sum("line" in line for line in text) == 4


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.1, 0.62), (-3, 250), (1e-9, 2e-9), (5, 5)])
def test_ticks_are_round_and_inside(low: float, high: float):
    ticks = ticks_between(low, high, 5)
    assert 1 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(0.13, 0.26), (0.001, 900), (4.1, 4.4), (1e-9, 2e-9), (90, 130)])
def test_labels_of_a_logarithmic_axis_tell_its_ticks_apart(low: float, high: float):
    labels = labels_of(ticks_between(math.log10(low), math.log10(high), 5, log=True), log=True)
    assert len({*labels}) == len(labels) > 1


def test_the_band_is_one_standard_deviation_either_side():
    histories = [curve_of(loss=(1.0, 2.0)), curve_of(loss=(3.0,)), curve_of(loss=(5.0, None))]
    series = mean_band("x", histories, "loss", "#ffffff")
    assert series.values == (3.0, 2.0)
    assert series.low == (1.0, None)
    assert series.high == (5.0, None)


def test_smoothing_corrects_its_start_and_keeps_gaps():
    assert smoothed((2.0, 2.0, None, 2.0), 0.9) == pytest.approx((2.0, 2.0, None, 2.0))
    raw, line = with_smoothing([Series("x", (1.0, 3.0), "#ffffff")], 0.5)
    assert raw.faint
    assert line.values == pytest.approx((1.0, (0.5 * 0.5 + 0.5 * 3) / 0.75))


def test_the_gap_is_train_minus_test():
    history = curve_of(accuracy=(0.75, None), test_accuracy=(0.5, 0.5))
    assert metric_of(history, "gap") == (0.25, None)
