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

import msgspec

from engine import boxes, fleets, slurm
from engine import protocol as p
from engine.placement import Slot
from engine.preflight import Preflight
from engine.spec import RunSpec
from engine.system import oom_kills

WORKER_VARIABLE = "SVHN_TUI_WORKER"
"""A command line that replaces `python -m engine.worker`, so that tests can train with a stand-in."""
MODULES = {"fast": "engine.worker", "keras-fit": "engine.keras_fit"}
LEAVE_SECONDS = 60.0
"""How long a worker may take to write its checkpoint when it is told to leave."""


class Death(NamedTuple):
    """How a worker ended, in words."""

    reason: str
    out_of_memory: bool = False
    is_own_fault: bool = True
    """What it trained may be the cause: repeated, that fails a run."""


class Worker:
    """One worker process and the groups that were sent to it."""

    def __init__(self, slot: Slot, process: asyncio.subprocess.Process, log: Path, job_name: str = "") -> None:
        self.slot = slot
        self.job_name = job_name
        """What Slurm calls its job, if it has one."""
        self.job: slurm.Job | None = None
        """What Slurm told of it last."""
        self.changed = p.WorkerChanged(
            worker=slot.name, state="waiting" if job_name else "starting", pid=process.pid,
            where=slot.where,
        )  # fmt: skip
        """What is known of it, as clients are told."""
        self.runs: dict[str, RunSpec] = {}
        """Sent and not ended yet, those included whose files are being written."""
        self.training: set[str] = set()
        """Of those, the ones whose epochs are not all done."""
        self.lanes = 1
        """Runs of the group that was sent last."""
        self.epoch_seconds = 0.0
        """What its longest epoch took; above 0 once it has done one."""
        self.is_leaving = False
        self.is_retired = False
        """It leaves as soon as it has let go what it has."""
        self.last_words = ""
        """The last line that it, or what launched it elsewhere, complained."""
        self.farewell = ""
        """Why it was told to leave."""
        self._oom_kills = oom_kills()
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Of the process on this machine."""
        return self._process.pid

    @property
    def was_heard(self) -> bool:
        """It runs, wherever that is: its own words have come through the pipe."""
        return bool(self.changed.node)

    @property
    def was_ready(self) -> bool:
        """It has loaded what it trains with."""
        return self.changed.state not in ("waiting", "starting")

    @property
    def has_gpu(self) -> bool:
        """It trains on a GPU, which takes several seeds at a time."""
        return bool(self.changed.gpu) or self.changed.device not in ("", "cpu")

    @property
    def is_free(self) -> bool:
        """It said that it is ready, and has nothing to train."""
        return self.changed.state == "ready" and not self.training and not self.is_leaving

    def send(self, command: p.WorkerCommand) -> None:
        """Send a command; a worker that is gone is noticed by `follow`."""
        if self._process.stdin is not None:
            self._process.stdin.write(p.encode(command))

    async def follow(self, told: Callable[["Worker", p.AnyEvent, bytes], None]) -> "Death":
        """Hand on its events until its pipe ends; return how it ended."""
        complaints = asyncio.create_task(self._keep_complaints())
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:
                continue  # longer than any message: dropped by asyncio
            if not line:
                await complaints
                return self._death(await self._process.wait())
            with contextlib.suppress(*p.UNREADABLE):
                told(self, p.decode_event(line), line)

    def _death(self, status: int) -> "Death":
        if not self.slot.box:
            return death(status, oom_kills() - self._oom_kills)
        if self.was_heard and 0 <= status != boxes.SSH_FAILED:
            return death(128 - status if status > 128 else status)
        reason = boxes.complaint(self.slot.box, status, [self.last_words], was_reached=self.was_heard)
        return Death(f"{self.slot.box}: {reason}" if self.was_heard else reason, is_own_fault=False)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _keep_complaints(self) -> None:
        """Put what comes over stderr into the log, and remember its last line."""
        if self._process.stderr is None:
            return
        while content := await self._process.stderr.read(1 << 16):
            with contextlib.suppress(OSError), self._log.open("ab") as log:
                log.write(content)
            lines = content.decode(errors="replace").strip().splitlines()
            self.last_words = lines[-1][:300] if lines else self.last_words

    def retire(self, farewell: str) -> None:
        """Give it nothing more; what it has is checkpointed and let go, to go on elsewhere."""
        self.is_leaving = self.is_retired = True
        self.farewell = farewell
        self.send(p.StopRuns(runs=tuple(self.runs), why="interrupted"))

    async def leave(self) -> None:
        """Let it checkpoint and end; kill it when it does not."""
        self.is_leaving = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self.slot.is_elsewhere and not self.was_heard:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()  # what launches it hears nothing while it waits
        try:
            await asyncio.wait_for(self._process.wait(), LEAVE_SECONDS)
        except TimeoutError:
            self._process.kill()


async def start(slot: Slot, log: Path, *, preflight: Preflight | None = None, job_name: str = "") -> Worker:
    """Start a worker for a slot.

    Args:
        slot: where.
        log: takes what it complains of.
        preflight: what it is to find on another machine.
        job_name: by which Slurm knows it.

    Raises:
        OSError: the command cannot be run.
    """
    replaced = os.environ.get(WORKER_VARIABLE)
    command = shlex.split(replaced) if replaced else [sys.executable, "-m", MODULES[slot.trainer]]
    command += ["--name", slot.name, "--cores", ",".join(map(str, slot.cores))]
    if preflight is not None:
        command += ["--preflight", msgspec.json.encode(preflight).decode()]
    environment = dict(os.environ)
    if slot.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(slot.gpu)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *fleets.command_line(slot, command, job_name=job_name),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE if slot.is_elsewhere else errors,
            limit=p.MAX_LINE_BYTES,
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is not for it
        )
    return Worker(slot, process, log, job_name)


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
