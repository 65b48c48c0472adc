"""An export in a process of its own, while the screen is open."""

import time
from pathlib import Path

import msgspec

from engine.machine import child_process, tool_process
from engine.protocol import UNREADABLE
from svhn_tui.analysis.notices import Notice
from svhn_tui.client.remote_host import Remote
from svhn_tui.words import clean


class Item(msgspec.Struct, frozen=True):
    """An exported item, as `svhn-tui export --json` prints it."""

    name: str
    text: str = msgspec.field(name="said")
    ok: bool


class Export(msgspec.Struct, frozen=True):
    """The outcome of an export."""

    items: tuple[Item, ...] = ()
    complaint: str = ""
    """Why nothing was exported."""

    @property
    def lacking(self) -> str:
        """The missing or wrong items, a line each; empty if there are none."""
        return self.complaint or "\n".join(f"{item.name}: {item.text}" for item in self.items if not item.ok)


async def export_beside(exports: Path, workspace: Path, remote: Remote | None) -> Notice:
    """Export into a new folder in `exports`, on the machine of the workspace; return the notice of the outcome."""
    folder = exports / time.strftime("%Y-%m-%d-%H%M%S")
    lacking = (await exported(folder, workspace, remote)).lacking
    if not lacking:
        away = f" Copy it from there: scp -r {remote.name}:{folder} ." if remote else ""
        return Notice(text=clean(f"Everything is in {folder}, each file verified.{away}"), title="Exported")
    title = f"Not all could be exported to {clean(str(folder))}"
    return Notice(text=clean(lacking, newlines=True), title=title, severity="warning", timeout=20)


async def exported(folder: Path, workspace: Path, remote: Remote | None = None) -> Export:
    """Run `svhn-tui export` on the machine of the workspace; return its outcome."""
    there = workspace if remote else workspace.expanduser().absolute()
    command = child_process.program("svhn_tui", "export", "--json", "--workspace", str(there), "--", str(folder))
    if remote is not None:
        command = command._replace(argv=tuple(remote.command(command.argv[1:])))
    done = await tool_process.run_beside(command)
    try:
        return Export(items=msgspec.json.decode(done.stdout, type=tuple[Item, ...]))
    except UNREADABLE:
        return Export(complaint=done.stderr.strip() or f"`svhn-tui export` {done.how_ended}.")
