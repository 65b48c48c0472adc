"""What is typed after `svhn-tui`: the options that several commands share, and their values, read or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.models import OptionInfo

from engine import boxes
from engine.protocol import Fleet
from svhn_tui import presets
from svhn_tui.exit_codes import FAILED, WRONG_USE

if TYPE_CHECKING:
    from svhn_tui.remote import Remote


def _is_there(context: typer.Context, option: typer.CallbackParam, workspace: Path) -> Path:
    """Let a workspace pass, or end: what only looks makes none."""
    if not workspace.expanduser().is_dir():
        fail(f"{workspace} is no workspace: there is no such folder. `svhn-tui run` and the screen make one.", FAILED)
    return workspace


def _is_there_if_named(context: typer.Context, option: typer.CallbackParam, workspace: Path) -> Path:
    """Let a workspace pass, and the usual one even before it is there, or end."""
    source = context.get_parameter_source(option.name or "")
    is_named = source is not None and source.name != "DEFAULT"
    return _is_there(context, option, workspace) if is_named else workspace


def _workspace_option(callback: Callable[[typer.Context, typer.CallbackParam, Path], Path] | None = None) -> OptionInfo:
    option: OptionInfo = typer.Option(
        "--workspace", "-w", envvar="SVHN_TUI_WORKSPACE", help="Folder that holds all runs.", callback=callback
    )
    return option


WorkspaceOption = Annotated[Path, _workspace_option()]
"""Of what trains: made where it is missing."""
KnownWorkspaceOption = Annotated[Path, _workspace_option(_is_there)]
"""Of what looks at a workspace."""
AnyWorkspaceOption = Annotated[Path, _workspace_option(_is_there_if_named)]
"""Of what does not need one."""
ReadOnlyOption = Annotated[
    bool, typer.Option("--read-only", help="Start nothing and change nothing: for a workspace that others can write.")
]
DataOption = Annotated[
    list[Path] | None,
    typer.Option("--data", "-d", help="Folder with the assignment's two .npz files (or each file). Else demo data."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
WORKSPACE = Path("svhn-workspace")


def sources(paths: list[Path] | None) -> tuple[str, ...]:
    """Return the paths as the host, in whatever folder it runs, will find them."""
    return tuple(str(path.expanduser().absolute()) for path in paths or ())


def remote_of(host: str) -> "Remote":
    """Return the machine, or end as wrong use."""
    from svhn_tui import remote

    try:
        return remote.parse(host)
    except ValueError as error:
        fail(str(error), WRONG_USE)


def load_presets(workspace: Path) -> presets.Presets:
    """Return the presets in force, or end with what is wrong with them."""
    try:
        return presets.load(presets.find(workspace))
    except presets.PresetError as error:
        fail(str(error), FAILED)


def seconds_of(text: str) -> float:
    """Read a duration, or end as wrong use."""
    from svhn_tui import words

    try:
        return words.seconds_of(text)
    except ValueError as error:
        fail(str(error), WRONG_USE)


def fleet_of(slurm: str | None, workers: int, ssh: str | None, *, local: bool) -> Fleet | None:
    """Return where to train, None where the workspace's own setting stays, or end as wrong use."""
    if local or (slurm is not None and not slurm.strip()):
        if ssh or (slurm or "").strip():
            fail("--local is for this machine alone; leave --slurm and --worker-ssh out.", WRONG_USE)
        return Fleet()
    if slurm is None and ssh is None:
        if workers > 1:
            fail("--workers goes with --slurm.", WRONG_USE)
        return None
    named = tuple(box.strip() for box in (ssh or "").split(",") if box.strip())
    try:
        for box in named:
            boxes.parse(box)
    except ValueError as error:
        fail(str(error), WRONG_USE)
    return Fleet(slurm=slurm, ssh=named, workers=workers if slurm is not None else 0)


def names_of(book: presets.Presets, names: list[str]) -> list[str]:
    """Return the question names, `all` being every one that needs training."""
    if [name.lower() for name in names] == ["all"]:
        return [question.id for question in book.questions if question.networks and question.seeds]
    return names


def question_of(book: presets.Presets, name: str) -> presets.Question:
    """Return the question, or end as wrong use with the names that there are."""
    try:
        return book.question(name)
    except presets.PresetError as error:
        fail(str(error), WRONG_USE)


def fail(sentence: str, code: int) -> NoReturn:
    """Say what is wrong on stderr and leave."""
    from svhn_tui.printing import complain

    complain(sentence)
    raise typer.Exit(code)
