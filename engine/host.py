"""The host: one process for a workspace, alive as long as something trains or somebody looks.

It owns the queue, the index and everything on disk but the folders of runs in training. It loads no NumPy, JAX or
TensorFlow: what needs them runs in processes of its own.
"""

import argparse
import asyncio
import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine import datasets, devices, journal, pack, plan
from engine import protocol as p
from engine.address import socket_path
from engine.clients import Client, is_from
from engine.dispatch import Dispatch
from engine.files import PRIVATE_FILE
from engine.store import Store
from engine.workspace import KnownData, Remembered, Workspace

RESULTS_AT_ONCE = 500
"""Finished runs in one event, so that a screen stays responsive while it catches up."""
SAMPLE_SECONDS = 2.0
SAVE_SECONDS = 1.0
COMMANDS_A_SECOND = 200


class Host:
    """The state of a workspace, and what commands do to it."""

    def __init__(self, workspace: Workspace) -> None:
        """Read the workspace, set damaged pieces aside, and put what is missing into the queue.

        Raises:
            OSError: the workspace cannot be read.
        """
        self.ended = asyncio.Event()
        self._workspace = workspace
        self._store = Store(workspace.root / "runs.json")
        self._clients: set[Client] = set()
        self._dispatch = Dispatch(workspace, devices.machine(), self._publish)
        self._is_changed = False
        self._opening = 0
        self._inspecting: set[asyncio.Task[None]] = set()
        kept = workspace.remembered()
        self._known, self._choices = dict(kept.known), dict(kept.choices)
        self._statements = dict(kept.statements)
        self._data = self._known[kept.data].data if kept.data in self._known else None
        self._notes = self._store.notes()
        self._dispatch.data = {name: known.data for name, known in kept.known.items()}
        self._dispatch.times, self._dispatch.held = kept.times, dict(kept.order.held)
        self._dispatch.results = self._read_results()
        for sweep in workspace.all_sweeps():
            self._dispatch.supersede(sweep)
            self._dispatch.want(sweep)
        self._dispatch.arrange(kept.order)
        self._complaints = [text for text in (self._store.complaint, *workspace.complaints) if text]

    def _read_results(self) -> dict[str, p.RunResult]:
        """Return all finished runs: the index, put right by the run folders, which are the truth."""
        indexed, there = self._store.results(), self._workspace.finished()
        gone = set(indexed) - there
        if gone:
            self._store.remove(gone)
        read = {run_id: self._workspace.result(run_id) for run_id in there - set(indexed)}
        found = {run_id: result for run_id, result in read.items() if result is not None}
        if found:
            self._store.add(found.values())
        self._is_changed = bool(gone or found or self._store.complaint)
        return {run_id: result for run_id, result in indexed.items() if run_id in there} | found

    # --- clients -----------------------------------------------------------------------------------------------------

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        if not is_from(writer, os.getuid()):
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
        dispatch = self._dispatch
        results = tuple(dispatch.results.values())
        yield p.Attached(
            workspace=str(self._workspace.root),
            host_pid=os.getpid(),
            versions={"svhn-tui": importlib.metadata.version("svhn-tui")},
            data=self._data,
            results=len(results),
            choices=self._choices,
            statements=self._statements,
        )
        for start in range(0, len(results), RESULTS_AT_ONCE):
            yield p.RunsRead(results=results[start : start + RESULTS_AT_ONCE])
        yield p.RunsRead(notes=tuple(self._notes.values()))
        for sweep in dispatch.sweeps.values():
            yield p.SweepSubmitted(sweep=sweep, missing=())
        yield p.QueueChanged(places=dispatch.places())
        yield from dispatch.workers()
        for run_id, started in dispatch.started.items():
            yield started
            known = dispatch.histories.get(run_id, p.History())
            if started.epoch and known.epochs <= started.epoch:
                known, _ = journal.history(self._workspace.run_folder(run_id) / "journal.jsonl")
            yield p.HistoryRead(run_id=run_id, history=known)
        for run_id, reason in dispatch.reasons.items():
            yield p.RunFailed(run_id=run_id, reason=reason)
        yield p.Timed(times=dispatch.times)
        for text in self._complaints:
            yield p.Noticed(text=text, severity="warning")
        yield p.CaughtUp()

    def _publish(self, event: p.AnyEvent, line: bytes | None = None) -> None:
        """Tell everybody, and keep what has to be kept."""
        match event:
            case p.RunFinished():
                if not (self._workspace.run_folder(event.result.run_id) / "result.json").exists():
                    return  # deleted in this very moment
                self._store.add([event.result])
                self._is_changed = True
            case p.QueueChanged() | p.RunFailed() | p.RunPaused() | p.RunInterrupted() | p.EpochEnded():
                self._is_changed = True
            case _:
                pass
        text = line or p.encode(event)
        for client in self._clients:
            client.tell(text)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def _obey(self, line: bytes, client: Client) -> None:
        """Do what a line asks; whatever it holds, the connection lives on."""
        try:
            command = p.decode_command(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            client.tell(p.encode(p.Refused(command="", reason=f"Not a command: {str(error)[:200]}.")))
            return
        name = type(command).__name__
        try:
            await self._do(command, client)
        except ValueError as error:
            client.tell(p.encode(p.Refused(command=name, reason=str(error), request=command.request)))
        except OSError as error:
            reason = f"{error.filename or self._workspace.root}: {error.strerror}."
            client.tell(p.encode(p.Refused(command=name, reason=reason, request=command.request)))

    async def _do(self, command: p.AnyCommand, client: Client) -> None:
        dispatch = self._dispatch
        match command:
            case p.OpenData():
                await self._open_data(command)
            case p.Submit():
                self._submit(command)
            case p.Pause():
                dispatch.hold(command.runs or dispatch.order.runs, "paused")
            case p.Resume():
                dispatch.resume(command.runs)
            case p.Cancel():
                dispatch.hold(command.runs, "cancelled")
            case p.Reprioritise():
                dispatch.move(command.runs, command.place)
            case p.Annotate():
                self._annotate(p.Note(command.run_id, command.text, command.tags))
            case p.Choose():
                self._choose(command)
            case p.Judge():
                self._judge(command)
            case p.Delete():
                self._delete(command.runs)
            case p.Restore():
                self._restore(command.runs)
            case p.ReadTrash():
                client.tell(p.encode(p.TrashRead(results=tuple(self._workspace.discarded()))))
                return
            case p.Watch():
                await self._watch(command.runs, client)
                return
            case p.CheckFiles():
                found = await asyncio.to_thread(self._hashes, command.runs)
                client.tell(p.encode(p.FilesChecked(found=found)))
                return
            case p.Inspect():
                self._inspecting.add(task := asyncio.create_task(self._inspect(command, client)))
                task.add_done_callback(self._inspecting.discard)
                return
            case p.Import():
                await self._import(command)
            case p.Shutdown():
                await self.leave("Asked to end; what was training goes on at the next start.")
                return
        self._publish(p.QueueChanged(places=dispatch.places()))
        dispatch.advance()

    async def _open_data(self, command: p.OpenData) -> None:
        """Describe data in a process of its own, and make it the workspace's."""
        self._dispatch.warm_up()
        self._opening += 1
        try:
            data = self._unchanged(self._data) if not command.source else None
            if data is None:
                source = command.source
                if not source and self._data is not None and not self._data.is_demo:
                    source = (self._data.train_path, self._data.test_path)
                demo = self._workspace.demo_folder(command.demo_train, command.demo_test)
                data = await datasets.describe(source, demo, (command.demo_train, command.demo_test))
        finally:
            self._opening -= 1
        self._known[data.fingerprint] = KnownData(data, self._workspace.stamps(data))
        self._dispatch.data[data.fingerprint] = self._data = data
        self._is_changed = True
        self._publish(p.DataOpened(data=data, request=command.request))

    def _unchanged(self, data: p.DataSet | None) -> p.DataSet | None:
        if data is None or self._known[data.fingerprint].stamps != self._workspace.stamps(data):
            return None
        return data

    def _submit(self, command: p.Submit) -> None:
        sweep, dispatch = command.sweep, self._dispatch
        if sweep.data not in dispatch.data:
            raise ValueError(f"The data {sweep.data[:20]!r} is not open in this workspace; open it first.")
        seeds = len(sweep.seeds) + (len(sweep.finalists.seeds) if sweep.finalists else 0)
        if len(sweep.configurations) * seeds > datasets.MAX_RUNS:
            raise ValueError(f"A sweep of more than {datasets.MAX_RUNS:,} runs; make it smaller.")
        self._workspace.write_sweep(sweep)
        for old in dispatch.supersede(sweep):
            self._workspace.remove_sweep(old)
        dispatch.let_wait(sweep)
        lacking = tuple(spec.run_id for spec in dispatch.want(sweep))
        self._publish(p.SweepSubmitted(sweep=sweep, missing=lacking, request=command.request))

    def _annotate(self, note: p.Note) -> None:
        self._workspace.run_folder(note.run_id)
        self._notes[note.run_id] = note
        self._store.annotate(note)
        self._is_changed = True
        self._publish(p.NoteChanged(note=note))

    def _choose(self, command: p.Choose) -> None:
        if command.run_id is not None and command.run_id not in self._dispatch.results:
            raise ValueError(f"{command.run_id[:40]!r} is no finished run, so its file cannot be handed in.")
        self._choices.pop(command.question, None)
        if command.run_id is not None:
            self._choices[command.question] = command.run_id
        self._is_changed = True
        self._publish(p.ChoiceChanged(question=command.question, run_id=command.run_id))

    def _judge(self, command: p.Judge) -> None:
        known, statement = self._statements.get(command.question, ()), command.statement
        if statement is not None:
            size = max(len(statement.text), sum(map(len, statement.facts)))
            if not statement.text.strip() or size > p.MAX_STATEMENT or len(known) >= p.MAX_STATEMENTS:
                raise ValueError(
                    f"A statement has 1 to {p.MAX_STATEMENT:,} characters, a question {p.MAX_STATEMENTS} of them."
                )
        new = (statement,) if statement is not None else ()
        place = next((place for place, some in enumerate(known) if some.text == command.replaces), len(known))
        self._statements[command.question] = (*known[:place], *new, *known[place + 1 :])
        self._is_changed = True
        self._publish(p.Judged(question=command.question, statements=self._statements[command.question]))

    def _delete(self, runs: tuple[str, ...]) -> None:
        busy = set(self._dispatch.started) & set(runs)
        if busy:
            raise ValueError("A run in training cannot be deleted; stop it first.")
        for run_id in runs:
            self._workspace.discard(run_id)
            self._dispatch.forget(run_id)
            self._publish(p.RunDeleted(run_id=run_id))
        self._store.remove(set(runs))
        self._is_changed = True

    def _restore(self, runs: tuple[str, ...]) -> None:
        for run_id in runs:
            if not self._workspace.restore(run_id):
                raise ValueError(f"{run_id[:40]!r} is not in the trash.")
            self._dispatch.held.pop(run_id, None)
            result = self._workspace.result(run_id)
            if result is not None:
                self._dispatch.results[run_id] = result
                self._publish(p.RunFinished(result=result))
        self._is_changed = True

    async def _watch(self, runs: tuple[str, ...], client: Client) -> None:
        for run_id in runs:
            path = self._workspace.run_folder(run_id) / "journal.jsonl"
            history, damaged = await asyncio.to_thread(journal.history, path)
            client.tell(p.encode(p.HistoryRead(run_id=run_id, history=history, damaged_lines=damaged)))

    async def _import(self, command: p.Import) -> None:
        """Take in the runs of a packed file; what is unfinished among them goes on once its data is open."""
        dispatch, root = self._dispatch, self._workspace.root
        if self._opening:
            raise ValueError("Data is being opened or runs are being imported; try again when that is done.")
        self._opening += 1
        try:
            busy = frozenset(dispatch.started)
            found = await asyncio.to_thread(pack.unpack, root, Path(command.path), busy=busy)
        finally:
            self._opening -= 1
        results = [result for run_id in found.finished if (result := self._workspace.result(run_id))]
        for result in results:
            dispatch.take_in(result)
            self._publish(p.RunFinished(result=result))
        for note in found.remarks.notes:
            if note.run_id not in self._notes:
                self._annotate(note)
        for question, run_id in found.remarks.choices.items():
            if question not in self._choices and run_id in dispatch.results:
                self._choose(p.Choose(question=question, run_id=run_id))
        for question, statements in found.remarks.statements.items():
            known_here = {statement.text for statement in self._statements.get(question, ())}
            for statement in statements:
                if statement.text not in known_here:
                    self._judge(p.Judge(question=question, statement=statement))
        for sweep in found.sweeps:
            if any(plan.is_other_choice(sweep, here) for here in dispatch.sweeps.values()):
                continue  # the finalists are chosen here already
            self._workspace.write_sweep(sweep)
            lacking = tuple(spec.run_id for spec in dispatch.want(sweep))
            self._publish(p.SweepSubmitted(sweep=sweep, missing=lacking))
        finished, unfinished, known = len(found.finished), len(found.unfinished), len(found.known)
        self._publish(p.Imported(finished=finished, unfinished=unfinished, known=known, request=command.request))

    async def _inspect(self, command: p.Inspect, client: Client) -> None:
        """Look beside everything else: it takes seconds, and the client's next commands don't wait for it."""
        result = self._dispatch.results.get(command.run_id)
        data = self._dispatch.data.get(result.spec.data) if result else self._data
        try:
            if data is None or (command.run_id and result is None):
                raise ValueError(f"{command.run_id[:40]!r} is no finished run on data that is known here.")
            file = self._workspace.run_folder(command.run_id) / "model.keras" if command.run_id else None
            client.tell(await datasets.inspect(data, command.run_id, file))
        except (ValueError, OSError) as error:
            client.tell(p.encode(p.Refused(command="Inspect", reason=str(error), request=command.request)))

    def _hashes(self, runs: tuple[str, ...]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for run_id in runs:
            try:
                with (self._workspace.run_folder(run_id) / "model.keras").open("rb") as file:
                    found[run_id] = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                found[run_id] = None
        return found

    # --- life --------------------------------------------------------------------------------------------------------

    async def sample_devices(self) -> None:
        """Tell how busy the machine is while somebody looks."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            if self._clients:
                samples = await asyncio.to_thread(devices.sample)
                self._publish(p.DeviceSampled(samples=samples, at=time.time()))
                self._publish(p.Timed(times=self._dispatch.times))

    async def save_changes(self) -> None:
        """Write what changed, at most once a second, and end when nothing is left to do."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            self._save()
            self.end_if_idle()

    def _save(self) -> None:
        if not self._is_changed:
            return
        kept = Remembered(
            data=self._data.fingerprint if self._data else "",
            known=self._known,
            order=self._dispatch.order,
            choices=self._choices,
            statements=self._statements,
            times=self._dispatch.times,
        )
        try:
            self._store.flush()
            self._workspace.remember(kept)
            self._is_changed = False
        except OSError as error:
            text = f"The workspace cannot be written: {error.strerror}. Training goes on; it is tried again."
            if text not in self._complaints:
                self._complaints.append(text)
                self._publish(p.Noticed(text=text, severity="error"))

    def begin(self) -> None:
        """Go on with what was left."""
        self._dispatch.advance()

    def end_if_idle(self) -> None:
        """End when nobody is attached and nothing is to be trained."""
        if not self._clients and not self._opening and self._dispatch.is_idle:
            self.ended.set()

    async def leave(self, reason: str) -> None:
        """Let the workers checkpoint, write everything, tell everybody, end."""
        await self._dispatch.leave()
        self._save()
        self._publish(p.HostEnded(reason=reason))
        for client in list(self._clients):
            await client.close()
        self.ended.set()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return the next line; one that is longer than any message comes as garbage instead of ending the connection."""
    try:
        return await reader.readline()
    except ValueError:
        return b"a line longer than any message\n"


async def serve(workspace: Workspace, ready: int | None, lock: int) -> None:
    """Listen until there is nothing left to do. The lock's file tells where, for those with another runtime folder."""
    host = Host(workspace)
    address = socket_path(workspace.root)
    os.ftruncate(lock, 0)
    os.pwrite(lock, os.fsencode(address), 0)
    address.unlink(missing_ok=True)  # of a host that was killed: we hold the lock
    server = await asyncio.start_unix_server(host.attend, str(address), limit=p.MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    leaving: set[asyncio.Task[None]] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: leaving.add(asyncio.create_task(host.leave("Told to end."))))
    if ready is not None:
        os.close(ready)
    tasks = [asyncio.create_task(host.sample_devices()), asyncio.create_task(host.save_changes())]
    host.begin()
    await host.ended.wait()
    server.close()
    address.unlink(missing_ok=True)
    await host.leave("Nothing is left to do.")
    for task in tasks:
        task.cancel()


def main() -> int:
    """Hold the workspace's lock for life and serve; leave quietly when another host holds it."""
    parser = argparse.ArgumentParser(prog="python -m engine.host")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--ready", type=int, help="a file descriptor that is closed once the host listens")
    given = parser.parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        workspace = Workspace(given.workspace)
        lock = os.open(workspace.root / "host.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            asyncio.run(serve(workspace, given.ready, lock))
    except OSError as error:
        print(f"{error.filename or given.workspace}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
