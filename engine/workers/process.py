"""Worker processes: starting them, sending them commands, and reading their events until they end."""

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from engine import protocol as p
from engine.core.spec import RunSpec
from engine.machine import card, card_choice, child_process, gpu_errors, process_group
from engine.machine.backends import PLATFORM_VARIABLE
from engine.machine.child_process import ChildCommand
from engine.machine.control_sequences import without_controls
from engine.machine.files import Folder
from engine.machine.log_tail import error_line, size_of
from engine.machine.process_end import how_ended
from engine.machine.system import oom_kills
from engine.scheduling.slot import Occupant, Slot
from engine.training.preflight import Preflight
from engine.workers import fleet, slurm, ssh

WORKER_VARIABLE = "SVHN_TUI_WORKER"
"""A command line that replaces `python -m engine.training.worker`, so that tests can train with a stand-in."""
LEAVE_SECONDS = 60.0
"""Time limit in seconds for a worker to write its checkpoints when the host asks it to end."""


class WorkerEnd(NamedTuple):
    """How a worker ended."""

    reason: str
    """In a sentence."""
    out_of_memory: bool = False
    run_may_be_cause: bool = True
    """The run fails after repeated ends of this kind."""
    status: int = 0
    """Its exit code, where that says what is wrong with its GPU."""


class Worker:
    """One worker process and the groups that were sent to it."""

    def __init__(self, slot: Slot, process: asyncio.subprocess.Process, log: Path, job_name: str = "") -> None:
        self.slot = slot
        self.job_name = job_name
        """The name of its job in Slurm, if it has one."""
        self.job: slurm.Job | None = None
        """The latest state of its job in Slurm."""
        self.changed = p.WorkerChanged(
            worker=slot.name, state="waiting" if job_name else "starting", pid=process.pid,
            where=slot.where,
        )  # fmt: skip
        """Its state, as it was sent to clients."""
        self.runs: dict[str, RunSpec] = {}
        """Runs that were sent and have not ended, including those whose files are being written."""
        self.training: set[str] = set()
        """Those of its runs that have epochs left to train."""
        self.occupant: Occupant | None = None
        """The group that was sent last."""
        self.epoch_seconds = 0.0
        """Seconds of its longest epoch; above 0 once it has trained one."""
        self.had_company = False
        """Another worker of this host computed on its GPU and ended while this one was starting."""
        self.is_leaving = False
        self.is_retired = False
        """It gets no more groups, and ends once it has released its runs."""
        self.last_line = ""
        """The last line on stderr of the worker, or of the command that launched it elsewhere."""
        self.refusal = ""
        """Why it could not train on its GPU, as it reported."""
        self.stop_reason = ""
        """Why the host asked it to end, in a sentence."""
        self._oom_kills = oom_kills()
        self._process = process
        self._log = log
        self._logs = {log: size_of(log)}
        """The logs that it writes, that of its latest runs last, and the length in bytes of each before it did."""

    @property
    def pid(self) -> int:
        """Process id on this machine, of the worker or of the command that launched it elsewhere."""
        return self._process.pid

    @property
    def lanes(self) -> int:
        """Number of runs of the group that was sent last."""
        return self.occupant.lanes if self.occupant else 1

    @property
    def has_reported(self) -> bool:
        """It has sent an event: it runs, here or elsewhere."""
        return bool(self.changed.node)

    @property
    def was_ready(self) -> bool:
        """It has loaded its trainer."""
        return self.changed.state not in ("waiting", "starting")

    @property
    def has_gpu(self) -> bool:
        """It trains on a GPU, several seeds at a time."""
        return self.changed.device != "cpu" if self.changed.device else bool(self.changed.gpu)

    @property
    def kind_of_gpu(self) -> str:
        """The driver's name of its GPU; empty where it trains on none."""
        return self.changed.device.removeprefix("gpu ") if self.has_gpu else ""

    @property
    def is_free(self) -> bool:
        """It is ready and trains nothing."""
        return self.changed.state == "ready" and not self.training and not self.is_leaving

    def send(self, command: p.WorkerCommand) -> None:
        """Send a command; `follow` reports a worker that has ended."""
        if isinstance(command, p.Train):
            log = Path(command.workspace) / "runs" / command.specs[0].run_id / "engine.log"
            self._logs = {self._log: self._logs[self._log], log: size_of(log)}
        if self._process.stdin is not None:
            self._process.stdin.write(p.encode(command))

    async def follow(self, receive: Callable[["Worker", p.AnyEvent, bytes], None]) -> WorkerEnd:
        """Pass each event with its line to `receive` until the pipe ends; return how the worker ended."""
        copying = asyncio.create_task(self._copy_stderr())
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:
                continue  # longer than any message: dropped by asyncio
            if not line:
                await copying
                return self._end(await self._process.wait())
            with contextlib.suppress(*p.UNREADABLE):
                receive(self, p.decode_event(line), line)

    def _end(self, status: int) -> WorkerEnd:
        last = self._error_line() if status else ""
        if not self.slot.box:
            return worker_end(status, oom_kills() - self._oom_kills, last)
        if self.has_reported and 0 <= status != ssh.SSH_FAILED:
            return worker_end(128 - status if status > 128 else status, last=last)
        reason = ssh.failure(self.slot.box, status, [self.last_line], was_reached=self.has_reported)
        return WorkerEnd(f"{self.slot.box}: {reason}" if self.has_reported else reason, run_may_be_cause=False)

    def _error_line(self) -> str:
        """Return the error in its logs, and the log that holds it."""
        for log, start in reversed(self._logs.items()):
            if line := error_line(log, start):
                return f"{line} ({log} says more)"
        return ""

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _copy_stderr(self) -> None:
        """Append its stderr, which comes through a pipe, to the log, and keep the last line."""
        if self._process.stderr is None:
            return
        while content := await self._process.stderr.read(1 << 16):
            with contextlib.suppress(OSError), _opened(self._log) as log:
                log.write(without_controls(content))
            lines = content.decode(errors="replace").strip().splitlines()
            self.last_line = lines[-1][:300] if lines else self.last_line

    def retire(self, reason: str) -> None:
        """Send it no more groups, and let it checkpoint and release its runs, which continue elsewhere.

        Args:
            reason: why, in a sentence for the user.
        """
        self.is_leaving = self.is_retired = True
        self.stop_reason = reason
        self.send(p.StopRuns(runs=tuple(self.runs), why="interrupted"))

    async def leave(self) -> None:
        """Let it write its checkpoints and end; kill it after `LEAVE_SECONDS`."""
        self.is_leaving = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self.slot.is_elsewhere and not self.has_reported:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()  # srun and ssh read no input while they wait
        try:
            await asyncio.wait_for(self._process.wait(), LEAVE_SECONDS)
        except TimeoutError:
            self._process.kill()


