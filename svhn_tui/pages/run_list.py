"""The list of runs with its filter, order and selection."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from engine.protocol import RunResult
from svhn_tui import settings, words
from svhn_tui.analysis.run_filter import FAILED, FilterError, completions, matching
from svhn_tui.analysis.run_table import (
    COLUMNS,
    GROUPED,
    OF_GROUPS,
    SHOWN,
    RunLine,
    SortOrder,
    Table,
    cells_of,
    column_named,
    columns_logged_in,
    columns_of,
    failed_of,
    index_of,
    lines_of,
)
from svhn_tui.client.state import State
from svhn_tui.pages.runs_text import count_of, heads_of
from svhn_tui.themes import dim_of
from svhn_tui.widgets.filter_line import FilterLine
from svhn_tui.widgets.run_grid import Grid
from svhn_tui.widgets.sheet import Sheet

HINTS = 6
"""Most completions that are shown."""


class Listing(msgspec.Struct, frozen=True):
    """How runs are listed: columns, order, groups."""

    columns: tuple[str, ...]
    """Columns where a line is a run."""
    group_columns: tuple[str, ...]
    order: SortOrder = SortOrder()
    grouped: bool = False
    """Whether a line is a configuration, and not a run."""
    opened: frozenset[str] = frozenset()
    """Keys of the configurations whose runs are listed below them."""
    pinned: frozenset[str] = frozenset()
    """Keys of the lines that are listed first."""

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns of the current kind of line."""
        return self.group_columns if self.grouped else self.columns

    def choices(self, results: Iterable[RunResult]) -> list[str]:
        """Return all columns that can be chosen for these runs."""
        return [name for name in (*COLUMNS, *columns_logged_in(results)) if self.grouped or name not in OF_GROUPS]

    def with_columns(self, columns: tuple[str, ...]) -> "Listing":
        """Return a listing with these columns."""
        changed = {"group_columns" if self.grouped else "columns": columns}
        return msgspec.structs.replace(self, **changed)

    def sorted_by(self, column: str) -> "Listing":
        """Return a listing sorted by this column, the best or latest first."""
        order = SortOrder(column, descending=column_named(column).descends or column == "finished")
        return msgspec.structs.replace(self, order=order)

    def sorted_by_next(self, columns: Sequence[str]) -> "Listing":
        """Return a listing sorted by the next of the shown columns."""
        current = self.order.column
        index = columns.index(current) + 1 if current in columns else 0
        return self.sorted_by(columns[index % len(columns)])

    def reversed(self) -> "Listing":
        """Return a listing in reverse order."""
        return msgspec.structs.replace(self, order=SortOrder(self.order.column, not self.order.descending))


