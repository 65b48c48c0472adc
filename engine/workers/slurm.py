"""The state of workers' jobs in Slurm, queried with `squeue`, and Slurm's terms in plain words."""

import asyncio
import os
import time
from collections.abc import Mapping

import msgspec

from engine.machine import child_process, tool_process
from engine.machine.child_process import ChildCommand
from engine.machine.tool_process import Outcome

FORMAT = "%i|%j|%T|%S|%e|%N|%r"
"""Number, name, state, start, end, node, reason; the last may hold any character."""
TIMEOUT_SECONDS = 20.0
"""Time limit of a command in seconds: squeue blocks while the controller is restarted."""
MARGIN_SECONDS = 120.0
"""Least time in seconds between a worker's end and the end of its job."""
MARGIN_SHARE = 0.2
"""The same as a share of the job's time, for short jobs."""

REASONS = {
    "Resources": "the resources are in use",
    "Priority": "others come first",
    "Dependency": "waits for another job",
    "JobHeldUser": "held by you",
    "JobHeldAdmin": "held by an administrator",
    "ReqNodeNotAvail": "the node is not available",
    "PartitionDown": "the partition is down",
    "PartitionTimeLimit": "more --time than the partition allows",
    "AssocGrpGRES": "your group's limit of GPUs is reached",
    "QOSMaxJobsPerUserLimit": "your limit of jobs is reached",
    "QOSMaxGRESPerUser": "your limit of GPUs is reached",
}
"""Why a job waits, in words; any other reason is shown as Slurm calls it."""
ENDS = {
    "TIMEOUT": "Its time was over.",
    "DEADLINE": "Its deadline was over.",
    "CANCELLED": "Cancelled in Slurm.",
    "PREEMPTED": "Another job took its place.",
    "NODE_FAIL": "Its node was lost.",
    "BOOT_FAIL": "Its node did not start.",
    "OUT_OF_MEMORY": "It needed more memory than --mem gave it.",
}
"""How a job ended, in words."""
CAUSED_BY_RUN = ("FAILED", "COMPLETED", "OUT_OF_MEMORY")
"""Final states that the run may have caused; all others are caused by the cluster."""


class Job(msgspec.Struct, frozen=True):
    """A job as Slurm reports it. Times are seconds since 1970."""

    number: str
    name: str
    state: str
    start: float | None = None
    """When it began, or when Slurm expects it to."""
    end: float | None = None
    node: str = ""
    reason: str = ""

    @property
    def is_waiting(self) -> bool:
        """It has no node yet."""
        return self.state in ("PENDING", "CONFIGURING", "REQUEUED")

    @property
    def has_ended(self) -> bool:
        """It has released its node, or is about to."""
        return not self.is_waiting and self.state not in ("RUNNING", "SUSPENDED", "STOPPED")

    @property
    def why_waiting(self) -> str:
        """Why it waits, in words."""
        reason = self.reason.strip("() ")
        return REASONS.get(reason.partition(",")[0], "" if reason in ("None", "null") else reason)


class JobEnd(msgspec.Struct, frozen=True):
    """How a worker's job ended, as far as Slurm reports it."""

    text: str
    """In a sentence; empty where Slurm gives no reason."""
    run_may_be_cause: bool
    """The run fails after repeated ends of this kind."""
    is_time_over: bool = False
    out_of_memory: bool = False


Jobs = Mapping[str, Job]


def end_of(job: Job | None) -> JobEnd:
    """Return how a job ended; None is a job that Slurm does not list."""
    if job is None:
        return JobEnd("", run_may_be_cause=False)
    return JobEnd(
        ENDS.get(job.state, ""), job.state in CAUSED_BY_RUN, job.state == "TIMEOUT", job.state == "OUT_OF_MEMORY"
    )


async def jobs(*options: str) -> dict[str, Job] | None:
    """Ask for this user's jobs, by name, the latest of a name; None when Slurm does not answer."""
    outcome = await _answer("squeue", "--noheader", f"--user={os.getuid()}", f"--format={FORMAT}", *options)
    return read_jobs(outcome.stdout.decode(errors="replace")) if outcome and outcome.status == 0 else None


def read_jobs(text: str) -> dict[str, Job]:
    """Parse the output of `squeue` in FORMAT; other lines are skipped."""
    jobs: dict[str, Job] = {}
    for line in text.splitlines():
        fields = line.split("|", 6)
        if len(fields) == 7:
            number, name, state, start, end, node, reason = fields
            known = jobs.get(name)
            if known is None or _number(number) > _number(known.number):
                jobs[name] = Job(number, name, state, _seconds(start), _seconds(end), node, reason)
    return jobs


async def cancel(numbers: list[str]) -> None:
    """Cancel jobs. Where that fails, a waiting one still ends as soon as it gets a node: its pipe has ended."""
    await _answer("scancel", *numbers)


async def _answer(*argv: str) -> Outcome | None:
    """Run a command of Slurm; None where it cannot be started or takes too long."""
    environment = child_process.outside_allocation(child_process.program_environment(os.environ))
    command = ChildCommand(argv, {**environment, "SLURM_TIME_FORMAT": "%s"})
    try:
        return await asyncio.wait_for(tool_process.run_beside(command), TIMEOUT_SECONDS)
    except (OSError, TimeoutError):
        return None


def leaves_at(job: Job, epoch_seconds: float) -> float | None:
    """Return when a worker is to begin to end, in seconds since 1970, so that it can end an epoch and checkpoint."""
    if job.end is None or job.start is None:
        return None
    margin = min(MARGIN_SECONDS, MARGIN_SHARE * (job.end - job.start))
    return job.end - max(margin, 1.5 * epoch_seconds)


def has_time(job: Job | None, epoch_seconds: float) -> bool:
    """Say whether a job has time left to begin a group."""
    end = leaves_at(job, epoch_seconds) if job else None
    return end is None or time.time() < end


def _number(text: str) -> int:
    digits = text.partition("_")[0].partition("+")[0]
    return int(digits) if digits.isdigit() else 0


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None
