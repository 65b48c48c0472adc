"""Commands that print the content of a workspace: `status`, `answers`, `runs` and `evidence`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from engine import protocol as p
from engine.training.native import build
from svhn_tui import words
from svhn_tui.analysis import run_row, worker_status
from svhn_tui.analysis.comparison import data_names
from svhn_tui.analysis.progress import MARKS, Progress, progress_of
from svhn_tui.analysis.queue_entries import idle_text
from svhn_tui.analysis.run_filter import FilterError
from svhn_tui.analysis.trial_text import trial_text
from svhn_tui.assignment import answers as answering
from svhn_tui.assignment.answer_data import check_files
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.cli import run_tables
from svhn_tui.cli.arguments import (
    WORKSPACE,
    JsonOption,
    KnownWorkspaceOption,
    ReadOnlyOption,
    fail,
    filter_of,
    load_presets,
    new_file_of,
    question_of,
)
from svhn_tui.cli.commands import carry_out, command_group
from svhn_tui.cli.exit_codes import DONE, FAILED, WRONG_USE
from svhn_tui.client.session import connected, read_curves
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question
from svhn_tui.terminal.printing import Plain, print_error, print_json, print_rows, print_text

app = command_group()

TABLES = {"csv": run_tables.csv_of, "curves": run_tables.curves_csv, "classes": run_tables.classes_csv,
          "latex": run_tables.latex, "markdown": run_tables.markdown}  # fmt: skip
"""The tables that `runs` prints for other programs, by option."""


@app.command()
def status(
    workspace: KnownWorkspaceOption = WORKSPACE, read_only: ReadOnlyOption = False, as_json: JsonOption = False
) -> None:
    """Say how far every question is, and what is training now."""
    carry_out(print_status(workspace, load_presets(workspace), as_json=as_json, is_read_only=read_only))


@app.command()
def answers(
    workspace: KnownWorkspaceOption = WORKSPACE, read_only: ReadOnlyOption = False, as_json: JsonOption = False
) -> None:
    """Print the answers, each with how far it can be trusted."""
    carry_out(print_answers(workspace, load_presets(workspace), as_json=as_json, is_read_only=read_only))


@app.command()
def runs(
    workspace: KnownWorkspaceOption = WORKSPACE,
    only: Annotated[
        str,
        typer.Option("--filter", metavar="TEXT", parser=filter_of, help="Those alone: 'hidden=256 test_accuracy>0.5'."),
    ] = "",
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, with every setting.")] = False,
    curves: Annotated[bool, typer.Option("--curves", help="As CSV, a line for each epoch.")] = False,
    classes: Annotated[bool, typer.Option("--classes", help="As CSV, the recall of each class.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="As a table for a paper, the best in bold.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The same as Markdown.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(help="Into this file, through pandas.", parser=new_file_of, metavar="FILE")
    ] = None,
    read_only: ReadOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the finished runs, or print a table for another program."""
    ways = {
        "csv": csv,
        "curves": curves,
        "classes": classes,
        "latex": latex,
        "markdown": markdown,
        "parquet": parquet,
        "json": as_json,
    }
    chosen = [name for name, is_wanted in ways.items() if is_wanted]
    if len(chosen) > 1:
        fail(f"--{chosen[0]} and --{chosen[1]} are two tables; name one at a time.", WRONG_USE)
    if parquet is not None and parquet.exists():
        fail(f"{parquet} is there; give another name.", WRONG_USE)
    carry_out(print_runs(workspace, only, "".join(chosen), parquet, is_read_only=read_only))


