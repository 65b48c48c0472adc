"""The command line. Everything that the screen can do to training can be done here; see `svhn-tui --help`."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Annotated, NoReturn

import typer

from engine.core.limits import MAX_EPOCHS
from engine.machine import system
from svhn_tui.cli.arguments import (
    WORKSPACE,
    AnyWorkspaceOption,
    DataOption,
    JsonOption,
    KnownWorkspaceOption,
    ReadOnlyOption,
    WorkspaceOption,
    WorkspaceThereOption,
    command_of,
    existing_of,
    fail,
    file_of,
    fleet_of,
    folder_of,
    hidden_of,
    load_presets,
    names_of,
    new_file_of,
    path_of,
    question_of,
    remote_of,
    run_of,
    seconds_of,
    sources,
)
from svhn_tui.cli.exit_codes import DONE, FAILED, INTERRUPTED, WRONG_USE
from svhn_tui.terminal import streams

app = typer.Typer(
    help=(
        "Run a set of Keras experiments on SVHN house numbers and hand in answers proved right.\n\n"
        "Without a command the screen opens. Training goes on in the background when it is closed."
    ),
    rich_markup_mode=None,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Check a data set, or make a demo one.", rich_markup_mode=None)
app.add_typer(data_app, name="data")


def show_version(wanted: bool) -> None:
    """Print the versions that matter for the files handed in."""
    if wanted:
        import importlib.metadata

        names = ("svhn-tui", "tensorflow", "keras", "jax", "textual")
        typer.echo(" · ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
        raise typer.Exit


@app.callback(invoke_without_command=True)
def screen(
    context: typer.Context,
    workspace: WorkspaceThereOption = WORKSPACE,
    data: DataOption = None,
    host: Annotated[
        str | None, typer.Option(help="Work on another machine over your own ssh: HOST, or HOST:PATH of its Python.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True)] = False,
) -> None:
    """Open the screen."""
    remote = remote_of(host) if host is not None else None
    if context.invoked_subcommand:
        if remote is not None:
            from svhn_tui.client.remote_host import run_there

            place = sys.argv.index(context.invoked_subcommand)
            fail(f"ssh cannot be started; {remote.name} is not reached.", run_there(remote, sys.argv[place:]))
        return
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
    if remote is None and workspace.expanduser().exists() and not workspace.expanduser().is_dir():
        fail(f"{workspace} is no folder.", WRONG_USE)
    from engine.machine import ownership

    there = workspace.expanduser().resolve()
    if remote is None and there.exists() and (problem := ownership.problem(there)):
        fail(problem, FAILED)
    os.environ.setdefault("TEXTUAL_FPS", "120")  # how soon a key is seen; what is drawn unasked comes far more rarely
    from svhn_tui.app import run as open_screen

    source = tuple(map(str, data or ())) if remote is not None else sources(data)  # its paths are those over there
    raise typer.Exit(open_screen(workspace, source, remote))


@app.command()
def run(
    questions: Annotated[list[str], typer.Argument(help="Questions, such as Q2 Q7, or `all`.", metavar="QUESTION...")],
    workspace: WorkspaceOption = WORKSPACE,
    data: DataOption = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_EPOCHS, help="Other than asked: such runs are runs of their own."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=10_000, help="Seeds of each configuration, from 0.")] = None,
    on_interrupt: Annotated[
        str | None, typer.Option(help="What Ctrl-C does: `detach` (training goes on) or `stop`. Else it asks.")
    ] = None,
    stop_after: Annotated[
        str | None, typer.Option(help="Checkpoint everything and leave after this long: 45m, 8h, 1h30m. Exit code 3.")
    ] = None,
    slurm: Annotated[
        str | None, typer.Option(help="Train through Slurm, with these options of srun: '--gres=gpu:1 --time=4:00:00'.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=1_000, help="Slurm workers at a time.")] = 1,
    worker_ssh: Annotated[str | None, typer.Option(help="Train on these boxes over your own ssh: boxA,boxB.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Train on this machine again.")] = False,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Start this command when a question is complete, or a run failed or diverged: the sentence is its "
            "stdin, stands in SVHN_TUI_NOTICE, and in the place of {}. 'curl -d @- https://ntfy.sh/mytopic'",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train what these questions still lack, the cheapest first, and print the answers.

    Where it trains is kept in your settings, for this workspace: --slurm, --worker-ssh or --local changes it for
    later runs too.
    """
    from svhn_tui.analysis.progress import Overrides
    from svhn_tui.cli import run as headless
    from svhn_tui.cli import run_output

    if on_interrupt not in (None, "detach", "stop"):
        fail(f"--on-interrupt {on_interrupt[:40]!r}: `detach` or `stop`.", WRONG_USE)
    book = load_presets(workspace)
    chosen = [question_of(book, name) for name in names_of(book, questions)]
    reporter = run_output.reporter(as_json=as_json)
    seconds = seconds_of(stop_after) if stop_after is not None else None
    fleet = fleet_of(slurm, workers, worker_ssh, local=local)
    command = command_of(notify) if notify is not None else ()
    wish = headless.Wish(
        chosen, Overrides(epochs=epochs, seeds=seeds), sources(data), on_interrupt, seconds, fleet, command
    )
    raise typer.Exit(asyncio.run(headless.train(workspace, book, wish, reporter)))


