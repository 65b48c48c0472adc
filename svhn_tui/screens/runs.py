"""Page 3: every finished run, to sort, filter, note and delete."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Input, Static

from engine import protocol as p
from svhn_tui import words
from svhn_tui.presets import Presets
from svhn_tui.runfilter import FilterError, completions, parse
from svhn_tui.screens.dialogs import Annotation, Confirm
from svhn_tui.screens.page import Page
from svhn_tui.state import State
from svhn_tui.themes import dim_of

COLUMNS = ("configuration", "seed", "test accuracy", "train", "parameters", "time", "tags", "finished", "run")
ROWS = 2_000
"""Rows that are laid out; a filter or another order brings up the others."""
SORTS = ("finished_at", "test_accuracy", "trainable_parameters", "seconds", "label")


class RunsPage(Page):
    """A table with a filter line above and details below."""

    TITLE_IN_BAR = "Runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter"),
        Binding("o", "order", "order"),
        Binding("n", "annotate", "note"),
        Binding("d", "delete", "delete"),
        Binding("u", "restore", "undo delete", show=False),
        Binding("escape", "whole", "clear filter", show=False),
    ]

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._filter = ""
        self._sort = SORTS[0]
        self._listed: tuple[object, ...] = ()
        self._deleted: list[str] = []

    def body(self) -> ComposeResult:
        """Filter, table, details."""
        with Vertical(id="table"):
            yield Input(placeholder="activation=relu hidden=256 test_accuracy>0.5 tag:final", id="filter")
            yield Static(id="said")
            yield DataTable[Text](cursor_type="row", zebra_stripes=False)
        yield Static(id="detail")

    def on_mount(self) -> None:
        """Set the columns up."""
        table = self.query_one(DataTable)
        for name in COLUMNS:
            table.add_column(name, key=name)
        table.focus()
        super().on_mount()

    def action_filter(self) -> None:
        """Type a filter."""
        line = self.query_one("#filter", Input)
        line.add_class("shown")
        line.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter as one types."""
        self._filter = message.value
        self.redraw()

    def on_input_submitted(self) -> None:
        """Go to the table, the filter staying."""
        self.query_one(DataTable).focus()

    def action_whole(self) -> None:
        """Show all runs again."""
        line = self.query_one("#filter", Input)
        line.value = ""
        line.remove_class("shown")
        self.query_one(DataTable).focus()

    def action_order(self) -> None:
        """Sort by the next thing."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self.redraw()

    def action_annotate(self) -> None:
        """Write a note on the chosen run."""
        run_id = self._chosen()
        if run_id is None:
            return
        known = self.state.notes.get(run_id, p.Note(run_id))

        def keep(found: tuple[str, tuple[str, ...]] | None) -> None:
            if found is not None:
                self.want(p.Annotate(run_id=run_id, text=found[0], tags=found[1]))

        self.app.push_screen(Annotation(known.text, known.tags), keep)

    def action_delete(self) -> None:
        """Move the chosen run to the trash, after a question."""
        run_id = self._chosen()
        if run_id is None:
            return

        def delete(yes: bool | None) -> None:
            if yes:
                self._deleted.append(run_id)
                self.want(p.Delete(runs=(run_id,)))

        label = self.state.results[run_id].spec.configuration.label
        self.app.push_screen(Confirm(f"Move {label} ({run_id}) to the trash? u brings it back."), delete)

    def action_restore(self) -> None:
        """Bring back what was deleted last."""
        if self._deleted:
            self.want(p.Restore(runs=(self._deleted.pop(),)))

    def on_data_table_row_highlighted(self) -> None:
        """Show the chosen run's details."""
        self._show_detail(self.state)

    def on_data_table_header_selected(self, message: DataTable.HeaderSelected) -> None:
        """Sort by a column that was clicked."""
        names = {"test accuracy": "test_accuracy", "parameters": "trainable_parameters", "time": "seconds"}
        names |= {"finished": "finished_at", "configuration": "label"}
        self._sort = names.get(str(message.column_key.value), self._sort)
        self.redraw()

    def show(self, state: State) -> None:
        """Draw the table if what it lists changed."""
        self.set_class(self.size.width < 100, "narrow")
        key = (state.results, state.notes, self._filter, self._sort)
        if all(one is other for one, other in zip(key, self._listed, strict=False)) and self._listed:
            return
        self._listed = key
        try:
            results = self._sorted(state)
        except FilterError as error:
            self._say(str(error), is_wrong=True)
            return
        self._fill(results[:ROWS], state)
        more = f", the first {words.count(ROWS)} of them listed" if len(results) > ROWS else ""
        hints = completions(self._filter)
        hint = f"   {'  '.join(hints[:6])}" if hints else ""
        if state.results:
            count = f"{words.count(len(results))} of {words.plural(len(state.results), 'run')}"
            self._say(f"{count}, by {self._sort.replace('_', ' ')}{more}{hint}")
        else:
            self._say("No run is finished yet: 1 opens the questions, enter there trains.")
        self._show_detail(state)

    def _sorted(self, state: State) -> list[p.RunResult]:
        test = parse(self._filter)
        found = [run for run in state.results.values() if test(run, state.notes.get(run.run_id))]
        if self._sort == "label":
            return sorted(found, key=lambda run: (run.spec.configuration.label, run.spec.seed))
        return sorted(found, key=lambda run: float(getattr(run, self._sort)), reverse=True)

    def _fill(self, results: list[p.RunResult], state: State) -> None:
        table = self.query_one(DataTable)
        chosen = self._chosen()
        table.clear()
        for run in results:
            note = state.notes.get(run.run_id)
            table.add_row(*self._cells(run, note), key=run.run_id)
        if chosen is not None and chosen in table.rows:
            table.move_cursor(row=table.get_row_index(chosen), animate=False)

    def _cells(self, run: p.RunResult, note: p.Note | None) -> tuple[Text, ...]:
        flag = " diverged" if run.diverged else ""
        return (
            Text(run.spec.configuration.label + flag),
            Text(str(run.spec.seed), justify="right"),
            Text(words.accuracy(run.test_accuracy), "bold", justify="right"),
            Text(words.accuracy(run.accuracy), justify="right"),
            Text(words.count(run.trainable_parameters), justify="right"),
            Text(words.duration(run.seconds), justify="right"),
            Text(words.clean(" ".join(note.tags)) if note else ""),
            Text(words.moment(run.finished_at)),
            Text(run.run_id, dim_of(self.app.current_theme)),
        )

    def _say(self, sentence: str, *, is_wrong: bool = False) -> None:
        theme = self.app.current_theme
        style = str(theme.error) if is_wrong else dim_of(theme)
        self.query_one("#said", Static).update(Text(sentence, style, no_wrap=True, overflow="ellipsis"))

    def _chosen(self) -> str | None:
        table = self.query_one(DataTable)
        if not table.row_count or not table.is_valid_row_index(table.cursor_row):
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return key if key in self.state.results else None

    def _show_detail(self, state: State) -> None:
        run_id, theme = self._chosen(), self.app.current_theme
        if run_id is None:
            self.query_one("#detail", Static).update("")
            return
        run, note = state.results[run_id], state.notes.get(run_id)
        best = f"best {words.accuracy(run.best_test_accuracy)} at epoch {run.best_epoch}"
        counted = f"{words.count(run.test_correct)} of {words.count(run.test_images)} images right"
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        text = Text.assemble(
            (run.spec.configuration.label, "bold"),
            f", seed {run.spec.seed}: {counted}, {best}\n",
            (f"{state.workspace}/runs/{run_id}/model.keras  {words.size(run.model_bytes)}\n", dim_of(theme)),
            (f"sha256 {run.model_sha256}\n{run.device}, {versions}", dim_of(theme)),
        )
        if note is not None and note.text:
            text.append(f"\n{words.clean(note.text)}")
        self.query_one("#detail", Static).update(text)
