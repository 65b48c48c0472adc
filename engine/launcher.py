"""Worker processes: starting them, talking to them, noticing their end."""

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from engine import fleets
from engine import protocol as p
from engine.placement import Slot
from engine.spec import RunSpec

WORKER_VARIABLE = "SVHN_TUI_WORKER"
"""A command line that replaces `python -m engine.worker`, so that tests can train with a stand-in."""
MODULES = {"fast": "engine.worker", "keras-fit": "engine.keras_fit"}
LEAVE_SECONDS = 60.0
"""How long a worker may take to write its checkpoint when it is told to leave."""


class Death(NamedTuple):
    """How a worker ended, in words."""

    reason: str
    out_of_memory: bool = False


class Worker:
    """One worker process and the groups that were sent to it."""

    def __init__(self, slot: Slot, process: asyncio.subprocess.Process) -> None:
        self.slot = slot
        self.runs: dict[str, RunSpec] = {}
        """Sent and not ended yet, those included whose files are being written."""
        self.training: set[str] = set()
        """Of those, the ones whose epochs are not all done."""
        self.lanes = 1
        """Runs of the group that was sent last."""
        self.is_leaving = False
        self._oom_kills = oom_kills()
        self._process = process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, command: p.WorkerCommand) -> None:
        """Send a command; a worker that is gone is noticed by `follow`."""
        if self._process.stdin is not None:
            self._process.stdin.write(p.encode(command))

    async def follow(self, told: Callable[["Worker", p.AnyEvent, bytes], None]) -> "Death":
        """Hand on its events until its pipe ends; return how it ended."""
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:
                continue  # longer than any message: dropped by asyncio
            if not line:
                return death(await self._process.wait(), oom_kills() - self._oom_kills)
            with contextlib.suppress(*p.UNREADABLE):
                told(self, p.decode_event(line), line)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def leave(self) -> None:
        """Let it checkpoint and end; kill it when it does not."""
        self.is_leaving = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), LEAVE_SECONDS)
        except TimeoutError:
            self._process.kill()


async def start(slot: Slot, log: Path) -> Worker:
    """Start a worker for a slot.

    Raises:
        OSError: the command cannot be run.
    """
    replaced = os.environ.get(WORKER_VARIABLE)
    command = shlex.split(replaced) if replaced else [sys.executable, "-m", MODULES[slot.trainer]]
    command += ["--name", slot.name, "--cores", ",".join(map(str, slot.cores))]
    command = fleets.command_line(slot, command)
    environment = dict(os.environ)
    if slot.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(slot.gpu)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=p.MAX_LINE_BYTES,
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is not for it
        )
    return Worker(slot, process)


def death(status: int, oom_kills: int = 0) -> Death:
    """Say how a worker ended.

    Args:
        status: its exit code, negative for a signal.
        oom_kills: processes of this machine that the kernel killed for memory meanwhile.
    """
    if status == -signal.SIGKILL and oom_kills > 0:
        return Death("The machine ran out of memory and its kernel killed the worker.", out_of_memory=True)
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return Death("The worker was killed (signal 9), not by this machine's kernel for memory.")
    if status < 0:
        return Death(f"The worker was ended by {signal.Signals(-status).name}.")
    return Death(f"The worker ended with exit code {status}; engine.log in the run's folder says more.")


def oom_kills() -> int:
    """Count the processes that the kernel killed for memory since the machine started; 0 where it does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
