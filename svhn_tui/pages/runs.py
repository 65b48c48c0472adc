"""Page 3: every run that finished or failed: sort, filter, group, select to compare, note, tag, delete, bring back."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from engine import protocol as p
from svhn_tui import settings, words
from svhn_tui.analysis.run_filter import FAILED, FilterError, completions, parse
from svhn_tui.analysis.run_table import (
    COLUMNS,
    GROUPED,
    OF_GROUPS,
    SHOWN,
    Line,
    Order,
    Table,
    cells_of,
    failed_of,
    lines_of,
    with_data,
)
from svhn_tui.client.drafts import SentNotes
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialogs import Confirm, Tick
from svhn_tui.dialogs.noting import note_in_box, note_in_editor
from svhn_tui.pages.page import Page
from svhn_tui.pages.runs_text import count_of, detail_of, heads_of
from svhn_tui.presets import Presets
from svhn_tui.themes import dim_of
from svhn_tui.widgets.filter_line import FilterLine
from svhn_tui.widgets.run_grid import Grid
from svhn_tui.widgets.sheet import Sheet

NARROW, TALL = 100, 30
HINTS = 6
"""Completions that are shown."""
SORT = Binding.Group("sort")
OF_LINES = {
    "open",
    "select",
    "compare",
    "delete",
    "pin",
    "order",
    "again",
    "log_page",
    "look",
    "reverse",
    "group",
    "annotate",
    "edit",
    "filter",
}
"""What is done in the list, and not while a filter is typed."""


class RunsPage(Page):
    """A table with a filter line above and details below."""

    TITLE_IN_BAR = "Runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "whole", "clear", tooltip="clear filter and selection"),
        Binding("enter", "open", "open", tooltip="the run's page; show or hide a configuration's runs"),
        Binding("l", "log_page", "log", tooltip="what was printed while it trained"),
        Binding("i", "look", "images", show=False, tooltip="what the run says of the test images"),
        Binding("slash", "filter", "filter", tooltip="filter: activation=relu test_accuracy>0.5 tag:final"),
        Binding("space", "select", "select", tooltip="select the run or the configuration"),
        Binding("c", "compare", "compare", tooltip="compare what is selected"),
        Binding("g", "group", "group", tooltip="a line a configuration, or a line a run"),
        Binding("o", "order", "sort by the next column", group=SORT),
        Binding("O", "reverse", "sort the other way round", group=SORT),
        Binding("R", "again", "train again", tooltip="train a run that failed again"),
        Binding("n", "annotate", "note", tooltip="note and tags"),
        Binding("d", "delete", "delete", tooltip="move to the trash"),
        Binding("v", "columns", "columns", tooltip="choose the columns"),
        Binding("p", "pin", "pin", tooltip="keep the line on top, or let it go"),
        Binding("t", "trash", "trash", tooltip="bring back from the trash"),
        Binding("E", "edit", "edit", tooltip="the note in $EDITOR"),
    ]

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._order = Order()
        self._columns = remembered_columns()
        self._grouped = False
        self._opened: frozenset[str] = frozenset()
        self._pinned: frozenset[str] = frozenset()
        self._selected: dict[str, None] = {}
        self._table = Table()
        self._hints: tuple[str, ...] = ()
        self._sent_notes = SentNotes()
        self._wrong = ""
        """What is wrong with the filter; the list stays as it was until it is right."""
        self._kept = State()  # keeps alive what `_seen` names
        self._seen: tuple[object, ...] = ()

    def body(self) -> ComposeResult:
        """Filter, table, details."""
        with Vertical(id="table"):
            yield FilterLine(self._candidates, id="filter")
            yield Sheet(id="said")
            yield Grid()
        yield Sheet(id="detail")

    def on_mount(self) -> None:
        """Begin in the table."""
        self.query_one(Grid).focus()
        super().on_mount()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what can be done with the line under the cursor."""
        if not self.is_mounted:
            return True
        if action == "whole":
            return bool(self.filter.value or self._selected) or self.filter.is_open
        if self.filter.has_focus:
            return action not in OF_LINES and super().check_action(action, parameters)
        match action:
            case "annotate" | "edit" | "look":
                return self._note is not None
            case "log_page":
                return self._chosen_run is not None
            case "again":
                return (line := self._line()) is not None and line.failed is not None
            case "select" | "compare" | "delete" | "pin" if not (self._selected and action == "compare"):
                return (line := self._line()) is not None and line.failed is None
            case "open" | "compare" | "order" | "reverse" | "group":
                return bool(self._table.lines)
        return super().check_action(action, parameters)

    @property
    def filter(self) -> FilterLine:
        """The line for the filter."""
        return self.query_one(FilterLine)

    @property
    def _note(self) -> p.Note | None:
        """The note on the run under the cursor, if it is one."""
        line = self._line()
        run = line.runs[0] if line is not None and not line.is_group and line.runs else None
        return self.state.notes.get(run.run_id, p.Note(run.run_id)) if run is not None else None

    # --- what is listed ----------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type a filter."""
        self.filter.open()

    def on_input_changed(self) -> None:
        """Filter as one types."""
        self.redraw()

    def on_input_submitted(self) -> None:
        """Go to the table, the filter staying."""
        self.query_one(Grid).focus()

    def on_descendant_focus(self) -> None:
        """Take what was typed as it stands once the filter is left."""
        self.redraw()

    def action_whole(self) -> None:
        """Show all runs again, none selected."""
        self.filter.close()
        self._selected = {}
        self.query_one(Grid).focus()
        self.redraw()

    def action_order(self) -> None:
        """Sort by the next column."""
        columns = self._shown
        place = columns.index(self._order.column) + 1 if self._order.column in columns else 0
        self._sort_by(columns[place % len(columns)])

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._order = Order(self._order.column, not self._order.descending)
        self.redraw()

    def on_grid_head_clicked(self, message: Grid.HeadClicked) -> None:
        """Sort by a column that was clicked; again, the other way round."""
        column = self._table.columns[message.place]
        if column == self._order.column:
            self.action_reverse()
        else:
            self._sort_by(column)

    def _sort_by(self, column: str) -> None:
        self._order = Order(column, descending=COLUMNS[column].descends or column == "finished")
        self.redraw()

    def action_group(self) -> None:
        """A line a configuration, or a line a run."""
        self._grouped = not self._grouped
        self.redraw()

    def action_open(self) -> None:
        """Show or hide the runs of a configuration; open a run's page."""
        line, run_id = self._line(), self._chosen_run
        if run_id is not None:
            self.post_message(self.Visit("Run", run_id))
        elif line is not None:
            self._opened ^= {line.key}
            self.redraw()

    @property
    def _chosen_run(self) -> str | None:
        """The run under the cursor, finished or failed."""
        line = self._line()
        if line is None or line.is_group:
            return None
        return line.failed.spec.run_id if line.failed is not None else line.runs[0].run_id

    def action_log_page(self) -> None:
        """Show what was printed while the run trained."""
        if (run_id := self._chosen_run) is not None:
            self.post_message(self.Visit("Log", run_id))

    def action_look(self) -> None:
        """Look at what the run says of the test images."""
        if (note := self._note) is not None:
            self.post_message(self.LookWanted(note.run_id))

    def action_pin(self) -> None:
        """Keep a line on top, or let it go."""
        line = self._line()
        if line is not None and not line.is_inside:
            self._pinned ^= {line.key}
            self.redraw()

    @work
    async def action_columns(self) -> None:
        """Choose the columns, and remember them."""
        names = [name for name in COLUMNS if self._grouped or name not in OF_GROUPS]
        ticked = [place for place, name in enumerate(names) if name in self._columns[self._grouped]]
        chosen = await self.app.push_screen_wait(Tick("Columns", [COLUMNS[name].title for name in names], ticked))
        if not chosen:
            return
        found = tuple(names[place] for place in chosen)
        self._columns = (self._columns[0], found) if self._grouped else (found, self._columns[1])
        self.redraw()
        try:
            settings.keep(columns=self._columns[0], group_columns=self._columns[1])
        except OSError as error:
            self.notify(f"The columns are not remembered: {words.clean(str(error))}.", severity="warning", markup=False)

    # --- what is done with runs --------------------------------------------------------------------------------------

    def action_select(self) -> None:
        """Select the run or the whole configuration, and go on to the next line."""
        line = self._line()
        if line is None:
            return
        runs = [run.run_id for run in line.runs]
        if all(run_id in self._selected for run_id in runs):
            self._selected = {run_id: None for run_id in self._selected if run_id not in runs}
        else:
            self._selected |= dict.fromkeys(runs)
        self.query_one(Grid).action_move(1)
        self.redraw()

    def action_again(self) -> None:
        """Train a run that failed again."""
        line = self._line()
        if line is not None and line.failed is not None:
            self.want(p.Resume(runs=(line.failed.spec.run_id,)))
            self.notify("It waits to be trained again; 2 shows it.")

    def action_compare(self) -> None:
        """Open the Compare page with what is selected."""
        self.post_message(self.ComparisonWanted(self._meant()))

    @work
    async def action_annotate(self) -> None:
        """Write a note and tags on the run."""
        if (note := self._note) is not None:
            self._keep_note(await note_in_box(self.app, note))

    def action_edit(self) -> None:
        """Write the note in the user's own editor."""
        if (note := self._note) is not None:
            self._keep_note(note_in_editor(self.app, note))

    def _keep_note(self, note: p.Annotate | None) -> None:
        if note is not None:
            self._sent_notes.add(note)
            self.want(note)

    @work
    async def action_delete(self) -> None:
        """Move what is selected to the trash, after a question."""
        runs = self._meant()
        if not runs:
            return
        label = self.state.results[runs[0]].spec.configuration.label
        what = f"{label} ({runs[0]})" if len(runs) == 1 else words.plural(len(runs), "run")
        if await self.app.push_screen_wait(Confirm(f"Move {what} to the trash? t shows the trash and brings it back.")):
            self._selected = {}
            self.want(p.Delete(runs=runs))

    def action_trash(self) -> None:
        """Ask for what lies in the trash; the app shows it when it is known."""
        self.want(p.ReadTrash())

    # --- drawing -----------------------------------------------------------------------------------------------------

    def on_grid_moved(self) -> None:
        """Show the chosen line's details, and the keys that go with it."""
        self._show_detail(self.state)
        self._say_what(self.state)
        self.refresh_bindings()

    def show(self, state: State) -> None:
        """Draw the table if what it lists changed."""
        self._sent_notes.settle(state.notes)
        self.set_class(self.size.width < NARROW, "narrow")
        hints = self._hints = self.filter.hints
        typed = self.filter.settled(hints)
        mine = (typed, hints, self._order, self._shown, self._grouped, self._opened, self._pinned)
        failed = failed_of(state) if typed in ("", FAILED) else ()
        drawn = (
            id(state.results),
            id(state.notes),
            tuple(line.key for line in failed),
            mine,
            tuple(self._selected),
            self.app.theme,
            self.size,
        )
        if self._seen == drawn:
            return
        self._kept, self._seen = state, drawn
        try:
            test = parse(typed)
        except FilterError as error:
            self._wrong = f"✗ {error}"
            self._say_what(state)
            return
        self._wrong = ""
        grid, cursor = self.query_one(Grid), self._line()
        found = [run for run_id, run in state.results.items() if test(run, state.notes.get(run_id))]
        listed = lines_of(found, self._order, grouped=self._grouped, opened=self._opened, pinned=self._pinned)
        lines = failed + listed
        keys = [line.key for line in lines]
        first = grid.cursor if cursor is not None or not listed else len(failed)
        place = keys.index(cursor.key) if cursor is not None and cursor.key in keys else first
        self._table = Table(lines, self._shown, len(found))
        grid.show(heads_of(lines, self._shown, self._order), len(lines), self._cells, place)
        self._say_what(state)
        self._show_detail(state)

    @property
    def _shown(self) -> tuple[str, ...]:
        """The columns that were chosen for what is listed."""
        return with_data(self._columns[self._grouped], self.state.results.values())

    def _cells(self, place: int) -> tuple[str, Sequence[str]]:
        line = self._table.lines[place]
        if line.failed is not None:
            return "✗ ", cells_of(line, self._table.columns)
        chosen = "●" if all(run.run_id in self._selected for run in line.runs) else " "
        opened = ("▾" if line.key in self._opened else "▸") if line.is_group else " "
        sign = "◆" if line.key in self._pinned and chosen == " " else chosen
        return f"{sign}{opened}", cells_of(line, self._table.columns)

    def _candidates(self, text: str) -> tuple[str, ...]:
        return completions(text, self.state.results.values(), self.state.notes.values())

    def _say_what(self, state: State) -> None:
        theme, table = self.app.current_theme, self._table
        told = self._wrong or count_of(table.lines, table.runs, len(self._selected), state, grouped=self._grouped)
        hidden = self.query_one(Grid).hidden
        if self._hints:
            told += f"   tab: {words.clean('  '.join(self._hints[:HINTS]))}"
        elif hidden and table.runs and not self._wrong:
            told += f"   → {words.plural(hidden, 'more column')}"
        self.query_one("#said", Sheet).update(Text(told, str(theme.error) if self._wrong else dim_of(theme)))

    def _line(self) -> Line | None:
        place = self.query_one(Grid).cursor
        return self._table.lines[place] if 0 <= place < len(self._table.lines) else None

    def _meant(self) -> tuple[str, ...]:
        """Return the selected runs that are there, or else those under the cursor."""
        line = self._line()
        chosen = [run_id for run_id in self._selected if run_id in self.state.results]
        return tuple(chosen or ([run.run_id for run in line.runs] if line is not None else []))

    def _show_detail(self, state: State) -> None:
        line, detail = self._line(), self.query_one("#detail", Sheet)
        is_short = self.size.height < TALL
        detail.display = line is not None
        if line is not None:
            detail.update(detail_of(line, state, self.app.current_theme, is_short=is_short))


def remembered_columns() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of runs and of configurations that the user chose before, as far as there are such."""
    liked = settings.load()
    runs, groups = (tuple(name for name in names if name in COLUMNS) for names in (liked.columns, liked.group_columns))
    return runs or SHOWN, groups or GROUPED
