"""An export beside the screen, in a process of its own."""

import asyncio
import os
import sys
import time
from pathlib import Path

from svhn_tui.notices import Notice
from svhn_tui.remote import Remote
from svhn_tui.words import clean


async def export_beside(exports: Path, workspace: Path, remote: Remote | None) -> Notice:
    """Export into a new folder in `exports`, which like the workspace is there, where it trains; say how it went."""
    folder = exports / time.strftime("%Y-%m-%d-%H%M%S")
    said, is_whole = await exported(folder, workspace, remote)
    if is_whole:
        away = f" It is over there: scp -r {remote.name}:{folder} ." if remote else ""
        return Notice(text=clean(f"Everything is in {folder}, each file verified.{away}"), title="Exported")
    lacking = "\n".join(line for line in said.splitlines() if not line.startswith("✓"))
    title = f"Not all could be exported to {clean(str(folder))}"
    return Notice(text=clean(lacking, newlines=True), title=title, severity="warning", timeout=20)


async def exported(folder: Path, workspace: Path, remote: Remote | None = None) -> tuple[str, bool]:
    """Run `svhn-tui export` where the workspace is; return what it said, and whether everything was there."""
    program = ["-c", "from svhn_tui.cli import main; main()", "export", str(folder), "--workspace", str(workspace)]
    command = [sys.executable, *program] if remote is None else remote.command(program)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip
    said, _ = await process.communicate()
    return said.decode(errors="replace").strip(), process.returncode == 0
