"""Page 3: every finished run: sort, filter, group, select to compare, note, tag, delete and bring back."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from engine import protocol as p
from svhn_tui import words
from svhn_tui.presets import Presets
from svhn_tui.runfilter import FilterError, completed, completions, parse
from svhn_tui.runlist import COLUMNS, SHOWN, Line, Order, cells_of, lines_of
from svhn_tui.screens.dialogs import Annotation, Confirm, Tick
from svhn_tui.screens.page import Page
from svhn_tui.state import State
from svhn_tui.themes import dim_of
from svhn_tui.widgets.grid import Grid

WIDEST = 40
MEASURED = 200
"""Lines that the widths of columns are taken from."""


class RunsPage(Page):
    """A table with a filter line above and details below."""

    TITLE_IN_BAR = "Runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter"),
        Binding("tab", "complete", "complete", show=False, priority=True),
        Binding("o", "order", "order"),
        Binding("O", "reverse", "reverse order", show=False),
        Binding("g", "group", "group"),
        Binding("enter", "open", "open or close", show=False),
        Binding("space", "select", "select"),
        Binding("c", "compare", "compare"),
        Binding("p", "pin", "pin", show=False),
        Binding("n", "annotate", "note"),
        Binding("E", "edit", "note in $EDITOR", show=False),
        Binding("v", "columns", "columns", show=False),
        Binding("d", "delete", "delete"),
        Binding("t", "trash", "trash", show=False),
        Binding("escape", "whole", "clear filter and selection", show=False),
    ]

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._filter = ""
        self._order = Order()
        self._columns: tuple[str, ...] = SHOWN
        self._grouped = False
        self._opened: frozenset[str] = frozenset()
        self._pinned: frozenset[str] = frozenset()
        self._selected: dict[str, None] = {}
        self._lines: tuple[Line, ...] = ()
        self._kept = State()  # keeps alive what `_seen` names
        self._seen: tuple[object, ...] = ()

    def body(self) -> ComposeResult:
        """Filter, table, details."""
        with Vertical(id="table"):
            yield Input(placeholder="activation=relu hidden=256 test_accuracy>0.5 tag:final", id="filter")
            yield Static(id="said")
            yield Grid()
        yield Static(id="detail")

    def on_mount(self) -> None:
        """Begin in the table."""
        self.query_one(Grid).focus()
        super().on_mount()

    # --- what is listed ----------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type a filter."""
        line = self.query_one("#filter", Input)
        line.add_class("shown")
        line.focus()

    def action_complete(self) -> None:
        """Complete the word that is being typed, or go from filter to table."""
        line = self.query_one("#filter", Input)
        if line.has_focus and (longer := completed(line.value)) != line.value:
            line.value = longer
            line.cursor_position = len(longer)
        else:
            self.query_one(Grid).focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter as one types."""
        self._filter = message.value
        self.redraw()

    def on_input_submitted(self) -> None:
        """Go to the table, the filter staying."""
        self.query_one(Grid).focus()

    def action_whole(self) -> None:
        """Show all runs again, none selected."""
        line = self.query_one("#filter", Input)
        line.value = ""
        line.remove_class("shown")
        self._selected = {}
        self.query_one(Grid).focus()
        self.redraw()

    def action_order(self) -> None:
        """Sort by the next column."""
        place = self._columns.index(self._order.column) + 1 if self._order.column in self._columns else 0
        self._sort_by(self._columns[place % len(self._columns)])

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._order = Order(self._order.column, not self._order.descending)
        self.redraw()

    def on_grid_head_clicked(self, message: Grid.HeadClicked) -> None:
        """Sort by a column that was clicked; again, the other way round."""
        column = self._columns[message.place]
        if column == self._order.column:
            self.action_reverse()
        else:
            self._sort_by(column)

    def _sort_by(self, column: str) -> None:
        self._order = Order(column, descending=COLUMNS[column].is_number or column == "finished")
        self.redraw()

    def action_group(self) -> None:
        """A line a configuration, or a line a run."""
        self._grouped = not self._grouped
        self.redraw()

    def action_open(self) -> None:
        """Show or hide the runs of a configuration."""
        line = self._line()
        if line is not None and line.is_group:
            self._opened ^= {line.key}
            self.redraw()

    def action_pin(self) -> None:
        """Keep a line on top, or let it go."""
        line = self._line()
        if line is not None and not line.is_inside:
            self._pinned ^= {line.key}
            self.redraw()

    @work
    async def action_columns(self) -> None:
        """Choose the columns."""
        names = list(COLUMNS)
        ticked = [place for place, name in enumerate(names) if name in self._columns]
        chosen = await self.app.push_screen_wait(Tick("Columns", [COLUMNS[name].title for name in names], ticked))
        if chosen:
            self._columns = tuple(names[place] for place in chosen)
            self.redraw()

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

    def action_compare(self) -> None:
        """Open the Compare page with what is selected."""
        self.post_message(self.ComparisonWanted(self._meant()))

    @work
    async def action_annotate(self) -> None:
        """Write a note and tags on the run."""
        run = self._run()
        if run is None:
            return
        known = self.state.notes.get(run.run_id, p.Note(run.run_id))
        found = await self.app.push_screen_wait(Annotation(known.text, known.tags))
        if found is not None:
            self.want(p.Annotate(run_id=run.run_id, text=found[0], tags=found[1]))

    def action_edit(self) -> None:
        """Write the note in the user's own editor."""
        from svhn_tui.editor import EditorError, edited

        run = self._run()
        if run is None:
            return
        known = self.state.notes.get(run.run_id, p.Note(run.run_id))
        try:
            with self.app.suspend():
                text = edited(known.text)
        except EditorError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        if text != known.text:
            self.want(p.Annotate(run_id=run.run_id, text=text, tags=known.tags))
        self.app.refresh()

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
        """Show the chosen run's details."""
        self._show_detail(self.state)

    def show(self, state: State) -> None:
        """Draw the table if what it lists changed."""
        self.set_class(self.size.width < 100, "narrow")
        mine = (
            self._filter,
            self._order,
            self._columns,
            self._grouped,
            self._opened,
            self._pinned,
            tuple(self._selected),
        )
        if self._seen == (id(state.results), id(state.notes), mine):
            return
        self._kept, self._seen = state, (id(state.results), id(state.notes), mine)
        try:
            test = parse(self._filter)
        except FilterError as error:
            self._say(str(error), is_wrong=True)
            return
        grid, cursor = self.query_one(Grid), self._line()
        found = [run for run in state.results.values() if test(run, state.notes.get(run.run_id))]
        self._lines = lines_of(found, self._order, grouped=self._grouped, opened=self._opened, pinned=self._pinned)
        keys = [line.key for line in self._lines]
        place = keys.index(cursor.key) if cursor is not None and cursor.key in keys else grid.cursor
        grid.show(self._heads(), len(self._lines), self._cells, place)
        self._say_what(len(found), state)
        self._show_detail(state)

    def _heads(self) -> list[tuple[str, int, bool]]:
        """Return the columns with the widths that their first lines need."""
        texts = [cells_of(line, self._columns) for line in self._lines[:MEASURED]]
        heads = []
        for place, name in enumerate(self._columns):
            column = COLUMNS[name]
            sign = (" ↓" if self._order.descending else " ↑") if name == self._order.column else ""
            width = max([len(column.title) + 2, *(len(cells[place]) for cells in texts)])
            heads.append((column.title + sign, min(width, WIDEST), column.is_number))
        return heads

    def _cells(self, place: int) -> tuple[str, Sequence[str]]:
        line = self._lines[place]
        chosen = "●" if all(run.run_id in self._selected for run in line.runs) else " "
        opened = ("▾" if line.key in self._opened else "▸") if line.is_group else " "
        sign = "◆" if line.key in self._pinned and chosen == " " else chosen
        return f"{sign}{opened}", cells_of(line, self._columns)

    def _say_what(self, count: int, state: State) -> None:
        if not state.results:
            self._say("No run is finished yet: 1 opens the questions, enter there trains.")
            return
        told = f"{words.count(count)} of {words.plural(len(state.results), 'run')}"
        told += (
            f" in {words.plural(sum(line.is_group for line in self._lines), 'configuration')}" if self._grouped else ""
        )
        told += f", {len(self._selected)} selected" if self._selected else ""
        hints = completions(self._filter)
        self._say(told + (f"   tab: {'  '.join(hints[:6])}" if hints else ""))

    def _say(self, sentence: str, *, is_wrong: bool = False) -> None:
        theme = self.app.current_theme
        style = str(theme.error) if is_wrong else dim_of(theme)
        self.query_one("#said", Static).update(Text(sentence, style, no_wrap=True, overflow="ellipsis"))

    def _line(self) -> Line | None:
        place = self.query_one(Grid).cursor
        return self._lines[place] if 0 <= place < len(self._lines) else None

    def _run(self) -> p.RunResult | None:
        line = self._line()
        return line.runs[0] if line is not None and not line.is_group else None

    def _meant(self) -> tuple[str, ...]:
        """Return the selected runs that are there, or else those under the cursor."""
        line = self._line()
        chosen = [run_id for run_id in self._selected if run_id in self.state.results]
        return tuple(chosen or ([run.run_id for run in line.runs] if line is not None else []))

    def _show_detail(self, state: State) -> None:
        line, theme = self._line(), self.app.current_theme
        detail = self.query_one("#detail", Static)
        if line is None:
            detail.update("")
        elif line.is_group:
            told = f"{words.plural(len(line.runs), 'run')}: seeds {', '.join(str(run.spec.seed) for run in line.runs)}"
            said = "enter shows them · space selects them · c compares"
            detail.update(
                Text.assemble((line.runs[0].spec.configuration.label, "bold"), f"\n{told}\n", (said, dim_of(theme)))
            )
        else:
            detail.update(self._about(line.runs[0], state))

    def _about(self, run: p.RunResult, state: State) -> Text:
        dim, note = dim_of(self.app.current_theme), state.notes.get(run.run_id)
        best = f"best {words.accuracy(run.best_test_accuracy)} at epoch {run.best_epoch}"
        counted = f"{words.count(run.test_correct)} of {words.count(run.test_images)} images right"
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        file = f"{state.workspace}/runs/{run.run_id}/model.keras  {words.size(run.model_bytes)}"
        text = Text.assemble(
            (run.spec.configuration.label, "bold"),
            f", seed {run.spec.seed}: {counted}, {best}\n",
            (f"{words.clean(file)}\nsha256 {run.model_sha256}\n{words.clean(f'{run.device}, {versions}')}", dim),
        )
        if note is not None and note.tags:
            text.append(f"\ntags {words.clean(' '.join(note.tags))}")
        if note is not None and note.text:
            text.append(f"\n{words.clean(note.text, newlines=True)}")
        return text
