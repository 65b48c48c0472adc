"""The Compare page's table and figures. Pure."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text
from textual.theme import Theme

from svhn_tui import words
from svhn_tui.comparison import Findings, Side, settings_that_differ
from svhn_tui.screens.question_text import spread_text
from svhn_tui.statistics import LEVEL, Comparison, Summary
from svhn_tui.themes import dim_of
from svhn_tui.widgets.colors import look_of

NARROW, ROOMY = 100, 150
TALL = 30
SETTINGS = 3
"""Settings that get a column each; where more differ, the configurations' names say it."""


def sides_table(
    sides: Sequence[Side], names: Sequence[str], findings: Findings | None, theme: Theme, *, width: int
) -> Table:
    """Return a line a side: the settings in which it differs, and its figures, as many as there is room for."""
    differing = settings_that_differ([side.configuration for side in sides])
    if not 1 <= len(differing) <= SETTINGS or (width < NARROW and len(differing) > 1):
        differing = (("configuration" if differing else "run", tuple(names)),)
    table = Table(box=None, pad_edge=False, header_style=dim_of(theme), padding=(0, 2, 0, 0))
    for name, _ in differing:
        table.add_column(f"  {name}" if name == differing[0][0] else name, no_wrap=True)
    for name in _columns(width):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("convergence", no_wrap=True)
    nothing = (None,) * len(sides)
    found = zip(findings.summaries if findings else nothing, findings.bests if findings else nothing, strict=True)
    for index, (side, (summary, best)) in enumerate(zip(sides, found, strict=True)):
        color, mark = look_of(index, theme)
        settings = [Text(column[index], "bold") for _, column in differing]
        first = Text.assemble((f"{mark} ", color), settings[0])
        table.add_row(first, *settings[1:], *_cells(side, summary, best, theme, width=width))
    return table


def figures_of(found: Comparison) -> str:
    """Write down the interval of a difference, and what the sentence lacks where nothing was told apart."""
    low, high = (words.accuracy(value).replace("-", words.MINUS) for value in found.interval)
    interval = f"95 % interval {low} to {high}"
    if found.p < LEVEL:
        return interval
    difference = words.accuracy(found.difference).replace("-", words.MINUS)
    return f"difference {difference}, {interval}, p = {found.p:.2f}"


def _columns(width: int) -> tuple[str, ...]:
    """Return the columns of figures that there is room for."""
    if width < NARROW:
        return ("runs", "test accuracy", "train − test")
    best = ("best", "95 % interval") if width >= ROOMY else ("best",)
    return ("runs", "test accuracy", "95 % interval", *best, "train − test", "parameters", "a run")


def _cells(side: Side, summary: Summary | None, best: Summary | None, theme: Theme, *, width: int) -> list[Text | str]:
    dim = dim_of(theme)
    done = f"{len(side.results)}/{len(side.runs)}" if len(side.results) < len(side.runs) else f"{len(side.results)}"
    mean, deviation = (summary.mean, summary.deviation) if summary else (None, None)
    gap = words.accuracy(side.gap, 3).replace("-", words.MINUS)
    told: dict[str, Text | str] = {
        "runs": done,
        "test accuracy": spread_text(mean, deviation, theme),
        "best": words.accuracy(best.mean if best else None),
        "train − test": gap,
        "parameters": words.count(side.parameters),
        "a run": words.duration(side.seconds),
    }
    intervals = iter((summary, best))
    cells = [told[name] if name in told else _interval(next(intervals)) for name in _columns(width)]
    return [*cells, Text(side.convergence, str(theme.warning) if side.convergence == "still rising" else dim)]


def _interval(summary: Summary | None) -> str:
    return " – ".join(map(words.accuracy, summary.interval)) if summary and summary.interval else "–"
