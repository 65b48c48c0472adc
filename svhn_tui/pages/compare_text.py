"""The Compare page's table and figures. Pure."""

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text
from textual.theme import Theme

from svhn_tui import words
from svhn_tui.analysis.comparison import Findings, Side, settings_that_differ
from svhn_tui.analysis.metrics import METRICS, OPTIONAL, Metric, known_in, logged_in
from svhn_tui.analysis.statistics import LEVEL, Comparison, Summary
from svhn_tui.pages.question_text import spread_text
from svhn_tui.themes import dim_of
from svhn_tui.widgets.colors import line_style

NARROW = 100
TALL = 30
GAP, MARGIN = 2, 6
OTHERS = [metric for name, metric in (OPTIONAL | METRICS).items() if name not in ("test_accuracy", "gap")]
"""Metrics without a column of their own; their means are shown if there is room."""
COLUMNS = {"runs": 5, "test accuracy": 15, "interval": 15, "best": 6, "interval of best": 15, "train − test": 12,
           "parameters": 10, "a run": 8, "convergence": 12,
           **{metric.title: len(metric.title) for metric in OTHERS}}  # fmt: skip
"""Columns of figures from left to right, and their widths in cells."""
INTERVALS = {"interval", "interval of best"}
MATTER = ("test accuracy", "runs", "convergence", "train − test", "interval", "parameters", "best", "a run",
          "interval of best", *(metric.title for metric in OTHERS))  # fmt: skip
SHORTEST, FIGURES = 20, 26
"""Least width of a name, and of the figures beside a long one, in cells."""
SETTINGS = 3
"""Most settings that get a column each; where more differ, the configurations' names show them."""


def sides_table(
    sides: Sequence[Side], names: Sequence[str], findings: Findings | None, theme: Theme, *, width: int
) -> Table:
    """Return a table with a line a side: the settings in which it differs, and as many figures as fit."""
    differing = settings_that_differ([side.configuration for side in sides])
    if not 1 <= len(differing) <= SETTINGS or (width < NARROW and len(differing) > 1):
        differing = (("configuration" if differing else "run", tuple(names)),)
    room = max(SHORTEST, (width - MARGIN - FIGURES) // len(differing))
    differing = tuple(
        (name, tuple(value if cell_len(value) <= room else words.in_cells(value, room) for value in values))
        for name, values in differing
    )
    table = Table(box=None, pad_edge=False, header_style=dim_of(theme), padding=(0, GAP, 0, 0))
    for name, values in differing:
        table.add_column(f"  {name}" if name == differing[0][0] else name, no_wrap=True)
        width -= max(len(name), *map(cell_len, values)) + GAP
    runs = [run for side in sides for run in side.results]
    logged, known = logged_in(runs), known_in(runs)
    columns = _columns(width - MARGIN, logged, {metric.title for metric in OPTIONAL.values() if metric not in known})
    for name in columns:
        is_number = name != "convergence"
        title = "95 % interval" if name in INTERVALS else name
        table.add_column(title, justify="right" if is_number else "left", no_wrap=True)
    nothing = (None,) * len(sides)
    computed = zip(findings.summaries if findings else nothing, findings.bests if findings else nothing, strict=True)
    for index, (side, (summary, best)) in enumerate(zip(sides, computed, strict=True)):
        color, mark = line_style(index, theme)
        settings = [Text(column[index], "bold") for _, column in differing]
        first = Text.assemble((f"{mark} ", color), settings[0])
        table.add_row(first, *settings[1:], *_cells(side, summary, best, columns, logged, theme))
    return table


def only_difference(sides: Sequence[Side]) -> str:
    """Return the only setting in which sides differ, the seed for runs of one configuration; empty if more differ."""
    configurations = [side.configuration for side in sides]
    differing = [name for name, _ in settings_that_differ(configurations)]
    differing += ["data set"] if len({side.data for side in sides}) > 1 else []
    if len(set(configurations)) == 1 < len(sides) and not differing:
        return "seed"
    names = {some.recorded.name if some.recorded else "" for some in configurations}
    return differing[0] if len(differing) == 1 == len(names) else ""


def figures_of(comparison: Comparison) -> str:
    """Format the interval of a difference, and further figures where no difference is significant."""
    low, high = (words.accuracy(value).replace("-", words.MINUS) for value in comparison.interval)
    interval = f"95 % interval {low} to {high}"
    if comparison.p < LEVEL:
        return interval
    difference = words.accuracy(comparison.difference).replace("-", words.MINUS)
    return f"difference {difference}, {interval}, p = {comparison.p:.2f}"


def _columns(room: int, logged: Sequence[Metric] = (), without: Collection[str] = ()) -> tuple[str, ...]:
    """Return the columns of figures that fit; the most important ones are preferred."""
    widths = {**COLUMNS, **{metric.title: len(metric.title) for metric in logged}}
    shown = set()
    for name in (name for name in dict.fromkeys((*MATTER, *widths)) if name not in without):
        room -= widths[name] + GAP
        if room < 0:
            break
        shown.add(name)
    return tuple(name for name in widths if name in shown)


def _cells(
    side: Side,
    summary: Summary | None,
    best: Summary | None,
    columns: Sequence[str],
    logged: Sequence[Metric],
    theme: Theme,
) -> list[Text | str]:
    done = f"{len(side.results)}/{len(side.runs)}" if len(side.results) < len(side.runs) else f"{len(side.results)}"
    mean, deviation = (summary.mean, summary.deviation) if summary else (None, None)
    moves = str(theme.warning) if side.convergence == "still rising" else dim_of(theme)
    cells: dict[str, Text | str] = {
        **{metric.title: metric.text(side.mean(metric.name)) for metric in (*logged, *OTHERS)},
        "runs": done,
        "test accuracy": spread_text(mean, deviation, theme),
        "interval": _interval(summary),
        "best": words.accuracy(best.mean if best else None),
        "interval of best": _interval(best),
        "train − test": words.accuracy(side.gap, 3).replace("-", words.MINUS),
        "parameters": words.count(side.parameters),
        "a run": words.duration(side.seconds),
        "convergence": Text(side.convergence, moves),
    }
    return [cells[name] for name in columns]


def _interval(summary: Summary | None) -> str:
    return " – ".join(map(words.accuracy, summary.interval)) if summary and summary.interval else "–"