async def start(
    slot: Slot, log: Path, *, preflight: Preflight | None = None, job_name: str = "", host: str = ""
) -> Worker:
    """Start a worker for a slot.

    Args:
        slot: where.
        log: the file to which its stderr is appended.
        preflight: checks of a worker on another machine.
        job_name: its name in Slurm.
        host: id of the host, whose workers may share a card.

    Raises:
        OSError: the command cannot be run.
    """
    command = command_of(slot, preflight=preflight, job_name=job_name, host=host)
    with _opened(log) as errors:
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE if slot.is_elsewhere else errors,
            limit=p.MAX_LINE_BYTES,
            env=command.environment,
            cwd=child_process.FOLDER,
            start_new_session=True,  # Ctrl-C in a terminal is not for it
        )
    process_group.kill_after(process.pid)
    return Worker(slot, process, log, job_name)


def command_of(slot: Slot, *, preflight: Preflight | None = None, job_name: str = "", host: str = "") -> ChildCommand:
    """Return the command that starts a slot's worker, independent of the host's own environment."""
    arguments = ["--name", slot.name, "--trainer", slot.trainer, "--cores", ",".join(map(str, slot.cores))]
    if not slot.is_elsewhere:
        arguments += ["--gpu", slot.gpu or card.NONE, *(["--host", host] if host and slot.gpu else [])]
    if preflight is not None:
        arguments += ["--preflight", msgspec.json.encode(preflight).decode()]
    command = child_process.tool("engine.training.worker", *arguments)
    if replaced := os.environ.get(WORKER_VARIABLE):
        command = command._replace(argv=(*shlex.split(replaced), *arguments))
    environment = command.environment
    if slot.box:
        environment = child_process.outside_allocation(child_process.program_environment(os.environ))  # ssh's
    elif slot.slurm is not None:
        environment = child_process.srun_environment(os.environ)
        if card_choice.excludes_gpus(os.environ):
            environment[PLATFORM_VARIABLE] = "cpu"
    elif slot.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = slot.gpu
    else:
        card.hide(environment)
        environment[PLATFORM_VARIABLE] = "cpu"
    return ChildCommand(tuple(fleet.command_line(slot, command.argv, job_name=job_name)), environment)


def _opened(log: Path) -> BinaryIO:
    """Open a log for appending, without following a link."""
    with Folder.at(log.parent) as folder:
        return os.fdopen(folder.open_own(log.name, os.O_WRONLY | os.O_APPEND), "ab")


def worker_end(status: int, oom_kills: int = 0, last: str = "") -> WorkerEnd:
    """Return how a worker ended.

    Args:
        status: its exit code, negative for a signal.
        oom_kills: processes of this machine that the kernel killed for memory meanwhile.
        last: the error in its log, if there is one.
    """
    if status == -signal.SIGKILL and oom_kills > 0:
        return WorkerEnd("The machine ran out of memory and its kernel killed the worker.", out_of_memory=True)
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return WorkerEnd(f"The worker {how_ended(-signal.SIGKILL)}, not by this machine's kernel for memory.")
    if status in card.REASONS:
        return WorkerEnd(card.REASONS[status], run_may_be_cause=False, status=status)
    if sign := gpu_errors.card_fault(last):  # XLA ends the process at some of them
        return WorkerEnd(f"The GPU failed ({sign}).", run_may_be_cause=False, status=card.SICK)
    return WorkerEnd(f"The worker {how_ended(status, last)}.", out_of_memory=gpu_errors.is_out_of_memory(last))
