"""Follows the workers' jobs in Slurm by queries, which are rare unless something changes, and detects their ends."""

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.workers import slurm
from engine.workers.process import Worker, WorkerEnd

SOONEST_SECONDS, RAREST_SECONDS = 1.0, 30.0
"""Least and most time between two queries: Slurm's controller serves a whole cluster."""
END_TRIES = 10
"""Queries, half a second apart, for the end of a job whose pipe has ended."""
LEFT_SECONDS = 30.0
"""Time limit in seconds for a host that ends to cancel jobs of which Slurm has not said that they ended."""
NO_EPOCH = "Not one epoch was done in the time that Slurm gave; ask for more --time."


class Allocations:
    """Updates `job` and `changed` of every worker in Slurm.

    Args:
        workspace: names the jobs, so that those of a host that was killed can be recognised.
        workers: the workers there are.
        changed: is called with a worker and its new state.
        is_late: is called with a worker whose time is nearly over.
    """

    def __init__(
        self,
        workspace: Path,
        workers: Callable[[], Iterable[Worker]],
        changed: Callable[[Worker, p.WorkerChanged], None],
        is_late: Callable[[Worker], None],
    ) -> None:
        self._prefix = f"svhn-{hashlib.sha256(str(workspace).encode()).hexdigest()[:8]}-"
        self._workers = workers
        self._changed = changed
        self._is_late = is_late
        self._woken = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._names: set[str] = set()
        """Names of this host's own jobs."""
        self._abandoned: set[str] = set()
        """Names of jobs whose worker is gone, and of which Slurm has not said that they ended."""
        self._has_cleaned = False
        self._is_closed = False

    @property
    def is_watching(self) -> bool:
        """It queries until no worker in Slurm is left, and no job of one."""
        return self._watching is not None and not self._watching.done()

    def new_name(self) -> str:
        """Return a name for a job."""
        name = self._prefix + secrets.token_hex(4)
        self._names.add(name)
        return name

    def wake(self) -> None:
        """Query soon: a job was submitted or began."""
        self._woken.set()
        if not self._is_closed and not self.is_watching:
            self._watching = asyncio.create_task(self._watch())

    def close(self) -> None:
        """Stop querying."""
        self._is_closed = True
        if self._watching is not None:
            self._watching.cancel()

    async def cancel_left(self) -> None:
        """Cancel the jobs of workers that are gone, for as long as Slurm may need to answer again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEFT_SECONDS):
                while self._abandoned:
                    if (jobs := await slurm.jobs()) is not None:
                        await self._clean(jobs)
                    await asyncio.sleep(0.5 if self._abandoned else 0.0)

    async def end_of(self, worker: Worker, end: WorkerEnd) -> WorkerEnd:
        """Return how a worker ended: its job in Slurm says more than `end`, which is the end of the pipe to it."""
        job_end = slurm.end_of(await self._ended(worker))
        if end.status:  # the worker reported its GPU's fault, which Slurm counts as a failure of the run
            return end
        if job_end.is_time_over and not worker.epoch_seconds:
            return WorkerEnd(NO_EPOCH)
        message = worker.last_line.removeprefix("srun: error: ") if worker.last_line.startswith("srun:") else ""
        return WorkerEnd(job_end.text or message or end.reason, job_end.out_of_memory, job_end.run_may_be_cause)

    async def _ended(self, worker: Worker) -> slurm.Job | None:
        """Return how a worker's job ended; one that runs without its pipe is cancelled. None: Slurm cannot say.

        Where Slurm does not answer in time, the job is cancelled once it does: it would hold its GPU for nothing.
        """
        job = None
        for _ in range(END_TRIES):
            jobs = await slurm.jobs("--states=all")
            if jobs is None:
                break
            job = jobs.get(worker.job_name)
            if job is None or (job.has_ended and job.state != "COMPLETING"):
                return job
            if not job.has_ended:
                await slurm.cancel([job.number])
            await asyncio.sleep(0.5)  # slurmctld reports no end by itself
        self._abandoned.add(worker.job_name)
        self.wake()
        return job

    async def _watch(self) -> None:
        pause = SOONEST_SECONDS
        while (followed := [worker for worker in self._workers() if worker.job_name]) or self._abandoned:
            self._woken.clear()
            jobs = await slurm.jobs()
            if jobs is not None:
                await self._clean(jobs)
            changes = sum(self._update(worker, (jobs or {}).get(worker.job_name)) for worker in followed)
            pause = SOONEST_SECONDS if changes else min(2 * pause, RAREST_SECONDS)
            for worker in filter(_stays, followed):
                if not slurm.has_time(worker.job, worker.epoch_seconds):
                    self._is_late(worker)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), min(pause, self._next_late(followed)))

    def _next_late(self, followed: Iterable[Worker]) -> float:
        """Return the seconds until the next worker is to end."""
        ends = [slurm.leaves_at(some.job, some.epoch_seconds) for some in filter(_stays, followed) if some.job]
        return max(0.1, min((end for end in ends if end is not None), default=float("inf")) - time.time())

    def _update(self, worker: Worker, job: slurm.Job | None) -> bool:
        """Record what Slurm reports of a worker; return whether it changed."""
        if job is None or job == worker.job:
            return False
        worker.job = job
        after = msgspec.structs.replace(
            worker.changed,
            job=job.number,
            text=job.why_waiting if job.is_waiting and not worker.has_reported else "",
            expected_at=job.start if job.is_waiting else None,
            ends_at=None if job.is_waiting else job.end,
        )
        if after != worker.changed:
            self._changed(worker, after)
        return True

    async def _clean(self, jobs: slurm.Jobs) -> None:
        """Cancel the jobs of workers that are gone, and, once, the waiting ones of a killed host of this workspace."""
        self._abandoned = {name for name in self._abandoned if name in jobs and not jobs[name].has_ended}
        left = [jobs[name].number for name in sorted(self._abandoned)]
        if not self._has_cleaned:
            self._has_cleaned = True
            left += [job.number for name, job in jobs.items()
                     if name.startswith(self._prefix) and name not in self._names and job.is_waiting]  # fmt: skip
        if left:
            await slurm.cancel(left)


def _stays(worker: Worker) -> bool:
    """Say whether a worker's end has yet to come: of a job that was cancelled Slurm says that it ends now."""
    return not worker.is_leaving and not (worker.job and worker.job.has_ended)
