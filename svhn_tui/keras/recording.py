"""A recorded run: a thread writes its folder, as a worker would, and reports it to the workspace's host.

The folder is complete without a host. A host is started if there is none, and again after its death; the rows that it
does not know are then reported. While the disk is full, epochs stay in memory.
"""

import asyncio
import atexit
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from engine import protocol as p
from engine.core.options import MAX_EPOCHS
from engine.core.recording import result_of
from engine.core.results import MISSED
from engine.core.spec import RunSpec
from engine.machine import ownership
from engine.machine.files import make_folder
from engine.storage import claims, migrations, recordings
from engine.storage.journal import Journal
from engine.storage.run_folder import RunFolder
from engine.storage.workspace import Workspace
from svhn_tui.client.bridge import Link, LinkLost, ReconnectPause
from svhn_tui.keras import fit_call, forks
from svhn_tui.keras.model_facts import row_of

MOST_WAITING = 10_000
"""Most epochs that wait for the thread; more are dropped."""
LOOK_SECONDS = 0.2
"""Interval at which the thread looks for new epochs. Waking it would cost the training more than appending to a list:
Python's lock would change threads."""
RETRY_SECONDS = 2.0
"""Pause before writing is tried again after an error."""
EXIT_SECONDS = 10.0
"""Longest delay of the program's end by writing."""
REPORT_AT_EXIT_SECONDS = 3.0
"""Longest further delay by the report to the host, which otherwise reads the folder."""
REPORT_SECONDS = 60.0
"""Time after the end in which the report is tried."""
ENDED = "Its program ended the fit."
INTERRUPTED = "Its fit was interrupted."
BEGIN, NOTE, END = "begin", "note", "end"
"""Names of requests, which the host's replies repeat."""


class Epoch(NamedTuple):
    """The logs of an epoch, as the callback received them."""

    number: int
    """Counted from 0, as in Keras."""
    logs: Mapping[str, object]
    seconds: float


