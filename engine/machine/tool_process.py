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
    answer: bytes
    """What it wrote to standard output."""
    complaint: str
    """What it wrote to standard error."""

    @property
    def last_words(self) -> str:
        """The last line of its complaint."""
        return next(reversed(self.complaint.strip().splitlines()), "")


def run(
    command: ChildCommand, given: bytes = b"", *, seconds: float | None = None, shows_complaints: bool = False
) -> Outcome:
    """Run a process and wait for its end.

    Args:
        command: what to run.
        given: its standard input.
        seconds: after which it is killed; its status is `TIMED_OUT` then.
        shows_complaints: let it write to this process's standard error.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        command.argv, env=command.environment, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=None if shows_complaints else subprocess.PIPE,
    )  # fmt: skip
    try:
        answer, complaint = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Outcome(TIMED_OUT, b"", f"it took more than {seconds:.0f} s")
    finally:
        if process.returncode is None:
            process.kill()  # and its end is not waited for: what hangs in a driver has none
    return Outcome(process.returncode, answer, (complaint or b"").decode(errors="replace"))


async def run_beside(command: ChildCommand, given: bytes = b"") -> Outcome:
    """Run a process without blocking the event loop, with this input; it is killed when the task is cancelled.

    Raises:
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command.argv, env=command.environment, cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        answer, complaint = await process.communicate(given)
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return Outcome(process.returncode or 0, answer, complaint.decode(errors="replace"))
