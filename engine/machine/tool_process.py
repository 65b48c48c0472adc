"""Runs short child processes to their end: the engine's own tools, and programs of the system."""

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from engine.machine import process_group
from engine.machine.child_process import FOLDER, ChildCommand
from engine.machine.process_end import how_ended

TIMED_OUT = 124
"""Exit code of a process that was ended because it took too long, as `timeout` reports it."""
MAX_STDERR = 2**20
"""Most bytes of a process's stderr that are kept: a model file may print without end."""
MAX_DETAIL = 300
"""Most characters of its last line in a sentence about its end."""


class Outcome(NamedTuple):
    """How a process ended, and what it wrote."""

    status: int
    """Its exit code."""
    stdout: bytes
    stderr: str
    """Its end, where it is longer than `MAX_STDERR`."""

    @property
    def last_line(self) -> str:
        """The last line on stderr; empty where there is none."""
        return next(reversed(self.stderr.strip().splitlines()), "")

    @property
    def how_ended(self) -> str:
        """The end of a sentence: `ended with exit code 1: no memory`."""
        return how_ended(self.status, self.last_line[:MAX_DETAIL])


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


def stream(command: ChildCommand, receive: Callable[[bytes], None], given: bytes = b"") -> Outcome:
    """Run a process and wait for its end; processes that it starts, as a user's model file may, end with it.

    Args:
        command: what to run.
        receive: is called with each line of its stdout as soon as it is written; the outcome holds none.
        given: its standard input.

    Raises:
        OSError: it cannot be started.
    """
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(given)
        stdin.seek(0)
        process = subprocess.Popen(
            command.argv, env=command.environment, cwd=FOLDER, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
        process_group.kill_after(process.pid)
        assert process.stdout is not None
        try:
            with process.stdout:
                for line in process.stdout:
                    receive(line)
            process.wait()
        finally:
            process_group.kill(process.pid)
        stderr.seek(max(0, os.fstat(stderr.fileno()).st_size - MAX_STDERR))
        return Outcome(process.returncode, b"", stderr.read().decode(errors="replace"))


async def run_beside(command: ChildCommand, given: bytes = b"", *, leads_group: bool = False) -> Outcome:
    """Run a process without blocking the event loop; it is killed when the task is cancelled.

    Args:
        command: what to run.
        given: its standard input.
        leads_group: the processes that it starts, which a user's model file may do, end with it.

    Raises:
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command.argv, env=command.environment, cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=leads_group,
    )  # fmt: skip
    if leads_group:
        process_group.kill_after(process.pid)
    assert process.stdin and process.stdout and process.stderr
    reading = process.stdout.read(), _end_of(process.stderr)
    try:
        _, stdout, stderr = await asyncio.gather(_write(process.stdin, given), *reading)
        await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    finally:
        if leads_group:
            process_group.kill(process.pid)
    return Outcome(process.returncode or 0, stdout, stderr.decode(errors="replace"))


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
        end = (end + more)[-MAX_STDERR:]
    return end
