"""The Runs page's heads of columns, counts, and the details of the run under the cursor. Pure."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual.theme import Theme

from engine.protocol import RunResult
from svhn_tui import words
from svhn_tui.analysis.queue_entries import seeds_text
from svhn_tui.analysis.run_table import RunLine, SortOrder, Table, cells_of, column_named
from svhn_tui.client.state import State
from svhn_tui.pages.run_text import interruption_of, journal_damage
from svhn_tui.themes import dim_of
from svhn_tui.widgets.run_grid import Head

WIDEST = 48
"""Greatest width of a column in a narrow window, in cells; wide windows allow more."""
MEASURED = 100
"""Lines from which widths of columns are computed: so many at the beginning, and so many from the whole table."""


def heads_of(lines: Sequence[RunLine], columns: Sequence[str], order: SortOrder, room: int) -> list[Head]:
    """Return the columns that fit into a width, as wide as their lines need; an arrow marks the order."""
    step = max(1, len(lines) // MEASURED)
    texts = [cells_of(line, columns) for line in (*lines[:MEASURED], *lines[MEASURED::step])]
    heads = []
    for index, name in enumerate(columns):
        column = column_named(name)
        sign = (" ↓" if order.descending else " ↑") if name == order.column else ""
        width = max([len(column.title) + len(sign), *(cell_len(cells[index]) for cells in texts)])
        heads.append((column.title + sign, min(width, max(WIDEST, 2 * room // 5)), column.is_number))
    return heads


def count_of(table: Table, selected: int, state: State, *, grouped: bool) -> str:
    """Say how many runs are listed, of how many, and how many are selected."""
    runs, failed = table.runs, table.failed
    lost = f", {words.count(failed)} failed: R trains them again" if failed else ""
    if not state.results:
        return (
            f"No run is finished{lost}."
            if lost
            else "No run is finished yet: 1 opens the questions, enter there trains."
        )
    text = f"{words.count(runs)} of {words.plural(len(state.results), 'run')}"
    text += f" in {words.plural(sum(line.is_group for line in table.lines), 'configuration')}" if grouped else ""
    if not runs and not failed:
        return f"{text}: esc shows all of them."
    return text + lost + (f", {words.count(selected)} selected" if selected else "")


def detail_of(line: RunLine, state: State, theme: Theme, *, is_short: bool) -> Text:
    """Return the details of the line under the cursor; of a run in a short window only its result and note."""
    if line.failed is not None:
        spec, reason = line.failed.spec, words.clean(line.failed.reason or "no reason is known", newlines=True)
        name = f"{spec.configuration.label}, seed {spec.seed}"
        return Text.assemble(
            (name, "bold"),
            ("   failed", str(theme.error)),
            f"\n{reason}\n",
            ("R trains it again, l shows its log", dim_of(theme)),
        )
    if not line.is_group:
        return _about(line.runs[0], state, theme, is_short=is_short)
    label = line.runs[0].spec.configuration.label
    text = f"{words.plural(len(line.runs), 'run')}, {seeds_text([run.spec.seed for run in line.runs])}"
    return Text.assemble(
        (label, "bold"), f"   {text}\n", ("enter shows its runs, space selects them, c compares", dim_of(theme))
    )


def _about(run: RunResult, state: State, theme: Theme, *, is_short: bool) -> Text:
    dim, note = dim_of(theme), state.notes.get(run.run_id)
    best = f"best {words.accuracy(run.best_test_accuracy)} at epoch {run.best_epoch}"
    counted = f"{words.count(run.test_correct)} of {words.count(run.test_images)} right"
    if run.is_recorded:
        counted = f"recorded, {interruption_of(run)}" if run.interrupted else "recorded"
    text = Text.assemble((f"{run.spec.configuration.label}, seed {run.spec.seed}", "bold"), f"   {counted}, {best}")
    if not is_short:
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        file = f"{state.workspace}/runs/{run.run_id}/model.keras  {words.size(run.model_bytes)}"
        made = words.clean(f"{run.device}, {versions}")
        about_file = "" if run.is_recorded else f"\n{words.clean(file)}\nsha256 {run.model_sha256}"
        text.append(f"{about_file}\n{made}", dim)
    if damage := journal_damage(run.run_id, state):
        text.append(f"\njournal: {damage}", str(theme.warning))
    if note is not None and note.tags:
        text.append(f"\ntags {words.clean(' '.join(note.tags))}")
    if note is not None and note.text:
        text.append(f"\n{words.clean(note.text, newlines=True)}")
    return text
