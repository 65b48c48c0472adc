"""Starts workers in the background, and again after a pause where that failed."""

import asyncio
import contextlib
import secrets
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from engine import protocol as p
from engine.scheduling.backoff import Backoff
from engine.scheduling.slot import Slot
from engine.training.preflight import Preflight, issue_token, versions
from engine.workers import fleet, process
from engine.workers.process import Worker

Publish = Callable[[p.AnyEvent, bytes | None], None]
"""Sends an event to all clients, with its line if it is encoded already."""


class Launcher:
    """Starts the workers of slots.

    Args:
        workspace: the root of the workspace.
        publish: sends an event to all clients.
        started: is called with a worker that has started.
        may_try_again: is called when the pause after a failure is over.
    """

    def __init__(
        self,
        workspace: Path,
        publish: Publish,
        *,
        started: Callable[[Worker], None],
        may_try_again: Callable[[], None],
    ) -> None:
        self._workspace = workspace
        self._publish, self._started, self._may_try_again = publish, started, may_try_again
        self._starting: dict[Slot, asyncio.Task[None]] = {}
        self._backoff = Backoff()
        self.host = secrets.token_hex(8)
        """Identifies this host to its workers on a GPU: they share the card's lock."""
        self._token = ""
        """Identifies the workspace to workers on other machines."""

    @property
    def starting(self) -> Collection[Slot]:
        """Slots whose worker is being started."""
        return self._starting.keys()

    def resting(self) -> set[str]:
        """Return `Slurm`, the boxes and the seats where no worker is started for a while, since others failed there."""
        return self._backoff.resting(time.monotonic())

    def start(self, slot: Slot, files: Sequence[str] = (), job_name: str = "") -> None:
        """Start the worker of a slot in the background, unless it is being started.

        Args:
            slot: where.
            files: what a worker on another machine must be able to read.
            job_name: the name of its job in Slurm.
        """
        if slot not in self._starting:
            self._starting[slot] = asyncio.create_task(self._start(slot, files, job_name))

    async def _start(self, slot: Slot, files: Sequence[str], job_name: str) -> None:
        try:
            preflight = self._preflight(slot, files) if slot.is_elsewhere else None
            log = self._workspace / "host.log"
            worker = await process.start(slot, log, preflight=preflight, job_name=job_name, host=self.host)
        except Exception as error:  # noqa: BLE001  whatever prevents the start is reported, and it is tried again
            reason = str(error).rstrip(".") if isinstance(error, OSError) else "host.log says why"
            if not isinstance(error, OSError):
                traceback.print_exc()
            self.refuse(slot, f"No worker can be started: {reason}")
            return
        finally:
            self._starting.pop(slot, None)
        self._started(worker)

    def _preflight(self, slot: Slot, files: Sequence[str]) -> Preflight:
        """Return what a worker elsewhere has to check on its machine.

        Raises:
            OSError: the workspace cannot be written.
        """
        self._token = self._token or issue_token(self._workspace)
        index, count = slot.share
        return Preflight(str(self._workspace), self._token, tuple(files), versions(slot.trainer), index, count,
                         is_slurms=slot.slurm is not None,
                         asks_for_gpu=fleet.options_ask_for_gpu(slot.slurm or ()))  # fmt: skip

    def refuse(self, slot: Slot, why: str) -> None:
        """Report once why no worker started in a slot, and allow the next try there after a growing pause."""
        pause, is_new = self._backoff.refuse(slot.where, why, time.monotonic())
        asyncio.get_running_loop().call_later(pause, self._may_try_again)
        if is_new:
            text = f"{why}. It is tried again in {pause:.0f} s, then more rarely."
            self._publish(p.Noticed(text=text, severity="error"), None)

    def refuse_seat(self, slot: Slot, why: str) -> None:
        """Start no further worker on a seat for a while, without a notice: its card has no room for another."""
        pause, _ = self._backoff.refuse(slot.name, why, time.monotonic())
        asyncio.get_running_loop().call_later(pause, self._may_try_again)

    def accept_seat(self, slot: Slot) -> None:
        """Forget refusals of a seat: a worker trains there."""
        self._backoff.accept(slot.name)

    def accept(self, slot: Slot) -> None:
        """Forget failures where this slot is: a worker has started there."""
        self._backoff.accept(slot.where)

    def forget_failures(self) -> None:
        """Forget all failures, so that workers may be started everywhere."""
        self._backoff = Backoff()

    async def close(self) -> None:
        """Cancel the starts in progress."""
        for task in list(self._starting.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
