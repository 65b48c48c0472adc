"""Carries out the commands of clients on a workspace."""

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from itertools import zip_longest
from pathlib import Path

from engine import protocol as p
from engine.core import limits
from engine.core import sweep as plan
from engine.core.layers import shape_problem
from engine.host import subprocesses
from engine.host.clients import Client
from engine.host.dispatcher import Dispatcher
from engine.host.inquiries import Inquiries
from engine.host.recorders import Recorders
from engine.machine import card_choice, devices
from engine.scheduling.queue import Queue
from engine.storage import approvals, archive, sources
from engine.storage.records import Records
from engine.storage.workspace import Workspace
from engine.workers import fleet, user_config


class Commands:
    """Carries out commands, one at a time, and publishes the resulting events."""

    def __init__(
        self,
        workspace: Workspace,
        records: Records,
        queue: Queue,
        dispatch: Dispatcher,
        publish: Callable[[p.AnyEvent], None],
        leave: Callable[[str], Coroutine[object, object, None]],
    ) -> None:
        self._workspace, self._records = workspace, records
        self._queue, self._dispatcher = queue, dispatch
        self._publish = publish
        self._leave = leave
        self.recorders = Recorders(workspace, queue, publish)
        self._opening = 0
        self._is_importing = False
        self._inquiries = Inquiries(workspace, records, queue)

    @property
    def is_busy(self) -> bool:
        """Data is being opened or runs are being imported."""
        return self._opening > 0 or self._is_importing

    async def do(self, command: p.AnyCommand, client: Client) -> None:
        """Carry out a command of this client.

        Raises:
            ValueError: it cannot be done; one sentence says why.
            OSError: the workspace cannot be read or written.
        """
        queue, dispatch = self._queue, self._dispatcher
        match command:
            case p.OpenData():
                await self._open_data(command)
            case p.Begin():
                dispatch.begin()
            case p.Submit():
                self._submit(command)
                dispatch.begin()
            case p.Report():
                await self.recorders.report(command.event, client)
                return
            case p.Pause():
                self._refuse_recorded(command.runs)
                dispatch.hold(command.runs or queue.order.runs, "paused")
            case p.Resume():
                queue.resume(command.runs)
                dispatch.begin()
            case p.Cancel():
                self._refuse_recorded(command.runs)
                dispatch.hold(command.runs, "cancelled")
            case p.Reprioritise():
                queue.move(command.runs, command.index)
            case p.Annotate():
                self._records.annotate(p.Note(command.run_id, command.text, command.tags))
            case p.Choose():
                self._choose(command)
            case p.Judge():
                self._records.judge(command)
            case p.Delete():
                self._delete(command.runs)
            case p.Restore():
                self._restore(command.runs)
            case p.ReadTrash() | p.Watch() | p.ReadLog() | p.CheckFiles() | p.Inspect():
                await self._inquiries.answer(command, client)
                return
            case p.Import():
                await self._import(command)
            case p.WatchDevices():
                dispatch.machine.watch.wanted()
                return
            case p.SetFleet():
                await self._set_fleet(command)
            case p.Shutdown():
                await self._leave("Asked to end; what was training continues at the next start.")
                return
        self._records.is_changed = True
        dispatch.advance()

    async def _open_data(self, command: p.OpenData) -> None:
        """Describe data in a process of its own, and make it the workspace's."""
        self._dispatcher.warm_up()
        self._opening += 1
        try:
            records, source, layout = self._records, self._source_of(command), command.layout
            data = records.unchanged(command.name, source, layout) if source else records.unchanged_data()
            if data is None:
                known = records.data
                if not source and known is not None and not known.is_demo:
                    source, layout = known.paths, known.layout
                demo = self._workspace.demo_folder(command.demo_train, command.demo_test)
                data = await subprocesses.describe(source, layout, demo, (command.demo_train, command.demo_test))
                data = records.named(data, command.name or data.name)
                for doubt in data.doubts:
                    self._publish(p.Noticed(text=doubt, severity="warning"))
        finally:
            self._opening -= 1
        self._records.use(data, is_beside=command.is_beside)
        self._queue.open(data)
        self._publish(p.DataOpened(data=data, is_beside=command.is_beside, request=command.request))

    def _source_of(self, command: p.OpenData) -> tuple[str, ...]:
        """Return the paths to open: those of a named data set may be relative to the workspace."""
        if not command.name:
            return command.source
        if any("\0" in path for path in command.source):
            raise ValueError(f"The files of {command.name[:40]!r} have a NUL in their name.")
        return tuple(str(self._workspace.root / Path(path).expanduser()) for path in command.source)

    def _submit(self, command: p.Submit) -> None:
        sweep, queue = command.sweep, self._queue
        if sweep.data not in queue.data:
            raise ValueError(f"The data {sweep.data[:20]!r} is not open in this workspace; open it first.")
        if problem := limits.sweep_problem(sweep):
            raise ValueError(f"The sweep cannot be trained: {problem}")
        shape = queue.data[sweep.data].shape
        for configuration in sweep.configurations:
            if problem := shape_problem(configuration.network, shape):
                raise ValueError(f"{configuration.label} cannot be trained on this data: {problem}")
        for text, name in zip_longest(command.sources, command.source_names[: len(command.sources)], fillvalue=""):
            queue.models.names[sources.store(self._workspace.root, text)] = name[: limits.MAX_TITLE]
            approvals.approve(text)
        self._workspace.write_sweep(sweep)
        for old in queue.supersede(sweep):
            self._workspace.remove_sweep(old)
        missing = queue.want(sweep, again=True)
        self._publish(p.SweepSubmitted(sweep=sweep, missing=missing, request=command.request))

    async def _set_fleet(self, command: p.SetFleet) -> None:
        fleet.check(command.fleet, on_command_line=command.on_command_line)
        if command.fleet.slurm is not None and shutil.which("srun") is None:
            raise ValueError("There is no srun on the host's machine; Slurm is used from a login node of its cluster.")
        if fleet.asks_for_gpu(command.fleet) and (problem := card_choice.lacks_plugin(os.environ)):
            raise ValueError(problem)
        gpus = await asyncio.to_thread(devices.choose_gpus, command.fleet.gpus)
        if command.fleet.gpus.strip().lower() not in ("", "none") and not gpus.gpus:
            raise ValueError(" ".join(gpus.problems) or "There is no GPU on the host's machine.")
        problems = gpus.problems if command.fleet.is_local else ()
        for problem in problems:
            self._publish(p.Noticed(text=problem, severity="warning"))
        try:
            user_config.save_fleet(self._workspace.root, command.fleet)
        except OSError as error:
            text = f"Where to train cannot be stored: {error.filename}: {error.strerror}."
            self._publish(p.Noticed(text=text, severity="warning"))
        self._dispatcher.use(command.fleet, devices.machine(gpus))
        self._dispatcher.machine.problems = problems
        self._publish(p.FleetChanged(fleet=command.fleet, request=command.request))

    def _choose(self, command: p.Choose) -> None:
        result = self._queue.result(command.run_id) if command.run_id is not None else None
        if result is not None and result.is_recorded:
            raise ValueError(
                f"{result.run_id} was recorded: another program trained it, and it has no file to hand in."
            )
        if command.run_id is not None and result is None:
            raise ValueError(f"{command.run_id[:40]!r} is not a finished run, so its file cannot be handed in.")
        self._records.choose(command.question, command.run_id)

    def _delete(self, runs: tuple[str, ...]) -> None:
        self._refuse_busy(runs, "deleted")
        deleted: set[str] = set()
        try:
            for run_id in runs:
                self._workspace.discard(run_id)
                self._queue.forget(run_id)
                deleted.add(run_id)
                self._publish(p.RunDeleted(run_id=run_id))
        finally:
            self._records.remove(deleted)

    def _restore(self, runs: tuple[str, ...]) -> None:
        self._refuse_busy(runs, "brought back")
        for run_id in runs:
            if not self._workspace.restore(run_id):
                raise ValueError(f"{run_id[:40]!r} is not in the trash.")
            self._queue.release([run_id])
            self._add_result(self._workspace.result(run_id))

    def _refuse_busy(self, runs: tuple[str, ...], what: str) -> None:
        """Refuse a command on runs whose folders a worker or an import writes."""
        for run_id in runs:
            self._workspace.run_folder(run_id)
        if self._is_importing:
            raise ValueError(f"Runs are being imported; none can be {what} until that is done.")
        self._queue.runs.refuse_training(runs, what)

    def _refuse_recorded(self, runs: tuple[str, ...]) -> None:
        """Refuse to stop recorded runs, which the user's own program trains."""
        training = self._queue.runs.training
        if any(run_id in training and training[run_id].run.spec.recording for run_id in runs):
            raise ValueError("A recorded run is trained by its own program; stop it there.")

    def _add_result(self, result: p.RunResult | None) -> None:
        """Enter a finished run that was added to the workspace."""
        if result is not None and self._queue.add_finished(result):
            self._publish(p.RunFinished(result=result))

    async def _import(self, command: p.Import) -> None:
        """Import the runs of a packed file; missing runs of its sweeps wait, paused, until the user asks for them."""
        queue, root = self._queue, self._workspace.root
        if self.is_busy:
            raise ValueError("Data is being opened or runs are being imported; try again when that is done.")
        self._is_importing = True
        try:
            with self._dispatcher.suspended():  # waiting runs may be replaced by imported ones
                busy = frozenset(queue.runs.training)
                try:
                    unpacked = await asyncio.to_thread(archive.unpack, root, Path(command.path), busy=busy)
                finally:  # some may have been imported before an error
                    on_disk = await asyncio.to_thread(self._workspace.finished)
                    for run_id in sorted(on_disk - set(queue.runs.accuracies)):
                        self._add_result(self._workspace.result(run_id))
        finally:
            self._is_importing = False
        self._records.merge(unpacked.remarks, queue.runs.accuracies)
        for sweep in unpacked.sweeps:
            if any(plan.is_other_choice(sweep, here) for here in queue.sweeps.values()):
                continue  # the finalists are chosen here already
            self._workspace.write_sweep(sweep)
            is_new = sweep.sweep_id not in queue.sweeps
            self._publish(p.SweepSubmitted(sweep=sweep, missing=queue.want(sweep, paused=is_new)))
        finished, unfinished, known = len(unpacked.finished), len(unpacked.unfinished), len(unpacked.known)
        self._publish(p.Imported(finished=finished, unfinished=unfinished, known=known, request=command.request))
