"""Commands for a whole workspace: `stop`, `pack` and `import`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from engine import protocol as p
from engine.machine import os_errors
from engine.storage import approvals, archive, manifest, sources
from svhn_tui import words
from svhn_tui.cli.arguments import WORKSPACE, KnownWorkspaceOption, WorkspaceOption, existing_of, new_file_of
from svhn_tui.cli.commands import carry_out, command_group
from svhn_tui.cli.exit_codes import DONE, FAILED
from svhn_tui.client.session import ANSWER_SECONDS, IMPORT_SECONDS, connected
from svhn_tui.terminal.printing import print_error, print_text

app = command_group()


@app.command()
def stop(workspace: KnownWorkspaceOption = WORKSPACE) -> None:
    """Checkpoint what is training and end the background process.

    Nothing is lost: the next start continues from the checkpoints.
    """
    carry_out(end_host(workspace))


async def end_host(workspace: Path) -> int:
    """End the workspace's host; what trains is checkpointed."""
    async with connected(workspace) as session:
        await session.ask(p.Shutdown())
        await session.until(lambda state, event: isinstance(event, p.HostEnded), within=ANSWER_SECONDS)
    print("Stopped. What was training continues from its checkpoint at the next start.")
    return DONE


@app.command()
def pack(
    file: Annotated[Path, typer.Argument(help="The zip file to write.", parser=new_file_of, metavar="FILE")],
    workspace: KnownWorkspaceOption = WORKSPACE,
) -> None:
    """Put all runs into one zip file for another machine.

    Checkpoints are included, the data is not.
    """
    carry_out(pack_to(file, workspace))


async def pack_to(file: Path, workspace: Path) -> int:
    """Write all runs, with their checkpoints, to one zip file."""
    async with connected(workspace) as session:
        state = session.state
        root = Path(state.workspace)
        remarks = manifest.Remarks(tuple(state.notes.values()), dict(state.choices), dict(state.statements))
        try:
            packed = await asyncio.to_thread(archive.pack, root, file.absolute(), remarks)
        except OSError as error:
            print_error(os_errors.sentence_of(error, file) or f"{error.filename or file}: {error.strerror or error}.")
            return FAILED
    for sentence in packed.left_out:
        print_error(f"Left out: {words.clean(sentence)}")
    size = words.size(file.stat().st_size)
    print_text(f"{words.plural(packed.runs, 'run')} in {file}, {size}. Take it in: svhn-tui import {file}")
    return DONE


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
    """Import the runs of a packed file, each checked and taken once.

    Unfinished ones continue from their checkpoints.
    """
    carry_out(import_from(file, workspace))


async def import_from(file: Path, workspace: Path) -> int:
    """Import the runs of a packed file."""
    async with connected(workspace) as session:
        event = await session.answer(p.Import(path=str(file.absolute())), within=IMPORT_SECONDS)
    if not isinstance(event, p.Imported):
        print_error(getattr(event, "reason", ""))
        return FAILED
    print_text(
        f"{words.plural(event.finished, 'finished run')} taken in, {event.unfinished} unfinished, "
        f"{event.known} were here already."
        + (" `svhn-tui run all` continues what is not finished." if event.unfinished else "")
    )
    for sha256 in sorted(sources.all_of(workspace.expanduser())):
        if not approvals.is_approved(sha256):
            print_text(f"Model file {sha256[:12]} is not run until you looked at it: svhn-tui trust {sha256[:12]}")
    return DONE
