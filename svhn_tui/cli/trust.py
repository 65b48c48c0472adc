"""`trust`: shows model files, which run only if the user approves them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine.storage import approvals, sources
from svhn_tui import model_files, words
from svhn_tui.cli.arguments import WORKSPACE, AnyWorkspaceOption, fail, load_presets, path_of
from svhn_tui.cli.commands import command_group
from svhn_tui.cli.exit_codes import DONE, FAILED, WRONG_USE
from svhn_tui.presets import ModelFile, Presets, Question
from svhn_tui.terminal.printing import print_text

app = command_group()


@app.command()
def trust(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="A Python file, or the first digits of the SHA-256 of one in the workspace."
        ),
    ] = None,
    workspace: AnyWorkspaceOption = WORKSPACE,
    yes: Annotated[bool, typer.Option("--yes", help="Let it run without asking.")] = False,
) -> None:
    """Show a model file and let it run; without one, list them."""
    known = known_files(load_presets(workspace), workspace.expanduser())
    if file is None:
        for sha256, model in known.items():
            state = "may run" if approvals.is_approved(sha256) else "is not run"
            print_text(f"{sha256[:12]}  {state}  {words.clean(model.path or 'in the workspace')}")
        raise typer.Exit(DONE)
    path = path_of(file).expanduser().absolute()
    chosen = [sha256 for sha256, model in known.items() if _is_named(file, path, sha256, model)]
    if len(chosen) > 1:
        fail(f"{file[:80]!r} is the beginning of several; `svhn-tui trust` lists them.", WRONG_USE)
    raise typer.Exit(DONE if asked(known[chosen[0]] if chosen else _at(path), is_sure=yes) else FAILED)


def known_files(book: Presets, workspace: Path) -> dict[str, ModelFile]:
    """Return the model files of experiments.json and of a workspace, by their SHA-256."""
    return {sha256: ModelFile("", text) for sha256, text in sources.all_of(workspace).items()} | book.sources


def ask_for_trust(book: Presets, questions: Sequence[Question]) -> None:
    """Ask for approval of model files that are to run for the first time, or end."""
    wanted = [some for question in questions for some in book.configurations(question)]
    for file in book.unapproved(wanted).values():
        if not sys.stdin.isatty():
            fail(f"{file.path} is new or changed. Look at it, and let it run: svhn-tui trust {file.path}", FAILED)
        if not asked(file):
            fail("It is not run, and nothing was trained.", FAILED)


def asked(file: ModelFile, *, is_sure: bool = False) -> bool:
    """Show a model file, ask whether it may run, and store an approval; return the answer."""
    if not is_sure:
        print_text(words.clean(file.text, newlines=True))
        named = words.clean(file.path) or "this file, which came with an import,"
        is_sure = typer.confirm(f"Let {named} run, with all your rights?")
    if is_sure:
        approvals.approve(file.text)
        print_text("It may run as it is now." if file.path else "It may run.")
    return is_sure


def _at(path: Path) -> ModelFile:
    """Return a model file of the user's, which no workspace need name yet, or end."""
    if not path.is_file():
        fail(f"{path.name[:80]!r} is not a model file here; `svhn-tui trust` lists them.", WRONG_USE)
    try:
        return ModelFile(str(path), model_files.text_of(path))
    except ValueError as error:
        fail(str(error), FAILED)


def _is_named(given: str, path: Path, sha256: str, file: ModelFile) -> bool:
    is_digits = len(given) >= 4 and sha256.startswith(given.lower())
    return is_digits or bool(file.path and path.resolve() == Path(file.path).resolve())
