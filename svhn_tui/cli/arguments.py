"""Options that several commands share, and the parsing of their values.

A value that is never valid ends the program with the code of wrong use, one that names something missing with that of
a failure; both with a sentence, and before anything is started.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.models import OptionInfo

from engine.core.data_shape import LAYOUTS
from engine.core.limits import MAX_LAYERS
from engine.core.options import MAX_UNITS
from engine.machine import os_errors
from engine.protocol import Fleet
from svhn_tui import preset_file, presets, settings
from svhn_tui.cli.exit_codes import FAILED, WRONG_USE

if TYPE_CHECKING:
    from svhn_tui.client.remote_host import Remote


RUN_ID = re.compile(r"[0-9a-f]{12}")
NOWHERE = "is a link that leads nowhere; remove it, or make what it leads to."
PathCheck = Callable[[typer.Context, typer.CallbackParam, Path], Path]


def path_of(given: str | Path) -> Path:
    """Read a path, which may be one of another machine; a default is one already."""
    text = str(given)
    if not text.strip():
        raise typer.BadParameter("it is empty; name a file or folder.")
    try:
        path = Path(text)
        path.expanduser().lstat()
    except RuntimeError:
        raise typer.BadParameter(f"{text[:40]!r} names a home folder that is not known here.") from None
    except (FileNotFoundError, PermissionError):
        pass  # it may not exist yet, or may be readable by others only
    except OSError as error:
        raise typer.BadParameter(f"{text[:40]!r}: {os_errors.cause_of(error) or error.strerror}.") from error
    return path


def folder_of(given: str | Path) -> Path:
    """Read the path of a folder on this machine that exists or will be made."""
    path = path_of(given)
    if problem := folder_problem(path):
        raise typer.BadParameter(problem)
    return path


def folder_problem(path: Path) -> str:
    """Return why a path is no folder and cannot become one; empty where it is one, or is free."""
    there = path.expanduser()
    if there.exists():
        return "" if there.is_dir() else f"{path} is not a folder."
    return f"{path} {NOWHERE}" if there.is_symlink() else ""


def new_file_of(text: str) -> Path:
    """Read the path of a file that is to be written."""
    path = path_of(text).expanduser()
    if path.exists() and not path.is_file():
        raise typer.BadParameter(f"{path} is a folder or a device, and a file is to be written.")
    if path.is_symlink() and not path.exists():
        raise typer.BadParameter(f"{path} {NOWHERE}")
    if not path.absolute().parent.is_dir():
        fail(f"{path.absolute().parent} is not a folder; name a file in one that is there.", FAILED)
    return path


def filter_of(text: str) -> str:
    """Read a filter of runs in the language of the Runs page."""
    from svhn_tui.analysis.run_filter import FilterError, parse

    try:
        parse(text, logged=None)
    except FilterError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def existing_of(text: str) -> Path:
    """Read the path of a file or folder that is to be read."""
    path = path_of(text).expanduser()
    try:
        path.stat()
    except OSError as error:
        fail(os_errors.sentence_of(error) or f"{path} is not there.", FAILED)
    if not path.is_file() and not path.is_dir():
        raise typer.BadParameter(f"{path} is neither a file nor a folder.")
    return path


def file_of(text: str) -> Path:
    """Read the path of a file that is to be read."""
    path = existing_of(text)
    if not path.is_file():
        raise typer.BadParameter(f"{path} is a folder; name a file.")
    return path


def _is_there(context: typer.Context, option: typer.CallbackParam, workspace: Path) -> Path:
    """Return the workspace if it exists, or end: commands that only read make none."""
    if not workspace.expanduser().is_dir():
        fail(
            f"{workspace} is not a workspace: there is no such folder. `svhn-tui run` and the screen make one.", FAILED
        )
    return workspace


def _is_there_if_named(context: typer.Context, option: typer.CallbackParam, workspace: Path) -> Path:
    """Return the workspace if it exists or is the default one, or end."""
    source = context.get_parameter_source(option.name or "")
    is_named = source is not None and source.name != "DEFAULT"
    return _is_there(context, option, workspace) if is_named else workspace


def _workspace_option(parser: Callable[[str], Path], callback: PathCheck | None = None) -> OptionInfo:
    """Return the option that names a workspace, read by this parser and then checked."""
    option: OptionInfo = typer.Option(
        "--workspace", "-w", envvar="SVHN_TUI_WORKSPACE", help="Folder that holds all runs.", show_default=True,
        parser=parser, metavar="PATH", callback=callback,
    )  # fmt: skip
    return option


WorkspaceOption = Annotated[Path, _workspace_option(folder_of)]
"""The option of commands that train, which make the workspace if it is missing."""
KnownWorkspaceOption = Annotated[Path, _workspace_option(folder_of, _is_there)]
"""The option of commands that read a workspace."""
AnyWorkspaceOption = Annotated[Path, _workspace_option(folder_of, _is_there_if_named)]
"""The option of commands that do not need a workspace."""
WorkspaceThereOption = Annotated[Path, _workspace_option(path_of)]
"""The option of commands whose workspace may be on another machine."""
ReadOnlyOption = Annotated[
    bool, typer.Option("--read-only", help="Start nothing and change nothing: for a workspace that others can write.")
]

WORKSPACE = settings.WORKSPACE
DataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", "-d", help="Folder with the data set, or its files: two .npz or .mat, or one .npz. Else demo data.",
        parser=path_of, metavar="PATH",
    ),
]  # fmt: skip


def _layout_of(text: str) -> str:
    """Read the order of axes, whatever its case."""
    if text.upper() not in LAYOUTS:
        raise typer.BadParameter(f"{text[:20]!r} is none of {', '.join(LAYOUTS)}.")
    return text.upper()


LayoutOption = Annotated[
    str | None,
    typer.Option(
        "--layout", help="Order of the images' axes where their shape leaves it open, such as NHWC.",
        parser=_layout_of, metavar="AXES", show_default=False,
    ),
]  # fmt: skip
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def sources(paths: list[Path] | None) -> tuple[str, ...]:
    """Return the data's absolute paths, or end with an error."""
    files = [path.expanduser().absolute() for path in paths or ()]
    for path in files:
        try:
            path.stat()
        except OSError as error:
            problem = f"{path} is not there; give the folder that holds the assignment's two .npz files."
            fail(os_errors.sentence_of(error) or problem, FAILED)
        if not path.is_file() and not path.is_dir():
            fail(f"{path} is neither a file nor a folder.", WRONG_USE)
    if len(files) == 1 and files[0].is_file() and files[0].suffix.lower() != ".npz":
        first = {".zip": "unpack it and ", ".mat": ""}.get(files[0].suffix.lower(), "data is read from .npz or .mat; ")
        fail(f"{files[0]} is a single file; {first}give the folder that holds both files, or both.", WRONG_USE)
    if len(files) > 2:
        fail("Give one folder with the data, or the train file and the test file.", WRONG_USE)
    return tuple(map(str, files))