class RunRecorder:
    """Records one run. The training calls `add` and `end`, which return at once; a thread does the rest."""

    def __init__(
        self,
        workspace: Path,
        spec: RunSpec,
        note: tuple[str, tuple[str, ...]],
        summary: str,
        warn: Callable[[str], None],
    ) -> None:
        self._workspace, self._spec, self._summary, self._warn = workspace, spec, summary, warn
        self._run = RunFolder(workspace, spec.run_id)
        self._note = p.Annotate(run_id=spec.run_id, text=note[0], tags=note[1], request=NOTE) if any(note) else None
        self._waiting: deque[Epoch] = deque()
        self._rows: list[p.EpochRow] = []
        self._journaled = 0
        """Number of rows that were passed to the journal."""
        self._journal: Journal | None = None
        self._attempt = ""
        self._fit = fit_call.current()
        self._why_over = ""
        """Why the run is over; empty until it is."""
        self._is_written = threading.Event()
        self._reports = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name=f"svhn-tui recorder {spec.run_id}", daemon=True)

    # --- called by the training --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        atexit.register(self._leave)
        self._thread.start()

    def add(self, index: int, logs: Mapping[str, object], seconds: float) -> None:
        """Add an epoch."""
        if len(self._waiting) >= MOST_WAITING or index >= MAX_EPOCHS:
            self._warn("More epochs than can be recorded; some are left out.")
            return
        self._waiting.append(Epoch(index, logs, seconds))

    def end(self, why: str = ENDED) -> None:
        """End the run: its result is made of the epochs so far."""
        self._why_over, self._fit = self._why_over or why, None

    def wait(self, seconds: float) -> bool:
        """Wait until everything is on disk; return whether it is."""
        return self._is_written.wait(seconds)

    def _leave(self) -> None:
        """Give the thread time to finish when the program ends."""
        if not self._thread.is_alive():
            return  # it has finished, or this is a fork of the program
        self.end("Its program ended.")
        if self._is_written.wait(EXIT_SECONDS):
            self._thread.join(REPORT_AT_EXIT_SECONDS)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            asyncio.run(self._record())
        except Exception as error:  # noqa: BLE001  the training continues after any error
            self._warn(f"the rest of the run is not recorded ({type(error).__name__}: {error}).")
        finally:
            self._fit = None
            atexit.unregister(self._leave)

    async def _record(self) -> None:
        reporting = asyncio.create_task(self._report())
        try:
            while not self._is_written.is_set():
                is_late = self._write()
                self._reports.set()
                if self._is_written.is_set():
                    break
                await asyncio.sleep(RETRY_SECONDS if is_late else LOOK_SECONDS)
            if self._journal is not None:
                await asyncio.wait({reporting}, timeout=REPORT_SECONDS)
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)

    def _write(self) -> bool:
        """Write the new epochs; return whether writing has to be tried again."""
        if (fit := self._fit) is not None and not fit.is_running:
            self.end(INTERRUPTED)  # no effect if the fit has ended already
        is_over = bool(self._why_over)  # read before the waiting epochs are
        while self._waiting:
            self._add_epoch(self._waiting.popleft())
        try:
            if self._journal is None:
                self._journal = self._begin()
            for index in range(self._journaled, len(self._rows)):
                if self._rows[index] is not MISSED:
                    self._journal.append(self._ended(index))
            self._journaled = len(self._rows)
            if self._journal.is_waiting and (error := self._journal.flush()) is not None:
                raise error
            if is_over:
                self._finish(self._journal)
        except OSError as error:
            self._warn(f"{error.filename or self._run.path}: {error.strerror or error}. It is tried again.")
            return True
        return False

    def _add_epoch(self, epoch: Epoch) -> None:
        try:
            row, others = row_of(epoch.logs, epoch.seconds)
        except Exception as error:  # noqa: BLE001  logs may hold anything
            self._warn(f"the logs of epoch {epoch.number + 1} cannot be read ({error}).")
            return
        if others:
            self._warn(f"not recorded, since it is not a number or there are too many: {', '.join(map(str, others))}.")
        del self._rows[epoch.number :]
        self._rows += [MISSED] * (epoch.number - len(self._rows))
        self._rows.append(row)
        self._journaled = min(self._journaled, epoch.number)

    def _begin(self) -> Journal:
        make_folder(self._workspace)
        if problem := ownership.problem(self._workspace.resolve()):
            raise PermissionError(0, problem.rstrip("."), str(self._workspace))
        migrations.refuse_newer_workspace(self._workspace)
        Workspace(self._workspace)  # makes the folders that are missing
        self._attempt = self._attempt or claims.new_attempt(self._run.path)
        journal = self._run.begin(self._spec, self._attempt)
        forks.register(journal)
        journal.append(self._started(0))
        with contextlib.suppress(OSError), os.fdopen(self._run.open_log(), "ab") as log:
            log.write(f"{self._summary}\n".encode(errors="replace"))
        return journal

    def _finish(self, journal: Journal) -> None:
        """Write the result as the last file; without an epoch there is none."""
        result = result_of(self._spec, self._rows, time.time(), has_ended=self._why_over == ENDED)
        if result is not None and recordings.finish(self._run, self._attempt, result):
            journal.append(p.RunFinished(result=result))
        else:
            journal.append(p.RunInterrupted(run_id=self._spec.run_id, reason=self._why_over))
        forks.unregister(journal)
        with contextlib.suppress(OSError):
            journal.close()
        self._is_written.set()

    # --- reports to the host -----------------------------------------------------------------------------------------

    async def _report(self) -> None:
        """Report to a host, and to the next one after its death, until the end of the run is reported."""
        while self._journal is None:
            await self._next_report()
        pause, is_reported = ReconnectPause(), False
        while not is_reported:
            try:
                async with Link(self._workspace) as link:
                    forks.register(link)
                    is_reported = await self._report_all(link, pause)
            except LinkLost as error:
                if pause.is_news(str(error)):
                    self._warn(f"it is recorded but not shown at present: {error}")
            if not is_reported:
                await pause.wait()

    async def _report_all(self, link: Link, pause: ReconnectPause) -> bool:
        """Report everything through a link; return whether nothing is left to report.

        Raises:
            LinkLost: the connection ended.
        """
        replies = asyncio.create_task(self._read_replies(link, pause))
        reported = self._journaled if self._journal is not None and not self._journal.is_waiting else 0
        is_end_reported = False
        try:
            await link.send(p.Report(event=self._started(reported), request=BEGIN))
            if self._note is not None:
                await link.send(self._note)
            while not replies.done():
                is_over, rows = self._is_written.is_set(), len(self._rows)
                for index in range(reported, rows):
                    if self._rows[index] is not MISSED:
                        await link.send(p.Report(event=self._ended(index)))
                reported = rows
                if is_over and not is_end_reported:
                    over = p.RunInterrupted(run_id=self._spec.run_id, reason=self._why_over)
                    await link.send(p.Report(event=over, request=END))
                    is_end_reported = True
                await asyncio.wait({replies, more := asyncio.create_task(self._next_report())},
                                   return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
                more.cancel()
            return replies.result()
        finally:
            replies.cancel()

    async def _read_replies(self, link: Link, pause: ReconnectPause) -> bool:
        """Read the host's replies: True once it confirms the end or refuses the run; False if it stops before."""
        async for batch in link.events():
            pause.renew()
            for event in batch:
                request = event.request if isinstance(event, p.Done | p.Refused) else ""
                is_known = request == BEGIN and self._is_written.is_set()  # the host read the result when it started
                if isinstance(event, p.Refused) and request and not is_known:
                    self._warn(event.reason)
                if request == NOTE:
                    self._note = None
                elif request == END or (request == BEGIN and isinstance(event, p.Refused)):
                    return True
        return False

    async def _next_report(self) -> None:
        await self._reports.wait()
        self._reports.clear()

    def _started(self, epoch: int) -> p.RunStarted:
        spec = self._spec
        device = spec.recording.device if spec.recording else ""
        return p.RunStarted(
            group=f"recorder-{spec.run_id}", runs=(spec.run_id,), specs=(spec,), worker="recorder", device=device,
            epoch=epoch,
        )  # fmt: skip

    def _ended(self, index: int) -> p.EpochEnded:
        run_id = self._spec.run_id
        return p.EpochEnded(group=f"recorder-{run_id}", runs=(run_id,), epoch=index + 1, rows=(self._rows[index],),
                            images_per_second=0.0)  # fmt: skip
