"""The runs that clients record: trained by the user's own programs, and shown like those of workers."""

import asyncio
import time
from collections.abc import Callable

from engine import protocol as p
from engine.core import limits
from engine.core.spec import RunSpec
from engine.host.clients import Client
from engine.scheduling.queue import Queue
from engine.scheduling.run_states import Finished
from engine.storage import recordings
from engine.storage.workspace import Workspace

RELEASE_SECONDS = 5.0
"""How long a program that ends may hold its journal after its connection closed; a living one connects again."""
LOST = "Its program ended, or lost the host, before it said that the run was over."


class Recorders:
    """Which client records which run. The run's folder is the recorder's; what it reports is published."""

    def __init__(self, workspace: Workspace, queue: Queue, publish: Callable[[p.AnyEvent], None]) -> None:
        self._workspace, self._queue, self._publish = workspace, queue, publish
        self._clients: dict[str, Client] = {}

    async def report(self, event: p.RunStarted | p.EpochEnded | p.RunInterrupted, client: Client) -> None:
        """Enter what a client reports of a run that it records.

        Raises:
            ValueError: it is not a run that it can record; one sentence says why.
        """
        match event:
            case p.RunStarted(runs=(run_id,), specs=(spec,)) if spec.run_id == run_id:
                self._begin(event, spec, client)
            case p.EpochEnded(runs=(run_id,)) if self._clients.get(run_id) is client:
                self._pass_on(event)
            case p.RunInterrupted(run_id=run_id) if self._clients.get(run_id) is client:
                await self._end(run_id, event.reason)
            case _:
                raise ValueError("A run is reported one at a time, and its epochs and its end by who records it.")

    async def leave(self, client: Client) -> None:
        """Finish the runs of a client that disconnected, with the epochs that were recorded."""
        for run_id in [run_id for run_id, recorder in self._clients.items() if recorder is client]:
            await self._end(run_id, LOST)

    def _begin(self, event: p.RunStarted, spec: RunSpec, client: Client) -> None:
        run_id = spec.run_id
        if problem := limits.recording_problem(spec):
            raise ValueError(f"That is not a recorded run: {problem}")
        if isinstance(self._queue.runs.get(run_id), Finished):
            raise ValueError(f"Run {run_id} is finished already.")
        if not self._workspace.run(run_id).is_there:
            raise ValueError(f"There is no run {run_id} in {self._workspace.root}: its recorder writes elsewhere.")
        self._queue.adopt(p.WaitingRun(run_id, spec, "", spec.configuration.label))
        self._clients[run_id] = client
        self._pass_on(event)

    async def _end(self, run_id: str, reason: str) -> None:
        del self._clients[run_id]
        run = self._workspace.run(run_id)
        deadline = time.monotonic() + RELEASE_SECONDS
        while recordings.is_written(run) and run_id not in self._clients and time.monotonic() < deadline:
            await asyncio.sleep(RELEASE_SECONDS / 100)
        result = await asyncio.to_thread(recordings.complete, run)
        if run_id in self._clients:
            return  # its recorder is here again
        self._pass_on(p.RunFinished(result=result) if result else p.RunInterrupted(run_id=run_id, reason=reason))

    def _pass_on(self, event: p.AnyEvent) -> None:
        if self._queue.fold(event):
            self._publish(event)