class RunList(Vertical):
    """Shows a filter line, a summary of what is listed, and the table of runs."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Call `changed` when the list has to be drawn because other runs are listed, selected or opened."""
        super().__init__(id="table")
        self.listing = remembered_listing()
        self.selected: dict[str, None] = {}
        """Ids of selected runs, in the order of their selection."""
        self.filter = FilterLine(self._candidates, id="filter")
        self.grid = Grid()
        self.table = Table()
        """The lines as they were drawn last."""
        self._changed = changed
        self._hints: tuple[str, ...] = ()
        self._wrong = ""
        """The filter's error; the list is unchanged until the filter is valid."""
        self._state = State()
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Compose filter, summary and table."""
        yield self.filter
        yield Sheet(id="listed")
        yield self.grid

    def _candidates(self, text: str) -> tuple[str, ...]:
        return completions(text, self._state.results.values(), self._state.notes.values())

    @property
    def line(self) -> RunLine | None:
        """The line under the cursor."""
        index = self.grid.cursor
        return self.table.lines[index] if 0 <= index < len(self.table.lines) else None

    @property
    def run_id(self) -> str | None:
        """The run under the cursor, finished or failed."""
        line = self.line
        if line is None or line.is_group:
            return None
        return line.failed.spec.run_id if line.failed is not None else line.runs[0].run_id

    @property
    def finished_run(self) -> str | None:
        """The run under the cursor, if it is finished."""
        line = self.line
        return line.runs[0].run_id if line is not None and line.runs and not line.is_group else None

    @property
    def meant(self) -> tuple[str, ...]:
        """The selected runs that still exist, or else those under the cursor."""
        line = self.line
        chosen = [run_id for run_id in self.selected if run_id in self._state.results]
        return tuple(chosen or ([run.run_id for run in line.runs] if line is not None else []))

    # --- what is listed ----------------------------------------------------------------------------------------------

    def do(self, verb: str) -> None:
        """Carry out the action of a key."""
        line, listing = self.line, self.listing
        match verb:
            case "sort":
                self.listing = listing.sorted_by_next(self.table.columns or listing.shown)
            case "reverse":
                self.listing = listing.reversed()
            case "group":
                self.listing = msgspec.structs.replace(listing, grouped=not listing.grouped)
            case "open" if line is not None:
                self.listing = msgspec.structs.replace(listing, opened=listing.opened ^ {line.key})
            case "pin" if line is not None and not line.is_inside:
                self.listing = msgspec.structs.replace(listing, pinned=listing.pinned ^ {line.key})
            case "select" if line is not None:
                self._select(line)
            case _:
                return
        self._changed()

    def _select(self, line: RunLine) -> None:
        """Select or deselect the runs of a line, and move to the next one."""
        runs = [run.run_id for run in line.runs]
        if all(run_id in self.selected for run_id in runs):
            self.selected = {run_id: None for run_id in self.selected if run_id not in runs}
        else:
            self.selected |= dict.fromkeys(runs)
        self.grid.action_move(1)

    def clear(self) -> None:
        """List all runs again, none selected."""
        self.filter.close()
        self.selected = {}
        self.grid.focus()
        self._changed()

    def on_input_changed(self) -> None:
        """Filter while the user types."""
        self._changed()

    def on_input_submitted(self) -> None:
        """Focus the table; the filter stays."""
        self.grid.focus()

    def on_descendant_focus(self) -> None:
        """Apply the filter when the focus leaves it."""
        self._changed()

    def on_grid_head_clicked(self, message: Grid.HeadClicked) -> None:
        """Sort by a column that was clicked; after a second click in reverse."""
        column = self.table.columns[message.index]
        is_same = column == self.listing.order.column
        self.listing = self.listing.reversed() if is_same else self.listing.sorted_by(column)
        self._changed()

    def on_grid_moved(self) -> None:
        """Show how many columns do not fit now."""
        self._show_count()

    # --- drawing -----------------------------------------------------------------------------------------------------

    def show(self, state: State) -> bool:
        """Draw the list if something in it changed; return whether it was drawn."""
        before, self._state = self._state, state
        hints = self._hints = self.filter.hints
        typed = self.filter.settled(hints)
        failed = failed_of(state) if typed in ("", FAILED) else ()
        same = state.results is before.results and state.notes is before.notes
        drawn = (typed, hints, self.listing, tuple(line.key for line in failed), tuple(self.selected),
                 self.app.theme, self.screen.size)  # fmt: skip
        if same and drawn == self._drawn:
            return False
        self._drawn = drawn
        try:
            runs = matching(typed, state.results, state.notes)
        except FilterError as error:
            self._wrong = f"✗ {error}"
            self._show_count()
            return False
        self._wrong = ""
        listing, cursor = self.listing, self.line
        listed = lines_of(runs, listing.order, grouped=listing.grouped, opened=listing.opened, pinned=listing.pinned)
        lines = failed + listed
        first = self.grid.cursor if cursor is not None or not listed else len(failed)
        index = index_of(cursor.key, lines, near=first) if cursor is not None else first
        columns = columns_of(listing.shown, state.results.values())
        self.table = Table(lines, columns, len(runs), len(failed))
        self.grid.show(heads_of(lines, columns, listing.order, self.grid.size.width), len(lines), self.cells, index)
        self._show_count()
        return True

    def cells(self, index: int) -> tuple[str, Sequence[str]]:
        """Return the marks and the cells of a line."""
        line = self.table.lines[index]
        if line.failed is not None:
            return "✗ ", cells_of(line, self.table.columns)
        chosen = "●" if all(run.run_id in self.selected for run in line.runs) else " "
        opened = ("▾" if line.key in self.listing.opened else "▸") if line.is_group else " "
        sign = "◆" if line.key in self.listing.pinned and chosen == " " else chosen
        return f"{sign}{opened}", cells_of(line, self.table.columns)

    def _show_count(self) -> None:
        theme, table = self.app.current_theme, self.table
        selected, hidden = len(self.selected), self.grid.hidden
        text = self._wrong or count_of(table, selected, self._state, grouped=self.listing.grouped)
        if self._hints:
            text += f"   tab: {words.clean('  '.join(self._hints[:HINTS]))}"
        elif hidden and table.runs and not self._wrong:
            text += f"   → {words.plural(hidden, 'more column')}"
        self.query_one("#listed", Sheet).update(Text(text, str(theme.error) if self._wrong else dim_of(theme)))


def remembered_listing() -> Listing:
    """Return the columns that the user chose before."""
    liked = settings.load()
    return Listing(liked.columns or SHOWN, liked.group_columns or GROUPED)
