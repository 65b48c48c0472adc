"""Page 3: the runs that finished or failed: sort, filter, group, select to compare, note, tag, delete, restore."""

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine import protocol as p
from svhn_tui import settings, words
from svhn_tui.analysis.run_table import column_named
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialogs import Confirm, Tick
from svhn_tui.pages.page import Page
from svhn_tui.pages.run_list import RunList
from svhn_tui.pages.run_notes import RunNotes
from svhn_tui.pages.runs_text import detail_of
from svhn_tui.presets import Presets
from svhn_tui.widgets.sheet import Sheet

NARROW, TALL = 100, 30
SORT = Binding.Group("sort")
OF_LINES = {"open", "list", "compare", "delete", "again", "log_page", "look", "note", "filter"}
"""Actions of the list, which are off while a filter is typed."""


class RunsPage(Page):
    """Shows a table with a filter line above and details below."""

    TITLE_IN_BAR = "Runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "whole", "clear", tooltip="clear filter and selection"),
        Binding("enter", "open", "open", tooltip="the run's page; show or hide a configuration's runs"),
        Binding("l", "log_page", "log", tooltip="the log of its training"),
        Binding("i", "look", "images", show=False, tooltip="the run's predictions for the test images"),
        Binding("slash", "filter", "filter", tooltip="filter: activation=relu test_accuracy>0.5 tag:final"),
        Binding("space", "list('select')", "select", tooltip="select the run or the configuration"),
        Binding("c", "compare", "compare", tooltip="compare the selected runs"),
        Binding("g", "list('group')", "group", tooltip="a line a configuration, or a line a run"),
        Binding("o", "list('sort')", "sort by the next column", group=SORT),
        Binding("O", "list('reverse')", "sort in reverse order", group=SORT),
        Binding("R", "again", "train again", tooltip="train a run that failed again"),
        Binding("n", "note(False)", "note", tooltip="note and tags"),
        Binding("d", "delete", "delete", tooltip="move to the trash"),
        Binding("v", "columns", "columns", tooltip="choose the columns"),
        Binding("p", "list('pin')", "pin", tooltip="pin the line at the top, or unpin it"),
        Binding("t", "trash", "trash", tooltip="restore runs from the trash"),
        Binding("E", "note(True)", "edit", tooltip="edit the note in $EDITOR"),
    ]

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self.runs = RunList(self.redraw)
        self._notes = RunNotes(self)

    def body(self) -> ComposeResult:
        """Compose filter, table and details."""
        yield self.runs
        yield Sheet(id="detail")

    def on_mount(self) -> None:
        """Focus the table."""
        self.runs.grid.focus()
        super().on_mount()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the actions of the line under the cursor."""
        if not self.is_mounted:
            return True
        line, runs = self.runs.line, self.runs
        if action == "whole":
            return bool(runs.filter.value or runs.selected) or runs.filter.is_open
        if runs.filter.has_focus and action in OF_LINES:
            return False
        match (action, *parameters):
            case ("note", _) | ("look",):
                return runs.finished_run is not None
            case ("log_page",):
                return runs.run_id is not None
            case ("again",):
                return line is not None and line.failed is not None
            case ("compare",) if runs.selected:
                return bool(runs.table.lines)
            case ("list", "select" | "pin") | ("compare",) | ("delete",):
                return line is not None and line.failed is None
            case ("list", _) | ("open",):
                return bool(runs.table.lines)
        return super().check_action(action, parameters)

    # --- what is listed ----------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Focus the filter line."""
        self.runs.filter.open()

    def action_whole(self) -> None:
        """Show all runs again, none selected."""
        self.runs.clear()

    def action_list(self, verb: str) -> None:
        """Sort, group, select or pin."""
        self.runs.do(verb)

    def action_open(self) -> None:
        """Show or hide the runs of a configuration; open a run's page."""
        if (run_id := self.runs.run_id) is not None:
            self.post_message(self.Visit("Run", run_id))
        else:
            self.runs.do("open")

    @work
    async def action_columns(self) -> None:
        """Choose the columns, and store the choice."""
        listing = self.runs.listing
        names = listing.choices(self.state.results.values())
        ticked = [index for index, name in enumerate(names) if name in listing.shown]
        chosen = await self.app.push_screen_wait(Tick("Columns", [column_named(name).title for name in names], ticked))
        if not chosen:
            return
        listing = self.runs.listing = listing.with_columns(tuple(names[index] for index in chosen))
        self.redraw()
        try:
            settings.save(columns=listing.columns, group_columns=listing.group_columns)
        except OSError as error:
            self.notify(f"The columns are not remembered: {words.clean(str(error))}.", severity="warning", markup=False)

    # --- what is done with runs --------------------------------------------------------------------------------------

    def action_log_page(self) -> None:
        """Show the run's log."""
        if (run_id := self.runs.run_id) is not None:
            self.post_message(self.Visit("Log", run_id))

    def action_look(self) -> None:
        """Open the Data page with the run's predictions."""
        if (run_id := self.runs.finished_run) is not None:
            self.post_message(self.Visit("Data", run_id))

    def action_note(self, in_editor: bool) -> None:
        """Edit the run's note and tags, or the note in the user's own editor."""
        if (run_id := self.runs.finished_run) is not None:
            self._notes.edit(run_id, in_editor=in_editor)

    def action_again(self) -> None:
        """Train a run that failed again."""
        if self.runs.run_id is not None:
            self.request(p.Resume(runs=(self.runs.run_id,)))
            self.notify("It waits to be trained again; 2 shows it.")

    def action_compare(self) -> None:
        """Open the Compare page with the selected runs."""
        self.post_message(self.Visit("Compare", *self.runs.meant))

    @work
    async def action_delete(self) -> None:
        """Move the selected runs to the trash, after a confirmation."""
        runs = self.runs.meant
        if not runs:
            return
        label = self.state.results[runs[0]].spec.configuration.label
        what = f"{label} ({runs[0]})" if len(runs) == 1 else words.plural(len(runs), "run")
        if await self.app.push_screen_wait(Confirm(f"Move {what} to the trash? t shows the trash and brings it back.")):
            self.runs.selected = {}
            self.request(p.Delete(runs=runs))

    def action_trash(self) -> None:
        """Request the content of the trash; the app shows it when the host has answered."""
        self.request(p.ReadTrash())

    # --- drawing -----------------------------------------------------------------------------------------------------

    def on_grid_moved(self) -> None:
        """Show the chosen line's details, and the keys that apply to it."""
        self._show_detail(self.state)
        self.refresh_bindings()

    def show(self, state: State) -> None:
        """Draw the table if its content changed."""
        self._notes.settle()
        self.set_class(self.size.width < NARROW, "narrow")
        if self.runs.show(state):
            self._show_detail(state)

    def _show_detail(self, state: State) -> None:
        line, detail = self.runs.line, self.query_one("#detail", Sheet)
        detail.display = line is not None
        if line is not None:
            detail.update(detail_of(line, state, self.app.current_theme, is_short=self.size.height < TALL))
