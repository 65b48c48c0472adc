"""An export beside the screen, in a process of its own."""

import asyncio
import os
import sys
from pathlib import Path


async def exported(folder: Path, workspace: Path) -> tuple[str, bool]:
    """Run `svhn-tui export` in a process of its own; return what it said, and whether everything was there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from svhn_tui.cli import main; main()", "export", str(folder), "--workspace",
        str(workspace), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip
    said, _ = await process.communicate()
    return said.decode(errors="replace").strip(), process.returncode == 0
