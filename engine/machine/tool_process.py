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


def run(command: ChildCommand, *, shows_complaints: bool = False) -> Outcome:
    """Run a process and wait for its end; what it complains may be shown as it comes."""
    done = subprocess.run(
        command.argv, env=command.environment, cwd=FOLDER, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=None if shows_complaints else subprocess.PIPE, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, (done.stderr or b"").decode(errors="replace"))


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
