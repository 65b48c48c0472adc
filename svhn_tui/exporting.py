"""An export beside the screen, in a process of its own."""

import asyncio
import os
import sys
from pathlib import Path

from svhn_tui.remote import Remote


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
