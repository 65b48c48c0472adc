"""The whole submission in one folder: code, verified files, answers, and the runs behind them."""

import hashlib
import html
import re
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import msgspec

from engine.machine import child_process, tool_process
from engine.protocol import RunResult
from engine.storage.run_folder import RunFolder
from svhn_tui import words
from svhn_tui.analysis import run_row
from svhn_tui.assignment import answers as answering
from svhn_tui.assignment.answers import Answer, file_run
from svhn_tui.assignment.keras_code import code_of
from svhn_tui.client.state import State
from svhn_tui.export import report as report_page
from svhn_tui.export.export_folder import ExportError, ExportFolder, opened
from svhn_tui.presets import EXPORT_PAGES, Presets, Question

MARKUP = re.compile(r"[\\`\[\]<>&|]")
"""What Markdown treats as code, a link, HTML or a table; emphasis is not escaped."""
MIB = 2**20
ANSWERS = "answers.md, answers.json"


class Exported(msgspec.Struct, frozen=True):
    """One exported item: its file, or why it was not exported."""

    name: str
    text: str
    ok: bool = True
    run: RunResult | None = None
    """The run of the file."""


Files = tuple[Exported, ...]


def export(
    folder: Path,
    book: Presets,
    state: State,
    check: Callable[[Files], Files] = lambda files: files,
    report: Callable[[Exported], None] = lambda item: None,
    *,
    force: bool = False,
) -> tuple[Exported, ...]:
    """Write everything that is available; missing items are reported.

    Args:
        folder: to write to.
        book: the questions.
        state: the workspace, with the hashes of the files and the curves read.
        check: verifies the copied files, reports each, and returns the outcomes.
        report: is called with each of the other items when it is written.
        force: replace files that no export wrote, or that were changed since.

    Raises:
        FileExistsError: there is such a file; nothing was written.
        OSError: the folder cannot be written; each file is replaced whole or unchanged.
    """
    with opened(folder, Path(state.workspace)) as target:
        if not force:
            target.refuse_foreign(_expected(book, state))
        return _export(target, book, state, check, report)


def _export(
    target: ExportFolder,
    book: Presets,
    state: State,
    check: Callable[[Files], Files],
    report: Callable[[Exported], None],
) -> tuple[Exported, ...]:
    done = check(tuple(thing for question in book.questions for thing in _uploads(question, target, book, state)))
    answers = answering.all_answers(book, state)
    manifest = {
        **answering.as_json(answers),
        **_statements_json(state),
        "files": {thing.name: thing.text for thing in done},
    }
    files = [(thing.name, thing.text) for thing in done]
    pages = {
        "answers.md": answers_page(book, answers, state, done),
        "runs.csv": runs_table(state),
        "report.html": report_page.page(book, answers, state, files),
    }
    target.write_pages({name: _clean(text) for name, text in pages.items()}, manifest)
    count = words.plural(len(state.results), "run")
    given = sum(answer.text is not None for answer in answers)
    written = (
        Exported(ANSWERS, f"{given} of {len(answers)} answers"),
        Exported("runs.csv", count),
        Exported("report.html", "answers, evidence and curves in one page"),
    )
    for item in written:
        report(item)
    return (*done, *written)


def _clean(text: str) -> bytes:
    """Remove control sequences from a page, which a pager or an editor could interpret."""
    return words.clean(text, newlines=True).encode()


def _code(question: Question, book: Presets, state: State) -> bytes:
    state = state.on(book.data_of(question))
    return _clean(code_of(question, book, state.shape, state.train_images))


def _expected(book: Presets, state: State) -> dict[str, str]:
    """Return the names of the files to write, each with its SHA-256 if that is known before."""
    expected = dict.fromkeys(EXPORT_PAGES, "")
    for question in book.questions:
        if question.upload is not None and question.kind == "code":
            expected[question.upload.file] = hashlib.sha256(_code(question, book, state)).hexdigest()
        elif question.upload is not None and (run := file_run(question, book, state)):
            expected[question.upload.file] = run.model_sha256
    return expected