@app.command()
def status(
    workspace: KnownWorkspaceOption = WORKSPACE, read_only: ReadOnlyOption = False, as_json: JsonOption = False
) -> None:
    """Say how far every question is, and what is training now."""
    from svhn_tui.cli import listing

    carry_out(listing.print_status(workspace, load_presets(workspace), as_json=as_json, is_read_only=read_only))


@app.command()
def answers(
    workspace: KnownWorkspaceOption = WORKSPACE, read_only: ReadOnlyOption = False, as_json: JsonOption = False
) -> None:
    """Print the answers, each with how far it can be trusted."""
    from svhn_tui.cli import listing

    carry_out(listing.print_answers(workspace, load_presets(workspace), as_json=as_json, is_read_only=read_only))


@app.command()
def runs(
    workspace: KnownWorkspaceOption = WORKSPACE, read_only: ReadOnlyOption = False, as_json: JsonOption = False
) -> None:
    """List the finished runs."""
    from svhn_tui.cli import listing

    carry_out(listing.print_runs(workspace, as_json=as_json, is_read_only=read_only))


@app.command()
def evidence(
    question: Annotated[str, typer.Argument(help="A multiple-choice question: Q8 or Q11.")],
    workspace: KnownWorkspaceOption = WORKSPACE,
    read_only: ReadOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what the runs show about a multiple-choice question, each fact with its figures."""
    from svhn_tui.cli import listing

    book = load_presets(workspace)
    asked = question_of(book, question)
    if not asked.evidence:
        fail(f"{asked.id} is no multiple-choice question.", WRONG_USE)
    carry_out(listing.print_evidence(workspace, book, asked, as_json=as_json, is_read_only=read_only))


@app.command()
def choose(
    question: Annotated[str, typer.Argument(help="A question that hands in a file, such as Q5.")],
    run: Annotated[str | None, typer.Argument(help="The run whose file it is; without one, the first seed's.")] = None,
    workspace: KnownWorkspaceOption = WORKSPACE,
) -> None:
    """Choose the run whose file a question hands in; the answer about that file follows."""
    from svhn_tui.cli import actions

    book = load_presets(workspace)
    chosen = question_of(book, question)
    if chosen.kind != "training":
        fail(f"{chosen.id} hands in no trained file.", WRONG_USE)
    carry_out(actions.choose(workspace, book, chosen, run_of(run) if run is not None else None))


@app.command()
def finalists(
    question: Annotated[str, typer.Argument(help="A question with two stages, such as Q10.")],
    configurations: Annotated[
        list[int] | None, typer.Argument(help="Their indices, from 0; without any, the rule of experiments.json.")
    ] = None,
    workspace: KnownWorkspaceOption = WORKSPACE,
) -> None:
    """Choose by hand which configurations go on to the second stage, and train them."""
    from svhn_tui.cli import actions

    book = load_presets(workspace)
    asked = question_of(book, question)
    if asked.finalists is None:
        fail(f"{asked.id} has no second stage.", WRONG_USE)
    if wrong := [index for index in configurations or () if not 0 <= index < len(asked.networks)]:
        fail(f"{asked.id} has no configuration {wrong[0]}: 0 to {len(asked.networks) - 1}.", WRONG_USE)
    carry_out(actions.choose_finalists(workspace, book, asked, tuple(sorted(set(configurations or ())))))


@app.command()
def stop(workspace: KnownWorkspaceOption = WORKSPACE) -> None:
    """Checkpoint what is training and end the workspace's background process; nothing is lost."""
    from svhn_tui.cli import actions

    carry_out(actions.stop(workspace))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A .keras file.", parser=file_of, metavar="FILE")],
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", "-d", help="Folder with the assignment's two .npz files.", parser=path_of, metavar="PATH"
        ),
    ],
    question: Annotated[str | None, typer.Option(help="Check it as the grader would for this question.")] = None,
    workspace: AnyWorkspaceOption = WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Open a file in plain TensorFlow Keras, in a process of its own, and count again."""
    from svhn_tui.cli import tools

    book = load_presets(workspace)
    asked = question_of(book, question) if question is not None else None
    if asked is not None and not asked.networks:
        fail(f"{asked.id} hands in no trained file.", WRONG_USE)
    raise typer.Exit(tools.verify(file, sources(data), book, asked, as_json=as_json))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where everything goes.", parser=folder_of, metavar="FOLDER")],
    workspace: KnownWorkspaceOption = WORKSPACE,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there and were not exported.")] = False,
    read_only: ReadOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put what is handed in into a folder: code, files, answers, and the runs behind them."""
    from svhn_tui.cli import actions

    book = load_presets(workspace)
    carry_out(actions.export_to(folder, workspace, book, force=force, as_json=as_json, is_read_only=read_only))


