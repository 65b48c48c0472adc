"""The Questions page's texts about a question: head, table of runs, answer, evidence for a choice. Pure."""

from collections.abc import Iterator, Sequence

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.theme import Theme

from engine.core import sweep as plan
from svhn_tui import words
from svhn_tui.analysis.comparison import full_names_of, sides_of_runs
from svhn_tui.analysis.progress import Progress, rule_text
from svhn_tui.analysis.queue_entries import seeds_text
from svhn_tui.assignment.answers import Answer
from svhn_tui.assignment.evidence import Fact, statement_line
from svhn_tui.client.state import State
from svhn_tui.presets import Question
from svhn_tui.themes import dim_of
from svhn_tui.widgets.colors import line_style

TRENDS = ("still rising", "flat", "falling")


def head_of(question: Question, shared: str, theme: Theme, *, is_wide: bool) -> Stack:
    """Return the question's title, its points at the right, and its text; `shared` names deviating settings."""
    dim, head = dim_of(theme), Table.grid(expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    points = f"{'test question, ' if is_wide else 'T '}{question.points} points" if question.points else ""
    head.add_row(Text(f"{question.id}  {words.clean(question.title)}", "bold"), Text(points, dim))
    return Stack(head, Text.assemble((words.clean(question.text), dim), (f" Here: {shared}." if shared else "", "")))


def names_in(progress: Progress) -> tuple[str, ...]:
    """Return short, distinct names of a question's configurations for table and chart."""
    return full_names_of([row.configuration for row in progress.rows])


def shared_settings(progress: Progress) -> str:
    """Return the settings of all configurations that deviate from the assignment: `epochs 20`."""
    settings = [row.configuration.label.split(" · ")[1:] for row in progress.rows]
    shared = [part for part in settings[0] if all(part in other for other in settings)] if settings else []
    return ", ".join(map(words.clean, shared))


def rows_of(progress: Progress, theme: Theme, *, is_wide: bool) -> Table:
    """Return a table with a line a configuration: number of finished runs, their accuracy, and the forecast."""
    dim = dim_of(theme)
    table = Table(box=None, pad_edge=False, padding=(0, 2 if is_wide else 1, 0, 0), header_style=dim)
    table.add_column("  configuration")  # the only column that wraps in a narrow window: figures are never cut
    for name in ("runs", "test accuracy", *(("parameters", "left") if is_wide else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for index, (name, row) in enumerate(zip(names_in(progress), progress.rows, strict=True)):
        color, mark = line_style(index, theme)
        is_done = row.done == row.needed
        left = (
            Text("–" if not row.runs else "done", str(theme.success))
            if is_done
            else Text(words.duration(row.seconds_left))
        )
        table.add_row(
            Text.assemble((f"{mark} ", color), name),
            f"{row.done}/{row.needed}",
            spread_text(row.mean, row.deviation, theme),
            *((words.count(row.parameters), left) if is_wide else ()),
        )
    return table


def spread_text(mean: float | None, deviation: float | None, theme: Theme) -> Text:
    """Return `0.5012 ± 0.0041`, as wide without a deviation, so that decimal points align."""
    whole = words.aligned_spread(mean, deviation)
    point = whole.find(" ")
    return Text.assemble((whole[:point], "bold"), (whole[point:], dim_of(theme)))


def beneath_rows(progress: Progress, state: State, *, is_short: bool) -> Iterator[str]:
    """Yield sentences on finalists, and on whether curves still move at their end; fewer in a short window."""
    if progress.other and not is_short:
        yield f"Not as asked: {progress.other}. They are shown until there is a run as asked."
    names = zip(names_in(progress), progress.rows, strict=True)
    if bad := [f"{name} {seeds_text(row.diverged)}" for name, row in names if row.diverged]:
        yield f"Diverged, the loss is not a number any more: {'; '.join(bad)}."
    sweep = progress.sweep
    if sweep is not None and sweep.finalists is not None:
        chosen = [progress.rows[index].configuration.network.label
                  for index in plan.finalists(sweep, state.accuracies)]  # fmt: skip
        rule = [rule_text(sweep.finalists)] if not is_short else []
        yield " ".join([*rule, f"Finalists: {', '.join(chosen)}." if chosen else ""]).strip()
    if is_short:
        return
    trends: dict[str, list[str]] = {}
    for side in sides_of_runs((run_id for row in progress.rows for run_id in row.runs), state):
        if side.convergence in TRENDS:
            trends.setdefault(side.convergence, []).append(side.configuration.network.label)
    if len(trends) == 1:
        yield f"Test accuracy over the last 10 epochs: {next(iter(trends))}."
    elif trends:
        moves = "; ".join(f"{trend}: {', '.join(names)}" for trend, names in sorted(trends.items()))
        yield f"Test accuracy over the last 10 epochs: {moves}."


def answer_line(answer: Answer, theme: Theme) -> Text:
    """Return the answer, its state, and the reason of the state."""
    colors = {"ready": theme.success, "stale": theme.error, "diverged": theme.error}
    style = f"bold {colors.get(answer.state, theme.warning)}"
    reason = words.clean(answer.reason)
    return Text.assemble(
        ("answer  ", dim_of(theme)), (answer.text or "–", style), (f"  {answer.state}", style), f"  {reason}"
    )


def facts_page(question: Question, facts: Sequence[Fact], state: State, theme: Theme) -> Stack:
    """Return the evidence from other questions' runs: titles, sentences, and a line of figures a configuration."""
    dim = dim_of(theme)
    parts: list[RenderableType] = []
    statements = state.statements.get(question.id, ())
    if not statements:
        parts.append(Text("\nw records a statement, a verdict on it and the facts that support it.", dim))
    for statement in statements:
        parts.append(Text(f"\n{statement_line(statement)}", "bold"))
        if statement.facts:
            parts.append(Text(f"  {words.clean(', '.join(statement.facts))}", dim))
    if not facts:
        parts.append(Text(f"\nNone of the runs of {', '.join(question.evidence)} is done yet.", dim))
    for fact in facts:
        parts.append(Text(f"\n{fact.title}", "bold"))
        for sentence in fact.sentences:
            parts.append(Text(f"  {sentence}"))
        figures = Table.grid(padding=(0, 2, 0, 0))
        for name, figure in fact.figures:
            figures.add_row(Text(f"  {name}", no_wrap=True), Text(figure, dim))
        parts.append(figures)
    return Stack(*parts)
