"""The chart widget: keys and mouse change what is seen, and nothing it is given brings it down."""

import math

import pytest
from textual.app import App, ComposeResult

from svhn_tui.charts.axes import labels_of, ticks_between
from svhn_tui.charts.canvas import Canvas, ChartColors
from svhn_tui.charts.plot import Series, View, frame_of, render, thinned
from svhn_tui.themes import THEMES
from svhn_tui.widgets.chart import Chart
from svhn_tui.widgets.colors import line_style

PALETTE = ChartColors("#101418", "#8a95a5", "#3a4250")
BLUE, ORANGE = "#7cc7ff", "#ff9d5c"


class Stage(App[None]):
    def compose(self) -> ComposeResult:
        yield Chart()

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name

    @property
    def rows(self) -> list[str]:
        return ["".join(segment.text for segment in strip) for strip in self.screen._compositor.render_strips()]


def rising(name: str = "relu", count: int = 100, **settings: object) -> Series:
    return Series(name, tuple(value / count for value in range(1, count + 1)), BLUE, **settings)


async def test_the_title_reads_the_last_values_and_those_at_the_cross_hair():
    app = Stage()
    async with app.run_test(size=(100, 24)) as pilot:
        chart = app.query_one(Chart)
        chart.show("accuracy", [rising()], note="mean", x_label="epoch")
        await pilot.pause()
        assert app.rows[0].rstrip().endswith("epoch 100   relu 1.000")
        chart.move_cross(-1)
        chart.move_cross(-9)
        await pilot.pause()
        assert app.rows[0].rstrip().endswith("epoch 91   relu 0.9100")
        chart.reset()
        await pilot.click(Chart, offset=(4, 10))
        assert "epoch 1 " in app.rows[0]


async def test_zoom_and_pan_stay_inside_and_esc_brings_everything_back():
    app = Stage()
    async with app.run_test(size=(100, 24)) as pilot:
        chart = app.query_one(Chart)
        chart.show("accuracy", [rising()], x_label="epoch")
        await pilot.pause()
        whole = app.rows
        for _ in range(20):
            chart.zoom(0.5)
        await pilot.pause()
        assert "99" in app.rows[-2] and "50" not in app.rows[-2]
        for _ in range(2000):
            chart.pan(-0.25)
        chart.pan(0.25)
        await pilot.pause()
        assert app.rows[-2].split()[0].startswith("0.5")
        for _ in range(20):
            chart.zoom(2.0)
        await pilot.pause()
        assert app.rows == whole
        chart.zoom(0.5)
        chart.reset()
        await pilot.pause()
        assert app.rows == whole


@pytest.mark.parametrize("values", [(), (math.inf, math.nan), (None,), (1.0,), (0.0,) * 5, (-1.0, 1e308, 1e-308)])
async def test_no_series_and_no_size_brings_it_down(values: tuple[float | None, ...]):
    app = Stage()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(Chart)
        for size in ((1, 1), (5, 2), (20, 6), (80, 24)):
            await pilot.resize_terminal(*size)
            chart.show("x", [Series("one", values, BLUE, values, values, mark="●")], length=5)
            for act in (chart.toggle_log, chart.cycle_smoothing, chart.reset):
                act()
                chart.move_cross(-1)
                chart.zoom(0.5)
                chart.pan(0.25)
                await pilot.pause()
            assert len(app.rows) == size[1]


def test_a_mark_stands_at_the_end_and_the_name_behind_it():
    rows = [row.text for row in render([rising(mark="▲")], 60, 12, PALETTE, View(last=200))]
    assert any("▲ relu" in row for row in rows)
    together = [Series(f"line {index}", (0.1, 0.5), BLUE, mark="●▲"[index]) for index in range(2)]
    text = "\n".join(row.text for row in render(together, 60, 12, PALETTE))
    assert "● line 0" in text and "line 1" in text


def test_a_name_stands_over_no_line():
    early = Series("early", (0.5,) * 20, BLUE, x=tuple(range(1, 21)))
    late = Series("late", (0.5,) * 100, ORANGE)
    rows = [row.text for row in render([early, late], 80, 12, PALETTE)]
    assert all(any(name in row for row in rows) for name in ("early", "late"))
    for row in rows:
        end = max(row.find(name) for name in ("early", "late"))
        assert end < 0 or not any("\u2800" < cell <= "\u28ff" for cell in row[end:])


def test_overlapping_bands_mix_their_tints():
    ends = (0.0,) * 10, (1.0,) * 10
    canvas = Canvas(10, 5, (0, 10), (0, 1), PALETTE)
    canvas.band(range(1, 11), *ends, "#400000")
    canvas.band(range(1, 11), *ends, "#000040")
    styles = [segment.style for row in canvas.rows() for segment in row]
    assert {style.bgcolor.name for style in styles if style and style.bgcolor} == {"#200020"}


def test_thinning_keeps_peaks_and_gaps():
    values = [0.0] * 5000
    values[1234] = 9.0
    points = [(float(index), value) for index, value in enumerate(values)]
    kept = thinned(points, (0, 5000), 100)
    assert len(kept) <= 200
    assert (1234.0, 9.0) in kept
    assert thinned([(float(index), None) for index in range(5000)], (0, 5000), 10) == [
        (float(index), None) for index in range(0, 5000, 500)
    ]


@pytest.mark.parametrize(
    ("bounds", "labels"),
    [((0.3, 1.55), ["2", "5", "10", "20"]), ((-3, 3), ["0.001", "0.1", "10", "1000"]), ((0.301, 0.38), ["2.0", "2.2"])],
)
def test_logarithmic_ticks_are_round(bounds: tuple[float, float], labels: list[str]):
    actual = labels_of(ticks_between(*bounds, 5, log=True), log=True)
    assert set(labels) <= set(actual) or [float(label) for label in actual]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 100, ["0", "25", "50", "75", "100"]),
        (0.1, 0.62, ["0.2", "0.4", "0.6"]),
        (0, 80_000, ["0", "20k", "40k", "60k", "80k"]),
        (5, 5, ["5.0"]),
    ],
)
def test_labels_have_the_digits_they_need(low: float, high: float, labels: list[str]):
    assert labels_of(ticks_between(low, high, 4)) == labels


def test_what_is_clicked_is_found_on_the_axis():
    frame = frame_of([rising()], 80, 20, View())
    assert frame is not None
    assert frame.x_at(frame.left) == 0
    assert frame.x_at(frame.left + frame.columns - 1) == 100
    assert frame_of([rising()], 5, 2, View()) is None


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_eight_lines_differ_in_colour_and_in_mark(theme):
    looks = [line_style(index, theme) for index in range(8)]
    assert len({look.color for look in looks}) == len({look.mark for look in looks}) == 8
