"""`svhn-tui doctor`: the faults of this machine and this workspace, and what to do about them."""

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from engine.core.finding import Finding
from engine.machine import devices, gpu_doctor, os_errors, sessions
from engine.storage import doctor as checks
from engine.training.native import build
from svhn_tui import preset_file, presets, words
from svhn_tui.cli.arguments import WORKSPACE, AnyWorkspaceOption
from svhn_tui.cli.commands import command_group
from svhn_tui.terminal.printing import Plain, print_error

app = command_group()


@app.command()
def doctor(
    workspace: AnyWorkspaceOption = WORKSPACE,
    repair: Annotated[bool, typer.Option("--repair", help="Put what is damaged aside, into set-aside/.")] = False,
) -> None:
    """Find what is wrong in the workspace or on this machine."""
    raise typer.Exit(look(workspace, repair=repair))


SIGNS = {"fine": "✓", "note": "!", "damaged": "✗"}
WANTED = ("tensorflow", "keras", "jax", "textual", "tinydb", "scipy")


def look(workspace: Path, *, repair: bool) -> int:
    """Print the findings; return 0 if nothing is damaged, or all damage was put aside."""
    findings = [_versions(), *_devices(), _native(), *sessions.examine(), _presets(workspace)]
    if workspace.is_dir():
        findings += checks.examine(workspace.resolve())
    else:
        findings.append(Finding("note", f"{workspace} is not a workspace yet", "The first `svhn-tui` makes one."))
    console = Plain()
    for finding in findings:
        text = f"{finding.text.rstrip('.')}. {finding.advice}" if finding.advice else finding.text
        console.print(Text(words.clean(f"{SIGNS[finding.level]} {text}")), soft_wrap=True)
    damaged = [finding for finding in findings if finding.level == "damaged"]
    if not repair:
        if movable := sum(bool(finding.moved) for finding in damaged):
            console.print(f"\n{words.plural(movable, 'thing')} to put aside: svhn-tui doctor --repair")
        return 1 if damaged else 0
    try:
        folder = checks.repair(workspace.resolve(), findings)
    except BlockingIOError:
        print_error("A host runs in this workspace: end it first with `svhn-tui stop`.")
        return 1
    except OSError as error:
        text = f"{error.filename}: {error.strerror}." if error.strerror else str(error)
        print_error(os_errors.sentence_of(error) or text)
        return 1
    outcome = f"Put aside in {folder}; the next start does without it." if folder else "Nothing to repair."
    console.print(Text(f"\n{outcome}"), soft_wrap=True)
    return 1 if any(not finding.moved for finding in damaged) else 0


def _versions() -> Finding:
    installed, missing = [f"Python {sys.version.split()[0]}"], []
    for name in WANTED:
        try:
            installed.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("damaged", f"{', '.join(missing)} is not installed", "`make install` in the project's folder.")
    return Finding("fine", ", ".join(installed))


def _devices() -> list[Finding]:
    gpus = devices.choose_gpus()
    machine = devices.machine(gpus)
    cores, memory = words.plural(len(machine.cores), "core"), f"{machine.memory / 2**30:,.0f} GiB of memory"
    count = words.plural(len(gpus.gpus), "GPU") if gpus.gpus else "no GPU"
    return [Finding("fine", f"{count}, {cores}, {memory}"), *gpu_doctor.examine(os.environ, gpus)]


def _native() -> Finding:
    built = build.library()
    if built.path is None:
        return Finding("note", f"{built.problem}: JAX trains dense networks", built.advice)
    return Finding("fine", "the native trainer for dense networks, compiled for this processor")


def _presets(workspace: Path) -> Finding:
    path = preset_file.find(workspace)
    try:
        return Finding("fine", f"{path}: {words.plural(len(preset_file.load(path).questions), 'question')}")
    except presets.PresetError as error:
        return Finding("damaged", str(error), "Mend that line, or remove the file to take the assignment's.")
