"""A recorded run: a thread writes its folder, as a worker would, and reports it to the workspace's host.

The folder is what counts: it is complete without a host. The host is started where there is none, and again when it
died; what it does not know yet is reported then. A full disk is waited for, with the epochs in memory.
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
"""Epochs that the thread has not looked at; more are dropped."""
LOOK_SECONDS = 0.2
"""How often the thread looks for what is new. To be woken would cost the training more than adding to a list does:
the two threads would hand Python's lock over."""
RETRY_SECONDS = 2.0
"""How long a disk that takes nothing is given before it is tried again."""
EXIT_SECONDS = 10.0
"""How long a program's end may wait for what is still to be written."""
LAST_WORDS_SECONDS = 3.0
"""And how long for the host to hear of it; it reads the folder if it does not."""
REPORT_SECONDS = 60.0
"""How long a host that does not answer is reported to after the end."""
ENDED = "Its program ended the fit."
INTERRUPTED = "Its fit was interrupted."
BEGIN, NOTE, END = "begin", "note", "end"
"""Requests, by which the host's answers are known."""


class Epoch(NamedTuple):
    """What the callback knows of an epoch, as it was handed over."""

    number: int
    """From 0 on, as Keras counts."""
    logs: Mapping[str, object]
    seconds: float


class RunRecorder:
    """Records one run. `add` and `end` are called by the training and return at once; all else is the thread's."""

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
        self._noted = 0
        """Rows that were handed to the journal."""
        self._journal: Journal | None = None
        self._attempt = ""
        self._fit = fit_call.current()
        self._why_over = ""
        """Why no more epochs come; empty as long as they do."""
        self._is_written = threading.Event()
        self._reports = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name=f"svhn-tui recorder {spec.run_id}", daemon=True)

    # --- called by the training --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        atexit.register(self._leave)
        self._thread.start()

    def add(self, index: int, logs: Mapping[str, object], seconds: float) -> None:
        """Take an epoch."""
        if len(self._waiting) >= MOST_WAITING or index >= MAX_EPOCHS:
            self._warn("More epochs than can be recorded; some are left out.")
            return
        self._waiting.append(Epoch(index, logs, seconds))

    def end(self, why: str = ENDED) -> None:
        """Take no more epochs: the run has its result with what there is."""
        self._why_over, self._fit = self._why_over or why, None

    def wait(self, seconds: float) -> bool:
        """Wait until all is on the disk; say whether it is."""
        return self._is_written.wait(seconds)

    def _leave(self) -> None:
        """Give the thread a moment when the program ends."""
        if not self._thread.is_alive():
            return  # it is done, or this is a fork of the program
        self.end("Its program ended.")
        if self._is_written.wait(EXIT_SECONDS):
            self._thread.join(LAST_WORDS_SECONDS)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            asyncio.run(self._record())
        except Exception as error:  # noqa: BLE001  the training goes on, whatever is wrong here
            self._warn(f"the run is recorded no further ({type(error).__name__}: {error}).")
        finally:
            self._fit = None
            atexit.unregister(self._leave)

    async def _record(self) -> None:
        telling = asyncio.create_task(self._report())
        try:
            while not self._is_written.is_set():
                is_late = self._write()
                self._reports.set()
                if self._is_written.is_set():
                    break
                await asyncio.sleep(RETRY_SECONDS if is_late else LOOK_SECONDS)
            if self._journal is not None:
                await asyncio.wait({telling}, timeout=REPORT_SECONDS)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    def _write(self) -> bool:
        """Write all that came; say whether some of it has to be tried again."""
        if (fit := self._fit) is not None and not fit.is_running:
            self.end(INTERRUPTED)  # unless it said its end before
        is_over = bool(self._why_over)  # before the last look at what waits
        while self._waiting:
            self._add_epoch(self._waiting.popleft())
        try:
            if self._journal is None:
                self._journal = self._begin()
            for index in range(self._noted, len(self._rows)):
                if self._rows[index] is not MISSED:
                    self._journal.append(self._ended(index))
            self._noted = len(self._rows)
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
            self._warn(f"not recorded, since it is no number or too much: {', '.join(map(str, others))}.")
        del self._rows[epoch.number :]
        self._rows += [MISSED] * (epoch.number - len(self._rows))
        self._rows.append(row)
        self._noted = min(self._noted, epoch.number)

    def _begin(self) -> Journal:
        make_folder(self._workspace)
        if problem := ownership.problem(self._workspace.resolve()):
            raise PermissionError(0, problem.rstrip("."), str(self._workspace))
        migrations.refuse_newer_workspace(self._workspace)
        Workspace(self._workspace)  # makes the folders that are missing
        self._attempt = self._attempt or claims.new_attempt(self._run.path)
        journal = self._run.begin(self._spec, self._attempt)
        forks.keep_from_forks(journal)
        journal.append(self._started(0))
        with contextlib.suppress(OSError), os.fdopen(self._run.open_log(), "ab") as log:
            log.write(f"{self._summary}\n".encode(errors="replace"))
        return journal

    def _finish(self, journal: Journal) -> None:
        """Write the result, last of all; without an epoch there is none."""
        result = result_of(self._spec, self._rows, time.time(), has_ended=self._why_over == ENDED)
        if result is not None and recordings.finish(self._run, self._attempt, result):
            journal.append(p.RunFinished(result=result))
        else:
            journal.append(p.RunInterrupted(run_id=self._spec.run_id, reason=self._why_over))
        forks.give_up(journal)
        with contextlib.suppress(OSError):
            journal.close()
        self._is_written.set()

    # --- what the host is told ---------------------------------------------------------------------------------------

    async def _report(self) -> None:
        """Report to a host, one after the other, until one has heard the end."""
        while self._journal is None:
            await self._next_report()
        patience, is_heard = ReconnectPause(), False
        while not is_heard:
            try:
                async with Link(self._workspace) as link:
                    forks.keep_from_forks(link)
                    is_heard = await self._report_all(link, patience)
            except LinkLost as error:
                if patience.is_news(str(error)):
                    self._warn(f"it is recorded but not shown at present: {error}")
            if not is_heard:
                await patience.wait()

    async def _report_all(self, link: Link, patience: ReconnectPause) -> bool:
        """Report all that there is through a link; return whether nothing is left to report.

        Raises:
            LinkLost: it broke.
        """
        hearing = asyncio.create_task(self._hear(link, patience))
        reported = self._noted if self._journal is not None and not self._journal.is_waiting else 0
        is_end_reported = False
        try:
            await link.send(p.Report(event=self._started(reported), request=BEGIN))
            if self._note is not None:
                await link.send(self._note)
            while not hearing.done():
                is_over, rows = self._is_written.is_set(), len(self._rows)
                for index in range(reported, rows):
                    if self._rows[index] is not MISSED:
                        await link.send(p.Report(event=self._ended(index)))
                reported = rows
                if is_over and not is_end_reported:
                    over = p.RunInterrupted(run_id=self._spec.run_id, reason=self._why_over)
                    await link.send(p.Report(event=over, request=END))
                    is_end_reported = True
                await asyncio.wait({hearing, news := asyncio.create_task(self._next_report())},
                                   return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
                news.cancel()
            return hearing.result()
        finally:
            hearing.cancel()

    async def _hear(self, link: Link, patience: ReconnectPause) -> bool:
        """Read what the host says until it took the end, or the run: True; False when it left in order."""
        async for batch in link.events():
            patience.renew()
            for event in batch:
                request = event.request if isinstance(event, p.Done | p.Refused) else ""
                is_known = request == BEGIN and self._is_written.is_set()  # it read the result itself, as it started
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
