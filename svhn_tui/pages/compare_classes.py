"""Runs side by side, class by class: their accuracies, and the difference of two confusion matrices. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text
from textual.theme import Theme

from svhn_tui import words
from svhn_tui.themes import dim_of
from svhn_tui.widgets.colors import LineStyle

Confusion = Sequence[Sequence[int]]
"""Test images by true class (rows) and by predicted class (columns)."""
NOTABLE = 0.5
"""Differences below so many percentage points are not printed."""

LARGEST = 20
"""Number of differences that are listed where the matrix does not fit."""
LEGEND = "Predicted more (+) or less (−) often, in % of each true class: + on the diagonal is better."


class Predictions(NamedTuple):
    """A run's predictions for the test images, with the name and style of its side."""

    name: str
    look: LineStyle
    confusion: Confusion


def right_of(confusion: Confusion) -> list[float | None]:
    """Return the recall of each class, 0 to 1; None for a class without images."""
    return [counts[label] / sum(counts) if sum(counts) else None for label, counts in enumerate(confusion)]


def class_page(
    seen: Sequence[Predictions], labels: Sequence[str], theme: Theme, *, pair: int, note: str, width: int
) -> Table:
    """Return both tables with their titles, side by side if they fit.

    Args:
        seen: the runs; the best of them is compared with the others.
        labels: of the classes.
        theme: of the colours.
        pair: counts through the other runs, the second best being 1.
        note: a text below, before the legend of the difference.
        width: in cells.
    """
    dim, page = dim_of(theme), Table.grid(padding=(0, 3, 0, 0))
    if not seen:
        page.add_row(Text("Computing the runs' predictions for the test images…", dim))
        return page
    title = Text("right, by class", "bold")
    left = accuracies_table(seen, labels, theme)
    is_wide = 6 + 4 * len(labels) > width
    if len(seen) == 1:
        for part in (title, left, Text(note, dim)):
            page.add_row(part)
        return page
    ranked = sorted(seen, key=lambda some: -_all_right(some.confusion))
    best, other = ranked[0], ranked[1 + (pair - 1) % (len(seen) - 1)]
    right = largest_differences(other, best, labels, theme) if is_wide else difference_table(other, best, labels, theme)
    legend = Text(f"{note}{LEGEND}", dim)
    columns = sum(max(len(some.name) + 2, 6) + 1 for some in seen) + 13 + 3 + (40 if is_wide else 6 + 4 * len(labels))
    if columns <= width:
        page.add_row(title, difference_title(other, best, theme))
        page.add_row(left, right)
    else:
        for table in (title, left, "", difference_title(other, best, theme), right):
            page.add_row(table)
    whole = Table.grid()
    whole.add_row(page)
    whole.add_row("")
    whole.add_row(legend)
    return whole


def accuracies_table(seen: Sequence[Predictions], labels: Sequence[str], theme: Theme) -> Table:
    """Return a table with a row a class: number of images, and each run's recall in percent, the best in bold."""
    dim = dim_of(theme)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style=dim)
    table.add_column("class", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    for some in seen:
        head = Text.assemble((f"{some.look.mark} ", some.look.color), (some.name, dim))
        table.add_column(head, justify="right", no_wrap=True)
    shares = [right_of(some.confusion) for some in seen]
    for index, label in enumerate(labels):
        row = [share[index] for share in shares]
        top = max((share for share in row if share is not None), default=None)
        cells = [Text(_percent(share), "bold" if share == top else dim) for share in row]
        table.add_row(Text(words.clean(label), "bold"), words.count(sum(seen[0].confusion[index])), *cells)
    images = sum(map(sum, seen[0].confusion))
    table.add_row(
        Text("all", dim), Text(words.count(images), dim),
        *(Text(_percent(_all_right(some.confusion) / images if images else None)) for some in seen),
    )  # fmt: skip
    return table


def difference_table(first: Predictions, other: Predictions, labels: Sequence[str], theme: Theme) -> Table:
    """Return the other run's confusion matrix minus the first one's, in percentage points of each true class."""
    dim = dim_of(theme)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style=dim)
    table.add_column("true", no_wrap=True)
    for label in labels:
        table.add_column(words.clean(label), justify="right", min_width=3, no_wrap=True)
    for true, label in enumerate(labels):
        points = [
            100 * (_share(other.confusion, true, predicted) - _share(first.confusion, true, predicted))
            for predicted in range(len(labels))
        ]
        cells = [_cell(value, theme, is_right=predicted == true) for predicted, value in enumerate(points)]
        table.add_row(Text(words.clean(label), "bold"), *cells)
    return table


def largest_differences(first: Predictions, other: Predictions, labels: Sequence[str], theme: Theme) -> Table:
    """Return the largest entries of that difference, for classes whose columns do not fit."""
    dim = dim_of(theme)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style=dim)
    for head in ("true", "predicted"):
        table.add_column(head)
    table.add_column("%", justify="right")
    points = {
        (true, predicted): 100 * (_share(other.confusion, true, predicted) - _share(first.confusion, true, predicted))
        for true in range(len(labels))
        for predicted in range(len(labels))
    }
    for true, predicted in sorted(points, key=lambda pair: -abs(points[pair]))[:LARGEST]:
        cell = _cell(points[true, predicted], theme, is_right=predicted == true)
        table.add_row(Text(words.clean(labels[true]), "bold"), words.clean(labels[predicted]), cell)
    return table


def difference_title(first: Predictions, other: Predictions, theme: Theme) -> Text:
    """Name the run that is subtracted from, and the one that is subtracted."""
    return Text.assemble(
        (f"{other.look.mark} ", other.look.color), (other.name, "bold"), (" minus ", dim_of(theme)),
        (f"{first.look.mark} ", first.look.color), (first.name, "bold"),
    )  # fmt: skip


def _all_right(confusion: Confusion) -> int:
    return sum(counts[label] for label, counts in enumerate(confusion))


def _share(confusion: Confusion, true: int, predicted: int) -> float:
    images = sum(confusion[true])
    return confusion[true][predicted] / images if images else 0.0


def _cell(points: float, theme: Theme, *, is_right: bool) -> Text:
    if abs(points) < NOTABLE:
        return Text("·", dim_of(theme))
    is_better = (points > 0) == is_right
    color = theme.success if is_better else theme.warning
    return Text(f"{points:+.0f}".replace("-", words.MINUS), f"{'bold ' if is_right else ''}{color}")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