@app.command()
def evidence(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="A multiple-choice question: Q8 or Q11.")],
    workspace: KnownWorkspaceOption = WORKSPACE,
    read_only: ReadOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what the runs show about a multiple-choice question.

    Each fact has its figures.
    """
    book = load_presets(workspace)
    asked = question_of(book, question)
    if not asked.evidence:
        fail(f"{asked.id} is not a multiple-choice question.", WRONG_USE)
    carry_out(print_evidence(workspace, book, asked, as_json=as_json, is_read_only=read_only))


async def print_status(workspace: Path, book: Presets, *, as_json: bool, is_read_only: bool = False) -> int:
    """Print the progress of every question, and the runs in training."""
    async with connected(workspace, is_read_only=is_read_only) as session:
        state = session.state
        all_progress = [progress_of(question, book, state) for question in book.questions]
        if as_json:
            print_json(_status_json(state, all_progress))
            return DONE
        console = Plain()
        console.print(Text(_data_line(state)))
        for other in sorted({data for question in book.questions if (data := book.data_of(question))}):
            if (beside := state.on(other).data) != state.data:
                console.print(Text(_line_of(beside) if beside else f"data {other} is not open yet"))
        table = Table("", "question", "", "runs", "left", box=None, pad_edge=False)
        for progress in all_progress:
            runs = f"{progress.done} of {progress.needed}" if progress.needed else ""
            left = words.duration(progress.seconds_left) if progress.seconds_left else ""
            question = progress.question
            table.add_row(MARKS[progress.status], question.id, Text(question.title), runs, left)
        console.print(table)
        if not state.fleet.is_local or state.fleet.gpus:
            console.print(Text(f"trains {worker_status.fleet_text(state.fleet)}"))
        for member in worker_status.members_of(state):
            console.print(Text(member.sentence), soft_wrap=True)
        if state.fleet.is_local and (known := build.known()).problem:
            console.print(Text(f"{known.problem}: JAX trains dense networks. {known.advice}".rstrip()))
        for run_id, live in state.running.items():
            done, epochs = live.history.epochs, live.spec.configuration.training.epochs
            left = words.duration(live.seconds_left)
            name = f"{live.spec.configuration.label}, seed {live.spec.seed}"
            console.print(Text(f"training {name}: epoch {done} of {epochs}, {left} left ({run_id})"))
        for trial in state.trying:
            console.print(Text(trial_text(trial)))
        console.print(Text(f"{len(state.running)} training, {len(state.queue)} waiting, {len(state.results)} finished"))
        if hint := idle_text(state):
            console.print(Text(hint))
        for notice in state.notices:
            if notice.severity != "information":
                console.print(Text(f"! {words.clean(notice.text)}"), soft_wrap=True)
    return DONE


def _status_json(state: State, all_progress: Sequence[Progress]) -> dict[str, object]:
    return {
        "workspace": state.workspace,
        "data": msgspec.to_builtins(state.data),
        "training": sorted(state.running),
        "waiting": [run.run_id for run in state.queue],
        "finished": len(state.results),
        "fleet": msgspec.to_builtins(state.fleet),
        "workers": [msgspec.to_builtins(worker) for worker in state.workers.values() if worker.where],
        "questions": {
            progress.question.id: {"status": progress.status, "done": progress.done, "needed": progress.needed}
            for progress in all_progress
        },
    }


def _data_line(state: State) -> str:
    if state.data is None:
        names = sorted({run.data_name for run in state.results.values() if run.data_name})
        about = f" The finished runs are of {', '.join(names)}: answers need that data." if names else ""
        return f"No data has been opened yet: `svhn-tui run Q2` takes demo data, `--data DIR` the assignment's.{about}"
    return _line_of(state.data)


def _line_of(data: p.DataSet) -> str:
    mark = "demo data: drawn digits, not SVHN" if data.is_demo else "data"
    return f"{mark} {data.name}, {data.train_images:,} / {data.test_images:,} images"


async def print_answers(workspace: Path, book: Presets, *, as_json: bool, is_read_only: bool = False) -> int:
    """Print the answers, after checking the files that they refer to."""
    async with connected(workspace, is_read_only=is_read_only) as session:
        await check_files(session, book)
        answers = answering.all_answers(book, session.state)
    if as_json:
        print_json(answering.as_json(answers))
        return DONE
    rows = [(some.question, Text(some.text or "–", "bold"), some.state, some.reason) for some in answers]
    print_rows(("question", "answer", "state", "reason"), rows)
    return DONE


async def print_evidence(
    workspace: Path, book: Presets, question: Question, *, as_json: bool, is_read_only: bool = False
) -> int:
    """Print the facts for a multiple-choice question."""
    async with connected(workspace, is_read_only=is_read_only) as session:
        facts = facts_of(question, book, session.state)
    if as_json:
        print_json(facts)
        return DONE
    console = Plain()
    for statement in session.state.statements.get(question.id, ()):
        console.print(Text(f"{statement.verdict:<6}{words.clean(statement.text)}"))
    if not facts:
        console.print(f"None of the runs of {', '.join(question.evidence)} is done yet.")
    for fact in facts:
        console.print(Text(fact.title, style="bold"))
        for sentence in fact.sentences:
            console.print(Text(f"  {sentence}"))
        table = Table(box=None, pad_edge=True, show_header=False)
        for name, figure in fact.figures:
            table.add_row(Text(name), Text(figure))
        console.print(table)
    return DONE


async def print_runs(
    workspace: Path, only: str = "", kind: str = "", file: Path | None = None, *, is_read_only: bool = False
) -> int:
    """Print the finished runs, the newest last.

    Args:
        workspace: of the runs.
        only: a filter; the matching runs are printed.
        kind: of a table for another program; empty for the usual one.
        file: the path of a Parquet file.
        is_read_only: start no host.
    """
    async with connected(workspace, is_read_only=is_read_only) as session:
        state = session.state
        try:
            results = run_tables.chosen(state, only)
            if kind == "curves":
                await read_curves(session, (run.run_id for run in results))
                state = session.state
            match kind:
                case "json":
                    print_json([_run_json(result, state) for result in results])
                case "parquet" if file is not None:
                    run_tables.write_parquet(results, state, file)
                case "csv" | "curves" | "classes" | "latex" | "markdown":
                    print_text(TABLES[kind](results, state).rstrip("\n"))
                case _:
                    _list_runs(results)
        except (FilterError, run_tables.NoTable) as error:
            print_error(str(error))
            return WRONG_USE if isinstance(error, FilterError) else FAILED
    return DONE


def _list_runs(results: Sequence[p.RunResult]) -> None:
    called = data_names(results)
    has_sets = len(called) > 1
    head = ("run", *(["data"] if has_sets else []), "configuration", "seed", "test accuracy", "parameters", "time")
    print_rows(head, [_run_cells(result, (called[result.spec.data],) if has_sets else ()) for result in results])


def _run_cells(result: p.RunResult, data: tuple[str, ...]) -> tuple[str, ...]:
    return (
        result.run_id,
        *data,
        result.spec.configuration.label,
        str(result.spec.seed),
        words.accuracy(result.test_accuracy),
        words.count(result.trainable_parameters),
        words.duration(result.seconds),
    )


def _run_json(result: p.RunResult, state: State) -> dict[str, object]:
    note = state.notes.get(result.run_id)
    return {
        **msgspec.to_builtins(result),
        "logged": dict(result.logged),
        **run_row.settings_of(result.spec),
        "configuration": result.spec.configuration.label,
        "seed": result.spec.seed,
        "data": result.spec.data,
        "finished": run_row.finished(result),
        "note": note.text if note else "",
        "tags": list(note.tags) if note else [],
        "recorded": dict(recorded.settings) if (recorded := result.spec.configuration.recorded) else None,
        "folder": str(Path(state.workspace) / "runs" / result.run_id),
    }
