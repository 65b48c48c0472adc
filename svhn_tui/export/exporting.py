"""An export beside the screen, in a process of its own."""

import time
from pathlib import Path

import msgspec

from engine.machine import child_process, tool_process
from engine.protocol import UNREADABLE
from svhn_tui.analysis.notices import Notice
from svhn_tui.client.remote_host import Remote
from svhn_tui.words import clean


class Thing(msgspec.Struct, frozen=True):
    """One thing that was to be exported, as `svhn-tui export --json` prints it."""

    name: str
    text: str = msgspec.field(name="said")
    ok: bool


class Export(msgspec.Struct, frozen=True):
    """What came of an export."""

    things: tuple[Thing, ...] = ()
    complaint: str = ""
    """Why nothing was exported."""

    @property
    def lacking(self) -> str:
        """What is not there, or not right, a line each; empty when all is."""
        return self.complaint or "\n".join(f"{thing.name}: {thing.text}" for thing in self.things if not thing.ok)


async def export_beside(exports: Path, workspace: Path, remote: Remote | None) -> Notice:
    """Export into a new folder in `exports`, which like the workspace is there, where it trains; say how it went."""
    folder = exports / time.strftime("%Y-%m-%d-%H%M%S")
    lacking = (await exported(folder, workspace, remote)).lacking
    if not lacking:
        away = f" It is over there: scp -r {remote.name}:{folder} ." if remote else ""
        return Notice(text=clean(f"Everything is in {folder}, each file verified.{away}"), title="Exported")
    title = f"Not all could be exported to {clean(str(folder))}"
    return Notice(text=clean(lacking, newlines=True), title=title, severity="warning", timeout=20)


async def exported(folder: Path, workspace: Path, remote: Remote | None = None) -> Export:
    """Run `svhn-tui export` where the workspace is; return what it printed."""
    there = workspace if remote else workspace.expanduser().absolute()
    command = child_process.program("svhn_tui", "export", "--json", "--workspace", str(there), "--", str(folder))
    if remote is not None:
        command = command._replace(argv=tuple(remote.command(command.argv[1:])))
    done = await tool_process.run_beside(command)
    try:
        return Export(things=msgspec.json.decode(done.stdout, type=tuple[Thing, ...]))
    except UNREADABLE:
        return Export(complaint=done.stderr.strip() or f"It ended with exit code {done.status}.")
