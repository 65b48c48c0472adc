"""The host: one process for a workspace, alive as long as something trains or somebody looks.

It owns the queue, the index and everything on disk but the folders of runs in training. It loads no NumPy, JAX or
TensorFlow: what needs them runs in processes of its own.
"""

import argparse
import asyncio
import contextlib
import fcntl
import importlib.metadata
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from engine import devices, formats, journal
from engine import protocol as p
from engine.address import READY, socket_path
from engine.clients import Client, is_from
from engine.commands import Commands
from engine.dispatch import Dispatch
from engine.files import PRIVATE_FILE
from engine.forecast import Measured
from engine.formats import NewerFormat
from engine.queue import Queue
from engine.records import Records
from engine.workspace import Workspace

RESULTS_AT_ONCE = 500
"""Finished runs in one event, so that a screen stays responsive while it catches up."""
SAMPLE_SECONDS = 2.0
SAVE_SECONDS = 1.0
COMMANDS_A_SECOND = 200
FILES = 16_384
"""Open at a time. Not as many as the system allows: some programs close every number up to the limit that they get."""


class Host:
    """The state of a workspace, and what commands do to it."""

    def __init__(self, workspace: Workspace) -> None:
        """Read the workspace, set damaged pieces aside, and put what is missing into the queue.

        Raises:
            NewerFormat: a newer program wrote the workspace.
            OSError: the workspace cannot be read.
        """
        brought_up = formats.bring_up(workspace.root)
        self.ended = asyncio.Event()
        self.is_lost = False
        """The workspace is no longer where it was, so nothing may be written there."""
        self._workspace = workspace
        self._clients: set[Client] = set()
        self._records = Records(workspace, self._publish)
        kept = self._records.kept
        results, data = self._records.results(), self._records.trainable()
        self._queue = Queue(self._publish, results=results, data=data, held=kept.order.held)
        self._queue.times = Measured(kept.times)
        self._dispatch = Dispatch(workspace, devices.machine(), self._queue, self._publish)
        self._commands = Commands(workspace, self._records, self._queue, self._dispatch, self._publish, self.leave)
        self._dispatch.fleet = kept.fleet
        for sweep in workspace.all_sweeps():
            self._queue.supersede(sweep)
            self._queue.want(sweep)
        self._queue.arrange(kept.order)
        self._complaints = [text for text in (brought_up, *self._records.complaints) if text]
        self._trouble = ""
        """Why the workspace cannot be written at present."""

    # --- clients -----------------------------------------------------------------------------------------------------

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        if not is_from(writer, os.getuid()) or self.ended.is_set():  # who asks at the very end is served by the next
            writer.close()
            return
        client = Client(writer, self._fresh)
        client.greet()
        self._clients.add(client)
        budget, since = COMMANDS_A_SECOND, time.monotonic()
        try:
            while line := await _line(reader):
                if time.monotonic() - since > 1:
                    budget, since = COMMANDS_A_SECOND, time.monotonic()
                budget -= 1
                if budget < 0:
                    await asyncio.sleep(1)  # a client that floods waits; the others don't
                await self._obey(line, client)
        except ConnectionError:
            pass  # it left without a word
        finally:
            self._clients.discard(client)
            await client.close()
            self.end_if_idle()

    def _fresh(self) -> Iterator[p.AnyEvent]:
        """Tell the whole state."""
        queue = self._queue
        results = tuple(queue.results.values())
        yield p.Attached(
            workspace=str(self._workspace.root),
            host_pid=os.getpid(),
            versions={"svhn-tui": importlib.metadata.version("svhn-tui")},
            data=self._records.data,
            results=len(results),
            choices=self._records.choices,
            statements=self._records.statements,
        )
        for start in range(0, len(results), RESULTS_AT_ONCE):
            yield p.RunsRead(results=results[start : start + RESULTS_AT_ONCE])
        yield p.RunsRead(notes=tuple(self._records.notes.values()))
        for sweep in queue.sweeps.values():
            yield p.SweepSubmitted(sweep=sweep, missing=())
        yield from queue.told()
        yield p.FleetChanged(fleet=self._dispatch.fleet)
        yield from self._dispatch.workers()
        for run_id, started in queue.started.items():
            yield started
            known = queue.histories.get(run_id, p.History())
            if started.epoch and known.epochs <= started.epoch:
                known, _ = journal.history(self._workspace.run_folder(run_id) / "journal.jsonl")
            yield p.HistoryRead(run_id=run_id, history=known)
        for run_id, reason in queue.reasons.items():
            yield p.RunFailed(run_id=run_id, reason=reason)
        yield p.Timed(times=queue.times.medians)
        for text in self._complaints:
            yield p.Noticed(text=text, severity="warning")
        if self._trouble:
            yield p.Noticed(text=self._trouble, severity="error")
        yield p.CaughtUp()

    def _publish(self, event: p.AnyEvent, line: bytes | None = None) -> None:
        """Tell everybody, and keep what has to be kept."""
        match event:
            case p.RunFinished():
                if not (self._workspace.run_folder(event.result.run_id) / "result.json").exists():
                    return  # deleted in this very moment
                self._records.add([event.result])
            case p.RunFailed() | p.RunPaused() | p.RunInterrupted():
                self._records.is_changed = True
            case p.EpochEnded() | p.RunsUnqueued():
                self._records.has_progressed = True
            case _:
                pass
        if self._clients:
            text = line or p.encode(event)
            for client in self._clients:
                client.tell(text)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def _obey(self, line: bytes, client: Client) -> None:
        """Do what a line asks; whatever it holds, the connection lives on."""
        try:
            command = p.decode_command(line)
        except p.UNREADABLE as error:
            client.tell(p.encode(p.Refused(command="", reason=f"Not a command: {str(error)[:200]}.")))
            return
        name = type(command).__name__
        try:
            await self._commands.do(command, client)
            if isinstance(command, p.OpenData):
                self._save()  # a sweep may follow, and is trained after a crash only where its data is known
        except ValueError as error:
            client.tell(p.encode(p.Refused(command=name, reason=str(error), request=command.request)))
        except OSError as error:
            reason = f"{error.filename or self._workspace.root}: {error.strerror}."
            client.tell(p.encode(p.Refused(command=name, reason=reason, request=command.request)))

    # --- life --------------------------------------------------------------------------------------------------------

    async def sample_devices(self) -> None:
        """Tell how busy the machine is while somebody looks."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            if self._clients:
                samples = await asyncio.to_thread(devices.sample)
                self._publish(p.DeviceSampled(samples=samples, at=time.time()))
                self._publish(p.Timed(times=self._queue.times.medians))

    async def save_changes(self, lock: int) -> None:
        """Write what changed, at most once a second; end when nothing is left to do, or the workspace is elsewhere."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            if not _is_at(self._workspace.root / "host.lock", lock):
                self._give_up()
                return
            self._save()
            self.end_if_idle()

    def _save(self, *, is_last: bool = False) -> None:
        try:
            self._records.save(lambda: self._queue.order, self._queue.times.times, is_last=is_last)
        except OSError as error:
            text = f"The workspace cannot be written: {error.strerror}. Training goes on; it is tried again."
            if text != self._trouble:
                self._publish(p.Noticed(text=text, severity="error"))
            self._trouble = text
        else:
            if self._trouble:
                self._publish(p.Noticed(text="The workspace is written again; nothing is missing."))
            self._trouble = ""

    def _give_up(self) -> None:
        """End without writing: the workspace was moved, or is another's. Its runs go on from their checkpoints."""
        self._publish(p.HostEnded(reason=f"{self._workspace.root} was moved or replaced; open it where it is now."))
        self._dispatch.kill()
        self.is_lost = True
        self.ended.set()

    def begin(self) -> None:
        """Go on with what was left."""
        self._dispatch.advance()

    def end_if_idle(self) -> None:
        """End when nobody is attached and nothing is to be trained."""
        if not self._clients and not self._commands.is_busy and self._queue.is_idle:
            self.ended.set()

    async def leave(self, reason: str) -> None:
        """Let the workers checkpoint, write everything, tell everybody, end."""
        await self._dispatch.leave()
        self._save(is_last=True)
        self._publish(p.HostEnded(reason=reason))
        for client in list(self._clients):
            await client.close()
        self.ended.set()


