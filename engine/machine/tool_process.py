"""Runs short child processes to their end: the engine's own tools, and programs of the system."""

import asyncio
import subprocess
from typing import NamedTuple

from engine.machine.child_process import FOLDER, ChildCommand

TIMED_OUT = 124
"""Exit code of a process that was ended because it took too long, as `timeout` reports it."""


class Outcome(NamedTuple):
    """How a process ended, and what it wrote."""

    status: int
    """Its exit code."""
    stdout: bytes
    stderr: str

    @property
    def last_line(self) -> str:
        """The last line on stderr; empty where there is none."""
        return next(reversed(self.stderr.strip().splitlines()), "")


def run(
    command: ChildCommand, given: bytes = b"", *, seconds: float | None = None, shows_stderr: bool = False
) -> Outcome:
    """Run a process and wait for its end.

    Args:
        command: what to run.
        given: its standard input.
        seconds: time limit, after which it is killed and its status is `TIMED_OUT`.
        shows_stderr: let it write to this process's stderr.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        command.argv, env=command.environment, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=None if shows_stderr else subprocess.PIPE,
    )  # fmt: skip
    try:
        stdout, stderr = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Outcome(TIMED_OUT, b"", f"it took more than {seconds:.0f} s")
    finally:
        if process.returncode is None:
            process.kill()  # without waiting for its end: a process that hangs in a driver does not end
    return Outcome(process.returncode, stdout, (stderr or b"").decode(errors="replace"))


async def run_beside(command: ChildCommand, given: bytes = b"") -> Outcome:
    """Run a process without blocking the event loop; it is killed when the task is cancelled.

    Args:
        command: what to run.
        given: its standard input.

    Raises:
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command.argv, env=command.environment, cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        stdout, stderr = await process.communicate(given)
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return Outcome(process.returncode or 0, stdout, stderr.decode(errors="replace"))