def _uploads(question: Question, target: ExportFolder, book: Presets, state: State) -> Iterator[Exported]:
    if question.upload is None:
        return
    name = question.upload.file
    if question.kind == "code":
        target.write(name, _code(question, book, state))
        yield Exported(name, "code")
        return
    run = file_run(question, book, state)
    if run is None:
        yield Exported(name, f"{question.id} has no finished run", ok=False)
        return
    if answering.is_unfit(run, question, state):
        text = f"{run.spec.configuration.label}, seed {run.spec.seed} diverged: its weights are not numbers"
        yield Exported(name, f"{text}; choose another run, or name this one: choose {question.id} RUN", ok=False)
        return
    limit = question.upload.limit_mib if question.upload.limit_mib is not None else inf

    def fit(copy: Path) -> None:
        if run.model_bytes > limit * MIB:
            strip(copy, limit)

    try:
        size = target.copy_model(RunFolder(Path(state.workspace), run.run_id), name, run.model_sha256, fit)
    except ExportError as error:
        yield Exported(name, str(error), ok=False)
        return
    demo = ", trained on demo data" if run.demo_data else ""
    less = "" if size == run.model_bytes else ", without the optimizer's state to keep to the limit"
    asked = run.spec.configuration in book.configurations(question)
    other = "" if asked else f", not as asked: {run.spec.configuration.label}"
    accuracy = words.accuracy(run.test_accuracy)
    text = f"{words.size(size)}, seed {run.spec.seed}, test accuracy {accuracy}{less}{other}{demo}"
    yield Exported(name, text, run=run)


def strip(file: Path, limit_mib: float) -> None:
    """Remove the optimizer's state from a file, in a process of its own.

    Raises:
        ExportError: that fails, or the file is still too large.
    """
    there = str(file.absolute())
    done = tool_process.run(child_process.tool("engine.tools.strip_optimizer", there, there))
    size = file.stat().st_size / MIB
    if done.status or size > limit_mib:
        raise ExportError(done.stderr.strip() or f"{size:.1f} MiB, above the limit of {limit_mib} MiB")


def _statements_json(state: State) -> dict[str, object]:
    return {
        question: {"statements": msgspec.to_builtins(statements)} for question, statements in state.statements.items()
    }


def answers_page(book: Presets, answers: tuple[Answer, ...], state: State, done: tuple[Exported, ...]) -> str:
    """Return the answers as Markdown, each with its runs, the statements, and the outcomes of the checks."""
    lines = [f"# {_markdown(book.title)}: answers", ""]
    for answer in answers:
        question = book.question(answer.question)
        lines += [f"## {question.id}  {_markdown(question.title)}", "", f"    {answer.text or 'missing'}", ""]
        lines += [f"{answer.state}: {_markdown(answer.reason)}", ""]
        lines += [f"- {_markdown(flag)}" for flag in answer.flags]
        for part in answer.parts:
            values = ", ".join(words.accuracy(value) for value in part.accuracies)
            count = f"{len(part.results)} of {words.plural(part.needed, 'run')}"
            lines.append(f"- {_markdown(part.configuration.label)}, {count}: {values}")
        lines.append("")
    for question in book.questions:
        for statement in state.statements.get(question.id, ()):
            behind = f" ({', '.join(statement.facts)})" if statement.facts else ""
            lines += [f"- {question.id}, {statement.verdict}: {_markdown(statement.text + behind)}"]
    lines += ["", "## Files", "", *(f"- {_markdown(f'{thing.name}: {thing.text}')}" for thing in done), ""]
    return "\n".join(lines)


def _markdown(text: str) -> str:
    """Escape a text from outside for Markdown, on one line."""
    return MARKUP.sub(lambda match: html.escape(match[0]) if match[0] in "<>&" else f"\\{match[0]}", words.clean(text))


def runs_table(state: State) -> str:
    """Return all finished runs on known data as CSV."""
    known = {*state.known, *([state.data.fingerprint] if state.data else [])}
    runs = [run for run in state.results.values() if not known or run.spec.data in known]
    runs.sort(key=lambda run: (run.spec.configuration.label, run.spec.seed))
    return run_row.as_csv(*run_row.table_of(runs, state.notes))
