"""The commands of the submission: `export` writes it to a folder, `verify` loads a file as the grader would."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from engine.machine import os_errors
from engine.tools.verification import Requirement, Verification, VerifyTask
from svhn_tui import words
from svhn_tui.assignment.answer_data import check_files, read_histories
from svhn_tui.cli.arguments import (
    WORKSPACE,
    AnyWorkspaceOption,
    JsonOption,
    KnownWorkspaceOption,
    LayoutOption,
    ReadOnlyOption,
    fail,
    file_of,
    folder_of,
    load_presets,
    path_of,
    question_of,
    sources,
)
from svhn_tui.cli.commands import carry_out, command_group
from svhn_tui.cli.exit_codes import DONE, FAILED, WRONG_USE
from svhn_tui.cli.trust import ask_for_trust
from svhn_tui.client.session import connected
from svhn_tui.export import export as exporting
from svhn_tui.export import file_checks
from svhn_tui.presets import Presets, Question
from svhn_tui.terminal.printing import print_error, print_json, print_text

app = command_group()

MARKS = {True: "ok ", False: "NOT", None: "?  "}


@app.command()
def export(
    folder: Annotated[
        Path | None, typer.Argument(help="Where everything goes.", parser=folder_of, metavar="FOLDER")
    ] = None,
    workspace: KnownWorkspaceOption = WORKSPACE,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="All runs as TensorBoard reads them, into this folder.", parser=folder_of, metavar="DIR"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="With --tensorboard: what trains, too, as it trains, until Ctrl-C.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there and were not exported.")] = False,
    read_only: ReadOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write code, files, answers and a report into one folder."""
    if (folder is None) == (tensorboard is None):
        fail("Name the FOLDER for what is handed in, or --tensorboard DIR.", WRONG_USE)
    if follow and read_only:
        fail("--follow hears of training from the host, and --read-only starts none.", WRONG_USE)
    if tensorboard is not None:
        from svhn_tui.cli.tensorboard import export_to as export_runs

        carry_out(export_runs(tensorboard, workspace, follows=follow, is_read_only=read_only))
    if folder is None or follow:
        fail("--follow goes with --tensorboard DIR.", WRONG_USE)
    book = load_presets(workspace)
    carry_out(export_to(folder, workspace, book, force=force, as_json=as_json, is_read_only=read_only))


async def export_to(
    folder: Path,
    workspace: Path,
    book: Presets,
    *,
    force: bool = False,
    as_json: bool = False,
    is_read_only: bool = False,
) -> int:
    """Export and print each item as soon as it is done, each file verified in TensorFlow.

    The exit code says whether everything was exported.
    """
    async with connected(workspace, is_read_only=is_read_only) as session:
        await check_files(session, book)
        await read_histories(session, book)
        state = session.state

    width = max(
        map(len, (exporting.ANSWERS, *(question.upload.file for question in book.questions if question.upload)))
    )

    def report(thing: exporting.Exported) -> None:
        if not as_json:
            print_text(f"{'✓' if thing.ok else '✗'} {thing.name:<{width}} {words.on_one_line(thing.text)}")

    def verified(files: exporting.Files) -> exporting.Files:
        return file_checks.verified(files, folder, book, state, report)

    try:
        done = exporting.export(folder, book, state, verified, report, force=force)
    except OSError as error:
        print_error(os_errors.sentence_of(error, folder) or f"{error.filename or folder}: {error.strerror or error}.")
        return FAILED
    if as_json:
        print_json([{"name": thing.name, "said": thing.text, "ok": thing.ok} for thing in done])
    return DONE if all(thing.ok for thing in done) else FAILED


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A .keras file.", parser=file_of, metavar="FILE")],
    data: Annotated[
        list[Path],
        typer.Option("--data", "-d", help="Folder with the data set, or its files.", parser=path_of, metavar="PATH"),
    ],
    layout: LayoutOption = None,
    question: Annotated[
        str | None, typer.Option(metavar="QUESTION", help="Check it as the grader would for this question.")
    ] = None,
    workspace: AnyWorkspaceOption = WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Load a .keras file in TensorFlow, and count again.

    This happens in a process of its own, with plain Keras as the grader has it.
    """
    book = load_presets(workspace)
    asked = question_of(book, question) if question is not None else None
    if asked is not None and not asked.networks:
        fail(f"{asked.id} hands in no trained file.", WRONG_USE)
    raise typer.Exit(verify_file(file, sources(data), book, asked, layout or "", as_json=as_json))


def verify_file(
    file: Path, source: Sequence[str], book: Presets, question: Question | None, layout: str = "", *, as_json: bool
) -> int:
    """Load a file in plain TensorFlow Keras and print its properties; return the exit code."""
    task = VerifyTask(str(file.absolute()), tuple(source), layout)
    if question is not None and question.answer is not None and question.answer.of is not None:
        question = book.question(question.answer.of)  # the question is about that one's file
    if question is not None:
        configurations = book.configurations(question)
        if len(configurations) != 1:
            print_error(f"{question.id} is not about one network's file; verify it without --question.")
            return WRONG_USE
        limit = question.upload.limit_mib if question.upload else None
        asked = Requirement(configurations[0], limit, fitted=question.kind != "code")
        task = msgspec.structs.replace(task, asked=asked)
        model = configurations[0].network.model
        if model is not None:
            ask_for_trust(book, [question])
            path = str(Path(book.sources[model.sha256].path).resolve())
            task = msgspec.structs.replace(task, model_file=path)
    outcome = file_checks.outcome_of(task)
    if outcome.verification is None:
        print_error(outcome.problem)
        return FAILED
    if as_json:
        print_json(msgspec.to_builtins(outcome.verification))
    else:
        print_text(_page(outcome.verification))
    return DONE if outcome.verification.ok else FAILED


def _page(found: Verification) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    accuracy = f"{found.test_accuracy:.4f} ({found.test_correct:,} of {found.test_images:,} images)"
    lines = [
        f"{found.file}",
        f"  loaded in             {versions}",
        f"  trainable parameters  {found.trainable_parameters}",
        f"  test accuracy         {accuracy}",
        f"  optimizer state       {'yes' if found.has_optimizer_state else 'no'}",
        f"  size                  {found.bytes:,} bytes",
        f"  sha256                {found.sha256}",
        *(f"  {MARKS[check.ok]} {check.name:<20} {check.text}" for check in found.checks),
    ]
    return "\n".join(lines)
