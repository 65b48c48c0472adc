"""Runs short child processes to their end: the engine's own tools, and programs of the system."""

import asyncio
import contextlib
import subprocess
from typing import NamedTuple

from engine.machine.child_process import FOLDER, ChildCommand

TIMED_OUT = 124
"""Exit code of a process that was ended because it took too long, as `timeout` reports it."""
MOST_COMPLAINT = 2**20
"""Bytes that are kept of what a process writes to standard error: a model file may print without end."""


class Outcome(NamedTuple):
    """How a process ended, and what it wrote."""

    status: int
    """Its exit code."""
    answer: bytes
    """What it wrote to standard output."""
    complaint: str
    """What it wrote to standard error; of very much the end."""

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
    assert process.stdin and process.stdout and process.stderr
    reading = process.stdout.read(), _end_of(process.stderr)
    try:
        _, answer, complaint = await asyncio.gather(_write(process.stdin, given), *reading)
        await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return Outcome(process.returncode or 0, answer, complaint.decode(errors="replace"))


async def _write(stream: asyncio.StreamWriter, given: bytes) -> None:
    """Write a process's input; one that ended before it was read says why by itself."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(given)
        await stream.drain()
    stream.close()


async def _end_of(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end; return the last bytes."""
    end = b""
    while more := await stream.read(2**16):
        end = (end + more)[-MOST_COMPLAINT:]
    return end