@app.command()
def pack(
    file: Annotated[Path, typer.Argument(help="The zip file to write.", parser=new_file_of, metavar="FILE")],
    workspace: KnownWorkspaceOption = WORKSPACE,
) -> None:
    """Put all runs, checkpoints included but no data, into one zip file for another machine."""
    from svhn_tui.cli import actions

    carry_out(actions.pack_to(file, workspace))


@app.command("import")
def import_runs(
    file: Annotated[
        Path,
        typer.Argument(
            help="A file that `svhn-tui pack` wrote, or the folder it was unpacked into.",
            parser=existing_of,
            metavar="FILE",
        ),
    ],
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Take in the runs of a packed file: each once, checked; unfinished ones go on from their checkpoints."""
    from svhn_tui.cli import actions

    carry_out(actions.import_from(file, workspace))


@app.command()
def doctor(
    workspace: AnyWorkspaceOption = WORKSPACE,
    repair: Annotated[bool, typer.Option("--repair", help="Put what is damaged aside, into set-aside/.")] = False,
) -> None:
    """Look the workspace and this machine over: what is wrong, and what to do."""
    from svhn_tui.cli import doctor as doctoring

    raise typer.Exit(doctoring.look(workspace, repair=repair))


@app.command()
def bench(
    data: DataOption = None,
    hidden: Annotated[list[str] | None, typer.Option(help="`linear`, `256`, `1024,256`; may be repeated.")] = None,
    train: Annotated[int, typer.Option(min=1_000, max=50_000, help="Demo images, without --data.")] = 50_000,
    epochs: Annotated[int, typer.Option(min=1, max=1_000, help="Warm epochs a round; there are three rounds.")] = 3,
    plot: Annotated[Path | None, typer.Option(help="Draw the times into this PNG file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Time JAX and the native trainer beside `model.fit` on this machine, on the same work."""
    from svhn_tui.cli import bench as benching

    chosen = [hidden_of(text) for text in hidden or ["linear", "64", "256", "1024"]]
    sizes = (train, max(1_000, train // 5))
    book = load_presets(WORKSPACE)
    carry_out(benching.bench(book, sources(data), chosen, sizes, epochs, as_json=as_json, plot=plot))


@data_app.command("check")
def data_check(
    source: Annotated[
        list[Path], typer.Argument(help="A folder, or the two files.", parser=path_of, metavar="SOURCE...")
    ],
    as_json: JsonOption = False,
) -> None:
    """Read a data set's files and say what is in them, or what is wrong."""
    from svhn_tui.cli import tools

    raise typer.Exit(tools.check_data(sources(source), as_json=as_json))


@data_app.command("demo")
def data_demo(
    folder: Annotated[Path, typer.Argument(help="Where the two files go.", parser=folder_of, metavar="FOLDER")],
    train: Annotated[int, typer.Option(min=10, max=50_000)] = 5_000,
    test: Annotated[int, typer.Option(min=10, max=10_000)] = 1_000,
    as_json: JsonOption = False,
) -> None:
    """Make a demo data set in the assignment's layout: drawn digits, not SVHN."""
    from svhn_tui.cli import tools

    raise typer.Exit(tools.make_demo_data(folder, train, test, as_json=as_json))


def carry_out(work: Coroutine[object, object, int]) -> NoReturn:
    """Run it and leave with its exit code; a lost connection is one sentence."""
    from svhn_tui.client.bridge import LinkLost

    try:
        code = asyncio.run(work)
    except LinkLost as error:
        fail(str(error), FAILED)
    raise typer.Exit(code)


def is_text(name: str) -> bool:
    """Say whether a name from the system is text, as messages and files of ours are."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def tell_of_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what ended the program unforeseen; its exit code is 1."""
    from svhn_tui.terminal import crash_report
    from svhn_tui.terminal.printing import complain

    complain(crash_report.told(error))


def unreadable_name(folder: str) -> str:
    """Return what of the command line and the surroundings is not text; empty where all is."""
    names = (*sys.argv[1:], folder, os.environ.get("SVHN_TUI_WORKSPACE", ""))
    return next((name for name in names if not is_text(name)), "")


def carried_out() -> int:
    """Carry out the command line; return the exit code."""
    from svhn_tui.terminal import crash_report
    from svhn_tui.terminal.printing import complain

    try:
        try:
            here = str(Path.cwd())
        except FileNotFoundError:
            complain("The current folder is gone; change to one that is there.")
            return FAILED
        if name := unreadable_name(here):
            complain(f"{name} is not UTF-8 text; rename it, or reach it by another name.")
            return WRONG_USE
        code = typer.main.get_command(app)(standalone_mode=False)  # else it would print tracebacks of its own
        streams.flush()
    except typer.TyperException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "svhn-tui")
        complain(f"{error.format_message().rstrip('.')}. See `{where} --help`.")
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, MemoryError) as error:
        if streams.is_read():  # whoever closed stdout wants no more of it
            complain(crash_report.told(error))
        streams.discard()
        code = FAILED
    return code if isinstance(code, int) else DONE


def main() -> NoReturn:
    """Entry point of the installed command."""
    if sentence := system.unsupported():
        raise SystemExit(sentence)
    sys.excepthook = tell_of_defect
    os.umask(0o077)  # a shared machine: what is written, exports too, is the user's alone
    streams.prepare()
    raise SystemExit(carried_out())
