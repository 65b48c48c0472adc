"""The left side of the Questions page: a line a question, and the progress of the whole assignment. Pure."""

from collections.abc import Mapping

from rich.cells import cell_len
from rich.text import Text
from textual.theme import Theme

from svhn_tui import words
from svhn_tui.analysis.progress import MARKS, Progress, whole_of
from svhn_tui.assignment.answers import Answer, file_run
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question
from svhn_tui.themes import dim_of
from svhn_tui.widgets.bars import bar_of

NAME = 3
"""Least width of a question's name, in cells."""
LONGEST_ANSWER = 15
LARGE = 40
"""Width in cells from which the list has room for longer texts."""


def question_line(question: Question, progress: Progress, outcome: tuple[str, str], theme: Theme, width: int) -> Text:
    """Return a question's line: a cell for the cursor, name, progress, title, and the outcome at the right."""
    colors = {
        "done": theme.success,
        "code": theme.success,
        "running": theme.primary,
        "partial": theme.warning,
        "diverged": theme.error,
    }
    text, style = outcome
    name = words.in_cells(question.id, max(NAME, cell_len(question.id)))
    room = max(0, width - cell_len(name) - len(text) - 6)
    return Text.assemble(
        f" {name} ",
        (f"{MARKS[progress.status]} ", str(colors.get(progress.status) or dim_of(theme))),
        f"{words.in_cells(words.clean(question.title), room)} ",
        (text, style),
        no_wrap=True,
        overflow="crop",
    )


def outcome_of(
    question: Question, progress: Progress, answer: Answer, book: Presets, state: State, theme: Theme
) -> tuple[str, str]:
    """Return a question's outcome in a word or two, and its colour."""
    if progress.status == "code":
        return "code", str(theme.success)
    if progress.status == "evidence":
        return "evidence", dim_of(theme)
    if bad := sum(len(row.diverged) for row in progress.rows):
        return f"{bad} diverged" if progress.needed > 1 else "diverged", str(theme.error)
    if progress.status != "done":
        has_begun = bool(progress.done) or progress.status == "running"
        return f"{progress.done} of {progress.needed}", str(theme.warning) if has_begun else dim_of(theme)
    if answer.text and question.answer:
        return answer.text if len(answer.text) <= LONGEST_ANSWER else "answer", str(theme.success)
    result = file_run(question, book, state)
    return f"file {words.size(result.model_bytes)}" if result else "done", str(theme.success)


def summary_of(progresses: Mapping[str, Progress], state: State, theme: Theme, width: int) -> Text:
    """Return the progress of the whole assignment, the forecast, the data, and the workspace's name."""
    asked = [progress for progress in progresses.values() if not progress.question.own]
    dim, whole = dim_of(theme), whole_of(asked, state)
    runs = f"{words.count(whole.done)} of {words.plural(whole.needed, 'run')}"
    name = "whole assignment" if width >= LARGE else "all"
    text = Text.assemble((f" {name}", dim), f"{runs:>{max(0, width - len(name) - 2)}}", "\n ")
    text.append(bar_of(whole.done / max(1, whole.needed), max(4, width - 2)), str(theme.primary))
    if state.data is None:
        text.append("\n the data is being opened", dim)
    elif whole.needed > whole.done:
        text.append(f"\n {words.duration(whole.seconds_left)} for the missing runs", dim)
    else:
        text.append("\n everything is trained", dim)
    if state.data is not None:
        sizes = f"{words.count(state.data.train_images)} / {words.count(state.data.test_images)}"
        kind = "demo, drawn" if state.data.is_demo else words.clean(state.data.name)
        text.append("\n\n data   ", dim)
        text.append(f"{kind}  {sizes}" if width >= LARGE else f"{kind}\n        {sizes}")
    if state.workspace:
        text.append("\n saved  ", dim)
        text.append(words.clean(state.workspace.rstrip("/").rpartition("/")[2]))
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