def remote_of(host: str) -> "Remote":
    """Return the machine, or end as wrong use."""
    from svhn_tui.client import remote_host

    try:
        return remote_host.parse(host)
    except ValueError as error:
        fail(str(error), WRONG_USE)


def load_presets(workspace: Path) -> presets.Presets:
    """Return the presets in force, or end with their error."""
    try:
        return preset_file.load(preset_file.find(workspace))
    except presets.PresetError as error:
        fail(str(error), FAILED)


def seconds_of(text: str) -> float:
    """Read a duration, or end as wrong use."""
    from svhn_tui import words

    try:
        return words.seconds_of(text)
    except ValueError as error:
        fail(str(error), WRONG_USE)


def fleet_of(slurm: str | None, workers: int, ssh: str | None, gpus: str | None = None, *, local: bool) -> Fleet | None:
    """Return where to train, None for the earlier choice, or end as wrong use."""
    if local or (slurm is not None and not slurm.strip()):
        if ssh or (slurm or "").strip():
            fail("--local is for this machine alone; leave --slurm and --worker-ssh out.", WRONG_USE)
        if gpus is None:
            return Fleet()
        slurm = None
    if slurm is None and ssh is None and gpus is None:
        if workers > 1:
            fail("--workers goes with --slurm.", WRONG_USE)
        return None
    if ssh is not None and not ssh.replace(",", " ").split():
        fail("--worker-ssh names machines as you name them to ssh, with commas between.", WRONG_USE)
    if gpus is not None:
        _check_gpus(gpus)
    from engine.workers import fleet

    try:
        return fleet.parse(slurm, workers, ssh or "", gpus or "", on_command_line=True)
    except ValueError as error:
        fail(str(error), WRONG_USE)


def _check_gpus(gpus: str) -> None:
    """End as wrong use unless this machine has all of these GPUs."""
    from engine.machine import devices

    if gpus.strip().lower() == "none":
        return
    if not gpus.strip():
        fail("--gpus names GPUs, such as 1,3 as nvidia-smi numbers them, or none; --local takes all.", WRONG_USE)
    choice = devices.choose_gpus(gpus)
    if not choice.gpus:
        fail(" ".join(choice.problems) or "There is no GPU on this machine.", WRONG_USE)


def run_of(text: str) -> str:
    """Return a run's name, or end as wrong use."""
    if not RUN_ID.fullmatch(text):
        fail(f"{text[:40]!r} is not a run: twelve hexadecimal digits name one; `svhn-tui runs` lists them.", WRONG_USE)
    return text


def hidden_of(text: str) -> str:
    """Return the hidden layers of a network to time, or end as wrong use."""
    layers = text.split(",") if text != "linear" else []
    if len(layers) > MAX_LAYERS or not all(re.fullmatch(r"\d{1,5}", units) for units in layers):
        fail(f"--hidden {text[:40]!r}: `linear`, or units of each layer such as 256 or 1024,256.", WRONG_USE)
    if not all(1 <= int(units) <= MAX_UNITS for units in layers):
        fail(f"--hidden {text[:40]!r}: each layer has 1 to {MAX_UNITS:,} units.", WRONG_USE)
    return text


def names_of(book: presets.Presets, names: list[str]) -> list[str]:
    """Return the question names, `all` being every one of the assignment that needs training."""
    every = [question.id for question in book.assignment if question.networks and question.seeds]
    return list(dict.fromkeys(some for name in names for some in (every if name.lower() == "all" else [name])))


def question_of(book: presets.Presets, name: str) -> presets.Question:
    """Return the question, or end as wrong use with the existing names."""
    try:
        return book.question(name)
    except presets.PresetError as error:
        fail(str(error), WRONG_USE)


def fail(sentence: str, code: int) -> NoReturn:
    """Print an error on stderr and end."""
    from svhn_tui.terminal.printing import print_error

    print_error(sentence)
    raise typer.Exit(code)
