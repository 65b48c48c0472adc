"""The host's service: carries out commands, publishes events, saves changes, and ends when it is idle."""

import asyncio
import os
import time
import traceback
from collections.abc import Iterator

from engine import protocol as p
from engine.core.curve import EMPTY, Curve
from engine.core.forecast import EpochTimes
from engine.host import stored_state
from engine.host.clients import Client, is_from
from engine.host.commands import Commands
from engine.host.dispatcher import Dispatcher
from engine.host.inquiries import DEFECT
from engine.machine import devices, ownership
from engine.machine.system import version
from engine.scheduling.queue import Queue
from engine.storage import lock_file, migrations
from engine.storage.records import Records
from engine.storage.workspace import Workspace
from engine.workers import user_config

SAMPLE_SECONDS = 2.0
SAVE_SECONDS = 1.0
COMMANDS_A_SECOND = 200


class Service:
    """The state of a workspace, and what commands do to it."""

    def __init__(self, workspace: Workspace) -> None:
        """Read the workspace, set damaged pieces aside, and put what is missing into the queue.

        Raises:
            NewerFormat: a newer program wrote the workspace.
            OSError: the workspace cannot be read.
        """
        brought_up = migrations.bring_up(workspace.root)
        self.ended = asyncio.Event()
        self.is_lost = False
        """The workspace is no longer where it was, so nothing may be written there."""
        self._workspace = workspace
        self._clients: set[Client] = set()
        self._records = Records(workspace, self._publish)
        stored = self._records.stored
        results, data = self._records.results(), self._records.trainable()
        self._queue = Queue(self._publish, results=results, data=data, stored=stored.order)
        self._queue.times = EpochTimes(stored.times)
        fleet, fleet_problem = user_config.read_fleet(workspace.root)
        gpus = devices.choose_gpus(fleet.gpus)
        self._dispatcher = Dispatcher(workspace, devices.machine(gpus), self._queue, self._publish)
        self._commands = Commands(workspace, self._records, self._queue, self._dispatcher, self._publish, self.leave)
        self._dispatcher.fleet = fleet
        self._dispatcher.machine.problems = gpus.problems if fleet.is_local else ()
        for sweep in workspace.all_sweeps():
            self._queue.supersede(sweep)
            self._queue.want(sweep)
        self._queue.arrange(stored.order)
        if not fleet_problem and stored.fleet not in (self._dispatcher.fleet, p.Fleet()):
            fleet_problem = user_config.is_not_used(stored.fleet)
        exposed = ownership.exposure(workspace.root)
        problems = (brought_up, exposed, fleet_problem, *self._records.problems)
        self._problems = [text for text in problems if text]
        self._remarks = gpus.remarks
        self._reading: set[asyncio.Task[None]] = set()
        """Tasks that read the curves of resumed runs."""
        self._write_problem = ""
        """Why the workspace cannot be written at present."""

    # --- clients -----------------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        if not is_from(writer, os.getuid()) or self.ended.is_set():  # the next host serves one that comes too late
            writer.close()
            return
        client = Client(writer, self._state_events)
        try:
            client.greet()
        except Exception:  # noqa: BLE001  a state that cannot be sent must not leave the client waiting for it
            traceback.print_exc()
            client.send(p.encode(p.Refused(command="", reason=DEFECT)))
            await client.close()
            return
        self._clients.add(client)
        self._dispatcher.machine.watch.wanted()
        budget, since = COMMANDS_A_SECOND, time.monotonic()
        try:
            while line := await _line(reader):
                if time.monotonic() - since > 1:
                    budget, since = COMMANDS_A_SECOND, time.monotonic()
                budget -= 1
                if budget < 0:
                    await asyncio.sleep(1)  # a client that floods waits; the others don't
                await self._carry_out(line, client)
        except ConnectionError:
            pass  # the client is gone
        finally:
            self._clients.discard(client)
            await self._commands.recorders.leave(client)
            await client.close()
            self.end_if_idle()

    def _state_events(self) -> Iterator[p.AnyEvent]:
        """Yield the whole state as events."""
        queue = self._queue
        results = queue.runs.results
        attached = p.Attached(
            workspace=str(self._workspace.root),
            host_pid=os.getpid(),
            versions={"svhn-tui": version()},
            data=self._records.data,
            known=tuple(self._records.trainable().values()),
            has_begun=self._dispatcher.has_begun,
            results=len(results),
            choices=self._records.choices,
            statements=self._records.statements,
        )
        yield from stored_state.events(attached, results, self._records.notes.values(), queue.sweeps.values())
        yield from queue.events()
        yield from queue.models.events()
        yield p.FleetChanged(fleet=self._dispatcher.fleet)
        yield from (worker.changed for worker in self._dispatcher.pool.workers.values())
        for run_id, training in queue.runs.training.items():
            if training.started is None:
                yield p.RunsQueued(waiting=(training.run,))
                yield p.RunsUnqueued(runs=(run_id,), worker=training.worker)
            else:
                yield training.started
                if training.curve is not None:
                    yield p.HistoryRead(run_id=run_id, history=p.History.of(training.curve.rows))
        yield p.Timed(times=queue.times.medians)
        for text in (*self._problems, *self._dispatcher.machine.remarks):
            yield p.Noticed(text=text, severity="warning")
        for text in self._remarks:
            yield p.Noticed(text=text)
        if self._write_problem:
            yield p.Noticed(text=self._write_problem, severity="error")
        yield p.CaughtUp()

    async def _read_curves(self, started: p.RunStarted) -> None:
        """Read the journals of resumed runs in a thread, as they may be long, and publish their curves."""
        for run_id in started.runs:
            try:
                curve = await asyncio.to_thread(self._curve_until, run_id, started.epoch)
            except OSError:
                curve = EMPTY.cut(started.epoch)  # missed epochs keep the indices right
            training = self._queue.runs.training.get(run_id)
            begun = training.started if training is not None and training.curve is None else None
            if training is not None and begun is not None and begun.epoch == started.epoch:  # else it ended meanwhile
                history = p.History.of(training.join(curve).rows)
                self._publish(p.HistoryRead(run_id=run_id, history=history))

    def _curve_until(self, run_id: str, epoch: int) -> Curve:
        history, _ = self._workspace.run(run_id).history()
        return Curve.of(history.rows).cut(epoch)

    def _publish(self, event: p.AnyEvent, line: bytes | None = None) -> None:
        """Send an event to every client, and note what has to be saved."""
        match event:
            case p.RunFinished():
                self._records.add([event.result])
            case p.RunFailed() | p.RunPaused() | p.RunInterrupted():
                self._records.is_changed = True
            case p.EpochEnded() | p.RunsUnqueued():
                self._records.has_progressed = True
            case p.RunStarted() if event.epoch:
                self._reading.add(task := asyncio.create_task(self._read_curves(event)))
                task.add_done_callback(self._reading.discard)
            case _:
                pass
        if self._clients:
            text = line or p.encode(event)
            for client in self._clients:
                client.send(text)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def _carry_out(self, line: bytes, client: Client) -> None:
        """Carry out the command in a line; whatever the line holds, the connection stays open."""
        try:
            command = p.decode_command(line)
        except p.UNREADABLE as error:
            client.send(p.encode(p.Refused(command="", reason=f"Not a command: {str(error)[:200]}.")))
            return
        name = type(command).__name__
        try:
            await self._commands.do(command, client)
            if isinstance(command, p.OpenData):
                self._save()  # a sweep may follow, and is trained after a crash only where its data is known
            if command.request and not isinstance(command, p.Inspect):  # that one is only begun
                client.send(p.encode(p.Done(request=command.request)))
            return
        except ValueError as error:
            reason = str(error)
        except OSError as error:
            reason = f"{error.filename or self._workspace.root}: {error.strerror or error}."
        except Exception:  # noqa: BLE001  the client is answered, whatever went wrong
            traceback.print_exc()
            reason = DEFECT
        client.send(p.encode(p.Refused(command=name, reason=reason, request=command.request)))

    # --- life --------------------------------------------------------------------------------------------------------

    async def sample_devices(self) -> None:
        """Publish the load of the machine while a client is attached; it also shows that the host still answers."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            dispatch, watch = self._dispatcher, self._dispatcher.machine.watch
            if self._clients:
                cards = dispatch.machine.gpus if dispatch.fleet.is_local else ()
                is_training = bool(cards) and dispatch.has_begun and not self._queue.is_idle
                samples = await watch.samples(cards, dispatch.pool.own_processes, is_training=is_training)
                self._publish(p.DeviceSampled(samples=samples, at=time.time()))
                self._publish(p.Timed(times=self._queue.times.medians))
            else:
                await asyncio.to_thread(watch.rest)

    async def save_changes(self, lock: int) -> None:
        """Write what changed, at most once a second; end when nothing is left to do, or the workspace is elsewhere."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            if not lock_file.is_there(self._workspace.root, lock):
                self._give_up()
                return
            self._save()
            self.end_if_idle()

    def _save(self, *, is_last: bool = False) -> None:
        try:
            self._records.save(lambda: self._queue.order, self._queue.times.times, is_last=is_last)
        except OSError as error:
            text = f"The workspace cannot be written: {error.strerror}. Training continues; writing is tried again."
            self._report(text)
        except Exception:  # noqa: BLE001  the loop that saves must continue; what was not written is tried again
            if not self._write_problem:
                traceback.print_exc()
            self._report(f"The workspace cannot be saved. {DEFECT} Training continues; writing is tried again.")
        else:
            if self._write_problem:
                self._publish(p.Noticed(text="The workspace is written again; nothing is missing."))
            self._write_problem = ""

    def _report(self, text: str) -> None:
        """Report a failure to save, once for each reason."""
        if text != self._write_problem:
            self._publish(p.Noticed(text=text, severity="error"))
        self._write_problem = text

    def _give_up(self) -> None:
        """End without writing: the workspace was moved or replaced. Its runs continue from their checkpoints."""
        self._publish(p.HostEnded(reason=f"{self._workspace.root} was moved or replaced; open it where it is now."))
        self._dispatcher.kill()
        self.is_lost = True
        self.ended.set()

    def end_if_idle(self) -> None:
        """End when no client is attached and no run is to be trained."""
        if self._clients or self._commands.is_busy:
            return
        if self._queue.is_idle or not self._dispatcher.has_begun:
            self.ended.set()

    async def leave(self, reason: str) -> None:
        """Let the workers checkpoint, save everything, notify the clients, and end."""
        try:
            await self._dispatcher.leave()
        finally:
            self._save(is_last=True)
            self._publish(p.HostEnded(reason=reason))
            for client in list(self._clients):
                await client.close()
            self.ended.set()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return the next line; one that is longer than any message is replaced, so that it does not end the connection."""
    try:
        return await reader.readline()
    except ValueError:
        return b"a line longer than any message\n"
