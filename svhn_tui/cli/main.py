"""The command line, which can do everything that the screen can; see `svhn-tui --help`."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated, NoReturn

from engine.machine import child_process, system

if os.environ.get("PYTHONPATH"):  # a cluster's modules put packages for another Python there
    sys.path[:] = child_process.own_folders()

import typer

from svhn_tui.cli.arguments import (
    WORKSPACE,
    DataOption,
    LayoutOption,
    WorkspaceThereOption,
    fail,
    folder_problem,
    remote_of,
    sources,
)
from svhn_tui.cli.commands import ProgramCommands
from svhn_tui.cli.exit_codes import DONE, FAILED, INTERRUPTED, WRONG_USE
from svhn_tui.terminal import streams

app = typer.Typer(
    cls=ProgramCommands,
    help=(
        "Run a set of Keras experiments on SVHN house numbers and hand in answers proved right.\n\n"
        "Without a command the screen opens. Training continues in the background when it is closed."
    ),
    rich_markup_mode=None,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def show_version(wanted: bool) -> None:
    """Print the versions that matter for the files handed in."""
    if wanted:
        from engine.machine.system import version

        names = ("svhn-tui", "tensorflow", "keras", "jax", "textual")
        typer.echo(" · ".join(f"{name} {version(name)}" for name in names))
        raise typer.Exit


@app.callback(invoke_without_command=True)
def screen(
    context: typer.Context,
    workspace: WorkspaceThereOption = WORKSPACE,
    data: DataOption = None,
    layout: LayoutOption = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST", help="Work on another machine over your own ssh: HOST, or HOST:PATH of its Python."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the versions and leave.")
    ] = False,
) -> None:
    """Open the screen."""
    remote = remote_of(host) if host is not None else None
    if context.invoked_subcommand:
        if remote is not None:
            from svhn_tui.client.remote_host import run_there

            index = sys.argv.index(context.invoked_subcommand)
            fail(f"ssh cannot be started; {remote.name} is not reached.", run_there(remote, sys.argv[index:]))
        return
    check_terminal()
    if remote is None and (problem := folder_problem(workspace)):
        fail(problem, WRONG_USE)
    from engine.machine import ownership

    there = workspace.expanduser().resolve()
    if remote is None and there.exists() and (problem := ownership.problem(there)):
        fail(problem, FAILED)
    os.environ.setdefault("TEXTUAL_FPS", "120")  # the delay of a key; all else is drawn far less often
    from svhn_tui.cli.screen import open_screen

    source = tuple(map(str, data or ())) if remote is not None else sources(data)  # its paths are those of that machine
    raise typer.Exit(open_screen(workspace, source, remote, layout or ""))


def check_terminal() -> None:
    """End with a sentence where the screen cannot be drawn."""
    kind = os.environ.get("TERM", "")
    all_three = (sys.stdin, sys.stdout, sys.stderr)  # Textual draws on stderr
    if not all(stream.isatty() for stream in all_three) or kind in ("", "dumb", "unknown"):
        fail(
            "The screen needs a terminal. Without one: `svhn-tui run Q2`, `svhn-tui status`, `svhn-tui answers`.",
            WRONG_USE,
        )
    if not streams.is_utf8(sys.stderr):
        fail(
            f"The screen is drawn in UTF-8, and the locale here is for {sys.stderr.encoding}: in a terminal for UTF-8, "
            "`LC_ALL=C.UTF-8 svhn-tui` opens it. Commands such as `svhn-tui status` work as they are.",
            FAILED,
        )


def is_text(name: str) -> bool:
    """Say whether a name from the system is valid text, as messages and files require."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def print_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the sentence on an unforeseen exception; the exit code is 1."""
    from svhn_tui.terminal import crash_report
    from svhn_tui.terminal.printing import print_error

    print_error(crash_report.sentence_of(error))


def unreadable_name(folder: str) -> str:
    """Return a part of the command line or the environment that is not valid text; empty if all are."""
    names = (*sys.argv[1:], folder, os.environ.get("SVHN_TUI_WORKSPACE", ""))
    return next((name for name in names if not is_text(name)), "")


def carried_out() -> int:
    """Carry out the command line; return the exit code."""
    from svhn_tui.terminal import crash_report
    from svhn_tui.terminal.printing import print_error

    try:
        try:
            here = str(Path.cwd())
        except FileNotFoundError:
            print_error("The current folder is gone; change to one that is there.")
            return FAILED
        if name := unreadable_name(here):
            print_error(f"{name} is not UTF-8 text; rename it, or reach it by another name.")
            return WRONG_USE
        code = typer.main.get_command(app)(standalone_mode=False)  # otherwise it would print tracebacks
        streams.flush()
    except typer.TyperException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "svhn-tui")
        problem = error.format_message()
        print_error(f"{problem}{'' if problem.endswith(('.', '?')) else '.'} See `{where} --help`.")
        return WRONG_USE
    except typer.Abort:  # a question's input ended, or Ctrl-C there
        print_error("There was no answer, and nothing was done.")
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, MemoryError) as error:
        if streams.is_read():  # the reader closed stdout
            print_error(crash_report.sentence_of(error))
        streams.discard()
        code = FAILED
    return code if isinstance(code, int) else DONE


def main() -> NoReturn:
    """Entry point of the installed command."""
    if sentence := system.unsupported():
        raise SystemExit(sentence)
    sys.excepthook = print_defect
    os.umask(0o077)  # on a shared machine all files, exports too, are private to the user
    streams.prepare()
    raise SystemExit(carried_out())