def _is_at(path: Path, descriptor: int) -> bool:
    """Say whether this is still the file that was opened; a file system that does not answer is believed."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
    except OSError:
        return True


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return the next line; one that is longer than any message comes as garbage instead of ending the connection."""
    try:
        return await reader.readline()
    except ValueError:
        return b"a line longer than any message\n"


async def serve(workspace: Workspace, tell: Callable[[bytes], None], lock: int) -> None:
    """Listen until there is nothing left to do. The lock's file tells where, for those with another runtime folder."""
    host = Host(workspace)
    address = socket_path(workspace.root)
    with contextlib.suppress(OSError):  # a full disk: those with the same runtime folder find it all the same
        os.ftruncate(lock, 0)
        os.pwrite(lock, os.fsencode(address), 0)
    address.unlink(missing_ok=True)  # of a host that was killed: we hold the lock
    server = await asyncio.start_unix_server(host.attend, str(address), limit=p.MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    leaving: set[asyncio.Task[None]] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: leaving.add(asyncio.create_task(host.leave("Told to end."))))
    tell(READY)
    tasks = [asyncio.create_task(host.sample_devices()), asyncio.create_task(host.save_changes(lock))]
    host.begin()
    await host.ended.wait()
    server.close()
    address.unlink(missing_ok=True)
    if not host.is_lost:
        await host.leave("Nothing is left to do.")
    for task in tasks:
        task.cancel()


def _allow_files() -> None:
    """Raise the limit of open files as far as needed: a thousand workers are three thousand pipes."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def main() -> int:
    """Hold the workspace's lock for life and serve; leave quietly when another host holds it."""
    parser = argparse.ArgumentParser(prog="python -m engine.host")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--ready", type=int, help="a file descriptor that is told when the host listens, or why not")
    given = parser.parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _allow_files()
    tell = partial(_tell, os.fdopen(given.ready, "wb") if given.ready is not None else None)
    try:
        workspace = Workspace(given.workspace)
        lock = os.open(workspace.root / "host.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            asyncio.run(serve(workspace, tell, lock))
    except NewerFormat as error:
        return _refuse(str(error), tell)
    except OSError as error:
        return _refuse(f"{error.filename or given.workspace}: {error.strerror or error}", tell)
    return 0


def _refuse(text: str, tell: Callable[[bytes], None]) -> int:
    print(text, file=sys.stderr)
    tell(text.encode())
    return 1


def _tell(ready: BinaryIO | None, text: bytes) -> None:
    """Tell who started this process, once; nobody may listen any more."""
    if ready is not None:
        with contextlib.suppress(OSError, ValueError):
            ready.write(text)
            ready.close()


if __name__ == "__main__":
    raise SystemExit(main())
