"""The engine's short processes: runs one to its end and returns what it answered."""

import asyncio
import subprocess
from typing import NamedTuple

from engine.machine.child_process import FOLDER, ChildCommand


class Outcome(NamedTuple):
    """How a process ended."""

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


def run(command: ChildCommand, *, shows_complaints: bool = False, seconds: float | None = None) -> Outcome:
    """Run a process and wait for its end.

    Args:
        command: what to run.
        shows_complaints: what it complains is shown as it comes.
        seconds: how long it may take. One that hangs in the kernel cannot be killed, so its end is not waited for then.

    Raises:
        TimeoutError: it took longer.
    """
    process = subprocess.Popen(
        command.argv, env=command.environment, cwd=FOLDER, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=None if shows_complaints else subprocess.PIPE,
    )  # fmt: skip
    try:
        answer, complaint = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    finally:
        if process.returncode is None:
            process.kill()
    return Outcome(process.returncode, answer, (complaint or b"").decode(errors="replace"))


async def run_beside(command: ChildCommand, given: bytes = b"") -> Outcome:
    """Run a process beside everything else, with this as its input; it is ended when nobody waits for it any more."""
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
