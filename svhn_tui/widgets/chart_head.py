"""The title line of a chart, which also shows the values of its curves. Pure."""

from bisect import bisect_left
from collections.abc import Sequence

from rich.text import Text

from svhn_tui import words
from svhn_tui.charts.plot import Series


def end_of(series: Sequence[Series]) -> float:
    """Return the end of the longest curve on the x axis."""
    return float(max((line.xs[-1] for line in series if line.xs), default=1))


def head_of(
    title: str,
    note: str,
    marks: Sequence[str],
    series: Sequence[Series],
    cross: float | None,
    width: int,
    *,
    x_label: str,
    dim: str,
) -> Text:
    """Return the title, and at the right the values of the curves; the least important parts are left out first.

    Args:
        title: of the chart.
        note: a remark, which is left out first.
        marks: words on how the chart is drawn; empty ones are ignored.
        series: the curves.
        cross: the x of the values; None for the curves' ends.
        width: in cells.
        x_label: unit of the x axis.
        dim: the colour of secondary text.
    """
    whole, short = (
        Text.assemble((title, "bold"), *((f"  {text}", dim) for text in texts if text))
        for texts in ((note, *marks), marks)
    )
    for head, has_spread in ((whole, True), (whole, False), (short, False)):
        reading = _reading(series, cross, x_label, dim, has_spread=has_spread)
        gap = width - head.cell_len - reading.cell_len
        if gap >= 2:
            return Text.assemble(head, " " * gap, reading, no_wrap=True)
    if cross is not None:
        whole = Text.assemble(short, "  ", reading)
    whole.truncate(max(0, width), overflow="ellipsis")
    whole.no_wrap = True
    return whole


def _reading(series: Sequence[Series], cross: float | None, x_label: str, dim: str, *, has_spread: bool) -> Text:
    if not any(line.xs for line in series):
        return Text()
    x = cross if cross is not None else end_of(series)
    at = words.duration(x) if x_label == "seconds" else f"{x_label or 'epoch'} {x:g}"
    text = Text.assemble((at, dim))
    for line in series:
        index = bisect_left(line.xs, x)
        if index < len(line.values) and line.xs[index] == x:
            text.append(f"   {line.name} ", dim)
            text.append(words.number(line.values[index]), line.color)
            text.append(_spread_at(line, index) if has_spread else "", dim)
    return text


def _spread_at(line: Series, index: int) -> str:
    if index >= min(len(line.low), len(line.high)):
        return ""
    low, high = line.low[index], line.high[index]
    return f" ± {(high - low) / 2:.2g}" if low is not None and high is not None else ""
